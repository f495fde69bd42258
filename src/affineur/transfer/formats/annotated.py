"""What ``affineur annotate`` and ``predict --json`` write, and others with the same keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from affineur.errors import DataError
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.marked import check_word, field, marked_documents, span_of
from affineur.transfer.formats.core.spans import SpanDocument, SpanFormat
from affineur.transfer.options import DataOptions

_TYPES = ("entity_group", "label", "type", "entity")


class Annotated(SpanFormat):
    """Objects with a text and its entities, as a token-classification pipeline names them."""

    summary: ClassVar = "text and entities with start, end and entity_group, as affineur annotate writes them"
    suffixes: ClassVar = (".jsonl", ".json", ".ndjson")

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first object has a text and entities that have ``start``."""
        if head.record is None:
            return {"text", "entities"} <= set(head.keys) and '"start"' in head.text
        found = head.record.get("entities")
        named = isinstance(found, list) and all(isinstance(each, dict) and "start" in each for each in found)
        # Without an entity in the first text it is ours, unless it has what doccano writes.
        return "text" in head.record and named and (bool(found) or "relations" not in head.record)

    def documents(self, path: Path, options: DataOptions) -> Iterator[SpanDocument]:
        """Read the documents."""
        return marked_documents(path, _document)


def _document(record: Mapping[str, Any], row: int) -> SpanDocument:
    text = field(record, "text", str, "a text")
    spans = []
    for mark in field(record, "entities", list, "a list of entities"):
        spans.append(span := span_of(mark, "start", "end", _TYPES))
        if "entity_group" not in mark and "index" in mark:
            raise DataError(
                "found pieces of words, as the strategy none gives them, expected whole entities; annotate"
                " again with another strategy"
            )
        check_word(text, span, mark.get("text") if "entity_group" not in mark else None)
    return SpanDocument(text, spans, str(record.get("id", "")), row)


FORMAT = Annotated()
