"""Text with thousands of characters without a space, cut into pieces in parts that overlap.

The rules of some tokenizers take time that grows with the square of such a run (90 seconds for 128,000
characters), so it is given to them in parts. Neighboring parts share characters, and are joined where both
are cut alike: away from its ends, the pieces of a part do not depend on where it begins.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import NamedTuple

from tokenizers import Tokenizer

#: Characters without a space that a tokenizer is given at once, beside those that parts share.
LONGEST_RUN = 2000
#: Characters that parts go beyond a cut, on both sides of it.
MARGIN = 128
_LONG = re.compile(rf"(?<!\S)\S{{{LONGEST_RUN + 1},}}")


class Piece(NamedTuple):
    """A piece of a text.

    Args:
        id: Its id.
        start: Where the characters begin that it stands for.
        end: Where they end.
    """

    id: int
    start: int
    end: int


def has_long_run(text: str) -> bool:
    """Say whether a text has more than 2000 characters without a space."""
    return _LONG.search(text) is not None


def cut_in_parts(text: str, tokenizer: Tokenizer) -> list[Piece]:
    """Cut a text into pieces, without special ones, its long runs in parts.

    Args:
        text: A text with a long run.
        tokenizer: For raw text, without truncation.
    """
    cuts = [
        cut
        for run in _LONG.finditer(text)
        for cut in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN)
    ]
    begins = [0, *(cut - MARGIN for cut in cuts)]
    ends = [*(cut + MARGIN for cut in cuts), len(text)]
    encodings = tokenizer.encode_batch(
        [text[begin:end] for begin, end in zip(begins, ends, strict=True)], add_special_tokens=False
    )
    parts = [
        [Piece(i, begin + start, begin + end) for i, (start, end) in zip(part.ids, part.offsets, strict=True)]
        for begin, part in zip(begins, encodings, strict=True)
    ]
    found = parts[0]
    for cut, part in zip(cuts, parts[1:], strict=True):
        _join(found, part, cut)
    return found


def _join(left: list[Piece], right: list[Piece], cut: int) -> None:
    """Add a part to those before, near a cut, where both have a border and the same pieces beside it."""
    others = {piece.start: i for i, piece in reversed(list(enumerate(right))) if piece.start < cut + MARGIN}
    meetings = []
    from_here = bisect_left(left, cut - MARGIN, key=lambda piece: piece.start)
    for i in range(max(1, from_here), len(left)):
        before, piece = left[i - 1], left[i]
        k = others.get(piece.start, 0)
        if k and before.end <= piece.start and before == right[k - 1] and piece == right[k]:
            meetings.append((abs(piece.start - cut), i, k))
    if meetings:
        _, i, k = min(meetings)
        left[i:] = right[k:]
        return
    i = bisect_left(left, cut, key=lambda piece: piece.start)
    k = next((k for k, piece in enumerate(right) if piece.end > cut), len(right))
    if i and left[i - 1].end > cut:
        crossing = left[i - 1]
        if k < len(right) and crossing.id == right[k].id and right[k].start < cut:
            # A run of unknown characters is one piece, however long.
            left[i - 1 :] = [crossing._replace(end=right[k].end), *right[k + 1 :]]
            return
        left[i - 1] = crossing._replace(end=cut)
    left[i:] = [piece._replace(start=max(piece.start, cut)) for piece in right[k:]]
