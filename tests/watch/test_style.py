"""Commonest words: near is the same text however spoiled, far is other text."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from affineur.watch.corruptions import FAMILIES, plain
from affineur.watch.style import Style, tokens

_WORDS = ("le", "la", "de", "et", "un", "que", "dans", "pour", "village", "maison", "Hélène", ",", ".", "'")


def text(count: int, seed: int, weights: np.ndarray | None = None) -> list[list[str]]:
    random = np.random.default_rng(seed)
    shares = np.linspace(3, 1, len(_WORDS)) if weights is None else weights
    return [random.choice(_WORDS, 20, p=shares / shares.sum()).tolist() for _ in range(count)]


@pytest.fixture(scope="module")
def style() -> Style:
    return Style.fit(text(400, 1), np.arange(400))


def away(style: Style, sentences: list[list[str]]) -> float:
    counts, _ = style.count(sentences)
    return style.distance(counts)[0]


def test_the_same_kind_of_text_is_at_no_distance_whatever_its_size(style: Style) -> None:
    for count in (10, 100):
        found = [away(style, text(count, 100 + seed)) for seed in range(12)]
        _, spread = style.distance(style.count(text(count, 3))[0])
        assert abs(np.mean(found)) < spread
        assert max(found) < 4 * spread


def test_other_habits_are_far(style: Style) -> None:
    assert away(style, text(100, 2, np.linspace(1, 3, len(_WORDS)) ** 3)) > 0.015


@pytest.mark.parametrize("family", FAMILIES)
def test_spoiled_text_stays_near(style: Style, family: str) -> None:
    random = Random(4)
    worse = [FAMILIES[family](words, ["O"] * len(words), random)[0] for words in text(200, 5)]
    assert away(style, worse) < 0.02


def test_how_a_text_was_cut_and_typeset_makes_no_difference() -> None:
    assert tokens(["L'", "été", "«", "À"]) == tokens(["l", "’", "ETE", '"', "a"])
    assert tokens(["l’été"]) == ["l", "'", "ete"]


def test_no_word_is_kept_in_clear(style: Style) -> None:
    assert not set(style.words) & {plain(word).lower() for word in _WORDS}


def test_nothing_to_compare() -> None:
    empty = Style.fit([], np.zeros(0, dtype=np.int64))
    assert empty.distance(np.zeros(0)) == (0.0, float("inf"))
    assert Style.fit(text(3, 1), np.arange(3)).distance(np.zeros(len(_WORDS)))[1] == float("inf")
