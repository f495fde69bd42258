"""Raw text to windows of pieces by the tokenizer's own rules, as transformers' pipeline cuts it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding, Tokenizer

from affineur.entities import encodable
from affineur.runtime.runs import LONGEST_RUN, cut_in_parts, has_long_run

#: Sentences that a tokenizer is given at once: what it makes of one is larger than the sentence.
TOGETHER = 1024


@dataclass(frozen=True, slots=True)
class TextWindow:
    """A piece sequence of raw text that the model can take whole.

    Args:
        text: Index of the text it comes from.
        ids: Piece ids, special pieces included.
        special: Which pieces the tokenizer added.
        offsets: Characters of the text that each piece stands for, in code points.
        first: Position of the first piece among all the text's, special pieces counted.
        own: Positions of the pieces here that no neighboring window shows in more context.
    """

    text: int
    ids: tuple[int, ...]
    special: tuple[bool, ...]
    offsets: tuple[tuple[int, int], ...]
    first: int
    own: range

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.ids)


class TextEncoder:
    """Cuts raw text into pieces and long texts into overlapping windows.

    Args:
        tokenizer: A fast tokenizer, for text that is not cut into words.
        max_length: Most pieces in a window, special pieces included.
        overlap: Pieces that a window shares with the next: the pipeline's ``stride``.
        unknown: The piece for what the vocabulary lacks; by default what the tokenizer's model says.
    """

    def __init__(
        self, tokenizer: Tokenizer, max_length: int, overlap: int, unknown: str | None = None
    ) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_padding()
        # It cuts the windows itself: the offsets of a window's first piece follow rules of their own.
        self.tokenizer.enable_truncation(max_length, stride=overlap)
        self._whole = Tokenizer.from_str(tokenizer.to_str())  # for what is cut in parts
        self._whole.no_padding()
        self._whole.no_truncation()
        self._before, self._after = special_ids(self._whole)
        self._overlap = overlap
        self._room = max_length - self.tokenizer.num_special_tokens_to_add(is_pair=False)
        self._step = self._room - overlap
        model = json.loads(self.tokenizer.to_str())["model"]
        self._unknown_id = unknown_id(self.tokenizer, model, unknown)
        #: Whether a piece shows that it continues a word, as ``##on`` does.
        self.marks_continuation = bool(model.get("continuing_subword_prefix"))

    def windows(self, texts: Sequence[str]) -> Iterator[TextWindow]:
        """Cut texts into windows, in order; a text without any piece, special ones included, has none.

        A run of more than 2000 characters without a space is cut into pieces in parts (:mod:`.runs`), and
        into windows that overlap like all others.
        """
        texts = [encodable(text) for text in texts]
        in_parts = {i for i, text in enumerate(texts) if len(text) > LONGEST_RUN and has_long_run(text)}
        plain = [text for i, text in enumerate(texts) if i not in in_parts]
        encodings = self._encodings(plain)
        for index, text in enumerate(texts):
            if index in in_parts:
                yield from self._windows_of_parts(index, text)
                continue
            encoding = next(encodings)
            windows = [encoding, *encoding.overflowing]
            last = len(windows) - 1
            for number, window in enumerate(windows):
                if window.ids:
                    special = tuple(map(bool, window.special_tokens_mask))
                    lead = next((i for i, added in enumerate(special) if not added), 0)
                    trail = next((i for i, added in enumerate(reversed(special)) if not added), 0)
                    own = self._own(len(special), lead, trail, number > 0, number < last)
                    ids, offsets = tuple(window.ids), tuple(window.offsets)
                    yield TextWindow(index, ids, special, offsets, number * self._step, own)

    def _encodings(self, texts: Sequence[str]) -> Iterator[Encoding]:
        for first in range(0, len(texts), TOGETHER):
            yield from self.tokenizer.encode_batch(texts[first : first + TOGETHER])

    def _windows_of_parts(self, index: int, text: str) -> Iterator[TextWindow]:
        """Cut a text with a long run into the windows that the tokenizer itself would make of its pieces."""
        pieces = cut_in_parts(text, self._whole)
        lead, trail = len(self._before), len(self._after)
        count = 1 + max(0, -(-(len(pieces) - self._room) // self._step))
        for number in range(count):
            own_pieces = pieces[number * self._step : number * self._step + self._room]
            ids = (*self._before, *(piece.id for piece in own_pieces), *self._after)
            special = (True,) * lead + (False,) * len(own_pieces) + (True,) * trail
            offsets = ((0, 0),) * lead + tuple((p.start, p.end) for p in own_pieces) + ((0, 0),) * trail
            own = self._own(len(ids), lead, trail, number > 0, number < count - 1)
            if ids:
                yield TextWindow(index, ids, special, offsets, number * self._step, own)

    def _own(self, size: int, lead: int, trail: int, before: bool, after: bool) -> range:
        """Say which pieces of a window are its own: in an overlap those it shows more of the context of."""
        own_from = lead + self._overlap // 2 if before else 0
        own_to = size - trail - (self._overlap - self._overlap // 2) if after else size
        return range(own_from, own_to)

    def token(self, piece: int) -> str | None:
        """Return a piece as it stands in the vocabulary; ``None`` for the one that means unknown text."""
        return None if piece == self._unknown_id else self.tokenizer.id_to_token(piece)

    def join(self, tokens: list[str]) -> str:
        """Write pieces as text, as the tokenizer decodes them."""
        decoder = self.tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(tokens))


def unknown_id(tokenizer: Tokenizer, model: dict[str, Any], unknown: str | None = None) -> int | None:
    """Return the id of the piece for what the vocabulary lacks; ``None`` where there is none.

    Args:
        tokenizer: The tokenizer.
        model: What it says of its model, read from JSON.
        unknown: The piece, where it is known.
    """
    if unknown is None and model.get("unk_id") is not None:
        unknown = model["vocab"][model["unk_id"]][0]
    unknown = unknown or model.get("unk_token")
    return None if unknown is None else tokenizer.token_to_id(unknown)


def special_ids(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids of the special pieces that a tokenizer puts before and after a text."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return tuple(whole[:start]), tuple(whole[start + len(plain) :])
    return (), ()
