"""Affineur turns a fine-tuned token classifier into the smallest, fastest one that still passes your F1 bar.

And proves it.

``import affineur`` is cheap and free of torch, and lets transformers load packed folders; the names below
load their room when they are first used.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING

from affineur import lazy
from affineur.registration import register as _register

if TYPE_CHECKING:
    from affineur.artifact import describe
    from affineur.errors import AffineurError
    from affineur.measure import compare, evaluate
    from affineur.pipeline import candidate, load, read_recipe, run
    from affineur.steps import (
        KeepZeros,
        cast,
        distill,
        pack,
        prune,
        prune_model,
        recover,
        shrink,
        train,
        trim_vocabulary,
        unpack,
    )
    from affineur.steps.export import export
    from affineur.steps.quantize import quantize
    from affineur.transfer import DataOptions, load_corpus, load_splits

__version__ = version("affineur")

# ONNX Runtime tells Microsoft what it runs, from 1.29 on Linux too, unless this is set before it is first
# imported (its docs/Privacy.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
_register()  # so that transformers' from_pretrained loads packed folders; imports nothing

__getattr__, __dir__ = lazy.names(
    __name__,
    {
        "affineur.artifact": "describe",
        "affineur.steps": "KeepZeros cast distill pack prune prune_model recover shrink train trim_vocabulary unpack",
        "affineur.steps.export": "export",
        "affineur.steps.quantize": "quantize",
        "affineur.errors": "AffineurError",
        "affineur.measure": "compare evaluate",
        "affineur.pipeline": "candidate load read_recipe run",
        "affineur.transfer": "DataOptions load_corpus load_splits",
    },
)

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
    "export",
    "load",
    "load_corpus",
    "load_splits",
    "pack",
    "prune",
    "prune_model",
    "quantize",
    "read_recipe",
    "recover",
    "run",
    "shrink",
    "train",
    "trim_vocabulary",
    "unpack",
]
