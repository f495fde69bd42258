"""``quantize``: an ONNX graph in eight bits for a named CPU, with a self-test that proves it there."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from affineur.artifact import ModelFolder, ModelInfo, environment
from affineur.artifact.exported import read_export_info
from affineur.artifact.formats.onnx import FORMAT
from affineur.artifact.selftest import FURTHEST, VNNI
from affineur.display import megabytes
from affineur.errors import DataError, ModelError
from affineur.steps.core.context import CALIBRATION_SENTENCES, Context
from affineur.steps.core.step import CALIBRATION, Shape, Step
from affineur.steps.core.work import Work

#: The scheme that is right on each CPU. Signed weights need VNNI on x86: without it two products are added in
#: 16 bits and overflow.
TARGETS = {"vnni": "u8s8", "avx512": "u8s8-reduced", "avx2": "u8s8-reduced", "arm": "u8s8"}


class Quantize(Step):
    """Quantize a model folder, or an ONNX artifact in full precision, to eight bits.

    Embedding tables go row by row, matrices output by output. The words of the first 256 sentences of the
    calibration text are read, its labels never. Activations get constant scales, and by default a scale per
    token for the kinds of matrices (of all layers) where that takes a tenth of the squared error away, or for
    all where the bar is missed otherwise.
    """

    name = "quantize"
    summary = "INT8 for this or a named CPU, as near to its parent as asked, with a self-test"
    suffix = "int8"
    stores = True
    takes = ("transformers", "packed", "onnx")
    makes = "onnx"
    inputs = (CALIBRATION,)
    examples = (
        "affineur quantize student_11L_pruned -o student_11L_int8",
        "affineur quantize student_11L --for avx2 --min-agreement 0.999 -o student_11L_avx2",
    )

    target: Literal["auto", "vnni", "avx512", "avx2", "arm"] = Field(
        "auto", alias="for", description="the CPU it is for; auto is the one at hand"
    )
    scheme: Literal["u8s8", "u8s8-reduced", "u8u8"] | None = Field(
        None, description="how matrices are stored; the CPU's own by default"
    )
    activations: Literal["auto", "static", "token", "batch"] = Field(
        "auto",
        description="scales of activations: static (constant, measured on the calibration text), token (one "
        "per token, as it comes), batch (one per batch: a text's result depends on its neighbors), or auto: "
        "static, but token where that is much nearer",
    )
    min_agreement: float = Field(
        0.995,
        ge=0,
        le=1,
        description="least share of tags equal to the parent's; what costs most stays in full precision "
        "until it is met, 0 asks for nothing",
    )

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Quantize a model.

        Raises:
            DataError: If the tokenizer makes no piece of the text.
            ModelError: If the model cannot be used, or this CPU cannot prove the scheme.
        """
        self.check(context)
        self.after(Shape.of(model))
        target = this_cpu() if self.target == "auto" else self.target
        scheme = self.scheme or TARGETS[target]
        if scheme == "u8s8" and this_cpu() in ("avx2", "avx512"):
            raise ModelError(
                "u8s8 needs VNNI, which this CPU lacks, so it could not be proved here; quantize for avx2, "
                "or on a CPU that has it"
            )
        text = context.text.head(CALIBRATION_SENTENCES)
        resolved = {"for": target, "scheme": scheme}
        work = Work(self, out, model, context, {"calibration": text}, resolved=resolved)
        if work.finished():
            return out
        from affineur.engines.support.graph_files import save_graph
        from affineur.steps.graphs.exporting import finish
        from affineur.steps.graphs.trial import (
            Trial,
            activation_ranges,
            measured_on,
            parent_graph,
            quantized_info,
        )

        sentences = [s.words for s in text]
        graph, parent, selftest = parent_graph(model, sentences, context.threads)
        windows = list(parent.encoder.windows(sentences))
        if not windows:
            raise DataError("the tokenizer makes no piece of any word of the calibration text")
        ranges: Mapping[str, tuple[float, float]] = {}
        if self.activations in ("auto", "static"):
            longer = list(parent.encoder.windows(measured_on(sentences)))
            ranges = activation_ranges(graph, parent, longer, context.threads)
        first = "static" if self.activations == "auto" else self.activations
        trial = Trial(graph, parent, windows, scheme, first, ranges, context.threads)
        if self.activations == "auto":
            trial.by_token = trial.worth_a_token()
            if not trial.meets([], self.min_agreement):
                trial.activations, trial.by_token = "token", ()
        kept = trial.fewest_kept(self.min_agreement)
        made = trial.made(kept)
        tagger, agreement = trial.judge(kept)
        if agreement.same_tags < self.min_agreement or agreement.error > FURTHEST:
            raise ModelError(
                f"{scheme} keeps only {agreement.same_tags:.2%} of the parent's tags on this CPU whatever "
                f"stays in full precision (logits off by {agreement.error:.2f}), expected "
                f"{self.min_agreement:.2%}; nothing was written. Quantize on a CPU of the kind it is for, or "
                "for avx2, or with a lower min_agreement"
            )
        seen = selftest.agreement(tagger.forward(selftest.ids, selftest.mask))
        selftest = replace(selftest, made=seen, scheme=scheme, target=target)

        def fill(place: Path) -> None:
            save_graph(made, FORMAT.graph(place))
            finish(place, model, selftest, quantized_info(made, model, trial, kept, target))

        scores = {
            "agreement": agreement.same_tags,
            "error": agreement.error,
            "words": trial.words,
            "kept": list(kept),
            "activations": trial.activations,
            "by_token": list(trial.by_token),
        }
        return work.write_files(fill, scores=scores)

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say what stayed in full precision, and how near the result comes to its parent."""
        known = read_export_info(info.folder.path)
        assert known is not None
        assert known.parity is not None
        kept = "no matrix stays in full precision"
        if known.kept:
            kept = f"{len(known.kept)} matrices stay in full precision ({', '.join(known.kept)})"
        return [
            f"{known.precision}, {megabytes(info.folder.size_bytes)}; {kept}",
            f"{known.parity['same_tags']:.2%} of the tags of {known.parity['words']:,} words are the "
            "parent's",
        ]

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return scheme, scales, what was kept, and agreement with the parent."""
        known = read_export_info(info.folder.path)
        assert known is not None
        assert known.parity is not None
        values = asdict(known)
        keys = ("scheme", "activations", "by_token", "target", "kept")
        size = info.folder.size_bytes
        return {
            "model": str(info.folder.path),
            "size_bytes": size,
            **{key: values[key] for key in keys},
            **known.parity,
        }


def this_cpu() -> str:
    """Name the kind of CPU at hand, as ``target`` does."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm"
    flags = set(environment()["cpu_flags"])
    return "vnni" if flags & VNNI else "avx512" if "avx512f" in flags else "avx2"


STEP = Quantize
