"""OpenVINO: runs graphs in its own representation on the CPU, without torch."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from affineur.artifact import ModelFolder
from affineur.artifact.exported import ExportInfo
from affineur.artifact.formats.openvino import FORMAT
from affineur.engines.core.engine import Batched, Engine
from affineur.engines.core.references import Reference
from affineur.errors import MissingExtraError


class OpenVino(Engine):
    """Graphs on OpenVINO."""

    name = "openvino"
    summary = "OpenVINO, without torch"
    kinds = (FORMAT.kind,)
    on_cpu = True
    exports = True

    def preload(self, reference: Reference) -> None:
        """Import OpenVINO."""
        import openvino  # noqa: F401

        import affineur.engines.support.openvino_tagger  # noqa: F401

    def load(self, reference: Reference, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load a graph and prove it."""
        from affineur.engines.support.openvino_tagger import load_openvino

        return load_openvino(reference.open(), threads)

    def export(self, graph: Any, source: ModelFolder, place: Path, info: ExportInfo) -> ExportInfo:
        """Convert the graph, which stays in full precision."""
        try:
            import openvino
        except ModuleNotFoundError:
            raise MissingExtraError("an export to OpenVINO", "openvino") from None
        from affineur.engines.support.graph_files import graph_bytes

        # Read from memory; left alone, it would be stored in half precision.
        converted = openvino.convert_model(io.BytesIO(graph_bytes(graph)))
        openvino.save_model(converted, FORMAT.graph(place), compress_to_fp16=False)
        return replace(info, engine=self.name, opset=0)


ENGINE = OpenVino()
