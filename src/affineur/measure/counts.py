"""Integer counts per sentence and type. Every score is derived from them, and counts add up across shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from affineur.entities import Mention

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, predicted and gold mentions.

    Args:
        true_positive: Predicted mentions with exactly the span and type of a gold one.
        predicted: Predicted mentions.
        gold: Gold mentions.
    """

    true_positive: int = 0
    predicted: int = 0
    gold: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Add two counts."""
        return Counts(
            self.true_positive + other.true_positive, self.predicted + other.predicted, self.gold + other.gold
        )

    @property
    def precision(self) -> float:
        """True positives ÷ predicted, 0 where nothing was predicted."""
        return self.true_positive / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """True positives ÷ gold, 0 where there is no gold."""
        return self.true_positive / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall: 2·TP ÷ (predicted + gold), 0 where both are empty."""
        both = self.predicted + self.gold
        return 2 * self.true_positive / both if both else 0.0


def count_sentence(gold: Sequence[Mention], predicted: Sequence[Mention], types: Sequence[str]) -> IntArray:
    """Count one sentence.

    Args:
        gold: Gold mentions.
        predicted: Predicted mentions.
        types: The types counted, in order; mentions of other types are ignored on both sides.

    Returns:
        Array of shape ``(types, 3)``: true positives, predicted, gold.
    """
    place = {kind: i for i, kind in enumerate(types)}
    counts = np.zeros((len(types), 3), dtype=np.int64)
    for column, mentions in enumerate((set(gold) & set(predicted), predicted, gold)):
        for mention in mentions:
            if mention.type in place:
                counts[place[mention.type], column] += 1
    return counts


def total(counts: IntArray) -> Counts:
    """Add up an array of shape ``(…, 3)`` into one count."""
    true_positive, predicted, gold = counts.reshape(-1, 3).sum(axis=0)
    return Counts(int(true_positive), int(predicted), int(gold))
