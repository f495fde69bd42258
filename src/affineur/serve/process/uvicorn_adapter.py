"""uvicorn, as this endpoint needs it.

A server that tells when it listens and that it turns, and hears out who has connected before it ends. What a
connection is, :mod:`affineur.serve.process.connection` says.

Some of this is no public interface of uvicorn, which may change with any minor version: hence the ceiling in
``pyproject.toml``. ``tests/serve/process/test_uvicorn_adapter.py`` names what is relied on.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp

from affineur.serve.process.connection import Connection, State

#: Connections that wait to be accepted.
BACKLOG = 4096
#: Connections of a server, where there are descriptors for so many.
MOST_CONNECTIONS = 8192
#: Seconds that a connection which exists when accepting ends has for its request.
_SPEAK = 0.5


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
        most: Connections there may be; one more, and who has owed a request for longest is hung up on.
    """

    def __init__(
        self, app: ASGIApp, grace: int, hooks: Hooks | None = None, most: int = MOST_CONNECTIONS
    ) -> None:
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
                ws="none",
            )
        )
        self.server_state: State = State(most)

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
