"""Scoring a tagger on a corpus: one pass, streamed, integer counts kept per sentence and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from affineur.display import Shown, Table
from affineur.entities import (
    Corpus,
    Scheme,
    Sentence,
    Tagger,
    chunks,
    coarser,
    detect,
    merged_by_io,
    project,
    renaming_hint,
    repair,
    split_tag,
    to_mentions,
    types_of,
    with_prefix,
)
from affineur.errors import DataError, ParameterError, counted
from affineur.measure.bootstrap import FEWEST, Difference, Interval, by_document, f1_difference, f1_interval
from affineur.measure.counts import Counts, IntArray, count_sentence, total
from affineur.measure.partial import KINDS, Outcomes, count_outcomes, outcomes_of
from affineur.progress import report

_CHUNK = 1024  # sentences tagged together, so that lengths can be sorted


@dataclass(frozen=True, slots=True)
class TypeScore(Mapping[str, float]):
    """Scores of one type, as attributes and, under the keys of ``evaluate --json``, as a mapping.

    Args:
        precision: True positives ÷ predicted.
        recall: True positives ÷ gold.
        f1: Their harmonic mean.
        low: Lower end of the 95 % interval of F1.
        high: Upper end.
        support: Gold mentions.
    """

    precision: float
    recall: float
    f1: float
    low: float
    high: float
    support: int

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "support": self.support,
            "f1_low": self.low,
            "f1_high": self.high,
        }

    def __getitem__(self, key: str) -> float:
        """Return a score by its key."""
        found: float = self.as_dict()[key]
        return found

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self.as_dict())

    def __len__(self) -> int:
        """Count the keys."""
        return len(self.as_dict())


@dataclass(frozen=True, repr=False)  # with no slots, so that intervals are drawn once
class Evaluation(Shown):
    """What one model scored on one corpus: ``.f1 .low .high .precision .recall .accuracy .per_type``.

    Scores are mention-level, micro over all types, exact span and type. ``print`` and a notebook show the
    table, ``dict`` gives the keys of ``evaluate --json``.

    Args:
        types: The types scored.
        counts: Shape ``(sentences, types, 3)``: true positives, predicted, gold.
        documents: Document of each sentence, or ``None`` where the data has none.
        words: Words scored.
        words_right: Words with exactly the tag of the data, as the model wrote it: nothing is repaired or
            projected, as in seqeval and conlleval.
        scheme: The scheme both sides share, in which mentions are compared.
        merged: Scored gold mentions that lost their own boundary by projecting the data to that scheme.
        repaired: Predicted tags changed by the ``begin`` rule because they formed no valid sequence.
        corpus: Name of the corpus.
        data_digest: Digest of the corpus.
        words_right_repaired: Words with the right tag after repair, in the scheme both sides share.
        outcomes: Shape ``(1 + types, 4, 5)``: see :func:`~affineur.measure.partial.count_outcomes`.
        tag_schemes: The schemes of the model's labels and of the data.
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
    words_right_repaired: int
    outcomes: IntArray
    tag_schemes: tuple[Scheme, Scheme]

    @property
    def sentences(self) -> int:
        """Number of sentences."""
        return len(self.counts)

    @property
    def total(self) -> Counts:
        """Counts over all types: micro."""
        return total(self.counts)

    @property
    def f1(self) -> float:
        """F1 over all types."""
        return self.total.f1

    @property
    def precision(self) -> float:
        """Precision over all types."""
        return self.total.precision

    @property
    def recall(self) -> float:
        """Recall over all types."""
        return self.total.recall

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of F1."""
        return self._interval.low

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval of F1."""
        return self._interval.high

    @cached_property
    def _interval(self) -> Interval:
        return self.interval()

    @cached_property
    def per_type(self) -> dict[str, TypeScore]:
        """Scores of each type, by its name."""
        return {kind: self._type_score(kind) for kind in self.types}

    @property
    def accuracy(self) -> float:
        """Words with exactly the right tag ÷ words: the number of seqeval and conlleval.

        Tags are compared as they are, ``B-PER`` with ``I-PER`` is wrong. Where model and data use different
        schemes, as an IO model on BIO data, no ``B-`` can be right; :attr:`accuracy_repaired` is fair there.
        """
        return self.words_right / self.words if self.words else 0.0

    @property
    def accuracy_repaired(self) -> float:
        """Words with the right tag ÷ words, after repair and in the scheme model and data share."""
        return self.words_right_repaired / self.words if self.words else 0.0

    @property
    def partial_match(self) -> dict[str, Outcomes]:
        """Scores of SemEval-2013 over all types: ``strict``, ``exact``, ``partial`` and ``type``."""
        return outcomes_of(self.outcomes[0])

    @property
    def partial_match_per_type(self) -> dict[str, dict[str, Outcomes]]:
        """The same of each type by itself, as if there were no other."""
        return {kind: outcomes_of(self.outcomes[place]) for place, kind in enumerate(self.types, 1)}

    def of_type(self, kind: str) -> Counts:
        """Counts of one type."""
        return total(self.counts[:, self.types.index(kind)])

    def with_gold(self, kind: str | None = None) -> int:
        """Count what can show a loss: sentences, or documents where those are drawn, with a gold mention."""
        return int(np.count_nonzero(self._units(kind)[:, 2]))

    def interval(self, kind: str | None = None, *, confidence: float = 0.95) -> Interval:
        """F1 with its interval, of one type or of all."""
        return f1_interval(self._units(kind), confidence)

    def minus(self, baseline: Evaluation, kind: str | None = None, *, confidence: float = 0.95) -> Difference:
        """F1 difference to a baseline on the same sentences, paired.

        Raises:
            ParameterError: If the two were not scored on the same sentences and types, in the same scheme.
        """
        if self.data_digest != baseline.data_digest:
            raise ParameterError(
                f"{self.corpus} and {baseline.corpus} are not the same sentences, so they cannot be paired"
            )
        if self.types != baseline.types:
            ours, theirs = ", ".join(self.types), ", ".join(baseline.types)
            raise ParameterError(
                f"one model was scored on {ours}, the other on {theirs}; name those both know (types)",
                "types",
            )
        if self.scheme is not baseline.scheme:
            raise ParameterError(
                f"one model was scored in {self.scheme}, the other in {baseline.scheme}, so they cannot "
                "be paired"
            )
        return f1_difference(self._units(kind), baseline._units(kind), confidence)

    def _sentences(self, kind: str | None) -> IntArray:
        return self.counts.sum(axis=1) if kind is None else self.counts[:, self.types.index(kind)]

    def _units(self, kind: str | None) -> IntArray:
        counts = self._sentences(kind)
        return (
            by_document(counts, self.documents)
            if self.documents is not None and self._by_document
            else counts
        )

    @property
    def bootstrap_over(self) -> str:
        """``documents`` or ``sentences``: what the bootstrap draws."""
        return "documents" if self._by_document else "sentences"

    @property
    def _by_document(self) -> bool:
        """Documents are the units of the bootstrap only where there are enough of them."""
        return self.documents is not None and len(np.unique(self.documents)) >= FEWEST

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``evaluate --json``."""
        all_types, interval = self.total, self._interval
        return {
            "f1": all_types.f1,
            "precision": all_types.precision,
            "recall": all_types.recall,
            "accuracy": self.accuracy,
            "accuracy_repaired": self.accuracy_repaired,
            "f1_low": interval.low,
            "f1_high": interval.high,
            "per_type": {kind: scores.as_dict() for kind, scores in self.per_type.items()},
            "partial_match": {kind: one.as_dict() for kind, one in self.partial_match.items()},
            "partial_match_per_type": {
                of: {kind: one.as_dict() for kind, one in found.items()}
                for of, found in self.partial_match_per_type.items()
            },
            "sentences": self.sentences,
            "words": self.words,
            "true_positive": all_types.true_positive,
            "predicted": all_types.predicted,
            "gold": all_types.gold,
            "scheme": str(self.scheme),
            "model_scheme": str(self.tag_schemes[0]),
            "data_scheme": str(self.tag_schemes[1]),
            "merged_gold_mentions": self.merged,
            "repaired_tags": self.repaired,
            "bootstrap_over": self.bootstrap_over,
            "data": self.corpus,
            "data_digest": self.data_digest,
        }

    @property
    def summary(self) -> str:
        """F1 with its interval, and what it was measured on."""
        interval, words = self._interval, counted(self.words, "word")
        return (
            f"F1 {interval.value:.2%} (95 %: {interval.low:.2%} to {interval.high:.2%}), "
            f"{self.accuracy_said}, on {counted(self.sentences, 'sentence')}, {words} of {self.corpus}"
        )

    @property
    def accuracy_said(self) -> str:
        """Accuracy in words, beside the one after repair where the two differ."""
        if self.words_right == self.words_right_repaired:
            return f"accuracy {self.accuracy:.2%}"
        ours, theirs = self.tag_schemes
        apart = "" if ours is theirs else f", the model's in {ours} and the data's in {theirs}"
        return (
            f"accuracy {self.accuracy:.2%} (tags as they are{apart}; after repair in {self.scheme}: "
            f"{self.accuracy_repaired:.2%})"
        )

    def tables(self) -> list[Table]:
        """Return what is shown: one row per type and one for all, and the scores of partial matches."""
        from affineur.measure.tables import (
            EVALUATION_COLUMNS,
            PARTIAL_COLUMNS,
            evaluation_cells,
            partial_cells,
        )

        return [
            Table(EVALUATION_COLUMNS, evaluation_cells(self), notes=[self.summary]),
            Table(PARTIAL_COLUMNS, partial_cells(self)),
        ]

    def _type_score(self, kind: str) -> TypeScore:
        counts, interval = self.of_type(kind), self.interval(kind)
        return TypeScore(counts.precision, counts.recall, counts.f1, interval.low, interval.high, counts.gold)


@dataclass(frozen=True, slots=True)
class Judged:
    """A sentence with gold and predicted tags side by side, in one scheme and of the types scored."""

    sentence: Sentence
    gold: list[str]
    predicted: list[str]
    repaired: int
    words_right: int
    """Words whose tag is the gold one as both were written, before repair and projection."""


def evaluate(
    tagger: Tagger, corpus: Corpus, *, types: Sequence[str] | None = None, scheme: Scheme | None = None
) -> Evaluation:
    """Score a tagger on labeled sentences.

    Model and data may use different schemes: both sides are projected to the coarser one. Only predictions
    are repaired. Accuracy alone compares tags as they are. Memory holds one chunk of sentences and three
    integers per type and sentence.

    Args:
        tagger: The model.
        corpus: The gold data.
        types: Types to score, on both sides; ``None`` scores every type the model or the data knows.
        scheme: A scheme coarser still, so that several models are compared in one; ``None`` for the coarser
            of the two.

    Raises:
        DataError: If the data has types the model does not know.
        ParameterError: If ``types`` names a type that neither knows.
    """
    scored = scored_types(model_types(tagger), corpus, types)
    scheme = common_scheme([tagger], corpus, scheme)
    counts: list[IntArray] = []
    documents: list[int] = []
    outcomes = np.zeros((1 + len(scored), len(KINDS), 5), dtype=np.int64)
    words = right = right_repaired = merged = repaired = 0
    for judged in judge(tagger, corpus, scored, scheme):
        gold, predicted, sentence = judged.gold, judged.predicted, judged.sentence
        both = to_mentions(gold, scheme), to_mentions(predicted, scheme)
        counts.append(count_sentence(*both, scored))
        outcomes += count_outcomes(*both, scored)
        if scheme is Scheme.IO:
            merged += merged_by_io(
                [mention for mention in to_mentions(sentence.tags, corpus.scheme) if mention.type in scored]
            )
        repaired += judged.repaired
        words += len(gold)
        right += judged.words_right
        right_repaired += sum(a == b for a, b in zip(gold, predicted, strict=True))
        documents.append(-1 if sentence.document is None else sentence.document)
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
        words_right_repaired=right_repaired,
        outcomes=outcomes,
        tag_schemes=(detect(with_prefix(label) for label in tagger.labels), corpus.scheme),
    )


def judge(tagger: Tagger, corpus: Corpus, types: Sequence[str], scheme: Scheme) -> Iterator[Judged]:
    """Tag a corpus, chunk by chunk, and put gold and prediction side by side.

    Args:
        tagger: The model.
        corpus: The gold data.
        types: Types scored; all others become ``O`` on both sides.
        scheme: The scheme both sides are projected to.
    """
    model_tags = {label: with_prefix(label) for label in tagger.labels}
    model_scheme = detect(model_tags.values())
    done = 0
    for chunk in chunks(iter(corpus), _CHUNK):
        for sentence, raw in zip(chunk, tagger.tag([s.words for s in chunk]), strict=True):
            if len(raw) != len(sentence.words):
                raise ValueError(f"the tagger gave {len(raw)} tags for {len(sentence.words)} words")
            written = [model_tags.get(tag) or with_prefix(tag) for tag in raw]
            valid, changed = repair(written, model_scheme)
            yield Judged(
                sentence,
                _restrict(project(sentence.tags, corpus.scheme, scheme), types),
                _restrict(project(valid, model_scheme, scheme), types),
                changed,
                _alike(sentence.tags, written, types),
            )
        done += len(chunk)
        report("scoring sentences", done, len(corpus))


def model_types(tagger: Tagger) -> tuple[str, ...]:
    """Return the types a model knows, sorted."""
    return types_of(with_prefix(label) for label in tagger.labels)


def common_scheme(taggers: Sequence[Tagger], corpus: Corpus, at_most: Scheme | None = None) -> Scheme:
    """Return the coarsest of the schemes of some models, the data and ``at_most``."""
    schemes = [detect(with_prefix(label) for label in tagger.labels) for tagger in taggers]
    return reduce(coarser, [*schemes, *([at_most] if at_most else [])], corpus.scheme)


def scored_types(
    known_to_model: Sequence[str], corpus: Corpus, types: Sequence[str] | None
) -> tuple[str, ...]:
    """Decide which types are scored.

    Raises:
        DataError: If the data has types the model does not know and ``types`` does not leave them out.
        ParameterError: If ``types`` names a type that neither side knows.
    """
    known = sorted({*known_to_model, *corpus.types})
    if types is not None and not types:
        raise ParameterError(f"no type is left to score; model and data know {', '.join(known)}")
    if types is not None:
        if unknown := sorted(set(types) - set(known)):
            raise ParameterError(f"no type {', '.join(unknown)} here; model and data know {', '.join(known)}")
        known = sorted(set(types))
    if foreign := sorted(set(known) - set(known_to_model)):
        raise DataError(
            f"the data has types {', '.join(corpus.types)}, the model knows {', '.join(known_to_model)}; "
            f"{renaming_hint(foreign, known_to_model)}, or name the types to score (types)",
            corpus.name,
        )
    return tuple(known)


def _restrict(tags: Sequence[str], types: Sequence[str]) -> list[str]:
    return [tag if tag.partition("-")[2] in types else "O" for tag in tags]


def _alike(gold: Sequence[str], written: Sequence[str], types: Sequence[str]) -> int:
    """Count words with the same tag on both sides; BILOU letters are another spelling of BIOES ones."""

    def plain(tag: str) -> tuple[str, str]:
        found = split_tag(tag)
        return found if found[1] in types else ("O", "")

    return sum(a == b or plain(a) == plain(b) for a, b in zip(gold, written, strict=True))
