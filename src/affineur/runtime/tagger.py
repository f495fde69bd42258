"""What every tagger of ours shares, whatever computes the logits: windows in length-sorted token-budget batches."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from affineur.entities import Entity
from affineur.errors import ModelError
from affineur.runtime.batches import DEFAULT_BUDGET, plan_batches
from affineur.runtime.prediction import Logits, best_labels, predict_batch
from affineur.runtime.windows import Encoder, Window

_ENDLESS = 1 << 40
_STREAM_TEXTS, _STREAM_CHARACTERS = 1024, 1 << 20


class EngineTagger(ABC):
    """Tags words and raw texts with a model that an engine computes.

    Args:
        encoder: Cuts words into windows of pieces.
        labels: Labels in the order of the outputs.
        budget: Padded tokens in one batch.
    """

    def __init__(self, encoder: Encoder, labels: Sequence[str], budget: int = DEFAULT_BUDGET) -> None:
        self.encoder = encoder
        self._labels = tuple(labels)
        self.budget = budget

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self._labels

    @abstractmethod
    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Logits:
        """Compute logits.

        Args:
            ids: Piece ids, shape ``(sequences, longest)``.
            mask: 1 where there is a piece, 0 where there is padding; same shape.

        Returns:
            Shape ``(sequences, longest, labels)``.
        """

    def whole(self) -> Self:
        """Return the same model as a tagger that takes up to 256 windows as one batch, whatever their length."""
        other = copy.copy(self)
        other.budget = _ENDLESS
        return other

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the likeliest label of each word; a word the tokenizer drops is ``O``."""
        return [best_labels(logits, self._labels)[0] for logits in self.logits(sentences)]

    def logits(self, sentences: Sequence[Sequence[str]], batch_size: int | None = None) -> list[Logits]:
        """Return the logits of each word, read at its first piece.

        Args:
            sentences: Words of each sentence.
            batch_size: Most windows in a batch; ``None`` for the token budget alone.

        Returns:
            One array of shape ``(words, labels)`` a sentence; a word the tokenizer drops is all NaN.

        Raises:
            ModelError: If the model itself gives NaN or infinity.
        """
        found = [np.full((len(words), len(self._labels)), np.nan, dtype=np.float32) for words in sentences]
        windows = list(self.encoder.windows(sentences))
        budget = self.budget if batch_size is None else _ENDLESS
        for batch in plan_batches([len(w) for w in windows], budget, batch_size or 256):
            chosen = [windows[i] for i in batch]
            for window, rows in zip(chosen, self.window_logits(chosen), strict=True):
                found[window.sentence][list(window.words)] = rows[list(window.positions)]
        return found

    def window_logits(self, windows: Sequence[Window]) -> Logits:
        """Compute the logits of windows as one batch, shape ``(windows, longest, labels)``.

        Raises:
            ModelError: If they are NaN or infinite.
        """
        logits = self.forward(*pad([w.ids for w in windows], self.encoder.pad_id))
        if not np.isfinite(logits).all():
            raise ModelError("the model's outputs are not numbers (NaN or infinite); its weights are damaged")
        return logits

    def predict(self, text: str) -> list[Entity]:
        """Find the entities of one raw text, with character offsets."""
        return self.predict_batch([text])[0]

    def predict_batch(self, texts: Sequence[str], batch_size: int | None = 32) -> list[list[Entity]]:
        """Find the entities of many raw texts: sorted by length inside, results in input order.

        Args:
            texts: Raw texts of any length.
            batch_size: Most sequences in one batch; ``None`` for the token budget alone.
        """
        return predict_batch(self, texts, batch_size)

    def predict_stream(self, texts: Iterable[str]) -> Iterator[list[Entity]]:
        """Find the entities of texts as they come, in their order; memory does not grow with their number.

        About a thousand texts, or a million characters, are read ahead and sorted by length together.
        """
        waiting: list[str] = []
        characters = 0
        for text in texts:
            waiting.append(text)
            characters += len(text)
            if len(waiting) == _STREAM_TEXTS or characters >= _STREAM_CHARACTERS:
                yield from self.predict_batch(waiting, None)
                waiting, characters = [], 0
        yield from self.predict_batch(waiting, None)


def pad(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pad piece sequences to the longest: ids and attention mask, both of shape ``(sequences, longest)``."""
    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask
