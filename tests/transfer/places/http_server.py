"""A web server of a folder, in a thread, with the faults that web servers have."""

from __future__ import annotations

import base64
import os
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from .site import Site, flip

_PIECE = 1 << 18
_BUFFER = 1 << 17  # bytes that are on their way; else, on loopback, many MB count as sent that nobody read
_FAULTS = ("503", "reset", "cut")


@dataclass
class Faults:
    """How a server falls short; each may be changed while it runs.

    Args:
        ranges: Whether ``Range`` is understood.
        says_ranges: Whether ``Accept-Ranges`` says so.
        head: Status that ``HEAD`` is answered with, ``0`` where it works.
        length: Whether ``Content-Length`` is sent; without, the body comes in chunks.
        most: Most bytes of one part, where less is given than was asked for.
        failing: Share of the requests that fail: a 503, a reset, a body that is cut.
        seed: Of the chance by which they fail.
        burst: How many of the next requests are answered with ``status``.
        status: See ``burst``.
        retry_after: ``Retry-After`` of those.
        throttle: Bytes a second of one answer; ``0`` where there is no limit.
        cut_after: Bytes after which a body ends; ``0`` where it does not.
        encoding: ``Content-Encoding`` that is claimed.
        redirect: Where the files are instead, by an address of the folder.
        password: ``user:password`` that is asked for.
        etag: Whether a version is named: by the time and size of the file.
    """

    ranges: bool = True
    says_ranges: bool = True
    head: int = 0
    length: bool = True
    most: int = 0
    failing: float = 0.0
    seed: int = 1
    burst: int = 0
    status: int = 503
    retry_after: str = ""
    throttle: int = 0
    cut_after: int = 0
    encoding: str = ""
    redirect: str = ""
    password: str = ""
    etag: bool = True


@dataclass
class HttpServer:
    """A running server.

    Args:
        url: Address of its folder.
        folder: What it serves.
        faults: How it falls short.
        requests: ``METHOD path range`` of each request.
        headers: Headers of each request.
        bytes_sent: Bytes of bodies.
        failed: How many requests failed by chance.
        connections: How many connections were made.
        lock: Held while these are changed.
        hang_up: Closes every connection.
    """

    url: str
    folder: Path
    faults: Faults
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bytes_sent: int = 0
    failed: int = 0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    hang_up: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.faults.seed)

    def fault(self) -> str:
        """Draw what goes wrong with this request, if anything does."""
        with self.lock:
            if self.faults.burst > 0:
                self.faults.burst -= 1
                return "burst"
            if self.chance.random() < self.faults.failing:
                self.failed += 1
                return self.chance.choice(_FAULTS)
            return ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    here: HttpServer

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        with self.here.lock:
            self.here.connections += 1

    def do_GET(self) -> None:
        here, faults = self.here, self.here.faults
        path = unquote(urlsplit(self.path).path)
        with here.lock:
            here.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".rstrip())
            here.headers.append({name.lower(): value for name, value in self.headers.items()})
        fault = here.fault()
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if fault == "503":
            self._short(503, {})
        elif fault == "burst":
            self._short(faults.status, {"Retry-After": faults.retry_after} if faults.retry_after else {})
        elif faults.redirect:
            self._short(302, {"Location": faults.redirect + self.path.removeprefix("/folder")})
        elif faults.password and self.headers.get("Authorization") != basic(faults.password):
            self._short(401, {"WWW-Authenticate": 'Basic realm="folder"'})
        elif self.command == "HEAD" and faults.head:
            self._short(faults.head, {})
        else:
            name = path.removeprefix("/folder/")
            file = here.folder / name
            if not path.startswith("/folder/") or ".." in name.split("/") or not file.is_file():
                self._short(404, {})
            else:
                with file.open("rb") as opened:
                    self._file(opened.fileno(), fault == "cut")

    do_HEAD = do_GET  # noqa: N815

    def _file(self, file: int, cut: bool) -> None:
        faults, told = self.here.faults, os.fstat(file)
        size, tag = told.st_size, f'"{told.st_mtime_ns:x}-{told.st_size:x}"'
        first, last, status = 0, size, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if faults.ranges else None
        if asked and self.headers.get("If-Range", tag) == tag:
            first, status = int(asked[1]), 206
            last = min(size, int(asked[2]) + 1) if asked[2] else size
            last = min(last, first + faults.most) if faults.most else last
            if first >= size:
                self._short(416, {"Content-Range": f"bytes */{size}"})
                return
        headers = {"ETag": tag} if faults.etag else {}
        if faults.says_ranges:
            headers["Accept-Ranges"] = "bytes" if faults.ranges else "none"
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{size}"
        if faults.encoding:
            headers["Content-Encoding"] = faults.encoding
        headers |= (
            {"Content-Length": str(last - first)} if faults.length else {"Transfer-Encoding": "chunked"}
        )
        self._head(status, headers)
        if self.command == "HEAD":
            return
        ends = last
        if cut:
            ends = min(ends, first + (last - first) // 2)
        if faults.cut_after:
            ends = min(ends, first + faults.cut_after)
        self._send(file, first, ends)
        if ends < last:
            self.close_connection = True
        elif not faults.length:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, file: int, first: int, last: int) -> None:
        faults = self.here.faults
        while first < last:
            wanted = min(_PIECE, last - first)
            if faults.throttle:
                wanted = min(wanted, max(1, faults.throttle // 20))
                time.sleep(wanted / faults.throttle)
            if faults.length and not isinstance(self.connection, ssl.SSLSocket) and hasattr(os, "sendfile"):
                sent = os.sendfile(self.connection.fileno(), file, first, wanted)
            else:
                piece = os.pread(file, wanted, first)
                sent = len(piece)
                self.wfile.write(piece if faults.length else f"{sent:x}\r\n".encode() + piece + b"\r\n")
            first += sent
            with self.here.lock:
                self.here.bytes_sent += sent

    def _short(self, status: int, headers: dict[str, str]) -> None:
        self._head(status, headers | {"Content-Length": "5"})
        if self.command != "HEAD":
            self.wfile.write(b"short")

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Threads(ThreadingHTTPServer):
    """Closes every connection that is still open when it stops, so that no thread is left behind."""

    daemon_threads = False
    context: ssl.SSLContext | None = None

    def __init__(self, handler: type[_Handler]) -> None:
        self.open: set[socket.socket] = set()
        self.guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), handler)

    def process_request_thread(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        with self.guard:
            self.open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.guard:
                self.open.discard(request)

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(5)
            with self.context.wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away

    def hang_up(self) -> None:
        with self.guard:
            for each in self.open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(password.encode()).decode()


@contextmanager
def serving(
    folder: Path, faults: Faults | None = None, *, certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[HttpServer]:
    """Serve a folder below ``/folder`` while the block runs.

    Args:
        folder: What is served; files may change meanwhile.
        faults: How the server falls short; none at first.
        certificate: A certificate and its key in one PEM file, for HTTPS.
        host: What the server is called in its address; ``localhost`` is another host than ``127.0.0.1``.
    """
    handler = type("Handler", (_Handler,), {})
    server = _Threads(handler)
    if certificate is not None:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate)
    scheme = "http" if certificate is None else "https"
    here = HttpServer(f"{scheme}://{host}:{server.server_port}/folder", folder, faults or Faults())
    here.hang_up = server.hang_up
    handler.here = here  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


@contextmanager
def site(folder: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults | None = None) -> Iterator[Site]:
    """Give a folder of a web server to the tests of what every place promises."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with serving(folder, faults) as server:
        yield Site(server.url, folder.as_uri(), lambda name: flip(folder / name), server.faults.ranges)


@contextmanager
def site_without_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give one of a server that gives whole files alone."""
    with site(folder, monkeypatch, Faults(ranges=False)) as here:
        yield here
