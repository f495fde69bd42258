"""``cast``: the same weights in another dtype."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from affineur.artifact import ModelFolder
from affineur.errors import ModelError, counted
from affineur.steps.core.context import Context
from affineur.steps.core.step import Step
from affineur.steps.core.work import Work

_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class Cast(Step):
    """Write a model's weights in another dtype."""

    name = "cast"
    summary = "the same weights in another dtype"
    suffix = "cast"
    threaded = False
    examples = ("affineur cast student_11L --dtype float16 -o student_11L_fp16",)

    dtype: Literal["float32", "float16", "bfloat16"] = Field(description="the dtype to store weights in")

    def label(self, before: str, stem: str) -> str:
        """Name the result after its dtype: ``teacher_fp16``."""
        return f"{before}_{_SHORT[self.dtype]}"

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Write the weights of a model folder in another dtype.

        Raises:
            ModelError: If the model cannot be used, or a weight is too large for the dtype.
        """
        work = Work(self, out, model, context)
        if work.finished():
            return out
        import torch

        from affineur.engines.support.checkpoints import load_model, strange_numbers

        network: Any = load_model(model, dtype="auto")
        network = network.to(getattr(torch, self.dtype))
        if too_large := strange_numbers(network):
            name = min(too_large)
            raise ModelError(
                f"{model.path}: {name} holds {counted(too_large[name], 'weight')} beyond what {self.dtype} "
                "holds; cast it to bfloat16"
            )
        return work.write(network)


STEP = Cast
