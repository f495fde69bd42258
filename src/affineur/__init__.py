"""Turn a fine-tuned token classifier into the smallest, fastest one that passes your F1 bar, and prove it.

``import affineur`` is cheap and free of torch, and lets transformers load packed folders; the names below
load their room when they are first used. Every step is a function of its name (``affineur.prune``,
``affineur.trim_vocab`` …), those that another package adds included.
"""

import os
import sys

if sys.argv[:1] == ["-m"] and "affineur" in sys.orig_argv:
    # python -m affineur, which imports this before affineur_command can see to Ctrl-C; nobody's library
    from _signal import SIGINT, default_int_handler, getsignal, signal

    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, lambda *_: os._exit(130))

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from affineur.registration import register as _register

__version__ = version("affineur")

# ONNX Runtime tells Microsoft what it runs, from 1.29 on Linux too, unless this is set before it is first
# imported (its docs/Privacy.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
_register()  # so that transformers' from_pretrained loads packed folders; imports nothing

_HOMES = {
    "affineur.api.describing": "describe_data",
    "affineur.api.measuring": "evaluate compare benchmark check",
    "affineur.api.model": "Model load",
    "affineur.api.moving": "pull push",
    "affineur.api.searching": "run sweep search",
    "affineur.api.texts": "annotate",
    "affineur.api.trust": "verify",
    "affineur.artifact": "describe",
    "affineur.entities": "Corpus Entity",
    "affineur.errors": "AffineurError",
    "affineur.pipeline.recipe": "Recipe read_recipe",
    "affineur.runtime.redaction": "redact",
    "affineur.runtime.restoring": "restore",
    "affineur.steps.core.step": "Step",
    "affineur.steps.pruning.core.zeroing": "prune_model",
    "affineur.steps.training.mask": "KeepZeros",
    "affineur.transfer": "DataOptions Splits load_corpus load_splits",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
#: Our own steps; those of other packages are found by name too.
_STEPS = (
    "cast",
    "distill",
    "export",
    "pack",
    "prune",
    "quantize",
    "recover",
    "shrink",
    "train",
    "trim_vocab",
    "unpack",
)

__all__ = ["__version__", *_HOME_OF, *_STEPS]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    if name == "watch":  # a room whose names are its own: affineur.watch.estimate
        return import_module("affineur.watch")
    # A room that is about to be imported is asked for here first; only what is no module may be a step.
    if not name.startswith("_") and find_spec(f"affineur.{name}") is None:
        from affineur.steps.core.step import STEPS

        if (step := name.replace("_", "-")) in STEPS:
            from affineur.api.verbs import verb

            return verb(step)
    raise AttributeError(f"module 'affineur' has no attribute '{name}'")


def __dir__() -> list[str]:
    from affineur.steps.core.step import STEPS

    return sorted([*__all__, *(name.replace("-", "_") for name in STEPS)])
