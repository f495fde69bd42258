"""Words to windows of pieces: nothing is truncated, and every word is labelled in exactly one window."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from affineur.errors import ModelError, one_line
from affineur.runtime.texts import LONGEST_RUN, TextEncoder, encodable

# These number positions from padding_idx + 1, so two of their position embeddings can never be used.
_ROBERTA_LIKE = {"roberta", "camembert", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "mpnet", "longformer"}


@dataclass(frozen=True, slots=True)
class Window:
    """A piece sequence the model can take whole.

    Args:
        sentence: Index of the sentence it comes from.
        ids: Piece ids, special pieces included.
        words: Index of each word labelled here.
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

    Raises:
        ModelError: If ``max_length`` leaves no room for pieces.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, pad_id: int, unknown: str | None = None) -> None:
        self._source = tokenizer
        self._unknown = unknown
        self.tokenizer = _prefixing_words(tokenizer)
        self.max_length = max_length
        self.pad_id = pad_id
        self._before, self._after = _special_ids(self.tokenizer)
        self._room = max_length - len(self._before) - len(self._after)
        if self._room < 2:
            raise ModelError(f"windows of {max_length} pieces leave no room for words")
        self._overlap = min(self._room // 3, 128)

    @classmethod
    def from_folder(cls, folder: Path, config: dict[str, Any]) -> Encoder:
        """Build the encoder of a model folder from its ``tokenizer.json``.

        Raises:
            ModelError: If the tokenizer cannot be read.
        """
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{folder / 'tokenizer.json'} cannot be read ({one_line(error)})") from None
        return cls(tokenizer, max_positions(config), int(config.get("pad_token_id") or 0), _unknown_piece(folder))

    def windows(self, sentences: Sequence[Sequence[str]]) -> Iterator[Window]:
        """Cut sentences into windows, in order.

        A word the tokenizer makes no piece of (control characters, say) is in no window. A sentence without any
        piece has no window.

        Args:
            sentences: Words of each sentence.
        """
        for index, encoding in enumerate(self.encode(sentences)):
            yield from self._cut(index, encoding.ids, encoding.word_ids)

    def encode(self, sentences: Sequence[Sequence[str]]) -> list[Encoding]:
        """Cut the words of each sentence into pieces, whole and without special pieces; of an endless word its beginning."""
        words = [[encodable(word[:LONGEST_RUN]) for word in sentence] for sentence in sentences]
        return self.tokenizer.encode_batch(words, is_pretokenized=True, add_special_tokens=False)

    @cached_property
    def texts(self) -> TextEncoder:
        """The same tokenizer and windows for raw text, as transformers' pipeline cuts it."""
        return TextEncoder(self._source, self.max_length, self._overlap, self._unknown)

    def _cut(self, sentence: int, ids: list[int], word_ids: list[int | None]) -> Iterator[Window]:
        first = [i for i, word in enumerate(word_ids) if word is not None and (i == 0 or word_ids[i - 1] != word)]
        if not first:
            return
        step = self._room - self._overlap
        count = 1 if len(ids) <= self._room else 1 + -(-(len(ids) - self._room) // step)
        for number in range(count):
            begin = number * step
            end = min(begin + self._room, len(ids))
            # In an overlap each word goes to the window that shows more of its context.
            own_from = begin + self._overlap // 2 if number else 0
            own_to = end - (self._overlap - self._overlap // 2) if number < count - 1 else len(ids)
            own = [i for i in first if own_from <= i < own_to]
            if own:
                yield Window(
                    sentence,
                    (*self._before, *ids[begin:end], *self._after),
                    tuple(int(word_ids[i] or 0) for i in own),
                    tuple(i - begin + len(self._before) for i in own),
                )


def max_positions(config: dict[str, Any]) -> int:
    """Return how many pieces a model of this configuration can take at once."""
    positions = int(config.get("max_position_embeddings") or 512)
    if config.get("model_type") in _ROBERTA_LIKE:
        padding = config.get("pad_token_id")
        positions -= (1 if padding is None else int(padding)) + 1  # 1 is what transformers assumes for all of these
    return min(positions, 512)  # longer windows cost quadratic attention and gain nothing for names


def _unknown_piece(folder: Path) -> str | None:
    """Return what ``tokenizer_config.json`` names: transformers goes by it, not by the tokenizer's model."""
    try:
        named = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))["unk_token"]
        return str(named["content"] if isinstance(named, dict) else named)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _special_ids(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return tuple(whole[:start]), tuple(whole[start + len(plain) :])
    return (), ()


def _prefixing_words(tokenizer: Tokenizer) -> Tokenizer:
    """Return a copy without truncation or padding, whose byte-level pre-tokenizer starts every word like one after a space.

    Without that, RoBERTa's tokenizer would glue the words of a sentence together (transformers asks for
    ``add_prefix_space=True`` for the same reason).
    """
    spec = json.loads(tokenizer.to_str())
    spec["truncation"] = spec["padding"] = None
    pre = spec.get("pre_tokenizer") or {}
    for part in (pre, *pre.get("pretokenizers", [])):
        if part.get("type") == "ByteLevel":
            part["add_prefix_space"] = True
    return Tokenizer.from_str(json.dumps(spec))
