"""Speed of several models in one run, interleaved, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from affineur.entities import Tagger
from affineur.progress import report

#: One more than the fewest that give a 99 % interval.
ROUNDS = 9
#: Ratios nearer to 1 than this are no difference worth the name: another build or another day moves as much.
SAME = 0.03
_WARM_UP = 8  # sentences
_SECONDS = 0.7  # aim of one pass of the slowest tagger

Winner = Literal["faster", "slower", "same", "unclear"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two speeds, above 1 where ours is faster, with its confidence interval.

    Args:
        value: Median over the rounds.
        low: Lower end of the interval, 0 where there are too few rounds for the confidence asked for.
        high: Upper end, infinite where there are too few rounds.
    """

    value: float
    low: float
    high: float

    def winner(self, same: float = SAME) -> Winner:
        """Say who won, only where the whole interval says so.

        Args:
            same: Ratios within ``1 ± same`` are no win.

        Returns:
            ``faster`` or ``slower`` where the interval lies beyond ``1 ± same``, ``same`` where it lies
            within, and ``unclear`` where the machine was too noisy, or the difference too near to ``same``,
            to tell.
        """
        if self.low > 1 + same:
            return "faster"
        if self.high < 1 - same:
            return "slower"
        return "same" if self.low >= 1 - same and self.high <= 1 + same else "unclear"


def median_ratio(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.99) -> Ratio:
    """Estimate the ratio of two speeds from rounds in which both ran next to each other.

    The interval is the exact distribution-free one for a median, between two order statistics (the sign test
    turned around: David and Nagaraja 2003, §7.1). It knows nothing of the shape of the noise, and bursts
    cannot pull it.

    Args:
        ours: Speed of one model in each round.
        theirs: Speed of the other in the same rounds.
        confidence: Mass inside the interval, in (0, 1); 8 rounds are the fewest that give 99 %.
    """
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    many = len(ratios)
    tail = 0.0
    cut = 0  # the interval goes from the cut-th smallest to the cut-th largest
    while cut < many // 2 and 2 * (tail := tail + math.comb(many, cut) / 2**many) <= 1 - confidence:
        cut += 1
    low, high = (ratios[cut - 1], ratios[many - cut]) if cut else (0.0, math.inf)
    return Ratio(statistics.median(ratios), low, high)


@dataclass(frozen=True, slots=True)
class Throughput:
    """Sentences per second of one tagger, one figure per round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds)

    def ratio(self, baseline: Throughput) -> Ratio:
        """Ratio to the baseline, round by round, with its 99 % interval."""
        return median_ratio(self.rounds, baseline.rounds)

    def speedup(self, baseline: Throughput) -> float:
        """Median over the rounds of the ratio to the baseline *in the same round*."""
        return self.ratio(baseline).value


def throughput(
    taggers: Sequence[Tagger], sentences: Sequence[Sequence[str]], *, rounds: int = ROUNDS
) -> list[Throughput]:
    """Time taggers on the same sentences in turn, A B C, C B A and so on, so that a drift favors none.

    Args:
        taggers: The taggers.
        sentences: Words of each sentence; as many are used as the slowest tagger does in about 0.7 seconds.
        rounds: How often each is timed.
    """
    few = sentences[:_WARM_UP]
    slowest = max(_seconds(tagger, few, warm_up=True) for tagger in taggers)
    used = sentences[: max(_WARM_UP, min(len(sentences), int(_SECONDS / max(slowest, 1e-6) * len(few))))]
    times: list[list[float]] = [[] for _ in taggers]
    for number in range(rounds):
        order = range(len(taggers)) if number % 2 == 0 else range(len(taggers) - 1, -1, -1)
        for done, place in enumerate(order, 1):
            times[place].append(len(used) / _seconds(taggers[place], used))
            report("timing", number * len(taggers) + done, rounds * len(taggers))
    return [Throughput(tuple(each)) for each in times]


def _seconds(tagger: Tagger, sentences: Sequence[Sequence[str]], warm_up: bool = False) -> float:
    if warm_up:
        tagger.tag(sentences)
    start = time.perf_counter()
    tagger.tag(sentences)
    return time.perf_counter() - start
