"""Health checks at a port of their own: the same answers, whatever the other port has to do."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from affineur.serve.app import paths
from affineur.serve.keys import add_key

from ..held import ask, until
from ..running import TEXT, Running, running

CHECKS = sorted(paths().health)


def at(port: int, path: str, body: Any = None) -> tuple[int, Any]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        return ask(connection, body, path)[:2]


def health_port(endpoint: Running) -> int:
    """Where the file that tells of readiness says the health port is."""
    return urlsplit(json.loads(endpoint.told.read_text())["health_url"]).port or 0


def listening(endpoint: Running) -> int:
    """Where the first line of the log says it is, as soon as it is there."""
    (line,) = until(lambda: endpoint.events("listening"))
    return urlsplit(line["health"]).port or 0


def test_health_checks_need_no_key_and_there_is_nothing_else(tmp_path: Path, shared_onnx: Path) -> None:
    add_key(tmp_path / "keys", "web")
    with running(
        tmp_path, shared_onnx, "--port", 0, "--health-port", 0, "--key-file", tmp_path / "keys"
    ) as endpoint:
        endpoint.ready()
        port = health_port(endpoint)
        assert port != endpoint.port
        assert f"health checks http://127.0.0.1:{port}/health)" in endpoint.errors
        assert len(CHECKS) == 6
        for path in CHECKS:
            assert at(port, path) == at(endpoint.port, path), path
            assert at(port, path)[0] == 200, path
        not_there = (404, {"error": "no such path", "error_type": "NotFound"})
        for path in (
            "/",
            "/ui",
            "/docs",
            "/openapi.json",
            "/metrics",
            "/info",
            "/v2",
            "/v2/models/ner",
            f"/{TEXT.partition(' à')[0].replace(' ', '%20')}",
        ):
            assert at(port, path) == not_there, path
        assert at(port, "/ping/")[0] == 404
        for path in ("/", "/predict", "/runsync", "/v2/models/ner/infer", "/admin/reload"):
            assert at(port, path, {"inputs": TEXT}) == not_there, path
        assert at(port, "/ping", {})[1]["error_type"] == "MethodNotAllowed"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("HEAD", "/health/ready")  # as monitors do
            assert connection.getresponse().status == 200
        assert endpoint.stop() == 0
        assert "Duval" not in endpoint.errors
        assert "Traceback" not in endpoint.errors


def test_they_answer_while_the_model_loads(tmp_path: Path, shared_onnx: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,  # the option is stronger than the variable
        running(
            tmp_path, shared_onnx, "--port", 0, "--health-port", 0, PORT_HEALTH=str(taken.getsockname()[1])
        ) as endpoint,
    ):
        port, seen = listening(endpoint), set()
        while not endpoint.events("ready"):
            seen |= {
                (path, at(port, path)[0])
                for path in ("/health/live", "/health/ready", "/v2/health/ready", "/ping")
            }
        loading = {("/health/live", 200), ("/health/ready", 503), ("/v2/health/ready", 503), ("/ping", 204)}
        assert (
            loading <= seen <= loading | {("/health/ready", 200), ("/v2/health/ready", 200), ("/ping", 200)}
        )


@contextlib.contextmanager
def half_sent(endpoint: Running) -> Iterator[Callable[[], bytes]]:
    """Send a request but for its last byte, so that a drain waits for it; gives what sends that and returns
    the answer.
    """
    body = json.dumps({"inputs": TEXT}).encode()
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body[:-1]
        )

        def rest() -> bytes:
            client.sendall(body[-1:])
            return b"".join(iter(lambda: client.recv(65536), b""))

        yield rest


def test_they_answer_until_the_end_of_a_drain(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0, "--health-port", 0, "--drain", 0) as endpoint:
        endpoint.ready()
        port = health_port(endpoint)
        with half_sent(endpoint) as rest:
            endpoint.process.send_signal(signal.SIGTERM)
            until(lambda: refused(endpoint.port))
            assert at(port, "/health/ready") == (
                503,
                {"error": "the endpoint is stopping", "error_type": "Unhealthy"},
            )
            assert [at(port, path)[0] for path in ("/health/live", "/ping")] == [200, 503]
            assert rest().startswith(b"HTTP/1.1 200 ")
        assert endpoint.process.wait(10) == 0
        assert refused(port)
        assert "Traceback" not in endpoint.errors


def test_a_second_signal_ends_at_once(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0, "--health-port", 0) as endpoint:
        endpoint.ready()
        with half_sent(endpoint), socket.create_connection(("127.0.0.1", health_port(endpoint))) as silent:
            silent.sendall(b"GET /ping HT")
            endpoint.process.send_signal(signal.SIGINT)
            until(lambda: endpoint.events("draining"))
            endpoint.process.send_signal(signal.SIGINT)
            assert endpoint.process.wait(5) == 0


def refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_same_port_is_one(tmp_path: Path, shared_onnx: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(tmp_path, shared_onnx, "--port", port, "--health-port", port) as endpoint:
        endpoint.ready()
        assert health_port(endpoint) == endpoint.port == port
        assert at(port, "/health/ready")[0] == at(port, "/", {"inputs": TEXT})[0] == 200
        assert endpoint.stop() == 0


def test_an_event_loop_that_hangs_is_not_ready_and_then_not_live(tmp_path: Path, shared_onnx: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import signal, sys, time\n"
        "if 'serve' in sys.argv:\n"
        "    import affineur.serve.protocols as protocols\n"
        "    protocols.SLOW, protocols.STUCK = 0.5, 2.0\n"
        # In the main thread, whose loop waits for it.
        "    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(5))\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    with running(
        tmp_path,
        shared_onnx,
        "--port",
        0,
        "--health-port",
        0,
        PYTHONPATH=path,
    ) as endpoint:
        endpoint.ready()
        port = health_port(endpoint)
        live = ("/health/live", "/v2/health/live")
        assert [at(port, path)[0] for path in CHECKS] == [200] * 6
        endpoint.process.send_signal(signal.SIGUSR1)
        until(lambda: at(port, "/ping")[0] == 503)
        assert {path: at(port, path)[0] for path in CHECKS} == {
            path: 200 if path in live else 503 for path in CHECKS
        }
        until(lambda: at(port, "/health/live")[0] == 503)
        assert {at(port, path)[1]["error_type"] for path in CHECKS} == {"Unhealthy"}
        until(lambda: [at(port, path)[0] for path in CHECKS] == [200] * 6)
        assert endpoint.stop() == 0


def test_a_burst_gets_answers_or_refusals_and_health_checks_do_not_wait_for_it(
    tmp_path: Path, shared_onnx: Path
) -> None:
    clients = 400
    with running(
        tmp_path, shared_onnx, "--port", 0, "--health-port", 0, "--max-waiting", 64, "--max-inputs", 64
    ) as endpoint:
        endpoint.ready()
        port, seen = health_port(endpoint), Counter[str]()
        burst = threading.Thread(target=lambda: seen.update(asyncio.run(at_once(endpoint.port, clients))))
        statuses: list[int] = []
        within = 0  # asked and answered while requests waited
        burst.start()
        while burst.is_alive() or len(statuses) < 20:
            statuses.append(at(port, "/health/ready")[0])
            within += burst.is_alive()
        burst.join()
        assert set(seen) == {"200", "429"}
        assert seen.total() == clients
        assert set(statuses) == {200}
        assert within
        text = endpoint.ask(None, "/metrics")[1]
        for gauge in ("ner_waiting_inputs", "ner_waiting_tokens", "ner_queue_depth"):
            assert re.findall(rf"^{gauge}{{.*}} (.+)$", text, re.MULTILINE) == ["0.0"]
        assert endpoint.stop() == 0


async def at_once(port: int, clients: int) -> list[str]:
    """Send requests at once, each on a connection of its own; their statuses."""
    body = json.dumps({"inputs": [TEXT * 4] * 8}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def one() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + body)
        answer = await reader.read()
        writer.close()
        return answer.split(b" ")[1].decode()

    return await asyncio.gather(*(one() for _ in range(clients)))
