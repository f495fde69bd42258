"""Text that the tests of pruning calibrate on."""

from __future__ import annotations

from affineur.entities import Corpus

SENTENCE = (
    "Marie",
    "Duval",
    "quitte",
    "Laiterie",
    "Durand",
    "pour",
    "rejoindre",
    "Télévox",
    "à",
    "Nîmes",
    ".",
)
#: More than a window of 64.
LONG = SENTENCE * 8


def sentences_of(corpus: Corpus) -> list[tuple[str, ...]]:
    return [s.words for s in corpus]
