"""What Affineur brings to try things on: text of its own (``LICENSES.md``), and models of ``affineur-fr``."""

from __future__ import annotations

from pathlib import Path

from affineur.sample.models import DEFAULT, MODELS, TEACHER, is_packaged, model

_HERE = Path(__file__).parent


def data() -> Path:
    """Folder with ``train.conll``, ``dev.conll`` (generated) and ``test.conll`` (written by hand), CC0."""
    return _HERE / "data"


def recipe() -> Path:
    """The recipe of ``affineur demo``."""
    return _HERE / "demo.yaml"


__all__ = ["DEFAULT", "MODELS", "TEACHER", "data", "is_packaged", "model", "recipe"]
