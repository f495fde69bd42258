"""Records of JSON files: an object on each line, or one array of objects, read one after the other."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from affineur.artifact.reading import WRONG, parse_json
from affineur.entities import LONGEST_LINE, decoded, numbered_lines
from affineur.errors import DataError, one_line

_CHUNK = 1 << 16
_BLANK = " \t\r\n"


def json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the objects of JSON lines, of a JSON array, or a document that is one object.

    Memory holds one of them at a time, whatever the size of the file.

    Args:
        path: The file, UTF-8.

    Returns:
        Each object with its number from 1: its line in JSON lines, its place in an array.

    Raises:
        DataError: If the file is no such JSON, with the row.
    """
    first = next((line for _, line in numbered_lines(path) if line.strip(_BLANK)), "")
    start = first.strip(_BLANK)
    if start.startswith("["):
        found: Iterator[tuple[int, Any]] = _array(path)
    elif start.startswith("{") and not _is_json(start):  # its lines are no objects of their own
        found = _document(path)
    else:
        found = _lines(path)
    for number, value in found:
        if not isinstance(value, dict):
            raise DataError(
                f"row {number}: found a {type(value).__name__}, expected a JSON object on each line, or an"
                " array of them",
                path,
                number,
            )
        yield number, value


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in numbered_lines(path):
        if not line.strip(_BLANK):
            continue
        try:
            yield number, parse_json(line)
        except ValueError as error:
            raise DataError(
                f"row {number}: not JSON ({one_line(error)}); expected a JSON object on each line, or an"
                " array of them",
                path,
                number,
            ) from None


def _document(path: Path) -> Iterator[tuple[int, Any]]:
    data = b"".join(_chunks(path, 8 * LONGEST_LINE))
    try:
        yield 1, parse_json(decoded(data, path).removeprefix("\ufeff"))
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise DataError(
            f"not JSON ({one_line(error)}); expected a JSON object on each line, or an array of them",
            path,
            line,
        ) from None


def _array(path: Path) -> Iterator[tuple[int, Any]]:
    """Read the elements of an array, each as soon as it is whole."""
    chunks = _chunks(path)
    decode = codecs.getincrementaldecoder("utf-8")().decode
    buffer, place, number, ended, opened = "", 0, 0, False, False
    wanted = 0  # characters worth trying again with: twice what was too few
    while True:
        try:
            if not ended and len(buffer) - place <= wanted:
                data = next(chunks, b"")
                ended = not data
                buffer, place = buffer[place:] + decode(data, final=ended), 0
                continue
        except UnicodeDecodeError as error:
            raise DataError(
                f"row {number + 1}: not UTF-8 ({error.reason}); convert it first, e.g. with iconv"
                " -f latin1 -t utf-8",
                path,
                number + 1,
            ) from None
        while place < len(buffer) and buffer[place] in (_BLANK + "\ufeff"):
            place += 1
        mark = buffer[place : place + 1]
        if not mark and not ended:
            wanted = 0
            continue
        if not opened:
            place, opened = place + 1, True  # the bracket that was seen
            continue
        if mark == "]":
            rest = buffer[place + 1 :].strip(_BLANK)
            if rest or any(data.strip() for data in chunks):
                raise _broken(path, number + 1, "something follows the array")
            return
        try:
            if number and mark != ",":
                raise ValueError("expected a comma or the end of the array")
            start = place
            if number:
                start += 1
                while start < len(buffer) and buffer[start] in _BLANK:
                    start += 1
            value, end = json.JSONDecoder().raw_decode(buffer, start)
            if end == len(buffer) and not ended:
                raise ValueError("it may go on")
            text = buffer[start:end]
            value = parse_json(text)
        except WRONG as error:
            if ended or len(buffer) - place > LONGEST_LINE:
                raise _broken(path, number + 1, one_line(error)) from None
            wanted = 2 * (len(buffer) - place)
            continue
        place, wanted = end, 0
        number += 1
        yield number, value


def _broken(path: Path, row: int, why: str) -> DataError:
    return DataError(
        f"row {row}: not JSON ({why}); expected an array of objects, or a JSON object on each line", path, row
    )


def _chunks(path: Path, most: int | None = None) -> Iterator[bytes]:
    held = 0
    try:
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                held += len(data)
                if most is not None and held > most:
                    raise DataError(
                        f"one JSON object of more than {most:,} bytes; expected one on each line", path
                    )
                yield data
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from None
