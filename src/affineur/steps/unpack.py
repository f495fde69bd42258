"""``unpack``: the dense folder that a model was packed from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from affineur.artifact import ModelFolder, ModelInfo
from affineur.artifact.packed import FORMAT
from affineur.artifact.packed_files import unpack_weights
from affineur.artifact.soundness import check_numbers
from affineur.artifact.tensors import WEIGHTS
from affineur.display import megabytes
from affineur.errors import ParameterError
from affineur.steps.core.carried import sizes, write_carried
from affineur.steps.core.context import Context
from affineur.steps.core.step import Shape, Step
from affineur.steps.core.work import Work


class Unpack(Step):
    """Make a packed model dense again: the ``model.safetensors`` it was packed from, byte for byte."""

    name = "unpack"
    summary = "make a packed model dense again, byte for byte"
    suffix = "dense"
    takes = ("packed",)
    threaded = False
    examples = ("affineur unpack student_11L_packed -o student_11L_dense",)

    def after(self, shape: Shape) -> Shape:
        """Say that the model is dense then.

        Raises:
            ParameterError: If it is not packed.
        """
        if shape.kind not in self.takes:
            raise ParameterError("the model is not packed, so there is nothing to unpack; use it as it is")
        return super().after(shape)

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Unpack a model folder.

        Raises:
            ParameterError: If it is not packed.
            ModelError: If it is damaged.
        """
        self.after(Shape.of(model))
        work = Work(self, out, model, context, resolved={"format": FORMAT})
        if work.finished():
            return out
        check_numbers(model.tensors(), model.path)

        def fill(target: Path) -> None:
            unpack_weights(model, target / WEIGHTS)
            config = {key: value for key, value in model.config.items() if key != "quantization_config"}
            write_carried(model, target, config)

        return work.write_files(fill)

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say how large the dense file is."""
        found = self.result(info, source)
        before, after = found["size_bytes_before"], found["size_bytes"]
        return [f"unpacked: {megabytes(before)} → {megabytes(after)} ({found['ratio']:.3f} of it)"]

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return the sizes before and after."""
        return sizes(info, source)


STEP = Unpack
