"""What a benchmark found: the speed and memory of each model, and what may be said of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from affineur.display import Shown, Table
from affineur.engines.core.facts import Facts
from affineur.errors import counted
from affineur.measure.speed import SAME, Ratio

#: Of the intervals of speed ratios.
CONFIDENCE = 0.99
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

    @property
    def kind(self) -> str:
        """``own``, ``naive`` (as they come) or ``sorted``."""
        return "own" if self.size is None else "sorted" if self.by_length else "naive"

    def __str__(self) -> str:
        """Name it."""
        return self.kind if self.size is None else f"{self.kind} {self.size}"


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


@dataclass(frozen=True, slots=True)
class Timing:
    """Speed under one batching: medians over the rounds, ratio to the first model in the same rounds."""

    batching: Batching
    sentences_per_second: float
    words_per_second: float
    ratio: Ratio

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        return {
            "batching": self.batching.kind,
            "batch_size": self.batching.size,
            "sentences_per_second": self.sentences_per_second,
            "words_per_second": self.words_per_second,
            **_ratio_dict(self.ratio),
        }


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
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

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        return {
            "model": self.model,
            **asdict(self.facts),
            **asdict(self.birth),
            "latency_ms": {"p50": self.p50_ms, "p95": self.p95_ms, "p99": self.p99_ms},
            "latency_ratio": _ratio_dict(self.latency),
            "speed": [timing.as_dict() for timing in self.timings],
            "spread": self.spread,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Benchmark(Shown):
    """All figures of one run; ``print`` and a notebook show its tables.

    Args:
        models: One per model; ratios are to the first.
        data: Name of the corpus the sentences come from.
        sentences: Sentences at hand.
        words: Their words.
        timed: Sentences in one pass.
        singles: Sentences timed one by one.
        rounds: Rounds of the figures a winner is declared on.
        cpus: Processors the models were kept to.
        machine: What it was measured on.
    """

    models: tuple[BenchmarkRow, ...]
    data: str
    sentences: int
    words: int
    timed: int
    singles: int
    rounds: int
    cpus: tuple[int, ...]
    machine: dict[str, Any]

    def verdicts(self) -> list[str]:
        """Say of each model but the first what its speed is against it, and who won where that is known."""
        first = self.models[0]
        said = []
        for model in self.models[1:]:
            for what, ratio in (("", model.timings[0].ratio), (" for one sentence at a time", model.latency)):
                said.append(f"{model.model} against {first.model}{what}: {speed_in_words(ratio)}")
        if unsteady := [f"{m.model} {m.spread:.0%}" for m in self.models if m.spread > _NOISY]:
            said.append(
                "this machine was not steady: between rounds of the same work, speed varied by "
                f"{', '.join(unsteady)} (interquartile)"
            )
        return said

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``benchmark --json``."""
        return {
            "models": [model.as_dict() for model in self.models],
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

    @property
    def summary(self) -> str:
        """How many models were timed, on what."""
        models, rounds = counted(len(self.models), "model"), counted(self.rounds, "round")
        names = ", ".join(model.model for model in self.models)
        return f"{models}, {rounds} of {counted(self.timed, 'sentence')} of {self.data}: {names}"

    def tables(self) -> list[Table]:
        """Return what is shown: one row per model, speed by batching, and below what the figures are."""
        from affineur.measure.tables import (
            BENCHMARK_COLUMNS,
            batching_cells,
            benchmark_cells,
            benchmark_notes,
        )

        return [
            Table(BENCHMARK_COLUMNS, benchmark_cells(self)),
            Table(*batching_cells(self), notes=benchmark_notes(self)),
        ]


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
