"""Where a model fails, and where it differs from another: confusion of types, sentences that differ most."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from affineur.entities import MOST_WORDS, Corpus, Mention, Scheme, Tagger, to_mentions
from affineur.measure.counts import IntArray
from affineur.measure.evaluation import Judged, judge

#: As many differing sentences as a person reads.
MOST = 20


@dataclass(frozen=True, slots=True)
class Confusion:
    """What became of each gold mention, and of what each invented mention was made.

    A gold mention is *right* where span and type are predicted exactly. Otherwise it is compared with the
    predicted mention that overlaps it most: of its type, the *boundary* is wrong; of another type, it is
    *confused*; without any, it is *missed*. A predicted mention that overlaps no gold mention is *invented*.

    Args:
        types: The types.
        confused: Shape ``(types, types)``: gold type by predicted type; the diagonal counts mentions that are
            right.
        boundary: Shape ``(types,)``: right type, wrong span.
        missed: Shape ``(types,)``.
        invented: Shape ``(types,)``, by predicted type.
    """

    types: tuple[str, ...]
    confused: IntArray
    boundary: IntArray
    missed: IntArray
    invented: IntArray

    @classmethod
    def empty(cls, types: Sequence[str]) -> Confusion:
        """Start with no mention."""
        many = len(types)
        return cls(
            tuple(types),
            np.zeros((many, many), np.int64),
            np.zeros(many, np.int64),
            np.zeros(many, np.int64),
            np.zeros(many, np.int64),
        )

    def add(self, gold: Sequence[Mention], predicted: Sequence[Mention]) -> None:
        """Count the mentions of one sentence."""
        place = {kind: i for i, kind in enumerate(self.types)}
        exact = set(predicted)
        for mention in gold:
            row = place[mention.type]
            over = max(
                predicted,
                key=lambda other: (overlap(mention, other), other.type == mention.type),
                default=None,
            )
            if mention in exact:
                self.confused[row, row] += 1
            elif over is None or not overlap(mention, over):
                self.missed[row] += 1
            elif over.type == mention.type:
                self.boundary[row] += 1
            else:
                self.confused[row, place[over.type]] += 1
        for mention in predicted:
            if not any(overlap(mention, other) for other in gold):
                self.invented[place[mention.type]] += 1

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys: one entry per gold type."""
        return {
            kind: {
                "right": int(self.confused[i, i]),
                "boundary": int(self.boundary[i]),
                "missed": int(self.missed[i]),
                "confused_with": {
                    other: int(self.confused[i, j]) for j, other in enumerate(self.types) if j != i
                },
                "invented": int(self.invented[i]),
            }
            for i, kind in enumerate(self.types)
        }


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A sentence two models tag differently.

    Args:
        number: Its place in the corpus, from 1.
        words: Its words.
        gold: Its gold mentions.
        baseline: Mentions the baseline predicts.
        model: Mentions the model predicts.
        words_apart: Words whose tags differ between the two.
    """

    number: int
    words: tuple[str, ...]
    gold: tuple[Mention, ...]
    baseline: tuple[Mention, ...]
    model: tuple[Mention, ...]
    words_apart: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """Errors of a model and of its baseline on the same sentences.

    Args:
        model: Name of the model.
        baseline: Name of the baseline.
        confusion: Errors of the model.
        baseline_confusion: Errors of the baseline.
        agreement: Share of words both give the same tag.
        sentences_apart: Sentences the two tag differently.
        better: Those of them in which the model makes fewer errors (mentions missed or wrong) than the
            baseline.
        worse: Those in which it makes more.
        disagreements: Those that differ most, the most different first.
        missed: The shortest sentence with a mention that the model misses, whether the baseline does or not.
    """

    model: str
    baseline: str
    confusion: Confusion
    baseline_confusion: Confusion
    agreement: float
    sentences_apart: int
    better: int
    worse: int
    disagreements: tuple[Disagreement, ...]
    missed: Disagreement | None = None

    @property
    def quotes(self) -> bool:
        """Whether a sentence of the data is quoted."""
        return bool(self.disagreements) or self.missed is not None

    def without_text(self) -> Analysis:
        """Return the counts alone: no sentence of the data is quoted."""
        return replace(self, disagreements=(), missed=None)

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``errors.json``."""
        return {
            "model": self.model,
            "baseline": self.baseline,
            "errors": self.confusion.as_dict(),
            "baseline_errors": self.baseline_confusion.as_dict(),
            "agreement": self.agreement,
            "sentences_apart": self.sentences_apart,
            "better": self.better,
            "worse": self.worse,
            "disagreements": [asdict(one) for one in self.disagreements],
            "missed_example": asdict(self.missed) if self.missed else None,
            "quotes_text": self.quotes,
        }


def analyze(
    model: tuple[str, Tagger],
    baseline: tuple[str, Tagger],
    corpus: Corpus,
    *,
    types: Sequence[str],
    scheme: Scheme,
    most: int = MOST,
) -> Analysis:
    """Tag a corpus with two models and say where each fails and where they differ.

    Memory holds ``most`` sentences.

    Args:
        model: Name and tagger of the model.
        baseline: Name and tagger of what it is compared with.
        corpus: Gold data.
        types: Types scored; all others are ignored.
        scheme: The scheme all are compared in.
        most: Differing sentences to keep.
    """
    ours, theirs = Confusion.empty(types), Confusion.empty(types)
    kept: list[tuple[int, int, Disagreement]] = []
    missed: Disagreement | None = None
    shortest = MOST_WORDS + 1  # words of that sentence
    apart = same = better = worse = 0
    both = zip(judge(model[1], corpus, types, scheme), judge(baseline[1], corpus, types, scheme), strict=True)
    for number, (mine, other) in enumerate(both, 1):
        gold, predicted, before = (
            tuple(to_mentions(tags, scheme)) for tags in (mine.gold, mine.predicted, other.predicted)
        )
        ours.add(gold, predicted)
        theirs.add(gold, before)
        differing = _apart(mine, other)
        if most and len(mine.gold) < shortest and _misses(gold, predicted):
            shortest = len(mine.gold)
            missed = Disagreement(number, mine.sentence.words, gold, before, predicted, differing)
        same += len(mine.gold) - differing
        if differing:
            apart += 1
            errors, before_errors = _errors(gold, predicted), _errors(gold, before)
            better += errors < before_errors
            worse += errors > before_errors
            # The number breaks ties in favor of the earlier sentence, so that the choice is the same every
            # time.
            entry = (
                differing,
                -number,
                Disagreement(number, mine.sentence.words, gold, before, predicted, differing),
            )
            (heapq.heappush if len(kept) < most else heapq.heappushpop)(kept, entry)
    ordered = tuple(entry[2] for entry in sorted(kept, key=lambda entry: (-entry[0], -entry[1])))
    return Analysis(
        model[0], baseline[0], ours, theirs, same / corpus.words, apart, better, worse, ordered, missed
    )


def agreement(
    model: Tagger, parent: Tagger, corpus: Corpus, *, types: Sequence[str], scheme: Scheme
) -> float:
    """Return the share of words two models give the same tag, in [0, 1]."""
    return analyze(("", model), ("", parent), corpus, types=types, scheme=scheme, most=0).agreement


def _misses(gold: Sequence[Mention], predicted: Sequence[Mention]) -> bool:
    """Say whether some gold mention shares no word with any prediction."""
    return any(not any(overlap(mention, other) for other in predicted) for mention in gold)


def _apart(mine: Judged, other: Judged) -> int:
    return sum(a != b for a, b in zip(mine.predicted, other.predicted, strict=True))


def _errors(gold: Sequence[Mention], predicted: Sequence[Mention]) -> int:
    """Count gold mentions that are not predicted and predicted ones that are not gold."""
    return len(set(gold) ^ set(predicted))


def overlap(first: Mention, second: Mention) -> int:
    """Return how many words two mentions share."""
    return max(0, min(first.end, second.end) - max(first.start, second.start))
