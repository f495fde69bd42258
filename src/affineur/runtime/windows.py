"""Words to windows of pieces: nothing is truncated, and every word is labeled in exactly one window."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from affineur.entities import encodable
from affineur.errors import ModelError, ParameterError
from affineur.runtime.runs import LONGEST_RUN
from affineur.runtime.texts import TOGETHER, TextEncoder, special_ids, unknown_id
from affineur.runtime.tokenization import WordSplitter, for_words, read_tokenizer

#: Words of sentences that are cut in a millisecond or two.
_SHORT = 512
#: Pieces in a window: longer ones cost quadratic attention and gain nothing for names.
_WIDEST = 512
# These number positions from padding_idx + 1, so two of their position embeddings can never be used.
_ROBERTA_LIKE = {
    "roberta",
    "camembert",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "mpnet",
    "longformer",
}


@dataclass(frozen=True, slots=True)
class Window:
    """A piece sequence the model can take whole.

    Args:
        sentence: Index of the sentence it comes from.
        ids: Piece ids, special pieces included.
        words: Index of each word labeled here.
        positions: Position in ``ids`` of the first piece of each of those words.
    """

    sentence: int
    ids: tuple[int, ...]
    words: tuple[int, ...]
    positions: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.ids)


class Encoder:
    """Cuts words into pieces and long sentences into overlapping windows.

    Args:
        tokenizer: A fast tokenizer.
        max_length: Most pieces in a window, special pieces included.
        pad_id: Id of the padding piece.
        unknown: The piece for what the vocabulary lacks; by default what the tokenizer's model says.
        named: Added tokens that stand for the ends of a text, padding and the like; all others are words
            where a text has them.

    Raises:
        ModelError: If ``max_length`` leaves no room for pieces.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        pad_id: int,
        unknown: str | None = None,
        named: Collection[str] | None = None,
    ) -> None:
        self._source = tokenizer
        self._unknown = unknown
        self.tokenizer = for_words(tokenizer)
        self.max_length = max_length
        self.pad_id = pad_id
        self._before, self._after = special_ids(self.tokenizer)
        self._room = max_length - len(self._before) - len(self._after)
        if self._room < 2:
            raise ModelError(f"windows of {max_length} pieces leave no room for words")
        self._overlap = min(self._room // 3, 128)
        #: Cuts raw text into words, with the added tokens of the tokenizer whole.
        ends = {str(self.tokenizer.id_to_token(i)) for i in (*self._before, *self._after)}
        self.split = WordSplitter(self.tokenizer, {*named, *ends} if named else None)
        # Each keeps a tokenizer of its own; a server is asked for few strides, and must not keep one for each
        # that anybody names.
        self._text_encoder = lru_cache(4)(self._make_text_encoder)

    @classmethod
    def from_folder(cls, folder: Path, config: dict[str, Any]) -> Encoder:
        """Build the encoder of a model folder, with the tokenizer that transformers would read there.

        Raises:
            ModelError: If the tokenizer cannot be read.
        """
        read = read_tokenizer(folder, config)
        longest = min(max_positions(config), read.max_length or _WIDEST)
        return cls(read.tokenizer, longest, int(config.get("pad_token_id") or 0), read.unknown, read.named)

    @cached_property
    def pieces(self) -> int:
        """How many rows an embedding table needs for the tokenizer: its highest id and one."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @cached_property
    def unknown_id(self) -> int:
        """Id of the piece for what the vocabulary lacks; -1 where there is none."""
        found = unknown_id(self.tokenizer, json.loads(self.tokenizer.to_str())["model"], self._unknown)
        return -1 if found is None else found

    @property
    def special_count(self) -> int:
        """How many special pieces a window has."""
        return len(self._before) + len(self._after)

    def windows(self, sentences: Sequence[Sequence[str]], stride: int | None = None) -> Iterator[Window]:
        """Cut sentences into windows, in order.

        A word the tokenizer makes no piece of (control characters, say) is in no window. A sentence without
        any piece has no window.

        Args:
            sentences: Words of each sentence.
            stride: Pieces that neighboring windows share; ``None`` for a third of a window, at most 128.

        Raises:
            ParameterError: If windows would share more than half of their pieces.
        """
        overlap = self._checked(stride)
        for first in range(0, len(sentences), TOGETHER):
            encodings = self.encode(sentences[first : first + TOGETHER])
            for index, encoding in enumerate(encodings, start=first):
                yield from self._cut(index, encoding.ids, encoding.word_ids, overlap)

    def encode(self, sentences: Sequence[Sequence[str]]) -> list[Encoding]:
        """Cut words into pieces, whole and without special ones; of an endless word its beginning is cut."""
        words = [[encodable(word[:LONGEST_RUN]) for word in sentence] for sentence in sentences]
        # A few sentences are what an endpoint is mostly asked for: a batch would wake the threads of the
        # tokenizer for them. But only a batch lets go of Python's lock, without which a long text would stop
        # every other thread.
        if sum(map(len, words)) <= _SHORT:
            return [
                self.tokenizer.encode(each, is_pretokenized=True, add_special_tokens=False) for each in words
            ]
        return self.tokenizer.encode_batch(words, is_pretokenized=True, add_special_tokens=False)

    def texts(self, stride: int | None = None) -> TextEncoder:
        """Return the same tokenizer and windows for raw text, as transformers' pipeline cuts it.

        Args:
            stride: Pieces that neighboring windows share; ``None`` for a third of a window, at most 128.

        Raises:
            ParameterError: If windows would share more than half of their pieces.
        """
        return self._text_encoder(self._checked(stride))

    def _make_text_encoder(self, overlap: int) -> TextEncoder:
        return TextEncoder(self._source, self.max_length, overlap, self._unknown)

    @property
    def most_stride(self) -> int:
        """The most pieces that neighboring windows may share: half of them, or windows hardly move on."""
        return self._room // 2

    def _checked(self, stride: int | None) -> int:
        if stride is None:
            return self._overlap
        if not 0 <= stride <= self.most_stride:
            raise ParameterError(
                f"a stride of {stride} is impossible, expected 0 to {self.most_stride}: "
                f"half of a window's {self._room} pieces",
                "stride",
            )
        return stride

    def _cut(
        self, sentence: int, ids: list[int], word_ids: list[int | None], overlap: int
    ) -> Iterator[Window]:
        # The first piece of each word.
        first = [
            i for i, word in enumerate(word_ids) if word is not None and (i == 0 or word_ids[i - 1] != word)
        ]
        if not first:
            return
        step = self._room - overlap
        count = 1 if len(ids) <= self._room else 1 + -(-(len(ids) - self._room) // step)
        for number in range(count):
            begin = number * step
            end = min(begin + self._room, len(ids))
            # In an overlap each word goes to the window that shows more of its context.
            own_from = begin + overlap // 2 if number else 0
            own_to = end - (overlap - overlap // 2) if number < count - 1 else len(ids)
            own = first[bisect_left(first, own_from) : bisect_left(first, own_to)]
            if own:
                yield Window(
                    sentence,
                    (*self._before, *ids[begin:end], *self._after),
                    tuple([int(word_ids[i] or 0) for i in own]),  # lists are made faster than generators run
                    tuple([i - begin + len(self._before) for i in own]),
                )


def max_positions(config: dict[str, Any]) -> int:
    """Return how many pieces a model of this configuration can take at once."""
    positions = int(config.get("max_position_embeddings") or 512)
    if config.get("model_type") in _ROBERTA_LIKE:
        padding = config.get("pad_token_id")
        # 1 is what transformers assumes for all of these
        positions -= (1 if padding is None else int(padding)) + 1
    return min(positions, _WIDEST)
