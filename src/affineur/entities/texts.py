"""Words back to text, as a French writer would set them, and texts of several sentences for training."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from affineur.entities.corpus import Corpus
from affineur.entities.mentions import Sentence

# Before these words, and after those, stands no space.
_GLUED = re.compile(r"[,.)\]}…]|\.{2,}|-(?:t-)?(?:ils?|elles?|on|je|tu|ci|là)", re.IGNORECASE)
_GLUING = re.compile(r"[(\[{]|\w+['’]")
_FEWEST, _MOST = 2, 8


def as_text(sentences: Sequence[Sequence[str]]) -> tuple[str, list[list[tuple[int, int]]]]:
    """Write words as running text.

    Args:
        sentences: Words of each sentence.

    Returns:
        The text, and for each sentence the character span ``(start, end)`` of each word.
    """
    parts: list[str] = []
    spans: list[list[tuple[int, int]]] = []
    length = 0
    for words in sentences:
        spans.append([])
        before = ""
        for word in words:
            if length and not (before and (_GLUED.fullmatch(word) or _GLUING.fullmatch(before))):
                parts.append(" ")
                length += 1
            parts.append(word)
            spans[-1].append((length, length + len(word)))
            length += len(word)
            before = word
    return "".join(parts), spans


def joined(corpus: Corpus, share: float, seed: int) -> Corpus:
    """Return a corpus some of whose sentences are joined, two to eight that follow each other, to one.

    A model that is trained so bears texts of several sentences; one that only ever saw single ones finds
    less with each that is added.

    Args:
        corpus: Labeled sentences.
        share: How many of the sentences are in a joined one, about, in [0, 1].
        seed: Chooses them; the same seed gives the same.
    """
    mean = (_FEWEST + _MOST) / 2
    often = share / (mean - (mean - 1) * share)

    def source() -> Iterator[Sentence]:
        choice = random.Random(seed)
        waiting: list[Sentence] = []
        wanted = 1
        for sentence in corpus:
            if waiting and waiting[-1].document != sentence.document:
                yield _one(waiting)
                waiting = []
            if not waiting:
                wanted = choice.randint(_FEWEST, _MOST) if choice.random() < often else 1
            waiting.append(sentence)
            if len(waiting) == wanted:
                yield _one(waiting)
                waiting = []
        if waiting:
            yield _one(waiting)

    return Corpus.scan(f"{corpus.name} (joined)", source, corpus.scheme)


def _one(sentences: Sequence[Sentence]) -> Sentence:
    if len(sentences) == 1:
        return sentences[0]
    words = tuple(word for sentence in sentences for word in sentence.words)
    tags = tuple(tag for sentence in sentences for tag in sentence.tags)
    return replace(sentences[0], words=words, tags=tags, line=None)
