"""An endpoint that keeps a log: what is in it, what it costs when it fails, and corrections."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from affineur.cli.main import main
from affineur.cli.serve import _figures
from affineur.pipeline.models import load_to_serve
from affineur.serve.app import create_app
from affineur.serve.keys import Key, digest
from affineur.serve.metrics import Metrics
from affineur.serve.service import Service
from affineur.watch.log import Log
from serve.conftest import LIMITS
from serve.held import until
from serve.running import Load, running

from .conftest import Held, rows

TEXT = "Marie Duval habite à Paris."


@pytest.fixture
def served(shared_onnx: Path, tmp_path: Path) -> Iterator[tuple[TestClient, Log]]:
    """An endpoint with a log, and its log."""
    with Log(tmp_path / "watch.db", source="serve") as log:
        service = Service({"ner": str(shared_onnx)}, load_to_serve, LIMITS, Metrics(_figures(log)), [log])
        service.load()
        keys = (Key("clinic", digest("secret"), False),)
        client = TestClient(create_app(service, lambda: keys, log.label))
        client.headers["Authorization"] = "Bearer secret"
        yield client, log
        service.close()


def test_every_text_of_a_request_is_a_row_and_its_mentions_are_those_of_the_answer(
    served: tuple[TestClient, Log],
) -> None:
    client, log = served
    texts = [TEXT, "Il fait beau.", TEXT * 30]
    body = {"inputs": texts, "parameters": {"threshold": 0.1, "rules": "fr", "redact": "type"}}
    answers = client.post("/predict", json={**body, "parameters": {"threshold": 0.1}}).json()
    assert client.post("/predict", json=body).status_code == 200
    until(lambda: log.written == 6)
    found = rows(log, "ner_texts", "characters, strategy, threshold, latency > 0, pieces >= words", "id")
    assert found == [(len(text), "word", 0.1, True, True) for text in texts] * 2
    kept = rows(log, "ner_mentions", 'text_id, type, start, "end", score', "text_id, number")
    expected = [
        (number, each["entity_group"], each["start"], each["end"], each["score"])
        for number, answer in enumerate(answers, start=1)
        for each in answer
    ]
    assert [row for row in kept if row[0] <= 3] == expected
    assert len(kept) == 2 * len(expected) > 0
    assert "ner_log_texts_total 6.0" in client.get("/metrics").text


def test_pieces_are_no_mentions(served: tuple[TestClient, Log]) -> None:
    client, log = served
    body = {"inputs": TEXT, "parameters": {"aggregation_strategy": "none"}}
    assert client.post("/predict", json=body).json()
    until(lambda: log.written == 1)
    assert rows(log, "ner_texts", "strategy") == [("none",)]
    assert rows(log, "ner_mentions") == []


def test_answers_go_on_while_the_log_stands_still(
    served: tuple[TestClient, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affineur.watch.log.writer.MOST_ROWS", 12)
    client, log = served
    held = Held(log, monkeypatch)
    assert client.post("/predict", json={"inputs": TEXT}).status_code == 200
    assert held.entered.wait(30)
    assert {client.post("/predict", json={"inputs": TEXT}).status_code for _ in range(20)} == {200}
    until(lambda: log.dropped.get("slow", 0) > 5)
    assert 'ner_log_dropped_total{reason="slow"} ' in client.get("/metrics").text
    assert "ner_log_waiting_texts 0.0" not in client.get("/metrics").text
    held.go()


def test_a_correction_is_kept_with_who_sent_it(served: tuple[TestClient, Log]) -> None:
    client, log = served
    assert client.post("/predict", json={"inputs": TEXT}).status_code == 200
    mentions = [{"type": "PER", "start": 0, "end": 11}, {"type": "LOC", "start": 21, "end": 26}]
    answer = client.post("/feedback", json={"text": TEXT, "mentions": mentions})
    assert answer.status_code == 200, answer.text
    (hashed,) = rows(log, "ner_texts", "hash")[0]
    assert answer.json() == {"hash": hashed}
    assert client.post("/feedback", json={"hash": hashed, "mentions": []}).json() == {"hash": hashed}
    assert rows(log, "ner_labels", "source, mentions") == [
        ("feedback of clinic", '[["PER", 0, 11], ["LOC", 21, 26]]'),
        ("feedback of clinic", "[]"),
    ]
    assert client.post("/feedback", json={"hash": hashed}, headers={"Authorization": ""}).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"text": "never sent", "mentions": []}, 404, "the log has no such text"),
        ({"hash": "0" * 32, "mentions": []}, 404, "the log has no such text"),
        ({"hash": "no", "mentions": []}, 422, "is no hash, expected 32 hexadecimal digits"),
        ({"mentions": []}, 422, "expected the text or its hash"),
        ({"text": TEXT}, 422, "mentions: Field required"),
        (
            {"text": TEXT, "mentions": [{"type": "NIL", "start": 0, "end": 5}]},
            422,
            "no type 'NIL', expected ",
        ),
        (
            {"text": TEXT, "mentions": [{"type": "PER", "start": 0, "end": 99}]},
            422,
            "a text of 27 characters",
        ),
        ({"text": TEXT, "mentions": [{"type": "PER", "start": 0}]}, 422, "mentions.0.end: Field required"),
        ({"text": TEXT, "mentions": [], "more": 1}, 422, "unknown entry 'more' in the body"),
    ],
)
def test_a_correction_that_cannot_be_gets_one_clear_error(
    served: tuple[TestClient, Log], body: Any, status: int, said: str
) -> None:
    client, log = served
    client.post("/predict", json={"inputs": TEXT})
    answer = client.post("/feedback", json=body)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "error_type"})
    assert said in answer.json()["error"]
    assert rows(log, "ner_labels") == []


def test_without_a_log_there_is_no_feedback_and_nothing_of_it_is_imported(shared_onnx: Path) -> None:
    service = Service({"ner": str(shared_onnx)}, load_to_serve, LIMITS, Metrics())
    client = TestClient(create_app(service))
    assert client.post("/feedback", json={"text": TEXT, "mentions": []}).status_code == 404
    assert "/feedback" not in client.get("/openapi.json").json()["paths"]
    assert "ner_log_texts" not in client.get("/metrics").text
    service.close()
    code = "import sys, affineur.cli.main, affineur.serve.process.server; print('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_a_process_that_is_killed_loses_little_and_counts_it(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0, "--log", tmp_path / "watch.db") as endpoint:
        endpoint.ready()
        assert endpoint.ask({"inputs": "Kept before"})[0] == 200
        status, kept, _ = endpoint.ask({"text": "Kept before", "mentions": []}, "/feedback")
        assert status == 200, kept
        with Load(endpoint) as load:
            load.more(100)
            os.killpg(endpoint.process.pid, signal.SIGKILL)
        answered = load.outcomes[200] + 1
    told: list[str] = []
    with Log(tmp_path / "watch.db", tell=told.append) as log:
        summary = log.summary()
        lost = summary.dropped.get("killed", 0)
        assert summary.labels == 1
        # Load sends one text a request; those whose answer was lost on the way were announced too.
        assert answered <= summary.texts + lost <= answered + load.outcomes["lost"]
        assert len(told) == bool(lost)
        assert log.forget(hash=kept["hash"]) == 1


@pytest.mark.slow
def test_kills_under_load_lose_no_label_and_count_every_text(tmp_path: Path, shared_onnx: Path) -> None:
    answered = unheard = labels = 0
    for number in range(20):
        with running(tmp_path, shared_onnx, "--port", 0, "--log", tmp_path / "watch.db") as endpoint:
            endpoint.ready()
            text = f"Jean Morvan numéro {number}"
            with Load(endpoint) as load:
                assert endpoint.ask({"inputs": text})[0] == 200
                labels += endpoint.ask({"text": text, "mentions": []}, "/feedback")[0] == 200
                load.more(20 + 5 * number)
                os.killpg(endpoint.process.pid, signal.SIGKILL)
            answered += load.outcomes[200] + 1
            unheard += load.outcomes["lost"]
    with Log(tmp_path / "watch.db", tell=lambda _: None) as log:
        summary = log.summary()
    assert labels == summary.labels == 20
    assert answered <= summary.texts + summary.dropped.get("killed", 0) <= answered + unheard


def test_the_command_line_opens_the_log_or_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shared_onnx: Path
) -> None:
    def said(*arguments: str) -> str:
        assert main(["serve", str(shared_onnx), *arguments]) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line.removeprefix("affineur: ")

    assert said("--log-text", "0.1") == "--log-text is for a log, and there is none; type --log watch.db too"
    assert said("--log", "watch.db", "--log-days", "0") == "--log-days 0 is impossible, expected 1 to 36500"
    assert said("--log", "mysql://a").startswith("--log is of the kind 'mysql', expected a file")
    assert said("--log", str(tmp_path)).endswith(
        "is a folder, expected a file such as watch.db, or postgresql://USER@HOST/DATABASE"
    )


def test_texts_in_clear_are_said_loudly(tmp_path: Path, shared_onnx: Path) -> None:
    log = tmp_path / "watch.db"
    with running(tmp_path, shared_onnx, "--port", 0, "--log", log, "--log-text", 1, "-q") as endpoint:
        endpoint.ready()
        assert endpoint.ask({"inputs": TEXT})[0] == 200
        assert endpoint.stop() == 0
        assert f"WARNING: --log-text 1: 100 % of the texts are kept IN CLEAR in {log}" in endpoint.errors
    with Log(log) as again:
        assert rows(again, "ner_samples", "text") == [(TEXT,)]


def test_annotate_and_python_keep_the_same_log(
    tmp_path: Path, shared_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import affineur
    from affineur.watch import Log as Public

    log, texts, out = tmp_path / "watch.db", tmp_path / "texts.txt", tmp_path / "out.jsonl"
    texts.write_text(f"{TEXT}\nIl fait beau.\n", "utf-8")
    assert main(["annotate", str(shared_onnx), str(texts), "-o", str(out), "--log", str(log), "-q"]) == 0
    model = affineur.load(shared_onnx)
    with Public(log) as kept:
        with model.logging_to(kept):
            model([TEXT])
        model("Not this one")
        affineur.annotate(model, texts, out=out, log=kept)
        found = rows(kept, "ner_texts", "characters, model_id", "id")
        assert found == [(27, 1), (13, 1), (27, 1), (27, 1), (13, 1)]
        assert [run[0] for run in rows(kept, "ner_runs", "source", "id")] == ["annotate", "python"]
    capsys.readouterr()
    assert main(["watch", "log", str(log), "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["texts"], told["running"], told["schema"]) == (5, 0, 1)
    words = tmp_path / "words.conll"
    words.write_text("Marie\nvit\n\n", "utf-8")
    assert main(["annotate", str(shared_onnx), str(words), "-o", str(out), "--log", str(log)]) == 1
    assert "--log is for raw text, and " in capsys.readouterr().err


def test_watch_forget_takes_a_text_a_hash_or_a_date(
    tmp_path: Path, shared_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, texts, out = tmp_path / "watch.db", tmp_path / "texts.txt", tmp_path / "out.jsonl"
    texts.write_text(f"{TEXT}\nIl fait beau.\nIl pleut.\n", "utf-8")
    assert main(["annotate", str(shared_onnx), str(texts), "-o", str(out), "--log", str(log), "-q"]) == 0
    letter = tmp_path / "letter.txt"
    letter.write_text(TEXT + "\n", "utf-8")
    with Log(log) as kept:
        hashed = rows(kept, "ner_texts", "hash", "id")[1][0]
    capsys.readouterr()

    def said(*arguments: str, status: int = 0) -> str:
        assert main(["watch", "forget", "--log", str(log), *arguments]) == status
        told = capsys.readouterr()
        return (told.out if status == 0 else told.err.removeprefix("affineur: ")).strip()

    assert said("--text", str(letter)) == "1 text forgotten"
    assert said("--text", str(letter)) == "0 texts forgotten"
    assert said(hashed) == "1 text forgotten"
    assert said("--before", "2020-01-01") == "0 texts forgotten"
    time.sleep(0.01)
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert said("--before", f"{now}.999999+14:00") == "0 texts forgotten"
    assert said("--before", "2100-01-01", status=1).startswith("--before 2100-01-01 is yet to come")
    assert said("--before", "gestern", status=1).startswith(
        "--before gestern is no date, expected one such as"
    )
    assert said("xyz", status=1) == "hash='xyz' is no hash, expected 32 hexadecimal digits"
    assert "cannot be read" in said("--text", str(tmp_path / "nothing"), status=1)
    (tmp_path / "watch.db.key").unlink()
    assert "has no key, so no text can be found by its hash" in said("--text", str(letter), status=1)
    assert not (tmp_path / "watch.db.key").exists()
    with contextlib.suppress(SystemExit):
        main(["watch", "forget", "--log", str(log)])
    assert "one of the arguments HASH --text --before is required" in capsys.readouterr().err
