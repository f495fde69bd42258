"""What every tagger of ours shares, whatever computes the logits.

Windows in length-sorted token-budget batches.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from affineur.entities import Entity, LabeledPiece
from affineur.errors import ModelError, ParameterError
from affineur.runtime.aggregation import AggregationStrategy, Grouping, check_strategy
from affineur.runtime.batches import DEFAULT_BUDGET, plan_batches
from affineur.runtime.prediction import Logits, best_labels
from affineur.runtime.reading import Reading, Wish, word_logits
from affineur.runtime.texts import TextWindow
from affineur.runtime.windows import Encoder, Window

_ENDLESS = 1 << 40
_NOTHING = np.zeros((0, 0), dtype=np.float32)
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

    @property
    def lanes(self) -> int:
        """How many threads may call :meth:`lane_logits` at the same time to gain by it."""
        return 1

    def lane_logits(self, windows: Sequence[Window | TextWindow], alone: bool = False) -> Logits:
        """Compute the logits of windows as one batch beside those of the other lanes, shape ``(windows.

        Longest, labels)``.

        Args:
            windows: The windows.
            alone: Whether no other lane is at work.

        Raises:
            ModelError: If they are NaN or infinite.
        """
        return self.window_logits(windows)

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
            batch_size: Most windows in a batch, beside the token budget; ``None`` for that alone.

        Returns:
            One array of shape ``(words, labels)`` a sentence; a word the tokenizer drops is all NaN.

        Raises:
            ModelError: If the model itself gives NaN or infinity.
        """
        windows = list(self.encoder.windows(sentences))
        return word_logits(
            [len(words) for words in sentences],
            windows,
            self._computed(windows, batch_size),
            len(self._labels),
        )

    def _computed(
        self, windows: Sequence[Window] | Sequence[TextWindow], batch_size: int | None
    ) -> list[Logits]:
        """Return the logits of each window, shape ``(pieces or more, labels)``."""
        rows: list[Logits] = [_NOTHING] * len(windows)
        batches = plan_batches([len(w) for w in windows], self.budget, batch_size or 256)
        for batch, logits in zip(
            batches, self.batch_logits([[windows[i] for i in batch] for batch in batches]), strict=True
        ):
            for index, row in zip(batch, logits, strict=True):
                rows[index] = row
        return rows

    def read(self, texts: Sequence[str], wish: Wish | None = None) -> Reading:
        """Cut raw texts into windows whose logits somebody else is to compute; see :class:`Reading`."""
        return Reading(texts, self.encoder, self._labels, wish)

    def batch_logits(self, batches: Sequence[Sequence[Window | TextWindow]]) -> Iterable[Logits]:
        """Compute the logits of several batches, in order; an engine may work on several at once."""
        return map(self.window_logits, batches)

    def window_logits(self, windows: Sequence[Window | TextWindow]) -> Logits:
        """Compute the logits of windows as one batch, shape ``(windows, longest, labels)``.

        Raises:
            ModelError: If they are NaN or infinite.
        """
        logits = self.forward(*pad([w.ids for w in windows], self.encoder.pad_id))
        if not np.isfinite(logits).all():
            raise ModelError("the model's outputs are not numbers (NaN or infinite); its weights are damaged")
        return logits

    @overload
    def predict(self, text: str, aggregation_strategy: Grouping = "word") -> list[Entity]: ...

    @overload
    def predict(self, text: str, aggregation_strategy: Literal["none"]) -> list[LabeledPiece]: ...

    def predict(
        self, text: str, aggregation_strategy: AggregationStrategy = "word"
    ) -> list[Entity] | list[LabeledPiece]:
        """Find the entities of one raw text, with character offsets; see :meth:`predict_batch`."""
        return self.predict_batch([text], aggregation_strategy=aggregation_strategy)[0]

    @overload
    def predict_batch(
        self, texts: Sequence[str], batch_size: int | None = 32, aggregation_strategy: Grouping = "word"
    ) -> list[list[Entity]]: ...

    @overload
    def predict_batch(
        self, texts: Sequence[str], batch_size: int | None = 32, *, aggregation_strategy: Literal["none"]
    ) -> list[list[LabeledPiece]]: ...

    @overload
    def predict_batch(
        self, texts: Sequence[str], batch_size: int | None = 32, *, aggregation_strategy: AggregationStrategy
    ) -> list[list[Entity]] | list[list[LabeledPiece]]: ...

    def predict_batch(
        self,
        texts: Sequence[str],
        batch_size: int | None = 32,
        aggregation_strategy: AggregationStrategy = "word",
    ) -> list[list[Entity]] | list[list[LabeledPiece]]:
        """Find the entities of many raw texts: sorted by length inside, results in input order.

        Args:
            texts: Raw texts of any length; long ones go through overlapping windows.
            batch_size: Most sequences in one batch, beside the token budget; ``None`` for that alone.
            aggregation_strategy: ``word`` labels words as French corpora have them by their first piece, and
                gives ``word == text[start:end]``. ``none``, ``simple``, ``first``, ``average`` and ``max``
                are those of transformers' pipeline and give what it gives, for long texts with ``stride``;
                ``none`` gives pieces.

        Raises:
            ParameterError: If there is no such strategy, or ``texts`` is one text.
            ModelError: If the model gives NaN or infinity.
        """
        wish = Wish(aggregation_strategy)
        if isinstance(texts, str):
            raise ParameterError(
                "predict_batch was given one text, expected a list of texts; type: predict(text)"
            )
        reading = self.read(texts, wish)
        return reading.results(self._computed(reading.windows, batch_size))

    @overload
    def predict_stream(
        self,
        texts: Iterable[str],
        aggregation_strategy: Grouping = "word",
        batch_size: int | None = None,
        read_ahead: int = _STREAM_TEXTS,
    ) -> Iterator[list[Entity]]: ...

    @overload
    def predict_stream(
        self,
        texts: Iterable[str],
        aggregation_strategy: Literal["none"],
        batch_size: int | None = None,
        read_ahead: int = _STREAM_TEXTS,
    ) -> Iterator[list[LabeledPiece]]: ...

    def predict_stream(
        self,
        texts: Iterable[str],
        aggregation_strategy: AggregationStrategy = "word",
        batch_size: int | None = None,
        read_ahead: int = _STREAM_TEXTS,
    ) -> Iterator[list[Entity]] | Iterator[list[LabeledPiece]]:
        """Find the entities of texts as they come, in their order; memory does not grow with their number.

        Args:
            texts: Raw texts.
            aggregation_strategy: As in :meth:`predict_batch`.
            batch_size: Most sequences in one batch; ``None`` for the token budget alone.
            read_ahead: Most texts read ahead and sorted by length together; a million characters end it too.
        """
        check_strategy(aggregation_strategy)
        return self._stream(texts, aggregation_strategy, batch_size, read_ahead)

    def _stream(
        self, texts: Iterable[str], strategy: AggregationStrategy, batch_size: int | None, read_ahead: int
    ) -> Iterator[Any]:
        waiting: list[str] = []
        characters = 0
        for text in texts:
            waiting.append(text)
            characters += len(text)
            if len(waiting) >= read_ahead or characters >= _STREAM_CHARACTERS:
                yield from self.predict_batch(waiting, batch_size, aggregation_strategy=strategy)
                waiting, characters = [], 0
        yield from self.predict_batch(waiting, batch_size, aggregation_strategy=strategy)


def pad(
    sequences: Sequence[Sequence[int]], pad_id: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pad piece sequences to the longest: ids and attention mask, both of shape ``(sequences, longest)``."""
    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask
