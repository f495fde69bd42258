"""The largest sparsity inside a budget: what is written is the very point that was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForTokenClassification

from affineur.artifact import MANIFEST, describe, open_folder, verify
from affineur.engines.support.torch_tagger import load_tagger
from affineur.measure import Budget, evaluate
from affineur.pipeline import Plan
from affineur.transfer import Splits
from steps.conftest import run_step

from .sweeping import (
    GRID,
    beside,
    content,
    points_of,
    strict_json,
    swept,
)


@pytest.mark.parametrize(
    ("method", "dtype"),
    [("magnitude", "float32"), ("layerwise", "float16"), ("wanda", "float16"), ("wanda", "bfloat16")],
)
def test_the_winner_is_the_point(
    method: str, dtype: str, trained: Path, data: Splits, tmp_path: Path
) -> None:
    model = trained if dtype == "float32" else run_step("cast", trained, tmp_path / "half", dtype=dtype)
    out = tmp_path / "not" / "there" / "out"
    plan = Plan(Budget(max_drop=0.1), (method,), tolerance=0.05)
    found = swept(model, out, data, plan)
    chosen = found.chosen
    assert chosen is not None
    assert (chosen.method, chosen.recovered) == (method, False)
    points = found.curves[0].points
    assert chosen.sparsity == max(p.sparsity for p in points if p.inside) > 0
    assert any(not p.inside for p in points)
    assert all(p.inside is (p.drop_high <= 0.1) for p in points)

    # The file is the point, to the last weight and the last mention.
    assert describe(out).sparsity == chosen.sparsity
    assert evaluate(load_tagger(out), data.get("dev")).total.f1 == chosen.f1
    assert evaluate(load_tagger(out), data.get("test")).total.f1 == found.confirmation.point.f1
    assert AutoModelForTokenClassification.from_pretrained(out).config.id2label
    assert {t.dtype for t in open_folder(out).tensors()} == {
        {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    }

    manifest = verify(out)
    assert {"README.md", "sweep.json", "sweep.svg", "pruning_info.json"} <= set(manifest.files)
    assert set(manifest.files) | {MANIFEST} == set(content(out))
    strict_json(out / MANIFEST)
    evidence = manifest.scores["sweep"]
    assert (evidence["sparsity"], evidence["f1"], evidence["drop_high"]) == (
        chosen.sparsity,
        chosen.f1,
        chosen.drop_high,
    )
    assert (evidence["data_digest"], evidence["confirmation"]["data_digest"]) == (
        data.get("dev").digest,
        data.get("test").digest,
    )
    assert evidence["sparsity_of_model"] == 1 - describe(out).nonzero / describe(out).parameters
    assert manifest.scores["measured"]["f1"] == found.confirmation.point.f1
    written = strict_json(out / "sweep.json")
    assert written == json.loads(json.dumps(found.as_dict()))
    assert [p["asked"] for p in written["points"]] == [p.asked for p in points]
    assert (manifest.stage, manifest.parents[0].digest) == ("prune", open_folder(model).digest())
    assert f"{found.confirmation.point.f1:.2%}" in (out / "README.md").read_text()
    assert beside(out) == []


def test_methods_side_by_side(trained: Path, data: Splits, tmp_path: Path) -> None:
    plan = Plan(Budget(max_drop=0.3), ("magnitude", "layerwise", "wanda"), GRID)
    found = swept(trained, tmp_path / "out", data, plan)
    assert [[(p.method, p.asked) for p in curve.points] for curve in found.curves] == [
        [(m, s) for s in GRID] for m in plan.methods
    ]
    inside = [p for curve in found.curves for p in curve.points if p.inside]
    most = max(p.sparsity for p in inside)
    assert found.chosen == min((p for p in inside if p.sparsity == most), key=lambda p: p.drop)
    best = found.as_dict()["best_by_method"]
    assert {m: b and b["asked"] for m, b in best.items()} == {
        m: max((p.asked for p in inside if p.method == m), default=None) for m in plan.methods
    }


def test_scope_is_what_sparsity_counts(trained: Path, data: Splits, tmp_path: Path) -> None:
    found = swept(trained, tmp_path / "out", data, Plan(Budget(max_drop=0.49), points=(0.3,), scope="ffn"))
    ffn = [m for m in describe(tmp_path / "out").matrices if m.matrix.kind.startswith("ffn")]
    assert found.chosen.sparsity == sum(m.zeros for m in ffn) / sum(m.weights for m in ffn)
    assert found.chosen.sparsity == pytest.approx(0.3, abs=1e-3)
    assert describe(tmp_path / "out").sparsity < found.chosen.sparsity
    assert found.as_dict()["scope"] == "ffn"


@pytest.mark.parametrize("method", ["magnitude", "layerwise", "wanda"])
def test_zeros_that_were_there_count(method: str, trained: Path, data: Splits, tmp_path: Path) -> None:
    run_step(
        "prune", trained, tmp_path / "sparse", sparsity=0.25
    )  # globally, so that some matrices and rows have more
    dense = describe(tmp_path / "sparse").sparsity
    for _ in range(2):  # the second time from kept scores alone
        found = swept(
            tmp_path / "sparse",
            tmp_path / "out",
            data,
            Plan(Budget(max_drop=0.49), (method,), (0.0, 0.26)),
        )
        assert [p.asked for p in found.curves[0].points] == [0.0, 0.26]
        assert found.curves[0].points[0].sparsity == dense
        assert found.chosen.sparsity == describe(tmp_path / "out").sparsity >= 0.26 - 1e-4
    if method == "layerwise":
        assert found.chosen.sparsity > 0.261, "or the case was not met"
    assert found.unpruned.sparsity == dense


@pytest.mark.parametrize("method", ["magnitude", "layerwise", "wanda"])
def test_every_point_is_what_prune_would_write(
    method: str, trained: Path, data: Splits, tmp_path: Path
) -> None:
    run_step("prune", trained, tmp_path / "sparse", sparsity=0.25)
    half = run_step("cast", tmp_path / "sparse", tmp_path / "half", dtype="float16")
    for sparsity in (0.26, 0.55):
        written = tmp_path / f"{sparsity}"
        text = data.train if method == "wanda" else None
        run_step("prune", half, written, calibration=text, sparsity=sparsity, method=method)
        f1, zeros = evaluate(load_tagger(written), data.get("dev")).total.f1, describe(written).sparsity
        for _ in range(2):  # computed, and from kept scores
            point = points_of(half, data, Plan(Budget(max_drop=0.49), (method,)), tmp_path).point(
                method, sparsity
            )
            assert (point.f1, point.sparsity) == (f1, zeros)
