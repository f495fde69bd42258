"""Lines of text files, numbered and decoded, within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from affineur.entities.mentions import MOST_WORDS
from affineur.errors import DataError

#: Bytes of a line that is read: all words of the longest sentence, with their tags, in JSON.
LONGEST_LINE = 1 << 23
_BLOCK = 1 << 16


def blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read the lines of a file of words and tags, many at a time, without their ends.

    Lines end with a line feed (Unix), both (Windows) or a carriage return alone (Mac OS 9); U+2028 and the
    like may stand inside a word. A byte order mark at the beginning is no part of the text.

    Args:
        path: The file, UTF-8.

    Returns:
        The number of the first line of a block, from 1, and the lines.

    Raises:
        DataError: If a line is not UTF-8, has a NUL character, or is longer than any.
    """
    number, rest = 1, b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_BLOCK):
                data = rest + chunk
                if data.endswith(b"\r"):  # a line feed may follow
                    data += file.read(1)
                end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
                rest = data[end:]
                if len(rest) > LONGEST_LINE:
                    raise _too_long_line(path, number + data.count(b"\n", 0, end))
                if end:
                    lines = _lines(data[:end], path, number)
                    yield number, lines
                    number += len(lines)
        if rest:
            yield number, _lines(rest, path, number)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from None


def _lines(data: bytes, path: Path, number: int) -> list[str]:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = decoded(data, path, number)
    if number == 1:
        text = text.removeprefix("\ufeff")
    refuse_nul(text, path, number)
    return text.removesuffix("\n").split("\n")


def _too_long_line(path: Path, number: int) -> DataError:
    return DataError(
        f"the line has more than {LONGEST_LINE:,} bytes; expected one text or sentence in each line, or one"
        " word with its tag",
        path,
        number,
    )


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines. Only a line feed ends a line: U+2028 may stand inside a word."""
    try:
        with path.open("rb") as file:
            # Decoded line by line: a text file decodes ahead, and could not tell which line is wrong.
            for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), b""), start=1):
                if len(line) > LONGEST_LINE:
                    raise _too_long_line(path, number)
                yield number, decoded(line, path, number).removeprefix("\ufeff" if number == 1 else "")
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from None


def decoded(data: bytes, path: Path | str, line: int = 1) -> str:
    """Read bytes as UTF-8, whatever the locale says.

    Args:
        data: One line or several.
        path: Where they come from.
        line: The number of their first line.

    Raises:
        DataError: If they are not UTF-8, with their line.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise DataError(
            f"not UTF-8 ({error.reason}); convert it first, e.g. with iconv -f latin1 -t utf-8", path, line
        ) from None


def refuse_nul(text: str, path: Path | str, line: int = 1) -> None:
    """Refuse raw text with a NUL character: it is another encoding, or no text.

    Args:
        text: One line or several.
        path: Where they come from.
        line: The number of their first line.

    Raises:
        DataError: If there is one, with its line.
    """
    if "\0" in text:
        raise DataError(
            "a NUL character, expected text in UTF-8; is it UTF-16? iconv -f utf-16 -t utf-8 converts it",
            path,
            line + text.count("\n", 0, text.index("\0")),
        )


def refuse_too_long(words: int, path: Path, line: int) -> None:
    """Refuse a sentence of more words than any has.

    Args:
        words: How many it has.
        path: The file it stands in.
        line: The line it begins on, or its row.

    Raises:
        DataError: If they are more than :data:`~affineur.entities.mentions.MOST_WORDS`.
    """
    if words > MOST_WORDS:
        raise DataError(
            f"a sentence of more than {MOST_WORDS:,} words begins here; divide it, in CoNLL by blank lines",
            path,
            line,
        )
