"""Engines of other packages, for the tests of ``engines.core``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from affineur.engines.core.engine import ENGINES

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on the path: one module, and entry points as installers write them."""
    before = set(sys.modules)

    def make(name: str, code: str, **points: str) -> None:
        site = tmp_path / f"site_{name}"
        module = name.replace("-", "_")
        folder = site / f"{module}-1.0.dist-info"
        folder.mkdir(parents=True)
        (site / f"{module}.py").write_text(code)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = {module}:{value}" for point, value in points.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[affineur.engines]", *lines]) + "\n")
        monkeypatch.syspath_prepend(site)
        ENGINES.__dict__.pop("_plugins", None)

    yield make
    monkeypatch.undo()
    ENGINES.__dict__.pop("_plugins", None)  # whoever asks next looks again
    for name in set(sys.modules) - before:
        if not name.startswith("affineur"):
            sys.modules.pop(name, None)
