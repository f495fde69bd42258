"""Comma-separated values: a word and its tag in each row, or a sentence and its tags."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from affineur.artifact.reading import WRONG, parse_json
from affineur.entities import (
    Column,
    Corpus,
    Sentence,
    column_by_name,
    find_columns,
    is_heading,
    is_plain,
    numbered_rows,
    refuse_too_long,
)
from affineur.errors import DataError, one_line
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.options import DataOptions

_SEPARATORS = ",;|\t"
_SENTENCE_NAMES = ("sentence", "sentenceid", "sentid", "sentno", "sentence#", "phrase", "idphrase")
_LONG = 500  # words of a sentence that is none


class Csv(DataFormat):
    """Rows of cells, quoted or not, with a heading or without."""

    summary: ClassVar = (
        "a word and its tag in each row, or a sentence and its tags, with commas or semicolons"
    )
    suffixes: ClassVar = (".csv",)

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first rows have as many cells each, and a heading or tags among them."""
        return not head.is_json and _dialect(head.lines[:200], strict=True) is not None

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file of rows."""
        head = Head.of(path)
        if not head.lines:
            raise DataError("the file is empty, expected a word and its tag in each row", path)
        told = any(isinstance(column, str) for column in options.columns)
        dialect = _dialect(head.lines[:200], strict=False, heading=told)
        if dialect is None:
            raise DataError(
                f"found no cells in '{head.lines[0][:60]}', expected words and tags separated by , or ;",
                path,
                1,
            )
        layout = _layout(dialect, options.columns, path)
        corpus = Corpus.scan(str(path), lambda: _sentences(path, layout), options.scheme, options.tag_names)
        notes = list(corpus.notes)
        if corpus.sentences == 1 and corpus.words > _LONG:
            notes.append(
                f"all {corpus.words:,} words are one sentence: there is no blank row, and no column that"
                " numbers sentences"
            )
        return replace(corpus, notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class _Dialect:
    separator: str
    rows: Sequence[Sequence[str]]
    heading: bool


@dataclass(frozen=True, slots=True)
class _Layout:
    separator: str
    columns: int
    word: int
    tag: int
    sentence: int | None
    heading: bool


def _dialect(lines: Sequence[str], *, strict: bool, heading: bool = False) -> _Dialect | None:
    """Find what separates the cells of the first rows."""
    best: _Dialect | None = None
    for separator in _SEPARATORS:
        try:
            rows = [row for row in csv.reader(lines, delimiter=separator, strict=True) if any(row)]
        except csv.Error:
            try:  # the first lines may end within a quoted cell
                rows = [row for row in csv.reader(lines[:1], delimiter=separator, strict=True) if any(row)]
            except csv.Error:
                continue
        if not rows or len(rows[0]) < 2:
            continue
        named = heading or is_heading(rows[0])
        found = _Dialect(separator, rows, named)
        if not strict:
            if best is None or named > best.heading or len(rows[0]) > len(best.rows[0]):
                best = found
            continue
        same = len({len(row) for row in rows}) == 1
        # Tabs and no quotes are CoNLL's columns, heading or not.
        quoted = any('"' in line for line in lines)
        tags = [at for at in range(1, len(rows[0])) if same and all(is_plain_cell(row[at]) for row in rows)]
        words = all(row[0] for row in rows)
        if (separator != "\t" or (quoted and named)) and same and (named or (tags and words)):
            return found
    return best


def is_plain_cell(cell: str) -> bool:
    """Say whether a cell is a tag, with no space about it."""
    return cell == cell.strip() and is_plain(cell)


def _layout(dialect: _Dialect, columns: tuple[Column, Column], path: Path) -> _Layout:
    names, many = dialect.rows[0], len(dialect.rows[0])
    word, tag = columns
    sentence = None
    if dialect.heading:
        word = column_by_name(names, word, "word", path)
        tag = column_by_name(names, tag, "tag", path)
        plain = [name.strip().lower().replace(" ", "").replace("_", "") for name in names]
        sentence = next((plain.index(name) for name in _SENTENCE_NAMES if name in plain), None)
        sentence = None if sentence == word % many else sentence
    else:
        found = find_columns([[list(row) for row in dialect.rows if len(row) == many]], word, tag, many)
        word, tag = found.word, found.tag
    if not (-many <= word < many and -many <= tag < many):
        raise DataError(f"found {many} columns, expected columns {word} (word) and {tag} (tag)", path, 1)
    return _Layout(dialect.separator, many, word % many, tag % many, sentence, dialect.heading)


def _sentences(path: Path, layout: _Layout) -> Iterator[Sentence]:
    words: list[str] = []
    tags: list[str] = []
    first, heading, of = 0, layout.heading, ""
    for number, cells in _rows(path, layout.separator):
        if not any(cell.strip() for cell in cells):
            if words:
                yield Sentence(tuple(words), tuple(tags), None, first)
                words, tags = [], []
            continue
        if heading:
            heading = False
            continue
        if len(cells) != layout.columns:
            raise DataError(
                f"found {len(cells)} cells, expected {layout.columns} as in the rows before", path, number
            )
        word, tag = cells[layout.word], cells[layout.tag]
        several = _several(word, tag, path, number)
        name = cells[layout.sentence] if layout.sentence is not None else ""
        if words and (several is not None or (name and name != of)):
            yield Sentence(tuple(words), tuple(tags), None, first)
            words, tags = [], []
        of = name or of
        if several is not None:
            if several[0]:
                yield Sentence(tuple(several[0]), tuple(several[1]), None, number, True)
            continue
        if not word.strip() or not tag.strip():
            raise DataError(f"the {'tag' if word.strip() else 'word'} is empty ({cells})"[:200], path, number)
        if "\n" in word or "\n" in tag:
            raise DataError("a cell goes over several lines; is a quotation mark not closed?", path, number)
        first = first if words else number
        words.append(word)
        tags.append(tag)
        refuse_too_long(len(words), path, first)
    if words:
        yield Sentence(tuple(words), tuple(tags), None, first)


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the line each ends on."""
    lines = (line + "\n" for _, line in numbered_rows(path))
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"not CSV ({one_line(error)}); is a quotation mark not closed, or not doubled?",
                path,
                reader.line_num,
            ) from None
        yield reader.line_num, row


def _several(word: str, tag: str, path: Path, number: int) -> tuple[list[str], list[str]] | None:
    """Read a row that is a whole sentence: two lists, or words and tags with spaces between them."""
    if word.startswith("[") and tag.startswith("["):
        words, tags = _list(word, path, number), _list(tag, path, number)
    elif " " in tag.strip():
        words, tags = word.split(), tag.split()
        if not all(map(is_plain, tags)):
            return None
    else:
        return None
    if len(words) != len(tags):
        raise DataError(f"{len(words)} words but {len(tags)} tags", path, number)
    return words, tags


def _list(text: str, path: Path, number: int) -> list[str]:
    try:
        try:
            value = parse_json(text)
        except ValueError:
            value = ast.literal_eval(text)
        if not isinstance(value, list) or not all(
            isinstance(each, str | int) and each != "" for each in value
        ):
            raise ValueError
    except (*WRONG, SyntaxError, MemoryError):
        raise DataError(f"found '{text[:60]}', expected a list of words or tags", path, number) from None
    return [str(each) for each in value]


FORMAT = Csv()
