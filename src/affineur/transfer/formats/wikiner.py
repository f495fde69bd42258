"""WikiNER's lines: ``word|POS|tag`` words, one sentence per line (Nothman et al. 2013)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from affineur.entities import Corpus, is_wikiner, open_wikiner
from affineur.transfer.formats.core.format import DataFormat
from affineur.transfer.formats.core.head import Head
from affineur.transfer.options import DataOptions


class Wikiner(DataFormat):
    """Sentences whose words carry their tags."""

    summary: ClassVar = "words written word|POS|tag, one sentence per line"
    suffixes: ClassVar = (".wikiner",)

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether all words of the first line have two bars."""
        return bool(head.lines) and is_wikiner(head.lines[0])

    def open(self, path: Path, options: DataOptions) -> Corpus:
        """Open a file of such lines."""
        return open_wikiner(path, options.scheme, options.tag_names)


FORMAT = Wikiner()
