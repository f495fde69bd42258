"""Figures in plain words: no more digits than they bear, and no change called one that is none."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from affineur.display import megabytes
from affineur.measure.speed import SAME, Ratio

_ROUNDING = 1e-9  # what floating point adds to a ratio exactly at the border
#: Peaks of memory nearer than this are the same: one process and the next differ by as much.
_NOISE = 0.05
#: What is said of a ratio whose interval names no winner.
UNCLEAR = "not measured well enough to tell"


def percent(share: float, digits: int = 1) -> str:
    """Write a share, never as a negative zero."""
    return f"{round(share * 100, digits) + 0.0:.{digits}f}%"


def points(share: float) -> str:
    """Write a difference of shares in points, with its sign."""
    return f"{round(share * 100, 2) + 0.0:+.2f}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write a number and what is counted."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(parts: Sequence[str]) -> str:
    """Join with commas and a last ``and``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def size_change(
    now: float, before: float, less: str = "smaller", more: str = "larger", same: str = "the same size"
) -> str:
    """Compare two sizes in words: ``the same size``, ``6% smaller``."""
    if before <= 0 or abs(now / before - 1) < 0.0005:
        return same
    return f"{_whole(abs(now / before - 1))} {less if now < before else more}"


def _whole(share: float) -> str:
    return f"{share * 100:.0f}%" if 0.01 <= share < 0.995 or share > 1 else f"{share * 100:.1f}%"


def speed_change(ratio: Ratio) -> str:
    """Say how much faster, as far as the interval says so; without one, for too few rounds, nothing is."""
    winner = ratio.winner(SAME + _ROUNDING)
    return UNCLEAR if winner == "unclear" else "the same speed" if winner == "same" else _faster(ratio.value)


def _faster(ratio: float) -> str:
    if abs(ratio - 1) <= SAME + _ROUNDING:
        return "the same speed"
    if ratio < 1:
        return f"{_whole(1 - ratio)} slower"
    return f"{ratio:.1f}× as fast" if ratio >= 1.5 else f"{_whole(ratio - 1)} faster"


def speed_said(ratio: Ratio) -> str:
    """Say the same inside a sentence."""
    words = speed_change(ratio)
    return f"speed {words}" if words == UNCLEAR else words


def speed_interval(ratio: Ratio) -> str:
    """Say how sure a ratio of speeds is."""
    return (
        "too few rounds for an interval"
        if math.isinf(ratio.high)
        else f"99 %: {ratio.low:.2f} to {ratio.high:.2f}"
    )


def memory_change(now: int | None, before: int | None) -> str:
    """Compare two peaks of memory; within five percent they are the same."""
    if now is None or before is None:
        return "not measured"
    if before and abs(now / before - 1) <= _NOISE + _ROUNDING:
        return "the same within noise"
    return size_change(now, before, "less", "more", "the same")


def bytes_apart(first: int, second: int) -> tuple[str, str]:
    """Write two sizes with enough digits to tell them apart."""
    if first != second and megabytes(first) == megabytes(second):
        return f"{first:,} bytes", f"{second:,} bytes"
    return megabytes(first), megabytes(second)


def columns_of(text: str) -> int:
    """Say how many columns a text takes, a wide character two of them."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shortened(text: str, most: int) -> str:
    """Shorten in the middle, since the names of a family differ at their ends."""
    if columns_of(text) <= most:
        return text
    head, tail = text, text
    while columns_of(head) > most // 2 - 1:
        head = head[:-1]
    while columns_of(tail) > most - most // 2:
        tail = tail[1:]
    return f"{head.rstrip()}…{tail.lstrip()}"
