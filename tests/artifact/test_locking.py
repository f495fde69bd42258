"""One process at a time at a target, and no lock left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from affineur.artifact import alone, locking
from affineur.errors import ParameterError


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


def test_a_lock_that_was_removed_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, real, swapped = tmp_path / ".out.lock", locking.fcntl.flock, []

    def late(file: Any, how: int) -> None:
        if not swapped:  # between opening and locking, the holder ends and removes it
            swapped.append(True)
            lock.unlink()
        real(file, how)

    monkeypatch.setattr(locking.fcntl, "flock", late)
    with alone(tmp_path / "out", "wait"):
        assert lock.exists()
        with pytest.raises(ParameterError, match="another process"), alone(tmp_path / "out", "wait"):
            pass


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ParameterError, match="cannot be written"), alone(tmp_path / "file" / "out", "wait"):
        pass
