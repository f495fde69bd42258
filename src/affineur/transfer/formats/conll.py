"""CoNLL columns: a word and its tag on each line, a blank line between sentences."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from affineur.entities import Corpus, open_columns
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.options import DataOptions


class Conll(DataFormat):
    """Columns separated by tabs or spaces."""

    summary: ClassVar = "a word and its tag on each line, a blank line between sentences"
    suffixes: ClassVar = (".conll", ".txt", ".tsv", ".bio", ".iob", ".iob2", ".bioes", ".conll03", ".ner")
    general: ClassVar = True

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first lines have as many columns each, two or more."""
        lines = [line for line in head.lines if not line.startswith(("#", "-DOCSTART-"))][:50]
        many = {len(line.rstrip("\t ").split("\t") if "\t" in line else line.split()) for line in lines}
        return not head.is_json and len(many) == 1 and many.pop() > 1

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file of columns."""
        return open_columns(path, options.word_column, options.tag_column, options.scheme)


FORMAT = Conll()
