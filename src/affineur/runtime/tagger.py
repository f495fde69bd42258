"""What every tagger of ours shares, whatever computes the logits: windows in length-sorted batches."""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from affineur.entities import Entity, LabeledPiece
from affineur.errors import ModelError, ParameterError
from affineur.runtime.aggregation import AggregationStrategy, Grouping
from affineur.runtime.batches import DEFAULT_BUDGET, plan_batches
from affineur.runtime.evidence import Evidence
from affineur.runtime.given import given_texts
from affineur.runtime.prediction import Logits, best_labels
from affineur.runtime.reading import Context, PredictOptions, Reading, word_logits
from affineur.runtime.texts import TextWindow
from affineur.runtime.windows import Encoder, Window

_ENDLESS = 1 << 40
_NOTHING = np.zeros((0, 0), dtype=np.float32)
_STREAM_TEXTS, _STREAM_CHARACTERS = 1024, 1 << 20


@dataclass(frozen=True, slots=True)
class Predicted:
    """Raw texts with what was found in them, for whoever keeps a log.

    Args:
        texts: The texts.
        results: What was found in each.
        options: How it was wanted.
        evidence: What the probabilities of each say.
        seconds: What all of them took together.
    """

    texts: Sequence[str]
    results: Sequence[Sequence[Entity | LabeledPiece]]
    options: PredictOptions
    evidence: Sequence[Evidence]
    seconds: float


class EngineTagger(ABC):
    """Tags words and raw texts with a model that an engine computes.

    Args:
        encoder: Cuts words into windows of pieces.
        labels: Labels in the order of the outputs.
        budget: Padded tokens in one batch.

    Attributes:
        listener: Hears of all raw texts that are predicted here, after each batch of them.
    """

    listener: Callable[[Predicted], None] | None = None

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
        """Compute the logits of windows as one batch, beside those of the other lanes.

        Args:
            windows: The windows.
            alone: Whether no other lane is at work.

        Returns:
            Shape ``(windows, longest, labels)``.

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
        """Return the same model as a tagger that takes up to 256 windows as one batch, of any length."""
        other = copy.copy(self)
        other.budget = _ENDLESS
        return other

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the likeliest label of each word; a word the tokenizer drops is ``O``."""
        logits = self.logits(sentences)
        # All words at once: sentence by sentence it took a thirtieth of the time of a small model.
        every = best_labels(np.concatenate(logits), self._labels)[0] if logits else []
        ends = list(accumulate(map(len, logits), initial=0))
        return [every[start:end] for start, end in pairwise(ends)]

    def logits(self, sentences: Sequence[Sequence[str]], batch_size: int | None = None) -> list[Logits]:
        """Return the logits of each word, read at its first piece.

        Args:
            sentences: Words of each sentence.
            batch_size: Most windows in a batch, beside the token budget; ``None`` for that alone.

        Returns:
            One array of shape ``(words, labels)`` for each sentence; a word the tokenizer drops is all NaN.

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
        computed = self.batch_logits([[windows[i] for i in batch] for batch in batches])
        for batch, logits in zip(batches, computed, strict=True):
            for index, row in zip(batch, logits, strict=True):
                rows[index] = row
        return rows

    def read(self, texts: Sequence[str], options: PredictOptions | None = None) -> Reading:
        """Cut raw texts into windows whose logits somebody else is to compute; see :class:`Reading`."""
        return Reading(texts, self.encoder, self._labels, options)

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

    # A text is a sequence of texts to the type checker; the first that fits is taken.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        strategy: Grouping = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
    ) -> list[Entity]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        strategy: Literal["none"],
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
    ) -> list[LabeledPiece]: ...

    @overload
    def __call__(
        self,
        texts: Iterable[str],
        *,
        strategy: Grouping = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
    ) -> list[list[Entity]]: ...

    @overload
    def __call__(
        self,
        texts: Iterable[str],
        *,
        strategy: Literal["none"],
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
    ) -> list[list[LabeledPiece]]: ...

    def __call__(
        self,
        texts: str | Iterable[str],
        *,
        strategy: AggregationStrategy = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
    ) -> list[Any]:
        """Find the entities of one text, or of several.

        Args:
            texts: A raw text of any length, or several.
            strategy: As in :meth:`predict_batch`.
            threshold: Entities with a lower score are left out, in [0, 1].
            context: As in :meth:`predict_batch`.
            batch_size: Most sequences in one batch, beside the token budget; ``None`` for that alone.

        Returns:
            The entities of the text; of several texts a list for each.

        Raises:
            ParameterError: If there is no such strategy, an option is out of range, or a text is none.
            ModelError: If the model gives NaN or infinity.
        """
        if isinstance(texts, str):
            return self.predict_batch(
                [texts], batch_size, strategy=strategy, threshold=threshold, context=context
            )[0]
        return self.predict_batch(
            list(given_texts(texts)), batch_size, strategy=strategy, threshold=threshold, context=context
        )

    @overload
    def predict(
        self,
        text: str,
        *,
        strategy: Grouping = "word",
        threshold: float = 0.0,
        context: Context | None = None,
    ) -> list[Entity]: ...

    @overload
    def predict(
        self, text: str, *, strategy: Literal["none"], threshold: float = 0.0, context: Context | None = None
    ) -> list[LabeledPiece]: ...

    def predict(
        self,
        text: str,
        *,
        strategy: AggregationStrategy = "word",
        threshold: float = 0.0,
        context: Context | None = None,
    ) -> list[Entity] | list[LabeledPiece]:
        """Find the entities of one raw text, with character offsets; see :meth:`predict_batch`.

        Raises:
            ParameterError: As there, and if ``text`` is not one text.
        """
        if not isinstance(text, str):
            raise ParameterError(
                f"text is a {type(text).__name__}, expected one text; type predict_batch(texts) for several",
                "text",
            )
        return self.predict_batch([text], strategy=strategy, threshold=threshold, context=context)[0]

    @overload
    def predict_batch(
        self,
        texts: Sequence[str],
        batch_size: int | None = 32,
        *,
        strategy: Grouping = "word",
        threshold: float = 0.0,
        context: Context | None = None,
    ) -> list[list[Entity]]: ...

    @overload
    def predict_batch(
        self,
        texts: Sequence[str],
        batch_size: int | None = 32,
        *,
        strategy: Literal["none"],
        threshold: float = 0.0,
        context: Context | None = None,
    ) -> list[list[LabeledPiece]]: ...

    @overload
    def predict_batch(
        self,
        texts: Sequence[str],
        batch_size: int | None = 32,
        *,
        strategy: AggregationStrategy,
        threshold: float = 0.0,
        context: Context | None = None,
    ) -> list[list[Entity]] | list[list[LabeledPiece]]: ...

    def predict_batch(
        self,
        texts: Sequence[str],
        batch_size: int | None = 32,
        *,
        strategy: AggregationStrategy = "word",
        threshold: float = 0.0,
        context: Context | None = None,
    ) -> list[list[Entity]] | list[list[LabeledPiece]]:
        """Find the entities of many raw texts: sorted by length inside, results in input order.

        Args:
            texts: Raw texts of any length; long ones go through overlapping windows.
            batch_size: Most sequences in one batch, beside the token budget; ``None`` for that alone.
            strategy: ``word`` labels words as French corpora have them by their first piece, and gives
                ``word == text[start:end]``. ``none``, ``simple``, ``first``, ``average`` and ``max`` are
                those of transformers' pipeline and give what it gives, for long texts with ``stride``;
                ``none`` gives pieces.
            threshold: Entities with a lower score are left out, in [0, 1].
            context: What the model is shown at once: ``sentence`` cuts texts into sentences and lines, as it
                was trained; ``document`` shows it as much as it can take. By default ``sentence`` for
                ``word``, and ``document`` for the others, which equal transformers' pipeline only then.

        Raises:
            ParameterError: If there is no such strategy, an option is out of range, or ``texts`` is no list
                of texts.
            ModelError: If the model gives NaN or infinity.
        """
        options = PredictOptions(strategy, threshold=threshold, context=context)
        check_batch_size(batch_size)
        return self._predicted(list(given_texts(texts)), options, batch_size)

    @overload
    def predict_stream(
        self,
        texts: Iterable[str],
        *,
        strategy: Grouping = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
        read_ahead: int = _STREAM_TEXTS,
    ) -> Iterator[list[Entity]]: ...

    @overload
    def predict_stream(
        self,
        texts: Iterable[str],
        *,
        strategy: Literal["none"],
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
        read_ahead: int = _STREAM_TEXTS,
    ) -> Iterator[list[LabeledPiece]]: ...

    @overload
    def predict_stream(
        self,
        texts: Iterable[str],
        *,
        strategy: AggregationStrategy,
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
        read_ahead: int = _STREAM_TEXTS,
    ) -> Iterator[list[Entity]] | Iterator[list[LabeledPiece]]: ...

    def predict_stream(
        self,
        texts: Iterable[str],
        *,
        strategy: AggregationStrategy = "word",
        threshold: float = 0.0,
        context: Context | None = None,
        batch_size: int | None = None,
        read_ahead: int = _STREAM_TEXTS,
    ) -> Iterator[list[Entity]] | Iterator[list[LabeledPiece]]:
        """Find the entities of texts as they come, in their order; memory does not grow with their number.

        Args:
            texts: Raw texts.
            strategy: As in :meth:`predict_batch`.
            threshold: Entities with a lower score are left out, in [0, 1].
            context: As in :meth:`predict_batch`.
            batch_size: Most sequences in one batch; ``None`` for the token budget alone.
            read_ahead: Most texts read ahead and sorted by length together; a million characters end it too.

        Raises:
            ParameterError: If there is no such strategy, an option is out of range, or ``texts`` gives
                something that is no text.
        """
        options = PredictOptions(
            strategy, threshold=threshold, context=context
        )  # refuses before the first text is asked for
        check_batch_size(batch_size)
        return self._stream(given_texts(texts), options, batch_size, read_ahead)

    def _stream(
        self, texts: Iterable[str], options: PredictOptions, batch_size: int | None, read_ahead: int
    ) -> Iterator[Any]:
        waiting: list[str] = []
        characters = 0
        for text in texts:
            waiting.append(text)
            characters += len(text)
            if len(waiting) >= read_ahead or characters >= _STREAM_CHARACTERS:
                yield from self._predicted(waiting, options, batch_size)
                waiting, characters = [], 0
        yield from self._predicted(waiting, options, batch_size)

    def _predicted(self, texts: Sequence[str], options: PredictOptions, batch_size: int | None) -> list[Any]:
        start = time.perf_counter()
        reading = self.read(texts, options)
        rows = self._computed(reading.windows, batch_size)
        found: list[Any] = reading.results(rows)
        if self.listener is not None and texts:
            evidence, seconds = reading.evidence(rows, found), time.perf_counter() - start
            self.listener(Predicted(texts, found, options, evidence, seconds))
        return found


def check_batch_size(size: int | None) -> None:
    """Refuse batches of less than one text.

    Raises:
        ParameterError: With the number.
    """
    if size is not None and size < 1:
        raise ParameterError(f"batch_size={size} is impossible, expected at least 1", "batch_size")


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
