"""ONNX graphs as bytes and files, in full precision or not."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto

from affineur.artifact.tensors import ONNX
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


def save_graph(graph: ModelProto, place: Path) -> None:
    """Write ``model.onnx``; constants go into a file beside it only where protobuf could not carry them."""
    if sum(len(t.raw_data) for t in graph.graph.initializer) < _INLINE_BYTES:
        (place / ONNX).write_bytes(graph_bytes(graph))
    else:
        onnx.save(graph, place / ONNX, save_as_external_data=True, location=f"{ONNX}.data")
