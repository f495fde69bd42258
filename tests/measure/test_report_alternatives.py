"""What stands beside the model of a report: better rows, the same for less, steps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.measure.comparison import Change, Comparison, Row
from affineur.measure.gate import Gate, Verdict
from affineur.measure.report import Report, report_html
from affineur.measure.report.alternatives import (
    better_line,
    better_row,
    relative_speed,
    same_for_less,
    steps,
)
from affineur.measure.report.answers import answers

from .report_samples import drops, info


def timed(row: Row, speedup: float, low: float = 0.0, high: float | None = None) -> Row:
    return replace(row, speedup=speedup, speedup_low=low, speedup_high=high)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({}, False),
        ({"size_bytes": 95}, True),
        ({"size_bytes": 96}, False),
        ({"size_bytes": 50, "f1": 0.49}, False),
        ({"size_bytes": 101, "f1": 0.9}, False),
        ({"f1": 0.9}, False),
        ({"speedup": 2.1, "speedup_low": 2.07, "speedup_high": 2.2}, True),
        ({"speedup": 2.1, "speedup_low": 1.02, "speedup_high": 2.2}, False),
        ({"speedup": 2.1, "speedup_low": 0.0, "speedup_high": None}, False),
        ({"size_bytes": 50, "speedup": 0.5, "speedup_low": 0.4, "speedup_high": 0.6}, False),
        ({"size_bytes": 50, "speedup": 0.9, "speedup_low": 0.6, "speedup_high": 1.1}, True),
        ({"size_bytes": 50, "speedup": 0.9, "speedup_low": 0.0, "speedup_high": None}, False),
    ],
)
def test_a_row_that_looks_better(compared: Comparison, other: dict[str, Any], found: bool) -> None:
    first = replace(compared.rows[0], f1=0.2, size_bytes=1000)
    row = timed(replace(compared.rows[1], f1=0.5, size_bytes=100), 1.0, 0.98, 1.0)
    one = replace(row, model="other", **other)
    report = Report("x", replace(compared, rows=(first, row, one)), chosen="student")
    assert better_row(report) == (one if found else None)
    assert bool(better_line(report)) == found
    assert ("Another row looks better: other has F1" in answers(report)[0].detail) == found


def test_of_several_better_rows_the_best_is_named(compared: Comparison) -> None:
    first = replace(compared.rows[0], f1=0.2, size_bytes=1_000_000_000)
    row = timed(replace(compared.rows[1], f1=0.5, size_bytes=100_000_000), 1.0, 1.0, 1.0)
    small = replace(row, model="small", size_bytes=10_000_000)
    good = timed(replace(row, model="good", f1=0.6, size_bytes=14_700_000), 2.71, 1.72, 4.43)
    gate = Gate("student", "d", None, (Verdict("min_f1", 0.8, 0.85, True),))
    report = Report("x", replace(compared, rows=(first, row, small, good)), chosen="student", gate=gate)
    assert better_row(report) == good
    held = "; it was not checked against the bars."
    said = "Another row looks better: good has F1 60.00% in 14.7 MB at 2.7× the speed of the baseline"
    assert better_line(report) == said + held
    assert better_line(replace(report, gate=None)) == said + "."
    assert better_line(replace(report, gate=replace(gate, model="good"))) == said + "."
    unsure = replace(report, comparison=replace(compared, rows=(first, row, timed(good, 1.2, 0.9, 1.4))))
    assert (
        better_line(unsure)
        == "Another row looks better: good has F1 60.00% in 14.7 MB, its speed not measured well enough to "
        f"tell{held}"
    )
    baseline = replace(report, comparison=replace(compared, rows=(timed(good, 1.0, 1.0, 1.0), row)))
    assert better_line(baseline) == f"Another row looks better: good has F1 60.00% in 14.7 MB{held}"


@given(st.tuples(*[st.floats(0.1, 10)] * 6))
def test_relative_speed_covers_both_intervals(compared: Comparison, parts: tuple[float, ...]) -> None:
    (low, value, high), (other_low, other, other_high) = sorted(parts[:3]), sorted(parts[3:])
    row = compared.rows[1]
    found = relative_speed(timed(row, value, low, high), timed(row, other, other_low, other_high))
    assert found.value == pytest.approx(value / other)
    for a, b in ((low, other_low), (low, other_high), (high, other_low), (high, other_high)):
        assert found.low * (1 - 1e-9) <= a / b <= found.high * (1 + 1e-9)
    unknown = relative_speed(timed(row, value), timed(row, other))
    assert (unknown.low, unknown.high) == (0.0, math.inf)


def test_the_same_f1_in_fewer_bytes_is_said(compared: Comparison) -> None:
    first = replace(compared.rows[0], model="teacher (fp32)", size_bytes=31_000_000)
    half = drops(replace(compared.rows[1], model="teacher (fp16)", size_bytes=15_500_000), 0.0, 0.0, 0.0)
    row = drops(replace(compared.rows[1], size_bytes=29_200_000), -0.1, 0.0, 0.1)

    kept = info(0.0)
    halves = {"teacher (fp32)": kept, "teacher (fp16)": replace(kept, dtypes=("F16",))}

    def said(*rows: Row, chosen: str = "student") -> str:
        return same_for_less(Report("x", replace(compared, rows=rows), chosen=chosen, models=halves))

    assert (
        said(first, half, row)
        == "The same teacher (fp32) stored in half precision takes 15.5 MB, so this model is 1.9× that."
    )
    assert said(first, half, replace(row, size_bytes=15_600_000)).endswith(
        "takes 15.5 MB, about as much as this model."
    )
    assert said(first, half, replace(row, size_bytes=7_750_000)).endswith(
        "takes 15.5 MB; this model is 50% smaller than that."
    )
    packed = replace(half, model="packed", size_bytes=10_000_000)
    assert (
        said(first, half, packed, row)
        == "packed has exactly the F1 of teacher (fp32) and takes 10.0 MB, so this model is 2.9× that."
    )
    other = replace(half, model="of another size")
    assert said(first, other, row).startswith("of another size has exactly the F1 of teacher (fp32)")
    assert said(first, row) == ""
    assert said(first, replace(half, drop_high=0.001), row) == ""
    assert said(first, replace(half, drop=0.001), row) == ""
    assert said(first, replace(half, size_bytes=31_000_000), row) == ""
    assert said(first, half, row, chosen="teacher (fp16)") == ""
    assert (
        "half precision takes 15.5 MB"
        in answers(Report("x", replace(compared, rows=(first, half, row)), chosen="student", models=halves))[
            1
        ].detail
    )


def test_each_step_says_whether_it_can_be_told_from_zero(compared: Comparison) -> None:
    first, row = compared.rows
    made = [
        replace(row, model="a", step=Change("student", 0.0002, -0.003, 0.004, 0.9)),
        replace(row, model="b", step=Change("a", -0.02, -0.03, -0.01, 0.0)),
        replace(row, model="c", step=Change("b", 0.0, 0.0, 0.0, 1.0)),
        replace(row, model="d", step=Change("c", 0.01, 0.0, 0.02, 0.05)),
    ]
    report = Report("x", replace(compared, rows=(first, row, *made)), chosen="d")
    lines = [
        "a: -0.02 points against student (95\u00a0%: -0.40 to +0.30); cannot be told from zero",
        "b: +2.00 points against a (95\u00a0%: +1.00 to +3.00)",
        "c: exactly the F1 of b",
        "d: -1.00 points against c (95\u00a0%: -2.00 to +0.00); cannot be told from zero",
    ]
    assert steps(report) == lines
    detail = answers(report)[1].detail
    assert all(f"<li>{line}</li>" in detail for line in lines)
    assert "<details>" not in detail
    many = replace(
        report,
        comparison=replace(compared, rows=(first, row, *(replace(made[1], model=f"m{i}") for i in range(7)))),
        chosen="m6",
    )
    assert (
        "<details><summary>F1 step by step, each row against the one above it</summary>"
        in answers(many)[1].detail
    )
    assert steps(Report("x", compared)) == []
    assert "step by step" not in answers(Report("x", compared))[1].detail
    assert "Each against the row above it" not in report_html(report)
    assert "Each against the row above it" in report_html(replace(report, chosen="teacher"))
