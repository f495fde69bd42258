"""Where a sweep looks: scan, bisection, a grid, and what is said where no point is inside."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from affineur.artifact import describe
from affineur.engines.support.torch_tagger import load_tagger
from affineur.errors import ParameterError
from affineur.measure import Budget, Point, evaluate
from affineur.measure.report.picture import picture
from affineur.pipeline import Plan, Points
from affineur.transfer import Splits
from steps.conftest import run_step

from .sweeping import (
    QUICK,
    Count,
    beside,
    monotone,
    points_of,
    swept,
)


@given(
    border=st.floats(0, 0.9899),
    tolerance=st.sampled_from([0.0005, 0.01, 0.02, 0.2, 0.9]),
    recovered=st.booleans(),
)
@example(border=0.0, tolerance=0.01, recovered=False)
@example(border=0.9, tolerance=0.01, recovered=False)
@example(border=0.3, tolerance=0.01, recovered=True)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bisection_ends_within_the_tolerance(
    border: float,
    tolerance: float,
    recovered: bool,
    trained: Path,
    data: Splits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(Points, "point", monotone(border, tried))
    search = points_of(
        trained,
        data,
        Plan(Budget(max_drop=0.49), tolerance=tolerance, recovery=QUICK if recovered else None),
        tmp_path,
    )
    curve = search.curve("magnitude", search.plan.budget)
    assert curve.methods == {"magnitude": "smallest weights first"}
    assert sorted(tried) == [p.asked for p in curve.points]  # each once
    inside = curve.best.sparsity if curve.best else 0.0
    outside = min((s for s in tried if s > border), default=0.99)
    assert inside <= border < outside
    assert outside - inside <= tolerance * 1.001 or (tolerance > 0.09 and outside - inside <= 0.25)
    assert len(tried) <= 11 + np.ceil(np.log2(0.25 / tolerance)).clip(0)


def test_the_scan_stops_where_two_in_a_row_are_outside(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {0.1, 0.3}  # noise: 0.2 is outside, and so are all above 0.3
    tried: list[float] = []

    def point(self: Points, method: str, sparsity: float) -> Point:
        tried.append(sparsity)
        return Point(method, sparsity, sparsity, False, 0.9, 0.8, 1.0, 0.0, 0.0, 0.0, 1.0, sparsity in inside)

    monkeypatch.setattr(Points, "point", point)
    search = points_of(trained, data, Plan(Budget(max_drop=0.49), tolerance=0.04), tmp_path)
    assert search.curve("magnitude", search.plan.budget).best.asked == 0.3
    assert tried == [0.1, 0.2, 0.3, 0.4, 0.5, 0.35, 0.325]


def test_a_grid_is_tried_exactly(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(Points, "point", monotone(0.2, tried))
    search = points_of(trained, data, Plan(Budget(min_f1=0.999), points=(0.7, 0.1, 0.3)), tmp_path)
    assert [p.asked for p in search.curve("magnitude", search.plan.budget).points] == [0.1, 0.3, 0.7]
    assert sorted(tried) == [0.1, 0.3, 0.7]


def test_the_scan_begins_above_the_zeros_there_are(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(Points, "point", monotone(0.93, tried))
    sparse = tmp_path / "sparse"
    run_step("prune", trained, sparse, sparsity=0.92)
    search = points_of(sparse, data, Plan(Budget(max_drop=0.49)), tmp_path)
    assert search.curve("magnitude", search.plan.budget).best.asked == pytest.approx(0.93, abs=0.01)
    assert min(tried) > 0.92

    run_step("prune", trained, sparse, sparsity=0.985)
    with pytest.raises(ParameterError, match=r"98.50% sparse already"):
        swept(sparse, tmp_path / "out", data, Plan(Budget(max_drop=0.49)))
    assert beside(tmp_path / "out") == ["scores", "sparse"]


@pytest.mark.parametrize("budget", [Budget(min_f1=0.999), Budget(max_drop=0.0)])
def test_even_the_unpruned_model(
    budget: Budget, trained: Path, data: Splits, tmp_path: Path, count: Count
) -> None:
    weak = tmp_path / "weak"
    run_step("prune", trained, weak, sparsity=0.5)
    found = swept(
        weak, tmp_path / "out", data, Plan(budget, ("magnitude", "layerwise")), baseline=str(trained)
    )
    assert count.of("pruned") == 0
    assert (found.chosen, found.confirmation, found.out) == (None, None, None)
    assert found.nearest == found.unpruned == found.curves[0].points[0]
    assert found.unpruned.sparsity == describe(weak).sparsity
    said = "\n".join(found.lines())
    assert f"Even the unpruned model is outside the budget: F1 {found.unpruned.f1:.2%}" in said
    assert "nothing was pruned" in said
    assert not (tmp_path / "out").exists()
    assert beside(tmp_path / "out") == ["weak"]
    as_dict = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (as_dict["sparsity"], as_dict["nearest"]["f1"]) == (None, found.unpruned.f1)
    ET.fromstring(picture(found.curves))


def test_no_point_inside_names_the_best(trained: Path, data: Splits, tmp_path: Path) -> None:
    dense = evaluate(load_tagger(trained), data.get("dev"))
    edge = Budget(
        min_f1=(dense.total.f1 + dense.interval().low) / 2
    )  # inside by the estimate, not by the interval
    # A little pruning may make so small a model better.
    found = swept(trained, tmp_path / "out", data, Plan(edge, points=(0.6, 0.9)))
    assert found.chosen is None
    assert not found.unpruned.inside
    assert found.nearest == max(found.curves[0].points, key=lambda p: p.f1)
    said = "\n".join(found.lines())
    assert "Even the unpruned model is not shown to be inside" in said
    assert "nothing was pruned" not in said
    assert f"The best point, magnitude at {found.nearest.sparsity:.2%}: F1 {found.nearest.f1:.2%}" in said
