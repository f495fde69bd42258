from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from affineur.measure import Ratio, Throughput, median_ratio, speed, throughput
from affineur.measure.speed import ROUNDS, Winner
from affineur.progress import listening

SENTENCES = [[f"w{i}"] for i in range(4096)]


class Clock:
    """A machine whose time only taggers spend, and that may slow down."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.drag = 1.0
        self.log: list[tuple[str, int]] = []
        monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def tagger(self, name: str, seconds: float, drag: float = 1.0) -> Busy:
        return Busy(self, name, seconds, drag)


class Busy:
    labels = ("O",)

    def __init__(self, clock: Clock, name: str, seconds: float, drag: float) -> None:
        self.clock, self.name, self.seconds, self.slower = clock, name, seconds, drag

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        self.clock.log.append((self.name, len(sentences)))
        self.clock.now += self.seconds * len(sentences) * self.clock.drag
        self.clock.drag *= self.slower
        return [["O"] for _ in sentences]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_taggers_take_turns_after_a_warm_up(clock: Clock) -> None:
    found = throughput([clock.tagger("slow", 0.010), clock.tagger("fast", 0.0025)], SENTENCES, rounds=3)
    assert clock.log[:4] == [("slow", 8), ("slow", 8), ("fast", 8), ("fast", 8)]
    slow, fast = ("slow", 70), ("fast", 70)  # 0.7 seconds of the slow one
    assert clock.log[4:] == [slow, fast, fast, slow, slow, fast]
    assert [f.rounds for f in found] == [pytest.approx([100] * 3), pytest.approx([400] * 3)]
    assert found[1].speedup(found[0]) == pytest.approx(4)
    assert found[0].speedup(found[0]) == 1


def test_a_machine_that_slows_down_is_fair_to_all(clock: Clock) -> None:
    found = throughput(
        [clock.tagger("slow", 0.010), clock.tagger("fast", 0.005, drag=2.0)], SENTENCES, rounds=5
    )
    assert found[0].rounds[0] == pytest.approx(found[0].rounds[4] * 16)
    assert found[1].speedup(found[0]) == pytest.approx(2)


@pytest.mark.parametrize("drag", [1.05, 0.95])
def test_a_steady_drift_makes_no_winner(clock: Clock, drag: float) -> None:
    same = [clock.tagger(name, 0.01, drag) for name in "ab"]
    first, second = throughput(same, SENTENCES)
    ratio = second.ratio(first)
    assert ratio.low == pytest.approx(min(drag, 1 / drag))
    assert ratio.high == pytest.approx(max(drag, 1 / drag))
    assert ratio.winner() == "unclear"


@pytest.mark.parametrize(
    ("seconds", "count", "used"),
    [(10.0, 4096, 8), (0.07, 4096, 10), (0.035, 4096, 20), (1e-9, 4096, 4096), (0.1, 5, 5), (0.01, 1, 1)],
)
def test_as_many_sentences_as_seven_tenths_of_a_second_take(
    clock: Clock, seconds: float, count: int, used: int
) -> None:
    throughput([clock.tagger("a", seconds)], SENTENCES[:count], rounds=1)
    assert abs(clock.log[-1][1] - used) <= (
        1 if 8 < used < 4096 else 0
    )  # the last digit of a float may take one off


def test_progress(clock: Clock) -> None:
    steps: list[tuple[str, int | None, int | None]] = []
    with listening(lambda *step: steps.append(step)):
        throughput([clock.tagger("a", 1), clock.tagger("b", 1)], SENTENCES, rounds=2)
    assert steps == [("timing", done, 4) for done in (1, 2, 3, 4)]


def test_medians() -> None:
    first, second = Throughput((10.0, 100.0, 20.0)), Throughput((40.0, 300.0, 20.0))
    assert first.median == 20
    assert second.speedup(first) == 3.0  # of the ratios 4, 3, 1, and not of the medians 40 and 20
    assert Throughput((1.0, 5.0)).speedup(Throughput((1.0, 1.0))) == 3.0


def test_real_time() -> None:
    class Sleeper:
        labels = ("O",)

        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
            time.sleep(self.seconds * len(sentences))
            return [["O"] for _ in sentences]

    slow, fast = throughput([Sleeper(0.008), Sleeper(0.002)], SENTENCES[:10], rounds=3)
    assert 50 < slow.median <= 125
    assert 2 < fast.speedup(slow) < 6


def _oracle(ratios: Sequence[float], confidence: float) -> tuple[float, float]:
    """The narrowest symmetric pair of order statistics that holds the median with this confidence, by trying
    all of them.
    """
    ordered, many = sorted(ratios), len(ratios)
    for low in range(many // 2, 0, -1):  # from the low-th smallest to the low-th largest
        # The median lies outside on one side if fewer than ``low`` of the draws fall on that side of it.
        if 1 - 2 * binom.cdf(low - 1, many, 0.5) >= confidence:
            return ordered[low - 1], ordered[many - low]
    return 0.0, math.inf


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=70),
    st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99, 0.999]),
)
def test_the_interval_is_the_exact_one(speeds: list[float], confidence: float) -> None:
    found = median_ratio(speeds, [1.0] * len(speeds), confidence)
    assert (found.low, found.high) == _oracle(speeds, confidence)
    assert found.value == np.median(speeds)
    assert found.low <= found.value <= found.high


def test_its_coverage_by_simulation() -> None:
    rng = np.random.default_rng(5)
    runs = 4000
    for rounds, noise in ((15, "normal"), (9, "bursts"), (31, "normal")):
        draws = rng.standard_normal((runs, rounds))
        ratios = 1.1 * np.exp(0.2 * draws if noise == "normal" else draws**3)  # median 1.1 either way
        intervals = [median_ratio(row, [1.0] * rounds) for row in ratios.tolist()]
        outside = sum(not r.low <= 1.1 <= r.high for r in intervals)
        cut = next(k for k in range(rounds, 0, -1) if 2 * binom.cdf(k - 1, rounds, 0.5) <= 0.01)
        expected = 2 * binom.cdf(cut - 1, rounds, 0.5)
        low, high = binom.ppf([1e-6, 1 - 1e-6], runs, expected)
        assert low <= outside <= high
        assert outside / runs < 0.015


@pytest.mark.parametrize("rounds", range(1, 8))
def test_too_few_rounds_tell_nothing(rounds: int) -> None:
    found = median_ratio([200.0] * rounds, [1.0] * rounds)
    assert (found.value, found.low, found.high) == (200.0, 0.0, math.inf)
    assert found.winner() == "unclear"


def test_eight_rounds_are_enough_and_nine_are_the_default() -> None:
    assert median_ratio([2.0] * 8, [1.0] * 8) == Ratio(2.0, 2.0, 2.0)
    assert ROUNDS == 9
    assert median_ratio(range(1, 16), [1] * 15) == Ratio(8, 3, 13), "15 rounds leave out two on each side"


def test_ratios_are_of_the_same_round_and_their_order_does_not_matter() -> None:
    ours = [random.Random(3).uniform(1, 9) for _ in range(20)]
    theirs = [speed / 1.5 for speed in ours]
    assert median_ratio(ours, theirs).winner() == "faster"
    assert median_ratio(theirs, ours).winner() == "slower"
    assert median_ratio(ours[::-1], theirs[::-1]) == median_ratio(ours, theirs)
    with pytest.raises(ValueError, match="shorter"):
        median_ratio(ours, theirs[:-1])


@pytest.mark.parametrize(
    ("low", "high", "winner"),
    [
        (1.031, 1.2, "faster"),
        (1.03, 1.2, "unclear"),  # the boundary itself is no win
        (0.8, 0.969, "slower"),
        (0.8, 0.97, "unclear"),
        (0.97, 1.03, "same"),
        (1.0, 1.0, "same"),
        (0.9699, 1.0, "unclear"),
        (1.0, 1.0301, "unclear"),
        (0.5, 2.0, "unclear"),
        (0.0, math.inf, "unclear"),
        (1.04, math.inf, "faster"),
        (0.0, 0.9, "slower"),
    ],
)
def test_a_winner_only_where_the_whole_interval_says_so(low: float, high: float, winner: Winner) -> None:
    assert Ratio(min(high, max(low, 1.0)), low, high).winner() == winner


def test_another_idea_of_the_same() -> None:
    assert Ratio(1.05, 1.04, 1.06).winner(same=0.1) == "same"
    assert Ratio(1.001, 1.0005, 1.002).winner(same=0.0) == "faster"
