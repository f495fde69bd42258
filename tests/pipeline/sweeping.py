"""What the tests of ``sweep`` share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from affineur.artifact import open_folder
from affineur.entities import Corpus, Scheme, Sentence
from affineur.errors import AffineurError
from affineur.measure import Budget, Point, Sweep
from affineur.pipeline import Plan, Points, ScoreBook
from affineur.pipeline.sweep import sweep
from affineur.steps.core.context import Context
from affineur.steps.core.step import STEPS
from affineur.steps.pruning.core import norms
from affineur.steps.training import loop
from affineur.transfer import Splits

QUICK = STEPS.get("recover").given({"epochs": 0.25, "learning_rate": 1e-3})
GRID = (0.2, 0.5, 0.9)
PLAN = Plan(Budget(max_drop=0.49), points=(0.1,))


def corpus_of(sentences: Sequence[Sentence], name: str = "made") -> Corpus:
    return Corpus.scan(name, lambda: iter(sentences), Scheme.IO)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def beside(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path != out)


def strict_json(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(path.read_text(), parse_constant=refuse)


def swept(
    model: Path | str,
    out: Path,
    data: Splits,
    plan: Plan,
    *,
    calibration: Corpus | None = None,
    teacher: Path | None = None,
    device: str = "cpu",
    **more: Any,
) -> Sweep:
    """Search, as library and command line do."""
    master = None if teacher is None else open_folder(teacher)
    context = Context(data=data, calibration=calibration, teacher=master, device=device)
    return sweep(str(model), out=out, plan=plan, context=context, **more)


class Count:
    """Counts models pruned in memory, measurements of inputs for them, and fine-tunings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self._pruning = False
        pruned, input_norms, fit = Points._pruned, norms.input_norms, loop.fit

        def counted_pruned(*given: Any, **more: Any) -> Any:
            self.calls.append("pruned")
            self._pruning = True
            try:
                return pruned(*given, **more)
            finally:
                self._pruning = False

        def counted_norms(*given: Any, **more: Any) -> Any:
            if self._pruning:  # and not by the step that writes the winner
                self.calls.append("input_norms")
            return input_norms(*given, **more)

        def counted_fit(*given: Any, **more: Any) -> Any:
            self.calls.append("fit")
            return fit(*given, **more)

        monkeypatch.setattr(Points, "_pruned", counted_pruned)
        monkeypatch.setattr(norms, "input_norms", counted_norms)
        monkeypatch.setattr(loop, "fit", counted_fit)

    def of(self, name: str) -> int:
        found = self.calls.count(name)
        self.calls = [call for call in self.calls if call != name]
        return found


class KilledError(Exception):
    """Stands for the end of the process."""


def points_of(model: Path, data: Splits, plan: Plan, tmp_path: Path) -> Points:
    book, context = ScoreBook(tmp_path / "scores"), Context(data=data)
    return Points(open_folder(model), "m", data.get("dev"), str(model), plan, book, context)


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
        swept(model, more.pop("out", tmp_path / "out"), data, plan, **more)
    assert "\n" not in str(error.value)
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before, (
        "something was left behind"
    )
