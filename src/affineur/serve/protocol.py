"""HTTP/1.1 as uvicorn speaks it by httptools.

With bounds on the head of a request and the wait for it, and answers that leave whole.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from affineur.serve.problems import Problem

#: Bytes of a head, and of whatever else the parser keeps before it hands it over: trailers, extensions of
#: chunks.
_MOST_HEAD = 65536
#: Seconds within which the head of a request must have come: from connecting, and from the answer before it.
_HEAD_SECONDS = 10.0
_CONTINUE = b"HTTP/1.1 100"


class _Answer:
    """The transport of one answer: its head leaves with the beginning of its body.

    uvicorn writes them one after the other: two system calls here, and two wakings there.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None  # empty once it is written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, or keep a head until there is more."""
        if self._head is None and not data.startswith(_CONTINUE):
            self._head = data
        elif self._head:
            self._head, whole = b"", self._head + data
            self._transport.write(whole)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close, once what is kept is written."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Write what is kept."""
        if self._head:
            self._head, head = b"", self._head
            self._transport.write(head)


class Protocol(HttpToolsProtocol):
    """One connection.

    httptools keeps a head until it is complete, however long it is, and copies it for each piece that comes:
    100 MB took the event loop 17 seconds. uvicorn itself has a timeout only for a connection that is silent
    after an answer.
    """

    _kept = 0  # bytes that the parser has been given since it last handed something over
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's, too
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Give the parser as much as it may keep."""
        while data and not self.transport.is_closing():
            room = _MOST_HEAD - self._kept
            if not room:
                self._refuse()
                return
            part, data = data[:room], data[room:]
            self._kept += len(part)
            super().data_received(part)

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._kept = 0
        self._wait_no_more()
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not None and self.cycle is not before:
            answer = _Answer(self.cycle.transport)
            self.cycle.transport = answer  # type: ignore[assignment]  # it is asked for nothing that this has not
            self.cycle.on_response = functools.partial(self._end, answer)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._kept = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Begin to wait for the next head, unless that is there already."""
        if not self.pipeline and not self.transport.is_closing():
            self._wait()
        super().on_response_complete()

    def _end(self, answer: _Answer) -> None:
        answer.flush()  # there may be no body
        self.on_response_complete()

    def _wait(self) -> None:
        self._timer = self.loop.call_later(_HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self) -> None:
        """Hang up; with an answer, unless another one is under way."""
        if self.cycle is None or self.cycle.response_complete:
            problem = Problem("too_large", f"a head of more than {_MOST_HEAD} bytes", status=431)
            body = to_json(problem.body())
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(
                body
            )
            self.transport.write(STATUS_LINE[problem.status] + head + body)
        self.transport.close()
