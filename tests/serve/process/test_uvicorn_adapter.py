"""uvicorn behind its adapter: what is relied on, heads made to break a server, and how answers leave."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import select
import socket
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
import uvicorn.server as uvicorn_server
from packaging.requirements import Requirement
from uvicorn.protocols.http import httptools_impl

import affineur
from affineur.serve.process import connection
from affineur.serve.process.health import HealthServer
from affineur.serve.process.listening import listen
from affineur.serve.service import Service

from ..conftest import Endpoint
from ..held import heard

# ---- What is relied on ----

#: Attributes of uvicorn's classes that are no public interface, by class; a class is that of instances here.
RELIED_ON: dict[str, set[str]] = {
    "Server": {
        "startup",
        "on_tick",
        "shutdown",
        "capture_signals",
        "run",
        "started",
        "should_exit",
        "force_exit",
        "server_state",
        "servers",
        "lifespan",
        "config",
    },
    "ServerState": {"connections"},
    "HttpToolsProtocol": {
        "connection_made",
        "connection_lost",
        "data_received",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "on_response_complete",
        "eof_received",
        "pause_writing",
        "resume_writing",
        "send_400_response",
        "timeout_keep_alive_handler",
        "shutdown",
        "transport",
        "loop",
        "flow",
        "cycle",
        "headers",
        "parser",
        "connections",
    },
    "RequestResponseCycle": {
        "transport",
        "on_response",
        "response_started",
        "response_complete",
        "body",
        "message_event",
        "disconnected",
        "keep_alive",
        "more_body",
        "waiting_for_100_continue",
    },
    "FlowControl": {"pause_reading", "resume_reading", "read_paused", "write_paused"},
}
#: Names of the parameters that are passed, or overridden, by place.
PARAMETERS = {
    "Server.startup": ["self", "sockets"],
    "Server.on_tick": ["self", "counter"],
    "Server.shutdown": ["self", "sockets"],
    "Server.capture_signals": ["self"],
    "HttpToolsProtocol.__init__": ["self", "config", "server_state", "app_state"],
    "HttpToolsProtocol.connection_made": ["self", "transport"],
    "HttpToolsProtocol.data_received": ["self", "data"],
    "HttpToolsProtocol.on_headers_complete": ["self"],
    "HttpToolsProtocol.on_body": ["self", "body"],
    "HttpToolsProtocol.on_message_complete": ["self"],
    "HttpToolsProtocol.send_400_response": ["self", "msg"],
    "FlowControl.__init__": ["self", "transport"],
    "HttpToolsProtocol.on_response_complete": ["self"],
}
SEEK = (
    "; see affineur/serve/process (uvicorn_adapter.py, connection.py) and uvicorn's ceiling in pyproject.toml"
)


def test_uvicorn_is_inside_what_it_was() -> None:
    version = uvicorn.__version__
    for name, attributes in RELIED_ON.items():
        source = inspect.getsource(getattr(httptools_impl, name, None) or getattr(uvicorn_server, name))
        given = {each for each in attributes if re.search(rf"(self\.|def ){each}\b", source)}
        assert given == attributes, f"uvicorn {version} has no {name}.{attributes - given}{SEEK}"
    for place, names in PARAMETERS.items():
        owner, _, function = place.partition(".")
        held = getattr(httptools_impl, owner, None) or getattr(uvicorn_server, owner)
        found = list(inspect.signature(getattr(held, function)).parameters)
        assert found[: len(names)] == names, f"uvicorn {version} has {place}({found}){SEEK}"
    assert httptools_impl.STATUS_LINE[431].startswith(b"HTTP/1.1 431 "), f"uvicorn {version}{SEEK}"
    startup = inspect.getsource(uvicorn_server.Server.startup)
    assert "self.servers" in startup, f"uvicorn {version} keeps its servers elsewhere{SEEK}"


def test_the_version_installed_is_one_that_is_allowed() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))["project"]
    (wanted,) = [
        Requirement(each) for each in project["optional-dependencies"]["serve"] if each.startswith("uvicorn>")
    ]
    assert any(each.operator == "<" for each in wanted.specifier), "uvicorn has no ceiling"
    assert wanted.specifier.contains(uvicorn.__version__)


def test_two_modules_know_uvicorn() -> None:
    source = Path(affineur.__file__).parent
    knowing = {
        path.name
        for path in source.rglob("*.py")
        if re.search(r"^\s*(import|from) uvicorn", path.read_text("utf-8"), re.MULTILINE)
    }
    assert knowing == {"uvicorn_adapter.py", "connection.py"}


# ---- Heads and answers, on both ports ----

PING = b"GET /ping HTTP/1.1\r\nHost: here\r\n"
MOST = 65536


@pytest.fixture(scope="module", params=["texts", "health"])
def port(request: pytest.FixtureRequest, endpoint: Endpoint, service: Service) -> Iterator[tuple[str, int]]:
    """Each of the two ports."""
    if request.param == "texts":
        yield endpoint.address
        return
    sockets = listen("127.0.0.1", 0)
    with HealthServer(service, sockets.main):
        yield sockets.main.getsockname()
    sockets.main.close()


@contextlib.contextmanager
def connected(port: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(port[:2], timeout=20) as client:
        yield client


def refused(answer: bytes, limit: str = f"{MOST} bytes") -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 "), answer[:200]
    assert b"connection: close" in head
    assert json.loads(body) == {"error": f"a head of more than {limit}", "error_type": "Validation"}
    return True


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "value": (PING + b"X: ", b"a" * 50_000),
    "name": (PING, b"a" * 50_000),
    "headers": (PING, b"X: a\r\n" * 10_000),
    "path": (b"GET /", b"a" * 50_000),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_head_without_end_is_refused_where_the_limit_is(port: tuple[str, int], kind: str) -> None:
    begin, more = ENDLESS[kind]
    sent = 0
    with connected(port) as client:
        client.sendall(begin)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 50_000_000:
                client.sendall(more)
                sent += len(more)
        assert sent < 20_000_000  # what the buffers of the kernel hold
        assert refused(heard(client), "100 fields" if kind == "headers" else f"{MOST} bytes")


def test_the_limit_holds_to_the_byte_and_for_each_request_anew(port: tuple[str, int]) -> None:
    rest = b"\r\nConnection: keep-alive\r\n\r\n"
    fits = PING + b"X: " + b"a" * (MOST - len(PING) - 3 - len(rest)) + rest
    with connected(port) as client:
        for _ in range(3):
            client.sendall(fits)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.sendall(fits.replace(b"X: ", b"X: a"))
        assert refused(heard(client))


def test_trailers_without_end_are_cut_off(port: tuple[str, int]) -> None:
    with connected(port) as client:
        client.sendall(
            b"POST /ping HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: "
        )
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.sendall(b"a" * 20_000_000)


def test_a_long_body_is_no_head(endpoint: Endpoint) -> None:
    body = json.dumps({"inputs": "Paris"}).encode() + b" " * 150_000
    with connected(endpoint.address) as client:
        for _ in range(2):
            client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def silent(client: socket.socket) -> None:
    pass


def dripping(client: socket.socket) -> None:
    """Send a head a byte at a time, and never its end."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(PING + b"X: ")
        for _ in range(1000):
            client.sendall(b"a")
            if select.select([client], [], [], 0.02)[0]:
                return
    raise AssertionError("it was let drip")


def after_an_answer(client: socket.socket) -> None:
    client.sendall(PING + b"\r\n")
    assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    dripping(client)


@pytest.mark.parametrize("client_is", [silent, dripping, after_an_answer])
def test_who_sends_no_head_in_time_is_hung_up_on(
    port: tuple[str, int], monkeypatch: pytest.MonkeyPatch, client_is: Callable[[socket.socket], None]
) -> None:
    assert connection._HEAD_SECONDS == 10
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.5)
    with connected(port) as client:
        client_is(client)
        assert heard(client) == b""


def test_who_is_being_answered_is_not(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.3)
    body = b'{"inputs": "Paris"}'
    with connected(endpoint.address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:-1])
        with connected(endpoint.address) as later:
            assert heard(later) == b""  # it was given less time for a head, and that is over
        client.sendall(body[-1:])  # a body has seconds of its own
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


class Written:
    """A transport that remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.given.append(data)

    def close(self) -> None:
        self.given.append(b"closed")


def answering(transport: Written) -> Any:
    """The transport of an answer to a whole request."""
    cycle = SimpleNamespace(keep_alive=True, more_body=False)
    asked = SimpleNamespace(transport=transport, cycle=cycle, in_vain=lambda: False)
    return connection._Answer(asked)  # type: ignore[arg-type]


def test_a_head_leaves_with_the_beginning_of_its_body() -> None:
    transport = Written()
    answer = answering(transport)
    for data in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"one", b"two"):
        answer.write(data)
    assert transport.given == [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\none", b"two"]
    answer.flush()
    answer.close()
    assert transport.given[3:] == [b"closed"]


@pytest.mark.parametrize("end", ["flush", "close"])
def test_a_head_without_a_body_is_not_forgotten(end: str) -> None:
    transport = Written()
    answer = answering(transport)
    answer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert transport.given == []
    getattr(answer, end)()
    getattr(answer, end)()
    assert [data for data in transport.given if data != b"closed"] == [b"HTTP/1.1 204 No Content\r\n\r\n"]
    assert transport.given[0] != b"closed"


def test_answers_without_bodies_come_in_order_one_for_each_request(port: tuple[str, int]) -> None:
    heads = [
        b"HEAD /ping HTTP/1.1\r\nHost: here\r\nX-Request-Id: %d\r\n\r\n" % number for number in range(20)
    ]
    with connected(port) as client:
        client.sendall(b"".join(heads[:-1]) + heads[-1].replace(b"Host", b"Connection: close\r\nHost"))
        got = heard(client)
    assert got.count(b"HTTP/1.1 200 ") == 20
    assert [part.partition(b"\r\n")[0] for part in got.split(b"x-request-id: ")[1:]] == [
        b"%d" % number for number in range(20)
    ]
    assert b"ready" not in got


def test_a_client_that_asks_whether_it_may_go_on_is_told_so_first(endpoint: Endpoint) -> None:
    body = b'{"inputs": "Paris"}'
    with connected(endpoint.address) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
