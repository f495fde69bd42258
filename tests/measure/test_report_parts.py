"""The parts of a report: geometry against naive oracles, markup, figures in words."""

from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.entities import Mention
from affineur.measure.analysis import Confusion, Disagreement
from affineur.measure.pareto import best_line
from affineur.measure.report.failures import by_share, errors, find_errors, totals
from affineur.measure.report.markup import Html, breakable, clean, el, join, markup
from affineur.measure.report.scales import Box, axis, label_places
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

FLOATS = st.floats(0, 1000, allow_nan=False)


MENTIONS = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 3), st.sampled_from(TYPES)), max_size=5)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_pareto_agrees_with_the_definition(pairs: list[tuple[int, int]]) -> None:
    found = best_line([(float(a), float(b)) for a, b in pairs])
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
