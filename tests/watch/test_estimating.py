"""Sums of calibrated probabilities against the probabilities that the world was drawn with."""

from __future__ import annotations

import numpy as np
import pytest

from affineur.errors import ParameterError
from affineur.watch.estimating import Estimate, Expected, estimate
from affineur.watch.reference import Reference

from .worlds import World, fitted, world


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fitted(world(1200, 1))


@pytest.fixture(scope="module")
def several() -> list[Reference]:
    return [fitted(world(1200, seed)) for seed in range(20, 26)]


def guessed(reference: Reference, of: World, **options: object) -> Estimate:
    return estimate(reference, of.signals, of.words, **options)  # type: ignore[arg-type]


def test_true_positives_and_gold_are_what_the_world_was_drawn_with(several: list[Reference]) -> None:
    """A world as sure as the references, a surer and a less sure one: confidence means the same in all."""
    for sure in (2.5, 3.5, 1.0):
        of = world(2000, 7, sure=sure)
        made = [Expected.of(each, of.signals).counts(of.signals, 2).sum(axis=0) for each in several]
        found, predicted, gold = np.mean(made, axis=0)
        assert predicted == len(of.right)
        assert found == pytest.approx(of.right.sum(), rel=0.03)
        assert gold == pytest.approx(of.begins.sum() + of.rare * len(of.signals), rel=0.03)


def test_the_estimate_is_unbiased_and_the_interval_covers_the_truth(several: list[Reference]) -> None:
    errors, inside = [], []
    for seed, own in enumerate(several):
        for window in range(20):
            of = world(300, 5000 + 100 * seed + window)
            made = guessed(own, of)
            errors.append(made.whole.value - of.f1)
            inside.append(made.whole.low <= of.f1 <= made.whole.high)
    assert abs(np.mean(errors)) < 0.008
    assert np.mean(inside) >= 0.88


def test_types_are_estimated_by_themselves(reference: Reference) -> None:
    of = world(1500, 3)
    made = guessed(reference, of)
    for number, kind in enumerate(("LOC", "PER")):
        own = of.signals.mention_type == number
        assert made.per_type[kind].predicted == own.sum()
        assert made.per_type[kind].true_positive == pytest.approx(of.right[own].sum(), rel=0.05)
    alone = guessed(reference, of, types=["PER"])
    assert alone.whole == made.per_type["PER"]
    assert set(alone.per_type) == {"PER"}
    whole = made.whole
    assert whole.true_positive == pytest.approx(sum(each.true_positive for each in made.per_type.values()))
    assert whole.value == pytest.approx(2 * whole.true_positive / (whole.predicted + whole.gold))


def test_fewer_sentences_make_a_wider_interval(reference: Reference) -> None:
    wide, narrow = (guessed(reference, world(count, 5)).whole for count in (150, 2400))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_a_loss_widens_the_interval_by_what_spoiled_copies_showed(reference: Reference) -> None:
    same, worse = (guessed(reference, world(2000, 6, sure=sure)).whole for sure in (2.5, 1.0))
    assert worse.value < same.value - 0.1
    assert worse.high - worse.low > 1.5 * (same.high - same.low)


def test_it_abstains_where_words_are_used_in_another_way(reference: Reference) -> None:
    of = world(800, 8, words=("de", "de", "de", "le", "pleut", "pleut", "et", "toits"))
    made = guessed(reference, of)
    assert made.abstained
    assert "commonest words" in made.reason
    assert (made.f1, made.low, made.high) == (None, None, None)
    said = made.as_dict()
    assert said["f1_estimated"] is said["f1_low"] is said["f1_high"] is None
    assert said["per_type"]["PER"]["abstained"]
    assert 0 < said["f1_if_labeled_alike"] < 1
    assert "no F1 is estimated" in made.summary


def test_it_abstains_below_all_that_was_tried(reference: Reference) -> None:
    made = guessed(reference, world(1500, 9, sure=-0.5))
    assert made.abstained
    assert "lower than on any spoiled copy" in made.reason


def test_too_little_text_is_said_to_be_too_little(reference: Reference) -> None:
    made = guessed(reference, world(2, 10))
    assert made.abstained
    assert "too few to tell" in made.reason


def test_no_text_at_all(reference: Reference) -> None:
    made = guessed(reference, world(0, 11))
    assert made.reason == "there is no text"
    assert str(made)


def test_no_mention_in_a_window(reference: Reference) -> None:
    of = world(40, 12, mentions=0.0)
    made = guessed(reference, of)
    assert made.whole.predicted == 0
    assert made.whole.value == 0
    assert made.abstained == bool(made.reason)
    nothing = guessed(reference, of, types=["PER"])
    assert nothing.whole.true_positive == 0


def test_a_type_that_the_reference_lacks(reference: Reference) -> None:
    with pytest.raises(ParameterError, match=r"no type ORG.*LOC, PER"):
        guessed(reference, world(10, 13), types=["ORG"])
    with pytest.raises(ParameterError, match="no type is named"):
        guessed(reference, world(10, 13), types=[])


def test_the_keys_of_the_json_are_those_that_are_documented(reference: Reference) -> None:
    said = guessed(reference, world(500, 14)).as_dict()
    assert {"f1_estimated", "f1_low", "f1_high", "abstained", "reason", "per_type"} <= set(said)
    assert said["reason"] is None
    assert said["f1_low"] <= said["f1_estimated"] <= said["f1_high"]
