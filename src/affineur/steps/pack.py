"""``pack``: a model folder as one sparse file, lossless to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from affineur.artifact import ModelFolder, ModelInfo
from affineur.artifact.packed import FORMAT
from affineur.artifact.packed_files import pack_weights, quantization_config
from affineur.artifact.soundness import check_numbers
from affineur.artifact.tensors import WEIGHTS
from affineur.display import megabytes
from affineur.errors import ModelError, ParameterError
from affineur.steps.core.carried import sizes, write_carried
from affineur.steps.core.context import Context
from affineur.steps.core.step import Shape, Step
from affineur.steps.core.work import Work


class Pack(Step):
    """Store a model packed: of each matrix in which it pays, a bitmask and the values that are not zero.

    ``AutoModelForTokenClassification.from_pretrained`` loads the result after ``import affineur``, with the
    same weights bit for bit; without it, it raises an error (``docs/packed-format.md``).
    """

    name = "pack"
    summary = "store a pruned model without its zeros, lossless; loads after import affineur"
    suffix = "packed"
    stores = True
    takes = ("transformers",)
    makes = "packed"
    threaded = False
    examples = ("affineur pack student_11L_pruned -o student_11L_packed",)

    def after(self, shape: Shape) -> Shape:
        """Say that the model is packed then.

        Raises:
            ParameterError: If it is packed already, or is no model of transformers.
        """
        if shape.kind == self.makes:
            raise ParameterError("the model is packed already; use it as it is, or unpack it")
        return super().after(shape)

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Pack a model folder of any dtype.

        Raises:
            ParameterError: If it is packed already, or is no model of transformers.
            ModelError: If it cannot be used, or its weights are quantized.
        """
        self.after(Shape.of(model))
        if quantized := model.config.get("quantization_config"):
            method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
            raise ModelError(
                f"{model.path} is quantized already ({method}), expected plain weights; "
                "pack the model it was made from"
            )
        work = Work(self, out, model, context, resolved={"format": FORMAT})
        if work.finished():
            return out
        check_numbers(model.tensors(), model.path)

        def fill(target: Path) -> None:
            packed = pack_weights(model, target / WEIGHTS)
            write_carried(model, target, model.config | {"quantization_config": quantization_config(packed)})

        return work.write_files(fill)

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say how much smaller the file is."""
        found = self.result(info, source)
        before, after = found["size_bytes_before"], found["size_bytes"]
        lines = [f"packed: {megabytes(before)} → {megabytes(after)} ({found['ratio']:.3f} of it)"]
        if not found["packed_tensors"]:
            lines.append("no matrix has zeros enough for a bitmask to pay, so nothing was saved; prune first")
        return lines

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return the sizes before and after, and how many matrices are packed."""
        return sizes(info, source)


STEP = Pack
