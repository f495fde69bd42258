"""Where an endpoint listens."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from affineur.errors import ParameterError, one_line
from affineur.serve.process.uvicorn_adapter import BACKLOG

#: Bytes that the kernel keeps of a connection in each direction, and as many for itself; by default it takes
#: up to ten megabytes.
_BUFFER = 131_072
#: Milliseconds for which the kernel keeps what nobody takes, even of a connection that is closed here.
_UNTAKEN = 20_000


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets of an endpoint.

    Args:
        main: Where texts and health checks are answered.
        health: Where health checks are answered, too; the same as ``main`` where the same port was asked for,
            ``None`` where none was.
    """

    main: socket.socket
    health: socket.socket | None = None

    @property
    def apart(self) -> socket.socket | None:
        """The health port's, where it has one of its own."""
        return None if self.health is self.main else self.health


def listen(host: str, port: int, health_port: int | None = None) -> Sockets:
    """Open the sockets of an endpoint.

    Args:
        host: Address.
        port: Port; 0 for any that is free.
        health_port: Another for health checks, likewise.

    Raises:
        ParameterError: If a port is taken, or the address is not this machine's.
    """
    main = _bind(host, port, "port")
    if health_port is None or health_port == main.getsockname()[1]:
        return Sockets(main, None if health_port is None else main)
    try:
        return Sockets(main, _bind(host, health_port, "health_port"))
    except ParameterError:
        main.close()
        raise


def address(listener: socket.socket) -> str:
    """Return the URL of a socket, for whoever sits at this machine."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def _bind(host: str, port: int, parameter: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # before listening, for whoever connects
                listener.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNTAKEN)
            listener.bind((host, port))
            listener.listen(BACKLOG)
            stack.pop_all()
    except (OSError, ValueError) as error:  # a name that none can be, such as a..b, is a ValueError
        why = getattr(error, "strerror", None) or one_line(error)
        raise ParameterError(
            f"{host}:{port} cannot be listened on ({why}); "
            f"choose another host or {parameter} (0 takes any that is free)",
            parameter,
        ) from None
    return listener
