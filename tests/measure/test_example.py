"""An example says what each model finds in one text, and which models agree."""

from __future__ import annotations

from affineur.entities import Entity
from affineur.measure import Example

TEXT = "Marie travaille à l'hôpital de Paris."
MARIE, PARIS = Entity("PER", "Marie", 0, 5, 0.99), Entity("LOC", "Paris", 31, 36, 0.97)


def test_models_that_find_the_same_share_a_line() -> None:
    example = Example(TEXT, {"teacher": (MARIE, PARIS), "student": (PARIS,), "student_int8": (MARIE, PARIS)})
    assert example.lines == [
        f"“{TEXT}”",
        "  Marie (PER), Paris (LOC): teacher, student_int8",
        "  Paris (LOC): student",
    ]


def test_a_model_that_finds_nothing_says_so_and_json_has_what_predict_gives() -> None:
    example = Example(TEXT, {"teacher": (MARIE,), "student": ()})
    assert example.mentions("student") == "nothing"
    found = example.as_dict()["found"]
    assert found["student"] == []
    assert found["teacher"] == [MARIE.as_dict()]
    assert {TEXT[entity["start"] : entity["end"]] for entity in found["teacher"]} == {"Marie"}
