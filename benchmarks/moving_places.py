"""The servers of the tests on loopback, each behind a relay that counts bytes and breaks connections.
Used by ``moving.py``.
"""

from __future__ import annotations

import random
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from affineur.errors import AffineurError
from affineur.transfer.places.core.place import PART

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from transfer.places.http_server import Faults, serving
from transfer.places.s3_server import KEY, SECRET, Rules, RunPod, moto_s3, only_these_credentials, proxied
from transfer.places.sftp_server import MISSING, sftp_server

PLACES = ("file", "http", "s3", "runpod", "sftp")
BUCKET = "models"
_BUFFER = 1 << 17  # bytes on their way; else, on loopback, many MB count as sent that nobody read


class Relay:
    """Passes connections on to a server of this machine, counts what goes each way, and breaks some.

    Args:
        port: Where the server listens.
        failing: Share of parts of a file in whose midst the connection breaks.

    Attributes:
        up, down: Bytes that went to the server, and that came from it.
        broken: Connections that were broken.
    """

    def __init__(self, port: int, failing: float = 0.0) -> None:
        self._to, self._failing, self._random = port, failing, random.Random(13)
        self.up = self.down = self.broken = 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listening.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER
        )  # its connections have it too
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket() as server, suppress(OSError):
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            server.connect(("127.0.0.1", self._to))
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up = threading.Thread(target=self._pass, args=(client, server, True), daemon=True)
            up.start()
            self._pass(server, client, False)
            up.join()

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                with self._lock:
                    self.up += len(data) * up
                    self.down += len(data) * (not up)
                    if self._random.random() < self._failing * len(data) / PART:
                        self.broken += 1
                        break
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@dataclass
class There:
    """A place that runs, as processes that are started find it by the environment.

    Args:
        reference: What is pulled.
        filled: What is pushed to fill it: ``reference`` itself, where the place can be written.
        relay: What counts; ``None`` where nothing is between, or it is a folder of this machine.
        failed: Gives how many requests failed so far.
        plain: Where a plain client finds what ``reference`` names: an address, or a path.
        clear: Removes all.
        server: The server, as the tests have it.
    """

    reference: str
    filled: str
    plain: str
    clear: Callable[[], None]
    relay: Relay | None = None
    failed: Callable[[], int] = int
    server: Any = None


@contextmanager
def running(place: str, folder: Path, *, failing: float = 0.0, direct: bool = False) -> Iterator[There]:
    """Start the server of a place, and give the environment what is needed to reach it.

    Args:
        place: One of :data:`PLACES`.
        folder: An empty folder of its own.
        failing: Share of requests that fail, or, where the server has no such thing (SFTP), of parts of a
            file in whose midst the connection breaks.
        direct: Whether nothing is to stand before the server: no relay, nothing that fails.

    Raises:
        AffineurError: If OpenSSH is not installed.
    """
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("AFFINEUR_CACHE", str(folder / "cache"))
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        start = {"file": _file, "http": _http, "sftp": _sftp}.get(place, partial(_bucket, place))
        yield start(folder, patch, stack, failing, direct)


def _relay(stack: ExitStack, port: int, direct: bool, failing: float = 0.0) -> Relay | None:
    if direct:
        return None
    relay = Relay(port, failing)
    stack.callback(relay.close)
    return relay


def _file(folder: Path, _: object, __: object, ___: float, ____: bool) -> There:
    there = folder / "there"
    return There(
        there.as_uri(), there.as_uri(), str(there), partial(shutil.rmtree, there, ignore_errors=True)
    )


def _http(folder: Path, _: object, stack: ExitStack, failing: float, direct: bool) -> There:
    there = folder / "there"
    server = stack.enter_context(serving(there, Faults(failing=failing)))
    relay = _relay(stack, int(urlsplit(server.url).port or 0), direct)
    url = server.url if relay is None else f"http://127.0.0.1:{relay.port}/folder"
    clear = partial(shutil.rmtree, there, ignore_errors=True)
    return There(url, there.as_uri(), url, clear, relay, lambda: server.failed, server)


def _sftp(folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack, failing: float, direct: bool) -> There:
    if MISSING:
        raise AffineurError(f"{MISSING}; type: apt install openssh-server openssh-client")
    server = stack.enter_context(sftp_server(folder / "server"))
    relay = _relay(stack, server.port, direct, failing)
    if relay is not None:
        for file in (server.ssh_config, server.known_hosts):
            text = file.read_text()
            for before in ("Port ", "]:"):
                text = text.replace(f"{before}{server.port}", f"{before}{relay.port}")
            file.write_text(text)
    patch.setenv("AFFINEUR_SSH_CONFIG", str(server.ssh_config))
    there = server.home / "models"
    reference = server.reference(there)
    clear = partial(shutil.rmtree, there, ignore_errors=True)
    failed = int if relay is None else lambda: relay.broken
    return There(reference, reference, str(there), clear, relay, failed, server)


def _checksums(builder: Callable[..., Any], algorithm: str | None, kind: str | None) -> Any:
    """Have moto treat an upload that names no checksum as one that does.

    Else it copies the whole object twice more where the parts are put together, for a checksum that S3 takes
    from what it has: a cost of this server for every client but boto3's own uploads, which name CRC32.
    """
    return builder(algorithm or "CRC32", kind)


def _bucket(
    place: str, folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack, failing: float, direct: bool
) -> There:
    import boto3
    import moto.s3.models

    only_these_credentials(patch.setenv, patch.delenv, str(folder))
    patch.setenv("AWS_REGION", "EU-RO-1" if place == "runpod" else "us-east-1")
    url = upstream = stack.enter_context(moto_s3(BUCKET))
    builder = moto.s3.models.MultipartChecksumBuilder
    plain = partial(_checksums, builder)
    patch.setattr(moto.s3.models, "MultipartChecksumBuilder", plain)
    proxy = relay = None
    if not direct:
        rules = RunPod(largest=PART + (1 << 20)) if place == "runpod" else Rules()
        proxy = stack.enter_context(proxied(upstream, rules))
        proxy.failing = failing
        relay = _relay(stack, int(urlsplit(proxy.url).port or 0), direct)
        url = f"http://127.0.0.1:{relay.port}" if relay else proxy.url
    patch.setenv("AWS_ENDPOINT_URL", url)
    bucket = boto3.resource(
        "s3",
        endpoint_url=upstream,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    ).Bucket(BUCKET)
    reference = f"runpod:{BUCKET}/there" if place == "runpod" else f"s3://{BUCKET}/there"
    failed = int if proxy is None else lambda: proxy.failed
    return There(reference, reference, url, lambda: bucket.objects.delete(), relay, failed, proxy)
