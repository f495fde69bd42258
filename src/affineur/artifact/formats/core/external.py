"""Files that an ONNX graph keeps constants in, as the graph itself names them; no weight is read.

A graph is a message of protocol buffers (https://protobuf.dev/programming-guides/encoding/), whose fields
onnx.proto numbers. Only those on the way to a tensor are looked into, all others are stepped over, so that no
library is needed, and of a graph with its weights inside only some thousand bytes are touched.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from affineur.errors import ModelError, brief

# What holds tensors, and in which fields: onnx.proto of ONNX 1.21, stable since 1.0.
_TENSOR = "tensor"
_WITHIN = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # of a tensor
_KEY, _VALUE = 1, 2  # of an entry of external_data
_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}  # bytes, by type on the wire
#: Fields of a graph; one of a hundred layers has some hundred thousand.
_MOST = 5_000_000


def external_files(graph: Path) -> list[Path]:
    """List the files beside a graph in which it keeps constants, by name; they may be missing.

    A graph that is damaged names none from there on; its engine says so when it is loaded.

    Args:
        graph: The graph.

    Raises:
        ModelError: If one lies in another folder.
    """
    state = graph.stat()
    names = _named(os.fspath(graph.absolute()), state.st_size, state.st_mtime_ns, state.st_ino)
    for name in names:
        if not name or name in (".", "..") or set(name) & set("/\\:\0"):
            raise ModelError(f"{graph} keeps weights in {brief(name)}, expected a file beside it")
    return [graph.parent / name for name in names]


@lru_cache(maxsize=64)
def _named(path: str, *_state: int) -> tuple[str, ...]:
    """Read the names once, as long as the graph does not change."""
    with open(path, "rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return ()
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found: set[str] = set()
            with suppress(ValueError, IndexError):
                found.update(_locations(data))
    return tuple(sorted(found))


def _locations(data: mmap.mmap) -> Iterator[str]:
    waiting, seen = [("model", 0, len(data))], 0
    while waiting:
        kind, start, end = waiting.pop()
        if kind == _TENSOR:
            yield from _of_tensor(data, start, end)
            continue
        within = _WITHIN[kind]
        for number, wire, begin, stop in fields(data, start, end):
            seen += 1
            if seen > _MOST:
                raise ModelError(f"an ONNX graph of more than {_MOST:,} parts is not read")
            if wire == _LENGTH and number in within:
                waiting.append((within[number], begin, stop))


def _of_tensor(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    location, said = "", 0
    for number, wire, begin, stop in fields(data, start, end):
        if number == _DATA_LOCATION and wire == _VARINT:
            said, _ = varint(data, begin)
        elif number == _EXTERNAL_DATA and wire == _LENGTH:
            entry = {field: data[at:to] for field, _, at, to in fields(data, begin, stop)}
            if entry.get(_KEY) == b"location":
                location = entry.get(_VALUE, b"").decode("utf-8", "replace")
    if said == _EXTERNAL:
        yield location


def fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Take a message apart.

    Args:
        data: The file.
        at: Where the message begins.
        end: Where it ends.

    Yields:
        Number, type on the wire, begin and end of each field.

    Raises:
        ValueError: If it is none.
    """
    while at < end:
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, stop = varint(data, at)
        elif wire == _LENGTH:
            length, at = varint(data, at)
            stop = at + length
        elif wire in _FIXED:
            stop = at + _FIXED[wire]
        else:
            raise ValueError(f"type {wire} on the wire")
        if stop > end:
            raise ValueError("a field ends after its message")
        yield number, wire, at, stop
        at = stop


def varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Read a number of variable length.

    Returns:
        The number, and where it ends.

    Raises:
        ValueError: If it does not end.
    """
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number of more than ten bytes")
