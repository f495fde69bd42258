"""The longest entry of a Parquet column's dictionary, before anything of the column is read.

A column may hold a long text once, in its dictionary, and say a million times that it stands here: a reader
that builds these rows takes gigabytes for some kilobytes. What can be read together is known from the
dictionary's page, the first of a column's pages
(https://parquet.apache.org/docs/file-format/data-pages/encodings/).
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from affineur.transfer.hub import need

_DICTIONARY_PAGE = 2
_MOST = 1 << 26  # bytes of a dictionary; writers begin another encoding after one megabyte
_HEADER = 1 << 12  # bytes a page's header has at most here: it holds some numbers
# Types of Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _I64, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 6, 7, 8, 12


def longest_entry(file: BinaryIO, column: Any) -> int:
    """Return the bytes of the longest entry in a column chunk's dictionary, 0 where it has none.

    Args:
        file: The Parquet file.
        column: ``pyarrow.parquet.ColumnChunkMetaData`` of a column of text.

    Raises:
        ValueError: If the page is damaged, or is larger than any dictionary.
    """
    starts = [place for place in (column.dictionary_page_offset, column.data_page_offset) if place]
    file.seek(min(starts, default=0))
    data = file.read(_HEADER)
    try:
        fields, length = _struct(data, 0)
    except IndexError:
        raise ValueError("a page without a header") from None
    if fields.get(1) != _DICTIONARY_PAGE:
        return 0
    size, stored = int(fields.get(2, 0)), int(fields.get(3, 0))
    if not 0 <= size <= _MOST or not 0 <= stored <= _MOST:
        raise ValueError(f"a dictionary of {max(size, stored):,} bytes, expected at most {_MOST:,}")
    file.seek(min(starts) + length)
    page = file.read(stored)
    if column.compression != "UNCOMPRESSED":
        arrow = need("pyarrow", "reading data sets")
        codec = {"LZ4": "lz4_raw"}.get(column.compression, column.compression.lower())
        page = arrow.decompress(page, decompressed_size=size, codec=codec, asbytes=True)
    longest = place = 0
    while place + 4 <= len(page):
        (entry,) = struct.unpack_from("<I", page, place)
        longest = max(longest, entry)
        place += 4 + entry
    return longest


def _struct(data: bytes, place: int) -> tuple[dict[int, Any], int]:
    """Read a struct of Thrift's compact protocol: its numbers by field, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[place] & 15:
        step, place = data[place] >> 4, place + 1
        if step:
            number += step
        else:
            number, place = _number(data, place)
        if kind in (_TRUE, _FALSE):
            continue
        if kind == _BYTE:
            place += 1
        elif kind <= _I64:
            fields[number], place = _number(data, place)
        elif kind == _DOUBLE:
            place += 8
        elif kind == _BINARY:
            length, place = _varint(data, place)
            place += length
        elif kind == _STRUCT:
            fields[number], place = _struct(data, place)
        else:
            raise ValueError("a page's header holds what none does")
    return fields, place + 1


def _number(data: bytes, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while data[place] & 128:
        value |= (data[place] & 127) << shift
        shift += 7
        place += 1
    return value | data[place] << shift, place + 1
