"""The guide's table (§8), measured: F1 with interval, accuracy, size, speed and memory of several models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np

from affineur.artifact import describe_machine, environment
from affineur.display import Shown, Table
from affineur.entities import Corpus, Scheme, Tagger
from affineur.errors import ParameterError, counted
from affineur.measure.bootstrap import FEWEST, Difference
from affineur.measure.evaluation import Evaluation, common_scheme, evaluate, model_types
from affineur.measure.speed import ROUNDS, Ratio, throughput
from affineur.progress import report

#: F1 one is ready to lose: half a point, as the guide's own "84–85 %" leaves open.
MARGIN = 0.005
#: Sentences of a timing round, evenly over the corpus.
TIMED = 512


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
class TypeRow:
    """One type's scores of one model.

    ``drop`` is the baseline's F1 minus this one's, paired over the same sentences.
    """

    f1: float
    f1_low: float
    f1_high: float
    precision: float
    recall: float
    support: int
    drop: float
    drop_low: float
    drop_high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Change:
    """What changed against the row above: its F1 minus this one's, paired over the same sentences."""

    above: str
    drop: float
    drop_low: float
    drop_high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table; differences and speedup are to the first row, over the same sentences.

    ``speedup_low`` and ``speedup_high`` are the ends of its 99 % interval: 0 and ``None`` where there were
    too few rounds. ``verdict`` says in plain words what the interval of the difference allows to say.
    ``step`` is the difference to the row above, from the third row on. ``accuracy`` compares tags as they are
    written, ``accuracy_repaired`` after repair in the scheme all share.
    """

    model: str
    layers: int
    sparsity: float
    size_bytes: int
    f1: float
    f1_low: float
    f1_high: float
    precision: float
    recall: float
    accuracy: float
    accuracy_repaired: float
    sentences_per_second: float
    speedup: float
    speedup_low: float
    speedup_high: float | None
    peak_rss_bytes: int | None
    drop: float
    drop_low: float
    drop_high: float
    p_value: float
    verdict: str
    step: Change | None
    parameters: int | None
    per_type: dict[str, TypeRow]

    @property
    def speed(self) -> Ratio:
        """The speedup as a ratio with its interval, which says whether there is a winner."""
        return Ratio(
            self.speedup, self.speedup_low, math.inf if self.speedup_high is None else self.speedup_high
        )


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Shown):
    """The table and what it was measured on; ``print`` and a notebook show it.

    Args:
        rows: One a model, the baseline first.
        data: Name of the corpus.
        data_digest: Its digest.
        sentences: Its sentences.
        words: Its words.
        types: The types scored.
        left_out: Types of the data or of some model that not every model knows, left out for all.
        scheme: The scheme every model was scored in.
        merged: Scored gold mentions that merged with a neighbor in that scheme.
        bootstrap_over: ``sentences`` or ``documents``.
        margin: F1 one is ready to lose, for the verdicts.
        machine: What it was measured on.
    """

    rows: tuple[Row, ...]
    data: str
    data_digest: str
    sentences: int
    words: int
    types: tuple[str, ...]
    left_out: tuple[str, ...]
    scheme: str
    merged: int
    bootstrap_over: str
    margin: float
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
            "types_left_out": list(self.left_out),
            "scheme": self.scheme,
            "merged_gold_mentions": self.merged,
            "bootstrap_over": self.bootstrap_over,
            "margin": self.margin,
            "machine": self.machine,
        }

    @property
    def summary(self) -> str:
        """How many models were measured, on what."""
        models, sentences = counted(len(self.rows), "model"), counted(self.sentences, "sentence")
        return f"{models} on {sentences} of {self.data}: {', '.join(row.model for row in self.rows)}"

    def tables(self) -> list[Table]:
        """Return what is shown: one row per model, and below what the figures are."""
        from affineur.measure.tables import COLUMNS, comparison_cells, footnotes

        return [Table(COLUMNS, comparison_cells(self), notes=footnotes(self))]


def compare(
    candidates: Sequence[Candidate],
    corpus: Corpus,
    *,
    types: Sequence[str] | None = None,
    rounds: int = ROUNDS,
    timed: int = TIMED,
    peak_rss: Callable[[str], int | None] | None = None,
    scored: Callable[[Candidate, Sequence[str] | None, Scheme], Evaluation] | None = None,
    margin: float = MARGIN,
) -> Comparison:
    """Measure models on the same sentences; the first is the baseline.

    All models are scored in one scheme, the coarsest of theirs and the data's, and on the types all of them
    know.

    Args:
        candidates: The models.
        corpus: Gold data.
        types: Types to score, or ``None`` for all that every model knows.
        rounds: Timing rounds.
        timed: Sentences of a timing round, evenly over the corpus.
        peak_rss: Gives the peak memory of a fresh process that loads the model of this name and tags with it.
        scored: Gives a candidate's scores, where the caller keeps them; by default they are computed here.
        margin: F1 one is ready to lose, for the verdicts.

    Raises:
        ParameterError: If there is nothing to compare, two models share a name, or share no type.
        DataError: If the data has a type no model knows.
    """
    names = [c.name for c in candidates]
    if not candidates or len(set(names)) < len(names):
        raise ParameterError("give at least one model, each of them once")
    types, left_out = _shared_types(candidates, corpus, types)
    scheme = common_scheme([c.tagger for c in candidates], corpus)
    evaluations = []
    for candidate in candidates:
        report(f"scoring {candidate.name}")
        if scored is not None:
            evaluations.append(scored(candidate, types, scheme))
        else:
            evaluations.append(evaluate(candidate.tagger, corpus, types=types, scheme=scheme))
    sentences = [s.words for s in corpus.spread(timed)]
    speeds = throughput([c.tagger for c in candidates], sentences, rounds=rounds)
    first = evaluations[0]
    rows = []
    for place, (candidate, evaluation, speed) in enumerate(zip(candidates, evaluations, speeds, strict=True)):
        interval, difference = evaluation.interval(), _against(evaluation, first)
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
                precision=evaluation.total.precision,
                recall=evaluation.total.recall,
                accuracy=evaluation.accuracy,
                accuracy_repaired=evaluation.accuracy_repaired,
                sentences_per_second=speed.median,
                **_speedup(speed.ratio(speeds[0])),
                peak_rss_bytes=peak_rss(candidate.name) if peak_rss else None,
                **_drop(difference),
                verdict="" if place == 0 else _verdict(candidate.name, names[0], evaluation, first, margin),
                step=Change(names[place - 1], **_drop(evaluation.minus(evaluations[place - 1])))
                if place > 1
                else None,
                parameters=candidate.parameters,
                per_type={kind: _type_row(evaluation, first, kind) for kind in evaluation.types},
            )
        )
    return Comparison(
        tuple(rows),
        corpus.name,
        corpus.digest,
        first.sentences,
        first.words,
        first.types,
        left_out,
        str(first.scheme),
        first.merged,
        first.bootstrap_over,
        margin,
        environment() | {"description": describe_machine(), "date": date.today().isoformat()},
    )


def _against(evaluation: Evaluation, first: Evaluation, kind: str | None = None) -> Difference:
    """Subtract the first row's F1. From itself it differs nowhere, not even on sentences nobody has seen."""
    return Difference(0.0, 0.0, 0.0, 1.0) if evaluation is first else evaluation.minus(first, kind)


def _verdict(model: str, baseline: str, evaluation: Evaluation, first: Evaluation, margin: float) -> str:
    if evaluation.sentences < FEWEST:
        needs = f"an interval needs at least {FEWEST} sentences"
        return f"nothing can be said of {model} against {baseline}: {needs}"
    same = (
        "; on each of these sentences they score the same"
        if np.array_equal(evaluation.counts, first.counts)
        else ""
    )
    return in_words(model, baseline, evaluation.minus(first), margin) + same


def in_words(model: str, baseline: str, difference: Difference, margin: float = MARGIN) -> str:
    """Say what a paired interval allows to say, and nothing more.

    Args:
        model: Name of the model.
        baseline: Name of the baseline.
        difference: F1 of the model minus F1 of the baseline, with its 95 % interval.
        margin: F1 one is ready to lose.
    """
    low, high, ready = difference.low * 100, difference.high * 100, counted(margin * 100, "point")
    if low > 0:
        return f"{model} is better than {baseline} by {low:.2f} to {high:.2f} points (95 %)"
    worse = f", though worse by {-high:.2f} to {-low:.2f}" if high < 0 else ""
    if difference.not_worse_than(margin):
        return f"{model} is not worse than {baseline} by more than {ready} (95 %){worse}"
    if high < 0:
        return f"{model} is worse than {baseline} by {-high:.2f} to {-low:.2f} points (95 %)"
    possible = f"up to {-low:.2f} are possible (95 %)"
    return f"{model} cannot be told from {baseline}, nor shown to lose less than {ready}: {possible}"


def _shared_types(
    candidates: Sequence[Candidate], corpus: Corpus, types: Sequence[str] | None
) -> tuple[Sequence[str] | None, tuple[str, ...]]:
    """Choose the types every model knows, and say which are left out.

    What only the data knows stays an error of scoring.
    """
    known = [set(model_types(c.tagger)) for c in candidates]
    shared, some = set.intersection(*known), set.union(*known)
    if types is not None or shared == some:
        return types, ()
    if not shared:
        whose = "; ".join(
            f"{c.name} knows {', '.join(sorted(k))}" for c, k in zip(candidates, known, strict=True)
        )
        raise ParameterError(f"these models share no type: {whose}")
    return sorted(shared | (set(corpus.types) - some)), tuple(sorted(some - shared))


def _type_row(evaluation: Evaluation, baseline: Evaluation, kind: str) -> TypeRow:
    counts, interval = evaluation.of_type(kind), evaluation.interval(kind)
    return TypeRow(
        counts.f1,
        interval.low,
        interval.high,
        counts.precision,
        counts.recall,
        counts.gold,
        **_drop(_against(evaluation, baseline, kind)),
    )


def _speedup(ratio: Ratio) -> dict[str, Any]:
    """JSON has no infinity: an interval that tells nothing has no upper end."""
    return {
        "speedup": ratio.value,
        "speedup_low": ratio.low,
        "speedup_high": None if math.isinf(ratio.high) else ratio.high,
    }


def _drop(difference: Difference) -> dict[str, float]:
    """Turn a difference around: a drop is positive where F1 was lost."""
    return {
        "drop": 0.0 - difference.value,
        "drop_low": 0.0 - difference.high,
        "drop_high": 0.0 - difference.low,
        "p_value": difference.p_value,
    }
