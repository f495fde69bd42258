"""The parts of a report: geometry against naive oracles, wording case by case."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.entities import Mention
from affineur.measure.analysis import Analysis, Confusion, Disagreement
from affineur.measure.comparison import Comparison, Row, Step, TypeRow
from affineur.measure.gate import Gate, Verdict
from affineur.measure.report import Report, report_html, verdict
from affineur.measure.report.alternatives import (
    better_line,
    better_row,
    errors_moved,
    relative_speed,
    same_for_less,
    steps,
)
from affineur.measure.report.answers import answers, zeros_note
from affineur.measure.report.bars import bar_list, bar_name, in_plain_words, outcome
from affineur.measure.report.failures import by_share, errors, find_errors, totals
from affineur.measure.report.markup import Html, breakable, clean, el, join, markup
from affineur.measure.report.scales import Box, axis, label_places, pareto
from affineur.measure.report.sentences import excerpt
from affineur.measure.report.words import (
    bytes_apart,
    counted,
    listed,
    memory_change,
    percent,
    points,
    shortened,
    size_change,
    speed_change,
    speed_interval,
    speed_said,
)
from affineur.measure.speed import Ratio

from .conftest import TYPES
from .test_report import compared as compared
from .test_report import info

FLOATS = st.floats(0, 1000, allow_nan=False)
MENTIONS = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 3), st.sampled_from(TYPES)), max_size=5)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_pareto_agrees_with_the_definition(pairs: list[tuple[int, int]]) -> None:
    found = pareto([(float(a), float(b)) for a, b in pairs])
    beaten = [any(o[0] >= p[0] and o[1] >= p[1] and o != p for o in pairs) for p in pairs]
    assert {pairs[i] for i in found} == {pair for pair, lost in zip(pairs, beaten, strict=True) if not lost}
    assert len({pairs[i] for i in found}) == len(found)
    assert found == sorted(found, key=lambda i: pairs[i][0])
    assert all(pairs.index(pairs[i]) == i for i in found)


@given(st.lists(FLOATS, min_size=1, max_size=20), st.booleans(), st.sampled_from([1e-4, 0.02, 1.0]))
def test_an_axis_shows_every_value_between_round_ticks(values: list[float], zero: bool, least: float) -> None:
    found = axis(values, 10, 210, least=least, zero=zero)
    assert found.low <= min(values) + 1e-6
    assert found.high >= max(values) - 1e-6
    assert found.high - found.low >= least * 0.49
    assert not zero or found.low == 0
    assert 2 <= len(found.ticks) <= 12
    for value in values:
        assert 10 <= found(value) <= 210
    assert [found(tick) for tick in found.ticks] == sorted(found(tick) for tick in found.ticks)


def test_an_axis_of_equal_values_puts_them_in_the_middle() -> None:
    found = axis([0.5, 0.5], 0, 100, least=0.02, most=1.0)
    assert found(0.5) == pytest.approx(50)
    assert axis([1.0], 0, 100, least=0.02, most=1.0).high == 1.0
    assert axis([0.0], 0, 100, least=0.02, most=1.0).low == 0.0
    assert axis([0.42, 0.44], 100, 0, least=0.02)(0.44) < axis([0.42, 0.44], 100, 0, least=0.02)(0.42)


def test_labels_cover_neither_each_other_nor_points() -> None:
    rng, within = random.Random(3), Box(0, 0, 400, 250)
    anchors = [(rng.uniform(20, 380), rng.uniform(20, 230)) for _ in range(15)]
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in anchors]
    found = label_places(anchors, [(16.0, 14.0)] * 15, taken, within)
    assert found is not None
    for i, box in enumerate(found):
        assert within.holds(box)
        assert not any(box.meets(other) for other in [*taken, *found[:i]])
    assert label_places([(5.0, 5.0)], [(500.0, 10.0)], [], within) is None
    left, right = (
        label_places([(100.0, 100.0), (104.0, 100.0)], [(16.0, 14.0)] * 2, [Box(94, 94, 110, 106)], within)
        or []
    )
    assert left.right <= 100 < 104 <= right.left  # each on its own side


@given(MENTIONS, MENTIONS)
def test_errors_of_a_sentence_are_those_counted(
    first: list[tuple[int, int, str]], second: list[tuple[int, int, str]]
) -> None:
    gold, predicted = (_without_overlap(found) for found in (first, second))
    whole = Confusion.empty(TYPES)
    whole.add(gold, predicted)
    seen: dict[str, int] = {}
    for kind, _, _ in find_errors(gold, predicted):
        seen[str(kind)] = seen.get(str(kind), 0) + 1
    assert seen == {str(kind): count for kind, count in errors(whole)}


def _without_overlap(found: list[tuple[int, int, str]]) -> list[Mention]:
    kept: list[Mention] = []
    for start, length, kind in found:
        if all(start + length <= m.start or m.end <= start for m in kept):
            kept.append(Mention(start, start + length, kind))
    return kept


def test_markup_escapes_text_and_leaves_markup() -> None:
    assert (
        el("p", "<b>", Html("<i></i>"), class_='a"b', data_x=1.25, left_out=None)
        == '<p class="a&quot;b" data-x="1.2">&lt;b&gt;<i></i></p>'
    )
    assert el("line", x1=3.0) == '<line x1="3"/>'
    assert join(["&", Html("&amp;")], ",") == "&amp;,&amp;"
    assert clean("a\udc80\x1bb\tc\n") == "a\ufffd\ufffdb\tc\n"
    assert breakable("a_b<c") == "a_<wbr>b&lt;c"
    assert isinstance(markup("x"), Html)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (Ratio(1.0, 0.99, 1.01), "the same speed"),
        (Ratio(1.03, 0.98, 1.03), "the same speed"),
        (Ratio(1.0, 0.9, 1.2), "not measured well enough to tell"),
        (Ratio(0.97, 0.0, math.inf), "not measured well enough to tell"),
        (Ratio(1.08, 1.05, 1.1), "8% faster"),
        (Ratio(1.08, 0.99, 1.2), "not measured well enough to tell"),
        (Ratio(1.08, 0.0, math.inf), "not measured well enough to tell"),
        (Ratio(0.9, 0.88, 0.92), "10% slower"),
        (Ratio(0.9, 0.8, 1.1), "not measured well enough to tell"),
        (Ratio(2.66, 2.5, 2.8), "2.7× as fast"),
        (Ratio(2.66, 0.0, math.inf), "not measured well enough to tell"),
    ],
)
def test_speed_in_words(ratio: Ratio, words: str) -> None:
    assert speed_change(ratio) == words
    assert speed_said(ratio) == (
        "speed not measured well enough to tell" if ratio.winner() == "unclear" else words
    )


def test_how_sure_a_speed_is() -> None:
    assert speed_interval(Ratio(1.1, 1.05, 1.2)) == "99 %: 1.05 to 1.20"
    assert speed_interval(Ratio(1.1, 0.0, math.inf)) == "too few rounds for an interval"


def test_figures_in_words() -> None:
    assert size_change(100, 100) == "the same size"
    assert size_change(94, 100) == "6% smaller"
    assert size_change(300, 100) == "200% larger"
    assert size_change(5, 0) == "the same size"
    assert memory_change(None, 5) == "not measured"
    assert memory_change(105, 100) == memory_change(95, 100) == "the same within noise"
    assert memory_change(106, 100) == "6% more"
    assert memory_change(50, 100) == "50% less"
    assert bytes_apart(29_200_000, 29_210_000) == ("29,200,000 bytes", "29,210,000 bytes")
    assert bytes_apart(29_200_000, 31_000_000) == ("29.2 MB", "31.0 MB")
    assert (points(-0.000001), points(0.0123), percent(-0.00001)) == ("+0.00", "+1.23", "0.0%")
    assert (counted(1, "entity", "entities"), counted(1200, "bar")) == ("1 entity", "1,200 bars")
    assert (listed(["a"]), listed(["a", "b", "c"]), listed([])) == ("a", "a, b and c", "")
    assert shortened("student_11L_pruned_finetuned", 15) == "studen…inetuned"
    assert shortened("漢字" * 10, 9) == "漢…漢字"


def test_the_bars_in_words(compared: Comparison) -> None:
    good, bad, unknown = (
        Verdict("min_f1", 0.8, 0.85, True),
        Verdict("min_f1_PER", 0.8, 0.75, False),
        Verdict("max_p95_ms", 40, None, False, "why"),
    )
    assert outcome(Gate("m", "d", None, (good, good))) == "It meets all 2 bars set for it."
    assert outcome(Gate("m", "d", None, (good,))) == "It meets the only bar set for it."
    assert outcome(Gate("m", "d", None, (good, bad))) == "It misses 1 of the 2 bars set for it."
    assert outcome(Gate("m", "d", None, (bad,))) == "It misses the only bar set for it."
    assert (
        outcome(Gate("m", "d", None, (good, bad, unknown)))
        == "It misses 1 of the 3 bars set for it, and 1 was not measured."
    )
    assert (
        outcome(Gate("m", "d", None, (good, unknown)))
        == "Not shown: 1 of the 2 bars set for it was not measured."
    )
    assert outcome(Gate("m", "d", None, (unknown,))) == "Not shown: the only bar set for it was not measured."
    assert bar_name("min_f1_PER") == "F1 of PER"
    gate = Gate("student", "d", "t", (bad, unknown))
    shown = bar_list(Report("x", compared), gate)
    assert "F1 of PER: 75.00%</strong>; at least 80.00% was asked" in shown
    assert "not measured</strong>; at most 40.0 ms was asked" in shown
    assert (
        "The bars were set in the bars file, and student was held against them on d; losses are measured against t."
        in shown
    )
    assert 'set <a href="#recipe">in the recipe</a>, and' in bar_list(
        Report("x", compared, recipe="a: 1"), gate
    )
    # On a narrow screen the sign stands for the word.
    assert '<span class="brief" aria-hidden="true">✗</span><span class="word">missed</span>' in shown
    assert '<span class="brief" aria-hidden="true">?</span><span class="word">no figure</span>' in shown


def test_a_drop_is_a_change_of_f1_and_an_allowed_loss(compared: Comparison) -> None:
    row = drops(compared.rows[1], -0.0899, -0.066, -0.0422)
    report = with_row(compared, row)
    verdicts = (
        Verdict("max_drop", 0.01, -0.0422, True, "upper end; drop -6.60 points, 95 %: -8.99 to -4.22, in IO"),
    )
    wanted = "F1 against teacher: +6.60 points (95\u00a0%: +4.22 to +8.99)</strong>; a loss of at most 1.00 was allowed</span>"
    assert wanted in bar_list(report, Gate("student", "d", "teacher", verdicts))
    # Figures of another model, against another baseline or with another confidence stay what the gate says.
    for model, baseline, upper in (
        ("other", "teacher", -0.0422),
        ("student", "other", -0.0422),
        ("student", "teacher", -0.03),
    ):
        shown = bar_list(report, Gate(model, "d", baseline, (replace(verdicts[0], measured=upper),)))
        assert (
            f"F1 against {baseline}: at least {-upper * 100:.2f} points gained</strong>; a loss of at most 1.00 was allowed"
            in shown
        )
        assert "<small>drop -6.60 points, 95 %: -8.99 to -4.22</small>" in shown
    lost = bar_list(report, Gate("other", "d", "teacher", (Verdict("max_drop_PER", 0.01, 0.02, False),)))
    assert "F1 of PER against teacher: at most 2.00 points lost</strong>" in lost
    kinds = row.per_type | {"PER": replace(row.per_type["PER"], drop=0.01, drop_low=0.0, drop_high=0.02)}
    own = bar_list(
        with_row(compared, replace(row, per_type=kinds)),
        Gate("student", "d", "teacher", (Verdict("max_drop_PER", 0.01, 0.02, False),)),
    )
    assert "F1 of PER against teacher: -1.00 points (95\u00a0%: -2.00 to +0.00)</strong>" in own
    none = bar_list(
        report,
        Gate(
            "student", "d", "teacher", (Verdict("max_drop", 0.01, None, False, "not measured: no baseline"),)
        ),
    )
    assert "F1 against the baseline: not measured</strong>; at most 1.00 points was asked" in none


def test_details_without_jargon() -> None:
    assert in_plain_words("95 %: 1% to 2%; 9 gold mentions in IO") == "95 %: 1% to 2%; 9 gold mentions"
    assert in_plain_words("9 gold mentions in IOB1; too few") == "9 gold mentions; too few"
    assert in_plain_words("drop 1.00 points, in BIOES; over LOC") == "drop 1.00 points; over LOC"
    assert in_plain_words("types A; mentions compared in BIO.") == "types A."
    assert (
        in_plain_words("resident set of a fresh process under load") == "peak of a fresh process under load"
    )
    assert (
        in_plain_words("Memory: peak resident set of a fresh process.")
        == "Memory: peak memory of a fresh process."
    )
    assert in_plain_words("no gold mention in IOWA") == "no gold mention in IOWA"


def drops(row: Row, low: float, drop: float, high: float) -> Row:
    return replace(row, drop=drop, drop_low=low, drop_high=high)


def with_row(compared: Comparison, row: Row) -> Report:
    return Report("x", replace(compared, rows=(compared.rows[0], row)))


@pytest.mark.parametrize(
    ("interval", "first", "second"),
    [
        ((-0.03, -0.02, -0.01), "Yes: better by 1.00 to 3.00 points of F1.", "2.00 points of F1 gained"),
        (
            (-0.001, 0.001, 0.004),
            "Yes: not worse by more than 0.5 points of F1.",
            "No change of F1 that the data can show",
        ),
        (
            (0.001, 0.002, 0.004),
            "Yes: not worse by more than 0.5 points of F1, though by 0.10 to 0.40.",
            "0.20 points of F1 lost",
        ),
        ((0.001, 0.01, 0.02), "No: worse by 0.10 to 2.00 points of F1.", "1.00 points of F1 lost"),
        (
            (-0.01, 0.001, 0.02),
            "Not shown: up to 2.00 points of F1 may be lost.",
            "No change of F1 that the data can show",
        ),
    ],
)
def test_what_the_interval_allows_to_say(
    compared: Comparison, interval: tuple[float, float, float], first: str, second: str
) -> None:
    report = with_row(compared, drops(compared.rows[1], *interval))
    found = answers(report)
    assert found[0].question == "Is it as good as teacher?"
    assert found[0].short == first
    assert found[1].short.startswith(second)
    unsure = interval[0] <= 0 <= interval[2] and interval[1] != 0
    assert ("which the data cannot tell from no change" in verdict(report)) == unsure


def test_few_sentences_allow_nothing(compared: Comparison) -> None:
    assert (
        answers(Report("x", replace(compared, sentences=5)))[0].short == "Not shown: 5 sentences cannot tell."
    )


def test_neither_smaller_nor_faster(compared: Comparison) -> None:
    row = replace(
        compared.rows[1],
        size_bytes=compared.rows[0].size_bytes,
        speedup=1.0,
        speedup_low=0.99,
        speedup_high=1.02,
    )
    assert answers(with_row(compared, row))[1].short.endswith("; neither smaller nor faster.")
    unclear = answers(with_row(compared, replace(row, speedup_low=0.6)))[1]
    assert unclear.short.endswith("; the same size, speed not measured well enough to tell.")
    assert (
        '<dd class="change">not measured well enough to tell</dd><dd>1.00× the sentences a second</dd>'
        in unclear.detail
    )
    assert "99 %: 0.60 to 1.02" in unclear.detail


def test_zeros_in_a_dense_file_gain_nothing(compared: Comparison) -> None:
    first, row = compared.rows
    assert zeros_note(with_row(compared, replace(row, sparsity=1e-6))) == ""
    assert zeros_note(with_row(compared, row)) == "15.0% of its attention and feed-forward weights are zero."
    twin = replace(row, model="plain", sparsity=0.0)
    said = zeros_note(Report("x", replace(compared, rows=(first, twin, row))))
    assert "plain, without zeros, is as large. Zeros alone made it neither smaller nor faster." in said
    report = replace(with_row(compared, row), models={"student": info()})
    assert zeros_note(report).startswith(
        "15.0% of its attention and feed-forward weights are zero, 5.0% of the whole model. Its file stores them"
    )
    packed = replace(with_row(compared, row), models={"student": info(kind="packed")})
    assert zeros_note(packed).endswith("of the whole model.")


def typed(row: Row, **scores: tuple[float, int]) -> Row:
    blank = next(iter(row.per_type.values()))

    def one(f1: float, support: int) -> TypeRow:
        return replace(blank, f1=f1, support=support, drop=0.0, drop_low=0.0, drop_high=0.0)

    return replace(row, per_type={kind: one(*pair) for kind, pair in scores.items()})


def test_where_it_fails(compared: Comparison) -> None:
    row = compared.rows[1]
    assert (
        answers(with_row(compared, typed(row, LOC=(0.9, 5), PER=(0.25, 7), DATE=(0.0, 0))))[2].short
        == "Most on PER: F1 25.0%."
    )
    assert (
        answers(with_row(compared, typed(row, PER=(0.25, 7))))[2].short == "On PER, the only type: F1 25.0%."
    )
    assert answers(with_row(compared, typed(row, PER=(1.0, 7))))[2].short.startswith("Nowhere in this data")
    assert len(answers(with_row(compared, typed(row)))) == 2
    lost = typed(row, PER=(0.5, 7))
    lost = replace(
        lost, per_type={"PER": replace(lost.per_type["PER"], drop=0.03, drop_low=0.01, drop_high=0.05)}
    )
    assert (
        "Clearly worse than teacher on PER, by 1.00 to 5.00 points of F1."
        in answers(with_row(compared, lost))[2].detail
    )


def test_the_verdict_names_bars_and_other_models(compared: Comparison) -> None:
    missed = Gate(
        "student", "d", None, (Verdict("min_f1", 0.9, 0.8, False), Verdict("max_drop", 0.1, 0.01, True))
    )
    assert verdict(Report("x", compared, gate=missed)).endswith("; misses 1 of 2 bars.")
    assert verdict(
        Report("x", compared, "student", gate=replace(missed, model="other", verdicts=missed.verdicts[1:]))
    ).endswith("; other meets its only bar.")
    assert "9% smaller" in verdict(Report("x", compared))


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
    held = "; it was not held against the bars."
    said = "Another row looks better: good has F1 60.00% in 14.7 MB at 2.7× the speed of the baseline"
    assert better_line(report) == said + held
    assert better_line(replace(report, gate=None)) == said + "."
    assert better_line(replace(report, gate=replace(gate, model="good"))) == said + "."
    unsure = replace(report, comparison=replace(compared, rows=(first, row, timed(good, 1.2, 0.9, 1.4))))
    assert (
        better_line(unsure)
        == f"Another row looks better: good has F1 60.00% in 14.7 MB, its speed not measured well enough to tell{held}"
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

    def said(*rows: Row, chosen: str = "student") -> str:
        return same_for_less(Report("x", replace(compared, rows=rows), chosen=chosen))

    assert (
        said(first, half, row)
        == "The same teacher stored in half precision takes 15.5 MB, so this model is 1.9× that."
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
    assert said(first, row) == ""
    assert said(first, replace(half, drop_high=0.001), row) == ""
    assert said(first, replace(half, drop=0.001), row) == ""
    assert said(first, replace(half, size_bytes=31_000_000), row) == ""
    assert said(first, half, row, chosen="teacher (fp16)") == ""
    assert (
        "half precision takes 15.5 MB"
        in answers(Report("x", replace(compared, rows=(first, half, row)), chosen="student"))[1].detail
    )


def test_each_step_says_whether_it_can_be_told_from_zero(compared: Comparison) -> None:
    first, row = compared.rows
    made = [
        replace(row, model="a", step=Step("student", 0.0002, -0.003, 0.004, 0.9)),
        replace(row, model="b", step=Step("a", -0.02, -0.03, -0.01, 0.0)),
        replace(row, model="c", step=Step("b", 0.0, 0.0, 0.0, 1.0)),
        replace(row, model="d", step=Step("c", 0.01, 0.0, 0.02, 0.05)),
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


def confusion_of(
    confused: list[list[int]], boundary: list[int], missed: list[int], invented: list[int]
) -> Confusion:
    return Confusion(
        ("A", "B"), *(np.array(part, np.int64) for part in (confused, boundary, missed, invented))
    )


def test_errors_that_went_up_and_down_are_said(compared: Comparison) -> None:
    ours, theirs = (
        confusion_of([[5, 1], [2, 5]], [3, 3], [1, 0], [9, 0]),
        confusion_of([[5, 1], [2, 5]], [1, 1], [1, 4], [4, 0]),
    )
    analysis = Analysis("student", "teacher", ours, theirs, 0.9, 5, 1, 1, ())
    report = Report("x", compared, analysis=analysis)
    assert errors_moved(report) == [
        "More errors of these kinds than the baseline: invented entities 4 → 9 and wrong boundaries 2 → 6.",
        "Fewer of these: missed entities 5 → 1.",
    ]
    assert "wrong boundaries 2 → 6" in answers(report)[1].detail
    assert errors_moved(replace(report, analysis=replace(analysis, baseline_confusion=ours))) == []
    assert errors_moved(replace(report, analysis=replace(analysis, model="other"))) == []
    assert errors_moved(Report("x", compared)) == []


@given(MENTIONS, MENTIONS)
def test_shares_rank_what_was_counted(
    first: list[tuple[int, int, str]], second: list[tuple[int, int, str]]
) -> None:
    gold, predicted = (_without_overlap(found) for found in (first, second))
    whole = Confusion.empty(TYPES)
    whole.add(gold, predicted)
    ranked = by_share(whole)
    assert sorted((str(one.kind), one.count) for one in ranked) == sorted(
        (str(kind), count) for kind, count in errors(whole)
    )
    for one in ranked:
        of_type = sum(m.type == one.kind.type for m in gold)
        assert one.share == (one.count / of_type if of_type else 0)
    assert [one.share for one in ranked] == sorted((one.share for one in ranked), reverse=True)
    assert sum(totals(whole).values()) == sum(count for _, count in errors(whole))


def test_kinds_are_ranked_by_share_not_by_count(compared: Comparison) -> None:
    # 20 of 200 A are missed, but 6 of 10 B have a wrong boundary.
    found = confusion_of([[175, 0], [1, 3]], [5, 6], [20, 0], [0, 2])
    analysis = Analysis("student", "teacher", found, found, 0.9, 5, 1, 1, ())
    detail = answers(Report("x", compared, analysis=analysis))[2].detail
    wanted = [
        "Wrong boundary: 11</strong> of 210 gold mentions, most of all B (6 of 10 B, 60%)",
        "Invented: 2</strong> marks that touch no gold mention, all of them B (2, beside 10 gold mentions of it)",
        "Missed: 20</strong> of 210 gold mentions, all of them A (20 of 200 A, 10%)",
        "Wrong type: 1</strong> of 210 gold mentions, all of them B taken for A (1 of 10 B, 10%)",
    ]
    places = [detail.index(line) for line in wanted]
    assert places == sorted(places)
    nothing = confusion_of([[175, 0], [0, 0]], [0, 0], [0, 0], [0, 2])
    detail = answers(Report("x", compared, analysis=replace(analysis, confusion=nothing)))[2].detail
    assert "all of them B (2, and no gold mention of it)" in detail


def test_an_excerpt_shows_every_mark_and_stresses_one() -> None:
    words = tuple("abcdefghijkl")
    gold = (Mention(0, 2, "LOC"), Mention(5, 6, "PER"))
    ours = (Mention(1, 3, "ORG"), Mention(5, 7, "PER"), Mention(9, 12, "LOC"))
    one = Disagreement(1, words, gold, (), ours, 3)
    shown = excerpt(one, ours, [gold[1], ours[1]], TYPES, context=3)
    assert shown.startswith("a <mark")
    assert shown.count("<mark") == 3
    assert shown.count("stressed") == 1
    assert 'stressed">f <span class="kept">g <small>PER' in shown
    # The excerpt would begin inside a mark and inside a gold mention, and end inside another mark: it takes
    # them in.
    assert not shown.startswith("…")
    assert not shown.endswith("…")
    of_gold = excerpt(one, gold, [gold[1], ours[1]], TYPES, context=3)
    assert of_gold.count("<mark") == 2
    assert (
        re.sub("<small>.*?</small>|<[^>]*>|\\s", "", of_gold)
        == re.sub("<small>.*?</small>|<[^>]*>|\\s", "", shown)
        == "abcdefghijkl"
    )
    near = excerpt(one, ours, [gold[1]], TYPES, context=1)
    assert near.startswith("… e ")
    assert near.endswith("</mark> …")
    assert "stressed" not in near


def test_what_it_finds_in_plain_words(compared: Comparison) -> None:
    def said(recall: float, precision: float) -> str:
        return answers(with_row(compared, replace(compared.rows[1], recall=recall, precision=precision)))[
            0
        ].plain

    assert (
        said(0.5, 0.44)
        == "It finds 50 of every 100 entities; of every 100 it marks, 44 are right and 56 wrong."
    )
    assert (
        said(0.999, 0.001)
        == "It finds 99 of every 100 entities; of every 100 it marks, 1 is right and 99 wrong."
    )
    assert said(1.0, 1.0) == "It finds every entity; all it marks are right."
    assert said(0.0, 0.0) == "It finds none of the entities."
    page = report_html(
        Report("x", compared, gate=Gate("student", "d", None, (Verdict("min_f1", 0.8, 0.85, True),)))
    )
    assert (
        page.index("It meets the only bar") < page.index('class="plain">It finds') < page.index("F1: 85.00%")
    )


def test_types_stand_beside_those_of_the_baseline(compared: Comparison) -> None:
    row = typed(replace(compared.rows[1], f1=0.6), LOC=(0.9, 5), PER=(0.25, 7), ORG=(0.5, 3), DATE=(0.65, 2))
    near = {
        kind: replace(one, f1_low=one.f1 - 0.2, f1_high=one.f1 + 0.2) for kind, one in row.per_type.items()
    }
    first = replace(
        compared.rows[0],
        per_type=typed(compared.rows[0], LOC=(0.8, 5), PER=(0.7, 7), ORG=(0.4, 3), DATE=(0.5, 2)).per_type,
    )

    def lines(kinds: dict[str, TypeRow]) -> list[str]:
        detail = answers(Report("x", replace(compared, rows=(first, replace(row, per_type=kinds)))))[2].detail
        return re.findall("<li><strong>([A-Z]+): F1", detail)

    assert lines(near) == ["PER"]  # the only one whose interval lies below
    wide = {kind: replace(one, f1_high=1.0) for kind, one in near.items()}
    assert lines(wide) == ["PER", "ORG"]
    detail = answers(Report("x", replace(compared, rows=(first, replace(row, per_type=near)))))[2].detail
    assert "PER: F1 25.0%</strong> (95\u00a0%: 5.0% to 45.0%) on 7 gold mentions; teacher has 70.0%" in detail
