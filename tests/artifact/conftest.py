"""An artifact with a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from affineur.artifact import write_manifest

from .cards import PRUNED


@pytest.fixture
def artifact(tiny_model) -> Path:
    folder: Path = tiny_model()
    write_manifest(folder, PRUNED)
    return folder
