"""Issue 19, numbers 5, 6 and 8: signals while an endpoint starts, what it tells of models, full disks."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affineur.artifact import open_folder
from affineur.errors import ModelError
from affineur.pipeline import models
from affineur.serve.keys import NOBODY, add_key
from affineur.serve.metrics import Metrics
from affineur.serve.process.server import Endpoint, ServePlan
from affineur.serve.queue.served import start_model
from affineur.serve.settings import Settings
from serve.held import until
from serve.running import running

EARLY = """
import os, signal, sys, threading
sys.argv = ["affineur", "serve", "model"]
import affineur.cli
assert not {"numpy", "pydantic", "affineur.cli.main"} & set(sys.modules), "the slow part is still to come"
os.kill(os.getpid(), signal.SIGNAL)
print("alive")
"""


# ---- 5: signals and keys ----


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize(("name", "status", "said"), [("SIGHUP", 0, "alive\n"), ("SIGTERM", 0, "")])
def test_signals_before_anything_is_imported(name: str, status: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY.replace("SIGNAL", name)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, said, "")


def test_other_commands_keep_their_signals() -> None:
    script = EARLY.replace('"serve"', '"predict"').replace("SIGNAL", "SIGHUP")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGHUP


def slowly(path: Path, go: threading.Event, loads: list[str]) -> Callable[[str], Any]:
    def load(reference: str) -> Any:
        loads.append(reference)
        assert go.wait(30)
        return models.load_to_serve(str(path))

    return load


def test_a_key_taken_back_while_models_are_loaded_opens_nothing(shared_onnx: Path, tmp_path: Path) -> None:
    file, go = tmp_path / "keys", threading.Event()
    add_key(file, "marie")
    plan = ServePlan({"ner": "model"}, slowly(shared_onnx, go, []), Settings(), key_file=file)
    known: list[Any] = []
    endpoint = Endpoint(plan, lambda _: known.append(endpoint.keys))
    assert [key.name for key in endpoint.keys] == ["marie"]
    file.write_text("")
    go.set()
    asyncio.run(endpoint.load())
    assert known == [(NOBODY,)], "when it is ready"
    endpoint.service.close()


def test_reloads_that_are_asked_for_while_models_are_loaded_come_once_and_after_it(
    shared_onnx: Path, tmp_path: Path
) -> None:
    file, go, loads = tmp_path / "keys", threading.Event(), []
    add_key(file, "marie")
    plan = ServePlan({"ner": "model"}, slowly(shared_onnx, go, loads), Settings(), key_file=file)
    endpoint = Endpoint(plan, lambda _: None)

    async def run() -> None:
        endpoint._start_loading()
        await asyncio.to_thread(until, lambda: loads)
        file.write_text("")
        for _ in range(20):
            endpoint.hang_up()
        assert endpoint.keys == (NOBODY,), "keys do not wait"
        await asyncio.sleep(0.1)
        assert len(loads) == 1
        go.set()
        await asyncio.wait(set(endpoint._tasks))

    asyncio.run(run())
    assert len(loads) == 2
    assert endpoint.service.models["ner"].about.version == 2
    endpoint.service.close()


# ---- 6: what is told of a model is what was loaded ----


def about(reference: Path) -> Any:
    served = start_model(
        "ner", str(reference), models.load_to_serve, Settings(), Metrics().of("ner"), version=1
    )
    served.batcher.close()
    return served.about


def test_a_link_switched_while_a_model_is_loaded_changes_nothing_that_is_told(
    shared_onnx: Path, shared_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, plain = tmp_path / "current", models._load
    link.symlink_to(shared_int8)

    def switching(*given: Any) -> Any:
        tagger = plain(*given)
        link.unlink()
        link.symlink_to(shared_onnx)
        return tagger

    monkeypatch.setattr(models, "_load", switching)
    told, loaded = about(link), open_folder(shared_int8)
    assert (told.sha256, told.size_bytes, told.folder) == (
        loaded.digest(),
        loaded.size_bytes,
        shared_int8.name,
    )


def test_a_folder_that_changes_while_it_is_loaded_is_refused(
    shared_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, plain = tmp_path / "model", models._load
    shutil.copytree(shared_int8, folder)

    def changing(*given: Any) -> Any:
        tagger = plain(*given)
        os.utime(folder / "config.json")
        return tagger

    monkeypatch.setattr(models, "_load", changing)
    with pytest.raises(ModelError, match="has changed while it was loaded; load it again"):
        about(folder)
    monkeypatch.undo()
    assert about(folder).folder == "model"


# ---- 8: a full disk ----


def test_figures_lie_in_no_file(tmp_path: Path) -> None:
    """Prometheus' client maps files into memory where a variable says so: on a full disk that is SIGBUS."""
    script = (
        "from affineur.serve.metrics import Metrics; m = Metrics(); m.unheard.inc(); print(len(m.text()[0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_that_can_write_nothing_serves_on(shared_int8: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with running(
        tmp_path, shared_int8, "--port", 0, TMPDIR=missing, PROMETHEUS_MULTIPROC_DIR=missing
    ) as endpoint:
        endpoint.ready()
        resource.prlimit(endpoint.process.pid, resource.RLIMIT_FSIZE, (0, 0))  # as a full disk: no byte more
        for _ in range(3):
            assert endpoint.ask({"inputs": "Marie Duval habite à Paris." * 300})[0] == 200
            assert endpoint.ask(None, "/metrics")[0] == 200
        endpoint.process.send_signal(signal.SIGHUP)
        until(lambda: endpoint.ask(None, "/info")[1]["models"][0]["version"] == 2)
        assert endpoint.ask({"inputs": "Marie Duval habite à Paris."})[0] == 200
        assert endpoint.stop() == 0
