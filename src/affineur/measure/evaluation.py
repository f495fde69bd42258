"""Scoring a tagger on a corpus: one pass, streamed, integer counts kept per sentence and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from affineur.entities import (
    Corpus,
    Scheme,
    Tagger,
    chunks,
    coarser,
    detect,
    merged_by_io,
    project,
    repair,
    to_mentions,
    types_of,
    with_prefix,
)
from affineur.errors import DataError, ParameterError
from affineur.measure.bootstrap import FEWEST, Difference, Interval, by_document, f1_difference, f1_interval
from affineur.measure.counts import Counts, IntArray, count_sentence, total
from affineur.progress import report

_CHUNK = 1024  # sentences tagged together, so that lengths can be sorted


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one model scored on one corpus.

    Args:
        types: The types scored.
        counts: Shape ``(sentences, types, 3)``: true positives, predicted, gold.
        documents: Document of each sentence, or ``None`` where the data has none.
        words: Words scored.
        words_right: Words with the right tag, in the scheme both sides share.
        scheme: That scheme.
        merged: Scored gold mentions that lost their own boundary by projecting the data to that scheme.
        repaired: Predicted tags changed by the ``begin`` rule because they formed no valid sequence.
        corpus: Name of the corpus.
        data_digest: Digest of the corpus.
    """

    types: tuple[str, ...]
    counts: IntArray
    documents: npt.NDArray[np.int64] | None
    words: int
    words_right: int
    scheme: Scheme
    merged: int
    repaired: int
    corpus: str
    data_digest: str

    @property
    def sentences(self) -> int:
        """Number of sentences."""
        return len(self.counts)

    @property
    def total(self) -> Counts:
        """Counts over all types: micro."""
        return total(self.counts)

    @property
    def accuracy(self) -> float:
        """Words with the right tag ÷ words."""
        return self.words_right / self.words if self.words else 0.0

    def of_type(self, kind: str) -> Counts:
        """Counts of one type."""
        return total(self.counts[:, self.types.index(kind)])

    def interval(self, kind: str | None = None) -> Interval:
        """F1 with its 95 % interval, of one type or of all."""
        return f1_interval(self._units(kind))

    def minus(self, baseline: Evaluation, kind: str | None = None) -> Difference:
        """F1 difference to a baseline on the same sentences, paired."""
        if self.data_digest != baseline.data_digest:
            raise ParameterError(f"{self.corpus} and {baseline.corpus} are not the same sentences, so they cannot be paired")
        if self.types != baseline.types:
            ours, theirs = ", ".join(self.types), ", ".join(baseline.types)
            raise ParameterError(f"one model was scored on {ours}, the other on {theirs}; restrict both to what they share with --types")
        return f1_difference(self._units(kind), baseline._units(kind))

    def _units(self, kind: str | None) -> IntArray:
        counts = self.counts.sum(axis=1) if kind is None else self.counts[:, self.types.index(kind)]
        return by_document(counts, self.documents) if self.documents is not None and self._by_document else counts

    @property
    def _by_document(self) -> bool:
        """Documents are the units of the bootstrap only where there are enough of them."""
        return self.documents is not None and len(np.unique(self.documents)) >= FEWEST

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``evaluate --json``."""
        all_types, interval = self.total, self.interval()
        return {
            "f1": all_types.f1,
            "precision": all_types.precision,
            "recall": all_types.recall,
            "accuracy": self.accuracy,
            "f1_low": interval.low,
            "f1_high": interval.high,
            "per_type": {kind: self._type_dict(kind) for kind in self.types},
            "sentences": self.sentences,
            "words": self.words,
            "true_positive": all_types.true_positive,
            "predicted": all_types.predicted,
            "gold": all_types.gold,
            "scheme": str(self.scheme),
            "merged_gold_mentions": self.merged,
            "repaired_tags": self.repaired,
            "bootstrap_over": "documents" if self._by_document else "sentences",
            "data": self.corpus,
            "data_digest": self.data_digest,
        }

    def _type_dict(self, kind: str) -> dict[str, Any]:
        counts, interval = self.of_type(kind), self.interval(kind)
        return {
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
            "support": counts.gold,
            "f1_low": interval.low,
            "f1_high": interval.high,
        }


def evaluate(tagger: Tagger, corpus: Corpus, types: Sequence[str] | None = None) -> Evaluation:
    """Score a tagger on labelled sentences.

    Model and data may use different schemes: both sides are projected to the coarser one. Only predictions are
    repaired. Memory holds one chunk of sentences and three integers a type and sentence.

    Args:
        tagger: The model.
        corpus: The gold data.
        types: Types to score, on both sides; ``None`` scores every type the model or the data knows.

    Raises:
        DataError: If the data has types the model does not know.
        ParameterError: If ``types`` names a type that neither knows.
    """
    model_tags = {label: with_prefix(label) for label in tagger.labels}
    model_types = types_of(model_tags.values())
    scored = scored_types(model_types, corpus, types)
    model_scheme = detect(model_tags.values())
    scheme = coarser(model_scheme, corpus.scheme)
    counts: list[IntArray] = []
    documents: list[int] = []
    words = right = merged = repaired = 0
    for chunk in chunks(iter(corpus), _CHUNK):
        for sentence, raw in zip(chunk, tagger.tag([s.words for s in chunk]), strict=True):
            if len(raw) != len(sentence.words):
                raise ValueError(f"the tagger gave {len(raw)} tags for {len(sentence.words)} words")
            valid, changed = repair([model_tags.get(tag) or with_prefix(tag) for tag in raw], model_scheme)
            predicted = _restrict(project(valid, model_scheme, scheme), scored)
            gold_mentions = [mention for mention in to_mentions(sentence.tags, corpus.scheme) if mention.type in scored]
            gold = _restrict(project(sentence.tags, corpus.scheme, scheme), scored)
            counts.append(count_sentence(to_mentions(gold, scheme), to_mentions(predicted, scheme), scored))
            merged += merged_by_io(gold_mentions) if scheme is Scheme.IO else 0
            repaired += changed
            words += len(gold)
            right += sum(a == b for a, b in zip(gold, predicted, strict=True))
            documents.append(-1 if sentence.document is None else sentence.document)
        report("scoring sentences", len(counts), len(corpus))
    return Evaluation(
        types=tuple(scored),
        counts=np.stack(counts) if scored else np.zeros((len(counts), 0, 3), dtype=np.int64),
        documents=np.array(documents) if corpus.has_documents else None,
        words=words,
        words_right=right,
        scheme=scheme,
        merged=merged,
        repaired=repaired,
        corpus=corpus.name,
        data_digest=corpus.digest,
    )


def scored_types(model_types: Sequence[str], corpus: Corpus, types: Sequence[str] | None) -> tuple[str, ...]:
    """Decide which types are scored.

    Raises:
        DataError: If the data has types the model does not know and ``types`` does not leave them out.
        ParameterError: If ``types`` names a type that neither side knows.
    """
    known = sorted({*model_types, *corpus.types})
    if types is not None and not types:
        raise ParameterError(f"no type is left to score; model and data know {', '.join(known)}")
    if types is not None:
        if unknown := sorted(set(types) - set(known)):
            raise ParameterError(f"no type {', '.join(unknown)} here; model and data know {', '.join(known)}")
        known = sorted(set(types))
    if foreign := sorted(set(known) - set(model_types)):
        raise DataError(
            f"the data has types {', '.join(corpus.types)}, the model knows {', '.join(model_types)}; "
            f"rename with --label-map {foreign[0]}={model_types[0] if model_types else 'O'} (or =O to drop it), or restrict with --types",
            corpus.name,
        )
    return tuple(known)


def _restrict(tags: Sequence[str], types: Sequence[str]) -> list[str]:
    return [tag if tag.partition("-")[2] in types else "O" for tag in tags]
