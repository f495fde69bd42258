"""brat's standoff: a text in ``NAME.txt``, its marks in ``NAME.ann`` (https://brat.nlplab.org/standoff.html)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from affineur.entities import Corpus, decoded, numbered_lines
from affineur.errors import DataError, brief, counted
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.spans import SpanDocument, SpanFormat, span_corpus
from affineur.transfer.options import DataOptions

_MARK = re.compile(r"T\d+\t(\S+) (\d+ \d+(?:;\d+ \d+)*)(?:\t(.*))?")
_LARGEST = 1 << 27  # bytes of a text


def _document(marks: Path) -> SpanDocument:
    """Read one text with its marks."""
    source = marks.with_suffix(".txt")
    if not source.is_file():
        raise DataError(f"there is no {source.name} beside it, expected the text that it marks", marks)
    if source.stat().st_size > _LARGEST:
        raise DataError(f"a text of more than {_LARGEST:,} bytes; divide it", source)
    text = decoded(source.read_bytes(), source)
    spans = []
    for number, line in numbered_lines(marks):
        line = line.rstrip("\r\n")
        if not line.startswith("T"):  # relations, events, attributes and notes mark no text
            if line and line[0] not in "REAMN*#":
                raise DataError(
                    f"found {brief(line)}, expected a mark as in T1<tab>PER 0 5<tab>Marie", marks, number
                )
            continue
        if not (found := _MARK.fullmatch(line)):
            raise DataError(
                f"found {brief(line)}, expected a mark as in T1<tab>PER 0 5<tab>Marie", marks, number
            )
        kind, offsets, words = found.groups()
        if ";" in offsets:
            raise DataError(
                f"the mark {brief(line)} has gaps ({offsets}), which tags cannot say; make it one span, or"
                " two marks",
                marks,
                number,
            )
        start, end = map(int, offsets.split(" "))
        if words is not None and text[start:end].split() != words.split():
            raise DataError(
                f"the mark {start} to {end} ({kind}) is said to be {brief(words)}, but the text has"
                f" {brief(text[start:end])} there (offsets are counted in characters; a line may end in two)",
                marks,
                number,
            )
        spans.append((start, end, kind))
    return SpanDocument(text, spans, marks.stem)


class Brat(SpanFormat):
    """A folder of texts and marks."""

    summary: ClassVar = "brat: a folder of .txt and .ann files"
    suffixes: ClassVar = ()
    folder: ClassVar = True

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the folder has marks."""
        return any(name.endswith(".ann") for name in head.names)

    def documents(self, path: Path, options: DataOptions) -> Iterator[SpanDocument]:
        """Read the documents, by name."""
        for marks in sorted(path.glob("*.ann")):
            yield _document(marks)

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a folder, counting the texts that nobody has marked."""
        corpus = span_corpus(path, lambda: self.documents(path, options))
        alone = [each for each in path.glob("*.txt") if not each.with_suffix(".ann").exists()]
        if not alone:
            return corpus
        note = f"{counted(len(alone), 'text')} passed over: each has no .ann file beside it"
        return replace(corpus, notes=(*corpus.notes, note))


FORMAT: DataFormat = Brat()
