"""Descriptors and memory of the process that serves."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from affineur.serve.process import system
from affineur.serve.process.server import _connections
from affineur.serve.process.uvicorn_adapter import MOST_CONNECTIONS

from ..conftest import loaded
from ..held import until
from ..running import running


@contextlib.contextmanager
def descriptors(soft: int) -> Iterator[int]:
    """Lower the soft limit, for processes that are started meanwhile; gives the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def allowed(pid: int) -> str:
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max open files")
    ]
    return line.split()[3]


def test_idle_connections_leave_descriptors_for_others(tmp_path: Path, shared_onnx: Path) -> None:
    with descriptors(128) as hard, contextlib.ExitStack() as started:
        endpoint = started.enter_context(running(tmp_path, shared_onnx, "--port", 0, "--health-port", 0))
        endpoint.ready()
        assert allowed(endpoint.process.pid) == str(hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for _ in range(200):
            started.enter_context(socket.create_connection(("127.0.0.1", endpoint.port)))
        assert endpoint.ask({"inputs": "Paris"})[0] == 200


def test_the_log_says_where_there_are_too_few() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))\n"
        "from affineur.serve import logs\n"
        "from affineur.serve.process import system\n"
        "logs.set_up(); system.raise_descriptors(300); system.raise_descriptors(301)\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "(300, 300)"
    (line,) = done.stderr.splitlines()
    told = json.loads(line)
    assert (told["event"], told["descriptors"], told["needed"]) == ("few descriptors", 300, 301)


_HEAPS = """
import ctypes, threading
from affineur.serve.process import system
system.limit_arenas()
libc, together = ctypes.CDLL(None), threading.Barrier(12)
def allocate():
    together.wait()  # all of them at once
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc has other heaps")
@pytest.mark.parametrize(("told", "heaps"), [({}, 2), ({"MALLOC_ARENA_MAX": "4"}, 4)])
def test_threads_share_two_heaps_unless_the_user_says_otherwise(told: dict[str, str], heaps: int) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    done = subprocess.run(
        [sys.executable, "-c", _HEAPS],
        env=environ | told,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.count("<heap nr=") == heaps


def resident(pid: int) -> float:
    """Megabytes in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def test_reloads_do_not_add_up(tmp_path: Path, shared_onnx: Path) -> None:
    with running(tmp_path, shared_onnx, "--port", 0) as endpoint:
        endpoint.ready()

        def reload(until_there_were: int) -> None:
            for count in range(len(endpoint.events("reloaded")), until_there_were):
                endpoint.process.send_signal(signal.SIGHUP)
                until(lambda before=count: len(endpoint.events("reloaded")) > before)

        reload(2)
        before = resident(endpoint.process.pid)
        reload(14)  # about 1.5 MB each, where nothing is given back
        until(
            lambda: resident(endpoint.process.pid) < before + 6, 5
        )  # the last is put away while this is asked
        assert endpoint.stop() == 0


def test_a_model_is_gone_before_memory_is_given_back(
    shared_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded({"ner": shared_onnx}) as service:
        old, left = weakref.ref(service.models["ner"]), []
        committed = threading.Event()

        def look() -> None:
            assert committed.wait(30)  # whoever asked for the reload holds the old one until then
            left.append(old())

        monkeypatch.setattr("affineur.serve.service.give_back", look)
        service.commit(service.prepare("ner", str(shared_onnx)))
        committed.set()
        until(lambda: left)
        assert left == [None]


@pytest.mark.parametrize(
    ("descriptors", "memory", "most"),
    [
        (None, None, MOST_CONNECTIONS),
        (10**6, 10**12, MOST_CONNECTIONS),
        (1024, 10**12, 448),
        (None, 2 << 30, 1024),
        (1024, 1 << 29, 256),
        (100, 1 << 20, 8),
    ],
)
def test_connections_take_no_more_than_a_share_of_what_there_is(
    descriptors: int | None, memory: int | None, most: int
) -> None:
    assert _connections(descriptors, memory) == most


def test_memory_is_that_of_the_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "memory.max"
    monkeypatch.setattr(system, "_CONTAINER", (str(told), str(tmp_path / "none")))
    machine = system.memory()
    assert machine is not None
    told.write_text("max\n")
    assert system.memory() == machine
    told.write_text("1048576\n")
    assert system.memory() == 1 << 20
