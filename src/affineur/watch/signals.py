"""What a model's probabilities say of the mentions it found, and of those that it may have missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from affineur.entities import (
    Mention,
    Scheme,
    detect,
    project,
    repaired_mentions,
    split_tag,
    to_mentions,
    to_tags,
    types_of,
    with_prefix,
)
from affineur.runtime import EngineTagger, Logits, best_labels

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A word at which a mention begins with less probability than this counts as any word does.
LEAST_MASS = 0.02
#: How near to 0 and 1 a probability may come before its log-odds are taken: what five digits can say.
_EDGE = 1e-4
_TOGETHER = 512  # sentences tagged together


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of some sentences before anybody labels them. Sentences and types are numbered from 0.

    A *begin* is a word at which a mention of a type may begin: all that were found to begin, and all others
    where the probability of it is at least ``LEAST_MASS``.

    Args:
        words: Words of each sentence.
        confidence: Mean over the words of each sentence of the highest probability.
        pieces: Pieces of each sentence.
        unknown: Those that the vocabulary lacks.
        mention_sentence: Sentence of each mention found.
        mention_type: Type of each mention found.
        mentions: Log-odds for each mention, shape ``(mentions, 5)``: that it is exactly right if words are
            independent, that its weakest word is of its type, the mean of its words, that the word before is
            not of its type, and the word after.
        begin_sentence: Sentence of each begin.
        begin_type: Type of each begin.
        begins: Shape ``(begins, 7)``: log-odds that a mention of the type begins at the word and that the
            word is of the type; whether one of this type was found to begin there, one of another type, or
            one was found to go on there; the log-odds of that mention being exactly right, in one column for
            this type and in one for another.
    """

    words: IntArray
    confidence: FloatArray
    pieces: IntArray
    unknown: IntArray
    mention_sentence: IntArray
    mention_type: IntArray
    mentions: FloatArray
    begin_sentence: IntArray
    begin_type: IntArray
    begins: FloatArray

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.words)


@dataclass(frozen=True, slots=True)
class Truth:
    """What labels say of signals.

    Args:
        right: Whether each mention found is exactly right.
        begins: Whether a gold mention of the type begins at each begin.
        elsewhere: Gold mentions of each type that begin at no begin, shape ``(sentences, types)``.
    """

    right: FloatArray
    begins: FloatArray
    elsewhere: FloatArray


def log_odds(probability: FloatArray) -> FloatArray:
    """Return the logarithm of the odds; probabilities stay as far from 0 and 1 as five digits can say."""
    kept = np.clip(probability, _EDGE, 1 - _EDGE)
    found: FloatArray = np.log(kept) - np.log1p(-kept)
    return found


class Reader:
    """Reads the signals of sentences with a model, in the scheme that mentions are compared in.

    Args:
        tagger: The model.
        scheme: The scheme: the model's own, or a coarser one.
        types: The types that are looked at; ``None`` for all of the model.
    """

    def __init__(self, tagger: EngineTagger, scheme: Scheme, types: Sequence[str] | None = None) -> None:
        self._tagger, self.scheme = tagger, scheme
        self._tags = tuple(with_prefix(label) for label in tagger.labels)
        self._own = detect(self._tags)
        self.types = types_of(self._tags) if types is None else tuple(types)
        self._roles = _roles(self._tags, self.types, scheme)

    def read(
        self, sentences: Sequence[Sequence[str]], gold: Sequence[Sequence[Mention]] | None = None
    ) -> tuple[Signals, Truth | None]:
        """Tag sentences, and say what the probabilities are signals of.

        Args:
            sentences: Words of each.
            gold: The mentions that are really there, of the reader's types; ``None`` where nobody knows.

        Returns:
            The signals, and what the labels say of them.
        """
        logits = chain.from_iterable(
            self._tagger.logits(sentences[first : first + _TOGETHER])
            for first in range(0, len(sentences), _TOGETHER)
        )
        return self.signals(sentences, logits, gold, self._count_pieces(sentences))

    def signals(
        self,
        sentences: Sequence[Sequence[str]],
        logits: Iterable[Logits],
        gold: Sequence[Sequence[Mention]] | None = None,
        pieces: Sequence[tuple[int, int]] = (),
    ) -> tuple[Signals, Truth | None]:
        """Do what :meth:`read` does, with logits that are computed.

        Args:
            sentences: Words of each.
            logits: Of each, shape ``(words, labels)``; a word never seen by the model is all NaN.
            gold: As there.
            pieces: Pieces of each sentence, and unknown ones.
        """
        parts = [self._sentence(each) for each in logits]
        mention_sentence, begin_sentence = (
            np.repeat(np.arange(len(parts)), [len(getattr(part, name)) for part in parts])
            for name in ("mentions", "begins")
        )
        counts = np.array(pieces or [(0, 0)] * len(parts), dtype=np.int64).reshape(-1, 2)
        signals = Signals(
            np.array([len(words) for words in sentences], dtype=np.int64),
            np.array([part.confidence for part in parts]),
            counts[:, 0],
            counts[:, 1],
            mention_sentence,
            np.array([part.types.index(m.type) for part in parts for m in part.found], dtype=np.int64),
            _stacked([part.mentions for part in parts], 5),
            begin_sentence,
            np.concatenate([np.zeros(0, np.int64), *(part.places[:, 1] for part in parts)]),
            _stacked([part.begins for part in parts], 7),
        )
        if gold is None:
            return signals, None
        return signals, _truth(parts, gold, len(self.types))

    def _sentence(self, logits: Logits) -> _Part:
        chosen, _ = best_labels(logits, self._tags)
        found = repaired_mentions(chosen, self._own)
        if self.scheme is not self._own:
            found = to_mentions(
                project(to_tags(found, len(chosen), self._own), self._own, self.scheme), self.scheme
            )
        found = [mention for mention in found if mention.type in self.types]
        seen = np.logical_not(np.isnan(logits).any(axis=1))
        scores = np.where(seen[:, None], logits, 0.0).astype(np.float64)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
        scores /= scores.sum(axis=1, keepdims=True)
        scores[~seen] = 0.0
        first, inside = np.split(scores @ self._roles, 2, axis=1)
        return _part(
            first,
            inside,
            found,
            self.types,
            float(scores.max(axis=1, initial=0).mean() if len(scores) else 1),
        )

    def _count_pieces(self, sentences: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
        encoder = self._tagger.encoder
        return [
            (len(encoding.ids), encoding.ids.count(encoder.unknown_id))
            for first in range(0, len(sentences), _TOGETHER)
            for encoding in encoder.encode(sentences[first : first + _TOGETHER])
        ]


@dataclass(frozen=True, slots=True)
class _Part:
    """The signals of one sentence."""

    types: tuple[str, ...]
    found: list[Mention]
    confidence: float
    mentions: FloatArray
    #: Word and type of each begin.
    places: IntArray
    begins: FloatArray


def _part(
    first: FloatArray, inside: FloatArray, found: list[Mention], types: tuple[str, ...], confidence: float
) -> _Part:
    """Take the probabilities of a sentence's words to signals.

    Args:
        first: For each word and type, that it is marked as the first of a mention.
        inside: That it is in one and not so marked.
        found: The mentions found.
        types: The types.
        confidence: The mean of the words' highest probabilities.
    """
    words, kinds = first.shape
    typed = first + inside
    before, after = np.zeros_like(typed), np.zeros_like(typed)
    before[1:], after[:-1] = typed[:-1], inside[1:]
    # Where no label marks a beginning, it shows as a rise.
    mass = np.minimum(1.0, first + np.maximum(0.0, inside - before))
    state = np.zeros((words, kinds, 3))
    exact = np.zeros((words, kinds, 2))
    rows = np.zeros((len(found), 5))
    for row, mention in enumerate(found):
        start, end, kind = mention.start, mention.end, types.index(mention.type)
        own = typed[start:end, kind]
        # Only a mention whose first word is not marked could have begun earlier.
        edges = 1 - before[start, kind] * inside[start, kind] / max(own[0], _EDGE), 1 - after[end - 1, kind]
        product = own.prod() * edges[0] * edges[1]
        rows[row] = log_odds(np.array([product, own.min(), own.mean(), *edges]))
        state[start + 1 : end, :, 2] = 1
        state[start, :, 1] = 1
        exact[start, :, 1] = rows[row, 0]
        state[start, kind], exact[start, kind] = (1, 0, 0), (rows[row, 0], 0)
    kept = (mass >= LEAST_MASS) | (state[:, :, 0] > 0)
    places = np.argwhere(kept)
    begins = np.concatenate(
        [log_odds(mass[kept])[:, None], log_odds(typed[kept])[:, None], state[kept], exact[kept]], axis=1
    )
    return _Part(types, found, confidence, rows, places, begins)


def _truth(parts: Sequence[_Part], gold: Sequence[Sequence[Mention]], kinds: int) -> Truth:
    elsewhere = np.zeros((len(parts), kinds))
    right: list[bool] = []
    begins: list[bool] = []
    for row, (part, mentions) in enumerate(zip(parts, gold, strict=True)):
        exact = set(mentions)
        right += [mention in exact for mention in part.found]
        there = {(mention.start, part.types.index(mention.type)) for mention in mentions}
        places = [(word, kind) for word, kind in part.places.tolist()]
        begins += [place in there for place in places]
        for _, kind in there.difference(places):
            elsewhere[row, kind] += 1
    return Truth(np.array(right, dtype=np.float64), np.array(begins, dtype=np.float64), elsewhere)


def _roles(tags: Sequence[str], types: Sequence[str], scheme: Scheme) -> FloatArray:
    """Say of each label whether it marks the first word of a type, and whether it is in one without a mark.

    Returns:
        Shape ``(labels, 2 × types)``.
    """
    roles = np.zeros((len(tags), 2, len(types)))
    for row, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        if prefix != "O" and kind in types:
            roles[row, 0 if prefix in "BS" and scheme is not Scheme.IO else 1, types.index(kind)] = 1
    return roles.reshape(len(tags), -1)


def _stacked(parts: Sequence[FloatArray], columns: int) -> FloatArray:
    return np.concatenate([np.zeros((0, columns)), *parts])
