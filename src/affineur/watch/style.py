"""How far the words of some text lie from those of a reference set, whatever the text was put through.

Labels that a model has never seen say nothing about text that follows other habits: other guidelines,
another century, another language. Such text shows in its commonest words and signs, *le* and *de* and the
comma. These survive capitals, lost accents and bad scans in about their old proportions, and names do not
change them; but no two kinds of text use them alike. So the distance is that between the frequencies of a
reference's commonest words and those in the text: the Jensen-Shannon divergence (Lin 1991, IEEE
Transactions on Information Theory 37: 145), taken among words of one length at a time, for long words are
misread more often than short ones.

Two samples of the same text lie apart by chance, the farther the smaller they are; what chance makes is
taken off, and the reference itself, drawn in parts, says how much that is.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from affineur.watch.signals import FloatArray, IntArray

#: Commonest words and signs that are counted.
COMMONEST = 150
_LONGEST = 4  # words as long or longer are of one length
_DRAWS = 60
_QUOTES = str.maketrans("’‘ʼ“”«»–—‑", '\'\'\'""""---')
_TOKEN = re.compile(r"[^\W\d_]+|[^\w\s]")


def tokens(words: Sequence[str]) -> list[str]:
    """Return words and signs as they are compared: lower case, no accents, however the text was cut."""
    folded = unicodedata.normalize("NFD", " ".join(words).translate(_QUOTES).lower())
    return _TOKEN.findall("".join(c for c in folded if not unicodedata.combining(c)))


def _hashed(token: str) -> str:
    # Of a small reference the commonest words may be names.
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Style:
    """How often the commonest words of a reference set come.

    Args:
        words: A hash of each.
        lengths: The group of each: 0 for signs, otherwise characters up to ``4``.
        counts: How often each comes.
        share: Their share of all words and signs.
        chance: The distance of two samples of the same text, in units of 1/n + 1/m.
        spread: Its standard deviation, in the same unit.
    """

    words: tuple[str, ...]
    lengths: IntArray
    counts: FloatArray
    share: float
    chance: float
    spread: float

    @classmethod
    def fit(cls, sentences: Sequence[Sequence[str]], documents: IntArray, seed: int = 0) -> Style:
        """Count a reference set.

        Args:
            sentences: Its words.
            documents: Number of the document of each sentence.
            seed: Of the parts that are drawn.
        """
        cut = [tokens(words) for words in sentences]
        common = [token for token, _ in Counter(t for each in cut for t in each).most_common(COMMONEST)]
        lengths = np.array([min(len(t), _LONGEST) if t[0].isalpha() else 0 for t in common], dtype=np.int64)
        plain = cls(tuple(map(_hashed, common)), lengths, np.zeros(len(common)), 0.0, 0.0, 0.0)
        column = {token: place for place, token in enumerate(common)}
        counted = np.zeros((len(cut), len(common)))
        for row, each in enumerate(cut):
            for token in each:
                if (place := column.get(token)) is not None:
                    counted[row, place] += 1
        _, numbered = np.unique(documents, return_inverse=True)
        by_document = np.zeros((int(numbered.max(initial=-1)) + 1, len(common)))
        np.add.at(by_document, numbered, counted)
        chance, spread = plain._drawn(by_document, np.random.default_rng(seed))
        share = float(counted.sum() / max(1, sum(map(len, cut))))
        return cls(plain.words, lengths, counted.sum(axis=0), share, chance, spread)

    def count(self, sentences: Sequence[Sequence[str]]) -> tuple[FloatArray, int]:
        """Count its words in some sentences, and all words and signs there."""
        found = Counter(token for words in sentences for token in tokens(words))
        hashed = {_hashed(token): count for token, count in found.items()}
        return np.array([hashed.get(word, 0) for word in self.words], dtype=float), found.total()

    def distance(self, counts: FloatArray, without: FloatArray | None = None) -> tuple[float, float]:
        """Return how far some text is from the reference beyond chance, and how much chance makes of that.

        Args:
            counts: How often each of the words comes in it.
            without: The same of a part of the reference that is left out of the comparison.

        Returns:
            The distance, about 0 for text of the reference's kind, and its standard deviation there.
        """
        own = self.counts if without is None else self.counts - without
        if not counts.sum() or not own.sum():
            return 0.0, float("inf")
        unit = 1 / counts.sum() + 1 / own.sum()
        return _divergence(counts, own, self.lengths) - self.chance * unit, self.spread * unit

    def _drawn(self, counts: FloatArray, random: np.random.Generator) -> tuple[float, float]:
        """Say how far parts of the reference lie from the rest, in units of 1/n + 1/m."""
        found = []
        for _ in range(_DRAWS):
            order = random.permutation(len(counts))
            part, rest = (counts[each].sum(axis=0) for each in np.split(order, [max(1, len(counts) // 3)]))
            if part.sum() and rest.sum():
                apart = _divergence(part, rest, self.lengths)
                found.append(apart / (1 / part.sum() + 1 / rest.sum()))
        return (float(np.mean(found)), float(np.std(found))) if found else (0.0, 0.0)


def _divergence(first: FloatArray, second: FloatArray, groups: IntArray) -> float:
    """Return the Jensen-Shannon divergence within each group, weighted by its share of the second."""
    found = 0.0
    for group in np.unique(groups):
        own = groups == group
        one, other = first[own], second[own]
        if one.sum() and other.sum():
            p, q = one / one.sum(), other / other.sum()
            middle = (p + q) / 2
            found += (_relative(p, middle) + _relative(q, middle)) / 2 * other.sum() / second.sum()
    return float(found)


def _relative(p: FloatArray, q: FloatArray) -> float:
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / q[there])))
