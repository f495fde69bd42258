"""Spans that records of JSON mark: what formats of annotation tools share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from affineur.entities import Corpus
from affineur.errors import DataError, brief, counted
from affineur.transfer.formats.core.records import json_records
from affineur.transfer.formats.core.spans import SpanDocument, span_corpus

Result = TypeVar("Result")
#: Turns a record into a document, or into ``None`` where nobody has annotated it.
Read = Callable[[Mapping[str, Any], int], SpanDocument | None]


def marked_documents(path: Path, read: Read) -> Iterator[SpanDocument]:
    """Read the documents of a file of JSON, without those that nobody has annotated.

    Args:
        path: The file.
        read: Turns each record, with its row, into a document.

    Raises:
        DataError: If the file is no such JSON, or what ``read`` raises, with the row.
    """
    return (document for document in read_records(path, read) if document is not None)


def marked_corpus(path: Path, read: Read, unmarked: str) -> Corpus:
    """Open a file of JSON whose records nobody may have annotated yet.

    Such a record is passed over and counted: to take it for one without entities would be gold that nobody
    gave.

    Args:
        path: The file.
        read: Turns each record, with its row, into a document, or ``None``.
        unmarked: What a record that is passed over lacks, as in ``is not annotated``.

    Raises:
        DataError: If it cannot be read, or nothing in it is annotated.
    """
    passed_over = 0

    def documents() -> Iterator[SpanDocument]:
        nonlocal passed_over
        passed_over = 0  # whoever reads again counts again
        for document in read_records(path, read):
            if document is None:
                passed_over += 1
            else:
                yield document

    corpus = span_corpus(path, documents)
    if not passed_over:
        return corpus
    note = f"{counted(passed_over, 'text')} passed over: each {unmarked}"
    return replace(corpus, notes=(*corpus.notes, note))


def read_records(path: Path, read: Callable[[Mapping[str, Any], int], Result]) -> Iterator[Result]:
    """Yield what is read of each JSON record of a file; what is wrong with one names its row.

    Args:
        path: The file.
        read: Reads a record, given its row.

    Raises:
        DataError: If a record cannot be read.
    """
    for row, record in json_records(path):
        try:
            found = read(record, row)
        except DataError as error:
            if error.path is not None:
                raise
            raise DataError(f"row {row}: {error}", path, row) from None
        yield found


def json_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the row of each JSON record of a file, and its ``text``.

    Raises:
        DataError: If a record has none.
    """
    return read_records(path, lambda record, row: (row, field(record, "text", str, "a text")))


def field(record: Mapping[str, Any], name: str, kind: type[Any], shown: str) -> Any:
    """Return a value of a record.

    Args:
        record: The record.
        name: Its key.
        kind: What it has to be.
        shown: How that is called in messages, such as ``a list``.

    Raises:
        DataError: If it is missing or something else.
    """
    if name not in record:
        found = ", ".join(brief(key, 40) for key in list(record)[:8]) or "nothing"
        raise DataError(f"has no {name} (found {found}), expected {shown}")
    value = record[name]
    if not isinstance(value, kind):
        raise DataError(f"{name} is {brief(value)}, expected {shown}")
    return value


def span_of(mark: Any, start: str, end: str, types: Sequence[str]) -> tuple[Any, Any, Any]:
    """Return start, end and type of a mark that is an object.

    Args:
        mark: The mark.
        start: The key of its first character.
        end: The key of the character after its last.
        types: Keys of its type; the first it has counts.

    Raises:
        DataError: If it is no object, or lacks one of these.
    """
    if not isinstance(mark, Mapping):
        raise DataError(
            f"found the entity {brief(mark)}, expected an object with {start}, {end} and {types[0]}"
        )
    key = next((each for each in types if each in mark), None)
    if key is None or start not in mark or end not in mark:
        raise DataError(f"found the entity {brief(dict(mark))}, expected {start}, {end} and {types[0]} in it")
    return mark[start], mark[end], mark[key]


def check_word(text: str, span: tuple[Any, Any, Any], word: Any, what: str = "") -> None:
    """Check a span against the words that its file says it covers.

    Args:
        text: The text.
        span: Start, end and type.
        word: What the file says, or ``None`` where it does not.
        what: Said after the complaint.

    Raises:
        DataError: If the text has other words there.
    """
    start, end, kind = span
    if word is None or not isinstance(start, int) or not isinstance(end, int):
        return
    if text[start:end].split() != str(word).split():
        raise DataError(
            f"the span {start} to {end} ({brief(kind)}) is said to be {brief(word)}, but the text has"
            f" {brief(text[start:end])} there (offsets are counted in code points){what}"
        )
