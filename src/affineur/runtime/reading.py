"""Raw texts cut into windows, to be read once each window has its logits.

Prediction without saying who computes, and when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from affineur.entities import Entity, LabeledPiece
from affineur.errors import ParameterError
from affineur.runtime.aggregation import (
    AggregationStrategy,
    check_strategy,
    group_pieces,
    label_pieces,
    merge_windows,
)
from affineur.runtime.prediction import Logits, word_entities
from affineur.runtime.texts import TextWindow
from affineur.runtime.windows import Encoder, Window
from affineur.runtime.words import split_words


@dataclass(frozen=True, slots=True)
class Wish:
    """How the entities of a text are wanted; names and meaning are those of transformers' pipeline.

    Args:
        aggregation_strategy: ``word`` (ours), or ``none``, ``simple``, ``first``, ``average``, ``max``.
        ignore_labels: Labels (strategy ``none``) or types that are left out; without ``O`` in it, what is no
            mention comes too.
        stride: Pieces that neighboring windows of a long text share; ``None`` for the encoder's own.
        threshold: Least score of what is given, in [0, 1].

    Raises:
        ParameterError: If there is no such strategy, or the threshold is out of range.
    """

    aggregation_strategy: AggregationStrategy = "word"
    ignore_labels: tuple[str, ...] = ("O",)
    stride: int | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        check_strategy(self.aggregation_strategy)
        if not 0 <= self.threshold <= 1:
            raise ParameterError(f"a threshold of {self.threshold:g} is impossible, expected 0 to 1")


class Reading:
    """Texts as windows, and the way back from logits to entities.

    Args:
        texts: Raw texts of any length.
        encoder: Cuts them; what it cannot cut is in no window.
        labels: Labels in the order of the logits.
        wish: How the entities are wanted.

    Raises:
        ParameterError: If the stride does not fit the model's windows.
    """

    def __init__(
        self, texts: Sequence[str], encoder: Encoder, labels: Sequence[str], wish: Wish | None = None
    ) -> None:
        self._texts, self._labels, self._wish = texts, tuple(labels), wish or Wish()
        self._by_word = self._wish.aggregation_strategy == "word"
        self._windows: list[Window] = []
        self._text_windows: list[TextWindow] = []
        if self._by_word:
            self._spans = [split_words(text) for text in texts]
            words = [[text[a:b] for a, b in cut] for text, cut in zip(texts, self._spans, strict=True)]
            self._windows = list(encoder.windows(words, self._wish.stride))
        else:
            self._pieces = encoder.texts(self._wish.stride)
            self._text_windows = list(self._pieces.windows(texts))

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
        least = self._wish.threshold
        if self._wish.aggregation_strategy == "none":
            return [[piece for piece in pieces if piece.score >= least] for pieces in self._labeled(rows)]
        found = self._worded(rows) if self._by_word else self._grouped(rows)
        return [[entity for entity in entities if entity.score >= least] for entities in found]

    def _worded(self, rows: Sequence[Logits]) -> list[list[Entity]]:
        logits = word_logits([len(cut) for cut in self._spans], self._windows, rows, len(self._labels))
        read = zip(self._texts, self._spans, logits, strict=True)
        return [
            word_entities(text, cut, scores, self._labels, self._wish.ignore_labels)
            for text, cut, scores in read
        ]

    def _labeled(self, rows: Sequence[Logits]) -> list[list[LabeledPiece]]:
        pieces: list[list[LabeledPiece]] = [[] for _ in self._texts]
        for window, logits in zip(self._text_windows, rows, strict=True):
            text = self._texts[window.text]
            pieces[window.text] += label_pieces(
                text, window, logits, self._labels, self._pieces, self._wish.ignore_labels
            )
        return pieces

    def _grouped(self, rows: Sequence[Logits]) -> list[list[Entity]]:
        parts: list[list[list[Entity]]] = [[] for _ in self._texts]
        strategy, ignored = self._wish.aggregation_strategy, self._wish.ignore_labels
        for window, logits in zip(self._text_windows, rows, strict=True):
            parts[window.text].append(
                group_pieces(
                    self._texts[window.text], window, logits, self._labels, self._pieces, strategy, ignored
                )
            )
        whole = ([entity for part in several for entity in part] for several in parts)
        return [
            merge_windows(entities) if len(several) > 1 else entities
            for several, entities in zip(parts, whole, strict=True)
        ]


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
        One array of shape ``(words, labels)`` a sentence; a word that is in no window is all NaN.
    """
    found = [np.full((count, labels), np.nan, dtype=np.float32) for count in words]
    for window, logits in zip(windows, rows, strict=True):
        found[window.sentence][list(window.words)] = logits[list(window.positions)]
    return found
