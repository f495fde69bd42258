"""CoNLL columns: a word and its tag on each line, a blank line between sentences."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from affineur.entities import Corpus, cells_of, is_heading, is_number, is_plain, open_columns
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.options import DataOptions


class Conll(DataFormat):
    """Columns separated by tabs or spaces."""

    summary: ClassVar = "a word and its tag on each line, a blank line between sentences"
    suffixes: ClassVar = (".conll", ".txt", ".tsv", ".bio", ".iob", ".iob2", ".bioes", ".conll03", ".ner")
    general: ClassVar = True

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first rows have as many columns each, and one of these holds tags."""
        lines = [line for line in head.lines if not line.startswith(("# ", "#\t", "-DOCSTART-"))][:200]
        rows = [cells_of(line) for line in lines]
        if head.is_json or not rows or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
            return False
        rows = rows[1:] if is_heading(rows[0]) and len(rows) > 1 else rows
        last = {row[-1].strip() for row in rows}
        return (
            any(all(is_plain(row[at]) for row in rows) for at in range(len(rows[0])))
            or bool(last & {"O", "o"})
            or all(map(is_number, last))
        )

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file of columns."""
        return open_columns(path, options.word_column, options.tag_column, options.scheme, options.tag_names)


FORMAT = Conll()
