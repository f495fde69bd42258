"""How many numbers an ONNX graph says it gives for each piece; read without a library."""

from __future__ import annotations

import mmap
from contextlib import suppress
from pathlib import Path

from affineur.artifact.formats.core.external import fields, varint

# Fields of onnx.proto, ONNX 1.21, stable since 1.0.
_GRAPH, _OUTPUT, _NAME, _TYPE = 7, 12, 1, 2  # of a model, a graph, and a value (both last)
_TO_DIMENSIONS = (_TYPE, 1, 2)  # value → type → tensor → shape
_DIMENSION, _VALUE = 1, 1


def output_width(graph: Path) -> int | None:
    """Return the last dimension of ``logits``, or of the first output; ``None`` where it is not said.

    Args:
        graph: The graph; of a damaged one nothing is known, and its engine says so.
    """
    if not graph.stat().st_size:
        return None
    widths: dict[str, int | None] = {}
    with (
        graph.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
        suppress(ValueError, IndexError),
    ):
        for inside in _parts(data, (0, len(data)), _GRAPH):
            for value in _parts(data, inside, _OUTPUT):
                names = [data[a:b].decode("utf-8", "replace") for a, b in _parts(data, value, _NAME)]
                widths[names[0] if names else ""] = _last(data, value)
    return widths.get("logits", next(iter(widths.values()), None))


def _last(data: mmap.mmap, value: tuple[int, int]) -> int | None:
    spans = [value]
    for number in _TO_DIMENSIONS:
        spans = [part for span in spans for part in _parts(data, span, number)]
    dimensions = [part for span in spans for part in _parts(data, span, _DIMENSION)]
    if not dimensions:
        return None
    inside = fields(data, *dimensions[-1])
    said = [varint(data, at)[0] for number, wire, at, _ in inside if (number, wire) == (_VALUE, 0)]
    return said[0] if said else None


def _parts(data: mmap.mmap, span: tuple[int, int], wanted: int) -> list[tuple[int, int]]:
    """List the messages of one number within another."""
    return [(at, end) for number, wire, at, end in fields(data, *span) if number == wanted and wire == 2]
