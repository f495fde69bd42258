from __future__ import annotations

from pathlib import Path

import pytest

from affineur.errors import DataError
from affineur.transfer.formats.core.spans import SpanDocument, span_corpus, tagged_sentences

PATH = Path("notes.jsonl")


def tagged(text: str, *spans: tuple[int, int, str]) -> list[list[tuple[str, str]]]:
    found = tagged_sentences([SpanDocument(text, spans, "n1", 7)], PATH)
    return [list(zip(each.words, each.tags, strict=True)) for each in found]


@pytest.mark.parametrize(
    ("text", "spans", "wanted"),
    [
        pytest.param(
            "Marie Curie dort.",
            [(0, 11, "PER")],
            [["Marie/B-PER", "Curie/I-PER", "dort/O", "./O"]],
            id="one",
        ),
        pytest.param(
            "Léa\n\nParis",
            [(5, 10, "LOC"), (0, 3, "PER")],
            [["Léa/B-PER"], ["Paris/B-LOC"]],
            id="line breaks end sentences, spans come in any order",
        ),
        pytest.param(
            "😀 Léa 😀",
            [(2, 5, "PER")],
            [["😀/O", "Léa/B-PER", "😀/O"]],
            id="offsets are code points",
        ),
        pytest.param("a Léa b", [(1, 6, "PER")], [["a/O", "Léa/B-PER", "b/O"]], id="white space about it"),
        pytest.param(
            "FranceTélécom vit", [(0, 6, "LOC")], [["France/B-LOC", "Télécom/O", "vit/O"]], id="within a word"
        ),
        pytest.param(
            "Jean\nDupont dort",
            [(0, 11, "PER")],
            [["Jean/B-PER", "Dupont/I-PER", "dort/O"]],
            id="over a line break",
        ),
        pytest.param("Léa", [(0, 3, "PER"), (0, 3, "PER")], [["Léa/B-PER"]], id="the same twice"),
        pytest.param("LéaMax", [(0, 3, "PER"), (3, 6, "PER")], [["Léa/B-PER", "Max/B-PER"]], id="touching"),
        pytest.param(" \n", [], [], id="nothing"),
    ],
)
def test_words_and_tags(text: str, spans: list[tuple[int, int, str]], wanted: list[list[str]]) -> None:
    assert [[f"{word}/{tag}" for word, tag in each] for each in tagged(text, *spans)] == wanted


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 3, "PER"), (1, 5, "LOC")], "the spans 0 to 3 .* and 1 to 5 .* overlap"),
        ([(0, 3, "PER"), (0, 3, "LOC")], "overlap"),
        ([(0, 99, "PER")], "the span 0 to 99 .* lies outside the text, which has 8 characters"),
        ([(-1, 3, "PER")], "lies outside the text"),
        ([(3, 1, "PER")], "lies outside the text"),
        ([(2, 2, "PER")], "is empty"),
        ([(3, 4, "PER")], "is empty"),
        ([(0, 3, " ")], "has no type"),
        ([(0, 3, None)], "has no type"),
        ([("0", 3, "PER")], "expected two whole numbers"),
        ([(True, 3, "PER")], "expected two whole numbers"),
    ],
)
def test_a_span_that_cannot_be_said_is_refused(spans: list[tuple[int, int, str]], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        tagged("Léa dort", *spans)
    assert str(caught.value).startswith("notes.jsonl:7: row 7: document n1: ")


def test_what_is_worth_saying_is_counted() -> None:
    documents = [
        SpanDocument("FranceTélécom ", ((0, 6, "LOC"), (0, 6, "LOC"))),
        SpanDocument("Jean \nDupont ", ((0, 13, "PER"),)),
    ]
    corpus = span_corpus(PATH, lambda: iter(documents))
    assert corpus.sentences == 2
    assert corpus.has_documents
    assert [note.partition(" spans ")[0] for note in corpus.notes] == ["1 of 3", "1 of 3", "1 of 3", "1 of 3"]
