"""ONNX Runtime: runs exported graphs on the CPU, in full precision and in eight bits, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from affineur.artifact import ModelFolder
from affineur.artifact.exported import ExportInfo
from affineur.artifact.formats.onnx import FORMAT
from affineur.engines.core.engine import Batched, Engine
from affineur.engines.core.references import Reference


class Onnx(Engine):
    """ONNX graphs on ONNX Runtime."""

    name = "onnx"
    summary = "ONNX Runtime, without torch"
    kinds = (FORMAT.kind,)
    on_cpu = True
    exports = True

    def preload(self, reference: Reference) -> None:
        """Import ONNX Runtime."""
        import affineur.engines.support.onnx_tagger  # noqa: F401

    def load(self, reference: Reference, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load a graph and prove it."""
        from affineur.engines.support.onnx_tagger import load_onnx

        return load_onnx(reference.open(), threads)

    def export(self, graph: Any, source: ModelFolder, place: Path, info: ExportInfo) -> ExportInfo:
        """Write the graph itself."""
        from affineur.engines.support.graph_files import save_graph

        save_graph(graph, FORMAT.graph(place))
        return info


ENGINE = Onnx()
