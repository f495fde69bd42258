"""Raw text where a step only looks at words: each line of a file, or ``text`` of a JSON object, is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from affineur.entities import Corpus, Sentence, numbered_lines, refuse_too_long, split_words
from affineur.errors import DataError
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.marked import json_texts

_JSON = (".jsonl", ".json", ".ndjson")
#: Suffixes that labeled and raw text share.
_SHARED = ("", ".txt", *_JSON)
_TAG = re.compile(r"O|[A-Za-z][-_]\S+|\S+[-_][BIESLUM]|[A-Z]{3,5}")


def is_raw(path: Path, head: Head, labeled: tuple[str, ...]) -> bool:
    """Say whether a file holds text without labels.

    Args:
        path: The file.
        head: What it begins with.
        labeled: Suffixes of labeled text.
    """
    suffix = path.suffix.lower()
    if suffix in labeled and suffix not in _SHARED:
        return False
    if head.is_json:
        return set(head.keys) <= {"text", "id", "meta", "metadata", "url", "title", "source", "timestamp"}
    if suffix in _JSON:
        return False
    lines = [line.split() for line in head.lines if not line.startswith("-DOCSTART-")][:50]
    cells = [cell for line in lines for cell in line]
    if cells and all(cell.count("|") >= 2 for cell in cells):  # WikiNER
        return False
    return not any(len(line) > 1 and _TAG.fullmatch(line[-1]) for line in lines)


def read_text(path: str | Path) -> Corpus:
    """Read raw text, one text per line or JSON object, as a corpus without labels: every word is ``O``.

    Raises:
        DataError: If the file is missing, not UTF-8, or has no word.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", path)
    in_json = Head.of(path).is_json

    def sentences() -> Iterator[Sentence]:
        for number, line in _texts(path) if in_json else numbered_lines(path):
            if words := tuple(line[start:end] for start, end in split_words(line)):
                refuse_too_long(len(words), path, number)
                yield Sentence(words, ("O",) * len(words), line=None if in_json else number)

    return Corpus.scan(str(path), sentences)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    for row, text in json_texts(path):
        for line in text.splitlines():
            yield row, line
