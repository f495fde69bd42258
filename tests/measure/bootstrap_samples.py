"""Simulated test sets, and the bootstrap spelled out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats  # type: ignore[import-untyped]

from affineur.measure import bootstrap

Ints = npt.NDArray[np.int64]


LEVELS = (0.99, 0.95, 0.8, 0.5)


SAMPLERS = {"by row": 0, "by unit": 1 << 40}  # what a distinct row must cost for a sampler to be taken


def simulated(rng: np.random.Generator, sentences: int, right: float = 0.8) -> Ints:
    """Counts of sentences that have zero to five mentions, ``right`` of them found."""
    gold = np.minimum(rng.poisson(1.3, sentences), 5)
    found = rng.binomial(gold, right)
    predicted = found + rng.binomial(2, 0.1, sentences)
    return np.stack([found, predicted, gold], axis=1).astype(np.int64)


def pruned(rng: np.random.Generator, counts: Ints, kept: float = 0.95) -> Ints:
    """The same sentences by a model that keeps that share of the mentions found."""
    return np.stack([rng.binomial(counts[:, 0], kept), counts[:, 1], counts[:, 2]], axis=1)


def f1(counts: Ints) -> float:
    found, predicted, gold = counts.sum(axis=0)
    return float(2 * found / (predicted + gold)) if predicted + gold else 0.0


def resampled(*counts: Ints, draws: int = 6000) -> npt.NDArray[np.float64]:
    """The plain loop: draw sentence numbers with replacement, score what was drawn."""
    rng = np.random.default_rng(99)
    size = len(counts[0])
    found = []
    for _ in range(draws):
        chosen = rng.integers(0, size, size)
        found.append([f1(each[chosen]) for each in counts])
    return np.array(found)


def quantiles(drawn: npt.NDArray[np.float64], left_out: npt.NDArray[np.float64]) -> list[float]:
    """Expanded percentiles, the degrees of freedom from the values that leaving out one sentence each gives,
    Student's from scipy.
    """
    size = len(left_out)
    squares = (left_out - left_out.mean()) ** 2
    freedom = min(size - 1, 2 * squares.sum() ** 2 / ((squares - squares.mean()) ** 2).sum())
    wide = [stats.t.ppf((1 + level) / 2, freedom) * (size / (size - 1)) ** 0.5 for level in LEVELS]
    return [float(q) for z in wide for q in np.quantile(drawn, stats.norm.cdf([-z, z]))]


def without_each(*counts: Ints) -> npt.NDArray[np.float64]:
    return np.array([[f1(np.delete(each, i, axis=0)) for each in counts] for i in range(len(counts[0]))])


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(bootstrap, "_DEAR", SAMPLERS[request.param])
    return str(request.param)
