"""An endpoint to attack: a process of its own, what it holds in memory, and raw connections to it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from serve.held import heard, until
from serve.running import Running, running

PING = b"GET /ping HTTP/1.1\r\nHost: here\r\n\r\n"
INFO = b"GET /info HTTP/1.1\r\nHost: here\r\n\r\n"


def megabytes(endpoint: Running) -> float:
    """What the process has in memory."""
    pages = int(Path(f"/proc/{endpoint.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def health_port(endpoint: Running) -> int:
    return urlsplit(json.loads(endpoint.told.read_text())["health_url"]).port or 0


@contextlib.contextmanager
def attacked(
    folder: Path, model: Path, *arguments: object, patch: str = "", descriptors: int | None = None
) -> Iterator[Running]:
    """Run an endpoint with a health port.

    Args:
        folder: Where it writes.
        model: What it serves.
        arguments: Of the command.
        patch: Python that it runs at its start, to make times and bounds small enough for a test.
        descriptors: How many it may have.
    """
    if patch:
        (folder / "sitecustomize.py").write_text(
            "import sys\nif 'serve' in sys.argv:\n" + "".join(f"    {line}\n" for line in patch.splitlines())
        )
    path = os.pathsep.join([str(folder), *sys.path])
    with running(folder, model, "--port", 0, "--health-port", 0, *arguments, PYTHONPATH=path) as endpoint:
        if descriptors is not None:
            resource.prlimit(endpoint.process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
        yield endpoint.ready()


def connect(port: int, timeout: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def post(body: bytes, path: str = "/", length: int | None = None, more: str = "") -> bytes:
    """A request, whatever length it tells."""
    told = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: here\r\n{more}Content-Length: {told}\r\n\r\n".encode() + body


def statuses(answers: bytes) -> list[int]:
    """Statuses of the answers that came one after another."""
    return [int(each[:3]) for each in answers.split(b"HTTP/1.1 ")[1:]]


def talk(port: int, *parts: bytes, half_closed: bool = False) -> bytes:
    """Send, and return what comes until the endpoint hangs up."""
    with connect(port) as client:
        for part in parts:
            client.sendall(part)
        if half_closed:
            client.shutdown(socket.SHUT_WR)
        return heard(client)


def flood(client: socket.socket, data: bytes, most: int, patience: float = 1.0) -> int:
    """Send without reading until nobody takes any more for so many seconds; how many bytes were taken."""
    client.settimeout(patience)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most:
            sent += client.send(data)
    return sent


def hung_up(client: socket.socket) -> bool:
    """Whether the endpoint has hung up, whatever it may have said before."""
    client.settimeout(0.01)
    try:
        while client.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


__all__ = [
    "INFO",
    "PING",
    "Running",
    "attacked",
    "connect",
    "flood",
    "health_port",
    "heard",
    "hung_up",
    "megabytes",
    "post",
    "statuses",
    "talk",
    "until",
]
