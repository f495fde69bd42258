"""uvicorn, as this endpoint needs it: the one module that knows uvicorn, and what is inside of it.

HTTP/1.1 by httptools, with bounds on the head of a request and the wait for it, and answers that leave whole;
a server that tells when it listens and that it turns, and hears out who has connected before it ends.

Some of this is no public interface of uvicorn, which may change with any minor version: hence the ceiling in
``pyproject.toml``. ``tests/serve/process/test_uvicorn_adapter.py`` names what is relied on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from pydantic_core import to_json
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from affineur.serve.problems import Problem

#: Connections that wait to be accepted.
BACKLOG = 4096
#: Bytes of a head, and of whatever else the parser keeps before it hands it over: trailers, extensions of
#: chunks.
_MOST_HEAD = 65536
#: Seconds within which the head of a request must have come: from connecting, and from the answer before it.
_HEAD_SECONDS = 10.0
#: Seconds that a connection which exists when accepting ends has for its request.
_SPEAK = 0.5
_CONTINUE = b"HTTP/1.1 100"


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a server tells, in its event loop.

    Args:
        started: Called once it listens.
        turned: Called about ten times a second.
        signals: What is called for a signal; all others keep their meaning.
    """

    started: Callable[[], None] = lambda: None
    turned: Callable[[], None] = lambda: None
    signals: Mapping[signal.Signals, Callable[[], None]] = field(default_factory=dict)


class Server(uvicorn.Server):
    """Serves an application, silent, and by plain HTTP/1.1; :meth:`run` takes its sockets.

    Args:
        app: The application.
        grace: Seconds that requests have to end when the server does.
        hooks: What it tells.
    """

    def __init__(self, app: ASGIApp, grace: int, hooks: Hooks | None = None) -> None:
        self._hooks = hooks or Hooks()
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nobody's address is looked at
                lifespan="off",
                backlog=BACKLOG,
                timeout_graceful_shutdown=grace,
            )
        )

    def end(self) -> None:
        """Accept nobody any more, answer what is accepted, and end."""
        self.should_exit = True

    def end_at_once(self) -> None:
        """End without answering what is accepted."""
        self.should_exit = self.force_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell of it."""
        await super().startup(sockets)
        self._hooks.started()

    async def on_tick(self, counter: int) -> bool:
        """Tell that the event loop turns."""
        self._hooks.turned()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, hear who has connected until then, and answer what is accepted.

        uvicorn alone hangs up on connections whose request it has not read yet.
        """
        connected = []
        for listener in sockets or []:  # whom the kernel has let in would be reset when the socket is closed
            with contextlib.suppress(OSError):
                while True:
                    connected.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in connected:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, connection)
        end = time.monotonic() + _SPEAK
        while (
            not self.force_exit
            and time.monotonic() < end
            and any(getattr(each, "cycle", each) is None for each in self.server_state.connections)
        ):
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        return Connection(self.config, self.server_state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let the hooks handle signals; without any, as uvicorn does."""
        if not self._hooks.signals:
            with super().capture_signals():
                yield
            return
        loop = asyncio.get_running_loop()
        for number, handle in self._hooks.signals.items():
            loop.add_signal_handler(number, handle)
        yield


class Connection(HttpToolsProtocol):
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
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(STATUS_LINE[problem.status] + head % len(body) + body)
        self.transport.close()


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
