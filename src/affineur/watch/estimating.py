"""F1 without labels: what the calibrated probabilities of some sentences add up to, and how sure that is.

F1 is 2 · TP ÷ (predicted + gold). Predicted mentions are counted. True positives are the sum of the
calibrated probabilities that each is exactly right; gold mentions are the sum of those that one begins,
over all words. Summed calibrated probabilities are unbiased on text like the reference set.

Three things make F1 differ from that sum, and the interval is the sum of them: mentions are right or wrong
by chance (the variance of independent ones, times the dispersion that documents of the reference showed);
the calibrators were fitted on a sample; and away from the reference calibration is carried over to text
that it was not fitted on. How well it carries was measured on the reference spoiled in several ways: the
errors there, as a share of the loss that was estimated, widen the interval by the same share of the loss
estimated here.

All that holds while a mention means here what it meant on the reference. Where the commonest words are used
in another way than there, it need not, and nothing but labels tells: then no F1 is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from affineur.display import Shown, Table
from affineur.errors import ParameterError, counted
from affineur.watch.features import Moved
from affineur.watch.reference import Reference
from affineur.watch.signals import FloatArray, IntArray, Signals

_NORMAL = 1.96
#: Student's 0.975 quantile by degrees of freedom: shifts that were tried, less than a dozen.
_STUDENT = (12.7, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18)
_BELOW = 0.05  # how much lower than on any spoiled copy F1 may be estimated
_LEAST = 1.0  # mentions, found or expected: with less there is no F1


@dataclass(frozen=True)
class TypeEstimate:
    """What is estimated of one type, or of all.

    Args:
        true_positive: Mentions expected to be exactly right.
        predicted: Mentions found.
        gold: Mentions expected to be there.
        value: F1 that they make.
        low: Lower end of its 95 % interval.
        high: Upper end.
        reason: Why none of it is to be relied upon; empty where it is.
    """

    true_positive: float
    predicted: int
    gold: float
    value: float
    low: float
    high: float
    reason: str = ""

    @property
    def abstained(self) -> bool:
        """Whether no F1 is given."""
        return bool(self.reason)

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys; F1 is null where it is not given."""
        given = not self.abstained
        return {
            "f1_estimated": self.value if given else None,
            "f1_low": self.low if given else None,
            "f1_high": self.high if given else None,
            "abstained": self.abstained,
            "reason": self.reason or None,
            "true_positive_estimated": self.true_positive,
            "predicted": self.predicted,
            "gold_estimated": self.gold,
            "f1_if_labeled_alike": self.value,
        }


@dataclass(frozen=True, repr=False)
class Estimate(Shown):
    """F1 of a model on text that nobody labeled: ``.f1 .low .high .abstained .reason .per_type``.

    Args:
        whole: Over all types.
        per_type: Of each type.
        reference_f1: F1 of the model on the reference set, over the same types.
        distance: How far the commonest words are from those of the reference set.
        limit: How far they may be.
        sentences: Sentences looked at.
        documents: Documents they are in.
        words: Their words.
        features: How the sentences look, beside the reference set.
        text: What was looked at.
        data: The reference set.
    """

    whole: TypeEstimate
    per_type: Mapping[str, TypeEstimate]
    reference_f1: float
    distance: float
    limit: float
    sentences: int
    documents: int
    words: int
    features: Mapping[str, Moved]
    text: str
    data: str

    @property
    def f1(self) -> float | None:
        """F1 as estimated; ``None`` where none is given."""
        return None if self.abstained else self.whole.value

    @property
    def low(self) -> float | None:
        """Lower end of its 95 % interval."""
        return None if self.abstained else self.whole.low

    @property
    def high(self) -> float | None:
        """Upper end."""
        return None if self.abstained else self.whole.high

    @property
    def abstained(self) -> bool:
        """Whether no F1 is given."""
        return self.whole.abstained

    @property
    def reason(self) -> str:
        """Why not."""
        return self.whole.reason

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``watch estimate --json``."""
        return {
            **self.whole.as_dict(),
            "per_type": {kind: each.as_dict() for kind, each in self.per_type.items()},
            "reference_f1": self.reference_f1,
            "distance": self.distance,
            "distance_limit": self.limit,
            "sentences": self.sentences,
            "documents": self.documents,
            "words": self.words,
            "features": {
                name: {
                    "reference": each.reference,
                    "here": each.here,
                    "psi": each.psi,
                    "psi_limit": each.limit,
                    "moved": each.moved,
                }
                for name, each in self.features.items()
            },
            "text": self.text,
            "reference": self.data,
        }

    @property
    def summary(self) -> str:
        """F1 with its interval, or why there is none."""
        of = f"{counted(self.sentences, 'sentence')}, {counted(self.words, 'word')} of {self.text}"
        known = f"on the reference set {self.data} it is {self.reference_f1:.2%}"
        if self.abstained:
            return f"no F1 is estimated on {of}: {self.reason}; {known}"
        return (
            f"F1 is estimated at {self.whole.value:.2%} (95 %: {self.whole.low:.2%} to {self.whole.high:.2%})"
            f" on {of}, without labels; {known}"
        )

    def tables(self) -> list[Table]:
        """Return what is shown: one row per type and one for all."""
        rows = []
        for kind, each in (*self.per_type.items(), ("all", self.whole)):
            f1, interval = f"{each.value:.2%}", f"{each.low:.2%} – {each.high:.2%}"
            shown = ("–", "–") if each.abstained else (f1, interval)
            rows.append(
                [kind, *shown, f"{each.true_positive:.1f}", f"{each.predicted:,}", f"{each.gold:.1f}"]
            )
        moved = [
            f"{name} {each.reference:.3g} → {each.here:.3g}"
            for name, each in self.features.items()
            if each.moved
        ]
        notes = [self.summary, *(["moved since: " + ", ".join(moved)] if moved else [])]
        return [Table(("type", "F1", "95 %", "right", "found", "there"), rows, notes=notes)]


@dataclass(frozen=True)
class Expected:
    """What a reference makes of signals.

    Args:
        right: The probability that each mention found is exactly right.
        begins: The probability that a gold mention begins at each begin.
        elsewhere: Gold mentions expected at all other words, by type.
    """

    right: FloatArray
    begins: FloatArray
    elsewhere: FloatArray

    @classmethod
    def of(cls, reference: Reference, signals: Signals) -> Expected:
        """Calibrate signals."""
        return cls(
            reference.mentions(signals.mentions, signals.mention_type),
            reference.begins(signals.begins, signals.begin_type),
            reference.elsewhere * signals.words.sum(),
        )

    def counts(self, signals: Signals, types: int) -> FloatArray:
        """Return true positives, predicted and gold mentions of each type, shape ``(types, 3)``."""
        found = np.bincount(signals.mention_type, self.right, types)
        predicted = np.bincount(signals.mention_type, minlength=types)
        gold = np.bincount(signals.begin_type, self.begins, types) + self.elsewhere
        return np.stack([found, predicted, gold], axis=1)


def estimate(
    reference: Reference,
    signals: Signals,
    sentences: Sequence[Sequence[str]],
    *,
    types: Sequence[str] | None = None,
    documents: int | None = None,
    text: str = "the text",
) -> Estimate:
    """Estimate F1 from signals.

    Args:
        reference: What is known of the model.
        signals: Of the sentences, read in the reference's scheme and types.
        sentences: Their words, for the commonest of them.
        types: Types to estimate; ``None`` for all of the reference.
        documents: Documents they are in; ``None`` where each is one.
        text: What to call it.

    Raises:
        ParameterError: If the reference lacks a type.
    """
    chosen = reference.types if types is None else tuple(dict.fromkeys(types))
    if not chosen or (unknown := [kind for kind in chosen if kind not in reference.types]):
        named = ", ".join(unknown) if chosen else "is named"
        raise ParameterError(f"no type {named}; the reference set has {', '.join(reference.types)}", "types")
    expected = Expected.of(reference, signals)
    counts, _ = reference.style.count(sentences)
    distance, chance = reference.style.distance(counts)
    reason = _unlike(reference, distance, chance, int(signals.words.sum()))

    def of(kinds: Sequence[str]) -> TypeEstimate:
        return _of_types(
            reference, signals, expected, [reference.types.index(kind) for kind in kinds], reason
        )

    numbers = [reference.types.index(kind) for kind in chosen]
    return Estimate(
        of(chosen),
        {kind: of([kind]) for kind in chosen},
        _f1(reference.counts[numbers].sum(axis=0)),
        distance,
        reference.limit,
        len(signals),
        len(signals) if documents is None else documents,
        int(signals.words.sum()),
        reference.features.compare(signals, reference.types),
        text,
        reference.data_name,
    )


def _unlike(reference: Reference, distance: float, chance: float, words: int) -> str:
    """Say why text is not of a kind that the reference speaks of; nothing where it is."""
    if 2 * chance > reference.limit:
        return (
            f"{counted(words, 'word')} are too few to tell whether this is text like the reference set"
            if words
            else "there is no text"
        )
    if distance > reference.limit + 2 * chance:
        return (
            f"its commonest words are not used as in the reference set (distance {distance:.3f}, at most "
            f"{reference.limit:.3f}): it may be labeled by other rules, which only labels can tell"
        )
    return ""


def _of_types(
    reference: Reference, signals: Signals, expected: Expected, kinds: list[int], reason: str
) -> TypeEstimate:
    mention, begin = np.isin(signals.mention_type, kinds), np.isin(signals.begin_type, kinds)
    found, gold = float(expected.right[mention].sum()), float(expected.begins[begin].sum())
    gold += float(expected.elsewhere[kinds].sum())
    predicted = int(mention.sum())
    value = _f1(np.array([found, predicted, gold]))
    if predicted + gold < 2 * _LEAST:
        reason = reason or "no mention was found, and none is expected"
        return TypeEstimate(found, predicted, gold, value, 0.0, 1.0, reason)
    whole = predicted + gold
    by_chance = np.sum(4 * (expected.right * (1 - expected.right))[mention])
    by_chance += value**2 * np.sum((expected.begins * (1 - expected.begins))[begin])
    unforeseen = expected.elsewhere[kinds].sum()  # by chance here, and by chance on the reference
    unforeseen *= 1 + signals.words.sum() / max(1, reference.words)
    up, down = 2.0 * mention.astype(np.float64), -value * begin.astype(np.float64)
    gradient = np.concatenate(
        [
            reference.mentions.gradient(signals.mentions, signals.mention_type, up),
            reference.begins.gradient(signals.begins, signals.begin_type, down),
        ]
    )
    variance = reference.dispersion * by_chance + value**2 * unforeseen
    variance = (variance + gradient @ reference.covariance @ gradient) / whole**2
    lost, share, lowest = _carried(reference, kinds)
    far = share * abs(lost - value)
    low, high = _interval(value, float(np.hypot(_NORMAL * np.sqrt(variance), far)))
    if not reason and value < lowest - _BELOW:
        reason = (
            f"F1 seems to be {value:.2f}, lower than on any spoiled copy of the reference set"
            f" ({lowest:.2f}): nobody has tried whether the estimate holds there"
        )
    return TypeEstimate(found, predicted, gold, value, low, high, reason)


def _carried(reference: Reference, kinds: list[int]) -> tuple[float, float, float]:
    """Say how well calibration carries over to spoiled copies of the reference.

    Returns:
        F1 on the reference, how much of an estimated loss the error may be (a half-width at 95 %), and the
        lowest F1 that was estimated.
    """
    here = _f1(reference.counts[kinds].sum(axis=0))
    pairs = [
        (_f1(shift.estimated[kinds].sum(axis=0)), _f1(shift.counts[kinds].sum(axis=0)))
        for shift in reference.shifts.values()
    ]
    if not pairs:
        return here, 1.0, here
    guessed, real = np.array(pairs).T
    lost = np.sum((here - guessed) ** 2)
    share = np.sqrt(np.sum((guessed - real) ** 2) / lost) if lost else 1.0
    quantile = _STUDENT[min(len(pairs), len(_STUDENT)) - 1]
    return here, float(quantile * min(share, 1.0)), float(guessed.min())


def _interval(value: float, half: float) -> tuple[float, float]:
    """Return the ends of an interval that is even in log-odds, which keeps it inside of [0, 1]."""
    kept = float(np.clip(value, 1e-3, 1 - 1e-3))
    odds, wide = np.log(kept / (1 - kept)), half / (kept * (1 - kept))
    low, high = (float(1 / (1 + np.exp(-np.clip(odds + sign * wide, -30, 30)))) for sign in (-1, 1))
    return min(low, value), max(high, value)


def _f1(counts: FloatArray) -> float:
    found, predicted, gold = counts
    return float(2 * found / (predicted + gold)) if predicted + gold else 0.0


def dispersion_of(
    signals: Signals,
    right: FloatArray,
    begins: FloatArray,
    came: tuple[FloatArray, FloatArray],
    documents: IntArray,
    value: float,
) -> float:
    """Say how many times the variance of independent mentions the errors of documents have.

    Args:
        signals: Of labeled sentences.
        right: Foretold for each mention, by calibrators not fitted on it.
        begins: Foretold for each begin, likewise.
        came: What came true of both.
        documents: Number of the document of each sentence, from 0.
        value: F1.
    """
    size = int(documents.max(initial=-1)) + 1
    wrong = np.bincount(documents[signals.mention_sentence], 2 * (came[0] - right), size)
    wrong -= np.bincount(documents[signals.begin_sentence], value * (came[1] - begins), size)
    independent = np.sum(4 * right * (1 - right)) + value**2 * np.sum(begins * (1 - begins))
    return float(np.sum(wrong**2) / independent) if independent else 1.0
