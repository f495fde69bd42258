"""Issue 19, numbers 17 and 21: closed streams, Ctrl-C while modules are imported, keys that nobody sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import affineur

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


#: Sends Ctrl-C when the command imports its n-th module; 0 is the package or the entry itself, and 1, after
#: -m, the package again: Python is still at work by itself then.
INTERRUPTING = """
import os, signal, sys
class Finder:
    left = None
    def find_spec(self, name, path=None, target=None):
        if self.left is None and name.startswith("affineur"):
            self.left = int(os.environ["INTERRUPTED_AT"])
        elif self.left is not None:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
ENTRY = "import sys; from affineur_command import main; sys.argv[1:] = ['serve', '--help']; sys.exit(main())"


@pytest.mark.parametrize("number", [2, 3, 5, 50, 200])
@pytest.mark.parametrize(
    "words", [["-m", "affineur", "serve", "--help"], ["-c", ENTRY]], ids=["-m", "script"]
)
def test_ctrl_c_at_any_import(tmp_path: Path, number: int, words: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING)
    path = os.pathsep.join([str(tmp_path), *sys.path[1:]])
    environment = os.environ | {"PYTHONPATH": path, "INTERRUPTED_AT": str(number)}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert done.stderr in ("", "affineur: interrupted\n")


@pytest.mark.parametrize("seconds", [0.03, 0.05, 0.1, 0.2, 0.35, 0.5])
def test_ctrl_c_at_any_moment(seconds: float) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "affineur", "serve", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(seconds)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    if "Traceback" in said:  # Python's own start, which nobody can cover
        assert str(Path(affineur.__file__).parent) not in said
    else:
        assert running.returncode in (0, 130, -signal.SIGINT)  # the last: at the very end of Python
        assert len(said.splitlines()) <= 1


def test_a_library_leaves_ctrl_c_alone() -> None:
    told = (
        "import signal, affineur, affineur_command;"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", told], check=True, timeout=60)
