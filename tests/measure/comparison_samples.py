"""Three models on one corpus, compared."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from affineur.entities import Corpus, Scheme
from affineur.measure import (
    Candidate,
    Comparison,
    compare,
)

from .conftest import FakeTagger, corpus_of, labels_of, noisy, random_gold, tagger_of

KEYS = {
    *(
        "model",
        "layers",
        "sparsity",
        "size_bytes",
        "f1",
        "f1_low",
        "f1_high",
        "precision",
        "recall",
        "accuracy",
    ),
    *("sentences_per_second", "speedup", "speedup_low", "speedup_high", "peak_rss_bytes"),
    *("drop", "drop_low", "drop_high", "p_value", "verdict", "per_type"),
}


TYPE_KEYS = {
    "f1",
    "f1_low",
    "f1_high",
    "precision",
    "recall",
    "support",
    "drop",
    "drop_low",
    "drop_high",
    "p_value",
}


GOLD = random_gold(random.Random(0), 60, Scheme.BIO)


def tagger(share: float) -> FakeTagger:
    return tagger_of(noisy(random.Random(1), GOLD, labels_of(Scheme.BIO), share), labels_of(Scheme.BIO))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of(GOLD, Scheme.BIO)


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    return [
        Candidate("teacher", tagger(0.05), 12, 0.0, 440_000_000, 110_000_000),
        Candidate("same", tagger(0.05), 12, 0.0, 440_000_000),
        Candidate("a|b", tagger(0.5), 11, 0.15, 9_600_000),
    ]


@pytest.fixture(scope="module")
def found(candidates: Sequence[Candidate], corpus: Corpus) -> Comparison:
    return compare(
        candidates,
        corpus,
        rounds=2,
        peak_rss=lambda name: {"teacher": 2_000_000_000, "same": None, "a|b": 99_000_000}[name],
    )
