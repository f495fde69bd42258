"""Affineur turns a fine-tuned token classifier into the smallest, fastest one that still passes your F1 bar, and proves it.

``import affineur`` is cheap and free of torch; the names below load their room when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affineur.artifact import describe
    from affineur.compress import KeepZeros, cast, distill, prune, prune_model, recover, train
    from affineur.errors import AffineurError
    from affineur.measure import compare, evaluate
    from affineur.pipeline import candidate, load, read_recipe, run
    from affineur.transfer import DataOptions, load_corpus, load_splits

__version__ = version("affineur")

_HOMES = {
    "affineur.artifact": ("describe",),
    "affineur.compress": ("KeepZeros", "cast", "distill", "prune", "prune_model", "recover", "train"),
    "affineur.errors": ("AffineurError",),
    "affineur.measure": ("compare", "evaluate"),
    "affineur.pipeline": ("candidate", "load", "read_recipe", "run"),
    "affineur.transfer": ("DataOptions", "load_corpus", "load_splits"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'affineur' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])


__all__ = [
    "AffineurError",
    "DataOptions",
    "KeepZeros",
    "candidate",
    "cast",
    "compare",
    "describe",
    "distill",
    "evaluate",
    "load",
    "load_corpus",
    "load_splits",
    "prune",
    "prune_model",
    "read_recipe",
    "recover",
    "run",
    "train",
]
