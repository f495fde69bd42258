"""Packed folders: what makes the weights of one file packed or dense again.

Nothing but numpy, a tensor at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from affineur.artifact.folder import ModelFolder
from affineur.artifact.packed import FORMAT, PACKED, WIDTHS, Layout, check_mask, pack_into, unpack
from affineur.artifact.tensors import Tensor, read_header
from affineur.errors import ModelError

_PIECE = 1 << 24  # bytes copied together


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor to be written: what the header says of it, and what writes its bytes."""

    source: Tensor
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    write: Callable[[BinaryIO], None]


def pack_weights(folder: ModelFolder, target: Path) -> int:
    """Write the weights of a dense folder packed, into one safetensors file.

    A matrix whose name ends in ``.weight`` is packed where that is smaller; everything else stays as it is.

    Args:
        folder: The dense folder.
        target: The file to write.

    Returns:
        How many tensors are packed.
    """
    found, metadata = _listed(folder)
    entries = [_packed(tensor) for tensor in found]
    _write(target, entries, metadata)
    return sum(entry.size_bytes != entry.source.size_bytes for entry in entries)


def unpack_weights(folder: ModelFolder, target: Path) -> None:
    """Write the weights of a packed folder dense again.

    The file they were packed from, byte for byte, if it was one.

    Args:
        folder: The packed folder.
        target: The file to write.

    Raises:
        ModelError: If a packed tensor is damaged.
    """
    found, metadata = _listed(folder)
    _write(target, [_dense(tensor) for tensor in found], metadata)


def quantization_config(tensors: int) -> dict[str, Any]:
    """Return what ``config.json`` says of a folder in which so many tensors are packed."""
    return {"quant_method": PACKED, "format": FORMAT, "tensors": tensors}


def check_packed(files: Sequence[Path], expected: int) -> list[Tensor]:
    """Check that safetensors files hold the packed tensors they should, each of them whole.

    Args:
        files: The weights.
        expected: Number of packed tensors.

    Returns:
        All tensors, packed or not.

    Raises:
        ModelError: If there are more or fewer, or one is damaged.
    """
    found = [tensor for file in files for tensor in read_header(file)[0]]
    packed = [tensor for tensor in found if tensor.packed]
    if len(packed) != expected:
        where = files[0] if files else "the folder"
        raise ModelError(
            f"{where} has {len(packed)} packed tensors, but config.json beside it says {expected}; "
            "these files do not belong together: fetch or pack the model again"
        )
    for tensor in packed:
        assert tensor.packed
        check_mask(tensor.raw(), tensor.packed, f"{tensor.file}: {tensor.name}")
    return found


def _listed(folder: ModelFolder) -> tuple[list[Tensor], dict[str, str] | None]:
    """List the tensors of all files in the order to write them, and the metadata of the first."""
    headers = [read_header(file) for file in folder.weight_files()]
    found = [tensor for tensors, _ in headers for tensor in tensors]
    if len(headers) > 1:  # as safetensors sorts them, so that each is aligned
        found.sort(key=lambda t: (-WIDTHS.get(t.dtype, 1), t.name))
    return found, headers[0][1]


def _packed(tensor: Tensor) -> _Entry:
    if (
        tensor.dtype in WIDTHS
        and len(tensor.shape) > 1
        and tensor.name.endswith(".weight")
        and tensor.elements
    ):
        dense = tensor.raw().view(f"<u{WIDTHS[tensor.dtype]}")
        layout = Layout(tensor.dtype, tensor.shape, int(np.count_nonzero(dense)))
        if layout.pays():
            return _Entry(
                tensor,
                "U8",
                (layout.size_bytes,),
                layout.size_bytes,
                lambda stream: pack_into(stream, dense, layout),
            )
    return _as_it_is(tensor)


def _dense(tensor: Tensor) -> _Entry:
    layout = tensor.packed
    if layout is None:
        return _as_it_is(tensor)

    def write(stream: BinaryIO) -> None:
        check_mask(tensor.raw(), layout, f"{tensor.file}: {tensor.name}")
        stream.write(unpack(tensor.raw(), layout).data)

    return _Entry(tensor, layout.dtype, layout.shape, layout.dense_bytes, write)


def _as_it_is(tensor: Tensor) -> _Entry:
    def write(stream: BinaryIO) -> None:
        with tensor.file.open("rb") as source:
            source.seek(tensor.offset)
            for at in range(0, tensor.size_bytes, _PIECE):
                stream.write(source.read(min(_PIECE, tensor.size_bytes - at)))

    return _Entry(tensor, tensor.dtype, tensor.shape, tensor.size_bytes, write)


def _write(target: Path, entries: Sequence[_Entry], metadata: Mapping[str, str] | None) -> None:
    """Write a safetensors file: header and bytes in the order of the source.

    Formatted as safetensors does it.
    """
    one_file = len({e.source.file for e in entries}) == 1
    in_place = sorted(entries, key=lambda e: e.source.offset) if one_file else list(entries)
    offsets, end = {}, 0
    for entry in in_place:
        offsets[entry.source.name] = [end, end + entry.size_bytes]
        end += entry.size_bytes
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    header |= {
        e.source.name: {"dtype": e.dtype, "shape": list(e.shape), "data_offsets": offsets[e.source.name]}
        for e in entries
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with target.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        for entry in in_place:
            entry.write(stream)
