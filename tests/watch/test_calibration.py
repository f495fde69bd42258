"""Calibrators against the probabilities that were drawn, and their certainty against refitting."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.watch.calibration import METHODS, Isotonic, Logistic, calibrator_of, cross_fitted, log_loss

from .worlds import world


@pytest.mark.parametrize("method", METHODS)
def test_a_calibrator_gives_back_what_was_drawn(method: str) -> None:
    of = world(3000, 1)
    rows, kinds = of.signals.mentions, of.signals.mention_type
    made = METHODS[method](rows, kinds, of.truth.right, 2)
    assert np.abs(made(rows, kinds) - of.right).mean() < 0.03
    assert made(rows, kinds).sum() == pytest.approx(of.truth.right.sum(), rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_is_read_again(method: str) -> None:
    of = world(300, 2)
    rows, kinds = of.signals.mentions, of.signals.mention_type
    made = METHODS[method](rows, kinds, of.truth.right, 2)
    again = calibrator_of(made.as_dict())
    assert np.array_equal(made(rows, kinds), again(rows, kinds))
    assert again.size == made.size


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_is_the_slope_of_the_sum(method: str) -> None:
    of = world(200, 3)
    rows, kinds = of.signals.mentions, of.signals.mention_type
    made = METHODS[method](rows, kinds, of.truth.right, 2)
    weights = np.random.default_rng(0).random(len(rows))
    gradient = made.gradient(rows, kinds, weights)
    for place in range(0, made.size, 3):
        said = made.as_dict()
        if isinstance(made, Logistic):
            said["weights"][place] += 1e-5
        else:
            flat = [(i, j) for i, each in enumerate(said["values"]) for j in range(len(each))]
            first, second = flat[place]
            said["values"][first][second] += 1e-5
        moved = calibrator_of(said)
        slope = weights @ (moved(rows, kinds) - made(rows, kinds)) / 1e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_the_covariance_is_that_of_fitting_again() -> None:
    """Influence, added up, against 100 fits on other draws of the same world."""
    fits = []
    for seed in range(100):
        of = world(400, 100 + seed)
        rows, kinds, right = of.signals.mentions[:, :1], of.signals.mention_type, of.truth.right
        fits.append(Logistic.fit("beta", rows, kinds, right, 2))
    of = world(400, 99)
    rows, kinds, right = of.signals.mentions[:, :1], of.signals.mention_type, of.truth.right
    made = Logistic.fit("beta", rows, kinds, right, 2)
    influence = made.influence(rows, kinds, right)
    gradient = made.gradient(rows, kinds, np.ones(len(rows)))
    told = np.sqrt(gradient @ influence.T @ influence @ gradient)
    real = np.std([each(rows, kinds).sum() for each in fits])
    assert told == pytest.approx(real, rel=0.25)


@hypothesis.settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=25))
def test_isotonic_steps_against_brute_force(pairs: list[tuple[int, bool]]) -> None:
    """A step's level is max over starts of min over ends of the mean between (Barlow et al. 1972)."""
    rows = np.array([[float(odds)] for odds, _ in pairs])
    right = np.array([float(came) for _, came in pairs])
    made = Isotonic.fit(rows, np.zeros(len(pairs), dtype=np.int64), right, 1)
    levels = sorted({odds for odds, _ in pairs})
    begins = made.starts[0].tolist()
    for place, at in enumerate(levels):
        wanted = max(
            min(np.mean([came for odds, came in pairs if low <= odds <= high]) for high in levels[place:])
            for low in levels[: place + 1]
        )
        step = np.searchsorted(begins, at, side="right") - 1
        end = begins[step + 1] if step + 1 < len(begins) else 10
        inside = [came for odds, came in pairs if begins[step] <= odds < end]
        assert np.mean(inside) == pytest.approx(wanted)
        # What is said is drawn to the middle by half a mention each way.
        assert made.values[0][step] == pytest.approx((sum(inside) + 0.5) / (len(inside) + 1))


def test_nobody_is_foretold_by_a_fit_on_himself() -> None:
    of = world(200, 5)
    rows, kinds, right = of.signals.mentions, of.signals.mention_type, of.truth.right
    seen: list[int] = []

    def fit(some: np.ndarray, those: np.ndarray, came: np.ndarray, types: int) -> Isotonic:
        seen.append(len(some))
        return Isotonic.fit(some, those, came, types)

    folds = np.arange(len(rows)) % 5
    foretold = cross_fitted(fit, rows, kinds, right, 2, folds)
    assert all(size < len(rows) for size in seen)
    flipped = right.copy()
    flipped[folds == 0] = 1 - flipped[folds == 0]
    assert np.array_equal(foretold[folds == 0], cross_fitted(fit, rows, kinds, flipped, 2, folds)[folds == 0])


def test_log_loss_of_the_truth_is_least() -> None:
    of = world(2000, 6)
    best = log_loss(of.right, of.truth.right)
    assert best < log_loss(np.clip(of.right + 0.1, 0.01, 0.99), of.truth.right)
    assert log_loss(np.zeros(0), np.zeros(0)) == 0
