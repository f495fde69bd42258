"""The Pareto front of any number of costs, and its knee; less is better, so negate what should be large."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]


def pareto_front(costs: Costs) -> list[int]:
    """Pick the rows no other beats: none is at most as dear in every column and cheaper in one.

    Args:
        costs: Shape ``(points, objectives)``.

    Returns:
        Their places, ascending; of equal rows the first.
    """
    found: list[int] = []
    for place, row in enumerate(costs):
        no_dearer = (costs <= row).all(axis=1)
        cheaper = (costs < row).any(axis=1)
        equal_before = no_dearer[:place] & ~cheaper[:place]
        if not (no_dearer & cheaper).any() and not equal_before.any():
            found.append(place)
    return found


def best_line(pairs: Sequence[tuple[float, float]]) -> list[int]:
    """Pick the points of a picture that no other beats, from left to right.

    Args:
        pairs: What is better the larger it is, twice; the first goes from left to right.

    Returns:
        Their places; of equal points the first.
    """
    return sorted(pareto_front(-np.array(pairs)), key=lambda place: pairs[place])


def knee(costs: Costs) -> int:
    """Pick the point of a front that is nearest to the ideal, which has the least of every column.

    Each column is scaled to what it spans on the front, so no unit counts more than another: the compromise
    solution of Yu 1973 (A Class of Solutions for Group Decision Problems, Management Science 19: 936-946)
    with the Euclidean distance.

    Args:
        costs: The front, shape ``(points, objectives)``, at least one point.

    Returns:
        Its place; of points equally near the first.

    Raises:
        ValueError: If there is no point.
    """
    if not len(costs):
        raise ValueError("a front without a point has no knee")
    span = np.ptp(costs, axis=0)
    scaled = (costs - costs.min(axis=0)) / np.where(span > 0, span, 1.0)
    return int(np.linalg.norm(scaled, axis=1).argmin())
