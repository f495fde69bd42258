"""Rows of tokens and tags in JSON: an object on each line, or one array of them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from affineur.entities import Corpus
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.options import DataOptions
from affineur.transfer.tables import open_table, table_columns, to_corpus


class Json(DataFormat):
    """JSON lines, or an array of objects."""

    summary: ClassVar = "objects with tokens and ner_tags, one on each line or in one array"
    suffixes: ClassVar = (".jsonl", ".json", ".ndjson")
    general: ClassVar = True

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether the first object has a column of tokens and one of tags."""
        return table_columns(head.keys, (None, None)) is not None

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file of rows."""
        return to_corpus(str(path), [open_table(path)], options.scheme, options.tag_names, options.columns)


FORMAT = Json()
