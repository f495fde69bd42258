"""Issue 19, a second hostile run: what keeps an endpoint from ending when it is told to."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from affineur.serve.keys import add_key
from affineur.serve.process.uvicorn_adapter import Server
from serve.held import Held, heard, logged, on_port
from serve.running import running

from .endpoint import attacked, connect, post, statuses, until


class Place:
    """A web server that has a model, and takes for ever to send it.

    Attributes:
        asked: Set once somebody has asked.
    """

    def __init__(self, drips: bool) -> None:
        self.asked, self._end, self._drips = threading.Event(), threading.Event(), drips
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/model"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._end.set()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._send, args=self._listener.accept()[:1], daemon=True).start()

    def _send(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            if self._drips:
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{")
            self.asked.set()
            while not self._end.wait(0.1):
                if self._drips:
                    client.sendall(b" ")


@contextlib.contextmanager
def place(drips: bool) -> Iterator[Place]:
    with contextlib.closing(Place(drips)) as it:
        yield it


@pytest.mark.parametrize(
    ("drips", "number", "times"),
    [
        (True, signal.SIGTERM, 1),
        pytest.param(False, signal.SIGTERM, 1, marks=pytest.mark.slow),
        pytest.param(True, signal.SIGINT, 2, marks=pytest.mark.slow),
        pytest.param(False, signal.SIGINT, 1, marks=pytest.mark.slow),
    ],
)
def test_it_ends_while_its_first_model_is_fetched_without_end(
    tmp_path: Path, drips: bool, number: signal.Signals, times: int
) -> None:
    with place(drips) as there, running(tmp_path, there.url, "--port", 0, "--drain", 0) as endpoint:
        assert there.asked.wait(30)
        began = time.monotonic()
        for _ in range(times):
            endpoint.process.send_signal(number)
            time.sleep(0.1)
        assert endpoint.process.wait(20) == 0
        assert time.monotonic() - began < 5
        assert "Traceback" not in endpoint.errors
        assert [line["event"] for line in endpoint.log][-2:] == ["draining", "stopped"]


@pytest.mark.slow
@pytest.mark.parametrize(("drips", "times"), [(True, 1), (False, 2)])
def test_it_ends_while_another_model_is_fetched_without_end(
    tmp_path: Path, shared_onnx: Path, drips: bool, times: int
) -> None:
    key = add_key(tmp_path / "keys", "ops", admin=True)
    more = f"Authorization: Bearer {key}\r\n"
    with (
        place(drips) as there,
        attacked(tmp_path, shared_onnx, "--key-file", tmp_path / "keys", "--drain", 0) as endpoint,
        connect(endpoint.port) as client,
    ):
        client.sendall(post(json.dumps({"model": there.url}).encode(), "/admin/reload", more=more))
        assert there.asked.wait(30)
        began = time.monotonic()
        for _ in range(times):
            endpoint.process.send_signal(signal.SIGTERM)
        answer = heard(client)
        assert endpoint.process.wait(20) == 0
        assert time.monotonic() - began < 5
        assert statuses(answer) == [503]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error_type"] == "Unhealthy"
        assert "Traceback" not in endpoint.errors


def test_who_is_not_answered_at_the_end_is_told_so(
    shared_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[Server] = []
    plain = Server.run
    monkeypatch.setattr(Server, "run", lambda self, *given: (servers.append(self), plain(self, *given)))
    with logged() as lines, on_port(Held(shared_onnx)) as held, ThreadPoolExecutor(1) as pool:
        held.go.clear()
        asked = pool.submit(held.post, {"inputs": "Marie Duval habite à Paris."})
        until(lambda: held.entered.acquire(blocking=False))
        servers[0].end_at_once()
        status, body, _ = asked.result(20)
    assert (status, body["error_type"]) == (503, "Unhealthy")
    assert not [line for line in lines() if "Exception" in str(line)]
