"""The parts of a report: geometry against naive oracles, wording case by case."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.entities import Mention
from affineur.measure.analysis import Confusion
from affineur.measure.comparison import Comparison, Row, TypeRow
from affineur.measure.gate import Gate, Verdict
from affineur.measure.report import Report, verdict
from affineur.measure.report.answers import answers, zeros_note
from affineur.measure.report.bars import bar_list, bar_name, outcome
from affineur.measure.report.failures import errors, find_errors
from affineur.measure.report.markup import Html, breakable, clean, el, join, markup
from affineur.measure.report.scales import Box, apart, axis, label_places, pareto
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


@given(st.lists(st.floats(0, 300), min_size=1, max_size=15))
def test_points_drawn_apart_stay_near(places: list[float]) -> None:
    moved = apart(places)
    assert all(abs(a - b) <= 36 for a, b in zip(places, moved, strict=True))
    assert len(places) > 4 or len(set(moved)) == len(moved)


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


@given(MENTIONS, MENTIONS)
def test_errors_of_a_sentence_are_those_counted(first: list[tuple[int, int, str]], second: list[tuple[int, int, str]]) -> None:
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
    assert el("p", "<b>", Html("<i></i>"), class_='a"b', data_x=1.25, left_out=None) == '<p class="a&quot;b" data-x="1.2">&lt;b&gt;<i></i></p>'
    assert el("line", x1=3.0) == '<line x1="3"/>'
    assert join(["&", Html("&amp;")], ",") == "&amp;,&amp;"
    assert clean("a\udc80\x1bb\tc\n") == "a\ufffd\ufffdb\tc\n"
    assert breakable("a_b<c") == "a_<wbr>b&lt;c"
    assert isinstance(markup("x"), Html)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (Ratio(1.0, 0.99, 1.01), "the same speed"),
        (Ratio(1.03, 0.9, 1.2), "the same speed"),
        (Ratio(0.97, 0.0, math.inf), "the same speed"),
        (Ratio(1.08, 1.05, 1.1), "8% faster"),
        (Ratio(1.08, 0.99, 1.2), "not clearly faster"),
        (Ratio(1.08, 0.0, math.inf), "about 8% faster"),
        (Ratio(0.9, 0.88, 0.92), "10% slower"),
        (Ratio(0.9, 0.8, 1.1), "not clearly slower"),
        (Ratio(2.66, 2.5, 2.8), "2.7× as fast"),
        (Ratio(2.66, 0.0, math.inf), "about 2.7× as fast"),
    ],
)
def test_speed_in_words(ratio: Ratio, words: str) -> None:
    assert speed_change(ratio) == words


def test_how_sure_a_speed_is() -> None:
    assert speed_interval(Ratio(1.1, 1.05, 1.2)) == "99 %: 1.05 to 1.20, timed in turn"
    assert speed_interval(Ratio(1.1, 0.0, math.inf)) == "too few rounds for an interval"


def test_figures_in_words() -> None:
    assert size_change(100, 100) == "the same size"
    assert size_change(94, 100) == "6% smaller"
    assert size_change(300, 100) == "200% larger"
    assert size_change(5, 0) == "the same size"
    assert memory_change(None, 5) == "not measured"
    assert memory_change(102, 100) == "the same"
    assert memory_change(50, 100) == "50% less"
    assert bytes_apart(29_200_000, 29_210_000) == ("29,200,000 bytes", "29,210,000 bytes")
    assert bytes_apart(29_200_000, 31_000_000) == ("29.2 MB", "31.0 MB")
    assert (points(-0.000001), points(0.0123), percent(-0.00001)) == ("+0.00", "+1.23", "0.0%")
    assert (counted(1, "entity", "entities"), counted(1200, "bar")) == ("1 entity", "1,200 bars")
    assert (listed(["a"]), listed(["a", "b", "c"]), listed([])) == ("a", "a, b and c", "")
    assert shortened("student_11L_pruned_finetuned", 15) == "studen…inetuned"
    assert shortened("漢字" * 10, 9) == "漢…漢字"


def test_the_bars_in_words() -> None:
    good, bad, unknown = Verdict("min_f1", 0.8, 0.85, True), Verdict("min_f1_PER", 0.8, 0.75, False), Verdict("max_p95_ms", 40, None, False, "why")
    assert outcome(Gate("m", "d", None, (good, good))) == "Yes. It reaches all 2 bars."
    assert outcome(Gate("m", "d", None, (good,))) == "Yes. It reaches its only bar."
    assert outcome(Gate("m", "d", None, (good, bad))) == "No. It misses 1 of 2 bars."
    assert outcome(Gate("m", "d", None, (bad,))) == "No. It misses its only bar."
    assert outcome(Gate("m", "d", None, (good, bad, unknown))) == "No. It misses 1 of 3 bars, and 1 was not measured."
    assert outcome(Gate("m", "d", None, (good, unknown))) == "Not shown. 1 of 2 bars was not measured."
    assert bar_name("min_f1_PER") == "F1 of PER"
    shown = bar_list(Gate("m", "d", "t", (bad, unknown)))
    assert "F1 of PER: 75.00%</strong> – at least 80.00% was asked." in shown
    assert "not measured</strong> – at most 40.0 ms was asked." in shown


def drops(row: Row, low: float, drop: float, high: float) -> Row:
    return replace(row, drop=drop, drop_low=low, drop_high=high)


def with_row(compared: Comparison, row: Row) -> Report:
    return Report("x", replace(compared, rows=(compared.rows[0], row)))


@pytest.mark.parametrize(
    ("interval", "first", "second"),
    [
        ((0.0, 0.0, 0.0), "Yes: it finds exactly the same.", "F1 unchanged"),
        ((-0.03, -0.02, -0.01), "Yes: better by 1.00 to 3.00 points of F1.", "2.00 points of F1 gained"),
        ((-0.001, 0.001, 0.004), "Yes: not worse by more than 0.5 points of F1.", "No change of F1 that the data can show"),
        ((0.001, 0.002, 0.004), "Yes: not worse by more than 0.5 points of F1, though by 0.10 to 0.40.", "0.20 points of F1 lost"),
        ((0.001, 0.01, 0.02), "No: worse by 0.10 to 2.00 points of F1.", "1.00 points of F1 lost"),
        ((-0.01, 0.001, 0.02), "Not shown: up to 2.00 points of F1 may be lost.", "No change of F1 that the data can show"),
    ],
)
def test_what_the_interval_allows_to_say(compared: Comparison, interval: tuple[float, float, float], first: str, second: str) -> None:
    report = with_row(compared, drops(compared.rows[1], *interval))
    found = answers(report)
    assert found[0].question == "Is it as good as teacher?"
    assert found[0].short == first
    assert found[1].short.startswith(second)
    unsure = interval[0] <= 0 <= interval[2] and interval[1] != 0
    assert ("which the data cannot tell from no change" in verdict(report)) == unsure


def test_few_sentences_allow_nothing(compared: Comparison) -> None:
    assert answers(Report("x", replace(compared, sentences=5)))[0].short == "Not shown: 5 sentences cannot tell."


def test_neither_smaller_nor_faster(compared: Comparison) -> None:
    row = replace(compared.rows[1], size_bytes=compared.rows[0].size_bytes, speedup=1.02)
    assert answers(with_row(compared, row))[1].short.endswith("; neither smaller nor faster.")


def test_zeros_in_a_dense_file_gain_nothing(compared: Comparison) -> None:
    first, row = compared.rows
    assert zeros_note(with_row(compared, replace(row, sparsity=1e-6))) == ""
    assert zeros_note(with_row(compared, row)) == "15.0% of its attention and feed-forward weights are zero."
    twin = replace(row, model="plain", sparsity=0.0)
    said = zeros_note(Report("x", replace(compared, rows=(first, twin, row))))
    assert "plain, without zeros, is as large. Zeros alone made it neither smaller nor faster." in said
    report = replace(with_row(compared, row), models={"student": info()})
    assert zeros_note(report).startswith("15.0% of its attention and feed-forward weights are zero, 5.0% of the whole model. Its file stores them")
    packed = replace(with_row(compared, row), models={"student": info(kind="packed")})
    assert zeros_note(packed).endswith("of the whole model.")


def typed(row: Row, **scores: tuple[float, int]) -> Row:
    blank = next(iter(row.per_type.values()))

    def one(f1: float, support: int) -> TypeRow:
        return replace(blank, f1=f1, support=support, drop=0.0, drop_low=0.0, drop_high=0.0)

    return replace(row, per_type={kind: one(*pair) for kind, pair in scores.items()})


def test_where_it_fails(compared: Comparison) -> None:
    row = compared.rows[1]
    assert answers(with_row(compared, typed(row, LOC=(0.9, 5), PER=(0.25, 7), DATE=(0.0, 0))))[2].short == "Most on PER: F1 25.0%."
    assert answers(with_row(compared, typed(row, PER=(0.25, 7))))[2].short == "On PER, the only type: F1 25.0%."
    assert answers(with_row(compared, typed(row, PER=(1.0, 7))))[2].short.startswith("Nowhere in this data")
    assert len(answers(with_row(compared, typed(row)))) == 2
    lost = typed(row, PER=(0.5, 7))
    lost = replace(lost, per_type={"PER": replace(lost.per_type["PER"], drop=0.03, drop_low=0.01, drop_high=0.05)})
    assert "Clearly worse than teacher on PER, by 1.00 to 5.00 points of F1." in answers(with_row(compared, lost))[2].detail


def test_the_verdict_names_bars_and_other_models(compared: Comparison) -> None:
    missed = Gate("student", "d", None, (Verdict("min_f1", 0.9, 0.8, False), Verdict("max_drop", 0.1, 0.01, True)))
    assert verdict(Report("x", compared, gate=missed)).endswith("; misses 1 of 2 bars.")
    assert verdict(Report("x", compared, "student", gate=replace(missed, model="other", verdicts=missed.verdicts[1:]))).endswith(
        "; other reaches all of 1 bar."
    )
    assert "9% smaller" in verdict(Report("x", compared))
