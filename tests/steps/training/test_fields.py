"""Parameters of the steps that train: impossible values are refused by name, defaults are the guide's."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from affineur.errors import ParameterError
from affineur.steps.core.step import STEPS
from affineur.steps.training.fields import SOFT
from affineur.steps.training.loop import SoftTargets, TrainSettings


def refused(name: str, values: dict[str, Any]) -> None:
    (parameter,) = values
    with pytest.raises(ParameterError, match=f"^{parameter}=.* is impossible: expected ") as error:
        STEPS.get(name).given(values)
    assert error.value.parameter == parameter


@pytest.mark.parametrize("name", ["train", "distill", "recover"])
@pytest.mark.parametrize(
    "values",
    [
        {"epochs": -1},
        {"epochs": math.nan},
        {"learning_rate": -1e-5},
        {"batch_size": 0},
        {"warmup": 1.5},
        {"weight_decay": math.nan},
        {"learning_rate": math.inf},
        {"seed": -1},
    ],
    ids=str,
)
def test_impossible_settings(name: str, values: dict[str, Any]) -> None:
    refused(name, values)


@pytest.mark.parametrize(
    "values", [{"label_smoothing": -0.1}, {"patience": 0}, {"tags": "IOB1"}, {"replace_mentions": 2}], ids=str
)
def test_impossible_settings_of_train(values: dict[str, Any]) -> None:
    refused("train", values)


@pytest.mark.parametrize("name", ["distill", "recover"])
@pytest.mark.parametrize(
    "values",
    [{"soft_weight": -0.1}, {"soft_weight": 1.1}, {"temperature": 0}, {"hidden_weight": -1}],
    ids=str,
)
def test_impossible_soft_targets(name: str, values: dict[str, Any]) -> None:
    refused(name, values)


@pytest.mark.parametrize("values", [{"layers": 0}, {"layers": 1.5}, {"keep": "bottom"}], ids=str)
def test_impossible_students(values: dict[str, Any]) -> None:
    refused("distill", values)


@pytest.mark.parametrize(
    ("name", "epochs", "learning_rate"),
    [("train", 3.0, 5e-5), ("distill", 1.0, 5e-5), ("recover", 0.5, 1e-5)],
)
def test_defaults(name: str, epochs: float, learning_rate: float) -> None:
    step: Any = STEPS.get(name).given({})
    assert step.settings("fp32") == TrainSettings(epochs, learning_rate, 8, 0.01, 0.0, 13)
    if name != "train":
        assert step.soft() == SoftTargets(0.5, 2.0, 0.0)
        assert set(SOFT) == {"soft_weight", "temperature", "hidden_weight"}


@pytest.mark.parametrize("name", ["train", "distill", "recover"])
def test_every_parameter_says_what_it_is(name: str) -> None:
    for field in STEPS.get(name).model_fields.values():
        assert field.description
        assert not field.description.endswith(".")
        assert "default" not in field.description


def test_what_describes_a_step_needs_no_torch() -> None:
    code = (
        "import sys; from affineur.steps.core.step import STEPS; "
        "[STEPS.get(name).given({}) for name in ('train', 'distill', 'recover')]; "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
