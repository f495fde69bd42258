"""``prune``: a model folder with its least important weights set to zero (guide §2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from affineur.artifact import PRUNING_INFO, ModelFolder, ModelInfo
from affineur.artifact.reading import read_json
from affineur.errors import ParameterError
from affineur.steps.core.context import CALIBRATION_SENTENCES, Context
from affineur.steps.core.step import CALIBRATION, Shape, Step
from affineur.steps.core.work import Work, record
from affineur.steps.pruning.core.method import METHODS, check_sparsity


class Prune(Step):
    """Set the least important weights to zero, and say which in ``pruning_info.json``; the dtype stays."""

    name = "prune"
    summary = "set the least important weights to zero"
    suffix = "pruned"
    renames = False
    inputs = (CALIBRATION,)
    examples = (
        "affineur prune student_11L --sparsity 0.15 -o student_11L_pruned",
        "affineur prune sample --method wanda --calibration my_text.conll -o pruned",
    )

    sparsity: float = Field(
        0.15, description="share of the weights in scope that are zero afterwards, in [0, 1)"
    )
    method: str = Field("magnitude", description=f"how weights are chosen: {', '.join(METHODS)}")
    scope: Literal["attention+ffn", "attention", "ffn"] = Field(
        "attention+ffn", description="which matrices lose weights"
    )
    max_layer_sparsity: float | None = Field(None, description="no encoder layer loses more than this share")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Refuse what cannot be, as soon as it is said."""
        check_sparsity(self.sparsity, self.max_layer_sparsity)
        METHODS.get(self.method, "method")
        return self

    def check(self, context: Context) -> None:
        """Check that there is calibration text only where it is read.

        Raises:
            ParameterError: If there is some for a method that reads none.
        """
        super().check(context)
        method = METHODS.get(self.method)
        if context.calibration is not None and not method.needs_calibration:
            needy = [name for name, each in METHODS.all().items() if each.needs_calibration]
            raise ParameterError(
                f"calibration is for methods that look at text ({', '.join(needy)}), "
                f"but the method is '{self.method}'; leave it out, or choose one of those",
                "calibration",
            )

    def after(self, shape: Shape) -> Shape:
        """Say that the model is pruned then."""
        return replace(super().after(shape), pruned=True)

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Prune a model folder.

        The words of the first 256 sentences of calibration text are read, its labels never: they may be of
        any types.

        Raises:
            ParameterError: If a value is out of range.
            DataError: If the tokenizer makes no piece of the calibration text.
            ModelError: If the model cannot be used.
        """
        self.check(context)
        method = METHODS.get(self.method)
        text = context.text.head(CALIBRATION_SENTENCES) if method.needs_calibration else None
        work = Work(self, out, model, context, {"calibration": text} if text else {})
        if work.finished():
            return out
        from affineur.engines.support.checkpoints import load_model
        from affineur.engines.support.torch_tagger import load_tagger
        from affineur.steps.pruning.core.zeroing import prune_model

        # Half precision is calibrated in float32 and pruned as it is, so the model is loaded once for each,
        # one after the other.
        known = method.calibrate(load_tagger(model), [s.words for s in text], self.scope) if text else None
        network = load_model(model, dtype="auto")
        info = prune_model(
            network,
            sparsity=self.sparsity,
            method=self.method,
            scope=self.scope,
            max_layer_sparsity=self.max_layer_sparsity,
            statistics=known,
        )
        if text:
            info = replace(info, calibration=record(text))
        return work.write(network, extra={PRUNING_INFO: info.as_dict()})

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say how many weights are zero, and where most."""
        found = self.result(info, source)
        layers = [layer["sparsity"] for layer in found["layers"]]
        return [
            (
                f"{found['zeros_in_scope']:,} of {found['weights_in_scope']:,} weights in scope"
                f" ({found['scope']}) are zero: {found['achieved_sparsity']:.4%}"
                f" ({found['sparsity_of_model']:.2%} of the whole model)"
            ),
            (
                f"sparsest layer {max(layers):.2%}, densest {min(layers):.2%}; threshold"
                f" {found['threshold']:.3g}"
            ),
        ]

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return the content of ``pruning_info.json``."""
        found: dict[str, Any] = read_json(info.folder.path / PRUNING_INFO)
        return found


STEP = Prune
