"""Axes, and labels that do not cover one another. Plain geometry, no markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis.

    Args:
        low: Value at its start.
        high: Value at its end.
        start: Pixel of its start.
        end: Pixel of its end; above the start for an axis that grows upward.
        step: Distance of its ticks.
    """

    low: float
    high: float
    start: float
    end: float
    step: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; a value off the axis lands on its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> tuple[float, ...]:
        """The round values on it."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return tuple(place * self.step for place in range(first, last + 1))


def axis(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    least: float,
    zero: bool = False,
    most: float = math.inf,
    ticks: int = 5,
) -> Axis:
    """Choose an axis that shows all values and ends on round ones.

    Args:
        values: At least one.
        start: Pixel of its start.
        end: Pixel of its end.
        least: Width in values, so that equal values have an axis too and noise is not blown up.
        zero: Whether it begins at zero.
        most: Where it ends at the latest, such as one for a share; the values do not exceed it.
        ticks: Ticks to aim for.
    """
    known = list(values)
    low, high = (0.0 if zero else min(known)), max(known)
    if high - low < least:
        low, high = (0.0, least) if zero else ((low + high - least) / 2, (low + high + least) / 2)
    step = _round_step((high - low) / ticks)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    if min(known) >= 0:
        low = max(low, 0.0)
    high = min(high, most)
    return Axis(low, high, start, end, step)


def _round_step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


_CLOSE = 24.0  # pixels between points whose labels would be mistaken for each other's


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


def label_places(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    taken: Sequence[Box],
    within: Box,
) -> list[Box] | None:
    """Place a label at each point so that none covers another or anything taken.

    Args:
        anchors: The points.
        sizes: Width and height of each label.
        taken: What must stay uncovered.
        within: Where labels may be.

    Returns:
        A box for each label, or ``None`` where no room was found for one.
    """
    boxes: dict[int, Box] = {}
    # From left to right and top to bottom, so that the same report always looks the same.
    for i in sorted(range(len(anchors)), key=lambda i: anchors[i]):
        free = (
            box
            for box in _around(anchors[i], sizes[i], _crowded_right(anchors[i], anchors))
            if within.holds(box) and not any(box.meets(o) for o in (*taken, *boxes.values()))
        )
        found = next(free, None)
        if found is None:
            return None
        boxes[i] = found
    return [boxes[i] for i in range(len(anchors))]


def _crowded_right(anchor: tuple[float, float], anchors: Sequence[tuple[float, float]]) -> bool:
    """Whether another point lies close on the right and none on the left, so that the label goes left."""
    beside = [
        x - anchor[0] for x, y in anchors if abs(y - anchor[1]) < _CLOSE and 0 < abs(x - anchor[0]) < _CLOSE
    ]
    return bool(beside) and min(beside) > 0


def _around(anchor: tuple[float, float], size: tuple[float, float], left_first: bool) -> Iterator[Box]:
    (x, y), (width, height) = anchor, size
    for far in (8, 16, 26, 38, 52, 68):
        beside = (x + far, y - height / 2), (x - far - width, y - height / 2)
        above = (x + far, y - far - height / 2), (x - far - width, y - far - height / 2)
        below = (x + far, y + far - height / 2), (x - far - width, y + far - height / 2)
        straight = (x - width / 2, y - far - height), (x - width / 2, y + far)
        first, last = (1, 0) if left_first else (0, 1)
        for left, top in (
            beside[first],
            beside[last],
            above[first],
            below[first],
            above[last],
            below[last],
            *straight,
        ):
            yield Box(left, top, left + width, top + height)
