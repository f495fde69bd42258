"""Who hears of every answer: what they are given, when, and that they never stand in an answer's way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from affineur.pipeline.models import load_to_serve as load
from affineur.serve import listeners as module
from affineur.serve.app import create_app
from affineur.serve.keys import Key, digest
from affineur.serve.listeners import Answered, Listeners
from affineur.serve.metrics import Metrics
from affineur.serve.service import Service

from .conftest import LIMITS
from .held import logged, until

TEXTS = ["Marie Duval habite à Paris.", "Il fait beau."]
Serving = Callable[..., TestClient]


@pytest.fixture
def serving(shared_onnx: Path) -> Iterator[Serving]:
    """Serve a model with listeners."""
    begun: list[Service] = []

    def serve(*listeners: Any, **keys: Any) -> TestClient:
        service = Service({"ner": str(shared_onnx)}, load, LIMITS, Metrics(), listeners)
        service.load()
        begun.append(service)
        return TestClient(create_app(service, **keys))

    yield serve
    for service in begun:
        service.close()


def test_a_listener_sees_texts_results_times_model_and_request(serving: Serving) -> None:
    heard: list[Answered] = []
    key = Key("clinic", digest("secret"), False)
    client = serving(heard.append, keys=lambda: (key,))
    headers = {"Authorization": "Bearer secret", "x-request-id": "me"}
    body = {"inputs": TEXTS, "parameters": {"threshold": 0.1}}
    answer = client.post("/predict", json=body, headers=headers)
    until(lambda: heard)
    (answered,) = heard
    assert list(answered.texts) == TEXTS
    shown = [[(each.score, each.start, each.end) for each in found] for found in answered.results]
    assert shown == [[(e["score"], e["start"], e["end"]) for e in found] for found in answer.json()]
    assert answered.options.threshold == 0.1
    assert (answered.model.name, answered.model.version, answered.model.kind) == ("ner", 1, "onnx")
    assert answered.seconds >= answered.queue_seconds + answered.inference_seconds > 0
    assert answered.request is not None
    assert (answered.request.id, answered.request.key, answered.request.texts) == ("me", "clinic", 2)
    assert answered.tokens == answered.request.tokens > 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", {"inputs": TEXTS[0]}),
        ("/runsync", {"input": {"inputs": TEXTS[0]}}),
        (
            "/v2/models/ner/infer",
            {"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": TEXTS[:1]}]},
        ),
    ],
)
def test_every_protocol_is_heard_and_refusals_are_not(serving: Serving, path: str, body: Any) -> None:
    heard: list[Answered] = []
    client = serving(heard.append)
    assert client.post(path, json={"nonsense": TEXTS[1]}).status_code >= 400
    assert client.post(path, json=body).status_code == 200
    until(lambda: heard)
    assert [list(each.texts) for each in heard] == [TEXTS[:1]]


def test_one_that_hangs_delays_no_answer_and_what_is_too_much_is_counted(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ANSWERS", 3)
    entered, go, heard = threading.Event(), threading.Event(), []

    def hang(answered: Answered) -> None:
        entered.set()
        assert go.wait(30)
        heard.append(answered)

    client = serving(hang)
    try:
        assert client.post("/", json={"inputs": TEXTS[0]}).status_code == 200
        assert entered.wait(30)
        assert [client.post("/", json={"inputs": TEXTS[0]}).status_code for _ in range(5)] == [200] * 5
        assert "ner_answers_unheard_total 2.0" in client.get("/metrics").text
    finally:
        go.set()
    until(lambda: len(heard) == 4)


def test_characters_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CHARACTERS", 10)
    entered, go, heard, dropped = threading.Event(), threading.Event(), [], []

    def hang(answered: Any) -> None:
        entered.set()
        assert go.wait(30)
        heard.append(answered.texts[0])

    def answered(text: str) -> Answered:
        return Answered([text], [[]], None, None, 0.0, 0.0, 0.0, 0, None, list)  # type: ignore[arg-type]

    listeners = Listeners([hang], lambda: dropped.append(1))
    listeners.tell(answered("first"))
    assert entered.wait(30)
    for text in ("a" * 6, "b" * 6, "c" * 4):
        listeners.tell(answered(text))
    go.set()
    listeners.close(30)
    assert heard == ["first", "a" * 6, "c" * 4]
    assert dropped == [1]


def test_one_that_fails_is_logged_without_texts_and_the_others_hear(serving: Serving) -> None:
    heard: list[Answered] = []

    def broken(answered: Answered) -> None:
        raise ValueError(answered.texts[0])

    with logged() as told:
        client = serving(broken, heard.append)
        for _ in range(3):
            assert client.post("/", json={"inputs": TEXTS[0]}).status_code == 200
        until(lambda: len(heard) == 3)
        faults = [line for line in told() if line["event"] == "listener fault"]
        assert faults
        assert (faults[0]["exception"], faults[0]["listener"]) == ("ValueError", "broken")
        assert "Marie" not in str(told())


def test_scores_are_those_of_the_answers(serving: Serving) -> None:
    client = serving()
    found = client.post("/", json={"inputs": TEXTS[0]}).json()
    assert found
    count = sum(each["entity_group"] == found[0]["entity_group"] for each in found)
    line = f'ner_entity_confidence_count{{label="{found[0]["entity_group"]}"}} {float(count)}'
    until(lambda: line in client.get("/metrics").text)


def test_what_waits_is_heard_before_the_end(serving: Serving, shared_onnx: Path) -> None:
    heard: list[Answered] = []
    listeners = Listeners([heard.append], lambda: None)
    for number in range(100):
        listeners.tell(Answered([str(number)], [[]], None, None, 0.0, 0.0, 0.0, 1, None, list))  # type: ignore[arg-type]
    listeners.close(30)
    assert [each.texts[0] for each in heard] == [str(number) for number in range(100)]
