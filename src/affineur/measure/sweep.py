"""What a search for sparsity found, and what may be said of it.

The sparsest of many points is chosen *because* its interval lies inside the budget, so that interval flatters
it (the winner's curse): no more is shown by it than that the point was inside on the text that was searched.
What the model keeps is shown on text the search never saw, and there alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from affineur.artifact import describe_machine, environment
from affineur.display import Shown, Table
from affineur.measure.budget import Budget, Curve, Point

State = Literal["confirmed", "agrees", "disagrees"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The chosen model on the split the search did not look at.

    Args:
        data: Name of the split.
        data_digest: Digest of the split.
        sentences: Its sentences.
        shared: How many of them, by their words, stand in what was searched or learned from too.
        point: The scores there.
        state: ``confirmed`` where the whole interval is inside the budget there too, ``agrees`` where the
            estimate is but the interval reaches over it, ``disagrees`` where the estimate is outside.
    """

    data: str
    data_digest: str
    sentences: int
    shared: int
    point: Point
    state: State

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        known = {
            "data": self.data,
            "data_digest": self.data_digest,
            "sentences": self.sentences,
            "shared": self.shared,
            "state": self.state,
        }
        return {**known, **self.point.as_dict()}

    def __str__(self) -> str:
        """Say it in one line."""
        said = {
            "confirmed": "confirmed: shown to be inside the budget, its whole interval is",
            "agrees": "agrees: the estimate is inside the budget, but the interval reaches over it, so it "
            "is not shown",
            "disagrees": "DISAGREES: outside the budget there; ask for less, or search on more text",
        }[self.state]
        seen = f"{self.shared:,} of them seen before" if self.shared else "none of them seen before"
        where = f"Confirmation on {self.data} ({self.sentences:,} sentences, {seen})"
        return f"{where}: {figures(self.point)}; {said}."


@dataclass(frozen=True, slots=True, repr=False)
class Sweep(Shown):
    """What a sweep found; ``print`` and a notebook show its points.

    Args:
        curves: One per method.
        methods: The methods, in that order.
        budget: The budget.
        recovery: How points were fine-tuned, by parameter, or ``None``.
        data_digest: Digest of the split that was searched.
        unpruned: The model itself, judged like a point.
        chosen: The sparsest point inside the budget, or ``None`` where there is none.
        sparsity_of_model: Zeros ÷ parameters of the whole chosen model.
        confirmation: How it does on unseen text.
        out: The artifact written.
        kept: The earlier artifact that stayed, since the confirmation of this one disagrees.
    """

    curves: tuple[Curve, ...]
    methods: tuple[str, ...]
    budget: Budget
    recovery: dict[str, Any] | None
    data_digest: str
    unpruned: Point
    chosen: Point | None = None
    sparsity_of_model: float | None = None
    confirmation: Confirmation | None = None
    out: Path | None = None
    kept: Path | None = None

    @property
    def nearest(self) -> Point:
        """The point that comes nearest to a budget no point meets: the one with the highest F1."""
        return max((p for curve in self.curves for p in curve.points), key=lambda p: p.f1)

    @property
    def tried(self) -> int:
        """How many points the choice was made among."""
        return sum(len(curve.points) for curve in self.curves)

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``sweep --json``: the chosen point's first, ``null`` without one."""
        chosen = self.chosen.as_dict() if self.chosen else dict.fromkeys(Point.__dataclass_fields__)
        best = {
            method: curve.best.as_dict() if curve.best else None
            for method, curve in zip(self.methods, self.curves, strict=True)
        }
        return {
            **chosen,
            "sparsity_of_model": self.sparsity_of_model,
            **{key: value for key, value in self.curves[0].as_dict().items() if key != "points"},
            "data_digest": self.data_digest,
            "recovery": self.recovery,
            "points": [point.as_dict() for curve in self.curves for point in curve.points],
            "best_by_method": best,
            "unpruned": self.unpruned.as_dict(),
            "nearest": None if self.chosen else self.nearest.as_dict(),
            "confirmation": self.confirmation and self.confirmation.as_dict(),
            "out": str(self.out) if self.out else None,
            "kept": str(self.kept) if self.kept else None,
            "machine": environment() | {"description": describe_machine()},
        }

    @property
    def summary(self) -> str:
        """What was chosen, or that nothing was."""
        if self.chosen is None:
            return f"no sparsity is shown to be inside the budget ({self.budget})"
        return f"{self.chosen.method} at {self.chosen.sparsity:.2%}, {figures(self.chosen)}"

    def tables(self) -> list[Table]:
        """Return what is shown: one row per point tried, and below what may be said of them."""
        from affineur.measure.tables import SWEEP_COLUMNS, sweep_cells

        return [
            Table(
                SWEEP_COLUMNS,
                [row for curve in self.curves for row in sweep_cells(curve)],
                notes=self.lines(),
            )
        ]

    def lines(self) -> list[str]:
        """Say what was found, in lines below the table."""
        first = self.curves[0]
        lines = [
            f"Searched on {first.data}, {first.sentences:,} sentences; baseline {first.baseline}, F1 "
            f"{first.baseline_f1:.2%}; budget: {self.budget}; sparsity is zeros ÷ weights in scope "
            f"({first.scope})."
        ]
        return [*lines, *(self._nothing() if self.chosen is None else self._found(self.chosen))]

    def _found(self, best: Point) -> list[str]:
        among = (
            f"among {self.tried:,} points, so that interval flatters it"
            if self.tried > 1
            else "as the only point"
        )
        written = (
            f"{self.kept} holds an earlier model, which stays as it is; nothing was written."
            if self.kept
            else f"Written to {self.out}, with the evidence in affineur.json, sweep.json and sweep.svg."
        )
        return [
            f"Chosen {among}: {best.method} at {best.sparsity:.2%} ({self.sparsity_of_model:.2%} of the "
            f"whole model). Its interval on {self.curves[0].data} is inside the budget: {figures(best)}.",
            str(self.confirmation),
            written,
        ]

    def _nothing(self) -> list[str]:
        bare, near, lines = self.unpruned, self.nearest, []
        if not bare.inside:
            beyond = (
                "is not shown to be inside the budget"
                if self.budget.allows(bare)
                else "is outside the budget"
            )
            only = all(
                point == replace(bare, method=point.method) for curve in self.curves for point in curve.points
            )
            nothing = " So nothing was pruned." if only else ""
            lines = [f"Even the unpruned model {beyond}: {figures(bare)}.{nothing}"]
        best = f"The best point, {near.method} at {near.sparsity:.2%}: {figures(near)}."
        return [*lines, f"Of no sparsity is the interval inside the budget. {best} Nothing was written."]


def figures(point: Point) -> str:
    """Write the scores of a point with their intervals, on one line; a drop is positive where F1 was lost."""
    drop = f"{point.drop * 100:+z.2f} points ({point.drop_low * 100:+z.2f} … {point.drop_high * 100:+z.2f})"
    return f"F1 {point.f1:.2%} ({point.f1_low:.2%} to {point.f1_high:.2%}), drop {drop}"
