"""Writing ONNX graphs to files; needs the package ``onnx``, which only exporting does."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from affineur.errors import ModelError, one_line

_INLINE_BYTES = 1_900_000_000  # protobuf ends at two gigabytes


def graph_bytes(graph: ModelProto) -> bytes:
    """Serialize a graph.

    Raises:
        ModelError: If it is larger than protobuf can carry.
    """
    try:
        return bytes(graph.SerializeToString())
    except ValueError as error:
        raise ModelError(f"the graph is too large for one ONNX file ({one_line(error)})") from None


def save_graph(graph: ModelProto, file: Path) -> None:
    """Write a graph; constants go into a file beside it only where protobuf could not carry them."""
    if sum(len(t.raw_data) for t in graph.graph.initializer) < _INLINE_BYTES:
        file.write_bytes(graph_bytes(graph))
    else:
        onnx.save(graph, file, save_as_external_data=True, location=f"{file.name}.data")
