"""Bodies that come compressed: which codings are undone, and how without being filled by what is in them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

from affineur.serve.problems import Problem

#: Codings of a body that are undone (RFC 9110, 8.4.1), as ``Accept-Encoding`` of a refusal names them.
CODINGS = "gzip, deflate"
#: Bytes that the state of one body takes while it is being undone, zlib's window included.
STATE_BYTES = 48_000
#: Bytes that are undone at a time.
_PIECE = 65_536
#: Parts that are each a gzip file of their own. Each takes time, and an empty one 20 bytes.
_MOST_MEMBERS = 1000
_NAMES = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_PLAIN_NAME = re.compile(r"[a-z0-9-]{1,20}")


def coding_of(values: Iterable[str]) -> str:
    """Return the coding of a body: ``gzip``, ``deflate``, or nothing where it comes as it is.

    Args:
        values: Of its ``Content-Encoding`` headers.

    Raises:
        Problem: 415 for any other, and for several.
    """
    told = [name.strip().lower() for value in values for name in value.split(",")]
    named = [name for name in told if name not in ("", "identity")]
    if not named:
        return ""
    if len(named) == 1 and named[0] in _NAMES:
        return _NAMES[named[0]]
    if len(named) > 1:
        found = "several codings"
    else:
        found = f"'{named[0]}'" if _PLAIN_NAME.fullmatch(named[0]) else "something unknown"
    raise Problem(
        "validation",
        f"Content-Encoding is {found}, expected gzip, deflate, or none at all",
        {"Accept-Encoding": CODINGS},
        status=415,
    )


class Inflater:
    """Undoes the coding of one body.

    What ``deflate`` is called may be in zlib's format, as the standard has it, or bare, as some clients send
    it.

    Args:
        coding: ``gzip`` or ``deflate``.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None  # made when there is something to undo
        self._begun = b""  # of deflate, until its format is clear
        self._members = 0

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Undo what has come, a piece of 64 KB at most at a time.

        Raises:
            Problem: 400 if it is not of the coding.
        """
        if self._stream is None and self._coding == "deflate":
            self._begun = data = self._begun + data
            if len(data) < 2:
                return
        more = bool(data)
        while more:
            stream = self._next()
            try:
                piece = stream.decompress(data, _PIECE)
            except zlib.error:
                raise self._wrong(f"is not {self._coding}") from None
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            # After a whole piece there may be more of what zlib has taken already.
            more = bool(data) or (len(piece) == _PIECE and not stream.eof)
            if piece:
                yield piece

    def finish(self) -> None:
        """Check that a body has come to its end; an empty one has.

        Raises:
            Problem: 400 if not.
        """
        if (self._begun and self._stream is None) or (self._stream is not None and not self._stream.eof):
            raise self._wrong("is cut short")

    def _next(self) -> zlib._Decompress:
        """Return what undoes the bytes that come next."""
        if self._stream is None:
            self._stream = self._made()
        elif self._stream.eof:
            if self._coding == "deflate":
                raise self._wrong("has bytes after its end")
            self._members += 1
            if self._members == _MOST_MEMBERS:
                raise self._wrong(f"is more than {_MOST_MEMBERS} gzip files after each other")
            self._stream = self._made()
        return self._stream

    def _made(self) -> zlib._Decompress:
        if self._coding == "gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        # RFC 1950: method 8 in the low bits, and a checksum; no bare stream begins so.
        zlibs = self._begun[0] & 15 == 8 and int.from_bytes(self._begun[:2], "big") % 31 == 0
        self._begun = b""
        return zlib.decompressobj(zlib.MAX_WBITS if zlibs else -zlib.MAX_WBITS)

    def _wrong(self, what: str) -> Problem:
        return Problem(
            "validation", f"the body {what}, though Content-Encoding is {self._coding}", status=400
        )
