"""The axes that two kinds of pictures share."""

from __future__ import annotations

from collections.abc import Callable

from affineur.measure.report.markup import Html, el, said
from affineur.measure.report.scales import Axis
from affineur.measure.report.words import percent


def frame(across: Axis, up: Axis, unit: str, write: Callable[[float], str]) -> list[Html]:
    """Draw the axes of a picture whose height is F1.

    Args:
        across: The horizontal axis.
        up: The vertical axis, of shares.
        unit: What the horizontal axis says.
        write: Writes its ticks.
    """
    parts = []
    for tick in up.ticks:
        parts.append(el("line", class_="grid", x1=across.start, x2=across.end, y1=up(tick), y2=up(tick)))
        parts.append(said(across.start - 6, up(tick) + 4, tick_percent(up, tick), "tick", "end"))
    for tick in across.ticks:
        parts.append(
            el("line", class_="axis", x1=across(tick), x2=across(tick), y1=up.start, y2=up.start + 4)
        )
        parts.append(said(across(tick), up.start + 18, write(tick), "tick", "middle"))
    parts.append(el("line", class_="axis", x1=across.start, x2=across.end, y1=up.start, y2=up.start))
    parts.append(said((across.start + across.end) / 2, up.start + 38, unit, "", "middle"))
    parts.append(
        said(0, up.end - 20, "F1")
    )  # well above the highest tick, on narrow screens with larger letters too
    return parts


def tick_percent(of: Axis, tick: float) -> str:
    """Write a tick of an axis of shares, with a decimal where the ticks are closer than a percent."""
    return percent(tick, 0 if of.step >= 0.0099 else 1 if of.step >= 0.00099 else 2)
