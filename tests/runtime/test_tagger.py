"""Calling a tagger: one text or several, options by name, and clear refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from affineur.entities import LabeledPiece
from affineur.errors import ParameterError
from affineur.runtime import Encoder, EngineTagger, Logits, PredictOptions, annotate_rows

from .conftest import unigram

TEXT = "Marion à Paris"


class Names(EngineTagger):
    """Knows two pieces by heart: it is sure of one of them and doubts the other."""

    def __init__(self) -> None:
        tokenizer = unigram()
        super().__init__(Encoder(tokenizer, 32, 1), ("O", "I-LOC", "I-PER"))
        self.batches: list[int] = []
        self._known = {tokenizer.token_to_id("▁Paris"): (1, 9.0), tokenizer.token_to_id("▁Mar"): (2, 0.9)}

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Logits:
        self.batches.append(len(ids))
        logits = np.zeros((*ids.shape, 3), np.float32)
        logits[..., 0] = 0.5
        for piece, (label, sure) in self._known.items():
            logits[ids == piece, label] = sure
        return logits


def test_one_text_gives_entities_and_several_give_lists() -> None:
    model = Names()
    person, place = model(TEXT)
    assert (person.type, person.word, person.start, person.end) == ("PER", "Marion", 0, 6)
    assert (place.type, place.word, place.start, place.end) == ("LOC", "Paris", 9, 14)
    assert model([TEXT, "", TEXT]) == [[person, place], [], [person, place]]
    assert model(iter([TEXT])) == [[person, place]]
    assert model([]) == []
    assert model("") == []


def test_a_threshold_leaves_out_what_is_less_sure() -> None:
    model = Names()
    person, place = model(TEXT)
    assert 0.3 < person.score < 0.5 < place.score
    assert model(TEXT, threshold=0.5) == model([TEXT], threshold=0.5)[0] == [place]
    assert model.predict(TEXT, threshold=0.5) == model.predict_batch([TEXT], threshold=0.5)[0] == [place]
    assert list(model.predict_stream([TEXT], threshold=0.5)) == [[place]]
    assert model(TEXT, threshold=person.score) == [person, place]
    assert all(isinstance(piece, LabeledPiece) for piece in model(TEXT, strategy="none"))
    assert [piece.label for piece in model(TEXT, strategy="none", threshold=0.5)] == ["I-LOC"]
    assert [entity.type for entity in model([TEXT], strategy="first", threshold=0.5)[0]] == ["LOC"]


def test_a_batch_has_no_more_sequences_than_asked_for() -> None:
    model = Names()
    model([TEXT] * 5, batch_size=2)
    assert model.batches == [2, 2, 1]


@pytest.mark.parametrize(
    ("wrong", "parameter", "said"),
    [
        (lambda model: model.predict([TEXT]), "text", r"text is a list, expected one text; .*predict_batch"),
        (lambda model: model.predict_batch(TEXT), "texts", r"expected a list of texts; type predict\(text\)"),
        (lambda model: model([TEXT, None]), "texts", r"texts\[1\] is a NoneType, expected a text"),
        (lambda model: model([[TEXT]]), "texts", r"texts\[0\] is a list, expected a text"),
        (lambda model: model(TEXT, threshold=50), "threshold", "threshold=50 is impossible, expected 0 to 1"),
        (lambda model: model(TEXT, batch_size=0), "batch_size", "batch_size=0 is impossible"),
        (lambda model: model(TEXT, strategy="frist"), "strategy", "did you mean 'first'"),
        (
            lambda model: model.read([TEXT], PredictOptions(stride=400)),
            "stride",
            "stride of 400 is impossible",
        ),
        (lambda model: model.predict_stream([], threshold=-1), "threshold", "threshold=-1"),
    ],
)
def test_what_cannot_be_is_refused_by_the_parameter_s_name(wrong: Any, parameter: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said) as caught:
        wrong(Names())
    assert caught.value.parameter == parameter


def test_rows_keep_what_they_hold() -> None:
    model = Names()
    rows = ({"id": number, "text": text, "page": 1} for number, text in enumerate([TEXT, "", TEXT]))
    found = list(annotate_rows(model, rows, threshold=0.5))
    place = model(TEXT, threshold=0.5)[0].as_dict()
    assert found == [
        {"id": 0, "text": TEXT, "page": 1, "entities": [place]},
        {"id": 1, "text": "", "page": 1, "entities": []},
        {"id": 2, "text": TEXT, "page": 1, "entities": [place]},
    ]
    assert list(found[0]) == ["id", "text", "page", "entities"]
