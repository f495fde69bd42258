"""Token-budget batches: as many sequences as fit a budget of padded tokens, equal lengths together."""

from __future__ import annotations

from collections.abc import Sequence

#: Padded tokens in one batch. On two cores larger batches gain nothing and cost memory (``benchmarks/batching.py``).
DEFAULT_BUDGET = 1024


def plan_batches(lengths: Sequence[int], budget: int = DEFAULT_BUDGET, most: int = 256) -> list[list[int]]:
    """Group sequences into batches, longest first.

    Args:
        lengths: Length of each sequence, in pieces.
        budget: Most padded tokens in a batch: longest length × number of sequences. A sequence longer than the
            budget gets a batch of its own.
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
