"""What can be true of an answer, and what cannot."""

from __future__ import annotations

from typing import Any

import pytest

from affineur.probe.answers import KNOWN, differ, faults, spans_of


def entity(**changed: Any) -> dict[str, Any]:
    return {"entity_group": "LOC", "score": 0.9, "word": "Lyon", "start": 2, "end": 6, **changed}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([entity()], []),
        ([entity(start=None, end=None)], ["expected 0 ≤ start < end ≤ 7"]),
        ([entity(start=6, end=6)], ["expected 0 ≤ start < end ≤ 7"]),
        ([entity(start=True)], ["expected 0 ≤ start < end ≤ 7"]),
        ([entity(end=8)], ["expected 0 ≤ start < end ≤ 7"]),
        ([entity(start=3)], ["word is 'Lyon', but the text from 3 to 6 is 'yon'"]),
        ([entity(score=1.01)], ["has the score 1.01"]),
        ([entity(score=float("nan"))], ["has the score nan"]),
        ([entity(score=None)], ["has the score None"]),
        ([entity(), entity()], ["overlaps"]),
        ([entity(word="à Lyon", start=0), entity()], ["overlaps the entity before it, which ends at 6"]),
        ([entity(), entity(word="à", start=0, end=1)], []),  # any order
        ([entity(word="lyon"), entity(word="<unk>", start=0, end=1)], []),
    ],
)
def test_what_cannot_be_true_of_an_answer(found: list[dict[str, Any]], said: list[str]) -> None:
    faulty = faults("à Lyon.", found)
    assert len(faulty) == len(said)
    assert all(part in fault for part, fault in zip(said, faulty, strict=True))


def test_single_and_listed_may_differ_by_rounding_only() -> None:
    assert not differ([entity()], [entity(score=0.91)])
    for other in (
        [],
        [entity(score=0.95)],
        [entity(start=1)],
        [entity(entity_group="PER")],
        [entity(score=None)],
    ):
        assert differ([entity()], other)


def test_spans_leave_articles_and_white_space_out() -> None:
    assert spans_of("De l'Italie !", [{"entity_group": "B-GPE", "start": 2, "end": 12}]) == {("LOC", 5, 11)}
    assert spans_of("À Lyon", [{"entity": "I-LOC", "start": 0, "end": 90}]) == set()


def test_known_sentences_name_what_stands_in_them_once() -> None:
    assert sum(len(mentions) for _, mentions in KNOWN) == 29
    assert all(text.count(name) == 1 for text, mentions in KNOWN for _, name in mentions)
    assert any(
        any(ord(c) > 0xFFFF for c in text[: text.index(name)])
        for text, mentions in KNOWN
        for _, name in mentions
    )
