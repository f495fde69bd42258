from __future__ import annotations

import json

import pytest

from affineur.entities import Entity, LabeledPiece, Mention, Sentence, Tagger, to_entities


@pytest.mark.parametrize("span", [(1, 1), (2, 1), (-1, 2)])
def test_a_mention_has_a_span(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="0 <= start < end"):
        Mention(*span, "PER")


def test_a_mention_has_a_type() -> None:
    with pytest.raises(ValueError, match="needs a type"):
        Mention(0, 1, "")


def test_mentions_sort_by_place() -> None:
    assert sorted([Mention(2, 3, "A"), Mention(0, 5, "B"), Mention(0, 1, "C")]) == [
        Mention(0, 1, "C"),
        Mention(0, 5, "B"),
        Mention(2, 3, "A"),
    ]


def test_a_sentence_has_a_tag_for_each_word() -> None:
    with pytest.raises(ValueError, match="2 words but 1 tags"):
        Sentence(("a", "b"), ("O",))


def test_the_tagger_protocol_is_checkable() -> None:
    class Silent:
        labels = ("O",)

        def tag(self, sentences: list[list[str]]) -> list[list[str]]:
            return [["O"] * len(words) for words in sentences]

    assert isinstance(Silent(), Tagger)
    assert not isinstance(object(), Tagger)


def test_entities_have_the_text_and_the_mean_score() -> None:
    text = "Il vit à L'Haÿ 🏡 les  Roses."
    spans = [(0, 2), (3, 6), (7, 8), (9, 11), (11, 14), (15, 16), (17, 20), (22, 27), (27, 28)]
    found = to_entities(
        text, spans, [Mention(0, 1, "PER"), Mention(3, 8, "LOC")], [0.5, 1, 1, 0.2, 0.4, 0.6, 0.8, 1.0, 1]
    )
    assert found[0] == Entity("PER", "Il", 0, 2, 0.5)
    assert (found[1].type, found[1].word, found[1].start, found[1].end) == (
        "LOC",
        "L'Haÿ 🏡 les  Roses",
        9,
        27,
    )
    assert found[1].score == pytest.approx(0.6)
    assert all(entity.word == text[entity.start : entity.end] for entity in found)


def test_entities_show_what_they_are_and_have_hugging_face_s_keys_in_json() -> None:
    entity = Entity("PER", "L'Haÿ", 7, 12, 0.984)
    assert repr(entity) == """Entity(PER "L'Haÿ" 7:12 0.98)"""
    assert json.dumps(entity.as_dict(), ensure_ascii=False) == (
        '{"entity_group": "PER", "score": 0.984, "word": "L\'Haÿ", "start": 7, "end": 12}'
    )
    piece = LabeledPiece("I-PER", "▁Mar", 0, 3, 0.5, 1)
    assert repr(piece) == "LabeledPiece(I-PER '▁Mar' 0:3 0.50)"
    assert json.dumps(piece.as_dict(), ensure_ascii=False) == (
        '{"entity": "I-PER", "score": 0.5, "index": 1, "word": "▁Mar", "start": 0, "end": 3}'
    )
