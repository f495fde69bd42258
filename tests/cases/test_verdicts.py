"""A first-time user's verdicts on 92 sentences (cases 31, 32, 33): monotone, three of them, in points."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from affineur.cli.numbers import Loss
from affineur.entities import Corpus, Scheme, Sentence
from affineur.errors import ParameterError, RecipeError
from affineur.measure import Bars, Budget, Evaluation, Gate, Measures, gate_lines, parse_bars
from affineur.measure.budget import fraction_of
from affineur.measure.counts import IntArray
from affineur.measure.gate import judge
from affineur.measure.power import needed_to_show, power
from affineur.pipeline.check import unprovable

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "max_drop.py"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("max_drop", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _scores(counts: IntArray) -> Evaluation:
    words, schemes = 10 * len(counts), (Scheme.IO, Scheme.IO)
    return Evaluation(
        *(("PER",), counts[:, None, :], None, words, words, Scheme.IO, 0, 0, "test", "digest", words),
        np.zeros((2, 4, 5), np.int64),
        schemes,
    )


def _judged(lost: int, limit: float, sentences: int = 92, each: int = 2) -> Gate:
    """Judge a model that loses so many of the baseline's mentions, one in a sentence."""
    before = np.array([[each, each, each]] * sentences)
    after = before.copy()
    after[:lost, :2] -= 1
    return judge(
        Bars((("max_drop", limit),)),
        Measures(_scores(after), _scores(before)),
        model="m",
        data="d",
        baseline="b",
    )


# ---- 31: one rule, monotone ----


def test_an_identical_model_may_lose_less_than_one_that_lost_something() -> None:
    bounds = [_judged(lost, 0.01).verdicts[0].measured for lost in range(8)]
    assert all(bound is not None for bound in bounds)
    assert bounds == sorted(bounds, key=lambda bound: bound or 0)
    assert len(set(bounds)) == len(bounds)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("sentences", [50, 92, 200, 500])
def test_more_damage_never_gives_a_tighter_bound(simulation: ModuleType, sentences: int, whole: bool) -> None:
    found = simulation.bounds(np.random.default_rng(sentences), sentences, whole, 7, 5000)
    assert simulation.tightest(found) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("share", [0.002, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("sentences", [50, 92, 200, 500])
def test_the_upper_end_is_seldom_below_the_true_loss(
    simulation: ModuleType, sentences: int, share: float, whole: bool
) -> None:
    seen = simulation.too_hopeful(np.random.default_rng(3), sentences, share, whole, 300, 1000)
    assert seen <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("sentences", [50, 200])
def test_a_loss_of_three_points_is_seldom_said_to_be_less(simulation: ModuleType, sentences: int) -> None:
    assert simulation.too_hopeful(np.random.default_rng(4), sentences, 0.03, False, 60, 400) <= 0.1


# ---- 32: three verdicts, and what would be needed ----


@pytest.mark.parametrize(
    ("lost", "limit", "sentences", "verdict"),
    [
        (0, 0.01, 92, "not provable"),
        (1, 0.01, 92, "not provable"),
        (10, 0.01, 92, "failed"),
        (0, 0.01, 400, "passed"),
        (0, 0.1, 92, "passed"),
        (0, 0.0, 400, "not provable"),
        (0, 0.01, 8, "not provable"),
    ],
)
def test_three_verdicts(lost: int, limit: float, sentences: int, verdict: str) -> None:
    gate = _judged(lost, limit, sentences)
    assert (gate.verdict, gate.verdicts[0].verdict, gate.passed) == (verdict, verdict, verdict == "passed")
    said = gate.as_dict()
    assert (said["verdict"], said["bars"][0]["verdict"], said["passed"]) == (verdict, verdict, gate.passed)
    lines = gate_lines(gate)
    assert lines[1].startswith({"passed": "pass", "failed": "MISS", "not provable": "open"}[verdict])
    assert ("not provable" in lines[-1]) is (verdict == "not provable")
    if verdict == "not provable" and sentences > 10 and limit:
        assert "not provable with 92 sentences; about " in gate.verdicts[0].detail


def test_what_is_needed_is_what_passes() -> None:
    needed = needed_to_show(0.01)
    assert needed == 368
    assert _judged(0, 0.01, needed).passed
    assert not _judged(0, 0.01, needed - 1).passed
    assert needed_to_show(0.0) is None


def _corpus(mentions: int, without: int, documents: int = 0) -> Corpus:
    def source() -> Iterator[Sentence]:
        for number in range(mentions + without):
            tags = ("I-PER", "O") if number < mentions else ("O", "O")
            yield Sentence(("a", "b"), tags, number % documents if documents else None)

    return Corpus.scan("gold", source)


def test_said_before_the_work() -> None:
    (line,) = unprovable(Bars((("min_f1", 0.5), ("max_drop", 0.01))), _corpus(46, 46), ["PER"])
    assert line == (
        "max_drop: 92 sentences cannot show a loss of at most 1 point, not even of a model that loses "
        "nothing: 46 sentences have a mention, 368 would have to, about 740 sentences of this kind are needed"
    )
    assert unprovable(Bars((("max_drop", 0.1),)), _corpus(46, 46), ["PER"]) == []
    assert "no gold" not in unprovable(Bars((("max_drop_PER", 0.01),)), _corpus(46, 46), ["PER"])[0]
    assert power(_corpus(400, 0, documents=20), 0.01).words(0.01).count("20 documents") == 1
    assert power(_corpus(400, 0), 0.01).enough


# ---- 33: half of F1 is no point ----


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (0.01, 0.01),
        ("1 point", 0.01),
        ("0.5 points", 0.005),
        ("0,5 pts", 0.005),
        (0, 0),
        ("1.5 POINTS", 0.015),
    ],
)
def test_losses_are_fractions_or_points(written: float | str, wanted: float) -> None:
    assert fraction_of(written) == pytest.approx(wanted)
    assert parse_bars({"max_drop": written, "max_drop_PER": written}, "bars").limits[1][1] == pytest.approx(
        wanted
    )
    assert Loss()(str(written)) == pytest.approx(wanted)


@pytest.mark.parametrize("written", [1, 0.5, 1.0, 99, math.nan, math.inf, -0.1, "50 points", "1 apple", "1%"])
def test_half_of_f1_or_more_is_refused(written: float | str) -> None:
    with pytest.raises(ParameterError, match="point"):
        fraction_of(written)
    with pytest.raises(RecipeError, match=r"max_drop.*1 point"):
        parse_bars({"max_drop": written}, "bars")


def test_what_is_meant_is_said() -> None:
    with pytest.raises(ParameterError, match=r"write 0\.01 or '1 point'"):
        Budget(max_drop=1)
