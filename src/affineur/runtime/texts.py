"""Raw text to windows of pieces by the tokenizer's own rules, as transformers' pipeline cuts it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenizers import Encoding, Tokenizer

from affineur.entities import encodable

#: Characters without a space that a tokenizer is given at once: the rules of some take time that grows with
#: their square.
LONGEST_RUN = 2000
#: Sentences that a tokenizer is given at once: what it makes of one is larger than the sentence.
TOGETHER = 1024
_RUN = re.compile(r"\S+")


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
        self._overlap = overlap
        self._step = max_length - self.tokenizer.num_special_tokens_to_add(is_pair=False) - overlap
        model = json.loads(self.tokenizer.to_str())["model"]
        if unknown is None and model.get("unk_id") is not None:
            unknown = model["vocab"][model["unk_id"]][0]
        unknown = unknown or model.get("unk_token")
        self._unknown_id = None if unknown is None else self.tokenizer.token_to_id(unknown)
        #: Whether a piece shows that it continues a word, as ``##on`` does.
        self.marks_continuation = bool(model.get("continuing_subword_prefix"))

    def windows(self, texts: Sequence[str]) -> Iterator[TextWindow]:
        """Cut texts into windows, in order; a text without any piece, special ones included, has none.

        A run of more than 2000 characters without a space is given to the tokenizer in parts.
        """
        parts = [
            (index, begin, part)
            for index, text in enumerate(texts)
            for begin, part in _parts(encodable(text))
        ]
        text, first = -1, 0
        for (index, begin, _), encoding in zip(parts, self._encodings(parts), strict=True):
            if index != text:
                text, first = index, 0
            windows = [encoding, *encoding.overflowing]
            last = len(windows) - 1
            for number, window in enumerate(windows):
                if window.ids:
                    yield self._window(index, begin, first, window, number > 0, number < last)
                first += self._step if number < last else len(window.ids)

    def _encodings(self, parts: Sequence[tuple[int, int, str]]) -> Iterator[Encoding]:
        for first in range(0, len(parts), TOGETHER):
            yield from self.tokenizer.encode_batch([part for _, _, part in parts[first : first + TOGETHER]])

    def token(self, piece: int) -> str | None:
        """Return a piece as it stands in the vocabulary; ``None`` for the one that means unknown text."""
        return None if piece == self._unknown_id else self.tokenizer.id_to_token(piece)

    def join(self, tokens: list[str]) -> str:
        """Write pieces as text, as the tokenizer decodes them."""
        decoder = self.tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(tokens))

    def _window(
        self, text: int, begin: int, first: int, encoding: Encoding, before: bool, after: bool
    ) -> TextWindow:
        special = tuple(map(bool, encoding.special_tokens_mask))
        lead = next((i for i, added in enumerate(special) if not added), 0)
        trail = next((i for i, added in enumerate(reversed(special)) if not added), 0)
        own_from = lead + self._overlap // 2 if before else 0
        own_to = len(special) - trail - (self._overlap - self._overlap // 2) if after else len(special)
        offsets = tuple((begin + start, begin + end) for start, end in encoding.offsets)
        return TextWindow(text, tuple(encoding.ids), special, offsets, first, range(own_from, own_to))


def _parts(text: str) -> Iterator[tuple[int, str]]:
    begin = 0
    for run in _RUN.finditer(text):
        for cut in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
            yield begin, text[begin:cut]
            begin = cut
    yield begin, text[begin:]
