"""French models for Affineur, as folders: ``sample``, a teacher, and ``sample-int8``, the model to use.

``affineur`` finds them by these names (``affineur.load("sample-int8")``). Nothing is imported and nothing is
run here: the package is the folders, what they are called, and the version of this contract.
"""

from __future__ import annotations

from pathlib import Path

#: Version of what this package offers: the names below and what each stands for. Affineur asks for one.
FORMAT = 1

#: The models, by the names that Affineur takes.
MODELS = ("sample", "sample-int8")

_HERE = Path(__file__).parent


def folder(name: str) -> Path:
    """Return the folder of a model.

    Args:
        name: One of :data:`MODELS`.

    Raises:
        KeyError: If there is no such model.
    """
    if name not in MODELS:
        raise KeyError(f"affineur-fr has no model '{name}'; it has {' and '.join(MODELS)}")
    return _HERE / name


__all__ = ["FORMAT", "MODELS", "folder"]
