"""Budgets: what they refuse, when a point is inside, and which point is the best."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from affineur.entities import Scheme
from affineur.errors import ParameterError
from affineur.measure import Budget, Curve, Evaluation, Point, sparsest
from affineur.measure.bootstrap import FEWEST


def evaluation(*right: bool, documents: list[int] | None = None) -> Evaluation:
    """Score sentences of one mention each, found or not."""
    counts = np.array([[[int(found), 1, 1]] for found in right])
    known = None if documents is None else np.array(documents)
    words, outcomes, schemes = 3 * len(right), np.zeros((2, 4, 5), np.int64), (Scheme.IO, Scheme.IO)
    return Evaluation(
        ("PER",), counts, known, words, words, Scheme.IO, 0, 0, "dev", "digest", words, outcomes, schemes
    )


def shared(good: int, of: int) -> Evaluation:
    return evaluation(*(i < good for i in range(of)))


POINT = Point("magnitude", 0.3, 0.3, False, 0.9, 0.88, 0.92, 0.01, 0.0, 0.02, 0.1, True)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, "min_f1"),
        ({"min_f1": 84.5}, "min_f1=84.5"),
        ({"min_f1": 0.0}, "min_f1=0"),
        ({"min_f1": math.nan}, "min_f1=nan"),
        ({"max_drop": 0.5}, "max_drop=0.5"),
        ({"max_drop": 1.0}, "write 0.01 or '1 point'"),
        ({"max_drop": -0.01}, "max_drop=-0.01"),
        ({"max_drop": math.nan}, "max_drop=nan"),
        ({"max_drop": math.inf}, "max_drop=inf"),
        ({"max_drop": 0.01, "confidence": 95.0}, "confidence=95"),
        ({"max_drop": 0.01, "confidence": 1.0}, "confidence=1"),
        ({"max_drop": 0.01, "confidence": math.nan}, "confidence=nan"),
    ],
)
def test_impossible_budgets(values: dict[str, float], wanted: str) -> None:
    with pytest.raises(ParameterError, match=wanted):
        Budget(**values)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(max_drop=0.01), "a drop of at most 1 point with 95% confidence"),
        (Budget(max_drop=0.005), "a drop of at most 0.5 points with 95% confidence"),
        (Budget(max_drop=0.07), "a drop of at most 7 points with 95% confidence"),
        (Budget(max_drop=0.0), "a drop of at most 0 points with 95% confidence"),
        (Budget(0.845, confidence=0.975), "F1 of at least 84.5% with 97.5% confidence"),
        (Budget(0.8, 0.02, 0.999), "F1 of at least 80% and a drop of at most 2 points with 99.9% confidence"),
    ],
)
def test_in_words(budget: Budget, words: str) -> None:
    assert str(budget) == words


def test_the_interval_has_to_be_inside_not_the_estimate() -> None:
    good, bad = shared(190, 200), shared(192, 200)
    interval, difference = good.interval(), good.minus(bad)
    assert interval.low < good.total.f1 == pytest.approx(0.95)
    assert -difference.low > bad.total.f1 - good.total.f1 == pytest.approx(0.01)
    for budget, inside, allowed in (
        (Budget(min_f1=interval.low), True, True),
        (Budget(min_f1=math.nextafter(interval.low, 1)), False, True),
        (Budget(min_f1=0.951), False, False),
        (Budget(max_drop=-difference.low), True, True),
        (Budget(max_drop=math.nextafter(-difference.low, 0)), False, True),
        (Budget(max_drop=0.009), False, False),
        (Budget(interval.low, -difference.low), True, True),
        (Budget(0.951, -difference.low), False, False),
        (Budget(interval.low, 0.009), False, False),
    ):
        point = budget.point(good, bad, "layerwise", 0.3, 0.2999, True)
        assert (point.inside, budget.allows(point)) == (inside, allowed), budget
        assert (point.method, point.asked, point.sparsity, point.recovered) == (
            "layerwise",
            0.3,
            0.2999,
            True,
        )
        assert (point.f1, point.f1_low, point.f1_high) == (interval.value, interval.low, interval.high)
        assert (point.drop, point.drop_low, point.drop_high) == (
            -difference.value,
            -difference.high,
            -difference.low,
        )


def test_more_confidence_is_harder_to_reach() -> None:
    good, bad = shared(190, 200), shared(192, 200)
    ends = [
        Budget(max_drop=0.49, confidence=c).point(good, bad, "m", 0.1, 0.1).drop_high
        for c in (0.5, 0.8, 0.95, 0.99)
    ]
    assert ends == sorted(set(ends))


@pytest.mark.parametrize("budget", [Budget(min_f1=0.5), Budget(max_drop=0.49)])
def test_few_sentences_prove_nothing(budget: Budget) -> None:
    for sentences in (1, FEWEST - 1, FEWEST):
        perfect = evaluation(*[True] * sentences)
        point = budget.point(perfect, perfect, "m", 0.0, 0.0)
        assert budget.allows(point)
        assert point.inside is (sentences >= FEWEST)


def test_a_loss_nobody_saw_may_still_be_there() -> None:
    perfect = evaluation(*[True] * 200)
    room = 1 - 0.025 ** (1 / 200)
    point = Budget(max_drop=0.02).point(perfect, perfect, "m", 0.0, 0.0)
    assert (point.f1_low, point.drop_low, point.drop_high) == pytest.approx((1 - room, -room, room))
    assert point.inside
    assert Budget(min_f1=0.98).point(perfect, perfect, "m", 0.0, 0.0).inside
    for tight in (Budget(max_drop=0.018), Budget(min_f1=0.982)):
        assert not tight.point(perfect, perfect, "m", 0.0, 0.0).inside


def test_few_documents_are_no_units() -> None:
    many = evaluation(*[True] * 30, documents=[i // 10 for i in range(30)])
    assert many.bootstrap_over == "sentences"
    assert Budget(min_f1=0.5).point(many, many, "m", 0.0, 0.0).inside


def test_no_drop_is_no_negative_zero() -> None:
    same = shared(190, 200)
    assert math.copysign(1, Budget(max_drop=0.01).point(same, same, "m", 0.1, 0.1).drop) == 1


def test_the_best_point() -> None:
    assert sparsest([]) is None
    points = [
        replace(POINT, sparsity=0.2),
        replace(POINT, sparsity=0.4, drop=0.02),
        replace(POINT, sparsity=0.4, drop=0.01),
        replace(POINT, sparsity=0.9, inside=False),
    ]
    curve = Curve("m", "dev", 200, "b", 0.91, Budget(max_drop=0.05), tuple(points))
    assert curve.best == points[2]
    assert replace(curve, budget=None).best is None
    assert replace(curve, points=(points[3],)).best is None


def test_curves_are_json() -> None:
    curve = Curve("m", "dev", 200, "b", 0.91, Budget(max_drop=0.05, confidence=0.9), (POINT,))
    found = json.loads(json.dumps(curve.as_dict(), allow_nan=False))
    assert found["points"] == [POINT.as_dict()]
    assert (found["min_f1"], found["max_drop"], found["confidence"]) == (None, 0.05, 0.9)
    bare = replace(curve, budget=None).as_dict()
    assert (bare["min_f1"], bare["max_drop"], bare["confidence"]) == (None, None, 0.95)
