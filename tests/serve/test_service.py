"""Admission, queue, deadline, disconnects and reloads over a real model on a real port."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from affineur.errors import ModelError

from .held import Held, ask, on_port, until

TEXT = "Marie Duval habite à Paris ."
OTHER = "Ahmed Benali travaille à Lyon ."

Start = Callable[..., Held]


@pytest.fixture
def start(shared_onnx: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:
        yield lambda path=shared_onnx, **settings: stack.enter_context(on_port(Held(path, **settings)))


def test_each_text_takes_a_permit_and_each_token_and_all_are_given_back(start: Start) -> None:
    held = start()
    with ThreadPoolExecutor(3) as pool:
        held.hold()
        before = held.permits
        assert before == (1, len(held.ids("Il fait beau .")))
        answer = pool.submit(held.post, {"inputs": [TEXT, OTHER, TEXT]})
        until(lambda: held.permits == (4, before[1] + 2 * len(held.ids(TEXT)) + len(held.ids(OTHER))))
        assert held.metric("ner_queue_depth") == 3
        held.go.set()
        assert answer.result()[0] == 200
    until(lambda: held.permits == (0, 0))
    assert held.metric("ner_queue_depth") == 0


def test_refusing_before_the_body_is_read_leaves_the_connection_usable(start: Start) -> None:
    held = start(max_inputs=2, max_waiting_inputs=2)
    held.hold()
    with (
        ThreadPoolExecutor(3) as pool,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", held.port, timeout=30)) as connection,
    ):
        second = pool.submit(held.post, {"inputs": TEXT})
        until(lambda: held.permits[0] == 2)
        status, body, headers = ask(connection, {"inputs": TEXT})  # late: the first that does not fit
        assert (status, body["error_type"], int(headers["retry-after"]) >= 1) == (429, "Overloaded", True)
        assert held.service.models["ner"].admission.refusing == "inputs"
        for path in (
            "/",
            "/predict",
            "/v2/models/ner/infer",
        ):  # early: nonsense would be 422, had it been read
            status, body, headers = ask(connection, {"nonsense": TEXT * 1000}, path)
            assert (status, body["error_type"], int(headers["retry-after"]) >= 1) == (429, "Overloaded", True)
        assert ask(connection, None, "/health/ready")[0] == 200
        held.go.set()
        assert second.result()[0] == 200
        until(lambda: held.permits == (0, 0))
        assert ask(connection, {"inputs": TEXT})[0] == 200
    assert held.metric("ner_shed_total") == 4


def test_too_many_tokens_are_refused_after_they_are_counted(start: Start) -> None:
    held = start(max_waiting_tokens=60)
    held.hold()
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(held.post, {"inputs": TEXT}) for _ in range(8)]
        until(lambda: sum(each.done() for each in found) >= 3)
        refused = [each.result() for each in found if each.done()]
        held.go.set()
    for status, body, headers in refused:
        assert (status, body["error_type"], "retry-after" in headers) == (429, "Overloaded", True)
        assert "too many tokens wait" in body["error"]
    until(lambda: held.permits == (0, 0))


def test_a_document_longer_than_the_limit_of_tokens_lets_others_in(start: Start) -> None:
    held = start(max_waiting_tokens=200)
    held.go.clear()
    with ThreadPoolExecutor(3) as pool:
        long = pool.submit(held.post, {"inputs": f"{TEXT} " * 200})
        until(lambda: held.permits[1] > 0)
        short = pool.submit(held.post, {"inputs": TEXT})
        until(lambda: held.permits[0] == 2)
        assert held.post({"inputs": f"{OTHER} " * 200})[0] == 429, "another long one waits for its turn"
        held.go.set()
        assert (long.result()[0], short.result()[0]) == (200, 200)
    until(lambda: held.permits == (0, 0))


def test_lone_words_do_not_spoil_the_speed_that_limits_go_by(start: Start) -> None:
    held = start()
    batcher = held.service.models["ner"].batcher
    before = batcher.speed.now
    for _ in range(20):
        assert held.post({"inputs": "Nantes"})[0] == 200
    assert batcher.speed.now == before


def test_a_body_that_does_not_come_is_given_up(start: Start) -> None:
    held = start(body_seconds=0.1)
    with socket.create_connection(("127.0.0.1", held.port), timeout=30) as client:
        client.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"inputs"')
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert held.service.bodies.total == 0


def test_who_waits_too_long_is_refused_and_never_computed(start: Start) -> None:
    held = start(timeout=0.2)
    thread = held.hold()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(held.post, {"inputs": OTHER})
        until(lambda: held.permits[0] == 2)
        deadline = until(lambda: [w.job.deadline for w in held.service.models["ner"].batcher._waiting])[0]
        until(lambda: time.perf_counter() > deadline)
        held.go.set()
        status, body, headers = late.result()
    thread.join(30)
    assert (status, body["error_type"], "retry-after" in headers) == (429, "Overloaded", True)
    assert held.ids(OTHER) not in held.seen
    until(lambda: held.permits == (0, 0))


def test_who_hangs_up_is_never_computed(start: Start) -> None:
    held = start()
    held.hold()
    body = json.dumps({"inputs": OTHER}).encode()
    with socket.create_connection(("127.0.0.1", held.port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        until(lambda: held.permits[0] == 2)
    until(lambda: held.permits[0] == 1)
    assert held.metric("ner_queue_depth") == 0
    held.go.set()
    assert held.post({"inputs": TEXT})[0] == 200
    assert held.ids(OTHER) not in held.seen
    until(lambda: held.permits == (0, 0))
    assert 'status="499"' in held.service.metrics.text()[0].decode()
    assert 'status="500"' not in held.service.metrics.text()[0].decode()


def test_who_hangs_up_while_sending_holds_nothing(start: Start) -> None:
    held = start()
    with socket.create_connection(("127.0.0.1", held.port)) as client:
        client.sendall(b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"inputs"')
    until(lambda: 'status="499"' in held.service.metrics.text()[0].decode())
    assert 'status="500"' not in held.service.metrics.text()[0].decode()
    assert held.permits == (0, 0)


@pytest.mark.parametrize("where", ["read", "lane_logits"])
def test_a_bug_leaks_no_permit(start: Start, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    held = start()

    def broken(*_: Any) -> Any:
        raise ValueError(TEXT)

    with monkeypatch.context() as patch:
        patch.setattr(held.service.models["ner"].tagger, where, broken)
        status, body, _ = held.post({"inputs": TEXT})
    assert (status, body["error_type"]) == ((500, "Internal") if where == "read" else (424, "Backend"))
    assert "Marie" not in str(body)
    until(lambda: held.permits == (0, 0))
    assert held.post({"inputs": TEXT})[0] == 200


def test_an_engine_that_hangs_is_told(start: Start) -> None:
    held = start(timeout=0.1)
    held.go.clear()
    status, body, _ = held.post({"inputs": TEXT})
    assert (status, body["error_type"]) == (424, "Backend")
    assert "does not answer" in body["error"]
    until(lambda: held.permits == (0, 0))


def test_a_request_that_could_never_be_done_in_time_is_refused(start: Start) -> None:
    held = start()
    held.service.models["ner"].batcher.speed.learn(4.0)
    status, body, _ = held.post({"inputs": TEXT})
    assert (status, body["error_type"]) == (413, "Validation")
    assert "send at most 3 in a request" in body["error"], (
        "half of what remains of 30 s after 4 that may wait"
    )
    assert held.permits == (0, 0)


def _threads() -> int:
    return sum(thread.name == "affineur-inference" for thread in threading.enumerate())


def test_a_reload_lets_the_old_one_answer_whom_it_has_accepted_and_puts_it_away(
    start: Start, shared_int8: Path
) -> None:
    held = start()
    old = held.service.models["ner"]
    threads = _threads()
    held.hold()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(held.post, {"inputs": OTHER}, "/v2/models/ner/infer")
        waiting.result()  # 422: no request of that protocol, and no matter
        waiting = pool.submit(held.post, {"inputs": OTHER})
        until(lambda: held.permits[0] == 2)
        again = Held(shared_int8)
        held.service._loader = again._load
        held.service.commit(held.service.prepare("ner", str(shared_int8)))
        about = held.service.models["ner"].about
        assert (about.version, about.sha256 != old.about.sha256, held.service.references["ner"]) == (
            2,
            True,
            str(shared_int8),
        )
        assert held.post({"inputs": TEXT})[0] == 200, "the new one answers while the old one is busy"
        assert not waiting.done()
        held.go.set()
        assert waiting.result()[0] == 200
    assert held.ids(OTHER) in held.seen
    again.service.close()
    until(lambda: _threads() == threads)
    until(lambda: held.permits == (0, 0))
    with pytest.raises(ModelError, match="put away"):
        old.batcher.submit(type("", (), {"windows": [1], "lengths": [1]})())  # type: ignore[arg-type]


def test_versions_count_what_served_and_not_what_was_prepared(start: Start, shared_onnx: Path) -> None:
    service = start().service
    two, three = service.prepare("ner", str(shared_onnx)), service.prepare("ner", str(shared_onnx))
    service.commit(two)
    service.commit(three)
    assert service.models["ner"].about.version == 3


def test_a_reload_that_fails_changes_nothing(start: Start, tmp_path: Path) -> None:
    held = start()
    before = held.service.models["ner"]
    with pytest.raises(Exception, match="missing"):
        held.service.prepare("ner", str(tmp_path / "missing"))
    assert held.service.models["ner"] is before
    assert 'ner_reloads_total{model="ner",outcome="refused"} 1.0' in held.service.metrics.text()[0].decode()
