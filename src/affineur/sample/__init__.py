"""The embedded default: a small French teacher, its data, and their licenses (``LICENSES.md``)."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def teacher() -> Path:
    """Folder of the embedded 12-layer French NER teacher (CC BY-NC-SA 4.0), stored in fp16."""
    return _HERE / "teacher"


def data() -> Path:
    """Folder with ``train.conll``, ``dev.conll`` (generated) and ``test.conll`` (written by hand), CC0."""
    return _HERE / "data"


def recipe() -> Path:
    """The recipe of ``affineur demo``."""
    return _HERE / "demo.yaml"


__all__ = ["data", "recipe", "teacher"]
