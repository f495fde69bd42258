"""Raw texts cut into windows, to be read once each window has its logits.

That is prediction without saying who computes, and when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

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

Found = TypeVar("Found", Entity, LabeledPiece)


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How entities are predicted, in the terms of transformers' pipeline.

    Args:
        strategy: ``word`` (ours), or the pipeline's ``none``, ``simple``, ``first``, ``average``, ``max``.
        ignore_labels: Labels (strategy ``none``) or types that are left out; without ``O`` in it, what is no
            mention comes too.
        stride: Pieces that neighboring windows of a long text share; ``None`` for the encoder's own.
        threshold: Entities with a lower score are left out, in [0, 1].

    Raises:
        ParameterError: If there is no such strategy, or the threshold is out of range.
    """

    strategy: AggregationStrategy = "word"
    ignore_labels: tuple[str, ...] = ("O",)
    stride: int | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        check_strategy(self.strategy)
        if not 0 <= self.threshold <= 1:
            raise ParameterError(f"threshold={self.threshold:g} is impossible, expected 0 to 1", "threshold")


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
        self._texts, self._labels = texts, tuple(labels)
        self._options = options or PredictOptions()
        self._by_word = self._options.strategy == "word"
        self._windows: list[Window] = []
        self._text_windows: list[TextWindow] = []
        if self._by_word:
            self._spans = [encoder.split(text) for text in texts]
            words = [[text[a:b] for a, b in cut] for text, cut in zip(texts, self._spans, strict=True)]
            self._windows = list(encoder.windows(words, self._options.stride))
        else:
            self._pieces = encoder.texts(self._options.stride)
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
        if self._options.strategy == "none":
            return _sure(self._labeled(rows), self._options.threshold)
        found = self._worded(rows) if self._by_word else self._grouped(rows)
        return _sure(found, self._options.threshold)

    def _worded(self, rows: Sequence[Logits]) -> list[list[Entity]]:
        logits = word_logits([len(cut) for cut in self._spans], self._windows, rows, len(self._labels))
        return [
            word_entities(text, spans, rows, self._labels, self._options.ignore_labels)
            for text, spans, rows in zip(self._texts, self._spans, logits, strict=True)
        ]

    def _labeled(self, rows: Sequence[Logits]) -> list[list[LabeledPiece]]:
        pieces: list[list[LabeledPiece]] = [[] for _ in self._texts]
        for window, logits in zip(self._text_windows, rows, strict=True):
            text = self._texts[window.text]
            pieces[window.text] += label_pieces(
                text, window, logits, self._labels, self._pieces, self._options.ignore_labels
            )
        return pieces

    def _grouped(self, rows: Sequence[Logits]) -> list[list[Entity]]:
        found: list[list[Entity]] = [[] for _ in self._texts]
        windows = [0] * len(self._texts)
        strategy, ignored = self._options.strategy, self._options.ignore_labels
        for window, logits in zip(self._text_windows, rows, strict=True):
            text = self._texts[window.text]
            found[window.text] += group_pieces(
                text, window, logits, self._labels, self._pieces, strategy, ignored
            )
            windows[window.text] += 1
        return [
            merge_windows(entities) if count > 1 else entities
            for entities, count in zip(found, windows, strict=True)
        ]


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
