"""What a step makes of values, of a context and of a model that is not there yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from affineur.artifact import ModelFolder, open_folder
from affineur.entities import Corpus
from affineur.errors import ParameterError
from affineur.registry import Registry
from affineur.steps.core.context import Context
from affineur.steps.core.step import CALIBRATION, DATA, STEPS, TEACHER, Shape, Step
from affineur.transfer import Splits
from distributions import distribution


class Melt(Step):
    """Stands for any step."""

    name = "melt"
    summary = "make it soft"
    suffix = "melted"
    takes = ("transformers", "packed")
    makes = "fondue"
    inputs = (DATA, CALIBRATION, TEACHER)

    heat: float = Field(0.5, ge=0, lt=1, description="how hot, in [0, 1)")
    rounds: int = Field(1, ge=1, description="how often")
    pan: Literal["copper", "iron"] = "iron"
    cheese: str
    for_: str = Field("two", alias="for")
    stir: bool = True

    @model_validator(mode="after")
    def _copper_is_not_for_high_heat(self) -> Melt:
        if self.pan == "copper" and self.heat > 0.9:
            raise ValueError("Copper stands no heat above 0.9")
        return self

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        return out


class Store(Melt):
    stores = True
    suffix = "stored"


def test_values_as_people_give_them() -> None:
    step = Melt.given({"heat": "0.25", "rounds": "2", "cheese": "comté", "for": "six", "stir": "false"})
    assert (step.heat, step.rounds, step.cheese, step.for_, step.stir) == (0.25, 2, "comté", "six", False)
    assert step == Melt(heat=0.25, rounds=2, cheese="comté", for_="six", stir=False)
    assert step.parameters == {
        "heat": 0.25,
        "rounds": 2,
        "pan": "iron",
        "cheese": "comté",
        "for": "six",
        "stir": False,
    }
    assert Melt.given(step.parameters) == step


def test_a_step_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Melt(cheese="comté").heat = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "parameter", "said"),
    [
        ({"heat": 1.5}, "heat", "heat=1.5 is impossible: expected less than 1 (how hot, in [0, 1))"),
        (
            {"heat": -1},
            "heat",
            "heat=-1 is impossible: expected greater than or equal to 0 (how hot, in [0, 1))",
        ),
        (
            {"heat": float("nan")},
            "heat",
            "heat=nan is impossible: expected a finite number (how hot, in [0, 1))",
        ),
        ({"rounds": "many"}, "rounds", "rounds='many' is impossible: expected a valid integer"),
        ({"rounds": 1.5}, "rounds", "rounds=1.5 is impossible: expected a valid integer"),
        (
            {"pan": "cooper"},
            "pan",
            "pan='cooper' is impossible: expected 'copper' or 'iron'; did you mean 'copper'?",
        ),
        (
            {"haet": 1},
            "haet",
            "no parameter 'haet', expected one of heat, rounds, pan, cheese, for, stir; did you mean 'heat'?",
        ),
        ({"for": 3}, "for", "for=3 is impossible: expected a valid string"),
        ({"pan": "copper", "heat": 0.95}, None, "Copper stands no heat above 0.9"),
    ],
)
def test_an_impossible_value_is_one_line_and_named(
    values: dict[str, Any], parameter: str | None, said: str
) -> None:
    with pytest.raises(ParameterError) as error:
        Melt.given({"cheese": "comté", **values})
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert error.value.parameter == parameter


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ParameterError, match=r"^cheese is missing$") as error:
        Melt.given({})
    assert error.value.parameter == "cheese"


def test_a_step_without_parameters_says_so() -> None:
    with pytest.raises(ParameterError, match=r"^no parameter 'level', it has none$"):
        STEPS.get("pack").given({"level": 9})


def test_needed_inputs_are_asked_for(short: Corpus) -> None:
    with pytest.raises(ParameterError, match=r"^melt needs data: a CoNLL") as error:
        Melt(cheese="comté").check(Context())
    assert error.value.parameter == "data"
    Melt(cheese="comté").check(Context(data=Splits(short, None, None)))


def test_what_a_model_becomes() -> None:
    step = Melt(cheese="comté")
    assert step.after(Shape("packed", 12, pruned=True)) == Shape("fondue", 12, pruned=True)
    with pytest.raises(ParameterError) as error:
        step.after(Shape("onnx", 12))
    assert str(error.value) == (
        "melt cannot start from a model of the kind onnx, expected transformers or packed; "
        "give the model it was made from"
    )


def test_the_shape_of_a_folder(shared_model) -> None:
    assert Shape.of(open_folder(shared_model())) == Shape("transformers", 3)


def test_names_of_results() -> None:
    assert Melt(cheese="comté").label("student_11L_pruned", "student_11L") == "student_11L_pruned_melted"
    assert Store(cheese="comté").label("student_11L_pruned", "student_11L") == "student_11L_stored"


def test_what_is_no_step_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, "odd-steps", "NUMBER = int", "affineur.steps", odd="NUMBER")
    monkeypatch.syspath_prepend(tmp_path)
    steps = Registry("affineur.steps", "affineur.steps", "STEP", "step", STEPS._check)
    with pytest.raises(Exception, match=r"the step 'odd' of the package odd-steps .* is no subclass of Step"):
        steps.get("odd")


@pytest.mark.parametrize("name", STEPS.names())
def test_every_step_describes_itself(name: str) -> None:
    step = STEPS.get(name)
    assert step.name == name
    texts = [step.summary, *(given.help for given in step.inputs)]
    texts += [field.description or "" for field in step.model_fields.values()]
    for text in texts:
        assert text
        assert not text.endswith(".")
        assert "\n" not in text
    assert step.examples
    assert all(example.startswith(f"affineur {name} ") for example in step.examples)
    assert step.suffix
    assert len({given.name for given in step.inputs} | set(step.model_fields)) == len(step.inputs) + len(
        step.model_fields
    )
