from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest

from affineur.measure import by_document, f1_difference, f1_interval
from affineur.measure.bootstrap import Difference, Interval, _f1, _resample

Ints = npt.NDArray[np.int64]
LEVELS = (0.99, 0.95, 0.8, 0.5, 0.0)  # the last one is the median


def simulated(rng: np.random.Generator, sentences: int, right: float = 0.8) -> Ints:
    """Counts of sentences that have zero to five mentions, ``right`` of them found."""
    gold = np.minimum(rng.poisson(1.3, sentences), 5)
    found = rng.binomial(gold, right)
    predicted = found + rng.binomial(2, 0.1, sentences)
    return np.stack([found, predicted, gold], axis=1).astype(np.int64)


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


def quantiles(values: npt.NDArray[np.float64]) -> list[float]:
    return [float(q) for level in LEVELS for q in np.quantile(values, [(1 - level) / 2, (1 + level) / 2])]


# ---- against the plain loop ----


def test_the_interval_is_that_of_resampled_sentences() -> None:
    counts = simulated(np.random.default_rng(1), 200)
    plain = resampled(counts)[:, 0]
    ours = [f1_interval(counts, level, draws=6000) for level in LEVELS]
    assert [i.value for i in ours] == [f1(counts)] * len(LEVELS)
    assert [q for i in ours for q in (i.low, i.high)] == pytest.approx(quantiles(plain), abs=plain.std() * 0.15)
    drawn = _f1(_resample(counts, 6000, 0))
    assert drawn.mean() == pytest.approx(plain.mean(), abs=plain.std() * 0.06)
    assert drawn.std() == pytest.approx(plain.std(), rel=0.05)


def test_the_difference_is_that_of_resampled_pairs() -> None:
    rng = np.random.default_rng(2)
    counts = simulated(rng, 200)
    other = np.stack([rng.binomial(counts[:, 0], 0.95), counts[:, 1], counts[:, 2]], axis=1)
    plain = np.subtract(*resampled(other, counts).T)
    ours = [f1_difference(other, counts, level, draws=6000) for level in LEVELS]
    assert {d.value for d in ours} == {f1(other) - f1(counts)}
    assert [q for d in ours for q in (d.low, d.high)] == pytest.approx(quantiles(plain), abs=plain.std() * 0.15)
    unpaired = np.hypot(resampled(other).std(), resampled(counts).std())
    assert plain.std() < unpaired / 2  # so the tolerance above would not let an unpaired interval pass


def test_the_draws_have_the_moments_of_a_multinomial() -> None:
    counts = simulated(np.random.default_rng(3), 400)
    drawn = _resample(counts, 20_000, 0)
    assert drawn.shape == (20_000, 3)
    exact = len(counts) * np.cov(counts.T, bias=True)
    assert drawn.mean(axis=0) == pytest.approx(counts.sum(axis=0), rel=0.005)
    assert np.cov(drawn.T) == pytest.approx(exact, rel=0.05)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = simulated(np.random.default_rng(4), 100)
    whole = f1_interval(counts, draws=500)
    for size in (1, 1000, 7777):
        monkeypatch.setattr("affineur.measure.bootstrap._CHUNK", size)
        assert f1_interval(counts, draws=500) == whole


def test_the_seed_decides() -> None:
    counts = simulated(np.random.default_rng(5), 100)
    assert f1_interval(counts, seed=1) == f1_interval(counts, seed=1) != f1_interval(counts, seed=2)
    assert f1_interval(counts[::-1]) == f1_interval(counts)  # the order of the sentences does not


# ---- what it promises ----


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(6)
    truth = f1(simulated(rng, 400_000))
    intervals = [f1_interval(simulated(rng, 200), draws=500, seed=trial) for trial in range(400)]
    covered = np.mean([i.low <= truth <= i.high for i in intervals])
    assert 0.92 <= covered <= 0.98


def test_p_values_of_equal_models_are_rarely_small() -> None:
    rng = np.random.default_rng(7)
    small = 0
    for trial in range(300):
        first = simulated(rng, 150)
        second = np.stack([rng.binomial(first[:, 2], 0.8), first[:, 1], first[:, 2]], axis=1)
        small += f1_difference(second, first, draws=400, seed=trial).p_value <= 0.05
    assert 4 <= small <= 28  # 15 expected


def test_a_model_differs_not_from_itself() -> None:
    counts = simulated(np.random.default_rng(8), 100)
    assert f1_difference(counts, counts) == Difference(0.0, 0.0, 0.0, 1.0)


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(9)
    good = simulated(rng, 500, 0.85)
    bad = np.stack([rng.binomial(good[:, 0], 0.95), good[:, 1], good[:, 2]], axis=1)
    found = f1_difference(bad, good)
    assert found.low < found.value < found.high < 0
    assert 0 < found.p_value < 0.005
    mirrored = f1_difference(good, bad)
    assert (mirrored.value, mirrored.p_value) == (-found.value, found.p_value)
    assert mirrored.low > 0


def test_the_p_value_is_never_0() -> None:
    perfect = np.array([[1, 1, 1]] * 50)
    silent = np.array([[0, 0, 1]] * 50)
    found = f1_difference(perfect, silent, draws=999)
    assert (found.value, found.low, found.high, found.p_value) == (1.0, 1.0, 1.0, 1 / 1000)


def test_pairs_need_the_same_sentences() -> None:
    with pytest.raises(ValueError, match="paired scores need the same sentences, got 2 and 3"):
        f1_difference(np.zeros((2, 3), np.int64), np.zeros((3, 3), np.int64))


# ---- degenerate inputs ----


@pytest.mark.parametrize("units", [0, 1, 7])
def test_no_mentions_at_all(units: int) -> None:
    nothing = np.zeros((units, 3), np.int64)
    assert f1_interval(nothing) == Interval(0.0, 0.0, 0.0)
    assert f1_difference(nothing, nothing) == Difference(0.0, 0.0, 0.0, 1.0)


def test_one_sentence_has_no_spread() -> None:
    one = np.array([[1, 2, 2]])
    assert f1_interval(one) == Interval(0.5, 0.5, 0.5)


def test_draws_without_mentions_count_as_0() -> None:
    counts = np.array([[1, 1, 1]] + [[0, 0, 0]] * 9)
    found = f1_interval(counts)
    assert (found.value, found.low, found.high) == (1.0, 0.0, 1.0)


# ---- documents ----


def test_documents_add_up_whatever_their_order_and_numbers() -> None:
    counts = np.array([[1, 2, 3], [10, 20, 30], [4, 5, 6], [0, 0, 1]])
    assert by_document(counts, np.array([7, -1, 7, 2])).tolist() == [[10, 20, 30], [0, 0, 1], [5, 7, 9]]
    assert by_document(np.zeros((0, 3), np.int64), np.zeros(0, np.int64)).shape == (0, 3)


# ---- speed ----


def test_10_000_draws_over_10_000_sentences() -> None:
    rng = np.random.default_rng(10)
    counts = simulated(rng, 10_000)
    other = np.stack([rng.binomial(counts[:, 2], 0.8), counts[:, 1], counts[:, 2]], axis=1)
    for work in (lambda: f1_interval(counts, draws=10_000), lambda: f1_difference(other, counts, draws=10_000)):
        start = time.process_time()
        work()
        assert time.process_time() - start < 2
