"""The front against a definition spelled out pair by pair and against optuna's, the knee against what it must
not depend on.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from affineur.measure.pareto import knee, pareto_front
from affineur.measure.report.front import Spot, front_picture

COSTS = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(0, 4).map(float)
)


def beats(one: list[float], other: list[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(
        a < b for a, b in zip(one, other, strict=True)
    )


@given(COSTS)
def test_no_point_of_the_front_is_beaten_and_every_other_is(costs: np.ndarray) -> None:
    rows = costs.tolist()
    unbeaten = [i for i, row in enumerate(rows) if not any(beats(other, row) for other in rows)]
    assert pareto_front(costs) == [i for i in unbeaten if rows[i] not in rows[:i]]


def test_against_optuna() -> None:
    optuna = pytest.importorskip("optuna")
    costs = np.random.default_rng(5).integers(0, 20, (60, 3)).astype(float)
    study = optuna.create_study(directions=["minimize"] * 3)
    for row in costs.tolist():
        study.add_trial(optuna.trial.create_trial(values=row))
    theirs = {tuple(trial.values) for trial in study.best_trials}
    assert {tuple(costs[i]) for i in pareto_front(costs)} == theirs


def test_the_knee_of_a_bent_front() -> None:
    # A hyperbola: the point where it bends is nearest to the corner.
    x = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
    assert knee(np.stack([x, 1 / x], axis=1)) == 3


@given(COSTS, st.lists(st.sampled_from([0.001, 1.0, 1024.0]), min_size=4, max_size=4))
def test_units_do_not_move_the_knee(costs: np.ndarray, units: list[float]) -> None:
    front = costs[pareto_front(costs)]
    scaled = front * np.array(units[: front.shape[1]]) + 7
    spread = np.ptp(front, axis=0)
    ideal = [np.linalg.norm((row - front.min(axis=0)) / np.where(spread > 0, spread, 1)) for row in front]
    assert ideal[knee(scaled)] == pytest.approx(min(ideal))


def test_one_point_and_none() -> None:
    assert knee(np.array([[3.0, 4.0]])) == 0
    with pytest.raises(ValueError, match="no knee"):
        knee(np.zeros((0, 3)))


def test_the_picture_shows_every_point_where_it_is() -> None:
    teacher = Spot("<teacher>", 0.8, 40_000_000, 1.0, "teacher")
    spots = [
        Spot("small", 0.7, 10_000_000, 4.0, "smallest"),
        Spot("bent", 0.6, 5_000_000, 5.0, "knee"),
        Spot("lost", 0.5, 30_000_000, 2.0, "beaten"),
    ]
    drawn = ET.fromstring(front_picture(teacher, spots, "dev"))
    label = drawn.attrib["aria-label"]
    assert all(name in label for name in ("<teacher>: F1 80.0%, 40.0 MB, 1.00 times", "lost: F1 50.0%"))
    written = ["".join(text.itertext()) for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [written.count(name) for name in ("<teacher>", "small", "bent", "lost")] == [2, 2, 2, 0]
    circles = [
        (float(c.attrib["cx"]), float(c.attrib["cy"]))
        for c in drawn.iter("{http://www.w3.org/2000/svg}circle")
    ]
    size, speed = circles[:3], circles[3:]  # beaten, smallest, knee: from the back to the front
    assert size[2][0] < size[1][0] < size[0][0]
    assert speed[0][0] < speed[1][0] < speed[2][0]
    assert all(panel[1][1] < panel[2][1] < panel[0][1] for panel in (size, speed))
    assert "ring: the knee" in " ".join(written)
    assert "ring: the" not in front_picture(teacher, spots[:1], "dev")
