"""``sweep``: the largest sparsity inside a budget of F1, shown to be inside it and confirmed on text the search never saw.

A coarse scan of each method finds where F1 leaves the budget, bisection narrows that down. A point counts as inside only
where the whole interval is. Every point is scored once: its counts are kept by digest of model, data and parameters.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from affineur.artifact import (
    MANIFEST,
    describe_machine,
    disk_errors,
    environment,
    new_folder,
    read_manifest,
    refuse_to_lose,
    write_card,
    write_json,
    write_manifest,
)
from affineur.compress import cache_folder
from affineur.entities import Corpus
from affineur.errors import DataError, ParameterError
from affineur.measure import Curve, Point, sparsest
from affineur.pipeline.locking import alone
from affineur.pipeline.models import Reference, model_name
from affineur.pipeline.points import Plan, Points
from affineur.pipeline.scores import ScoreBook
from affineur.progress import report
from affineur.transfer import Splits

State = Literal["confirmed", "agrees", "disagrees"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The chosen model on the split the search never saw.

    Args:
        data: Name of the split.
        sentences: Its sentences.
        point: The scores there.
        state: ``confirmed`` where the whole interval is inside the budget there too, ``agrees`` where the estimate is but
            the interval reaches over it, ``disagrees`` where the estimate is outside.
    """

    data: str
    sentences: int
    point: Point
    state: State

    def __str__(self) -> str:
        """Say it in one line."""
        p = self.point
        figures = f"F1 {p.f1:.2%}, drop {p.drop * 100:+.2f} points ({p.drop_low * 100:+.2f} … {p.drop_high * 100:+.2f})"
        said = {
            "confirmed": "confirmed: the whole interval is inside the budget there too",
            "agrees": "agrees: the estimate is inside the budget there too, though so few sentences leave its interval reaching over it",
            "disagrees": "DISAGREES: outside the budget there; ask for less, or search on more text",
        }[self.state]
        return f"{self.data} ({self.sentences:,} sentences the search never saw): {figures}; {said}"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found.

    Args:
        curves: One a method.
        chosen: The sparsest point inside the budget, or ``None`` where there is none.
        confirmation: How it does on unseen text.
        out: The artifact written.
    """

    curves: tuple[Curve, ...]
    chosen: Point | None
    confirmation: Confirmation | None = None
    out: Path | None = None

    @property
    def nearest(self) -> Point:
        """The point that comes nearest to a budget no point meets: the one with the highest F1."""
        return max((p for curve in self.curves for p in curve.points), key=lambda p: p.f1)

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``sweep --json``: the chosen point's on top, ``null`` where the budget is met by none."""
        first = self.curves[0]
        chosen = self.chosen.as_dict() if self.chosen else dict.fromkeys(Point.__dataclass_fields__)
        best = {curve.points[0].method: curve.best.as_dict() if curve.best else None for curve in self.curves if curve.points}
        confirmation = self.confirmation
        return {
            **chosen,
            **{key: value for key, value in first.as_dict().items() if key != "points"},
            "points": [point.as_dict() for curve in self.curves for point in curve.points],
            "best_by_method": best,
            "nearest": None if self.chosen else self.nearest.as_dict(),
            "confirmation": confirmation
            and {"data": confirmation.data, "sentences": confirmation.sentences, "state": confirmation.state, **confirmation.point.as_dict()},
            "out": str(self.out) if self.out else None,
            "machine": environment() | {"description": describe_machine()},
        }


def sweep(
    model: str,
    out: Path | str,
    data: Splits,
    plan: Plan,
    baseline: str | None = None,
    calibration: Corpus | None = None,
    types: Sequence[str] | None = None,
    device: str = "cpu",
    cache: Path | None = None,
) -> Sweep:
    """Search dev for the largest sparsity inside a budget, write that model, and confirm it on test.

    Does again only what is not known yet: scores are kept by digest in the cache, an interrupted fine-tuning goes on.

    Args:
        model: The model to prune: a folder, a Hub id or ``sample``.
        out: Folder of the artifact to write, with ``sweep.json``; its manifest carries the evidence.
        data: ``dev`` is searched, ``test`` confirms, ``train`` is for recovery and calibration.
        plan: What is searched.
        baseline: What a drop is measured from; the model itself by default.
        calibration: Text for activation-aware methods; train by default. Labels are not read.
        types: Types to score, or ``None`` for all.
        device: A torch device.
        cache: Where scores and teacher logits are kept.

    Returns:
        What was found; nothing is written where no point is inside the budget.

    Raises:
        ParameterError: If a value is out of range, or ``out`` holds what is not ours.
        DataError: If a split is missing, or dev and test are the same sentences.
        ModelError: If a model cannot be used.
    """
    out = Path(out)
    dev, test = data.get("dev"), data.get("test")
    if dev.digest == test.digest:
        raise DataError("dev and test are the same sentences, so nothing would be left to confirm on", data.name)
    folder = Reference.parse(model).folder()
    if out.resolve() == folder.resolve():
        raise ParameterError(f"{out} is the model itself, which would be lost; name another folder with -o")
    refuse_to_lose(out)
    work = out.parent / f".{out.name}.sweep"
    book = ScoreBook((cache or cache_folder()) / "scores")
    with disk_errors(out), alone(work, "name another folder with -o"):
        search = Points(folder, model_name(model), dev, baseline or model, plan, book, data.train, calibration, types, device, cache, work)
        curves = tuple(search.curve(method, plan.budget) for method in plan.methods)
        chosen = sparsest(point for curve in curves if (point := curve.best))
        if chosen is None:
            return Sweep(curves, None)
        made = search.make(chosen.method, chosen.asked, work)
        found = Sweep(curves, chosen, _confirm(search, made, test, chosen), out)
        _write(made, out, found)
        shutil.rmtree(work)
    return found


def _confirm(search: Points, made: Path, test: Corpus, chosen: Point) -> Confirmation:
    """Score the chosen model, and no other, on the split the search never saw."""
    report(f"confirming on {test.name}")
    evaluation, baseline = search.scored(made, test), search.scored_baseline(test)
    point = search.plan.budget.point(evaluation, baseline, chosen.method, chosen.asked, chosen.sparsity, chosen.recovered)
    state: State = "confirmed" if point.inside else "agrees" if search.plan.budget.allows(point) else "disagrees"
    return Confirmation(test.name, len(test), point, state)


def _write(made: Path, out: Path, found: Sweep) -> None:
    """Put the chosen model in its place together with the evidence, in one step."""
    manifest = read_manifest(made)
    assert manifest is not None
    evidence = found.as_dict()
    with new_folder(out) as building:
        for path in made.iterdir():
            if path.name != MANIFEST:
                shutil.copyfile(path, building / path.name)
        write_json(building / "sweep.json", evidence)
        kept = {key: value for key, value in evidence.items() if key not in ("points", "machine", "out")}
        write_manifest(building, replace(manifest, scores={**manifest.scores, "sweep": kept}))
    write_card(out)


def sweep_cells(curve: Curve) -> list[list[str]]:
    """Return the cells of a curve's points under :data:`SWEEP_COLUMNS`."""
    return [
        [
            p.method + (" + recovery" if p.recovered else ""),
            f"{p.sparsity:.2%}",
            f"{p.f1:.2%}",
            f"{p.f1_low * 100:.1f}–{p.f1_high * 100:.1f}",
            f"{-p.drop * 100:+.2f} ({-p.drop_high * 100:+.2f} … {-p.drop_low * 100:+.2f})",
            "inside" if p.inside else "outside",
        ]
        for p in curve.points
    ]


SWEEP_COLUMNS = ("Method", "Sparsity", "F1", "Interval", "ΔF1 (interval)", "Budget")
