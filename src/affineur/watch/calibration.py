"""From log-odds to probabilities that are kept: calibrators, and how sure they are of their parameters.

A calibrator is fitted on labeled sentences. Three are tried on mentions, and the one that foretells sentences
best that it was not fitted on (log loss, cross-fitting over documents) is taken:

- ``isotonic``: a step function of the mention's own log-odds for each type, fitted by pooling adjacent
  violators (Ayer et al. 1955, Annals of Mathematical Statistics 26: 641).
- ``beta``: for each type log-odds that are linear in log p and log(1 - p) (Kull, Silva Filho and Flach 2017,
  AISTATS: Beta calibration).
- ``joint``: the same idea over all signals of a mention together, types sharing what they can: log-odds
  linear in those of the whole, of its weakest word, of its words' mean and of its two edges.

What a sum of calibrated probabilities owes to the parameters is first order: a gradient times their
covariance. That comes from the influence of each document on them (Huber 1967; clustered as in Liang and
Zeger 1986, Biometrika 73: 13), so sentences of one document need not be independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from affineur.watch.signals import FloatArray, IntArray

#: Parts of the reference that take turns in being foretold.
FOLDS = 5
_RIDGE = 1.0  # weak: it keeps parameters finite where a type is always right
_STEPS = 60
_PRIOR = 0.5  # wrong and right mentions that each step of an isotonic function is lent


class Calibrator(Protocol):
    """Probabilities from rows of log-odds, with the influence of each row on the parameters."""

    @property
    def size(self) -> int:
        """How many parameters there are."""

    def __call__(self, rows: FloatArray, kinds: IntArray) -> FloatArray:
        """Return the probability of each row."""

    def gradient(self, rows: FloatArray, kinds: IntArray, weights: FloatArray) -> FloatArray:
        """Return the derivative of the weighted sum of probabilities by each parameter."""

    def influence(self, rows: FloatArray, kinds: IntArray, right: FloatArray) -> FloatArray:
        """Return how far each row that it was fitted on pulls each parameter, shape ``(rows, size)``."""

    def as_dict(self) -> dict[str, Any]:
        """Return what it takes to make it again."""


@dataclass(frozen=True)
class Logistic:
    """Log-odds that are linear in columns made of the rows.

    Args:
        design: Which columns, by a name of ``DESIGNS``.
        weights: One for each column.
        types: How many types there are.
    """

    design: str
    weights: FloatArray
    types: int

    @classmethod
    def fit(cls, design: str, rows: FloatArray, kinds: IntArray, right: FloatArray, types: int) -> Logistic:
        """Fit by Newton's method, with a weak ridge on all but the first column."""
        columns = DESIGNS[design](rows, kinds, types)
        weights = np.zeros(columns.shape[1])
        for _ in range(_STEPS):
            expected = _expit(columns @ weights)
            pull = columns.T @ (right - expected) - _penalty(len(weights)) * weights
            step = np.linalg.solve(_curvature(columns, expected), pull)
            weights = weights + step * min(1.0, 5 / max(float(np.abs(step).max()), 1e-12))
            if np.abs(step).max() < 1e-8:
                break
        return cls(design, weights, types)

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return len(self.weights)

    def __call__(self, rows: FloatArray, kinds: IntArray) -> FloatArray:
        """Return the probability of each row."""
        return _expit(self._columns(rows, kinds) @ self.weights)

    def gradient(self, rows: FloatArray, kinds: IntArray, weights: FloatArray) -> FloatArray:
        """Return the derivative of the weighted sum of probabilities by each parameter."""
        found = self(rows, kinds)
        gradient: FloatArray = self._columns(rows, kinds).T @ (weights * found * (1 - found))
        return gradient

    def influence(self, rows: FloatArray, kinds: IntArray, right: FloatArray) -> FloatArray:
        """Return how far each row that it was fitted on pulls each parameter."""
        columns = self._columns(rows, kinds)
        expected = _expit(columns @ self.weights)
        reach = np.linalg.solve(_curvature(columns, expected), columns.T).T
        # As if the row had been left out (HC3 of MacKinnon and White 1985): a row bends the fit to itself.
        own = expected * (1 - expected) * np.sum(columns * reach, axis=1)
        found: FloatArray = reach * ((right - expected) / (1 - np.minimum(own, 0.5)))[:, None]
        return found

    def _columns(self, rows: FloatArray, kinds: IntArray) -> FloatArray:
        return DESIGNS[self.design](rows, kinds, self.types)

    def as_dict(self) -> dict[str, Any]:
        """Return what it takes to make it again."""
        return {"design": self.design, "weights": self.weights.tolist(), "types": self.types}


@dataclass(frozen=True)
class Isotonic:
    """A step function of the first column for each type.

    Args:
        starts: For each type, where its steps begin, ascending; the first is minus infinity in effect.
        values: For each type, the probability on each step.
    """

    starts: tuple[FloatArray, ...]
    values: tuple[FloatArray, ...]

    @classmethod
    def fit(cls, rows: FloatArray, kinds: IntArray, right: FloatArray, types: int) -> Isotonic:
        """Pool adjacent violators, type by type; of no mention, all are as likely right as wrong."""
        fitted = [_pooled(rows[kinds == kind, 0], right[kinds == kind]) for kind in range(types)]
        return cls(tuple(starts for starts, _ in fitted), tuple(values for _, values in fitted))

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(map(len, self.values))

    def __call__(self, rows: FloatArray, kinds: IntArray) -> FloatArray:
        """Return the probability of each row."""
        found: FloatArray = np.concatenate(self.values)[self._steps(rows, kinds)]
        return found

    def gradient(self, rows: FloatArray, kinds: IntArray, weights: FloatArray) -> FloatArray:
        """Return the derivative of the weighted sum of probabilities by each parameter."""
        found: FloatArray = np.bincount(self._steps(rows, kinds), weights, self.size).astype(np.float64)
        return found

    def influence(self, rows: FloatArray, kinds: IntArray, right: FloatArray) -> FloatArray:
        """Return how far each row that it was fitted on pulls each parameter."""
        steps = self._steps(rows, kinds)
        found = np.zeros((len(rows), self.size))
        counts = np.bincount(steps, minlength=self.size) + 2 * _PRIOR
        found[np.arange(len(rows)), steps] = (right - self(rows, kinds)) / counts[steps]
        return found

    def _steps(self, rows: FloatArray, kinds: IntArray) -> IntArray:
        """Return the number of each row's step, counted through all types."""
        found = np.zeros(len(rows), dtype=np.int64)
        before = 0
        for kind, starts in enumerate(self.starts):
            own = kinds == kind
            found[own] = before + np.maximum(0, np.searchsorted(starts, rows[own, 0], side="right") - 1)
            before += len(starts)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return what it takes to make it again."""
        return {
            "design": "isotonic",
            "starts": [each.tolist() for each in self.starts],
            "values": [each.tolist() for each in self.values],
        }


def calibrator_of(said: Mapping[str, Any]) -> Logistic | Isotonic:
    """Make a calibrator again from what :meth:`Calibrator.as_dict` gave.

    Raises:
        ValueError: If it is none.
    """
    if said["design"] == "isotonic":
        starts, values = (
            tuple(np.array(each, dtype=float) for each in said[name]) for name in ("starts", "values")
        )
        if [len(each) for each in starts] != [len(each) for each in values]:
            raise ValueError("its steps and their values differ in number")
        return Isotonic(starts, values)
    types, weights = int(said["types"]), np.array(said["weights"], dtype=float)
    # BEGINS takes seven columns, the designs of mentions take no more.
    wanted = DESIGNS[said["design"]](np.zeros((0, 7)), np.zeros(0, dtype=np.int64), types).shape[1]
    if said["design"] == "joint":
        wanted -= 2
    if weights.shape != (wanted,) or not np.isfinite(weights).all():
        raise ValueError(f"it has {weights.size} weights, expected {wanted}")
    return Logistic(said["design"], weights, types)


Fit = Callable[[FloatArray, IntArray, FloatArray, int], "Logistic | Isotonic"]


def _logistic(design: str) -> Fit:
    return lambda rows, kinds, right, types: Logistic.fit(design, rows, kinds, right, types)


#: The calibrators of mentions.
METHODS: Mapping[str, Fit] = {
    "isotonic": Isotonic.fit,
    "beta": _logistic("beta"),
    "joint": _logistic("joint"),
}


def cross_fitted(
    fit: Fit, rows: FloatArray, kinds: IntArray, right: FloatArray, types: int, folds: IntArray
) -> FloatArray:
    """Foretell each row by a calibrator that was fitted without its fold.

    Args:
        fit: Fits the calibrator.
        rows: As the calibrator takes them.
        kinds: Type of each.
        right: What came true.
        types: How many types there are.
        folds: The fold of each row.
    """
    found = np.full(len(rows), 0.5)
    for fold in range(FOLDS):
        out = folds == fold
        if out.any() and not out.all():
            fitted = fit(rows[~out], kinds[~out], right[~out], types)
            found[out] = fitted(rows[out], kinds[out])
    return found


def log_loss(foretold: FloatArray, right: FloatArray) -> float:
    """Return the mean negative logarithm of the probability of what came true; 0 of nothing."""
    if not len(right):
        return 0.0
    kept = np.clip(foretold, 1e-6, 1 - 1e-6)
    return float(-np.mean(right * np.log(kept) + (1 - right) * np.log1p(-kept)))


# ---- columns ----


def _kinds(rows: FloatArray, kinds: IntArray, types: int) -> FloatArray:
    return np.concatenate([np.ones((len(rows), 1)), np.eye(types)[kinds]], axis=1)


def _beta(rows: FloatArray, kinds: IntArray, types: int) -> FloatArray:
    """For each type an intercept, log p and log(1 - p)."""
    one = np.eye(types)[kinds]
    sure, unsure = -np.logaddexp(0, -rows[:, :1]), np.logaddexp(0, rows[:, :1])
    return np.concatenate([np.ones((len(rows), 1)), one, one * sure, one * unsure], axis=1)


def _joint(rows: FloatArray, kinds: IntArray, types: int) -> FloatArray:
    """All signals of a mention, and for each type an intercept and a slope of its own."""
    one = np.eye(types)[kinds]
    return np.concatenate([np.ones((len(rows), 1)), one, rows, one * rows[:, :1]], axis=1)


def _begin(rows: FloatArray, kinds: IntArray, types: int) -> FloatArray:
    """All signals of a begin, with slopes for each type and for what was found there."""
    one, mass, state = np.eye(types)[kinds], rows[:, :1], rows[:, 2:5]
    return np.concatenate(
        [
            np.ones((len(rows), 1)), one, rows, one * mass, state * mass,
            np.maximum(0, mass + 4), np.maximum(0, mass),
        ],
        axis=1,
    )  # fmt: skip


DESIGNS: Mapping[str, Callable[[FloatArray, IntArray, int], FloatArray]] = {
    "beta": _beta,
    "joint": _joint,
    "begin": _begin,
}


# ---- arithmetic ----


def _expit(odds: FloatArray) -> FloatArray:
    found: FloatArray = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return found


def _penalty(size: int) -> FloatArray:
    penalty = np.full(size, _RIDGE)
    penalty[0] = 1e-6  # the first column is the common intercept
    return penalty


def _curvature(columns: FloatArray, expected: FloatArray) -> FloatArray:
    spread = expected * (1 - expected)
    found: FloatArray = (columns * spread[:, None]).T @ columns + np.diag(_penalty(columns.shape[1]))
    return found


def _pooled(odds: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pool adjacent violators: return where steps begin and the probability on each."""
    # Equal odds are one place from the beginning: a step can only end between two of them that differ.
    places, where, counts = np.unique(odds, return_inverse=True, return_counts=True)
    hit = np.bincount(where.ravel(), right, len(places))
    blocks: list[tuple[float, float, float]] = []  # begin, right, rows
    for begin, hits, rows in zip(places.tolist(), hit.tolist(), counts.tolist(), strict=True):
        blocks.append((begin, hits, rows))
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            (start, few, some), (_, more, others) = blocks[-2:]
            blocks[-2:] = [(start, few + more, some + others)]
    if not blocks:
        blocks = [(0.0, 0.0, 0.0)]
    values = [(hits + _PRIOR) / (rows + 2 * _PRIOR) for _, hits, rows in blocks]
    return np.array([begin for begin, _, _ in blocks]), np.array(values)
