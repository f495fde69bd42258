"""The Pareto front of a search as a file of its own: size against F1, and speed against F1 below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from affineur.display import megabytes
from affineur.measure.pareto import best_line
from affineur.measure.report.curve import Drawing
from affineur.measure.report.frame import frame
from affineur.measure.report.markup import Html, el, said
from affineur.measure.report.picture import standalone
from affineur.measure.report.scales import Axis, Box, axis, label_places
from affineur.measure.report.words import columns_of, percent

_WIDTH, _PANEL = 560, 352.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 532.0, 60.0, 306.0
_LETTER, _LINE = 7.0, 16.0

SpotKind = Literal["teacher", "smallest", "knee", "front", "beaten"]


@dataclass(frozen=True, slots=True)
class Spot:
    """A point of the picture.

    Args:
        name: Its name.
        f1: Its F1.
        size_bytes: Bytes of its weights.
        speed: Its speed, as a ratio to the teacher's.
        kind: What it is: the teacher, recommended, on the front, or beaten by another on F1, size and speed.
    """

    name: str
    f1: float
    size_bytes: int
    speed: float
    kind: SpotKind


def front_picture(teacher: Spot, spots: Sequence[Spot], data: str) -> str:
    """Draw a search as an SVG file that needs nothing else.

    Args:
        teacher: The teacher.
        spots: The points.
        data: Name of the split that F1 was taken on.
    """
    every = [teacher, *spots]
    panels = [
        _panel(
            0.0,
            "Size against F1",
            "size of the weights, MB",
            every,
            [spot.size_bytes / 1e6 for spot in every],
            -1,
        ),
        _panel(
            _PANEL + 16,
            "Speed against F1",
            "speed, times the teacher's",
            every,
            [spot.speed for spot in every],
            1,
        ),
    ]
    kinds = {spot.kind for spot in spots}
    caption = (
        f"F1 on {data}; higher is better. In the first picture further left is smaller, in the second "
        "further right is faster. Diamond: the teacher; "
        + (
            "large dot: the smallest point inside the budget"
            + ("; " if "knee" in kinds else ", which is the knee too; ")
        )
        * ("smallest" in kinds)
        + "ring: the knee; " * ("knee" in kinds)
        + "other dots: the points that none beats on F1, size and speed together, and, smaller, those that "
        "are beaten. "
        "The stepped line joins the points that none beats in the one picture."
    )
    told = (
        f"{spot.name}: F1 {percent(spot.f1)}, {megabytes(spot.size_bytes)}, {spot.speed:.2f} times the speed"
        for spot in every
    )
    label = "Points of the search: " + "; ".join(told)
    return standalone(
        Drawing(_WIDTH, 2 * _PANEL + 16, label, tuple(part for panel in panels for part in panel), caption)
    )


def _panel(
    top: float, title: str, unit: str, spots: Sequence[Spot], values: Sequence[float], sense: int
) -> list[Html]:
    across = axis(values, _LEFT, _RIGHT, least=max(values) or 1.0, zero=True)
    up = axis([spot.f1 for spot in spots], top + _BOTTOM, top + _TOP, least=0.02, most=1.0)
    at = [(across(value), up(spot.f1)) for value, spot in zip(values, spots, strict=True)]
    parts = [said(0, top + 14, title, "title"), *frame(across, up, unit, _number(across))]
    best = [
        at[place]
        for place in best_line([(sense * value, spot.f1) for value, spot in zip(values, spots, strict=True)])
    ]
    if len(best) > 1:
        best.sort()
        turn = "H{0:.1f}V{1:.1f}" if sense < 0 else "V{1:.1f}H{0:.1f}"
        steps = "".join(turn.format(*corner) for corner in best[1:])
        parts.append(el("path", class_="front", d=f"M{best[0][0]:.1f} {best[0][1]:.1f}{steps}"))
    order = ("beaten", "front", "teacher", "smallest", "knee")
    for place in sorted(range(len(spots)), key=lambda i: order.index(spots[i].kind)):
        parts.append(_mark(spots[place], *at[place]))
    return [*parts, *_labels(spots, at, top)]


def _mark(spot: Spot, x: float, y: float) -> Html:
    title = el(
        "title",
        f"{spot.name}: F1 {percent(spot.f1)}, {megabytes(spot.size_bytes)}, {spot.speed:.2f} times the speed",
    )
    if spot.kind == "teacher":
        return el("path", title, class_="mark base", d=f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z")
    class_, radius = {
        "smallest": ("mark chosen", 6.0),
        "knee": ("hollow", 5.0),
        "front": ("mark other", 5.0),
        "beaten": ("mark other", 3.0),
    }[spot.kind]
    return el("circle", title, class_=class_, cx=x, cy=y, r=radius)


def _labels(spots: Sequence[Spot], at: Sequence[tuple[float, float]], top: float) -> list[Html]:
    """Name the teacher and what is recommended, and the others of the front where all find room."""
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in at]
    within = Box(_LEFT, top + _TOP - 8, _RIGHT + 24, top + _BOTTOM)
    for kinds in (("teacher", "smallest", "knee", "front"), ("teacher", "smallest", "knee")):
        named = [place for place, spot in enumerate(spots) if spot.kind in kinds]
        sizes = [(columns_of(spots[place].name) * _LETTER, _LINE) for place in named]
        if boxes := label_places([at[place] for place in named], sizes, taken, within):
            return [
                said(
                    (box.left + box.right) / 2,
                    box.bottom - 4,
                    spots[place].name,
                    "halo strong" if spots[place].kind == "smallest" else "halo",
                    "middle",
                )
                for place, box in zip(named, boxes, strict=True)
            ]
    return []


def _number(across: Axis) -> Callable[[float], str]:
    digits = max(0, -math.floor(math.log10(across.step)))
    return lambda tick: f"{tick:,.{digits}f}"
