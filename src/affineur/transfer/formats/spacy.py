"""spaCy's binary files of documents (``.spacy``), as ``spacy convert`` and ``DocBin`` write them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from affineur.artifact.reading import read_within
from affineur.errors import DataError, MissingExtraError, one_line
from affineur.transfer.formats.core.head import Head
from affineur.transfer.formats.core.spans import SpanDocument, SpanFormat
from affineur.transfer.options import DataOptions

_LARGEST = 1 << 30  # bytes of a file: all of it lies in memory together
_TIMES = 200  # what it holds, compressed: text has a tenth of it
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


class Spacy(SpanFormat):
    """Documents of spaCy; the library of the ``peers`` extra reads them."""

    summary: ClassVar = "spaCy's binary documents (DocBin)"
    suffixes: ClassVar = (".spacy",)

    def recognize(self, path: Path, head: Head) -> bool:
        """Say whether it is compressed as such files are, and named as they are."""
        return path.suffix.lower() == ".spacy" and head.data[:2] in _ZLIB

    def documents(self, path: Path, options: DataOptions) -> Iterator[SpanDocument]:
        """Read the documents."""
        try:
            from spacy.tokens import DocBin
            from spacy.vocab import Vocab
        except ImportError:
            raise MissingExtraError("reading .spacy files", "peers") from None
        try:
            data = read_within(path, _LARGEST)
            unpacked = zlib.decompressobj()
            if len(unpacked.decompress(data, most := _TIMES * len(data) + (1 << 20))) == most:
                raise DataError(f"it holds more than {most:,} bytes, as no text does")
            documents = list(DocBin().from_bytes(data).get_docs(Vocab()))
        except DataError as error:
            raise DataError(str(error), path) from None
        except Exception as error:  # whatever spaCy says of a file that is none of its own
            raise DataError(f"not a file of spaCy's documents ({one_line(error)})", path) from None
        for row, document in enumerate(documents, start=1):
            if len(document) and not document.has_annotation("ENT_IOB"):
                raise DataError(
                    f"document {row}: nobody has said which entities it has, or that it has none", path, row
                )
            spans = [(each.start_char, each.end_char, each.label_) for each in document.ents]
            yield SpanDocument(document.text, spans, "", row)


FORMAT = Spacy()
