"""Exactly the k smallest weights of a model of any size: found by radix selection, set to zero in place.

IEEE 754 numbers without their sign order as integers, so two histograms of 16 bits each find the k-th
smallest magnitude exactly, without sorting and without a second copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from affineur.errors import ModelError

#: Weights looked at together: they and what is made of them stay in the processor's cache.
_CHUNK = 1 << 16
_BUCKETS = 1 << 16
_INFINITE = 0x7F80  # upper half of the bits of infinity; NaNs lie above
NOT_FINITE = "the model has weights that are not finite numbers, so they cannot be ranked"


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: on chunks this small, waiting for the others costs more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def would_lose(weights: Sequence[torch.Tensor], k: int) -> list[int]:
    """Count how many weights each tensor would lose if the ``k`` smallest of all were set to zero."""
    if not k:
        return [0] * len(weights)
    threshold, ties = _kth_smallest(weights, k)
    counts = []
    for weight in weights:
        below = equal = 0
        for part in chunks(weight):
            bits = _magnitude_bits(part)
            below += int((bits < threshold).sum())
            equal += int((bits == threshold).sum())
        taken = min(equal, ties)
        ties -= taken
        counts.append(below + taken)
    return counts


def zero_smallest(weights: Sequence[torch.Tensor], k: int) -> float:
    """Set the ``k`` smallest magnitudes to zero; return the largest magnitude that became zero."""
    if not k:
        return 0.0
    threshold, ties = _kth_smallest(weights, k)
    for weight in weights:
        for part in chunks(weight):
            bits = _magnitude_bits(part)
            doomed = bits < threshold
            if ties:
                equal = (bits == threshold).nonzero().flatten()[:ties]
                doomed[equal] = True
                ties -= len(equal)
            part.masked_fill_(doomed, 0)
    return float(torch.tensor(threshold, dtype=torch.int32).view(torch.float32))


def _kth_smallest(weights: Sequence[torch.Tensor], k: int) -> tuple[int, int]:
    """Find the ``k``-th smallest magnitude, exactly.

    Returns:
        Its bits as a float32 without sign, and how many weights of just that magnitude belong to the ``k``.
    """
    high = _histogram(weights, lambda bits: bits >> 16)
    if int(high[_INFINITE:].sum()):
        raise ModelError(NOT_FINITE)
    bucket, before = _bucket_of(high, k)
    low = _histogram(weights, lambda bits: (bits & 0xFFFF)[(bits >> 16) == bucket])
    rest, below = _bucket_of(low, k - before)
    return (bucket << 16) | rest, k - before - below


def _histogram(weights: Sequence[torch.Tensor], part_of: Any) -> torch.Tensor:
    counts = torch.zeros(_BUCKETS, dtype=torch.int64, device=weights[0].device)
    for weight in weights:
        for part in chunks(weight):
            counts += torch.bincount(part_of(_magnitude_bits(part)), minlength=_BUCKETS)
    return counts


def _bucket_of(counts: torch.Tensor, k: int) -> tuple[int, int]:
    """Return the bucket that holds the ``k``-th element, and how many lie in the buckets before it."""
    cumulative = counts.cumsum(0)
    bucket = int(torch.searchsorted(cumulative, k))
    return bucket, int(cumulative[bucket - 1]) if bucket else 0


def _magnitude_bits(part: torch.Tensor) -> torch.Tensor:
    """Return magnitudes as integers that order alike; half precision becomes float32 first: exact."""
    return part.float().view(torch.int32) & 0x7FFF_FFFF


def chunks(weight: torch.Tensor) -> Iterator[torch.Tensor]:
    """View a contiguous tensor as flat pieces that can be changed in place."""
    return iter(weight.view(-1).split(_CHUNK))


def zeros(weight: torch.Tensor) -> int:
    """Count the zeros of a tensor."""
    found = 0
    for part in weight.reshape(-1).split(_CHUNK):
        found += part.numel() - int(torch.count_nonzero(part))
    return found


def all_finite(weight: torch.Tensor) -> bool:
    """Say whether every weight is a finite number."""
    return all(bool(torch.isfinite(part).all()) for part in chunks(weight))
