"""A budget of F1, points of a sparsity curve, and whether each is shown to be inside the budget."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from affineur.errors import ParameterError
from affineur.measure.bootstrap import FEWEST
from affineur.measure.evaluation import Evaluation

#: F1 that may be lost is less than this: who writes 1 means a point, not everything.
MOST_LOST = 0.5
_POINTS = re.compile(
    r"\s*([0-9]{1,9}(?:[.,][0-9]{1,9})?|[.,][0-9]{1,9})\s*(?:points?|pts?)\s*", re.IGNORECASE
)


def fraction_of(value: float | str, name: str = "max_drop") -> float:
    """Read F1 that may be lost: a fraction below a half, or points such as ``1 point``.

    Args:
        value: What was written.
        name: The parameter it was written for.

    Raises:
        ParameterError: If it is neither.
    """
    expected = "expected a fraction below 0.5, such as 0.01, or points, such as '1 point'"
    if isinstance(value, str):
        if not (found := _POINTS.fullmatch(value)):
            raise ParameterError(f"{name} is '{value[:40]}', {expected}", name)
        value = float(found[1].replace(",", ".")) / 100
    if not 0 <= value < MOST_LOST:  # NaN is not
        instead = f"; write {value / 100:g} or '{value:g} point{'s' * (value != 1)}'" if value <= 100 else ""
        hint = instead if value >= MOST_LOST else ""
        raise ParameterError(f"{name}={value:g} is outside [0, 0.5): 0.01 is one point of F1{hint}", name)
    return value


@dataclass(frozen=True, slots=True)
class Point:
    """One model of a curve, scored on the split that was searched.

    Args:
        method: How it was pruned.
        asked: The sparsity asked for.
        sparsity: Zeros ÷ weights in scope, as achieved: whole weights, and zeros that were there before.
        recovered: Whether it was fine-tuned after pruning.
        f1: F1 of all types.
        f1_low: Lower end of its interval.
        f1_high: Upper end.
        drop: F1 of the baseline minus F1, positive where F1 was lost.
        drop_low: Lower end of the paired interval.
        drop_high: Upper end: what may have been lost.
        p_value: Of no difference to the baseline.
        inside: Whether the interval, not only the point, is inside the budget, and enough sentences stand
            behind it.
    """

    method: str
    asked: float
    sparsity: float
    recovered: bool
    f1: float
    f1_low: float
    f1_high: float
    drop: float
    drop_low: float
    drop_high: float
    p_value: float
    inside: bool

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Budget:
    """What F1 may be lost: a floor, or a drop from a baseline, or both.

    Args:
        min_f1: The lower end of the interval of F1 must reach this.
        max_drop: The upper end of the paired interval of the drop must not exceed this.
        confidence: Mass inside the intervals.

    Raises:
        ParameterError: If neither is given, or a value is out of range.
    """

    min_f1: float | None = None
    max_drop: float | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.min_f1 is None and self.max_drop is None:
            raise ParameterError("a budget needs min_f1 (such as 0.845) or max_drop (such as 0.01)")
        if self.min_f1 is not None and not 0 < self.min_f1 < 1:
            raise ParameterError(
                f"min_f1={self.min_f1:g} is outside (0, 1): F1 is a fraction here, for example 0.845",
                "min_f1",
            )
        if self.max_drop is not None:
            fraction_of(self.max_drop)
        if not 0.5 <= self.confidence < 1:
            raise ParameterError(
                f"confidence={self.confidence:g} is outside [0.5, 1), expected for example 0.95", "confidence"
            )

    def point(
        self,
        evaluation: Evaluation,
        baseline: Evaluation,
        method: str,
        asked: float,
        sparsity: float,
        recovered: bool = False,
    ) -> Point:
        """Judge one model.

        On fewer than :data:`~affineur.measure.bootstrap.FEWEST` sentences no point is inside. Nor is a model
        without any loss where the sentences leave room for more than the budget: about 370 with a mention
        show a drop of at most a point.

        Args:
            evaluation: Its scores.
            baseline: Scores of the baseline on the same sentences.
            method: How it was pruned.
            asked: The sparsity asked for.
            sparsity: The sparsity achieved.
            recovered: Whether it was fine-tuned after pruning.
        """
        interval = evaluation.interval(confidence=self.confidence)
        difference = evaluation.minus(baseline, confidence=self.confidence)
        kept = (self.min_f1 is None or interval.low >= self.min_f1) and (
            self.max_drop is None or -difference.low <= self.max_drop
        )
        inside = kept and evaluation.sentences >= FEWEST
        drop, low, high = 0.0 - difference.value, 0.0 - difference.high, 0.0 - difference.low
        return Point(
            method,
            asked,
            sparsity,
            recovered,
            interval.value,
            interval.low,
            interval.high,
            drop,
            low,
            high,
            difference.p_value,
            inside,
        )

    def allows(self, point: Point) -> bool:
        """Say whether the estimate itself, whatever its interval, is inside the budget."""
        return (self.min_f1 is None or point.f1 >= self.min_f1) and (
            self.max_drop is None or point.drop <= self.max_drop
        )

    def __str__(self) -> str:
        """Say the budget in words."""
        parts = [f"F1 of at least {self.min_f1 * 100:g}%"] if self.min_f1 is not None else []
        if self.max_drop is not None:
            lost = f"{self.max_drop * 100:g}"
            parts.append(f"a drop of at most {lost} point{'' if lost == '1' else 's'}")
        return " and ".join(parts) + f" with {self.confidence * 100:g}% confidence"


@dataclass(frozen=True, slots=True)
class Curve:
    """F1 over sparsity on the split that was searched.

    Args:
        model: Name of the model that was pruned.
        data: Name of the split.
        sentences: Its sentences.
        baseline: Name of the baseline.
        baseline_f1: F1 of the baseline.
        budget: The budget, or ``None`` where the curve is drawn for its own sake.
        points: The points, by method, recovery and sparsity.
        scope: What was pruned, and what sparsity is a share of.
        methods: What each method takes away, in plain words, as far as it is known.
    """

    model: str
    data: str
    sentences: int
    baseline: str
    baseline_f1: float
    budget: Budget | None
    points: tuple[Point, ...]
    scope: str = "attention+ffn"
    methods: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Point | None:
        """The sparsest point inside the budget; of equals the one that loses less."""
        return sparsest(point for point in self.points if point.inside) if self.budget else None

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        return {
            "model": self.model,
            "scope": self.scope,
            "data": self.data,
            "sentences": self.sentences,
            "baseline": self.baseline,
            "baseline_f1": self.baseline_f1,
            "min_f1": self.budget.min_f1 if self.budget else None,
            "max_drop": self.budget.max_drop if self.budget else None,
            "confidence": self.budget.confidence if self.budget else 0.95,
            "points": [point.as_dict() for point in self.points],
        }


def sparsest(points: Iterable[Point]) -> Point | None:
    """Return the sparsest of some points; of equals the one that loses less."""
    return max(points, key=lambda point: (point.sparsity, -point.drop), default=None)
