"""Rows of tokens and tags in Parquet, as data sets of the Hub have them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from affineur.entities import Corpus
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.options import DataOptions
from affineur.transfer.tables import open_table, to_corpus


class Parquet(DataFormat):
    """A table of Arrow."""

    summary: ClassVar = "a table with tokens and ner_tags, as data sets of the Hub have it"
    suffixes: ClassVar = (".parquet",)

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether it begins as Parquet does."""
        return head.data.startswith(b"PAR1")

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a table."""
        return to_corpus(str(path), [open_table(path)], options.scheme, options.tag_names, options.columns)


FORMAT = Parquet()
