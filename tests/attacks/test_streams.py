"""Issue 19, numbers 17 and 21: closed streams, Ctrl-C while modules are imported, keys that nobody sees."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = f"exec {sys.executable} -m affineur"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("line", "status"), [("info sample >&-", 1), ("info sample <&- 2>&-", 0)])
def test_closed_streams_are_no_traceback(line: str, status: int) -> None:
    done = shell(f"{RUN} {line}")
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_a_key_that_nobody_sees_is_not_stored(tmp_path: Path) -> None:
    done = shell(f"{RUN} key {tmp_path / 'keys'} anna >/dev/full")
    assert done.returncode == 1
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("seconds", [0.15, 0.3])
def test_ctrl_c_while_modules_are_imported(seconds: float) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "affineur", "serve", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(seconds)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode in (0, 130)
    assert len(said.splitlines()) <= 1
