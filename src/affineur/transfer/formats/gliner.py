"""What GLiNER is trained on: words, and spans of words whose last word is inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from affineur.entities import Corpus, Mention, Scheme, Sentence, refuse_too_long, to_tags
from affineur.errors import DataError, brief
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.marked import field
from affineur.transfer.formats.core.records import json_records
from affineur.transfer.options import DataOptions

_WORDS = "tokenized_text"


class Gliner(DataFormat):
    """Objects with ``tokenized_text`` and ``ner``."""

    summary: ClassVar = "GLiNER: tokenized_text and ner, a list of [first word, last word, type]"
    suffixes: ClassVar = (".json", ".jsonl")

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first object has ``tokenized_text``."""
        return _WORDS in head.keys

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file, reading all of it once."""
        return Corpus.checked(str(path), lambda: _sentences(path), Scheme.BIO)


def _sentences(path: Path) -> Iterator[Sentence]:
    for row, record in json_records(path):
        try:
            words = field(record, _WORDS, list, "a list of words")
            refuse_too_long(len(words), path, row)
            if strange := [word for word in words if not isinstance(word, str) or not word]:
                raise DataError(f"found the word {brief(strange[0])}, expected text")
            marks = [_mention(mark, len(words)) for mark in field(record, "ner", list, "a list of entities")]
            tags = to_tags(sorted(set(marks)), len(words), Scheme.BIO)
        except DataError as error:
            raise error if error.path else DataError(f"row {row}: {error}", path, row) from None
        except ValueError as error:
            raise DataError(
                f"row {row}: {error}; tags can say only one: remove the other", path, row
            ) from None
        if words:
            yield Sentence(tuple(words), tuple(tags), None, None)


def _mention(mark: Any, words: int) -> Mention:
    if isinstance(mark, Mapping):
        mark = [mark.get("start"), mark.get("end"), mark.get("label", mark.get("type"))]
    if not isinstance(mark, list) or len(mark) < 3:
        raise DataError(f"found the entity {brief(mark)}, expected [first word, last word, type]")
    first, last, kind = mark[:3]
    if any(not isinstance(at, int) or isinstance(at, bool) for at in (first, last)) or not isinstance(
        kind, str
    ):
        raise DataError(f"found the entity {brief(mark)}, expected [first word, last word, type]")
    if not 0 <= first <= last < words or not kind.strip():
        raise DataError(f"found the entity {brief(mark)}, but the words go from 0 to {words - 1}")
    return Mention(first, last + 1, kind.strip())


FORMAT = Gliner()
