"""A graph of ONNX operators."""

from __future__ import annotations

from affineur.artifact.formats.core.graph import GraphFormat


class Onnx(GraphFormat):
    """``model.onnx``, with the constants beside it where one file cannot hold them."""

    kind = "onnx"
    summary = "an ONNX graph"
    library = "onnxruntime"
    files = ("model.onnx", "model.onnx.data")


FORMAT = Onnx()
