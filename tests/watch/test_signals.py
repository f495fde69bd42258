"""What is read from the probabilities of words, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from affineur.entities import Mention, Scheme
from affineur.watch.signals import LEAST_MASS, Reader, log_odds


class Tagger:
    """A model that only says which labels it has."""

    def __init__(self, *labels: str) -> None:
        self.labels = labels


def logits(*rows: tuple[float, ...]) -> np.ndarray:
    return np.log(np.array(rows, dtype=np.float32))


def test_an_io_model_by_hand() -> None:
    reader = Reader(Tagger("O", "I-PER", "I-LOC"), Scheme.IO)  # type: ignore[arg-type]
    assert reader.types == ("LOC", "PER")
    rows = logits((0.9, 0.05, 0.05), (0.1, 0.8, 0.1), (0.2, 0.7, 0.1), (0.85, 0.1, 0.05))
    gold = [[Mention(1, 3, "PER"), Mention(3, 4, "LOC")]]
    signals, truth = reader.signals([("a", "b", "c", "d")], [rows], gold)
    assert truth is not None
    product = 0.8 * 0.7 * (1 - 0.05) * (1 - 0.1)
    wanted = log_odds(np.array([product, 0.7, 0.75, 0.95, 0.9]))
    assert signals.mentions[0] == pytest.approx(wanted, abs=1e-4)
    assert signals.mention_type.tolist() == [1]
    assert truth.right.tolist() == [1]
    # Begins: LOC and PER at a (0.05 each), LOC and PER at b (rises of 0.05 and 0.75); not at c and d, where
    # nothing rises.
    assert signals.begin_type.tolist() == [0, 1, 0, 1]
    assert signals.begins[:, 0] == pytest.approx(log_odds(np.array([0.05, 0.05, 0.05, 0.75])), abs=1e-4)
    assert signals.begins[:, 2:5].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert truth.begins.tolist() == [0, 0, 0, 1]
    assert truth.elsewhere.tolist() == [[1, 0]]  # LOC at d


def test_a_bio_model_marks_beginnings_unless_the_reference_does_not() -> None:
    tagger = Tagger("O", "B-PER", "I-PER")
    rows = logits((0.1, 0.8, 0.1), (0.1, 0.7, 0.2), (0.9, 0.05, 0.05))
    two, _ = Reader(tagger, Scheme.BIO).signals([("a", "b", "c")], [rows])  # type: ignore[arg-type]
    one, _ = Reader(tagger, Scheme.IO).signals([("a", "b", "c")], [rows])  # type: ignore[arg-type]
    assert (len(two.mentions), len(one.mentions)) == (2, 1)
    # The first ends where the second begins: that the second word goes on counts against it.
    assert two.mentions[0, 4] == pytest.approx(log_odds(np.array([0.8]))[0], abs=1e-4)


def test_types_that_are_not_watched_are_not_there() -> None:
    reader = Reader(Tagger("O", "I-PER", "I-LOC"), Scheme.IO, ["PER"])  # type: ignore[arg-type]
    signals, _ = reader.signals([("a", "b")], [logits((0.1, 0.1, 0.8), (0.1, 0.8, 0.1))])
    assert signals.mention_type.tolist() == [0]
    assert set(signals.begin_type.tolist()) == {0}


def test_words_that_the_model_never_saw() -> None:
    reader = Reader(Tagger("O", "I-PER"), Scheme.IO)  # type: ignore[arg-type]
    unseen = np.full((2, 2), np.nan, dtype=np.float32)
    signals, truth = reader.signals([("\x00", "\x01")], [unseen], [[]])
    assert truth is not None
    assert len(signals.mentions) == len(signals.begins) == 0
    assert np.isfinite(signals.confidence).all()
    empty, _ = reader.signals([], [])
    assert len(empty) == 0


def test_no_word_below_the_least_mass_is_a_begin() -> None:
    reader = Reader(Tagger("O", "I-PER"), Scheme.IO)  # type: ignore[arg-type]
    small = LEAST_MASS / 2
    signals, _ = reader.signals([("a",)], [logits((1 - small, small))])
    assert len(signals.begins) == 0
