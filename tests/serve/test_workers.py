"""Several processes behind one port: one view, all or none, and none left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from affineur.serve.keys import add_key

from .held import until
from .running import Load, Running, children, gone, running


@pytest.fixture
def bearer(tmp_path: Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {add_key(tmp_path / 'keys', 'chief', admin=True)}"}


def _workers(endpoint: Running) -> set[int]:
    """Return the processes that serve."""
    return {line["pid"] for line in endpoint.events("ready")} - {
        line["worker"] for line in endpoint.events("worker gone")
    }


def _sum(text: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{name}{{[^}}]*}} (\S+)$", text, re.MULTILINE))


def test_they_answer_on_one_port_are_counted_together_reload_together_and_drain(
    tmp_path: Path, shared_onnx: Path, shared_int8: Path, bearer: dict[str, str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(shared_onnx, model)
    with running(tmp_path, model, "--port", 0, "--workers", 2, "--drain", 0.5) as endpoint:
        endpoint.ready()
        assert len(_workers(endpoint)) == 2
        with Load(endpoint) as load:
            until(lambda: {line["pid"] for line in endpoint.events("request")} == _workers(endpoint))
            shutil.rmtree(model)
            shutil.copytree(shared_int8, model)
            endpoint.process.send_signal(signal.SIGHUP)
            until(lambda: endpoint.events("reloaded"))
            load.more()
            (model / "model.onnx").write_bytes(b"damaged")
            endpoint.process.send_signal(signal.SIGHUP)
            until(lambda: endpoint.events("reload refused"))
            load.more()
            os.killpg(
                endpoint.process.pid, signal.SIGTERM
            )  # as a platform does that ends all processes of a group
            assert endpoint.process.wait(30) == 0
        assert set(load.outcomes) - {"lost"} == {200}
        assert load.outcomes["lost"] <= 1
        read = {
            line["id"] for line in endpoint.events("request") if line["status"] == 200 and "." in line["id"]
        }
        assert read - load.answered == set()
        assert "\n" not in endpoint.events("reload refused")[0]["error"]
        assert len(endpoint.events("stopped")) == 2
        assert all(gone(pid) for pid in _workers(endpoint))
        assert "Traceback" not in endpoint.errors


def test_one_that_is_killed_is_replaced_and_serves_what_the_others_serve(
    tmp_path: Path, shared_onnx: Path, shared_int8: Path, bearer: dict[str, str]
) -> None:
    with running(
        tmp_path, shared_onnx, "--port", 0, "--workers", 2, "--key-file", tmp_path / "keys"
    ) as endpoint:
        endpoint.ready()
        answers = [endpoint.ask({"inputs": "Paris"}, **bearer)[0] for _ in range(20)]
        assert answers == [200] * 20
        status, body, _ = endpoint.ask({"model": str(shared_int8)}, "/admin/reload", **bearer)
        assert (status, body["model"]["version"]) == (200, 2)
        status, body, _ = endpoint.ask({"model": str(tmp_path)}, "/admin/reload", **bearer)
        assert (status, body["error_type"]) == (424, "backend")
        text = endpoint.ask(None, "/metrics", **bearer)[1]
        assert _sum(text, "ner_batch_size_sum") == 20
        victim = min(_workers(endpoint))
        os.kill(victim, signal.SIGKILL)
        until(lambda: endpoint.events("worker gone"))
        while (
            len(endpoint.events("ready")) < 3
        ):  # who comes while another loads is answered by those that can
            assert endpoint.ask({"inputs": "Paris"}, **bearer)[0] == 200
        until(lambda: len(_workers(endpoint)) == 2)
        assert "Z" not in children(endpoint.process.pid).values()
        versions = {tuple(endpoint.ask(None, "/v2/models/ner", **bearer)[1]["versions"]) for _ in range(40)}
        assert versions == {("2",)}
        assert _sum(endpoint.ask(None, "/metrics", **bearer)[1], "ner_batch_size_sum") > 20, (
            "a counter does not fall when a worker ends"
        )
        status, body, _ = endpoint.ask({}, "/admin/reload", **bearer)
        assert (status, body["model"]["version"], body["model"]["folder"]) == (200, 3, shared_int8.name)
        until(lambda: _sum(endpoint.ask(None, "/metrics", **bearer)[1], "ner_waiting_inputs") == 0)
        os.killpg(endpoint.process.pid, signal.SIGINT)  # as a terminal does
        assert endpoint.process.wait(30) == 0
        assert all(gone(pid) for pid in _workers(endpoint))
        assert "Traceback" not in endpoint.errors


def test_without_their_supervisor_they_end(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0, "--workers", 2) as endpoint:
        endpoint.ready()
        workers = _workers(endpoint)
        endpoint.stop(signal.SIGKILL)
        until(lambda: all(gone(pid) for pid in workers))
        assert "Traceback" not in endpoint.errors


@pytest.mark.slow
def test_a_model_that_cannot_be_served_ends_all_with_one_line(tmp_path: Path) -> None:
    with running(tmp_path, tmp_path / "missing", "--port", 0, "--workers", 2) as endpoint:
        assert endpoint.process.wait(60) == 1
        plain = [line for line in endpoint.errors.splitlines() if not line.startswith("{")]
        assert len(plain) == 1, endpoint.errors
        assert "missing" in plain[0]
