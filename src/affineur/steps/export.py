"""``export``: a model as a graph for an engine without torch, proved equal to it before anybody sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from affineur.artifact import ModelFolder, ModelInfo
from affineur.artifact.exported import read_export_info
from affineur.display import megabytes
from affineur.engines.core.engine import ENGINES, exporting
from affineur.engines.core.references import load_exported
from affineur.errors import ParameterError, did_you_mean
from affineur.steps.core.context import CALIBRATION_SENTENCES, Context
from affineur.steps.core.step import CALIBRATION, Shape, Step
from affineur.steps.core.work import Work


class Export(Step):
    """Export a model, dense or packed, as a graph with labels, tokenizer and self-test.

    It is compared with the model on text: the words of its first 256 sentences are read, its labels never.
    """

    name = "export"
    summary = "a model as an ONNX or OpenVINO graph, proved equal, for engines without torch"
    suffix = "exported"
    stores = True
    inputs = (CALIBRATION,)
    examples = (
        "affineur export student_11L -o student_11L_onnx",
        "affineur export student_11L --to openvino -o student_11L_openvino",
    )

    to: str = Field("onnx", description="the engine to export for, such as onnx or openvino")
    plain: bool = Field(
        False, description="leave the graph as the exporter writes it, for engines other than ONNX Runtime"
    )

    @property
    def kind(self) -> str:
        """The kind of artifact that the engine runs."""
        return ENGINES.get(self.to).kinds[0]

    def label(self, before: str, stem: str) -> str:
        """Name the result after the engine: ``student_11L_onnx``."""
        return f"{stem}_{self.to}"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Refuse an engine that models are not exported for."""
        if self.to not in ENGINES or not ENGINES.get(self.to).exports:
            known = exporting()
            raise ParameterError(
                f"to='{self.to}' is impossible, expected one of {', '.join(known)}"
                f"{did_you_mean(self.to, known)}",
                "to",
            )
        return self

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Export a model folder.

        Raises:
            ParameterError: If the model is exported already.
            DataError: If the tokenizer makes no piece of the text.
            ModelError: If the model cannot be used, or the graph does not give its logits.
            MissingExtraError: If the engine's library is not installed.
        """
        self.check(context)
        self.after(Shape.of(model))
        text = context.text.head(CALIBRATION_SENTENCES)
        work = Work(self, out, model, context, {"calibration": text})
        if work.finished():
            return out
        from affineur.steps.graphs.exporting import finish, info_of, parity_of, to_onnx

        made = to_onnx(model, [s.words for s in text], self.plain, context.threads)
        parity = parity_of(made.parity, made.largest)

        engine = ENGINES.get(self.to)

        def fill(place: Path) -> None:
            known = info_of(made.graph, model, "fp32", "any", parity)
            finish(place, model, made.selftest, engine.export(made.graph, model, place, known))
            load_exported(place, context.threads)  # what was written, not what is in memory, is proved

        return work.write_files(fill, scores={"parity": parity})

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say how near the graph comes to the model."""
        found = self.result(info, source)
        return [
            f"{found['engine']}, {megabytes(found['size_bytes'])}: {found['same_tags']:.2%} of the tags are "
            f"the model's, logits differ by at most {found['max_difference']:.1e}"
        ]

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return engine, size and agreement with the model."""
        known = read_export_info(info.folder.path)
        assert known is not None
        assert known.parity is not None
        size = info.folder.size_bytes
        return {
            "model": str(info.folder.path),
            "engine": known.engine,
            "opset": known.opset,
            "size_bytes": size,
            **known.parity,
        }


STEP = Export
