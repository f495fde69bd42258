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
    FEWEST,
    Difference,
    Interval,
    _columns,
    _f1,
    _freedom,
    _influence,
    _resample,
)

Ints = npt.NDArray[np.int64]
LEVELS = (0.99, 0.95, 0.8, 0.5)
SAMPLERS = {"by row": 0, "by unit": 1 << 40}  # what a distinct row must cost for a sampler to be taken


def simulated(rng: np.random.Generator, sentences: int, right: float = 0.8) -> Ints:
    """Counts of sentences that have zero to five mentions, ``right`` of them found."""
    gold = np.minimum(rng.poisson(1.3, sentences), 5)
    found = rng.binomial(gold, right)
    predicted = found + rng.binomial(2, 0.1, sentences)
    return np.stack([found, predicted, gold], axis=1).astype(np.int64)


def pruned(rng: np.random.Generator, counts: Ints, kept: float = 0.95) -> Ints:
    """The same sentences by a model that keeps that share of the mentions found."""
    return np.stack([rng.binomial(counts[:, 0], kept), counts[:, 1], counts[:, 2]], axis=1)


def f1(counts: Ints) -> float:
    found, predicted, gold = counts.sum(axis=0)
    return float(2 * found / (predicted + gold)) if predicted + gold else 0.0


def resampled(*counts: Ints, draws: int = 6000) -> npt.NDArray[np.float64]:
    """The plain loop: draw sentence numbers with replacement, score what was drawn."""
    rng = np.random.default_rng(99)
    size = len(counts[0])
    found = []
    for _ in range(draws):
        chosen = rng.integers(0, size, size)
        found.append([f1(each[chosen]) for each in counts])
    return np.array(found)


def quantiles(drawn: npt.NDArray[np.float64], left_out: npt.NDArray[np.float64]) -> list[float]:
    """Expanded percentiles, the degrees of freedom from the values that leaving out one sentence each gives,
    Student's from scipy.
    """
    size = len(left_out)
    squares = (left_out - left_out.mean()) ** 2
    freedom = min(size - 1, 2 * squares.sum() ** 2 / ((squares - squares.mean()) ** 2).sum())
    wide = [stats.t.ppf((1 + level) / 2, freedom) * (size / (size - 1)) ** 0.5 for level in LEVELS]
    return [float(q) for z in wide for q in np.quantile(drawn, stats.norm.cdf([-z, z]))]


def without_each(*counts: Ints) -> npt.NDArray[np.float64]:
    return np.array([[f1(np.delete(each, i, axis=0)) for each in counts] for i in range(len(counts[0]))])


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(bootstrap, "_DEAR", SAMPLERS[request.param])
    return str(request.param)


# ---- against the plain loop ----


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


# ---- the draws ----


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


# ---- Student's quantiles ----


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


# ---- what it promises ----


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(6)

    def drawn(sentences: int) -> Ints:
        gold = np.minimum(rng.poisson(1.3, sentences), 5)
        found = rng.binomial(gold, 0.96)  # of 200 sentences 16 are wrong
        return np.stack([found, found + rng.binomial(1, 0.03, sentences), gold], axis=1)

    truth = f1(drawn(1_000_000))
    sets = [drawn(200) for _ in range(1000)]

    def covered() -> float:
        found = [f1_interval(counts, draws=500, seed=trial) for trial, counts in enumerate(sets)]
        return float(np.mean([i.low <= truth <= i.high for i in found]))

    ours = covered()
    assert 0.94 <= ours <= 0.965
    monkeypatch.setattr(bootstrap, "_to_student", lambda normal, _: normal)
    assert covered() < min(0.94, ours)  # so the plain percentile interval would not pass


@pytest.mark.parametrize("share", [0.02, 0.05, 0.5])
def test_p_values_of_equal_models_are_rarely_small(share: float) -> None:
    rng = np.random.default_rng(7)
    small = 0
    for trial in range(1000):
        first = simulated(rng, 150)
        second = first.copy()
        touched = (
            rng.random(150) < share
        )  # with 3, 7 and 75 sentences of which the models may think differently
        for counts in (first, second):
            counts[touched, 0] = rng.binomial(counts[touched, 2], 0.8)
        small += f1_difference(second, first, draws=400, seed=trial).p_value < 0.05
    assert small <= 70
    assert small >= 20 or share < 0.5


def test_the_p_value_is_the_level_at_which_the_interval_ends_at_zero() -> None:
    rng = np.random.default_rng(22)
    seen = set()
    for _ in range(300):
        first = simulated(rng, 80)
        found = f1_difference(pruned(rng, first, 0.93), first, draws=400)
        seen.add(found.p_value < 0.05)
        assert (found.p_value < 0.05) == (found.high < 0)
    assert seen == {True, False}
    first = simulated(rng, 200)
    other = pruned(rng, first)
    p_value = f1_difference(other, first).p_value
    assert 0 < p_value < 0.5
    assert (
        f1_difference(other, first, 1 - p_value * 1.05).high
        < 0
        <= f1_difference(other, first, 1 - p_value * 0.95).high
    )


def test_a_model_differs_not_from_itself(sampler: str) -> None:
    counts = simulated(np.random.default_rng(8), 100)
    found = f1_difference(counts, counts)
    room = 1 - 0.025 ** (1 / np.count_nonzero(counts[:, 2]))
    assert (found.value, found.low, found.high, found.p_value) == (
        0.0,
        pytest.approx(-room),
        pytest.approx(room),
        1.0,
    )


def test_a_real_difference_is_found(sampler: str) -> None:
    rng = np.random.default_rng(9)
    good = simulated(rng, 500, 0.85)
    bad = pruned(rng, good)
    found = f1_difference(bad, good)
    assert found.low < found.value < found.high < 0
    assert 0 < found.p_value < 0.005
    assert f1_difference(good, bad) == Difference(-found.value, -found.high, -found.low, found.p_value)


def test_the_p_value_is_never_0() -> None:
    perfect = np.array([[1, 1, 1]] * 50)
    silent = np.array([[0, 0, 1]] * 50)
    found = f1_difference(perfect, silent, draws=999)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 2 / 1000 < found.p_value < 0.005


def test_too_few_sentences_are_never_significant() -> None:
    perfect, silent = (np.array([row] * (FEWEST - 1)) for row in ([1, 1, 1], [0, 0, 1]))
    assert f1_difference(perfect, silent).p_value == 1.0
    assert f1_difference(np.vstack([perfect, perfect]), np.vstack([silent, silent])).p_value < 0.05


def test_one_sentence_proves_no_difference() -> None:
    same = np.array([[1, 1, 1]] * 99)
    assert f1_difference(np.vstack([same, [[1, 1, 1]]]), np.vstack([same, [[0, 1, 1]]])).p_value > 0.2


def test_only_sentences_that_differ_count_as_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_SPREAD", 0)  # what no sentence shows, aside
    counts = simulated(np.random.default_rng(12), 300)
    counts[:6] = [1, 1, 1]
    other = counts.copy()
    other[:6, 0] = 0
    squares = np.subtract(*without_each(other, counts).T) - (f1(other) - f1(counts))
    freedom = 2 * (squares**2).sum() ** 2 / (squares**4).sum()
    assert 11 < freedom < 14
    none_drawn = (1 - 6 / 300) ** 300  # the only way to see no difference
    expected = 2 * stats.t.sf(stats.norm.isf(none_drawn), freedom)
    assert f1_difference(other, counts, draws=100_000).p_value == pytest.approx(expected, rel=0.1)
    assert 2 * none_drawn < expected / 2


# ---- what no sentence shows ----


@pytest.mark.parametrize("sentences", [1, 10, 200, 5000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_perfect_or_equal_sentences_leave_the_room_that_clopper_and_pearson_say(
    sentences: int, confidence: float
) -> None:
    perfect = np.array([[1, 1, 1]] * sentences)
    room = stats.binomtest(0, sentences).proportion_ci(confidence, "exact").high
    found = f1_interval(perfect, confidence, draws=50)
    assert (found.low, found.value, found.high) == (pytest.approx(1 - room), 1, 1)
    found = f1_interval(perfect * [0, 1, 1], confidence, draws=50)
    assert (found.low, found.value, found.high) == (0, 0, pytest.approx(room))
    same = f1_difference(perfect * 2, perfect * 2, confidence, draws=50)
    assert (same.low, same.value, same.high) == (pytest.approx(-room), 0, pytest.approx(room))


def test_only_sentences_with_a_mention_show_something() -> None:
    rare = np.array([[3, 3, 3]] * 10 + [[0, 0, 0]] * 2000)
    assert f1_interval(rare).low == f1_interval(rare[:10]).low == pytest.approx(0.025**0.1)


@pytest.mark.parametrize("worse", [0, 1, 2, 3])
def test_one_worse_sentence_shows_no_more_than_none(worse: int) -> None:
    perfect = np.array([[2, 2, 2]] * 500)
    other = perfect.copy()
    other[:worse] = [1, 1, 2]
    found, room = f1_difference(other, perfect, draws=2000), 1 - 0.025 ** (1 / 500)
    assert (found.low <= found.value - room * (1 + found.value)) is (worse < 2)
    assert (found.high >= found.value + room * (1 - found.value)) is True
    exact = stats.binomtest(worse, 500).proportion_ci(0.95, "exact").high
    assert -found.low >= 0.9 * exact / 4  # each such sentence costs a quarter of its share


@pytest.mark.parametrize("sentences", [10, 20, 50, 100, 200, 800])
def test_a_loss_is_rarely_said_to_be_within_a_smaller_margin(sentences: int) -> None:
    # The baseline finds both mentions of every sentence, the model loses one of a share of them.
    for margin in (0.005, 0.02):
        loss = 1.05 * margin
        share = 4 * loss / (1 + loss)
        rng = np.random.default_rng(23)
        perfect = np.array([[2, 2, 2]] * sentences)
        said = 0
        for trial in range(300):
            lost = (rng.random(sentences) < share).astype(int)[:, None]
            said += f1_difference(perfect - lost * [1, 1, 0], perfect, draws=400, seed=trial).not_worse_than(
                margin
            )
        assert said <= 15


def test_a_small_loss_can_be_said_to_be_within_the_margin() -> None:
    perfect = np.array([[2, 2, 2]] * 1000)
    other = perfect.copy()
    other[:2] = [1, 1, 2]
    assert f1_difference(other, perfect).not_worse_than(0.005)
    assert f1_difference(perfect, perfect).not_worse_than(0.005)
    assert not f1_difference(perfect[:700], perfect[:700]).not_worse_than(0.005)


def test_the_p_value_knows_what_no_sentence_shows() -> None:
    for better in range(3, 8):
        first = np.array([[1, 1, 1]] * 300)
        second = first.copy()
        second[:better, 0] = 0
        found = f1_difference(first, second, draws=2000)
        # Of 300 sentences none was of a kind whose share would make up for what was gained.
        assert found.p_value >= 2 * stats.binom.pmf(0, 300, found.value / (1 + found.value)) * (1 - 1e-9)
        assert (found.p_value < 0.05) == (found.low > 0)
        level = 1 - found.p_value
        assert (
            f1_difference(first, second, level + 1e-4, draws=2000).low
            <= 0
            < f1_difference(first, second, level - 0.01, draws=2000).low
        )


def test_no_worse_than_a_margin() -> None:
    loss = Difference(-0.01, -0.02, 0.001, 0.08)
    assert loss.not_worse_than(0.02)
    assert not loss.not_worse_than(0.0199)
    assert Difference(0.0, 0.0, 0.0, 1.0).not_worse_than(0)
    assert Difference(0.02, 0.001, 0.03, 0.04).not_worse_than(0)
    assert not Difference(0.02, -0.001, 0.03, 0.06).not_worse_than(0)
    for margin in (-0.01, float("nan")):
        with pytest.raises(ValueError, match="a margin is F1 that may be lost, at least 0, got"):
            loss.not_worse_than(margin)


def test_pairs_need_the_same_sentences() -> None:
    with pytest.raises(ValueError, match="paired scores need the same sentences, got 2 and 3"):
        f1_difference(np.zeros((2, 3), np.int64), np.zeros((3, 3), np.int64))


@pytest.mark.parametrize("confidence", [-0.1, 1, 95, float("nan")])
def test_a_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="a confidence is at least 0 and below 1, got"):
        f1_interval(np.array([[1, 1, 1]]), confidence)


# ---- degenerate inputs ----


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


# ---- documents ----


def test_documents_add_up_whatever_their_order_and_numbers() -> None:
    counts = np.array([[1, 2, 3], [10, 20, 30], [4, 5, 6], [0, 0, 1]])
    assert by_document(counts, np.array([7, -1, 7, 2])).tolist() == [[10, 20, 30], [0, 0, 1], [5, 7, 9]]
    assert by_document(np.zeros((0, 3), np.int64), np.zeros(0, np.int64)).shape == (0, 3)


# ---- speed and memory ----


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
