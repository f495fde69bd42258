"""Text to count pieces in, and other text to see how much of it is cut in another way then; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from affineur.entities import Corpus
from affineur.transfer import Splits, load_splits
from affineur.transfer.formats.core.unlabeled import read_text

_HELD_OUT = 20  # of raw text, one line in so many is not counted but shows how unseen text is cut


def texts_of(
    data: Sequence[str | Path | Corpus | Splits] = (), text: Sequence[str | Path] = ()
) -> tuple[tuple[Corpus, ...], tuple[Corpus, ...]]:
    """Open the texts of :class:`~affineur.steps.trim_vocab.TrimVocab`.

    Args:
        data: Labeled text, as elsewhere: train is counted, test, or dev where there is none, is unseen. A
            corpus is counted whole.
        text: Files of raw text, one sentence or paragraph per line or JSON object; one in 20 is unseen.
            Where there is neither, the embedded sample.

    Returns:
        Texts to count pieces in, and texts that are only looked at afterwards.

    Raises:
        DataError: If one is not there, cannot be read, or has no train.
        TransferError: If the Hub does not give it.
        MissingExtraError: If reading it takes a package that is not installed.
    """
    texts: list[Corpus] = []
    unseen: list[Corpus | None] = []
    for given in data or (() if text else ("sample",)):
        if isinstance(given, Corpus):
            texts.append(given)
            continue
        splits = given if isinstance(given, Splits) else load_splits(given)
        texts.append(splits.get("train"))
        unseen.append(splits.test or splits.dev)
    for file in text:
        raw = read_text(file)
        counted, held_out = raw.split(_HELD_OUT) if len(raw) >= _HELD_OUT else (raw, None)
        texts.append(counted)
        unseen.append(held_out)
    return tuple(texts), tuple(corpus for corpus in unseen if corpus)
