"""The texts that a probe sends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from affineur.entities import numbered_lines
from affineur.errors import DataError
from affineur.transfer import DataOptions, load_corpus

#: Texts that are sent, over and over.
TEXTS = 200


def read_texts(reference: str, options: DataOptions | None = None, many: int = TEXTS) -> list[str]:
    """Read the first texts of a file.

    Those are the lines of a ``.txt`` file; of labeled text the sentences, put together as French is written.

    Args:
        reference: Labeled text, as :func:`affineur.transfer.load_corpus` takes it, or a ``.txt`` file.
        options: How labeled text is read.
        many: How many.

    Raises:
        DataError: If it cannot be read, or holds no text.
    """
    if reference.lower().endswith(".txt"):
        lines = (line.strip() for _, line in numbered_lines(Path(reference)))
        texts = list(islice(filter(None, lines), many))
    else:
        texts = [
            _written(sentence.words)
            for sentence in islice(load_corpus(reference, "test", options or DataOptions()), many)
        ]
    if not texts:
        raise DataError("there is no text in it, expected at least one", reference)
    return texts


def _written(words: Sequence[str]) -> str:
    """Put words together as French is written.

    There is nothing after an elision, nor before a comma, a full stop or a closing bracket.
    """
    text = ""
    for word in words:
        apart = text and not text.endswith(("'", "’", "(", "[")) and word not in (",", ".", ")", "]", "…")
        text += f" {word}" if apart else word
    return text
