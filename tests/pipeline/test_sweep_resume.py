"""Nothing is done twice: scores are kept, and a killed sweep goes on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from affineur.artifact import describe, open_folder, read_manifest, verify
from affineur.engines.support.torch_tagger import load_tagger
from affineur.measure import Budget, Point, evaluate
from affineur.pipeline import Plan, Points, ScoreBook
from affineur.progress import listening
from affineur.steps.pruning.core import zeroing
from affineur.steps.training import loop
from affineur.transfer import Splits

from .sweeping import (
    GRID,
    QUICK,
    Count,
    KilledError,
    beside,
    content,
    corpus_of,
    points_of,
    swept,
)


def test_a_second_run_scores_nothing_and_writes_the_same(
    trained: Path, data: Splits, tmp_path: Path, count: Count
) -> None:
    plan = Plan(Budget(max_drop=0.2), ("magnitude", "wanda"), GRID)
    out = tmp_path / "out"
    first = swept(trained, out, data, plan)
    assert (count.of("pruned"), count.of("input_norms")) == (6, 1)
    before = content(out)
    assert swept(trained, out, data, plan) == first
    assert (count.of("pruned"), count.of("input_norms")) == (0, 0)
    assert content(out) == before

    # Another budget: the points are the same.
    swept(trained, out, data, replace(plan, budget=Budget(min_f1=0.05, confidence=0.8)))
    assert count.of("pruned") == 0
    # Another text, scope or split is another point.
    other = corpus_of(list(data.train)[:20], "other")
    swept(trained, out, data, plan, calibration=other)
    assert (count.of("pruned"), count.of("input_norms")) == (3, 1)
    swept(trained, out, data, replace(plan, scope="attention", methods=("magnitude",)))
    assert count.of("pruned") == 3
    swept(
        trained,
        out,
        replace(data, dev=corpus_of(list(data.dev)[:90])),
        replace(plan, methods=("magnitude",)),
    )
    assert count.of("pruned") == 3
    swept(trained, out, data, replace(plan, methods=("magnitude",)), types=["PER"])
    assert count.of("pruned") == 3


def test_recovered(trained: Path, data: Splits, tmp_path: Path, count: Count) -> None:
    out = tmp_path / "out"
    plan = Plan(Budget(max_drop=0.49), points=(0.1, 0.3), recovery=QUICK)
    found = swept(trained, out, data, plan, teacher=trained)
    assert count.of("fit") == 2
    assert found.chosen.recovered
    assert found.chosen.asked == 0.3
    assert describe(out).sparsity == found.chosen.sparsity
    assert evaluate(load_tagger(out), data.get("dev")).total.f1 == found.chosen.f1
    manifest = verify(out)
    assert [manifest.stage, *(p.stage for p in manifest.parents)] == ["recover", "prune", "train", "given"]
    assert manifest.parents[1].digest == open_folder(trained).digest()
    assert manifest.parameters["teacher_digest"] == open_folder(trained).digest()
    assert manifest.scores["sweep"]["recovery"]["epochs"] == QUICK.parameters["epochs"]
    assert beside(out) == []

    # The same again trains nothing, and nor does a budget that leads to the same model.
    before = content(out)
    swept(trained, out, data, plan, teacher=trained)
    assert count.of("fit") == 0
    assert content(out) == before
    swept(trained, out, data, replace(plan, budget=Budget(max_drop=0.48)), teacher=trained)
    assert count.of("fit") == 0
    # Where only its scores are left, the winner is made once more, to the same bytes.
    shutil.rmtree(out)
    swept(trained, out, data, plan, teacher=trained)
    assert count.of("fit") == 1
    assert content(out) == before
    # Other settings and another teacher, or none, are other points.
    swept(trained, out, data, replace(plan, recovery=QUICK.model_copy(update={"seed": 5})), teacher=trained)
    assert count.of("fit") == 2
    swept(trained, out, data, replace(plan, recovery=QUICK))
    assert count.of("fit") == 2


def test_a_folder_in_an_earlier_winner_is_not_in_the_way(
    trained: Path, data: Splits, tmp_path: Path, count: Count
) -> None:
    out, plan = tmp_path / "out", Plan(Budget(max_drop=0.49), points=(0.3,), recovery=QUICK)
    swept(trained, out, data, plan)
    before = content(out)
    assert count.of("fit") == 1
    (out / "notes").mkdir()
    swept(trained, out, data, plan)
    assert count.of("fit") == 0
    assert content(out) == before


def test_an_edited_earlier_winner_is_made_again(
    trained: Path, data: Splits, tmp_path: Path, count: Count
) -> None:
    out = tmp_path / "out"
    plan = Plan(Budget(max_drop=0.49), points=(0.3,), recovery=QUICK)
    swept(trained, out, data, plan)
    before = content(out)
    assert count.of("fit") == 1
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    swept(trained, out, data, plan)
    assert count.of("fit") == 1
    assert content(out) == before


def test_killed_between_and_inside_points(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, clean = tmp_path / "out", tmp_path / "clean"
    plan = Plan(Budget(max_drop=0.49), points=(0.1, 0.2, 0.3), recovery=QUICK)
    real = loop.fit
    calls = 0

    def dies(*given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KilledError
        return real(*given, **more)

    monkeypatch.setattr(loop, "fit", dies)
    lines: list[str] = []
    with pytest.raises(KilledError), listening(lambda what, *_: lines.append(what)):
        swept(trained, out, data, plan)
    assert not out.exists()
    work = tmp_path / ".out.sweep"
    assert f"what was fine-tuned so far stays in {work}" in lines[-1]
    assert {"magnitude_0.2", "magnitude_0.2_finetuned", "magnitude_0.3", ".magnitude_0.3_finetuned.work"} <= {
        p.name for p in work.iterdir()
    }
    (
        work / ".magnitude_0.3_finetuned.tmp-999999999"
    ).mkdir()  # what kill -9 leaves while a folder is being written

    found = swept(trained, out, data, plan)
    assert calls == 4, "two points were known, one went on"
    assert beside(out) == []
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "empty"))
    undisturbed = swept(trained, clean, data, plan)
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
    plan = Plan(Budget(max_drop=0.49), points=(0.1, 0.2, 0.3), recovery=QUICK)
    real_fit, real_point = loop.fit, Points.point
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

    monkeypatch.setattr(loop, "fit", fit)
    monkeypatch.setattr(Points, "point", point)
    with pytest.raises(KilledError):
        swept(trained, tmp_path / "out", data, plan)
    assert swept(trained, tmp_path / "out", data, plan).chosen.asked == 0.2
    assert calls == 4, "0.2 was not made again"


def test_scores_of_another_build_do_not_count(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores kept by a build that pruned otherwise: every point looks as good as the model itself."""
    out, plan = tmp_path / "out", Plan(Budget(max_drop=0.1), points=(0.1, 0.3, 0.5, 0.7, 0.9))
    true = swept(trained, out, data, plan)
    assert 0.1 <= true.chosen.asked < 0.9, "or nothing is shown"
    shutil.rmtree(out)
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "other"))
    with monkeypatch.context() as other_build:
        real = zeroing.prune_model

        def nothing(network: Any, *, sparsity: float, **more: Any) -> Any:
            return real(network, sparsity=0.0, **more)

        other_build.setattr(zeroing, "prune_model", nothing)
        lying = points_of(trained, data, plan, tmp_path)
        lying.book = ScoreBook(tmp_path / "other" / "scores")
        assert all(p.drop == 0 for p in lying.curve("magnitude", plan.budget).points)
    found = swept(trained, out, data, plan)
    assert found.chosen == true.chosen
    assert evaluate(load_tagger(out), data.get("dev")).total.f1 == found.chosen.f1
    assert read_manifest(out).scores["sweep"]["f1"] == found.chosen.f1
