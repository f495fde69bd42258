"""Where an endpoint listens, and how its servers are set."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from affineur.errors import ParameterError

#: Connections that wait to be accepted.
BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets of an endpoint.

    Args:
        main: Where texts and probes are answered.
        health: Where probes are answered, too; the same as ``main`` where the same port was asked for,
            ``None`` where none was.
    """

    main: socket.socket
    health: socket.socket | None = None

    @property
    def apart(self) -> socket.socket | None:
        """The health port's, where it has one of its own."""
        return None if self.health is self.main else self.health

    def close(self) -> None:
        """Close them in this process."""
        self.main.close()
        if self.health is not None:
            self.health.close()


def listen(host: str, port: int, health_port: int | None = None) -> Sockets:
    """Open the sockets of an endpoint.

    Args:
        host: Address.
        port: Port; 0 for any that is free.
        health_port: Another for probes, likewise.

    Raises:
        ParameterError: If a port is taken, or the address is not this machine's.
    """
    main = _bind(host, port, "--port")
    if health_port is None or health_port == main.getsockname()[1]:
        return Sockets(main, None if health_port is None else main)
    try:
        return Sockets(main, _bind(host, health_port, "--health-port"))
    except ParameterError:
        main.close()
        raise


def address(listener: socket.socket) -> str:
    """Return the URL of a socket, for whoever sits at this machine."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def configure(app: ASGIApp, grace: int) -> uvicorn.Config:
    """Return how an application is served: silent, and by plain HTTP/1.1.

    Args:
        app: The application.
        grace: Seconds that requests have to end when the server does.
    """
    return uvicorn.Config(
        app,
        http=_protocol(),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody's address is looked at
        lifespan="off",
        backlog=BACKLOG,
        timeout_graceful_shutdown=grace,
    )


def _protocol() -> Any:
    try:
        from affineur.serve.protocol import Protocol
    except ModuleNotFoundError as error:
        if error.name != "httptools":
            raise
        return "auto"  # h11's, which bounds a head by itself
    return Protocol


def _bind(host: str, port: int, option: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
            stack.pop_all()
    except OSError as error:
        raise ParameterError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}); name another with --host and {option} (0 takes any that is free)"
        ) from None
    return listener
