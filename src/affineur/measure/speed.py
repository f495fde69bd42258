"""Throughput of several taggers in one run, interleaved, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from affineur.entities import Tagger
from affineur.progress import report

ROUNDS = 5
_WARM_UP = 8  # sentences
_SECONDS = 2.0  # aim of one pass of the slowest tagger


@dataclass(frozen=True, slots=True)
class Throughput:
    """Sentences per second of one tagger, one figure a round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds)

    def speedup(self, baseline: Throughput) -> float:
        """Median over the rounds of the ratio to the baseline *in the same round*."""
        return statistics.median(a / b for a, b in zip(self.rounds, baseline.rounds, strict=True))


def throughput(taggers: Sequence[Tagger], sentences: Sequence[Sequence[str]], rounds: int = ROUNDS) -> list[Throughput]:
    """Time taggers on the same sentences, in turn: A B C, A B C, and so on.

    Args:
        taggers: The taggers.
        sentences: Words of each sentence; as many are used as the slowest tagger does in about two seconds.
        rounds: How often each is timed.
    """
    few = sentences[:_WARM_UP]
    slowest = max(_seconds(tagger, few, warm_up=True) for tagger in taggers)
    used = sentences[: max(_WARM_UP, min(len(sentences), int(_SECONDS / max(slowest, 1e-6) * len(few))))]
    times: list[list[float]] = [[] for _ in taggers]
    for number in range(rounds):
        for place, tagger in enumerate(taggers):
            times[place].append(len(used) / _seconds(tagger, used))
            report("timing", number * len(taggers) + place + 1, rounds * len(taggers))
    return [Throughput(tuple(each)) for each in times]


def _seconds(tagger: Tagger, sentences: Sequence[Sequence[str]], warm_up: bool = False) -> float:
    if warm_up:
        tagger.tag(sentences)
    start = time.perf_counter()
    tagger.tag(sentences)
    return time.perf_counter() - start
