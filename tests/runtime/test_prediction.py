from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affineur.entities import Entity, split_words
from affineur.runtime import Logits, best_labels, word_entities

IO = ("O", "I-LOC", "I-PER")
LEXICON = {
    "Marie": "PER",
    "Curie": "PER",
    "Paris": "LOC",
    "Lyon": "LOC",
    "L'": "LOC",
    "Haÿ-les-Roses": "LOC",
    "e\u0301te\u0301": "PER",
}


class Lexicon:
    """Knows names by heart: the winning label of a word has probability ``sure``."""

    def __init__(self, labels: Sequence[str] = IO, sure: float = 0.8, unseen: str = "\x00") -> None:
        self.labels = tuple(labels)
        self.sure = sure
        self.unseen = unseen

    def _row(self, word: str) -> list[float]:
        if word == self.unseen:
            return [float("nan")] * len(self.labels)
        wanted = LEXICON.get(word)
        winner = next(
            (i for i, label in enumerate(self.labels) if wanted and label.endswith(wanted)),
            self.labels.index("O"),
        )
        rest = np.log((1 - self.sure) / (len(self.labels) - 1))
        return [float(np.log(self.sure) if i == winner else rest) for i in range(len(self.labels))]

    def logits(self, sentences: Sequence[Sequence[str]]) -> list[Logits]:
        return [
            np.array([self._row(w) for w in words], np.float32).reshape(len(words), len(self.labels))
            for words in sentences
        ]


def predict(text: str, tagger: Lexicon | None = None) -> list[Entity]:
    tagger = tagger or Lexicon()
    spans = split_words(text)
    return word_entities(text, spans, tagger.logits([[text[a:b] for a, b in spans]])[0], tagger.labels)


def found(text: str, tagger: Lexicon | None = None) -> list[tuple[str, str, int, int]]:
    entities = predict(text, tagger)
    assert all(e.word == text[e.start : e.end] for e in entities)
    return [(e.type, e.word, e.start, e.end) for e in entities]


# ---- word_entities ----


def test_entities_in_reading_order() -> None:
    text = "À L'Haÿ-les-Roses, Marie  Curie aime Paris."
    assert found(text) == [
        ("LOC", "L'Haÿ-les-Roses", 2, 17),
        ("PER", "Marie  Curie", 19, 31),
        ("LOC", "Paris", 37, 42),
    ]


def test_offsets_are_code_points() -> None:
    assert found("👩‍💻 Marie 🏡Paris") == [("PER", "Marie", 4, 9), ("LOC", "Paris", 11, 16)]
    assert found("l'e\u0301te\u0301 \u0301 Lyon") == [
        ("PER", "e\u0301te\u0301", 2, 7),
        ("LOC", "Lyon", 10, 14),
    ]
    assert found("\ud83d Lyon") == [("LOC", "Lyon", 2, 6)]


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["Marie", "Paris", "Lyon", "de", "😀", "e\u0301te\u0301", "l'", ".", "\x00", "\ud800"]
        ),
        max_size=12,
    ),
    st.data(),
)
def test_every_entity_is_where_it_says(words: list[str], data: st.DataObject) -> None:
    text = "".join(word + data.draw(st.sampled_from([" ", "\n", "\u00a0", " 🏡 "])) for word in words)
    entities = found(text)
    assert [word for _, entity, _, _ in entities for word in entity.split()] == [
        w for w in words if w in LEXICON
    ]
    assert all(before[3] <= after[2] for before, after in pairwise(entities))


@pytest.mark.parametrize("text", ["", " \u00a0\n", "rien du tout"])
def test_nothing_to_find(text: str) -> None:
    assert predict(text) == []


def test_the_score_is_the_mean_probability() -> None:
    assert [
        e.score for text in ("Marie Curie", "Paris") for e in predict(text, Lexicon(sure=0.8))
    ] == pytest.approx([0.8, 0.8], abs=1e-6)

    class Unequal(Lexicon):
        def _row(self, word: str) -> list[float]:
            self.sure = 0.9 if word == "Marie" else 0.5
            return super()._row(word)

    assert predict("Marie Curie", Unequal())[0].score == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize("labels", [IO, ("O", "LOC", "PER"), ("I-PER", "O", "I-LOC")])
def test_io_labels_merge_neighbors(labels: Sequence[str]) -> None:
    assert found("Paris Lyon Marie", Lexicon(labels)) == [
        ("LOC", "Paris Lyon", 0, 10),
        ("PER", "Marie", 11, 16),
    ]


def test_bio_labels_keep_neighbors_apart() -> None:
    assert found("Paris Lyon", Lexicon(("O", "B-LOC", "I-LOC", "B-PER"))) == [
        ("LOC", "Paris", 0, 5),
        ("LOC", "Lyon", 6, 10),
    ]


def test_an_invalid_prediction_is_repaired() -> None:
    # Its I-LOC comes first, so it opens mentions with I- and goes on with it.
    assert found("à Paris Lyon", Lexicon(("O", "I-LOC", "B-LOC", "I-PER"))) == [("LOC", "Paris Lyon", 2, 12)]


def test_an_unseen_word_is_in_no_entity() -> None:
    assert found("Paris Lyon Marie", Lexicon(unseen="Lyon")) == [
        ("LOC", "Paris", 0, 5),
        ("PER", "Marie", 11, 16),
    ]


# ---- best_labels ----


def test_the_likeliest_label_and_its_probability() -> None:
    logits = np.array([[2.0, 1.0, 0.0], [-5.0, 3.0, 3.5], [1e30, -1e30, 0.0]], np.float32)
    tags, scores = best_labels(logits, IO)
    assert tags == ["O", "I-PER", "O"]
    wanted = [np.exp(row - row.max()) for row in logits.astype(np.float64)]
    assert scores == pytest.approx([(e / e.sum()).max() for e in wanted], rel=1e-6)


@pytest.mark.parametrize("labels", [IO, ("I-LOC", "I-PER", "O")])
def test_nan_is_outside_with_score_0(labels: Sequence[str]) -> None:
    logits = np.array([[0, 5, 1], [np.nan] * 3, [5, np.nan, 1]], np.float32)
    tags, scores = best_labels(logits, labels)
    assert tags == [labels[1], "O", "O"]
    assert scores[1:] == [0.0, 0.0]


def test_no_words() -> None:
    assert best_labels(np.zeros((0, 3), np.float32), IO) == ([], [])
