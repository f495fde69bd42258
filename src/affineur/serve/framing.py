"""Where a request ends on a connection, and what is wrong with its head beyond HTTP's grammar.

The parser takes all it is given, however many requests that are, and makes objects of each: a hundred times
the bytes. So it is given no more than the rest of one request at a time. It alone decides what a request is;
a wrong guess here would only feed it in smaller pieces, or end the connection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from affineur.serve.coding import coding_of
from affineur.serve.problems import Problem

#: Fields of a head, and of a trailer: in memory the shortest takes thirty times what it takes on the wire.
MOST_FIELDS = 100
#: Bytes that the parser is given at a time, and chunks of a body.
_PIECE, _MOST_CHUNKS = 8192, 64
#: Bytes of empty lines before a request: a server should ignore one such line (RFC 9112, 2.2).
_MOST_EMPTY = 8
#: The size of a chunk without its zeros in front; what the parser takes beside it makes the request invalid.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{0,16})[;\r]")
#: What a host may be called, with its port: a proxy may read anything else in another way.
_HOST = re.compile(rb"[\w.~%!$&'()*+;=-]*(\[[0-9A-Fa-f:.]+\])?(:[0-9]*)?", re.ASCII)
_BLANK_LINE = b"\r\n\r\n"


class Framing:
    """What has come on a connection and was not given to the parser yet.

    Each piece costs about as much as a thousand bytes do, so what a client sends must not decide how small
    they are: lines without anything between requests are few, and the size of chunks is read here, too.

    Attributes:
        left: Bytes of it.
        body: Bytes that are left of a body whose length was told, or of a chunk. Everything else, a head or
            a trailer, ends with a blank line.
        chunked: Whether what comes are chunks of a body.
        cost: What the last piece costs to parse, in pieces and chunks.
    """

    def __init__(self) -> None:
        self.left = self.body = self.cost = 0
        self.chunked = False
        self._data, self._at = b"", 0
        self._before = b""  # the last that was given out: a blank line may begin there
        self._size = b""  # the beginning of the line with a chunk's size
        self._between, self._empty = True, 0

    def add(self, data: bytes) -> None:
        """Take what has come."""
        self._data = self._data[self._at :] + data if self.left else data
        self._at, self.left = 0, len(self._data)

    def clear(self) -> None:
        """Forget it."""
        self._data, self._at, self.left = b"", 0, 0

    def end_head(self, length: int | None) -> None:
        """Go on after a head.

        Args:
            length: Of the body; ``None`` for one in chunks.
        """
        self.body, self.chunked, self._size = length or 0, length is None, b""

    def end_request(self) -> None:
        """Go on after a request."""
        self.body, self.chunked = 0, False
        self._between, self._empty = True, 0

    def take(self, most: int) -> bytes:
        """Give out the next piece, which goes no further than the request it belongs to.

        Args:
            most: Bytes of it.

        Raises:
            Problem: 400 for empty lines without end.
        """
        if self._between:
            self._skip_empty()
        size = min(self.left, most, _PIECE)
        self.cost = 1
        if self.chunked:
            size = self._chunks(size)
        elif self.body:
            size = min(size, self.body)
            self.body -= size
        else:
            size = self._to_blank_line(size)
        piece = self._data[self._at : self._at + size]
        self._at += size
        self.left -= size
        self._before = (self._before + piece[-3:])[-3:]
        if not self.left:
            self.clear()
        return piece

    def _skip_empty(self) -> None:
        """Pass over what little may stand before a request."""
        start = self._data[self._at : self._at + _MOST_EMPTY + 1]
        size = len(start) - len(start.lstrip(b"\r\n"))
        self._empty += size
        self._at += size
        self.left -= size
        self._between = size == len(start)
        if self._empty > _MOST_EMPTY:
            raise Problem("validation", "empty lines instead of a request", status=400)

    def _chunks(self, size: int) -> int:
        """Return how many of so many bytes there are until some chunks, or the last of all, have ended."""
        data, at, end = self._data, self._at, self._at + size
        while at < end and self.cost < _MOST_CHUNKS:
            if self.body:
                step = min(self.body, end - at)
                self.body -= step
                at += step
                continue
            self.cost += 1
            found = data.find(b"\n", at, end)
            stop = end if found < 0 else found + 1
            self._size = (self._size + data[at:stop].lstrip(b"0" if not self._size else b""))[:17]
            at = stop
            if found < 0:
                break
            line = _CHUNK.match(self._size)
            self._size = b""
            if line is None or not line[1]:  # none the parser takes, or the last: a trailer follows
                self.chunked = False
                break
            self.body = int(line[1], 16) + 2
        return at - self._at

    def _to_blank_line(self, size: int) -> int:
        """Return how many of so many bytes there are until the first blank line has ended."""
        border = self._before + self._data[self._at : self._at + min(3, size)]
        if (found := border.find(_BLANK_LINE)) >= 0:
            return found + len(_BLANK_LINE) - len(self._before)
        found = self._data.find(_BLANK_LINE, self._at, self._at + size)
        return size if found < 0 else found + len(_BLANK_LINE) - self._at


def body_length(told: str) -> int:
    """Return what ``Content-Length`` says, be it with thousands of zeros; 0 for what is no number."""
    digits = told.strip()
    return int(digits.lstrip("0")[:20] or "0") if digits.isascii() and digits.isdigit() else 0


def check_head(method: str, version: str, fields: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Check the head of a request for what servers understand differently.

    Args:
        method: Its method.
        version: Of HTTP.
        fields: Its fields, with names in lower case.

    Returns:
        The length of its body; ``None`` where that comes in chunks.

    Raises:
        Problem: 400 without one ``Host`` or with two ``Authorization``, or with chunks in HTTP/1.0 (RFC 9112,
            6.1); 405 for CONNECT, 415 and 501 for codings of a body that nobody undoes here, 431 for too many
            fields.
    """
    length, chunked = 0, False
    hosts = [value for name, value in fields if name == b"host"]
    codings = [value.decode("latin-1") for name, value in fields if name == b"content-encoding"]
    if codings:
        coding_of(codings)
    for name, value in fields:
        if name == b"content-length":
            length = body_length(value.decode("latin-1"))
        elif name == b"transfer-encoding":
            chunked = True
            if value.strip().lower() != b"chunked":
                raise Problem("validation", "Transfer-Encoding is chunked here, and nothing else", status=501)
    if len(fields) > MOST_FIELDS:
        raise too_many_fields()
    if version not in ("1.0", "1.1"):
        raise Problem("validation", "this is no request of HTTP/1.1", status=400)
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise Problem("validation", f"{len(hosts)} Host headers, expected one", status=400)
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise Problem("validation", "Host names no host", status=400)
    if sum(name == b"authorization" for name, _ in fields) > 1:
        raise Problem("validation", "more than one Authorization header", status=400)
    if method == "CONNECT":
        raise Problem("method_not_allowed", "CONNECT is for proxies, expected GET or POST")
    if chunked and version != "1.1":
        raise Problem("validation", "Transfer-Encoding is of HTTP/1.1", status=400)
    return None if chunked else length


def too_many_fields() -> Problem:
    """Return the refusal of a head that holds too many fields."""
    return Problem("too_large", f"a head of more than {MOST_FIELDS} fields", status=431)
