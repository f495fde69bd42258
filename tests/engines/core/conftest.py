"""Engines of other packages, for the tests of ``engines.core``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from affineur.engines.core.engine import ENGINES
from distributions import distribution

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on the path: one module, and entry points as installers write them."""
    before = set(sys.modules)

    def make(name: str, code: str, **points: str) -> None:
        site = tmp_path / f"site_{name}"
        distribution(site, name, code, "affineur.engines", **points)
        monkeypatch.syspath_prepend(site)
        ENGINES.__dict__.pop("_plugins", None)

    yield make
    monkeypatch.undo()
    ENGINES.__dict__.pop("_plugins", None)  # whoever asks next looks again
    for name in set(sys.modules) - before:
        if not name.startswith("affineur"):
            sys.modules.pop(name, None)
