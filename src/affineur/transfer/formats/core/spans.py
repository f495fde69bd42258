"""Texts with character spans, and the one way in which they become words and tags."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from affineur.entities import Corpus, Mention, Scheme, Sentence, refuse_too_long, split_words, to_tags
from affineur.errors import DataError, brief, counted
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.options import DataOptions

_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


class Span(NamedTuple):
    """A typed span of a text.

    Args:
        start: Its first character, in code points.
        end: The character after its last.
        type: Its type.
    """

    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True)
class SpanDocument:
    """A text and the entities in it.

    Args:
        text: The text.
        spans: Its entities, in any order; offsets are code points of the text (Python's ``text[start:end]``).
        id: What the file calls it, for messages.
        row: Its line or row in the file, from 1, for messages.
    """

    text: str
    spans: Sequence[tuple[int, int, str]] = ()
    id: str = ""
    row: int | None = None


@dataclass(slots=True)
class _Seen:
    """What was met in documents that is right but worth saying."""

    spans: int = 0
    cut: int = 0
    twice: int = 0
    blank: int = 0
    over_lines: int = 0

    def notes(self) -> Iterator[str]:
        many = counted(self.spans, "span")
        if self.cut:
            yield (
                f"{self.cut:,} of {many} begin or end inside a word as Affineur cuts words; the word is cut"
                " there too"
            )
        if self.twice:
            yield f"{self.twice:,} of {many} stand there twice and count once"
        if self.blank:
            yield f"{self.blank:,} of {many} begin or end with white space, which belongs to no word"
        if self.over_lines:
            yield f"{self.over_lines:,} of {many} go over the end of a line; no sentence ends there"


class SpanFormat(DataFormat):
    """A format of texts with character spans: write ``recognize`` and ``documents``."""

    @abstractmethod
    def documents(self, path: Path, options: DataOptions) -> Iterator[SpanDocument]:
        """Read the documents of a file or folder, one after the other; called more than once.

        Args:
            path: Where it is.
            options: How to read it.

        Raises:
            DataError: At the first record that is not of this format, with its row.
        """

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file (or folder), reading all of it once."""
        return span_corpus(path, lambda: self.documents(path, options))


@dataclass(slots=True)
class _Source:
    """Opens the sentences of documents, and keeps count of what was met in the last reading of all."""

    path: Path
    documents: Callable[[], Iterator[SpanDocument]]
    seen: _Seen = field(default_factory=_Seen)

    def __call__(self) -> Iterator[Sentence]:
        self.seen = seen = _Seen()
        return _sentences(self.documents(), self.path, seen)


def span_corpus(path: Path, documents: Callable[[], Iterator[SpanDocument]]) -> Corpus:
    """Make a corpus of documents with character spans.

    Args:
        path: Where they come from.
        documents: Opens them, from the first; called more than once.

    Raises:
        DataError: As for :func:`tagged_sentences`, or if there is no word in them.
    """
    source = _Source(path, documents)
    corpus = Corpus.checked(str(path), source, Scheme.BIO)
    return replace(corpus, notes=(*corpus.notes, *source.seen.notes()))


def tagged_sentences(documents: Iterable[SpanDocument], path: Path) -> Iterator[Sentence]:
    """Turn texts with spans into words with BIO tags.

    Words are cut by Affineur's own rule, as in raw text when a model is used. The end of a line ends a
    sentence, except within a span. Gold is never altered: a span that begins or ends inside a word cuts the
    word there, so that the mention is exactly what was marked.

    Args:
        documents: The documents.
        path: Where they come from, for messages.

    Raises:
        DataError: At a span that is empty, lies outside its text, overlaps another or has no type, and at a
            sentence of more words than any has; with document, offsets and row.
    """
    return _sentences(documents, path, _Seen())


def _sentences(documents: Iterable[SpanDocument], path: Path, seen: _Seen) -> Iterator[Sentence]:
    for number, document in enumerate(documents):
        spans = _checked(document, path, seen)
        for words, mentions in _cut(document, spans, seen):
            refuse_too_long(len(words), path, document.row or number + 1)
            tags = to_tags(mentions, len(words), Scheme.BIO)
            yield Sentence(tuple(words), tuple(tags), number, None)


def _checked(document: SpanDocument, path: Path, seen: _Seen) -> list[Span]:
    """Return the spans in order, without white space about them."""
    text, found = document.text, []
    if not isinstance(text, str):
        raise _wrong(document, path, f"found {brief(text)}, expected a text")
    for start, end, kind in document.spans:
        if any(not isinstance(at, int) or isinstance(at, bool) for at in (start, end)):
            raise _wrong(document, path, f"found the span {brief((start, end))}, expected two whole numbers")
        where = f"the span {start} to {end} ({brief(kind)})"
        if not isinstance(kind, str) or not kind.strip():
            raise _wrong(document, path, f"{where} has no type")
        if not 0 <= start <= end <= len(text):
            raise _wrong(
                document,
                path,
                f"{where} lies outside the text, which has {counted(len(text), 'character')}"
                " (offsets are counted in code points)",
            )
        marked = text[start:end]
        if not marked.strip():
            raise _wrong(document, path, f"{where} is empty")
        bare = Span(
            start + len(marked) - len(marked.lstrip()),
            end - len(marked) + len(marked.rstrip()),
            kind.strip(),
        )
        seen.blank += bare[:2] != (start, end)
        found.append(bare)
    found.sort()
    seen.spans += len(found)
    kept: list[Span] = []
    for span in found:
        if kept and span == kept[-1]:
            seen.twice += 1
            continue
        if kept and span.start < kept[-1].end:
            raise _wrong(
                document,
                path,
                f"the spans {_shown(text, kept[-1])} and {_shown(text, span)} overlap; tags can say only one:"
                " remove the other",
            )
        kept.append(span)
    return kept


def _shown(text: str, span: Span) -> str:
    return f"{span.start} to {span.end} ({span.type}, {brief(text[span.start : span.end], 40)})"


def _wrong(document: SpanDocument, path: Path, what: str) -> DataError:
    row = "" if document.row is None else f"row {document.row}: "
    name = f"document {document.id}: " if document.id else ""
    return DataError(f"{row}{name}{what}", path, document.row)


def _cut(
    document: SpanDocument, spans: Sequence[Span], seen: _Seen
) -> Iterator[tuple[list[str], list[Mention]]]:
    """Cut a text into the words of its sentences, with the mentions in each."""
    text = document.text
    borders = sorted({at for span in spans for at in span[:2]})
    at_border = 0
    words: list[str] = []
    mentions: list[Mention] = []
    place, first, before = 0, -1, 0  # the span that is next, its first word here, the end of the word before
    cut: set[int] = set()
    for whole_start, whole_end in split_words(text):
        start = whole_start
        while start < whole_end:
            while at_border < len(borders) and borders[at_border] <= start:
                at_border += 1
            end = min(whole_end, borders[at_border]) if at_border < len(borders) else whole_end
            if end < whole_end:
                cut.add(end)
            if first < 0 and words and any(mark in _LINE_ENDS for mark in text[before:start]):
                yield words, mentions
                words, mentions = [], []
            elif first >= 0 and any(mark in _LINE_ENDS for mark in text[before:start]):
                seen.over_lines += 1
            if place < len(spans) and start == spans[place].start:
                first = len(words)
            words.append(text[start:end])
            if first >= 0 and end == spans[place].end:
                mentions.append(Mention(first, len(words), spans[place].type))
                place, first = place + 1, -1
            start = before = end
    if words:
        yield words, mentions
    seen.cut += sum(1 for span in spans if span.start in cut or span.end in cut)
    if place < len(spans):  # no word of ours covers it
        raise DataError(
            f"the span {_shown(text, spans[place])} holds no word"
            + (f" (document {document.id})" if document.id else ""),
            None,
            document.row,
        )
