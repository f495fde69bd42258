"""What intervals and p-values claim holds: of simulated sets, of equal models, of small losses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from affineur.measure import bootstrap, f1_difference, f1_interval
from affineur.measure.bootstrap import (
    FEWEST,
    Difference,
)

from .bootstrap_samples import (
    Ints,
    f1,
    pruned,
    simulated,
    without_each,
)
from .bootstrap_samples import sampler as sampler


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
    monkeypatch.setattr(bootstrap, "_trials", lambda _: 10**9)  # what no sentence shows, aside
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
def test_worse_sentences_show_no_more_than_none(worse: int) -> None:
    perfect = np.array([[2, 2, 2]] * 500)
    other = perfect.copy()
    other[:worse] = [1, 1, 2]
    found, room = f1_difference(other, perfect, draws=2000), 1 - 0.025 ** (1 / 500)
    assert found.low <= found.value - room * (1 + found.value)
    assert found.high >= found.value + room * (1 - found.value)
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
