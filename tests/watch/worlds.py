"""Worlds whose probabilities are known: signals drawn from them, and what really came true."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from affineur.entities import Corpus, Scheme, Sentence
from affineur.watch.fitting import calibrate
from affineur.watch.reference import Reference, Shift
from affineur.watch.signals import Signals, Truth

TYPES = ("LOC", "PER")
#: Most of them so common that a sample of any size has them in proportion.
WORDS = ("le", "chat", "de", "la", "voisine", "dort", ",", "et", "il", "pleut", "sur", "les", "toits", ".")


@dataclass(frozen=True)
class World:
    """Sentences, signals, what came true, and the probabilities it was drawn with."""

    signals: Signals
    truth: Truth
    right: np.ndarray
    begins: np.ndarray
    rare: float
    drawn: tuple[int, tuple[str, ...]]

    @cached_property
    def sentences(self) -> list[Sentence]:
        seed, words = self.drawn
        size = (len(self.signals), len(words))
        drawn = np.array(words, dtype=object)[np.random.default_rng(seed).integers(0, len(words), size)]
        return [Sentence(tuple(each), ("O",) * len(words)) for each in drawn.tolist()]

    @property
    def f1(self) -> float:
        gold = self.truth.begins.sum() + self.truth.elsewhere.sum()
        return float(2 * self.truth.right.sum() / (len(self.truth.right) + gold))

    @property
    def words(self) -> list[tuple[str, ...]]:
        return [sentence.words for sentence in self.sentences]


class Reader:
    """What a reader says of itself."""

    scheme, types = Scheme.IO, TYPES


def expit(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def world(
    count: int, seed: int, *, sure: float = 2.5, words: tuple[str, ...] = WORDS, mentions: float = 1.6
) -> World:
    """Draw sentences.

    Args:
        count: How many.
        seed: Of the draws.
        sure: How sure the model is; what its log-odds mean stays the same.
        words: Words of each sentence, in an order that is drawn.
        mentions: Mentions found in each, on average.
    """
    random = np.random.default_rng(seed)
    found = random.poisson(mentions, count)
    where = np.repeat(np.arange(count), found)
    odds = random.normal(sure, 1.5, len(where))
    kinds = random.integers(0, 2, len(where))
    p = expit(0.8 * odds - 0.3 - 0.4 * kinds)
    right = random.random(len(p)) < p
    edges = np.full((len(odds), 2), 4.0)
    rows = np.column_stack([odds, odds + 0.5, odds + 1, edges]) if len(odds) else np.zeros((0, 5))
    # Where a mention was found wrongly, one begins nonetheless in half of all cases.
    begun = right | (random.random(len(p)) < 0.5)
    missed = random.poisson(0.5, count)
    elsewhere = np.repeat(np.arange(count), missed)
    mass = random.normal(-2.5, 0.8, len(elsewhere))
    q = expit(0.9 * mass - 0.2)
    nothing = np.zeros(len(mass))
    begins = np.concatenate(
        [
            np.column_stack(
                [odds + 1, odds + 1, np.ones(len(odds)), np.zeros((len(odds), 2)), odds, 0 * odds]
            ),
            np.column_stack([mass, mass, *[nothing] * 5]),
        ]
    )
    signals = Signals(
        np.full(count, len(words)),
        random.beta(20, 1, count),
        np.full(count, len(words) + 3),
        np.zeros(count, dtype=np.int64),
        where,
        kinds,
        rows,
        np.concatenate([where, elsewhere]),
        np.concatenate([kinds, random.integers(0, 2, len(elsewhere))]),
        begins,
    )
    rare = 0.01
    truth = Truth(
        right.astype(float),
        np.concatenate([begun, random.random(len(q)) < q]).astype(float),
        random.poisson(rare / 2, (count, 2)).astype(float),
    )
    return World(signals, truth, p, np.concatenate([p + (1 - p) / 2, q]), rare, (seed, words))


def fitted(of: World, shifts: dict[str, Shift] | None = None) -> Reference:
    """Fit a reference on a world."""
    from affineur.watch.fitting import with_shifts

    corpus = Corpus.checked("world", lambda: iter(of.sentences), Scheme.IO)
    made = calibrate(
        Reader(),  # type: ignore[arg-type]
        of.signals,
        of.truth,
        of.sentences,
        model="0" * 64,
        model_name="model",
        corpus=corpus,
    )
    return with_shifts(
        made, shifts or {"worse": Shift(np.ones((2, 3)) * [8, 10, 10], np.ones((2, 3)) * [8.1, 10, 10], 0.0)}
    )
