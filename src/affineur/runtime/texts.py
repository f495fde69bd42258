"""Raw text to windows of pieces by the tokenizer's own rules, as transformers' pipeline cuts it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tokenizers import Encoding, Tokenizer

from affineur.entities import encodable

#: Characters without a space that a tokenizer is given at once: the rules of some take time that grows with
#: their square.
LONGEST_RUN = 2000
#: Characters on both sides of a cut in such a run that both parts show.
RUN_OVERLAP = 200
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
        # WordPiece gives up on a long word, and cuts Chinese before it; that takes time that is linear.
        linear = model.get("type") == "WordPiece" and "Precompiled" not in str(self.tokenizer.normalizer)
        self._parts = _whole if linear else _parts
        #: Whether a piece shows that it continues a word, as ``##on`` does.
        self.marks_continuation = bool(model.get("continuing_subword_prefix"))

    def windows(self, texts: Sequence[str]) -> Iterator[TextWindow]:
        """Cut texts into windows, in order; a text without any piece, special ones included, has none.

        A run of more than 2000 characters without a space is given to the tokenizer in parts that overlap by
        400, unless the tokenizer is WordPiece, which takes it as it is.
        """
        parts = [(index, part) for index, text in enumerate(texts) for part in self._parts(encodable(text))]
        encodings = self._encodings([part.text for _, part in parts])
        done = 0  # pieces of the text that some window owns
        for (index, part), encoding in zip(parts, encodings, strict=True):
            windows = list(self._cut(index, part, encoding))
            owned = [window for window in windows if window.own]
            shift = done - owned[0].first - owned[0].own.start if part.begin and owned else 0
            yield from (replace(each, first=each.first + shift) for each in windows) if shift else windows
            done = shift + owned[-1].first + owned[-1].own.stop if owned else done

    def _encodings(self, texts: Sequence[str]) -> Iterator[Encoding]:
        for first in range(0, len(texts), TOGETHER):
            yield from self.tokenizer.encode_batch(texts[first : first + TOGETHER])

    def token(self, piece: int) -> str | None:
        """Return a piece as it stands in the vocabulary; ``None`` for the one that means unknown text."""
        return None if piece == self._unknown_id else self.tokenizer.id_to_token(piece)

    def join(self, tokens: list[str]) -> str:
        """Write pieces as text, as the tokenizer decodes them."""
        decoder = self.tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(tokens))

    def _cut(self, text: int, part: _Part, encoding: Encoding) -> Iterator[TextWindow]:
        windows = [encoding, *encoding.overflowing]
        first = 0
        for number, window in enumerate(windows):
            after = number < len(windows) - 1
            if window.ids:
                yield self._window(text, part, first, window, number > 0, after)
            first += self._step if after else len(window.ids)

    def _window(
        self, text: int, part: _Part, first: int, encoding: Encoding, before: bool, after: bool
    ) -> TextWindow:
        special = tuple(map(bool, encoding.special_tokens_mask))
        lead = next((i for i, added in enumerate(special) if not added), 0)
        trail = next((i for i, added in enumerate(reversed(special)) if not added), 0)
        own_from = lead + self._overlap // 2 if before else 0
        own_to = len(special) - trail - (self._overlap - self._overlap // 2) if after else len(special)
        offsets = tuple((part.begin + start, part.begin + end) for start, end in encoding.offsets)
        ends = [end for _, end in offsets[lead : len(offsets) - trail]] if part.begin or part.own_to else []
        if part.begin:
            own_from = max(own_from, lead + sum(end <= part.own_from for end in ends))
        if part.own_to is not None:
            own_to = min(own_to, lead + sum(end <= part.own_to for end in ends))
        return TextWindow(
            text, tuple(encoding.ids), special, offsets, first, range(own_from, max(own_from, own_to))
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a text, and from where to where (if there is another after it) its pieces are no other's."""

    text: str
    begin: int = 0
    own_from: int = 0
    own_to: int | None = None


def _whole(text: str) -> Iterator[_Part]:
    yield _Part(text)


def _parts(text: str) -> Iterator[_Part]:
    begin = own_from = 0
    for run in _RUN.finditer(text):
        for cut in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
            yield _Part(text[begin : min(cut + RUN_OVERLAP, run.end())], begin, own_from, cut)
            begin, own_from = cut - RUN_OVERLAP, cut
    yield _Part(text[begin:], begin, own_from)
