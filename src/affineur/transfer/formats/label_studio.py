"""What Label Studio exports as JSON or JSON-MIN: tasks with the marks of their annotators.

Its offsets are those of JavaScript, which counts a character beyond U+FFFF (an emoji) as two; the words that
stand beside them say which count a file has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from affineur.entities import Corpus
from affineur.errors import DataError, brief
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.marked import field, marked_corpus, marked_documents
from affineur.transfer.formats.core.spans import SpanDocument, SpanFormat
from affineur.transfer.options import DataOptions

_LABELS = ("labels", "hypertextlabels", "label")


class LabelStudio(SpanFormat):
    """Tasks with ``data`` and ``annotations``, or the short form."""

    summary: ClassVar = "Label Studio: its JSON or JSON-MIN export of labeled text"
    suffixes: ClassVar = (".json", ".jsonl")

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first object is a task."""
        keys = set(head.keys)
        if "annotations" in keys or "completions" in keys:
            return "data" in keys or head.record is None
        # JSON-MIN: one list of marks, and who made them.
        return "annotator" in keys and bool(keys & {"annotation_id", "lead_time", "created_at"})

    def documents(self, path: Path, options: DataOptions) -> Iterator[SpanDocument]:
        """Read the tasks that are annotated."""
        return marked_documents(path, _document)

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file, counting the tasks that nobody has annotated."""
        return marked_corpus(
            path, _document, "has no annotation that counts (none, skipped, or a prediction)"
        )


def _document(record: Mapping[str, Any], row: int) -> SpanDocument | None:
    name = "annotations" if "annotations" in record else "completions"
    if name not in record:
        return _short(record, row)
    given = field(record, name, list, "a list of annotations")
    done = [each for each in given if isinstance(each, Mapping) and not each.get("was_cancelled")]
    if not done:
        return None
    if len(done) > 1:
        raise DataError(
            f"task {record.get('id', row)} has {len(done)} annotations, and which one counts is not said; "
            "keep one of each task"
        )
    results = field(done[0], "result", list, "a list of marks")
    found = [each for each in results if isinstance(each, Mapping) and _is_label(each)]
    text = _text(field(record, "data", Mapping, "an object"), {each.get("to_name") for each in found})
    spans = [_span(text, each.get("value")) for each in found]
    return SpanDocument(text, spans, str(record.get("id", "")), row)


def _short(record: Mapping[str, Any], row: int) -> SpanDocument:
    """Read a task of JSON-MIN: what was marked stands under the control's name."""
    lists = [
        value
        for value in record.values()
        if isinstance(value, list) and all(isinstance(each, Mapping) and "start" in each for each in value)
    ]
    if len(lists) > 1:
        raise DataError(f"found {len(lists)} lists of marks in one task, expected one; export JSON instead")
    text = field(record, "text", str, "a text; export JSON where the text has another name")
    spans = [_span(text, each) for each in (lists[0] if lists else ())]
    return SpanDocument(text, spans, str(record.get("id", "")), row)


def _is_label(mark: Mapping[str, Any]) -> bool:
    kind = str(mark.get("type", "")).lower()
    if kind == "relation" or kind == "choices":  # of two marks, and of the whole text
        return False
    if kind not in _LABELS:
        raise DataError(f"found a mark of the type {brief(mark.get('type'))}, expected labels of text")
    return True


def _text(data: Mapping[str, Any], named: set[Any]) -> str:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    wanted = [key for key in texts if key in named] or (["text"] if "text" in texts else list(texts))
    if len(wanted) != 1:
        raise DataError(f"data has {', '.join(texts) or 'no text'}, expected one text, as text")
    return texts[wanted[0]]


def _span(text: str, value: Any) -> tuple[int, int, str]:
    if not isinstance(value, Mapping):
        raise DataError(f"found the mark {brief(value)}, expected an object with start, end and labels")
    start, end = value.get("start"), value.get("end")
    types = next((value[key] for key in _LABELS if isinstance(value.get(key), list)), None)
    if not isinstance(start, int) or not isinstance(end, int) or types is None:
        raise DataError(f"found the mark {brief(dict(value))}, expected start, end and labels in it")
    if len(types) != 1:
        raise DataError(f"the mark {start} to {end} has the labels {brief(types)}, expected one")
    kind = str(types[0])
    word = value.get("text")
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) == 2 * len(text):  # every character is one in both counts
        _check(text[start:end], word, start, end, kind)
        return start, end, kind
    if not isinstance(word, str):
        raise DataError(
            f"the text holds characters beyond U+FFFF and the mark {start} to {end} ({kind}) does not say its"
            " words, so its offsets may be of two kinds; export JSON with text"
        )
    first = len(units[: 2 * start].decode("utf-16-le", "replace"))
    last = len(units[: 2 * end].decode("utf-16-le", "replace"))
    if _same(text[first:last], word):
        return first, last, kind
    _check(text[start:end], word, start, end, kind)
    return start, end, kind


def _check(found: str, word: Any, start: int, end: int, kind: str) -> None:
    if isinstance(word, str) and not _same(found, word):
        raise DataError(
            f"the mark {start} to {end} ({kind}) is said to be {brief(word)}, but the text has {brief(found)}"
            " there"
        )


def _same(found: str, word: str) -> bool:
    return found.split() == word.replace("\\n", "\n").split()


FORMAT = LabelStudio()
