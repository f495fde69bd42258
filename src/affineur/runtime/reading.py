"""Raw texts cut into windows, to be read once each window has its logits.

That is prediction without saying who computes, and when.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Literal, TypeVar, get_args

import numpy as np

from affineur.entities import Entity, LabeledPiece, line_starts, split_sentences
from affineur.errors import ParameterError, did_you_mean
from affineur.runtime.aggregation import (
    AggregationStrategy,
    check_strategy,
    continues_word,
    group_pieces,
    label_pieces,
    merge_windows,
)
from affineur.runtime.evidence import Evidence, text_evidence
from affineur.runtime.prediction import Logits, word_entities
from affineur.runtime.texts import TextWindow
from affineur.runtime.windows import Encoder, Window

Found = TypeVar("Found", Entity, LabeledPiece)
Spans = Sequence[tuple[int, int]]

Context = Literal["sentence", "document"]

#: How much of a text a model is shown at once.
CONTEXTS: tuple[str, ...] = get_args(Context)


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How entities are predicted, in the terms of transformers' pipeline.

    Args:
        strategy: ``word`` (ours), or the pipeline's ``none``, ``simple``, ``first``, ``average``, ``max``.
        ignore_labels: Labels (strategy ``none``) or types that are left out; without ``O`` in it, what is no
            mention comes too.
        stride: Pieces that neighboring windows of a long text share; ``None`` for the encoder's own.
        threshold: Entities with a lower score are left out, in [0, 1].
        context: What a model is shown at once: ``sentence`` (a sentence, or a line of a list) or ``document``
            (as much as it can take). ``None`` is ``sentence`` for ``word``, and ``document`` for the
            pipeline's strategies, which give exactly what it gives only then.

    Raises:
        ParameterError: If there is no such strategy or context, or the threshold is out of range.
    """

    strategy: AggregationStrategy = "word"
    ignore_labels: tuple[str, ...] = ("O",)
    stride: int | None = None
    threshold: float = 0.0
    context: Context | None = None

    def __post_init__(self) -> None:
        check_strategy(self.strategy)
        check_context(self.context)
        if not 0 <= self.threshold <= 1:
            raise ParameterError(f"threshold={self.threshold:g} is impossible, expected 0 to 1", "threshold")

    @property
    def by_sentence(self) -> bool:
        """Whether texts are cut into sentences."""
        return self.strategy == "word" if self.context is None else self.context == "sentence"


def check_context(name: str | None) -> None:
    """Refuse a name that is no context.

    Raises:
        ParameterError: With the names there are.
    """
    if name is not None and name not in CONTEXTS:
        raise ParameterError(
            f"no context '{name}', expected {' or '.join(CONTEXTS)}{did_you_mean(name, CONTEXTS)}", "context"
        )


class Reading:
    """Texts as windows, and the way back from logits to entities.

    Args:
        texts: Raw texts of any length.
        encoder: Cuts them; what it cannot cut is in no window.
        labels: Labels in the order of the logits.
        options: How the entities are predicted.

    Raises:
        ParameterError: If the stride does not fit the model's windows.
    """

    def __init__(
        self,
        texts: Sequence[str],
        encoder: Encoder,
        labels: Sequence[str],
        options: PredictOptions | None = None,
    ) -> None:
        self._texts, self._labels, self._encoder = texts, tuple(labels), encoder
        self._options = options or PredictOptions()
        self._by_word = self._options.strategy == "word"
        self._windows: list[Window] = []
        self._text_windows: list[TextWindow] = []
        by_sentence = self._options.by_sentence
        self._parts = [split_sentences(text) if by_sentence else [(0, len(text))] for text in texts]
        if self._by_word:
            self._spans = [encoder.split(text) for text in texts]
            # At which words the parts of each text begin and end.
            self._bounds = [
                _bounds(spans, [begin for begin, _ in parts[1:]])
                for spans, parts in zip(self._spans, self._parts, strict=True)
            ]
            words = [
                [text[a:b] for a, b in spans[begin:end]]
                for text, spans, bounds in zip(texts, self._spans, self._bounds, strict=True)
                for begin, end in pairwise(bounds)
            ]
            self._windows = list(encoder.windows(words, self._options.stride))
        else:
            self._pieces = encoder.texts(self._options.stride)
            self._cut = [text[a:b] for text, parts in zip(texts, self._parts, strict=True) for a, b in parts]
            self._text_windows = list(self._pieces.windows(self._cut))

    @property
    def windows(self) -> Sequence[Window] | Sequence[TextWindow]:
        """What has to be computed."""
        return self._windows if self._by_word else self._text_windows

    def results(self, rows: Sequence[Logits]) -> list[list[Entity]] | list[list[LabeledPiece]]:
        """Read the entities of each text.

        Args:
            rows: Logits of each window, in the order of ``windows``, shape ``(pieces or more, labels)``;
                those of padding are not looked at.
        """
        if self._options.strategy == "none":
            return _sure(self._labeled(rows), self._options.threshold)
        found = self._worded(rows) if self._by_word else self._grouped(rows)
        return _sure(found, self._options.threshold)

    def evidence(
        self, rows: Sequence[Logits], found: Sequence[Sequence[Entity | LabeledPiece]]
    ) -> list[Evidence]:
        """Say what the probabilities of each text are evidence of.

        By other strategies than ``word``, what lies between spaces counts as a word, read at its first piece.

        Args:
            rows: Logits of each window, as :meth:`results` takes them.
            found: What that gave for each text, or some of it.
        """
        units = self._words(rows) if self._by_word else self._first_pieces(rows)
        return [
            text_evidence(spans, logits, self._labels, each, ends, pieces)
            for (spans, logits, ends), each, pieces in zip(units, found, self._count_pieces(), strict=True)
        ]

    def _worded(self, rows: Sequence[Logits]) -> list[list[Entity]]:
        ignored = self._options.ignore_labels
        return [
            word_entities(text, spans, logits, self._labels, ignored, ends=ends)
            for text, (spans, logits, ends) in zip(self._texts, self._words(rows), strict=True)
        ]

    def _words(self, rows: Sequence[Logits]) -> Iterator[tuple[Spans, Logits, Sequence[int]]]:
        """Yield the words of each text: their spans, their logits, and those before which a mention ends."""
        sizes = [end - begin for bounds in self._bounds for begin, end in pairwise(bounds)]
        parts = iter(word_logits(sizes, self._windows, rows, len(self._labels)))
        for text, spans, bounds in zip(self._texts, self._spans, self._bounds, strict=True):
            logits = [*islice(parts, len(bounds) - 1)]
            ends = bounds if self._options.by_sentence else _bounds(spans, line_starts(text))
            yield spans, logits[0] if len(logits) == 1 else np.concatenate(logits), ends[1:-1]

    def _first_pieces(self, rows: Sequence[Logits]) -> Iterator[tuple[Spans, Logits, Sequence[int]]]:
        """Yield what :meth:`_words` does, of the pieces that begin a word."""
        spans: list[list[tuple[int, int]]] = [[] for _ in self._cut]
        logits: list[list[Logits]] = [[] for _ in self._cut]
        for window, row in zip(self._text_windows, rows, strict=True):
            text = self._cut[window.text]
            kept = [
                i
                for i in window.own
                if not window.special[i] and not continues_word(text, window, i, self._pieces)
            ]
            spans[window.text] += [window.offsets[i] for i in kept]
            logits[window.text].append(row[kept])
        whole = zip(spans, logits, strict=True)
        none = np.zeros((0, len(self._labels)), np.float32)
        for parts in self._parts:
            those: list[tuple[int, int]] = []
            ends, several = [], [none]
            for (begin, _), (each, some) in zip(parts, whole, strict=False):
                ends.append(len(those))
                those += [(start + begin, end + begin) for start, end in each]
                several += some
            ends = sorted({*ends} - {0, len(those)})
            yield those, np.concatenate(several), ends

    def _count_pieces(self) -> list[tuple[int, int]]:
        """Count the pieces of each text, special ones aside, and those that the vocabulary lacks."""
        unknown, special = self._encoder.unknown_id, self._encoder.special_count
        windows: Sequence[tuple[int, tuple[int, ...]]] = (
            [(window.sentence, window.ids) for window in self._windows]
            if self._by_word
            else [(window.text, window.ids) for window in self._text_windows]
        )
        counts = [[0, 0] for _ in range(sum(self._sizes()))]
        for place, ids in windows:
            counts[place][0] += len(ids) - special
            counts[place][1] += ids.count(unknown)
        parts = iter(counts)
        whole = []
        for size in self._sizes():
            some = [*islice(parts, size)]
            whole.append((sum(count for count, _ in some), sum(count for _, count in some)))
        return whole

    def _sizes(self) -> list[int]:
        """Return how many parts each text was cut into."""
        return [len(bounds) - 1 for bounds in self._bounds] if self._by_word else list(map(len, self._parts))

    def _labeled(self, rows: Sequence[Logits]) -> list[list[LabeledPiece]]:
        pieces: list[list[LabeledPiece]] = [[] for _ in self._cut]
        sizes = [0] * len(self._cut)
        for window, logits in zip(self._text_windows, rows, strict=True):
            text = self._cut[window.text]
            pieces[window.text] += label_pieces(
                text, window, logits, self._labels, self._pieces, self._options.ignore_labels
            )
            sizes[window.text] = window.first + len(window)
        return self._whole(pieces, sizes)

    def _grouped(self, rows: Sequence[Logits]) -> list[list[Entity]]:
        found: list[list[Entity]] = [[] for _ in self._cut]
        windows = [0] * len(self._cut)
        strategy, ignored = self._options.strategy, self._options.ignore_labels
        for window, logits in zip(self._text_windows, rows, strict=True):
            text = self._cut[window.text]
            found[window.text] += group_pieces(
                text, window, logits, self._labels, self._pieces, strategy, ignored
            )
            windows[window.text] += 1
        return self._whole(
            [
                merge_windows(entities) if count > 1 else entities
                for entities, count in zip(found, windows, strict=True)
            ]
        )

    def _whole(self, found: list[list[Found]], sizes: Sequence[int] = ()) -> list[list[Found]]:
        """Put what was found in the parts of each text together, with offsets in the text.

        Args:
            found: For each part.
            sizes: Pieces of each part, where they are numbered.
        """
        parts = iter(zip(found, sizes or [0] * len(found), strict=True))
        whole: list[list[Found]] = []
        for spans in self._parts:
            whole.append([])
            first = 0
            for (begin, _), (those, size) in zip(spans, parts, strict=False):
                whole[-1] += [_moved(each, begin, first) for each in those] if begin or first else those
                first += size
        return whole


def _bounds(spans: Spans, starts: Sequence[int]) -> list[int]:
    """Return at which words the parts of a text begin, and where the last ends.

    Args:
        spans: The words.
        starts: Where parts begin, but for the first.
    """
    if not starts:
        return [0, len(spans)]
    begins = [begin for begin, _ in spans]
    inner = {bisect_left(begins, start) for start in starts}
    return [0, *sorted(inner - {0, len(spans)}), len(spans)]


def _moved(found: Found, characters: int, pieces: int) -> Found:
    start, end = found.start + characters, found.end + characters
    if isinstance(found, LabeledPiece):
        return replace(found, start=start, end=end, index=found.index + pieces)
    return replace(found, start=start, end=end)


def _sure(found: list[list[Found]], threshold: float) -> list[list[Found]]:
    """Leave out what has a score below the threshold."""
    if not threshold:
        return found
    return [[each for each in entities if each.score >= threshold] for entities in found]


def word_logits(
    words: Sequence[int], windows: Sequence[Window], rows: Sequence[Logits], labels: int
) -> list[Logits]:
    """Put the logits of windows together to those of words, read at the first piece of each.

    Args:
        words: Number of words of each sentence.
        windows: Windows of the sentences.
        rows: Logits of each window, shape ``(pieces or more, labels)``.
        labels: Number of labels.

    Returns:
        One array of shape ``(words, labels)`` for each sentence; a word that is in no window is all NaN.
    """
    found = [np.full((count, labels), np.nan, dtype=np.float32) for count in words]
    for window, logits in zip(windows, rows, strict=True):
        found[window.sentence][list(window.words)] = logits[list(window.positions)]
    return found
