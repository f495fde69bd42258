"""What doccano exports: JSON lines with ``label`` lists, or with entities and relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from affineur.errors import DataError, brief
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.marked import field, marked_documents, span_of
from affineur.transfer.formats.core.spans import SpanDocument, SpanFormat
from affineur.transfer.options import DataOptions

_TEXTS, _LABELS = ("text", "data"), ("label", "labels")


class Doccano(SpanFormat):
    """Objects with a text (``data`` in old exports) and its marks."""

    summary: ClassVar = "doccano: text and label, a list of [start, end, type], or entities with start_offset"
    suffixes: ClassVar = (".jsonl", ".json", ".json1", ".ndjson")

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first object has a text, and labels as doccano writes them."""
        keys = set(head.keys)
        if not keys.intersection(_TEXTS) or "tokens" in keys:
            return False
        if head.record is None:
            return bool(keys.intersection(_LABELS)) or '"start_offset"' in head.text
        if isinstance(found := head.record.get("entities"), list):
            marked = any(isinstance(each, dict) and "start_offset" in each for each in found)
            return marked or (not found and "relations" in keys)
        found = next((head.record[name] for name in _LABELS if name in head.record), None)
        return isinstance(found, list) and all(isinstance(each, list) for each in found)

    def documents(self, path: Path, options: DataOptions) -> Iterator[SpanDocument]:
        """Read the documents."""
        return marked_documents(path, _document)


def _document(record: Mapping[str, Any], row: int) -> SpanDocument:
    name = next((name for name in _TEXTS if name in record), _TEXTS[0])
    text = field(record, name, str, "a text")
    spans: list[Any] = []
    if "entities" in record:
        for mark in field(record, "entities", list, "a list of entities"):
            spans.append(span_of(mark, "start_offset", "end_offset", ("label",)))
    else:
        labels = next((name for name in _LABELS if name in record), _LABELS[0])
        for mark in field(record, labels, list, "a list of [start, end, type]"):
            if not isinstance(mark, list) or len(mark) != 3:
                raise DataError(f"found the label {brief(mark)}, expected [start, end, type]")
            spans.append(tuple(mark))
    return SpanDocument(text, spans, str(record.get("id", "")), row)


FORMAT = Doccano()
