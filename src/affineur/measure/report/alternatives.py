"""What stands beside the model of a report: rows that look better or give the same for less."""

from __future__ import annotations

import math

from affineur.display import megabytes
from affineur.measure.comparison import Row
from affineur.measure.report.contents import Report
from affineur.measure.report.failures import totals
from affineur.measure.report.words import UNCLEAR, listed, percent, points
from affineur.measure.speed import SAME, Ratio

#: Smaller by less than this is no reason to take another model.
_CLEARLY_SMALLER = 0.95
#: Types of half precision, as safetensors names them.
_HALF = {"F16", "BF16"}
_ERRORS = {
    "missed": "missed entities",
    "invented": "invented entities",
    "boundary": "wrong boundaries",
    "confused": "wrong types",
}


def relative_speed(ours: Row, theirs: Row) -> Ratio:
    """Ratio of two rows' speeds from those to the baseline; its interval holds whatever theirs allow.

    Args:
        ours: The row that is above 1 where it is faster.
        theirs: The row it is compared with.
    """
    mine, other = ours.speed, theirs.speed
    low = 0.0 if math.isinf(other.high) or not other.high else mine.low / other.high
    return Ratio(
        mine.value / other.value if other.value else math.inf,
        low,
        mine.high / other.low if other.low else math.inf,
    )


def better_row(report: Report) -> Row | None:
    """Find a row that looks better than the one reported; of several the one with the highest F1.

    It has no less F1, is not larger and not slower, and is clearly smaller or faster.
    """
    row = report.row
    found = [
        o
        for o in report.comparison.rows
        if o is not row and o.f1 >= row.f1 and o.size_bytes <= row.size_bytes and _gains(o, row)
    ]
    return max(found, key=lambda other: (other.f1, -other.size_bytes), default=None)


def _gains(other: Row, row: Row) -> bool:
    ratio = relative_speed(other, row)
    unknown = math.isinf(ratio.high) and ratio.value < 1 - SAME  # no interval, and slower by the estimate
    if ratio.winner() == "slower" or unknown:
        return False
    return other.size_bytes <= row.size_bytes * _CLEARLY_SMALLER or ratio.winner() == "faster"


def better_line(report: Report) -> str:
    """Name the row that looks better, where there is one."""
    other, gate = better_row(report), report.gate
    if other is None:
        return ""
    if other is report.baseline:
        speed = ""
    elif other.speed.winner() == "unclear" and not math.isinf(other.speed.high):
        speed = f", its speed {UNCLEAR}"
    else:
        speed = f" at {other.speedup:.1f}× the speed of the baseline"
    held = (
        "; it was not checked against the bars"
        if gate is not None and gate.verdicts and gate.model != other.model
        else ""
    )
    return (
        f"Another row looks better: {other.model} has F1 {percent(other.f1, 2)} in "
        f"{megabytes(other.size_bytes)}{speed}{held}."
    )


def same_for_less(report: Report) -> str:
    """Compare the model with the smallest row that has exactly the F1 of the baseline in fewer bytes."""
    row, first = report.row, report.baseline
    equal = [
        o
        for o in report.comparison.rows[1:]
        if o.drop == o.drop_low == o.drop_high == 0 and o.size_bytes < first.size_bytes
    ]
    other = min(equal, key=lambda o: o.size_bytes, default=None)
    if other is None or other is row or not other.size_bytes:
        return ""
    if _halved(report, other):
        what = f"The same {first.model} stored in half precision takes {megabytes(other.size_bytes)}"
    else:
        what = f"{other.model} has exactly the F1 of {first.model} and takes {megabytes(other.size_bytes)}"
    times = row.size_bytes / other.size_bytes
    if times >= 1.05:
        return f"{what}, so this model is {times:.1f}× that."
    if times > _CLEARLY_SMALLER:
        return f"{what}, about as much as this model."
    return f"{what}; this model is {percent(1 - times, 0)} smaller than that."


def _halved(report: Report, other: Row) -> bool:
    """Say whether a row with the F1 of the baseline is the baseline with shorter numbers."""
    ours, theirs = report.models.get(other.model), report.models.get(report.baseline.model)
    if ours is None or theirs is None or ours.parameters != theirs.parameters:
        return False
    return bool(ours.dtypes) and set(ours.dtypes) <= _HALF and set(theirs.dtypes) == {"F32"}


def errors_moved(report: Report) -> list[str]:
    """Say which kinds of errors the model makes more often than the baseline, and which less often."""
    found = report.analysis
    if (
        found is None
        or report.alone
        or (found.model, found.baseline) != (report.row.model, report.baseline.model)
    ):
        return []
    now, before = totals(found.confusion), totals(found.baseline_confusion)
    lines = []
    for lead, sign in (("More errors of these kinds than the baseline", 1), ("Fewer of these", -1)):
        moved = [
            f"{words} {before[kind]:,} → {now[kind]:,}"
            for kind, words in _ERRORS.items()
            if (now[kind] - before[kind]) * sign > 0
        ]
        if moved:
            lines.append(f"{lead}: {listed(moved)}.")
    return lines


def steps(report: Report) -> list[str]:
    """Say for each row what it changed against the row above it, and whether that is more than nothing."""
    return [f"{row.model}: {_step(row)}" for row in report.comparison.rows if row.step is not None]


def _step(row: Row) -> str:
    step = row.step
    assert step is not None
    if step.drop == step.drop_low == step.drop_high == 0:
        return f"exactly the F1 of {step.above}"
    unsure = "; cannot be told from zero" if step.drop_low <= 0 <= step.drop_high else ""
    return (
        f"{points(-step.drop)} points against {step.above} (95\u00a0%: {points(-step.drop_high)} to "
        f"{points(-step.drop_low)}){unsure}"
    )
