"""The packed layout of one tensor: a bitmask of what is not zero, then those values.

See ``docs/packed-format.md``.

Values are compared and kept as raw bits: only a value whose bits are all zero is left out, so −0.0, denormals
and NaN payloads survive in every dtype.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from affineur.errors import ModelError

FORMAT = 1
#: ``quant_method`` of packed folders in ``config.json``.
PACKED = "affineur_packed"
MAGIC = b"AFPACK"
#: safetensors dtype → bytes of an element; tensors of other dtypes stay dense.
WIDTHS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 1),
}
_DIMENSIONS = 16  # far more than any tensor has
_HEAD = struct.Struct("<6sH8sQQ")  # magic, version, dtype, dimensions, values; then the shape
#: Elements handled together: they and what is made of them stay in the processor's cache; a multiple of 8.
_CHUNK = 1 << 18
#: Bits set in each byte.
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the pieces of one packed tensor lie, in bytes from its start.

    Args:
        dtype: Of the dense tensor, as safetensors names it.
        shape: Of the dense tensor.
        values: Number of values kept.
    """

    dtype: str
    shape: tuple[int, ...]
    values: int

    @property
    def elements(self) -> int:
        """Number of elements of the dense tensor."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Bytes of an element."""
        return WIDTHS[self.dtype]

    @property
    def dense_bytes(self) -> int:
        """Bytes of the dense tensor."""
        return self.elements * self.width

    @property
    def mask_at(self) -> int:
        """Where the bitmask begins."""
        return _HEAD.size + 8 * len(self.shape)

    @property
    def values_at(self) -> int:
        """Where the values begin."""
        return self.mask_at + _padded(-(-self.elements // 8))

    @property
    def size_bytes(self) -> int:
        """Bytes of the packed tensor, a multiple of 8, so that what follows it in the file stays aligned."""
        return self.values_at + _padded(self.values * self.width)

    def pays(self) -> bool:
        """Say whether packed is smaller than dense."""
        return self.size_bytes < self.dense_bytes

    @property
    def bits(self) -> np.dtype[np.unsignedinteger]:
        """Unsigned integer of the dtype's width."""
        return np.dtype(f"<u{self.width}")

    def head(self) -> bytes:
        """Return the bytes before the bitmask."""
        return _HEAD.pack(MAGIC, FORMAT, self.dtype.encode(), len(self.shape), self.values) + struct.pack(
            f"<{len(self.shape)}Q", *self.shape
        )


def read_format(written: Mapping[str, Any]) -> int:
    """Read a ``quantization_config`` of ours: the number of packed tensors.

    Raises:
        ModelError: If the version is not known, or the number is missing.
    """
    if written.get("format") != FORMAT:
        raise ModelError(
            f"config.json names packed format {written.get('format')}, this Affineur reads {FORMAT}; "
            "upgrade it: pip install -U affineur"
        )
    if not isinstance(written.get("tensors"), int):
        raise ModelError(
            "config.json does not say in quantization_config how many tensors are packed; "
            "fetch or pack the model again"
        )
    return int(written["tensors"])


def is_packed(start: bytes) -> bool:
    """Say whether a tensor is packed by its first bytes.

    Only tensors of bytes (``U8``) with one dimension are asked.
    """
    return start.startswith(MAGIC)


def read_layout(raw: NDArray[np.uint8], where: str) -> Layout:
    """Read the layout of a packed tensor and check that its length is right.

    Args:
        raw: The packed tensor, shape ``(bytes,)``.
        where: File and tensor, for messages.

    Raises:
        ModelError: If the version is not known, or the tensor is not what its first bytes say.
    """
    if len(raw) < _HEAD.size:
        raise ModelError(
            f"{where}: a packed tensor has at least {_HEAD.size} bytes, found {len(raw)}; "
            "fetch or pack it again"
        )
    _, version, name, dimensions, values = _HEAD.unpack(raw[: _HEAD.size].tobytes())
    if version != FORMAT:
        raise ModelError(
            f"{where} has packed format {version}, this Affineur reads {FORMAT}; "
            "upgrade it: pip install -U affineur"
        )
    dtype = name.rstrip(b"\0").decode("latin-1")
    if dtype not in WIDTHS or not 1 < dimensions <= _DIMENSIONS or _HEAD.size + 8 * dimensions > len(raw):
        raise ModelError(
            f"{where} is damaged (dtype {dtype!r}, {dimensions} dimensions); fetch or pack it again"
        )
    layout = Layout(
        dtype,
        struct.unpack(f"<{dimensions}Q", raw[_HEAD.size : _HEAD.size + 8 * dimensions].tobytes()),
        values,
    )
    if layout.size_bytes != len(raw) or values > layout.elements:
        raise ModelError(
            f"{where} is damaged: {values} values of shape {list(layout.shape)} take "
            f"{layout.size_bytes} bytes, found {len(raw)}; fetch or pack it again"
        )
    return layout


def pack_into(stream: BinaryIO, dense: NDArray[np.unsignedinteger], layout: Layout) -> None:
    """Write a tensor packed, reading it twice, a few hundred kilobytes at a time.

    Args:
        stream: Where to write ``layout.size_bytes`` bytes.
        dense: Bits of the tensor, shape ``(elements,)``, dtype ``layout.bits``.
        layout: Its layout.
    """
    chunks = range(0, len(dense), _CHUNK)
    stream.write(layout.head())
    for i in chunks:
        stream.write(np.packbits(dense[i : i + _CHUNK] != 0, bitorder="little").data)
    stream.write(bytes(layout.values_at - layout.mask_at - -(-layout.elements // 8)))
    for i in chunks:
        part = dense[i : i + _CHUNK]
        stream.write(part[part != 0].data)
    stream.write(bytes(layout.size_bytes - layout.values_at - layout.values * layout.width))


def check_mask(raw: NDArray[np.uint8], layout: Layout, where: str) -> None:
    """Check that the bitmask names as many values as there are.

    Raises:
        ModelError: If it does not.
    """
    mask = raw[layout.mask_at : layout.mask_at + -(-layout.elements // 8)]
    found = sum(int(_ONES[mask[i : i + _CHUNK]].sum(dtype=np.int64)) for i in range(0, len(mask), _CHUNK))
    if layout.elements % 8:  # a one past the last element stands for none
        found -= int(_ONES[mask[-1] >> (layout.elements % 8)])
    if found != layout.values:
        raise ModelError(
            f"{where} is damaged: its mask names {found} values, found {layout.values}; "
            "fetch or pack it again"
        )


def unpack(raw: NDArray[np.uint8], layout: Layout) -> NDArray[np.unsignedinteger]:
    """Return the bits of the dense tensor.

    Each element takes the value that the running count of ones names, the first being 1, times its own bit of
    the mask: no branch, which a mask without pattern would mispredict every other time.

    Args:
        raw: The packed tensor, shape ``(bytes,)``, which has passed :func:`check_mask`.
        layout: Its layout.

    Returns:
        Shape ``(elements,)``, dtype ``layout.bits``.
    """
    mask = raw[layout.mask_at : layout.values_at]
    # One more before the first, which is whatever ends the mask: where the count is 0, so is the bit it is
    # multiplied by.
    values = raw[layout.values_at - layout.width : layout.values_at + layout.values * layout.width].view(
        layout.bits
    )
    dense = np.empty(layout.elements, layout.bits)
    # used again and again: new memory costs more than the sums
    places = np.empty(min(_CHUNK, layout.elements), np.int32)
    taken = 0
    for i in range(0, layout.elements, _CHUNK):
        part = dense[i : i + _CHUNK]
        ones = np.unpackbits(mask[i // 8 : (i + _CHUNK) // 8], count=len(part), bitorder="little")
        place = np.cumsum(ones, dtype=np.int32, out=places[: len(part)])
        # never wraps, but "raise" would copy ``out``, and "clip" is slower
        np.take(values[taken:], place, out=part, mode="wrap")
        part *= ones
        taken += int(place[-1])
    return dense


def _padded(size: int) -> int:
    return -(-size // 8) * 8
