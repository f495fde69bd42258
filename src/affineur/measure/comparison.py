"""The guide's table (§8), measured: F1 with interval, accuracy, size, speed and memory of several models together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from affineur.artifact import describe_machine, environment
from affineur.entities import Corpus, Tagger
from affineur.errors import ParameterError
from affineur.measure.evaluation import Evaluation, evaluate
from affineur.measure.speed import ROUNDS, throughput
from affineur.progress import report

_SPEED_SENTENCES = 512


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to compare.

    Args:
        name: What to call it.
        tagger: The model.
        layers: Its encoder layers.
        sparsity: Zeros ÷ weights in scope.
        size_bytes: Bytes of its weights: on disk, or serialized for a model built in memory.
        parameters: Number of parameters, or ``None`` where unknown.
    """

    name: str
    tagger: Tagger
    layers: int
    sparsity: float
    size_bytes: int
    parameters: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. Differences are to the first row, paired over the same sentences; speedup likewise."""

    model: str
    layers: int
    sparsity: float
    size_bytes: int
    f1: float
    f1_low: float
    f1_high: float
    accuracy: float
    sentences_per_second: float
    speedup: float
    peak_rss_bytes: int | None
    drop: float
    drop_low: float
    drop_high: float
    p_value: float
    parameters: int | None
    per_type: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table and what it was measured on."""

    rows: tuple[Row, ...]
    data: str
    data_digest: str
    sentences: int
    words: int
    types: tuple[str, ...]
    scheme: str
    merged: int
    machine: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``compare --json``."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "data": self.data,
            "data_digest": self.data_digest,
            "sentences": self.sentences,
            "words": self.words,
            "types": list(self.types),
            "scheme": self.scheme,
            "merged_gold_mentions": self.merged,
            "machine": self.machine,
        }


def compare(
    candidates: Sequence[Candidate],
    corpus: Corpus,
    types: Sequence[str] | None = None,
    rounds: int = ROUNDS,
    peak_rss: Callable[[str], int | None] | None = None,
    scored: Callable[[Candidate], Evaluation] | None = None,
) -> Comparison:
    """Measure models on the same sentences; the first is the baseline.

    Args:
        candidates: The models.
        corpus: Gold data.
        types: Types to score, or ``None`` for all.
        rounds: Timing rounds.
        peak_rss: Gives the peak memory of a fresh process that loads the model of this name and tags with it.
        scored: Gives a candidate's scores, where the caller keeps them; by default they are computed here.

    Raises:
        ParameterError: If there is nothing to compare, or two models share a name.
    """
    names = [c.name for c in candidates]
    if not candidates or len(set(names)) < len(names):
        raise ParameterError("give at least one model, each of them once")
    evaluations = []
    for candidate in candidates:
        report(f"scoring {candidate.name}")
        evaluations.append(scored(candidate) if scored else evaluate(candidate.tagger, corpus, types))
    sentences = [s.words for s in corpus.head(_SPEED_SENTENCES)]
    speeds = throughput([c.tagger for c in candidates], sentences, rounds)
    rows = []
    for candidate, evaluation, speed in zip(candidates, evaluations, speeds, strict=True):
        interval, difference = evaluation.interval(), evaluation.minus(evaluations[0])
        if peak_rss is not None:
            report(f"peak memory of a fresh process: {candidate.name}")
        rows.append(
            Row(
                model=candidate.name,
                layers=candidate.layers,
                sparsity=candidate.sparsity,
                size_bytes=candidate.size_bytes,
                f1=evaluation.total.f1,
                f1_low=interval.low,
                f1_high=interval.high,
                accuracy=evaluation.accuracy,
                sentences_per_second=speed.median,
                speedup=speed.speedup(speeds[0]),
                peak_rss_bytes=peak_rss(candidate.name) if peak_rss else None,
                drop=-difference.value,
                drop_low=-difference.high,
                drop_high=-difference.low,
                p_value=difference.p_value,
                parameters=candidate.parameters,
                per_type={kind: evaluation.of_type(kind).f1 for kind in evaluation.types},
            )
        )
    first = evaluations[0]
    return Comparison(
        tuple(rows),
        corpus.name,
        corpus.digest,
        first.sentences,
        first.words,
        first.types,
        str(first.scheme),
        first.merged,
        environment() | {"description": describe_machine()},
    )
