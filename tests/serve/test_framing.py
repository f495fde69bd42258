"""Where requests end on a connection: the parser is never given more than the rest of one."""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.serve.framing import Framing, body_length, check_head
from affineur.serve.problems import Problem

PARTS = st.sampled_from([b"\r\n\r\n", b"\r\n", b"\n", b"0", b"GET / HTTP/1.1\r\n", b"a" * 40_000, b"b"])


def chunked(body: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in body) + b"0\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    body = draw(st.lists(PARTS, max_size=5))
    before = draw(st.sampled_from([b"", b"\r\n", b"\r\n\r\n"]))
    if draw(st.booleans()):
        return before + b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body)
    whole = b"".join(body)
    return before + b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole


class Parser:
    """What is parsed, and how many requests end in the piece that is."""

    def __init__(self) -> None:
        self.framing, self.parser = Framing(), httptools.HttpRequestParser(self)
        self.bodies: list[bytes] = []
        self.ended = 0

    def on_message_begin(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = [(b"host", b"here")]
        self.bodies.append(b"")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.framing.end_head(check_head("POST", "1.1", self.fields))

    def on_body(self, body: bytes) -> None:
        self.bodies[-1] += body

    def on_message_complete(self) -> None:
        self.ended += 1
        self.framing.end_request()

    def parse(self, data: bytes) -> None:
        self.framing.add(data)
        while self.framing.left:
            self.ended = 0
            piece = self.framing.take(65536)
            if piece:  # empty lines are none
                self.parser.feed_data(piece)
            assert self.ended <= 1


@given(several=st.lists(requests(), min_size=1, max_size=5), data=st.data())
def test_no_piece_holds_more_than_the_rest_of_one_request(several: list[bytes], data: Any) -> None:
    whole, at_once = b"".join(several), Parser()
    at_once.parser.feed_data(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parser = Parser()
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        parser.parse(whole[start:end])
    assert parser.bodies == at_once.bodies
    assert len(parser.bodies) == len(several)


@pytest.mark.parametrize(
    ("told", "length"),
    [("5", 5), (" 5 ", 5), ("0" * 5000 + "5", 5), ("", 0), ("0" * 5000, 0), ("²", 0), ("-1", 0), ("٣", 0)],
)
def test_lengths(told: str, length: int) -> None:
    assert body_length(told) == length
    assert body_length("9" * 5000) > 1 << 60


def test_a_head_may_have_a_hundred_fields() -> None:
    host = (b"host", b"here")
    assert check_head("GET", "1.1", [host] + [(b"a", b"b")] * 99) == 0
    with pytest.raises(Problem, match="100 fields"):
        check_head("GET", "1.1", [host] + [(b"a", b"b")] * 100)
