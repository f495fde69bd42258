"""The command line of a step: its options, read back, give the step."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from affineur.artifact import ModelFolder
from affineur.steps.cast import Cast
from affineur.steps.core.command import command_line, option
from affineur.steps.core.context import Context
from affineur.steps.core.step import Step
from affineur.steps.pack import Pack
from affineur.steps.prune import Prune
from affineur.steps.shrink import Shrink
from affineur.steps.trim_vocab import TrimVocab


class Wrap(Step):
    """Has a field of every kind."""

    name = "wrap"
    summary = "wrap it"
    suffix = "wrapped"

    paper: str
    layers_of_paper: int = 1
    weight: float | None = None
    for_: str = Field("me", alias="for")
    ribbon: bool = False
    address: bool = True

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        return out


def read_back(line: str, step: type[Step]) -> tuple[str, str, Step, dict[str, str]]:
    """Read a command line as a simple parser would: model, output, step, inputs."""
    program, name, source, *words = shlex.split(line)
    assert (program, name) == ("affineur", step.name)
    fields = {option(field.alias or key): field for key, field in step.model_fields.items()}
    values: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    out = ""
    while words:
        word = words.pop(0)
        positive = word.replace("--no-", "--", 1)
        if word == "-o":
            out = words.pop(0)
        elif word in fields and fields[word].annotation is bool:
            values[word[2:].replace("-", "_")] = True
        elif word not in fields and positive in fields:
            values[positive[2:].replace("-", "_")] = False
        elif word in fields:
            values[word[2:].replace("-", "_")] = words.pop(0)
        else:
            inputs[word[2:]] = words.pop(0)
    return source, out, step.given(values), inputs


@pytest.mark.parametrize(
    "step",
    [
        Wrap(paper="red"),
        Wrap(
            paper="with a space; and 'quotes'",
            layers_of_paper=2,
            weight=0.1 + 0.2,
            for_="you",
            ribbon=True,
            address=False,
        ),
        Wrap(paper="red", weight=1e-05),
        Prune(),
        Prune(sparsity=0.3, method="wanda", scope="ffn"),
        Prune(sparsity=0.0, max_layer_sparsity=0.5),
        Shrink(layers=8),
        Shrink(layers=8, ffn_width=0.5, reconstruct=False),
        Shrink(ffn_width=2304),
        TrimVocab(),
        TrimVocab(keep=20_000),
        TrimVocab(min_count=3),
        Cast(dtype="float16"),
        Pack(),
    ],
    ids=repr,
)
def test_options_read_back_give_the_step(step: Step) -> None:
    line = command_line(step, "my model", "out/it's", {"calibration": "CALIBRATION"})
    assert "\n" not in line
    source, out, again, inputs = read_back(line, type(step))
    assert (source, out, inputs) == ("my model", "out/it's", {"calibration": "CALIBRATION"})
    assert again == step


def test_defaults_are_left_out() -> None:
    assert command_line(Prune(), "student", "pruned") == "affineur prune student -o pruned"
    assert command_line(Shrink(layers=2), "student", "small", {"data": "DATA"}) == (
        "affineur shrink student --layers 2 --data DATA -o small"
    )
    assert command_line(Shrink(ffn_width=20, reconstruct=False), "a", "b") == (
        "affineur shrink a --ffn-width 20 --no-reconstruct -o b"
    )
    assert command_line(Cast(dtype="float32"), "a", "b") == "affineur cast a --dtype float32 -o b"


def test_spelling() -> None:
    assert option("max_layer_sparsity") == "--max-layer-sparsity"
    assert option("for") == "--for"
