"""Speed and memory of several models, each in a process of its own, timed in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from affineur.engines.core.facts import Facts
from affineur.errors import ParameterError
from affineur.measure.benchmark_result import (
    CONFIDENCE,
    Batching,
    Benchmark,
    BenchmarkRow,
    Birth,
    Timing,
)
from affineur.measure.speed import median_ratio
from affineur.progress import report

#: Rounds of the figures a winner is declared on. 15 leave out two on each side at 99 %; 8 are the fewest that
#: tell.
ROUNDS = 15
_SIDE_ROUNDS = 5  # of the fixed batch sizes, which show the shape and decide nothing
_PASS_SECONDS = 0.7  # aim of one pass of the slowest model
_FEWEST, _MOST = 16, 512  # sentences in one pass
#: Sentences below which nobody's batches are what they are on a corpus, for models that tag so many in so
#: many seconds.
_ENOUGH, _LONGEST_PASS = 64, 5.0
_BLOCK = (8, 40)  # sentences in one round of single-sentence latency
#: Single calls that a 99th percentile needs: it then rests on the ten slowest, and not on two or three.
CALLS = 1000
OWN, SINGLE = Batching(), Batching(1)
_BATCHINGS = (OWN, Batching(8), Batching(32), Batching(8, by_length=True), Batching(32, by_length=True))


class Subject(Protocol):
    """A model that can be timed, wherever it runs. It already holds the sentences and has tagged some."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def facts(self) -> Facts:
        """What is known of it."""

    @property
    def birth(self) -> Birth:
        """How it came up."""

    def run(self, sentences: Sequence[int], batching: Batching) -> list[float]:
        """Tag sentences, given by their indices; return the seconds of each call, one per batch or one."""


def benchmark(
    subjects: Sequence[Subject],
    words: Sequence[int],
    *,
    data: str,
    machine: dict[str, Any],
    rounds: int = ROUNDS,
    cpus: Sequence[int] = (),
    shapes: bool = True,
    renew: Callable[[Sequence[int]], None] | None = None,
) -> Benchmark:
    """Time models in turn, first to last and then last to first, so that drift and neighbors are fair to all.

    The same model in two processes may differ by a fifth in speed for as long as both live: by where the
    system put its memory and its threads. So every round ``renew``s the processes, and the interval, over
    rounds, knows that luck (Kalibera and Jones 2013: repeat at the highest level that varies).

    Args:
        subjects: The models; ratios are to the first.
        words: Words of each sentence the subjects hold.
        data: Name of the corpus.
        machine: What it is measured on.
        rounds: Rounds of the figures a winner is declared on; 8 are the fewest that can tell at 99 %.
        cpus: Processors the models are kept to.
        shapes: Whether batches of fixed sizes are timed too, naive and sorted; no winner is declared on them.
        renew: Brings every model up afresh, and ready to tag these sentences together or one of them; called
            before each round but the first.

    Raises:
        ParameterError: If there is no model, no sentence, or no round.
    """
    if not subjects or not words or rounds < 1:
        raise ParameterError("a benchmark needs at least one model, one sentence and one round")
    slowest = max(_warm(subject, len(words)) for subject in subjects)
    chosen = _spread(
        len(words),
        max(_FEWEST, min(_MOST, int(_PASS_SECONDS / slowest)), min(_ENOUGH, int(_LONGEST_PASS / slowest))),
    )
    single = max(statistics.median(subject.run(chosen[: _BLOCK[0]], SINGLE)) for subject in subjects)
    count = max(_BLOCK[0], min(_BLOCK[1], int(_PASS_SECONDS / max(single, 1e-6))))
    seconds: dict[Batching, list[list[list[float]]]] = {
        batching: [[] for _ in subjects] for batching in (OWN, SINGLE)
    }
    for turn in range(rounds):
        if turn and renew is not None:
            renew(chosen)
        for batching, sentences in ((OWN, chosen), (SINGLE, block(len(words), count, turn))):
            _take_turns(subjects, turn, sentences, batching, seconds[batching])
        report("timing", turn + 1, rounds)
    for batching in _BATCHINGS[1:] if shapes else ():
        seconds[batching] = [[] for _ in subjects]
        for turn in range(min(rounds, _SIDE_ROUNDS)):
            _take_turns(subjects, turn, chosen, batching, seconds[batching])
        report(f"timing, {batching}", 1, 1)
    alone = seconds.pop(SINGLE)
    timings: list[list[Timing]] = [[] for _ in subjects]
    spreads: list[float] = []
    for batching, taken in seconds.items():
        speeds = [[len(chosen) / sum(each) for each in rows] for rows in taken]
        spreads = spreads or [_iqr(rows) for rows in speeds]
        for place, rows in enumerate(speeds):
            speed = statistics.median(rows)
            each_words = sum(words[i] for i in chosen) / len(chosen)
            timings[place].append(
                Timing(batching, speed, speed * each_words, median_ratio(rows, speeds[0], CONFIDENCE))
            )
    middles = [[statistics.median(part) for part in rows] for rows in alone]
    measured = []
    for place, subject in enumerate(subjects):
        p50, p95, p99 = percentiles([second for part in alone[place] for second in part])
        # Latencies turned around, so that above 1 is faster here too.
        latency = median_ratio([1 / m for m in middles[place]], [1 / m for m in middles[0]], CONFIDENCE)
        measured.append(
            BenchmarkRow(
                subject.name,
                subject.facts,
                subject.birth,
                p50,
                p95,
                p99,
                latency,
                tuple(timings[place]),
                spreads[place],
            )
        )
    return Benchmark(
        tuple(measured),
        data,
        len(words),
        sum(words),
        len(chosen),
        count * rounds,
        rounds,
        tuple(cpus),
        machine,
    )


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return the 50th, 95th and 99th percentile of some durations, in milliseconds."""
    p50, p95, p99 = (float(value) * 1e3 for value in np.quantile(seconds, [0.5, 0.95, 0.99]))
    return p50, p95, p99


def _warm(subject: Subject, many: int) -> float:
    """Run twice; return the seconds a sentence took the second time."""
    few = _spread(many, _FEWEST)
    subject.run(few, OWN)
    return max(sum(subject.run(few, OWN)) / len(few), 1e-6)


def _spread(many: int, count: int) -> list[int]:
    """Choose indices evenly over ``range(many)``: the head of a corpus is often all of one kind."""
    count = min(many, count)
    return [place * many // count for place in range(count)]


def block(many: int, count: int, turn: int) -> list[int]:
    """Choose ``count`` indices evenly over ``range(many)``, each several times where there are fewer.

    Args:
        many: How many there are.
        count: How many are chosen.
        turn: Every turn they lie one further.
    """
    return [(place * many // count + turn) % many for place in range(count)]


def _take_turns(
    subjects: Sequence[Subject],
    turn: int,
    sentences: Sequence[int],
    batching: Batching,
    seconds: list[list[list[float]]],
) -> None:
    """Run one piece of work on every subject, to and fro, and add the seconds of its calls to each one's."""
    order = range(len(subjects)) if turn % 2 == 0 else range(len(subjects) - 1, -1, -1)
    for place in order:
        seconds[place].append(subjects[place].run(sentences, batching))


def _iqr(values: Sequence[float]) -> float:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float((high - low) / middle)
