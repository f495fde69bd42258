"""Issue 19, number 21: a full disk of the cache is not blamed on the output."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from affineur.artifact import new_folder
from affineur.errors import AffineurError
from affineur.transfer import cache


def test_the_disk_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "a.conll").write_text("a O\n")
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "cache"))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "fetch", full)
    with pytest.raises(AffineurError, match="cache") as error, new_folder(tmp_path / "out" / "model"):
        cache.fetched(f"{place.as_uri()}/a.conll")
    assert "out" not in str(error.value)
