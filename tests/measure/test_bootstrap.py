"""The bootstrap against one spelled out, and against scipy's."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats  # type: ignore[import-untyped]

from affineur.measure import bootstrap, by_document, f1_difference, f1_interval
from affineur.measure.bootstrap import (
    Difference,
    Interval,
    _columns,
    _f1,
    _freedom,
    _influence,
    _resample,
)

from .bootstrap_samples import (
    LEVELS,
    SAMPLERS,
    Ints,
    f1,
    pruned,
    quantiles,
    resampled,
    simulated,
    without_each,
)
from .bootstrap_samples import sampler as sampler


def test_the_interval_is_that_of_resampled_sentences(sampler: str) -> None:
    counts = simulated(np.random.default_rng(1), 200)
    plain = resampled(counts)[:, 0]
    ours = [f1_interval(counts, level, draws=6000) for level in LEVELS]
    assert [i.value for i in ours] == [f1(counts)] * len(LEVELS)
    expected = quantiles(plain, without_each(counts)[:, 0])
    assert [q for i in ours for q in (i.low, i.high)] == pytest.approx(expected, abs=plain.std() * 0.15)
    drawn = _f1(_resample(_columns(counts), 6000, 0))
    assert drawn.mean() == pytest.approx(plain.mean(), abs=plain.std() * 0.06)
    assert drawn.std() == pytest.approx(plain.std(), rel=0.05)


def test_the_difference_is_that_of_resampled_pairs(sampler: str) -> None:
    rng = np.random.default_rng(2)
    counts = simulated(rng, 200)
    other = pruned(rng, counts)
    counts[:80], other[:80] = other[:80].copy(), counts[:80].copy()  # some better, some worse
    plain = np.subtract(*resampled(other, counts).T)
    ours = [f1_difference(other, counts, level, draws=6000) for level in LEVELS]
    assert {d.value for d in ours} == {f1(other) - f1(counts)}
    expected = quantiles(plain, np.subtract(*without_each(other, counts).T))
    assert [q for d in ours for q in (d.low, d.high)] == pytest.approx(expected, abs=plain.std() * 0.15)
    unpaired = np.hypot(resampled(other).std(), resampled(counts).std())
    assert plain.std() < unpaired / 2  # so the tolerance above would not let an unpaired interval pass


def test_scipy_draws_the_same_pairs(sampler: str) -> None:
    rng = np.random.default_rng(21)
    counts = simulated(rng, 150)
    columns = np.hstack([_columns(pruned(rng, counts)), _columns(counts)])

    def difference(a: Ints, b: Ints, c: Ints, d: Ints, axis: int) -> npt.NDArray[np.float64]:
        return np.asarray(2 * a.sum(axis) / b.sum(axis) - 2 * c.sum(axis) / d.sum(axis))

    theirs = stats.bootstrap(
        tuple(columns.T),
        difference,
        paired=True,
        vectorized=True,
        n_resamples=6000,
        method="percentile",
        rng=1,
    )
    drawn = _resample(columns, 6000, 0)
    ours = _f1(drawn[:, :2]) - _f1(drawn[:, 2:])
    assert stats.ks_2samp(ours, theirs.bootstrap_distribution).pvalue > 0.01


def test_every_draw_of_four_units_comes_as_often_as_it_should(sampler: str) -> None:
    columns = np.array([[0, 1], [1, 3], [1, 3], [5, 20]])
    outcomes, times = np.unique(
        [columns[list(c)].sum(axis=0) for c in itertools.product(range(4), repeat=4)],
        axis=0,
        return_counts=True,
    )
    drawn, seen = np.unique(_resample(columns, 50_000, 0), axis=0, return_counts=True)
    assert drawn.tolist() == outcomes.tolist()
    assert stats.chisquare(seen, times / times.sum() * 50_000).pvalue > 0.01


def test_the_draws_have_the_moments_of_a_multinomial(sampler: str) -> None:
    counts = simulated(np.random.default_rng(3), 400)
    drawn = _resample(counts, 20_000, 0)
    assert drawn.shape == (20_000, 3)
    assert drawn.dtype == np.int64
    exact = len(counts) * np.cov(counts.T, bias=True)
    assert drawn.mean(axis=0) == pytest.approx(counts.sum(axis=0), rel=0.005)
    assert np.cov(drawn.T) == pytest.approx(exact, rel=0.05)


def test_the_cheaper_sampler_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(30)
    alike, distinct = simulated(rng, 5000), rng.integers(0, 10_000, (5000, 3))
    monkeypatch.setattr(bootstrap, "_by_unit", None)
    f1_interval(alike, draws=10)
    with pytest.raises(TypeError):
        f1_interval(distinct, draws=10)


@pytest.mark.parametrize("sampler", SAMPLERS, indirect=True)
@pytest.mark.parametrize("size", [1, 1000, 7777])
def test_blocks_change_nothing(sampler: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = simulated(np.random.default_rng(4), 100)
    whole = f1_interval(counts, draws=500)
    monkeypatch.setattr(bootstrap, "_BLOCK", size)
    assert f1_interval(counts, draws=500) == whole


def test_the_seed_decides(sampler: str) -> None:
    counts = simulated(np.random.default_rng(5), 100)
    assert f1_interval(counts, seed=1) == f1_interval(counts, seed=1) != f1_interval(counts, seed=2)
    assert f1_interval(counts[::-1]) == f1_interval(counts)  # the order of the sentences does not


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 6).flatmap(
        lambda k: arrays(np.int64, st.tuples(st.integers(1, 8), st.just(k)), elements=st.integers(0, 1 << 55))
    )
)
def test_packed_counts_add_up_like_plain_ones(columns: Ints) -> None:
    drawn = np.random.default_rng(0).integers(0, len(columns), (20, len(columns)))
    words = bootstrap._widths(columns)
    packed = bootstrap._pack(columns, words)
    assert sum(map(len, words)) == columns.shape[1]
    assert bootstrap._unpack(packed, words).tolist() == columns.tolist()
    assert bootstrap._unpack(packed[drawn].sum(axis=1), words).tolist() == columns[drawn].sum(axis=1).tolist()


def test_small_counts_share_a_word_and_large_ones_do_not() -> None:
    assert [len(word) for word in bootstrap._widths(np.full((10_000, 4), 3))] == [4]
    assert [len(word) for word in bootstrap._widths(np.full((10_000, 4), 1 << 40))] == [1, 1, 1, 1]
    assert bootstrap._widths(np.array([[7, 1 << 62]])) == [[3], [63]]


@pytest.mark.parametrize(
    ("freedom", "tolerance"), [(2, 0.13), (4, 0.016), (7.5, 0.003), (30, 0.0002), (2000, 0.00001)]
)
def test_student_is_that_of_scipy(freedom: float, tolerance: float) -> None:
    for level in (0.5, 0.8, 0.95, 0.99):
        normal, student = NormalDist().inv_cdf((1 + level) / 2), stats.t.ppf((1 + level) / 2, freedom)
        assert bootstrap._to_student(normal, freedom) == pytest.approx(student, rel=tolerance)
        assert bootstrap._from_student(bootstrap._to_student(normal, freedom), freedom) == pytest.approx(
            normal
        )


def test_degrees_of_freedom_count_what_weighs() -> None:
    normal = np.random.default_rng(31).standard_normal(20_000)
    assert _freedom(normal) == pytest.approx(
        20_000, rel=0.05
    )  # as n - 1, where Student's distribution is exact
    few = np.zeros(1000)
    few[:8] = [1, -1] * 4
    assert _freedom(few) == pytest.approx(2 * 8, rel=0.01)
    assert (_freedom(np.ones(5)), _freedom(np.zeros(5)), _freedom(np.zeros(0))) == (4, 4, 1)


def test_influence_is_what_leaving_a_sentence_out_takes_away() -> None:
    counts = simulated(np.random.default_rng(32), 3000)
    taken = f1(counts) - without_each(counts)[:100, 0]
    assert _influence(_columns(counts))[:100] == pytest.approx(taken, abs=1e-6)
    assert np.abs(taken).max() > 1e-4


@pytest.mark.parametrize("units", [0, 1, 7])
def test_no_mentions_at_all(units: int) -> None:
    nothing = np.zeros((units, 3), np.int64)
    assert f1_interval(nothing) == Interval(0.0, 0.0, 1.0)
    assert f1_difference(nothing, nothing) == Difference(0.0, -1.0, 1.0, 1.0)


def test_one_sentence_shows_next_to_nothing() -> None:
    one = np.array([[1, 2, 2]])
    found = f1_interval(one)
    assert (found.low, found.value, found.high) == pytest.approx((0.0125, 0.5, 0.9875))
    found = f1_difference(one, np.array([[2, 2, 2]]))
    assert (found.low, found.value, found.high, found.p_value) == pytest.approx((-0.9875, -0.5, 0.9625, 1.0))


def test_a_type_without_gold_mentions() -> None:
    spurious = np.array([[0, 1, 0], [0, 0, 0]] * 20)
    assert f1_interval(spurious) == Interval(0.0, 0.0, 1.0)
    assert f1_difference(spurious, np.zeros_like(spurious)) == Difference(0.0, -1.0, 1.0, 1.0)


def test_draws_without_mentions_count_as_0() -> None:
    counts = np.array([[1, 1, 1]] + [[0, 0, 0]] * 9)
    found = f1_interval(counts)
    assert (found.value, found.low, found.high) == (1.0, 0.0, 1.0)


COUNTS = arrays(np.int64, st.tuples(st.integers(0, 14), st.just(4)), elements=st.integers(0, 4))


@settings(deadline=None, max_examples=150)
@given(COUNTS, st.sampled_from([0.0, 0.5, 0.95, 0.999]), st.sampled_from([1, 2, 50]))
def test_any_counts_have_an_interval_about_the_value(drawn: Ints, confidence: float, draws: int) -> None:
    shared, missed, spurious, other = drawn.T
    counts = np.stack([shared, shared + spurious, shared + missed], axis=1)
    baseline = np.stack([np.minimum(shared, other), other, shared + missed], axis=1)
    interval = f1_interval(counts, confidence, draws)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.value == f1(counts)
    difference = f1_difference(counts, baseline, confidence, draws)
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert 0 < difference.p_value <= 1
    if difference.value:
        mirrored = f1_difference(baseline, counts, confidence, draws)
        assert mirrored == Difference(
            -difference.value, -difference.high, -difference.low, difference.p_value
        )
    else:
        assert difference.p_value == 1


def test_documents_add_up_whatever_their_order_and_numbers() -> None:
    counts = np.array([[1, 2, 3], [10, 20, 30], [4, 5, 6], [0, 0, 1]])
    assert by_document(counts, np.array([7, -1, 7, 2])).tolist() == [[10, 20, 30], [0, 0, 1], [5, 7, 9]]
    assert by_document(np.zeros((0, 3), np.int64), np.zeros(0, np.int64)).shape == (0, 3)


@pytest.mark.parametrize("distinct", [False, True])
def test_10_000_draws_over_10_000_sentences(distinct: bool) -> None:
    rng = np.random.default_rng(10)
    counts = rng.integers(0, 1000, (10_000, 3)) if distinct else simulated(rng, 10_000)
    other = pruned(rng, counts)
    for work in (
        lambda: f1_interval(counts, draws=10_000),
        lambda: f1_difference(other, counts, draws=10_000),
    ):
        start = time.process_time()
        work()
        assert time.process_time() - start < 2


def test_memory_is_that_of_a_block_not_of_all_draws(sampler: str) -> None:
    counts = np.random.default_rng(11).integers(0, 1000, (5000, 3))
    tracemalloc.start()
    f1_difference(counts, counts[::-1], draws=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # all at once: 40 MB for the numbers alone
