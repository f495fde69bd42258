"""Files of words and tags: CoNLL columns and WikiNER's ``word|POS|tag`` lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from affineur.entities.corpus import Corpus
from affineur.entities.mentions import MOST_WORDS, Sentence
from affineur.entities.schemes import Scheme, split_tag
from affineur.errors import DataError

#: Bytes of a line that is read: all words of the longest sentence, with their tags, in JSON.
LONGEST_LINE = 1 << 23
_BLANK = " \t\r\n"
_COLUMNS = re.compile(r"[ \t]+")


def open_corpus(
    path: Path | str, word_column: int = 0, tag_column: int = -1, scheme: Scheme | None = None
) -> Corpus:
    """Open a CoNLL or WikiNER file; which of the two it is shows in its first line.

    Args:
        path: The file, UTF-8.
        word_column: Column of the word, from 0; negative counts from the right.
        tag_column: Column of the tag.
        scheme: The tagging scheme, or ``None`` to recognize it. WikiNER lines are IOB1 (Nothman et al. 2013).

    Raises:
        DataError: If the file is missing, empty, not UTF-8, not of this format, or breaks its scheme.
    """
    path = Path(path)
    if is_wikiner(_first_line(path)):
        return open_wikiner(path, scheme)
    return open_columns(path, word_column, tag_column, scheme)


def open_columns(
    path: Path, word_column: int = 0, tag_column: int = -1, scheme: Scheme | None = None
) -> Corpus:
    """Open a file of columns; see :func:`open_corpus`."""
    _first_line(path)
    return Corpus.scan(str(path), lambda: read_lines(path, word_column, tag_column), scheme)


def open_wikiner(path: Path, scheme: Scheme | None = None) -> Corpus:
    """Open a file of WikiNER's lines; see :func:`open_corpus`."""
    _first_line(path)
    return Corpus.scan(str(path), lambda: _read_wikiner(path), scheme or Scheme.IOB1)


def _first_line(path: Path) -> str:
    """Return the first line with something in it.

    Raises:
        DataError: If there is none, or the file cannot be read.
    """
    if path.is_dir():
        raise DataError("this is a folder, expected a file of words and tags", path)
    if not path.is_file():
        raise DataError("no such file", path)
    first = next((line for _, line in numbered_lines(path) if line.strip(_BLANK)), None)
    if first is None:
        raise DataError("the file is empty, expected a word and its tag on each line", path)
    return first


def read_lines(path: Path, word_column: int = 0, tag_column: int = -1) -> Iterator[Sentence]:
    """Read the sentences of a CoNLL file, one at a time.

    Columns are separated by tabs, or by spaces where a line has no tab. ``-DOCSTART-`` lines start a
    document.

    Raises:
        DataError: At the first line that is not of this form.
    """
    words: list[str] = []
    tags: list[str] = []
    document: int | None = None
    first_line = 0
    for number, line in numbered_lines(path):
        starts_document = line.startswith("-DOCSTART-")
        if starts_document or not line.strip(_BLANK):
            if words:
                yield Sentence(tuple(words), tuple(tags), document, first_line)
                words, tags = [], []
            if starts_document:
                document = 0 if document is None else document + 1
            continue
        word, tag = _columns(line, word_column, tag_column, path, number)
        if not words:
            first_line = number
        refuse_too_long(len(words) + 1, path, first_line)
        words.append(word)
        tags.append(tag)
    if words:
        yield Sentence(tuple(words), tuple(tags), document, first_line)


def write_conll(sentences: Iterable[tuple[Iterable[str], Iterable[str]]], path: Path) -> None:
    """Write ``(words, tags)`` pairs as two tab-separated columns, a blank line after each sentence."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for words, tags in sentences:
            file.writelines(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
            file.write("\n")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines. Only a line feed ends a line: U+2028 may stand inside a word."""
    try:
        with path.open("rb") as file:
            # Decoded line by line: a text file decodes ahead, and could not tell which line is wrong.
            for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), b""), start=1):
                if len(line) > LONGEST_LINE:
                    raise DataError(
                        f"the line has more than {LONGEST_LINE:,} bytes; expected one text or sentence in"
                        " each line, or one word with its tag",
                        path,
                        number,
                    )
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


def _columns(line: str, word_column: int, tag_column: int, path: Path, number: int) -> tuple[str, str]:
    stripped = line.rstrip("\r\n")
    # A tab file may have words with spaces; an empty first column must stay an empty column to be noticed.
    cells = stripped.rstrip("\t ").split("\t") if "\t" in stripped else _COLUMNS.split(stripped.strip(_BLANK))
    looks_csv = "; this looks like CSV, which is not read" if "," in stripped or ";" in stripped else ""
    shown = stripped if len(stripped) <= 60 else stripped[:59] + "…"
    if len(cells) < 2:
        raise DataError(
            f"found one column ('{shown}'), expected a word and a tag separated by a tab or spaces"
            f"{looks_csv}",
            path,
            number,
        )
    try:
        word, tag = cells[word_column], cells[tag_column].strip(_BLANK)
    except IndexError:
        raise DataError(
            f"found {len(cells)} columns, expected columns {word_column} (word) and {tag_column} (tag)",
            path,
            number,
        ) from None
    if not word:
        raise DataError(f"the word is empty ('{shown}')", path, number)
    try:
        split_tag(tag)
    except ValueError as error:
        raise DataError(f"{error}{looks_csv}", path, number) from None
    return word, tag


def is_wikiner(line: str) -> bool:
    """Say whether a line is one of WikiNER's: each of its words has two bars."""
    return "\t" not in line and all(cell.count("|") >= 2 for cell in line.strip(_BLANK).split(" ") if cell)


def _read_wikiner(path: Path) -> Iterator[Sentence]:
    for number, line in numbered_lines(path):
        if not (text := line.strip(_BLANK)):
            continue
        cells = [cell.rsplit("|", 2) for cell in text.split(" ") if cell]
        refuse_too_long(len(cells), path, number)
        for cell in cells:
            try:
                if len(cell) != 3:
                    raise ValueError(f"found '{'|'.join(cell)}', expected word|POS|tag")
                split_tag(cell[2])
            except ValueError as error:
                raise DataError(str(error), path, number) from None
        yield Sentence(tuple(cell[0] for cell in cells), tuple(cell[2] for cell in cells), None, None)
