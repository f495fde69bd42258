"""Token-budget batches: as many sequences as fit a budget of padded tokens, equal lengths together."""

from __future__ import annotations

from collections.abc import Sequence

from affineur.entities import Tagger
from affineur.errors import ParameterError

#: Padded tokens in one batch. On two cores larger batches gain nothing and cost memory
#: (``benchmarks/batching.py``).
DEFAULT_BUDGET = 512


def plan_batches(lengths: Sequence[int], budget: int = DEFAULT_BUDGET, most: int = 256) -> list[list[int]]:
    """Group sequences into batches, longest first.

    Args:
        lengths: Length of each sequence, in pieces.
        budget: Most padded tokens in a batch: longest length × number of sequences. A sequence longer than
            the budget gets a batch of its own.
        most: Most sequences in a batch.

    Returns:
        Batches of indices into ``lengths``; each index is in exactly one.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for index in order:
        # Sorted by falling length, so the first of a batch is its longest.
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget and len(batches[-1]) < most:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


class FixedBatches:
    """Tags in batches of a fixed number of sentences, as most code does: 32 as they come in the guide.

    Args:
        tagger: Takes what it is given as one batch.
        size: Sentences in a batch.
        by_length: Whether sentences are sorted by length first.

    Raises:
        ParameterError: If ``size`` is less than 1.
    """

    def __init__(self, tagger: Tagger, size: int, by_length: bool = False) -> None:
        if size < 1:
            raise ParameterError(
                f"size={size} is impossible, expected batches of at least 1 sentence", "size"
            )
        self._tagger, self._size, self._by_length = tagger, size, by_length

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the tagger."""
        return self._tagger.labels

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return one tag for each word of each sentence, in input order."""
        order = (
            sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
            if self._by_length
            else list(range(len(sentences)))
        )
        found: list[list[str]] = [[] for _ in sentences]
        for start in range(0, len(order), self._size):
            batch = order[start : start + self._size]
            for index, tags in zip(batch, self._tagger.tag([sentences[i] for i in batch]), strict=True):
                found[index] = tags
        return found

    def whole(self) -> Tagger:
        """Return the tagger behind, which takes what it is given as one batch."""
        return self._tagger
