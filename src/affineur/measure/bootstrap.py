"""Bootstrap intervals for F1 and for paired differences of F1, over sentences or documents.

Percentile bootstrap after Efron and Tibshirani 1993; the paired test after Berg-Kirkpatrick et al. 2012. Units with
equal counts are interchangeable, so a draw of n units with replacement is one multinomial draw over the *distinct*
rows of counts: exact, and independent of the corpus's length in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from affineur.measure.counts import IntArray

FloatArray = npt.NDArray[np.float64]
DRAWS = 2000
#: With fewer units than this a bootstrap tells nothing: no difference is called significant.
FEWEST = 10
_CHUNK = 1 << 22  # numbers in one block of draws


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference of F1, its interval and the two-sided p-value of no difference."""

    value: float
    low: float
    high: float
    p_value: float


def f1_interval(counts: IntArray, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Estimate F1 with its interval.

    Args:
        counts: Shape ``(units, 3)``: true positives, predicted and gold of each sentence or document.
        confidence: Mass inside the interval.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    value = float(_f1(counts.sum(axis=0)[None])[0])
    low, high = _percentiles(_f1(_resample(counts, draws, seed)), confidence)
    return Interval(value, low, high)


def f1_difference(counts: IntArray, baseline: IntArray, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Difference:
    """Estimate F1 minus the baseline's F1 over the same units.

    Args:
        counts: Shape ``(units, 3)``.
        baseline: Shape ``(units, 3)``, the same units in the same order.
        confidence: Mass inside the interval.
        draws: Bootstrap draws.
        seed: Seed of the draws.

    Raises:
        ValueError: If the two do not have the same number of units.
    """
    if counts.shape != baseline.shape:
        raise ValueError(f"paired scores need the same sentences, got {len(counts)} and {len(baseline)}")
    both = np.hstack([counts, baseline])
    observed = both.sum(axis=0)[None]
    value = float(_f1(observed[:, :3])[0] - _f1(observed[:, 3:])[0])
    drawn = _resample(both, draws, seed)
    differences = _f1(drawn[:, :3]) - _f1(drawn[:, 3:])
    low, high = _percentiles(differences, confidence)
    # How often chance alone moves the difference as far from its mean as the one seen; never exactly zero.
    if len(counts) < FEWEST:
        return Difference(value, low, high, 1.0)
    extreme = int(np.count_nonzero(np.abs(differences - value) >= abs(value) - 1e-12))
    return Difference(value, low, high, (extreme + 1) / (draws + 1))


def by_document(counts: IntArray, documents: npt.NDArray[np.int64]) -> IntArray:
    """Add up the counts of each document: shape ``(sentences, k)`` becomes ``(documents, k)``."""
    _, index = np.unique(documents, return_inverse=True)
    summed = np.zeros((int(index.max(initial=-1)) + 1, counts.shape[1]), dtype=np.int64)
    np.add.at(summed, index, counts)
    return summed


def _resample(counts: IntArray, draws: int, seed: int) -> FloatArray:
    """Draw as many units as there are, with replacement, ``draws`` times; return the summed counts of each draw."""
    rows, times = np.unique(counts, axis=0, return_counts=True)
    units = int(times.sum())
    random = np.random.default_rng(seed)
    if not units:
        return np.zeros((draws, counts.shape[1]))
    block = max(1, _CHUNK // len(rows))
    parts = [random.multinomial(units, times / units, size=min(block, draws - start)).astype(np.float64) @ rows for start in range(0, draws, block)]
    return np.vstack(parts)


def _f1(sums: npt.NDArray[np.float64] | IntArray) -> FloatArray:
    both = sums[:, 1] + sums[:, 2]
    return cast(FloatArray, np.divide(2.0 * sums[:, 0], both, out=np.zeros(len(sums)), where=both > 0))


def _percentiles(values: FloatArray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
