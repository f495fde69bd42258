"""RunPod: a queue's answers over HTTP, its health check, and the worker's handler, in the SDK's loop too."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from affineur.errors import ModelError
from affineur.pipeline.models import load_to_serve as load
from affineur.serve.app import create_app
from affineur.serve.metrics import Metrics
from affineur.serve.protocols.runpod import Handler, make_handler
from affineur.serve.service import Service
from affineur.serve.settings import Settings

from ..conftest import LIMITS
from ..held import until

HANDLER = Path(__file__).parents[3] / "deploy" / "runpod_handler.py"
TEXT = "Marie Duval habite à Paris. 🎉 Ahmed travaille chez Télévox."
#: Inputs that make a job fail, and what is said.
WRONG: list[tuple[Any, str]] = [
    ({}, "inputs is missing"),
    ({"inputs": ""}, "inputs is empty"),
    ({"inputs": []}, "inputs is empty"),
    ({"inputs": 5}, "neither a text nor a list"),
    ({"inputs": TEXT, "parameters": {"agregation_strategy": "max"}}, "did you mean"),
    ({"inputs": TEXT, "parameters": {"stride": 1000}}, "stride of 1000 is impossible"),
    ({"inputs": TEXT, "parameters": {"redact_map": True}}, "redact_map needs redact"),
    ({"inputs": ["a"] * 65}, "65 texts"),
    ({"inputs": "a" * 20_001}, "20001 characters"),
]


# ---- Over HTTP ----


def test_ping_is_204_while_the_model_is_loaded_then_200_then_503(shared_onnx: Path) -> None:
    service = Service({"ner": str(shared_onnx)}, load, LIMITS, Metrics())
    with TestClient(create_app(service)) as client:
        answer = client.get("/ping")
        assert (answer.status_code, answer.content) == (204, b"")
        assert client.post("/runsync", json={"input": {"inputs": TEXT}}).status_code == 503
        service.load()
        assert client.get("/ping").status_code == 200
        service.draining = True
        assert client.get("/ping").status_code == 503
    service.close()


def test_a_job_that_is_done(client: TestClient) -> None:
    for job in (
        {"inputs": TEXT},
        {"inputs": [TEXT, "Il fait beau."], "parameters": {"aggregation_strategy": "simple"}},
    ):
        answer = client.post("/runsync", json={"input": job})
        body = answer.json()
        assert answer.status_code == 200
        assert list(body) == ["id", "status", "delayTime", "executionTime", "output"]
        assert body["id"].startswith("sync-")
        assert body["status"] == "COMPLETED"
        assert type(body["delayTime"]) is type(body["executionTime"]) is int
        assert body["output"] == client.post("/predict", json=job).json()
    assert (
        client.post("/runsync", json={"id": "j-1", "input": {"inputs": TEXT}, "webhook": "https://x"}).json()[
            "id"
        ]
        == "j-1"
    )


@pytest.mark.parametrize(("job", "said"), WRONG)
def test_a_job_that_fails_is_answered_as_runpod_answers_it(client: TestClient, job: Any, said: str) -> None:
    answer = client.post("/runsync", json={"id": "j-2", "input": job})
    assert answer.status_code == 200
    assert list(answer.json()) == ["id", "status", "error"]
    assert (answer.json()["id"], answer.json()["status"]) == ("j-2", "FAILED")
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "Empty"),
        (b"{", 422, "Validation"),
        (b"{}", 422, "Validation"),
        (b'{"input": "texte"}', 422, "Validation"),
        (b'{"input": {"inputs": "a"}, "id": 5}', 422, "Validation"),
        (b" " * 200_001, 413, "Validation"),
    ],
)
def test_what_is_no_job_is_an_error_of_the_request(
    client: TestClient, body: bytes, status: int, kind: str
) -> None:
    answer = client.post("/runsync", content=body)
    assert (answer.status_code, answer.json()["error_type"]) == (status, kind)


def test_an_endpoint_without_that_model_is_no_failed_job(client: TestClient) -> None:
    assert client.post("/runsync?model=autre", json={"input": {"inputs": TEXT}}).status_code == 404


# ---- The handler ----


@pytest.fixture(scope="module")
def handler(shared_onnx: Path) -> Handler:
    return make_handler(str(shared_onnx), load, LIMITS)


def run(handler: Handler, *inputs: Any) -> list[Any]:
    async def every() -> list[Any]:
        return await asyncio.gather(
            *(handler({"id": str(n), "input": each}) for n, each in enumerate(inputs))
        )

    return asyncio.run(every())


def test_the_handler_gives_what_predict_answers(handler: Handler, client: TestClient) -> None:
    jobs = [
        {"inputs": TEXT},
        {"inputs": [TEXT, "Il fait beau."]},
        {
            "inputs": TEXT,
            "parameters": {"aggregation_strategy": "none", "threshold": 0.5, "ignore_labels": []},
        },
        {"inputs": TEXT, "parameters": {"redact": "pseudonym", "redact_map": True}},
    ]
    assert run(handler, *jobs) == [client.post("/predict", json=job).json() for job in jobs]


def test_jobs_at_once_share_batches(shared_onnx: Path) -> None:
    batches: list[int] = []

    def counting(reference: str) -> Any:
        tagger, path = load(reference)
        compute = tagger.lane_logits
        tagger.lane_logits = lambda windows, alone=False: (
            batches.append(len(windows)),
            compute(windows, alone),
        )[1]  # type: ignore[method-assign]
        return tagger, path

    handler = make_handler(str(shared_onnx), counting, Settings(batch_wait=0.05))
    batches.clear()
    outputs = run(handler, *({"inputs": f"Marie Duval a {n} ans."} for n in range(40)))
    assert all(isinstance(output, list) for output in outputs)
    assert sum(batches) == 40
    assert len(batches) < 20


def test_long_jobs_at_once_all_complete(shared_onnx: Path) -> None:
    """More than an endpoint would let wait: a job that failed for that would be lost."""
    handler = make_handler(str(shared_onnx), load)
    outputs = run(handler, *({"inputs": f"{TEXT} " * 200} for _ in range(64)))
    assert all(isinstance(output, list) and output for output in outputs)


@pytest.mark.parametrize(
    ("job", "said"), [*WRONG, (None, "not an object"), ("texte", "not an object"), ([TEXT], "not an object")]
)
def test_the_handler_tells_what_is_wrong(handler: Handler, job: Any, said: str) -> None:
    (output,) = run(handler, job)
    assert list(output) == ["error"]
    assert said in output["error"]


def test_the_handler_refuses_what_the_sdk_could_not_send_back(handler: Handler) -> None:
    lone = json.loads(
        '"Marie \\ud800 Duval"'
    )  # the SDK reads jobs with json, which lets it pass, and could not encode it
    (output,) = run(handler, {"inputs": lone})
    assert list(output) == ["error"]
    json.dumps(output, ensure_ascii=False).encode()


def test_a_fault_of_ours_tells_nothing_but_that(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> Any:
        raise ValueError(TEXT)

    monkeypatch.setattr("affineur.serve.protocols.runpod.find", fail)
    assert run(handler, {"inputs": TEXT}) == [{"error": "an internal error; the worker's log has it"}]


def test_a_model_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError):
        make_handler(str(tmp_path / "model"), load)


# ---- The SDK's loop ----

sdk = pytest.mark.skipif(find_spec("runpod") is None, reason="needs RunPod's SDK (pip install runpod)")


class Queue:
    """RunPod's side: hands out jobs, one or several at once, and takes their results."""

    def __init__(self, jobs: list[dict[str, Any]]) -> None:
        self.jobs, self.results, self.taken = list(jobs), {}, []  # type: ignore[var-annotated]
        queue, lock = self, threading.Lock()
        self.closing = threading.Event()

        class Side(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if "job-take" not in parts.path:
                    return self.reply(204)
                with lock:
                    many = int(parse_qs(parts.query).get("batch_size", ["1"])[0])
                    jobs, queue.jobs = queue.jobs[:many], queue.jobs[many:]
                    queue.taken.append(len(jobs))
                if not jobs:
                    queue.closing.wait(0.05)  # as RunPod does, which answers late where there is nothing
                    return self.reply(204)
                return self.reply(200, jobs if "batch" in parts.path else jobs[0])

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                queue.results[urlsplit(self.path).path.rpartition("/")[2]] = json.loads(body)
                self.reply(200, {})

            def reply(self, status: int, value: Any = None) -> None:
                body = b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Side)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def queue() -> Iterator[Queue]:
    jobs = [{"id": f"j{n}", "input": {"inputs": f"{TEXT} Il a {n} ans."}} for n in range(100)]
    queue = Queue(
        [*jobs, {"id": "wrong", "input": {"inputs": ""}}, {"id": "lone", "input": {"inputs": "\ud800"}}]
    )
    yield queue
    queue.close()


@sdk
def test_the_worker_s_loop(queue: Queue, shared_onnx: Path, client: TestClient, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "MODEL_PATH": str(shared_onnx),
        "RUNPOD_WEBHOOK_GET_JOB": f"{queue.url}/job-take/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{queue.url}/job-done/$ID?gpu=none",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
    }
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, HANDLER], env=environment, stdout=out, stderr=out, cwd=tmp_path
        ) as worker,
    ):
        until(lambda: len(queue.results) >= 102 or worker.poll() is not None, 120)
        worker.send_signal(signal.SIGTERM)
        code = worker.wait(60)
    said = log.read_text()
    assert len(queue.results) == 102, said[-3000:]
    assert code == 0
    assert max(queue.taken) == 64
    for n in (0, 57, 99):
        assert queue.results[f"j{n}"] == {
            "output": client.post("/predict", json={"inputs": f"{TEXT} Il a {n} ans."}).json()
        }
    assert "inputs is empty" in queue.results["wrong"]["error"]
    assert list(queue.results["lone"]) == ["error"]
    assert "Duval" not in said
    assert "Télévox" not in said


@sdk
def test_a_worker_without_a_model_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "MODEL_PATH": str(tmp_path / "nowhere")}
    done = subprocess.run(
        [sys.executable, HANDLER], env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


@sdk
def test_the_sdk_s_test_of_one_job(shared_onnx: Path, client: TestClient, tmp_path: Path) -> None:
    job = json.dumps({"input": {"inputs": TEXT}})
    done = subprocess.run(
        [sys.executable, HANDLER, "--test_input", job],
        env={**os.environ, "MODEL_PATH": str(shared_onnx), "RUNPOD_LOG_LEVEL": "DEBUG"},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(client.post("/predict", json={"inputs": TEXT}).json()[0]["score"]) in done.stdout
