"""Sentences that two corpora share, whatever their tags: what was seen once is no test any more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from affineur.entities.corpus import Corpus
from affineur.entities.mentions import Sentence


def shared_sentences(corpus: Corpus, others: Iterable[Corpus]) -> int:
    """Count the sentences of a corpus whose very words stand in one of some others too.

    Both are read once; of each sentence of the others no more than a digest of 16 bytes is kept.

    Args:
        corpus: The corpus whose sentences are counted, each as often as it is there.
        others: What they are looked for in.
    """
    seen = {_digest(sentence) for other in others for sentence in other}
    return sum(_digest(sentence) in seen for sentence in corpus) if seen else 0


def _digest(sentence: Sentence) -> bytes:
    # No word holds a line break: they are what ends a line of a corpus.
    return hashlib.blake2b(
        "\n".join(sentence.words).encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()
