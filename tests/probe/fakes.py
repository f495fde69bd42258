"""Small servers that speak the Hugging Face token-classification schema, well or badly, each in a thread of
this process.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from affineur.probe import Probe, probe

#: What a probe of them sends.
TEXTS = ["Paul Martin vit à Lyon.", "👋 Anne Lambert est à Paris.", "Rien à dire."]
FEW: dict[str, Any] = {"requests": 6, "concurrency": [2], "timeout": 2.0}

#: Names the fake knows, written down here and not taken from the probe's own list.
NAMES = {
    **dict.fromkeys(
        (
            "Marie Curie",
            "Jean Dupuis",
            "Sophie Marchand",
            "Paul Martin",
            "Thomas Petit",
            "Isabelle Moreau",
            "Camille Roussel",
        ),
        "PER",
    ),
    **dict.fromkeys(("Anne Lambert", "Hugo Mercier", "Julien Faure"), "PER"),
    **dict.fromkeys(
        (
            "Varsovie",
            "Lyon",
            "Marseille",
            "Lille",
            "Bordeaux",
            "Italie",
            "Grèce",
            "Paris",
            "Nantes",
            "Rennes",
            "Toulouse",
        ),
        "LOC",
    ),
    **dict.fromkeys(("Belgique", "Canada", "Espagne"), "LOC"),
    **dict.fromkeys(("Banque de France", "Airbus", "SNCF", "Michelin"), "ORG"),
}


def entities(text: str) -> list[dict[str, Any]]:
    found = [(text.index(name), name, kind) for name, kind in NAMES.items() if name in text]
    return [
        {"entity_group": kind, "score": 0.99, "word": name, "start": at, "end": at + len(name)}
        for at, name, kind in sorted(found)
    ]


@dataclass
class Fake:
    """What a server does; ``answer`` makes the entities of one text of a request's body."""

    answer: Callable[[str, dict[str, Any]], list[Any]] = lambda text, _: entities(text)
    handle: Callable[[Any, dict[str, Any]], bool] | None = (
        None  # answers the request itself where it returns True
    )
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""
    stop: Callable[[], None] = lambda: None

    def reply(self, body: dict[str, Any]) -> Any:
        inputs = body["inputs"]
        return (
            self.answer(inputs, body)
            if isinstance(inputs, str)
            else [self.answer(text, body) for text in inputs]
        )


def send(handler: BaseHTTPRequestHandler, status: int, value: Any, **headers: str) -> None:
    raw = value.encode() if isinstance(value, str) else json.dumps(value).encode()
    handler.send_response(status)
    for name, text in {
        "Content-Type": "application/json",
        **headers,
        "Content-Length": str(len(raw)),
    }.items():
        handler.send_header(name.replace("_", "-"), text)
    handler.end_headers()
    handler.wfile.write(raw)


@contextmanager
def running(fake: Fake, path: str = "/") -> Iterator[Fake]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a head and a body in two packets would wait 40 ms for each other

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with fake.lock:
                fake.bodies.append(body)
                fake.headers.append(dict(self.headers))
            if fake.handle and fake.handle(self, body):
                return
            if body.get("inputs") == "":
                send(self, 400, {"error": "empty", "error_type": "Empty"})
            else:
                send(self, 200, fake.reply(body), x_queue_time="1.5", x_inference_time="2.5")

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            pass  # a client that went away

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}{path}"

    def stop() -> None:
        server.shutdown()
        server.server_close()

    fake.stop = stop
    try:
        yield fake
    finally:
        stop()
        thread.join()


def overloaded(limit: int) -> Callable[[Any, dict[str, Any]], bool]:
    """Refuse what exceeds ``limit`` requests at once."""
    busy = threading.Semaphore(limit)

    def handle(handler: Any, body: dict[str, Any]) -> bool:
        if not busy.acquire(blocking=False):
            send(
                handler, 429, {"error": "Model is overloaded", "error_type": "Overloaded"}, Retry_After="0.02"
            )
            return True
        try:
            time.sleep(0.005)
            send(
                handler,
                200 if body["inputs"] != "" else 400,
                [] if body["inputs"] == "" else Fake().reply(body),
            )
        finally:
            busy.release()
        return True

    return handle


def probed(fake: Fake, path: str = "/", until: threading.Event | None = None, **options: Any) -> Probe:
    """Probe a fake server while it runs; the event is set once that is over."""
    with running(fake, path):
        try:
            return probe(fake.url, TEXTS, **{**FEW, **options})
        finally:
            if until is not None:
                until.set()
