"""spaCy's JSON: ``Doc.to_json`` of version 3, and the training format of version 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from affineur.entities import Corpus, Sentence, refuse_too_long
from affineur.errors import DataError, brief
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.marked import field, marked_documents, span_of
from affineur.transfer.formats.core.records import json_records
from affineur.transfer.formats.core.spans import SpanDocument, span_corpus
from affineur.transfer.options import DataOptions


class SpacyJson(DataFormat):
    """Documents with ``ents``, or with paragraphs of sentences of tokens."""

    summary: ClassVar = "spaCy: text and ents as Doc.to_json gives them, or version 2's paragraphs"
    suffixes: ClassVar = (".json", ".jsonl")

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first object is a document of spaCy."""
        keys = head.keys
        return "paragraphs" in keys or ("text" in keys and "ents" in keys)

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file, reading all of it once."""
        if "paragraphs" in Head.of(path).keys:
            return Corpus.scan(str(path), lambda: _sentences(path))
        return span_corpus(path, lambda: marked_documents(path, _document))


def _document(record: Mapping[str, Any], row: int) -> SpanDocument:
    marks = field(record, "ents", list, "a list of entities")
    spans = [span_of(mark, "start", "end", ("label",)) for mark in marks]
    return SpanDocument(field(record, "text", str, "a text"), spans, str(record.get("id", "")), row)


def _sentences(path: Path) -> Iterator[Sentence]:
    for row, record in json_records(path):
        try:
            for paragraph in field(record, "paragraphs", list, "a list of paragraphs"):
                for sentence in field(paragraph, "sentences", list, "a list of sentences"):
                    tokens = field(sentence, "tokens", list, "a list of tokens")
                    refuse_too_long(len(tokens), path, row)
                    words = tuple(field(token, "orth", str, "a word") for token in tokens)
                    tags = tuple(field(token, "ner", str, "a tag") for token in tokens)
                    if "-" in tags:
                        raise DataError(
                            f"the entity of {brief(words[tags.index('-')])} is - (unknown), expected a tag"
                        )
                    if words:
                        yield Sentence(words, tags, row - 1, None)
        except DataError as error:
            raise error if error.path else DataError(f"row {row}: {error}", path, row) from None


FORMAT = SpacyJson()
