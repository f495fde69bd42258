"""One process at a time at a target, and no lock left behind."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from affineur.artifact import alone, in_turn
from affineur.errors import ParameterError

HOLD = """
import sys
from pathlib import Path
from affineur.artifact import alone
with alone(Path(sys.argv[1]), "wait"):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds ``tmp_path / "out"`` until it reads a line, or is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with alone(tmp_path / "out", "wait"):
        with (
            pytest.raises(ParameterError, match=r"another process is making .*/out; wait for it, or go away"),
            alone(tmp_path / "out", "go away"),
        ):
            pass
        with alone(tmp_path / "other", "wait"):
            pass
    with pytest.raises(ZeroDivisionError), alone(tmp_path / "out", "wait"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_holds_nobody(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(ParameterError, match="another process is making"), alone(tmp_path / "out", "wait"):
        pass
    other.kill()
    other.communicate()
    assert (tmp_path / ".out.lock").exists()  # what a killed process cannot take away
    with alone(tmp_path / "out", "wait"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lock, real, swapped = tmp_path / ".out.lock", fcntl.flock, []

    def late(file: int, how: int) -> None:
        if not swapped:  # between opening and locking, the holder ends and removes it
            swapped.append(True)
            lock.unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with alone(tmp_path / "out", "wait"):
        assert swapped
        assert lock.exists()
        with pytest.raises(ParameterError, match="another process"), alone(tmp_path / "out", "wait"):
            pass


def test_who_waits_for_its_turn_gets_it(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    def turn() -> int | None:
        with in_turn(tmp_path / "out"):
            return other.poll()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(turn)
        assert not waiting.done()
        other.communicate("go\n")
        waiting.result()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ParameterError, match="cannot be written"), alone(tmp_path / "file" / "out", "wait"):
        pass
