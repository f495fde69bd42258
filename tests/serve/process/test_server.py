"""One process: its start, its signals, reloads under load, and its end."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
from pathlib import Path

import pytest

from affineur.cli.main import main
from affineur.serve.keys import add_key

from ..held import until
from ..running import Load, Running, running


def test_sigterm_under_load_loses_no_request_that_was_read(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0, "--drain", 0.5) as endpoint:
        endpoint.ready()
        with Load(endpoint) as load:
            probe = endpoint.connect()
            probe.request("GET", "/health/ready")
            assert probe.getresponse().read() == b'{"status":"ready"}'
            endpoint.process.send_signal(signal.SIGTERM)
            until(lambda: endpoint.events("draining"))
            probe.request("GET", "/health/ready")
            response = probe.getresponse()
            assert (response.status, response.getheader("connection")) == (503, "close")
            response.read()
            probe.close()
            assert endpoint.process.wait(20) == 0
        read = {
            line["id"] for line in endpoint.events("request") if line["status"] == 200 and "." in line["id"]
        }
        assert read - load.answered == set()
        assert set(load.outcomes) - {"lost"} == {200}
        # Between the last look at who has connected and the end of listening, the kernel may take a
        # connection that it then resets.
        assert load.outcomes["lost"] <= 1
        assert endpoint.log[-1]["event"] == "stopped"


def test_ctrl_c_ends_it_at_once_and_well(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0, "--drain", 30) as endpoint:
        endpoint.ready()
        assert endpoint.stop(signal.SIGINT) == 0
        assert "Traceback" not in endpoint.errors


def test_health_checks_answer_while_the_model_loads(tmp_path: Path, shared_onnx: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as health:
        ports = [server.getsockname()[1] for server in (free, health)]
    with running(tmp_path, shared_onnx, PORT=str(ports[0]), PORT_HEALTH=str(ports[1])) as endpoint:
        until(lambda: endpoint.events("listening"))
        for endpoint.port in ports:
            seen = set()
            while not endpoint.events("ready"):
                seen |= {
                    (path, endpoint.ask(None, path)[0]) for path in ("/health/live", "/health/ready", "/ping")
                }
            assert seen <= {
                ("/health/live", 200),
                ("/health/ready", 503),
                ("/health/ready", 200),
                ("/ping", 204),
                ("/ping", 200),
            }
            if endpoint.port == ports[0]:
                assert {("/health/live", 200), ("/health/ready", 503), ("/ping", 204)} <= seen
            assert endpoint.ask(None, "/ping")[0] == 200
        endpoint.ready()
        assert endpoint.port == ports[0]
        assert endpoint.stop() == 0


def _wait_for_one(endpoint: Running, threads: int) -> None:
    """Wait until the queue's thread of the old artifact is gone."""
    tasks = Path(f"/proc/{endpoint.process.pid}/task")
    until(lambda: sum(1 for _ in tasks.iterdir()) <= threads)


def test_reloads_under_load(tmp_path: Path, shared_onnx: Path, shared_int8: Path) -> None:
    model, keys = tmp_path / "model", tmp_path / "keys"
    shutil.copytree(shared_onnx, model)
    bearer = {"Authorization": f"Bearer {add_key(keys, 'chief', admin=True)}"}
    with running(tmp_path, model, "--port", 0) as without:  # keys come later: nobody needs one, and no admin
        without.ready()
        assert without.ask({}, "/admin/reload", **bearer)[0] == 404
        with Load(without) as load:
            shutil.rmtree(model)
            shutil.copytree(shared_int8, model)
            without.process.send_signal(signal.SIGHUP)
            until(lambda: without.events("reloaded"))
            load.more()
            (model / "model.onnx").write_bytes(b"damaged")
            without.process.send_signal(signal.SIGHUP)
            until(lambda: without.events("reload refused"))
            load.more()
            assert without.ask(None, "/v2/models/ner")[1]["versions"] == ["2"]
        assert set(load.outcomes) == {200}
        (refused,) = without.events("reload refused")
        assert "\n" not in refused["error"]
        assert "model.onnx" in refused["error"]
        assert without.stop() == 0
    with running(tmp_path, shared_onnx, "--port", 0, "--key-file", keys) as endpoint:
        endpoint.ready()
        status, body, _ = endpoint.ask({"model": str(shared_int8)}, "/admin/reload", **bearer)
        assert (status, body["model"]["version"], body["model"]["folder"]) == (200, 2, shared_int8.name)
        status, body, _ = endpoint.ask({"model": str(model)}, "/admin/reload", **bearer)
        assert (status, body["error_type"]) == (424, "Backend")
        assert body["error"].endswith("the artifact before it still serves")
        status, body, _ = endpoint.ask({}, "/admin/reload", **bearer)  # the last that was good, again
        assert (status, body["model"]["version"], body["model"]["folder"]) == (200, 3, shared_int8.name)
        endpoint.process.send_signal(signal.SIGHUP)
        until(lambda: endpoint.events("reloaded"))
        threads = len(list(Path(f"/proc/{endpoint.process.pid}/task").iterdir()))
        for _ in range(3):
            assert endpoint.ask({}, "/admin/reload", **bearer)[0] == 200
        _wait_for_one(endpoint, threads)
        assert 'ner_waiting_inputs{model="ner"} 0.0' in endpoint.ask(None, "/metrics", **bearer)[1]
        assert endpoint.stop() == 0


def test_what_cannot_be_served_is_one_line_and_status_1(
    tmp_path: Path, shared_onnx: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    unproved = Path(shutil.copytree(shared_onnx, tmp_path / "unproved"))
    (unproved / "probe.safetensors").unlink()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, message in (
            ([shared_onnx, "--port", port], f"127.0.0.1:{port} cannot be listened on"),
            ([shared_onnx, "--port", 0, "--health-port", port], f"127.0.0.1:{port} cannot be listened on"),
            ([shared_onnx, "--host", "203.0.113.1", "--port", 0], "203.0.113.1:0 cannot be listened on"),
            ([tmp_path / "missing", "--port", 0], "missing"),
            ([unproved, "--port", 0], "probe"),
            ([shared_onnx, "--port", 0, "--key-file", tmp_path / "none"], "none cannot be read"),
        ):
            with running(tmp_path, *arguments) as endpoint:
                assert endpoint.process.wait(60) == 1, message
                plain = [line for line in endpoint.errors.splitlines() if not line.startswith("{")]
                assert len(plain) == 1, endpoint.errors
                assert plain[0].startswith("affineur:")
                assert message in plain[0]
    assert main(["serve", str(shared_onnx), "--port", "70000"]) == 1
    assert "--port 70000 is impossible" in capfd.readouterr().err


def test_a_half_sent_request_does_not_keep_it_from_ending(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0, "--drain", 0) as endpoint:
        endpoint.ready()
        with (
            socket.create_connection(("127.0.0.1", endpoint.port)) as client,
            socket.create_connection(("127.0.0.1", endpoint.port)),
        ):
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-")
            idle = http.client.HTTPConnection("127.0.0.1", endpoint.port)
            idle.request("GET", "/ping")
            idle.getresponse().read()
            endpoint.process.send_signal(signal.SIGTERM)
            assert endpoint.process.wait(10) == 0
            idle.close()


def test_as_many_threads_as_asked_for(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0, "--threads", 1, OMP_NUM_THREADS="2") as endpoint:
        endpoint.ready()
        assert [line["threads"] for line in endpoint.events("serving")] == [1]
        assert endpoint.stop() == 0
