"""A graph of ONNX operators."""

from __future__ import annotations

from pathlib import Path

from affineur.artifact.formats.core.graph import GraphFormat
from affineur.artifact.published import GRAPH, QUANTIZED, lies_at


class Onnx(GraphFormat):
    """``model.onnx``, with the constants beside it where one file cannot hold them.

    A folder that came from the Hub may have them in ``onnx/`` (see :mod:`affineur.artifact.published`).
    """

    kind = "onnx"
    summary = "an ONNX graph"
    library = "onnxruntime"
    files = (GRAPH, "model.onnx.data", "model.onnx_data")

    def file(self, folder: Path, name: str) -> Path:
        """Look for it in ``onnx/`` too."""
        return lies_at(folder, name)

    def named(self, file: Path) -> str:
        """Call a graph by the one name that it has in every artifact."""
        return GRAPH if file.name == Path(QUANTIZED).name else file.name


FORMAT = Onnx()
