"""Scores that give credit for a part: strict, exact, partial and type, as SemEval-2013 counted them.

After Segura-Bedmar, Martínez and Herrero-Zazo 2013 (SemEval-2013 Task 9), in the terms of Batista 2018
(Named-Entity evaluation metrics based on entity-level) as nervaluate 1.2 counts them. A predicted mention is
compared with a gold mention that it shares a word with, each gold mention with at most one:

======= =============== ============================== =========
kind    correct         incorrect                      partial
======= =============== ============================== =========
strict  span and type   overlap, but not both          –
exact   span            overlap, another span          –
partial span            –                              overlap, another span
type    overlap, type   overlap, another type          –
======= =============== ============================== =========

What overlaps no gold mention that is left is *spurious*; a gold mention that is left is *missed*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from affineur.entities import Mention
from affineur.measure.counts import IntArray

_CORRECT, _INCORRECT, _PARTIAL, _MISSED, _SPURIOUS = range(5)

#: Says whether a predicted mention that overlaps a gold one is right.
_Right = Callable[[Mention, Mention], bool]


def _same_span(one: Mention, other: Mention) -> bool:
    return one.start == other.start and one.end == other.end


def _same_type(one: Mention, other: Mention) -> bool:
    return one.type == other.type


#: What is right in each kind, and what an overlap that is not right counts as.
_KINDS: Mapping[str, tuple[_Right, int]] = {
    "strict": (lambda one, other: one == other, _INCORRECT),
    "exact": (_same_span, _INCORRECT),
    "partial": (_same_span, _PARTIAL),
    "type": (_same_type, _INCORRECT),
}
#: The four kinds, in the order of the arrays.
KINDS = tuple(_KINDS)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of gold and predicted mentions in one kind of match.

    Args:
        correct: Matches.
        incorrect: Predicted mentions that overlap a gold one and are wrong.
        partial: Predicted mentions that overlap a gold one with another span, where that is worth a half.
        missed: Gold mentions that no prediction was compared with.
        spurious: Predicted mentions that were compared with none.
    """

    correct: int
    incorrect: int
    partial: int
    missed: int
    spurious: int

    @property
    def predicted(self) -> int:
        """Predicted mentions."""
        return self.correct + self.incorrect + self.partial + self.spurious

    @property
    def gold(self) -> int:
        """Gold mentions."""
        return self.correct + self.incorrect + self.partial + self.missed

    @property
    def precision(self) -> float:
        """Matches, a partial one worth a half, ÷ predicted; 0 where nothing was predicted."""
        return self._credit / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Matches, a partial one worth a half, ÷ gold; 0 where there is no gold."""
        return self._credit / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 where there is no mention."""
        both = self.predicted + self.gold
        return 2 * self._credit / both if both else 0.0

    @property
    def _credit(self) -> float:
        return self.correct + self.partial / 2

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys."""
        return asdict(self) | {"precision": self.precision, "recall": self.recall, "f1": self.f1}


def count_outcomes(gold: Sequence[Mention], predicted: Sequence[Mention], types: Sequence[str]) -> IntArray:
    """Count one sentence in all four kinds.

    Args:
        gold: Gold mentions, none of which overlaps another.
        predicted: Predicted mentions, none of which overlaps another.
        types: The types counted, in order; mentions of other types are ignored on both sides.

    Returns:
        Array of shape ``(1 + types, 4, 5)``: of all types together, then of each by itself, as if there were
        no other; by kind; correct, incorrect, partial, missed, spurious. A mention taken for another type is
        incorrect in the first row, missed in that of its type and spurious in the other's: rows do not add
        up.
    """
    counts = np.zeros((1 + len(types), len(KINDS), 5), dtype=np.int64)
    gold, predicted = (sorted(m for m in side if m.type in types) for side in (gold, predicted))
    if gold or predicted:
        counts[0] = _counted(gold, predicted)
        for kind in {mention.type for mention in (*gold, *predicted)}:
            mine, theirs = ([m for m in side if m.type == kind] for side in (gold, predicted))
            counts[1 + types.index(kind)] = _counted(mine, theirs)
    return counts


def _counted(gold: Sequence[Mention], predicted: Sequence[Mention]) -> IntArray:
    """Count sorted mentions: shape ``(4, 5)``."""
    counts = np.zeros((len(KINDS), 5), dtype=np.int64)
    if gold == predicted:
        counts[:, _CORRECT] = len(gold)
        return counts
    for kind, (right, otherwise) in enumerate(_KINDS.values()):
        left = list(gold)
        for mention in predicted:
            near = [other for other in left if other.start < mention.end and mention.start < other.end]
            if not near:
                counts[kind, _SPURIOUS] += 1
                continue
            matches = [other for other in near if right(mention, other)]
            # Of several of the type, the one whose ends are nearest.
            chosen = min(matches, key=lambda other: _apart(other, mention)) if matches else near[0]
            counts[kind, _CORRECT if matches else otherwise] += 1
            left.remove(chosen)
        counts[kind, _MISSED] = len(left)
    return counts


def _apart(one: Mention, other: Mention) -> int:
    return abs(one.start - other.start) + abs(one.end - other.end)


def outcomes_of(counts: IntArray) -> dict[str, Outcomes]:
    """Name counts of shape ``(4, 5)``, by kind."""
    return {kind: Outcomes(*map(int, row)) for kind, row in zip(KINDS, counts, strict=True)}
