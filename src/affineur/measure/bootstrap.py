"""Bootstrap intervals for F1 and for paired differences of F1, over sentences or documents.

Expanded percentile intervals after Hesterberg 2015 (What Teachers Should Know about the Bootstrap, The
American Statistician 69: 371-386). The plain percentile interval (Efron and Tibshirani 1993) takes the spread
of the sample for that of the population, which is too narrow where few sentences decide, so the normal
quantiles behind the percentiles give way to Student's. Hesterberg takes n - 1 degrees of freedom, right where
all units weigh alike; most sentences weigh nothing here (no mention; nothing that two models did
differently), so the degrees are what Satterthwaite 1946 (Biometrics Bulletin 2: 110-114) takes from the
variance of an estimated variance, about twice the number of sentences that count. BCa (Efron 1987) was tried:
it straightens the tails of one F1, but the intervals of paired differences, too narrow already, it makes
narrower still. ``benchmarks/intervals.py`` prints how often the truth is inside, and how often a loss larger
than a margin is taken for a smaller one.

What no unit shows, no resampling finds: of ten perfect sentences every draw is perfect. Yet n units of one
kind leave room for a share of 1 - tail^(1/n) of another, about 3.7/n for a 95 % interval: the exact binomial
bound of Clopper and Pearson 1934 (Biometrika 26: 404-413; 3/n where only one end counts, Hanley and
Lippman-Hand 1983, JAMA 249: 1743-1745). At worst a model finds nothing there. So where no unit has an error
(at the other end, where none has a mention found) the interval of F1 reaches as far as that share can pull
it, and also where it is a single one: that shows no spread, so not how bad the next may be.

The interval of a difference reaches as far as that share can pull it, whatever was seen: with every further
loss the value is lower, and so is what it may be pulled to. Had only a model without a loss to reach so far,
a worse one would be promised more. Where some twenty units or more differ, the percentiles reach farther
anyway. A single unit that differs shows no spread; it counts as two that weigh alike, with four degrees of
freedom. ``benchmarks/max_drop.py`` prints that more damage gives no tighter bound, and how often a bound is
too hopeful.

The p-value inverts the interval: it is the level at which the interval's end is at zero. Both tell one story.

Two exact ways of drawing n of n units with replacement, the cheaper of which is taken. Units with equal
counts are interchangeable, so a draw is one multinomial over the *distinct* rows of counts; where most rows
are distinct, units are drawn by number. Either way several counts are packed into one 64-bit integer and
added up together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, log, log1p, sqrt
from statistics import NormalDist
from typing import cast

import numpy as np
import numpy.typing as npt

from affineur.measure.counts import IntArray

FloatArray = npt.NDArray[np.float64]
DRAWS = 10_000
#: With fewer units than this a bootstrap tells nothing: no difference is called significant.
FEWEST = 10
_SPREAD = 2  # units, the fewest that show how much such units differ
_BLOCK = 1 << 18  # numbers in one block of draws: few enough to stay in the cache
_DEAR = 25  # what a distinct row costs in a multinomial, in units drawn by number (75 ns against about 3 ns)
_BITS = 63  # of a packed integer, its sign aside
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence interval: ``low <= value <= high``."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference of F1.

    Its interval (``low <= value <= high``) and the two-sided p-value of no difference.
    """

    value: float
    low: float
    high: float
    p_value: float

    def not_worse_than(self, margin: float) -> bool:
        """Say whether the data rule out a loss larger than a margin: non-inferiority.

        That is, whether the whole interval lies at or above ``-margin`` (Wellek 2010, Testing Statistical
        Hypotheses of Equivalence and Noninferiority; ICH E9 1998, section 3.3.2). Only the lower end is
        looked at and the interval has two, so a 95 % interval makes the claim with 97.5 % confidence. A large
        p-value makes no such claim: it may only mean too few sentences.

        Args:
            margin: F1 that may be lost, as a fraction: 0.01 is one point.

        Raises:
            ValueError: If the margin is negative.
        """
        if not margin >= 0:
            raise ValueError(f"a margin is F1 that may be lost, at least 0, got {margin}")
        return self.low >= -margin


def f1_interval(counts: IntArray, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Estimate F1 with its interval.

    Ten perfect sentences have the interval [0.69, 1]; data without a gold mention, on which F1 counts as 0,
    show nothing: [0, 1].

    Args:
        counts: Shape ``(units, 3)``: true positives, predicted and gold of each sentence or document.
        confidence: Mass inside the interval.
        draws: Bootstrap draws.
        seed: Seed of the draws; the order of the units does not matter.

    Raises:
        ValueError: If the confidence is not at least 0 and below 1.
    """
    columns = _columns(counts)
    value = float(_f1(columns.sum(axis=0)[None])[0])
    drawn = _f1(_resample(columns, draws, seed))
    low, high = _expanded(drawn, confidence, len(columns), _freedom(_influence(columns)))
    unseen = _unseen(_trials(counts), confidence)
    bad = unseen if _few(_errors(columns)) else 0.0
    good = unseen if _few(columns[:, 0]) else 0.0
    return Interval(value, min(low, value - bad * value), max(high, value + good * (1 - value)))


def f1_difference(
    counts: IntArray, baseline: IntArray, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """Estimate F1 minus the baseline's F1 over the same units: the more is lost, the lower the low end.

    ``f1_difference(a, b)`` is exactly minus ``f1_difference(b, a)``. Two models that differ on none of ten
    sentences have the interval [-0.31, 0.31] and a p-value of 1; below ``FEWEST`` units the p-value is 1
    whatever the interval.

    Args:
        counts: Shape ``(units, 3)``: true positives, predicted and gold of each sentence or document.
        baseline: Shape ``(units, 3)``, the same units in the same order.
        confidence: Mass inside the interval.
        draws: Bootstrap draws.
        seed: Seed of the draws; the order of the units does not matter.

    Raises:
        ValueError: If the two do not have the same number of units, or the confidence is not at least 0 and
            below 1.
    """
    if counts.shape != baseline.shape:
        raise ValueError(f"paired scores need the same sentences, got {len(counts)} and {len(baseline)}")
    ours, theirs = _columns(counts), _columns(baseline)
    value = float(_f1(ours.sum(axis=0)[None])[0] - _f1(theirs.sum(axis=0)[None])[0])
    # The draws depend on which model comes first, the numbers must not.
    if value < 0 or (value == 0 and np.sort(ours, axis=0).tobytes() < np.sort(theirs, axis=0).tobytes()):
        mirrored = f1_difference(baseline, counts, confidence, draws, seed)
        return Difference(value, -mirrored.high, -mirrored.low, mirrored.p_value)
    drawn = _resample(np.hstack([ours, theirs]), draws, seed)
    differences = _f1(drawn[:, :2]) - _f1(drawn[:, 2:])
    units = len(counts)
    freedom = max(min(units - 1, 2.0 * _SPREAD), _freedom(_influence(ours) - _influence(theirs)))
    low, high = _expanded(differences, confidence, units, freedom)
    p_value = _p_value(differences, units, freedom) if value > 0 and units >= FEWEST else 1.0
    trials = _trials(counts)
    unseen = _unseen(trials, confidence)
    # The level at which the lower end is at zero.
    p_value = max(p_value, min(1.0, 2 * (1 + value) ** -trials))
    return Difference(
        value, min(low, value - unseen * (value + 1)), max(high, value + unseen * (1 - value)), p_value
    )


def by_document(counts: IntArray, documents: npt.NDArray[np.int64]) -> IntArray:
    """Add up the counts of each document: shape ``(sentences, k)`` becomes ``(documents, k)``."""
    _, index = np.unique(documents, return_inverse=True)
    summed = np.zeros((int(index.max(initial=-1)) + 1, counts.shape[1]), dtype=np.int64)
    np.add.at(summed, index, counts)
    return summed


# ---- F1 ----


def _columns(counts: IntArray) -> IntArray:
    """Keep what F1 needs: ``(units, 3)`` becomes ``(units, 2)``, true positives and predicted + gold.

    Fewer rows are distinct.
    """
    return np.stack([counts[:, 0], counts[:, 1] + counts[:, 2]], axis=1).astype(np.int64)


def _f1(sums: IntArray) -> FloatArray:
    """Score sums of columns, shape ``(…, 2)``; 0 where there is no mention."""
    found, both = sums[..., 0], sums[..., 1]
    return cast(FloatArray, np.divide(2.0 * found, both, out=np.zeros(len(sums)), where=both > 0))


def _influence(columns: IntArray) -> FloatArray:
    """By how much each unit pulls F1 away from its value.

    The infinitesimal jackknife (Efron 1982), shape ``(units,)``.
    """
    found, both = columns.sum(axis=0)
    return cast(FloatArray, (2.0 * columns[:, 0] - 2.0 * found / max(both, 1) * columns[:, 1]) / max(both, 1))


# ---- what no unit shows ----


def _trials(counts: IntArray) -> int:
    """Count what can show something: units with a gold mention.

    A type may be in few; sentences of one document are not independent.
    """
    return int(np.count_nonzero(counts[:, 2]))


def _errors(columns: IntArray) -> IntArray:
    """Count mentions missed and mentions invented: F1 is 1 minus their share of predicted + gold.

    Shape ``(units,)``.
    """
    return cast(IntArray, columns[:, 1] - 2 * columns[:, 0])


def _few(seen: IntArray) -> bool:
    """Say whether so few units have something of a kind that they show no spread of it."""
    return bool(np.count_nonzero(seen) < _SPREAD)


def _unseen(trials: int, confidence: float) -> float:
    """Bound the share of a kind of unit that is not seen, half the error at either end.

    Clopper and Pearson 1934.
    """
    return -expm1(log((1 - confidence) / 2) / trials) if trials else 1.0


# ---- intervals ----


def _freedom(influence: FloatArray) -> float:
    """Degrees of freedom of the variance that the units estimate: 2·Var² ÷ Var(Var), at most n - 1."""
    most = max(1, len(influence) - 1)
    squares = influence**2
    total = float(squares.sum())
    # The spread of the squares is the variance of their sum. It is 0 where all units weigh alike or none
    # weighs anything.
    spread = float(np.square(squares - total / max(1, len(squares))).sum())
    return min(most, 2 * total**2 / spread) if spread > 0 else most


def _to_student(normal: float, freedom: float) -> float:
    """Turn a quantile of the normal distribution into Student's.

    Wallace 1959, Annals of Mathematical Statistics 30: 1121.

    For a 95 % interval it is 0.5 % too wide at 4 degrees of freedom, 4 % at 2, and closer above.
    """
    return sqrt(freedom * expm1((normal * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom))


def _from_student(student: float, freedom: float) -> float:
    """Undo ``_to_student``."""
    return sqrt(freedom * log1p(student**2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)


def _expanded(drawn: FloatArray, confidence: float, units: int, freedom: float) -> tuple[float, float]:
    """Cut the tails of the draws where Student's quantile says, for a variance too small by (n - 1) ÷ n."""
    if not 0 <= confidence < 1:
        raise ValueError(f"a confidence is at least 0 and below 1, got {confidence}")
    wide = _to_student(_NORMAL.inv_cdf((1 + confidence) / 2), freedom) * sqrt(units / max(1, units - 1))
    # The (draws + 1)·tail-th smallest (Davison and Hinkley 1997, section 2.4): with no interpolation the
    # p-value is the exact inverse.
    place = max(1, int(_NORMAL.cdf(-wide) * (len(drawn) + 1)))
    ordered = np.sort(drawn)
    return float(ordered[place - 1]), float(ordered[-place])


def _p_value(differences: FloatArray, units: int, freedom: float) -> float:
    """At which level the interval of a positive difference ends at zero.

    Never 0: it is the draws that are finite.
    """
    tail = (np.count_nonzero(differences <= 0) + 1) / (len(differences) + 1)
    if tail >= 0.5:
        return 1.0
    return 2 * _NORMAL.cdf(-_from_student(-_NORMAL.inv_cdf(tail) / sqrt(units / (units - 1)), freedom))


# ---- draws ----


def _resample(columns: IntArray, draws: int, seed: int) -> IntArray:
    """Draw as many units as there are, with replacement, ``draws`` times.

    Args:
        columns: Shape ``(units, k)``, not negative.
        draws: Bootstrap draws.
        seed: Seed of the draws.

    Returns:
        Shape ``(draws, k)``: the summed columns of each draw.
    """
    units = len(columns)
    if not units:
        return np.zeros((draws, columns.shape[1]), dtype=np.int64)
    words = _widths(columns)
    packed, times = np.unique(_pack(columns, words), axis=0, return_counts=True)
    sample = _by_row if len(packed) * _DEAR <= units else _by_unit
    return _unpack(sample(packed, times, draws, np.random.default_rng(seed)), words)


def _by_row(packed: IntArray, times: IntArray, draws: int, random: np.random.Generator) -> IntArray:
    """Draw how often each distinct row comes: shape ``(rows, words)`` becomes ``(draws, words)``."""
    units = int(times.sum())
    block = max(1, _BLOCK // len(packed))
    sizes = (min(block, draws - start) for start in range(0, draws, block))
    return np.vstack([random.multinomial(units, times / units, size=size) @ packed for size in sizes])


def _by_unit(packed: IntArray, times: IntArray, draws: int, random: np.random.Generator) -> IntArray:
    """Draw units by number: shape ``(rows, words)`` becomes ``(draws, words)``."""
    words = np.repeat(packed, times, axis=0).T.copy()
    units = words.shape[1]
    block = max(1, _BLOCK // units)
    summed = np.empty((draws, len(words)), dtype=np.int64)
    for start in range(0, draws, block):
        chosen = random.integers(0, units, (min(block, draws - start), units))
        for place, word in enumerate(words):
            # No number is out of range, but only a mode other than "raise" is quick.
            summed[start : start + block, place] = word.take(chosen, mode="clip").sum(axis=1)
    return summed


# ---- several counts in one integer ----


def _widths(columns: IntArray) -> list[list[int]]:
    """Say how many bits each column needs so that no sum of a draw overflows, word by word.

    A column too large for any company has a word to itself, in which it is added up as it is.
    """
    words: list[list[int]] = [[]]
    for largest in columns.max(axis=0).tolist():
        width = min(_BITS, (largest * len(columns)).bit_length())
        if sum(words[-1]) + width > _BITS:
            words.append([])
        words[-1].append(width)
    return words


def _pack(columns: IntArray, words: Sequence[Sequence[int]]) -> IntArray:
    """Put the columns of each word side by side: shape ``(units, k)`` becomes ``(units, words)``."""
    packed = np.zeros((len(columns), len(words)), dtype=np.int64)
    column = iter(columns.T)
    for place, widths in enumerate(words):
        for width in widths:
            packed[:, place] = (packed[:, place] << width) + next(column)
    return packed


def _unpack(packed: IntArray, words: Sequence[Sequence[int]]) -> IntArray:
    """Undo ``_pack``, also after packed rows were added up."""
    columns: list[IntArray] = []
    for place, widths in reversed(list(enumerate(words))):
        rest = packed[:, place]
        for width in reversed(widths):
            columns.append(rest & ((1 << width) - 1))
            rest = rest >> width
    return np.stack(columns[::-1], axis=1)
