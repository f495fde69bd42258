"""A real service whose engine waits until it is told to go on, and ways to talk to it on a port."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from affineur.pipeline.models import load_to_serve as load
from affineur.runtime import EngineTagger
from affineur.serve import logs
from affineur.serve.app import create_app
from affineur.serve.keys import Key
from affineur.serve.metrics import Metrics
from affineur.serve.process.uvicorn_adapter import Server
from affineur.serve.service import Service
from affineur.serve.settings import Settings


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)
    return value


def heard(client: socket.socket) -> bytes:
    """What comes until the endpoint hangs up."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            got += part
    return got


class Held:
    """A service of one model, ``ner``.

    Args:
        path: Its folder.
        settings: Limits.
    """

    def __init__(self, path: Path, **settings: Any) -> None:
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Semaphore(0)
        self.seen: list[tuple[int, ...]] = []
        self.service = Service({"ner": str(path)}, self._load, Settings(**settings), Metrics())
        self.service.load()
        self.port = 0

    def _load(self, reference: str) -> tuple[EngineTagger, Path]:
        tagger, path = load(reference)
        plain = tagger.window_logits

        def compute(windows: Any, alone: bool = False) -> Any:
            self.entered.release()
            assert self.go.wait(30)
            self.seen += [window.ids for window in windows]
            return plain(windows)

        tagger.window_logits = compute  # type: ignore[method-assign]
        tagger.lane_logits = compute  # type: ignore[method-assign]
        return tagger, path

    def hold(self) -> threading.Thread:
        """Keep the engine busy with a request, so that what comes next waits."""
        while self.entered.acquire(blocking=False):
            pass
        self.go.clear()
        thread = threading.Thread(target=self.post, args=({"inputs": "Il fait beau ."},))
        thread.start()
        assert self.entered.acquire(timeout=30)
        return thread

    def post(self, body: Any, path: str = "/", **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Ask on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            return ask(connection, body, path, **headers)

    def metric(self, name: str) -> float:
        """Return a figure without labels, or the sum over them."""
        text = self.service.metrics.text()[0].decode()
        return sum(
            float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        )

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the pieces of a short text."""
        (window,) = self.service.models["ner"].tagger.read([text]).windows
        return tuple(window.ids)

    @property
    def permits(self) -> tuple[float, float]:
        """Texts and tokens that are held, as metrics tell."""
        return self.metric("ner_waiting_inputs"), self.metric("ner_waiting_tokens")


def ask(
    connection: http.client.HTTPConnection, body: Any, path: str = "/", **headers: str
) -> tuple[int, Any, dict[str, str]]:
    """Send a request on a connection, and return status, body and headers of the answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(
        "GET" if body is None else "POST", path, None if body is None else json.dumps(body), named
    )
    response = connection.getresponse()
    raw = response.read()
    return (
        response.status,
        json.loads(raw) if raw[:1] in (b"{", b"[") else raw.decode(),
        {k.lower(): v for k, v in response.getheaders()},
    )


@contextlib.contextmanager
def on_port(held: Held, keys: tuple[Key, ...] = ()) -> Iterator[Held]:
    """Serve it in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    held.port = listener.getsockname()[1]
    server = Server(create_app(held.service, lambda: keys), grace=30)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        until(lambda: server.started)
        yield held
    finally:
        held.go.set()
        server.end()
        thread.join(30)
        held.service.close()


@contextlib.contextmanager
def logged() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Log as the endpoint does; gives what returns the lines as a reader of standard error sees them, each of
    which must be JSON.
    """
    stream = io.StringIO()
    loggers = [logging.getLogger(name) for name in ("affineur.serve", "uvicorn", "asyncio")]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    with contextlib.redirect_stderr(stream):
        logs.set_up()
    try:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
