"""Speed and memory of several models, each in a process of its own, timed in turn.

A winner only where the interval says so.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from affineur.engines.core.facts import Facts
from affineur.errors import ParameterError
from affineur.measure.speed import SAME, Ratio, median_ratio
from affineur.progress import report

#: Rounds of the figures a winner is declared on. 15 leave out two on each side at 99 %; 8 are the fewest that
#: tell.
ROUNDS = 15
CONFIDENCE = 0.99
_SIDE_ROUNDS = 5  # of the fixed batch sizes, which show the shape and decide nothing
_PASS_SECONDS = 0.7  # aim of one pass of the slowest model
_FEWEST, _MOST = 16, 512  # sentences in one pass
#: Sentences below which nobody's batches are what they are on a corpus, for models that tag so many in so
#: many seconds.
_ENOUGH, _LONGEST_PASS = 64, 5.0
_BLOCK = (8, 40)  # sentences in one round of single-sentence latency
#: Single calls that a 99th percentile needs: it then rests on the ten slowest, and not on two or three.
CALLS = 1000
_NOISY = 0.1  # interquartile range of a model's own rounds ÷ their median


@dataclass(frozen=True, slots=True)
class Batching:
    """How sentences are put together.

    Args:
        size: Sentences in a batch, or ``None`` for the model's own way.
        by_length: Whether sentences are sorted by length first.
    """

    size: int | None = None
    by_length: bool = False

    def __str__(self) -> str:
        """Name it."""
        return "own" if self.size is None else f"{'sorted' if self.by_length else 'naive'} {self.size}"


OWN, SINGLE = Batching(), Batching(1)
_BATCHINGS = (OWN, Batching(8), Batching(32), Batching(8, by_length=True), Batching(32, by_length=True))


@dataclass(frozen=True, slots=True)
class Birth:
    """How a model came up in a fresh process.

    Args:
        start_seconds: From starting the process to a loaded model, imports included.
        load_seconds: Loading the model itself, its libraries imported before, while nothing else is at work;
            of several births, the median.
        peak_rss_bytes: Peak resident memory after tagging up to 128 sentences its own way, or ``None`` where
            the system does not tell.
        threads: Threads its engine uses.
        cold: Whether the model's files were read from the disk, and not from the system's cache.
    """

    start_seconds: float
    load_seconds: float
    peak_rss_bytes: int | None
    threads: int
    cold: bool = False


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
        """Tag sentences, given by their indices; return the seconds of each call: one a batch, or one in all."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Speed under one batching: medians over the rounds, ratio to the first model in the same rounds."""

    batching: Batching
    sentences_per_second: float
    words_per_second: float
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Measured:
    """One model's figures.

    Args:
        model: Its name.
        facts: What is known of it.
        birth: How it came up.
        p50_ms: Median latency of one sentence at a time.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        latency: Ratio of the first model's latency to this one's.
        timings: Speeds, the model's own batching first.
        spread: Interquartile range of the rounds of its own batching ÷ their median: how steady the machine
            was.
    """

    model: str
    facts: Facts
    birth: Birth
    p50_ms: float
    p95_ms: float
    p99_ms: float
    latency: Ratio
    timings: tuple[Timing, ...]
    spread: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All figures of one run.

    Args:
        models: One a model; ratios are to the first.
        data: Name of the corpus the sentences come from.
        sentences: Sentences at hand.
        words: Their words.
        timed: Sentences in one pass.
        singles: Sentences timed one by one.
        rounds: Rounds of the figures a winner is declared on.
        cpus: Processors the models were kept to.
        machine: What it was measured on.
    """

    models: tuple[Measured, ...]
    data: str
    sentences: int
    words: int
    timed: int
    singles: int
    rounds: int
    cpus: tuple[int, ...]
    machine: dict[str, Any]

    def verdicts(self) -> list[str]:
        """Say of each model but the first what its speed is against it.

        No winner where the interval does not tell.
        """
        first = self.models[0]
        said = []
        for model in self.models[1:]:
            for what, ratio in (("", model.timings[0].ratio), (" for one sentence at a time", model.latency)):
                said.append(f"{model.model} against {first.model}{what}: {speed_in_words(ratio)}")
        if unsteady := [f"{m.model} {m.spread:.0%}" for m in self.models if m.spread > _NOISY]:
            said.append(
                f"this machine was not steady: between rounds of the same work, speed varied by {', '.join(unsteady)} (interquartile)"
            )
        return said

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``benchmark --json``."""
        return {
            "models": [_model_dict(model) for model in self.models],
            "verdicts": self.verdicts(),
            "data": self.data,
            "sentences": self.sentences,
            "words": self.words,
            "sentences_in_a_pass": self.timed,
            "sentences_one_by_one": self.singles,
            "rounds": self.rounds,
            "confidence": CONFIDENCE,
            "same_within": SAME,
            "cpus": list(self.cpus),
            "machine": self.machine,
        }


def benchmark(
    subjects: Sequence[Subject],
    words: Sequence[int],
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
            Measured(
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

    One further every turn.
    """
    return [(place * many // count + turn) % many for place in range(count)]


def _take_turns(
    subjects: Sequence[Subject],
    turn: int,
    sentences: Sequence[int],
    batching: Batching,
    seconds: list[list[list[float]]],
) -> None:
    """Run one piece of work on every subject, first to last or last to first.

    Add the seconds of its calls to each subject's.
    """
    order = range(len(subjects)) if turn % 2 == 0 else range(len(subjects) - 1, -1, -1)
    for place in order:
        seconds[place].append(subjects[place].run(sentences, batching))


def _iqr(values: Sequence[float]) -> float:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float((high - low) / middle)


def _model_dict(model: Measured) -> dict[str, Any]:
    facts, birth = asdict(model.facts), asdict(model.birth)
    return {
        "model": model.model,
        **facts,
        **birth,
        "latency_ms": {"p50": model.p50_ms, "p95": model.p95_ms, "p99": model.p99_ms},
        "latency_ratio": _ratio_dict(model.latency),
        "speed": [
            {
                "batching": "own"
                if t.batching.size is None
                else "sorted"
                if t.batching.by_length
                else "naive",
                "batch_size": t.batching.size,
                "sentences_per_second": t.sentences_per_second,
                "words_per_second": t.words_per_second,
                **_ratio_dict(t.ratio),
            }
            for t in model.timings
        ],
        "spread": model.spread,
    }


def _ratio_dict(ratio: Ratio) -> dict[str, Any]:
    """JSON has no infinity: an interval that tells nothing has ``null`` for its upper end."""
    return {
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": None if math.isinf(ratio.high) else ratio.high,
        "winner": ratio.winner(),
    }


def speed_in_words(ratio: Ratio) -> str:
    """Say what an interval of a speed ratio allows to say."""
    if math.isinf(ratio.high):
        return f"no winner, {ratio.value:.2f}×: too few rounds for an interval at {CONFIDENCE:.0%}"
    interval = f"{ratio.value:.2f}× ({ratio.low:.2f}–{ratio.high:.2f}, {CONFIDENCE:.0%})"
    return {
        "faster": f"faster, {interval}",
        "slower": f"slower, {interval}",
        "same": f"the same within {SAME:.0%}, {interval}",
        "unclear": f"no winner, {interval}: this run cannot tell it from ±{SAME:.0%}",
    }[ratio.winner()]
