"""What Prodigy's ``db-out`` writes: JSON lines with a text, its spans and an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from affineur.entities import Corpus
from affineur.errors import DataError, brief
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.marked import field, marked_corpus, marked_documents, span_of
from affineur.transfer.formats.core.spans import SpanDocument, SpanFormat
from affineur.transfer.options import DataOptions


class Prodigy(SpanFormat):
    """Objects with a text and ``spans``; what was rejected or ignored is passed over."""

    summary: ClassVar = "Prodigy: text and spans with start, end and label, accepted ones only"
    suffixes: ClassVar = (".jsonl", ".json", ".ndjson")

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first object has a text and spans, or an answer."""
        return "text" in head.keys and ("spans" in head.keys or "answer" in head.keys)

    def documents(self, path: Path, options: DataOptions) -> Iterator[SpanDocument]:
        """Read the documents that were accepted."""
        return marked_documents(path, _document)

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file, counting what was not accepted."""
        return marked_corpus(path, _document, "was rejected or ignored")


def _document(record: Mapping[str, Any], row: int) -> SpanDocument | None:
    answer = record.get("answer", "accept")
    if answer in ("reject", "ignore"):
        return None
    if answer != "accept":
        raise DataError(f"answer is {brief(answer)}, expected accept, reject or ignore")
    text = field(record, "text", str, "a text")
    marks = field(record, "spans", list, "a list of spans") if "spans" in record else []
    spans = [span_of(mark, "start", "end", ("label",)) for mark in marks]
    return SpanDocument(text, spans, str(record.get("id", "")), row)


FORMAT = Prodigy()
