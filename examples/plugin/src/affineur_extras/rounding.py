"""A step: weights rounded to few significant bits, so that a file compressed afterwards is smaller."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from affineur.artifact import ModelFolder
from affineur.steps.core.context import Context
from affineur.steps.core.step import Step
from affineur.steps.core.work import Work


class Round(Step):
    """Round every weight to some significant bits; the dtype stays as it was."""

    name = "round"
    summary = "round weights to few significant bits"
    suffix = "rounded"
    threaded = False
    examples = ("affineur round student_11L --bits 6 -o student_11L_rounded",)

    bits: int = Field(8, ge=1, le=23, description="significant bits that each weight keeps")

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Round the weights of a model folder.

        Raises:
            ModelError: If the model cannot be used.
        """
        work = Work(self, out, model, context)
        if work.finished():
            return out
        import torch

        from affineur.engines.support.checkpoints import load_model

        network = load_model(model, dtype="auto")
        with torch.no_grad():
            for weight in network.parameters():
                fraction, exponent = torch.frexp(weight.float())
                kept = torch.ldexp((fraction * 2**self.bits).round() / 2**self.bits, exponent)
                weight.copy_(kept)
        return work.write(network)


STEP = Round
