"""Issue 19, numbers 1, 2, 4, 7, 9, 10 and 11: connections made to exhaust the endpoint, or to be misread."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from affineur.errors import ParameterError
from affineur.serve.process.listening import listen

from .endpoint import (
    INFO,
    PING,
    Running,
    attacked,
    connect,
    flood,
    health_port,
    heard,
    hung_up,
    megabytes,
    post,
    statuses,
    talk,
    until,
)

TEXT = json.dumps({"inputs": "Marie Duval habite à Paris."}).encode()
SHORT = """
import affineur.serve.process.connection as connection
connection._READ_SECONDS = 1.0
connection._MOST_HELD = 20_000_000
import time
import affineur.serve.exchange as exchange
looking = exchange._count_values
exchange._count_values = lambda *given: (time.sleep(0.2), looking(*given))
"""
CLOSE = "Connection: close\r\n"
PING_ONCE = PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
DESCRIPTORS = 300


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, shared_onnx: Path) -> Iterator[Running]:
    """One that most of the attacks share, so that they meet what others have left behind."""
    folder = tmp_path_factory.mktemp("attacked")
    with attacked(folder, shared_onnx, "--max-body", 400_000, patch=SHORT, descriptors=DESCRIPTORS) as it:
        yield it
        assert it.stop() == 0
        assert "Traceback" not in it.errors


@pytest.fixture(params=["texts", "health"])
def port(request: pytest.FixtureRequest, endpoint: Running) -> int:
    """Each of its ports."""
    return endpoint.port if request.param == "texts" else health_port(endpoint)


# ---- 1: pipelining ----


def test_requests_that_are_pipelined_without_end_are_not_read_without_end(
    endpoint: Running, port: int
) -> None:
    before = megabytes(endpoint)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(4)]
        sent = [flood(client, INFO * 1000, 2_500_000, patience=0.3) for client in clients]
        assert max(sent) < 1_500_000  # what the kernels keep
        assert megabytes(endpoint) < before + 40
        assert statuses(talk(port, PING_ONCE)) == [200]


def test_who_pipelines_and_reads_gets_every_answer_in_order(endpoint: Running) -> None:
    many = 300
    requests = [post(TEXT, more=f"X-Request-Id: {number}\r\n") for number in range(many - 1)]
    requests.append(post(TEXT, more=f"{CLOSE}X-Request-Id: {many - 1}\r\n"))
    got = talk(endpoint.port, b"".join(requests))
    assert statuses(got) == [200] * many
    assert [part.partition(b"\r\n")[0] for part in got.split(b"x-request-id: ")[1:]] == [
        b"%d" % number for number in range(many)
    ]


def test_pipelined_requests_may_come_in_any_pieces(endpoint: Running) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%s\r\n" % (len(part), part) for part in (TEXT[:1], b"\r\n\r\n\r\n", TEXT[1:], b"")
    )
    whole = post(TEXT) + chunked + b"\r\n\r\n" + PING + post(TEXT, more=CLOSE)
    for size in (1, 3, 7, 100):
        with connect(endpoint.port) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(whole), size):
                client.sendall(whole[start : start + size])
            assert statuses(heard(client)) == [200] * 4, size


def test_a_head_holds_a_hundred_fields(endpoint: Running) -> None:
    head = b"GET /ping HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
    assert statuses(talk(endpoint.port, head + b"a:b\r\n" * 98 + b"\r\n")) == [200]
    assert statuses(talk(endpoint.port, head + b"a:b\r\n" * 99 + b"\r\n")) == [431]
    assert statuses(talk(endpoint.port, head + b"a:b\r\n" * 5000)) == [431]
    trailer = post(b"", more="").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    assert statuses(talk(endpoint.port, trailer + b"0\r\n" + b"a:b\r\n" * 5000))[-1:] in ([431], [400])


# ---- 1, once more: bytes that are dear to parse ----

CHUNKED = b"POST %s HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def taking(endpoint: Running, seconds: float) -> Iterator[None]:
    """Check that it takes the endpoint no more time of processors than that."""

    def spent() -> float:
        fields = Path(f"/proc/{endpoint.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = spent()
    yield
    assert spent() - before < seconds


def test_few_empty_lines_may_come_before_a_request(port: int) -> None:
    assert statuses(talk(port, b"\r\n" * 4 + PING + b"\r\n" * 4 + PING_ONCE)) == [200, 200]
    assert statuses(talk(port, b"\r\n" * 5 + PING_ONCE)) == [400]
    assert statuses(talk(port, PING + b"\r\n" * 5 + PING_ONCE)) == [200, 400]
    assert statuses(talk(port, *[b"\r\n"] * 5, PING_ONCE)) == [400]


def test_empty_lines_without_end_are_refused_unparsed(endpoint: Running, port: int) -> None:
    with taking(endpoint, 0.5):
        answers = [talk(port, *[b"\r\n" * 30_000] * 10, half_closed=True) for _ in range(5)]
    assert [statuses(answer) for answer in answers] == [[400]] * 5


def test_a_body_that_is_not_wanted_is_thrown_away_unparsed(endpoint: Running, port: int) -> None:
    for head in (CHUNKED % b"/nope" + b"40000000\r\n", post(b"", "/nope", length=7_000_000)):
        with taking(endpoint, 0.5), connect(port) as client:
            client.sendall(head + b"\r\n" * 1000)
            for _ in range(100):
                client.sendall(b"\r\n" * 30_000)
            client.shutdown(socket.SHUT_WR)
            answer = heard(client)  # which no reset has taken away
        assert statuses(answer) == [404]
        assert b"connection: close" in answer


def test_who_sends_little_in_vain_may_ask_again(endpoint: Running) -> None:
    with connect(endpoint.port) as client:
        client.sendall(post(b"", "/nope", length=60_000))
        assert statuses(client.recv(65536)) == [404]
        client.sendall(b"\r\n" * 30_000 + PING_ONCE)
        assert statuses(heard(client)) == [200]


def test_lines_without_anything_in_a_chunk_cost_no_more_than_others(endpoint: Running) -> None:
    body = b"\r\n" * 190_000 + TEXT
    whole = CHUNKED % b"/" + b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with taking(endpoint, 0.8):
        assert statuses(talk(endpoint.port, whole * 8 + PING_ONCE)) == [200] * 9


@pytest.mark.parametrize("data", [b"1\r\n \r\n", b"0001\r\n \r\n", b"2\r\n\r\n\r\n"])
def test_small_chunks_leave_others_their_turn(endpoint: Running, data: bytes) -> None:
    head = CHUNKED % b"/" + b"1\r\n{\r\n"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(endpoint.port)) for _ in range(24)]
        for client in clients:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.send(head + data * 30_000)
        began = time.monotonic()
        for _ in range(5):
            assert statuses(talk(endpoint.port, PING_ONCE)) == [200]
        assert time.monotonic() - began < 0.5


# ---- 2: answers nobody reads ----


def kserve(identity: str) -> bytes:
    tensor = {"name": "args", "shape": [1], "datatype": "BYTES", "data": ["Paris"]}
    return post(json.dumps({"id": identity, "inputs": [tensor]}).encode(), "/v2/models/ner/infer", more=CLOSE)


def test_an_identity_that_is_sent_back_is_short(endpoint: Running) -> None:
    assert statuses(talk(endpoint.port, kserve("a" * 200))) == [200]
    answer = talk(endpoint.port, kserve("a" * 300_000))
    assert statuses(answer) == [400]
    assert len(answer) < 1000


# Nothing is computed for white space, and all of it is sent back.
BLANK = json.dumps({"inputs": [" " * 90_000] * 4, "parameters": {"redact": "type"}}).encode()


def reluctant(endpoint: Running, size: int) -> socket.socket:
    """A client whose kernel takes little for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    client.settimeout(20)
    client.connect(("127.0.0.1", endpoint.port))
    return client


def test_who_does_not_read_is_hung_up_on_and_holds_little(endpoint: Running) -> None:
    before = megabytes(endpoint)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(reluctant(endpoint, 4096)) for _ in range(8)]
        for client in clients:
            client.sendall(post(BLANK) * 3)
        left = set(clients)
        until(lambda: left.difference_update([each for each in left if reset(each)]) or not left, 15)
        assert megabytes(endpoint) < before + 30
    assert statuses(talk(endpoint.port, post(TEXT, more=CLOSE))) == [200]


def reset(client: socket.socket) -> bool:
    """Whether the endpoint has reset a connection, without reading anything from it; told once."""
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def test_who_reads_slowly_gets_everything(endpoint: Running) -> None:
    with reluctant(endpoint, 32_768) as client:
        client.sendall(post(BLANK, more=CLOSE))
        got, began = b"", time.monotonic()
        while part := client.recv(8192):
            got += part
            time.sleep(0.03)
    assert time.monotonic() - began > 1  # which is all that is given to who does not read
    assert len(got) > 360_000
    assert got.endswith(b"]")


# ---- 4: redirects ----


@pytest.mark.parametrize(
    "path",
    ["/predict/", "/runsync/", "/v2/models/ner/infer/", "/v2/models/ner/", "/ui/", "/docs/", "//predict"],
)
def test_nobody_is_sent_elsewhere_with_a_text(endpoint: Running, path: str) -> None:
    for method in (b"POST", b"GET"):
        answer = talk(endpoint.port, post(TEXT, path, more=CLOSE).replace(b"POST", method, 1))
        assert statuses(answer) in ([404], [405]), answer
        assert b"location:" not in answer.lower()


# ---- 7: bodies that stall ----


def test_bodies_that_stall_keep_nobody_else_from_being_served(endpoint: Running) -> None:
    with contextlib.ExitStack() as stack:
        stalled = []
        for _ in range(20):  # those of sixteen may be in memory
            client = stack.enter_context(connect(endpoint.port))
            client.sendall(post(b" " * 399_990, length=400_000))
            stalled.append(client)
        began = time.monotonic()
        for _ in range(5):
            answer = talk(endpoint.port, post(TEXT + b" " * 300_000, more=CLOSE))
            assert statuses(answer) == [200], answer
        assert time.monotonic() - began < 5
        time.sleep(1.5)  # a refusal is told after a second at most
        refused = [client for client in stalled if hung_up(client)]
        assert 4 <= len(refused) <= 10


def test_bodies_that_wait_to_be_looked_at_are_held_like_those_that_come(endpoint: Running) -> None:
    """Texts of signs: each body has to be looked at, on a thread beside, before it is known for one."""
    body = b'{"inputs":[' + b'" ",' * 99_000 + b'" "]}'
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(endpoint.port)) for _ in range(60)]
        for client in clients:
            client.sendall(post(body, more=CLOSE))
        assert statuses(talk(endpoint.port, post(TEXT, more=CLOSE))) == [200]
        told = [status for client in clients for status in statuses(heard(client))]
        assert set(told) <= {413, 429}
        assert told.count(429) > 20  # those of sixteen may be in memory


def test_heads_count_until_their_answer(shared_onnx: Path, tmp_path: Path) -> None:
    few = "import affineur.serve.process.connection as connection\nconnection._MOST_HELD = 1_000_000"
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 640) for number in range(90))
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n" + fields + b"\r\n"
    with attacked(tmp_path, shared_onnx, patch=few) as endpoint, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(endpoint.port)) for _ in range(40)]
        for client in clients:
            client.sendall(head)  # and no body
        assert until(lambda: sum(map(hung_up, clients)) >= 20, seconds=5)
        assert statuses(talk(endpoint.port, post(TEXT, more=CLOSE))) == [200]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a, b\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a b/c@d\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: [::1]:8000\r\n", 200),
        (b"POST / HTTP/1.1\r\nHost: xn--caf-dma.example:80\r\n", 200),
        (b"POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: br\r\n", 415),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip, gzip\r\n", 415),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\n", 400),  # it is not
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: identity\r\n", 200),
        (b"POST / HTTP/0.9\r\nHost: h\r\n", 400),
        (b"POST / HTTP/2.0\r\nHost: h\r\n", 400),
    ],
)
def test_heads_that_a_proxy_may_read_otherwise(endpoint: Running, head: bytes, status: int) -> None:
    rest = f"{CLOSE}Content-Length: {len(TEXT)}\r\n\r\n".encode() + TEXT
    assert statuses(talk(endpoint.port, head + rest))[:1] == [status]


# ---- 9: descriptors ----


def test_idle_connections_leave_descriptors_for_health_checks_and_texts(endpoint: Running) -> None:
    assert endpoint.events("few descriptors")
    with contextlib.ExitStack() as stack:
        for where in (endpoint.port, health_port(endpoint)):
            for _ in range(400):
                stack.enter_context(connect(where))
        for _ in range(5):
            assert statuses(talk(health_port(endpoint), PING_ONCE)) == [200]
            assert statuses(talk(endpoint.port, post(TEXT, more=CLOSE))) == [200]
        assert len(list(Path(f"/proc/{endpoint.process.pid}/fd").iterdir())) < DESCRIPTORS - 50


# ---- 10: a log that nobody reads ----

LOGGING = """
import signal, sys, threading, time
from affineur.serve import logs
lost = []
logs.MOST_LINES = 200
logs.set_up()
logs.tell_dropped(lambda: lost.append(1))
for number in range(5000):
    logs.event("request", number=number)
print(len(lost), flush=True)
sys.stdin.read()  # until somebody has read some
logs.event("last")
"""


def logging_process() -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", LOGGING], stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_log_that_nobody_reads_keeps_nobody_waiting() -> None:
    with logging_process() as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 3000
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0  # though the last lines cannot be written


def test_a_log_tells_how_much_it_lacks() -> None:
    with logging_process() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        dropped = int(process.stdout.readline())
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if len(lines) == 5000 - dropped + 1:
                process.stdin.close()
        assert process.wait(20) == 0
    lacking = [line["lines"] for line in lines if line["event"] == "log lines dropped"]
    numbers = [line["number"] for line in lines if line["event"] == "request"]
    assert sum(lacking) == dropped
    assert numbers == sorted(numbers)
    assert len(numbers) + dropped == 5000
    assert lines[-1]["event"] == "last"


@pytest.mark.slow
def test_a_log_that_nobody_reads_stops_neither_answers_nor_the_end(tmp_path: Path, shared_onnx: Path) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "affineur.cli.main", "serve", str(shared_onnx), "--port", "0"]
    with subprocess.Popen([*command, "--json", str(told)], stderr=subprocess.PIPE) as process:
        try:
            until(told.exists, 60)
            port = int(json.loads(told.read_text())["url"].rpartition(":")[2])
            with connect(port) as client:
                for _ in range(500):
                    client.sendall(INFO * 25)  # 64 KB of lines are 400 requests
                    got = 0
                    while got < 25:
                        got += client.recv(1 << 20).count(b"HTTP/1.1 200 ")
            metrics = talk(port, b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            (dropped,) = re.findall(rb"^ner_log_lines_dropped_total (\S+)", metrics, re.MULTILINE)
            assert float(dropped) > 1000
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()


# ---- 11: what servers understand differently ----


@pytest.mark.parametrize("zeros", [30, 4300, 60_000])
def test_a_length_of_many_digits_is_a_number(endpoint: Running, zeros: int) -> None:
    told = f"{CLOSE}Content-Length: {'0' * zeros}%d\r\n"
    for length, status in ((len(TEXT), 200), (400_001, 413)):
        request = post(TEXT).replace(b"Content-Length: %d\r\n" % len(TEXT), (told % length).encode())
        assert statuses(talk(endpoint.port, request)) == [status]
    nines = post(TEXT, more=CLOSE).replace(b": %d\r\n" % len(TEXT), b": " + b"9" * zeros + b"\r\n")
    assert statuses(talk(endpoint.port, nines)) == [400]


@pytest.mark.parametrize("garbage", [b"\0" * 100, b"GET\r\n\r\n", b"x" * 100_000])
def test_a_request_before_garbage_is_answered(endpoint: Running, garbage: bytes) -> None:
    assert statuses(talk(endpoint.port, post(TEXT) + garbage, half_closed=True))[0] == 200
    assert statuses(talk(endpoint.port, post(TEXT) + PING + garbage, half_closed=True))[:2] == [200, 200]


def test_who_has_ended_sending_is_answered(endpoint: Running, port: int) -> None:
    assert statuses(talk(port, PING, half_closed=True)) == [200]
    assert statuses(talk(port, PING * 3, half_closed=True)) == [200] * 3
    assert talk(port, PING[:-2], half_closed=True) == b""
    if port == endpoint.port:
        assert statuses(talk(port, post(TEXT) * 3, half_closed=True)) == [200] * 3
        assert talk(port, post(TEXT[:-1], length=len(TEXT)), half_closed=True) == b""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /ping HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: here\r\nhost: here\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400),
        (b"GET /ping HTTP/1.0\r\n\r\n", 200),
        (b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: identity\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\na", 400),
        (b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n", 405),
    ],
)
def test_heads_that_servers_understand_differently_are_refused(
    endpoint: Running, head: bytes, status: int
) -> None:
    answer = talk(endpoint.port, head)
    assert statuses(answer) == [status], answer
    if status != 200:
        assert b"connection: close" in answer
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error", "error_type"}


def test_a_trailer_is_no_part_of_the_head(endpoint: Running) -> None:
    chunked = post(TEXT, more=CLOSE).replace(b"Content-Length: %d" % len(TEXT), b"Transfer-Encoding: chunked")
    body = b"%x\r\n%s\r\n0\r\nX-Request-Id: smuggled\r\n\r\n" % (len(TEXT), TEXT)
    answer = talk(endpoint.port, chunked.replace(TEXT, body))
    assert statuses(answer) == [200]
    assert b"smuggled" not in answer


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example", "\0", ".", "é..x"])
def test_a_host_that_none_can_be_is_one_line(host: str) -> None:
    with pytest.raises(ParameterError, match="cannot be listened on") as caught:
        listen(host, 0)
    assert "\n" not in str(caught.value)
