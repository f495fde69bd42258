"""Telling transformers about packed folders, without importing it: cheap and free of torch.

transformers looks a checkpoint's ``quant_method`` up in two tables of ``transformers.quantizers.auto``. Ours
is entered there when that module is imported, now or later, whichever of the two packages comes first; what
the entries stand for (:mod:`affineur.engines.support.packed_checkpoint`) is imported when a packed folder is
really loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_AUTO = "transformers.quantizers.auto"
_METHOD = "affineur_packed"  # affineur.artifact.packed.PACKED, without its numpy


class _Later:
    """Stands for a class of :mod:`affineur.engines.support.packed_checkpoint` until it is called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _it(self) -> Any:
        return getattr(import_module("affineur.engines.support.packed_checkpoint"), self._name)

    def __call__(self, *words: Any, **options: Any) -> Any:
        return self._it()(*words, **options)

    def from_dict(self, *words: Any, **options: Any) -> Any:
        return self._it().from_dict(*words, **options)


class _Watcher:
    """A finder that finds nothing: it lets the others find transformers' table and adds a line to it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _AUTO:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((s for f in others if (s := f.find_spec(name, path, target)) is not None), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_enter(module: ModuleType) -> None:
                run(module)
                if module.__name__ == _AUTO:  # a loader may be shared
                    _enter(module)

            spec.loader.exec_module = run_and_enter  # type: ignore[method-assign]
        return spec


def _enter(auto: ModuleType) -> None:
    auto.AUTO_QUANTIZATION_CONFIG_MAPPING.setdefault(_METHOD, _Later("PackedConfig"))
    auto.AUTO_QUANTIZER_MAPPING.setdefault(_METHOD, _Later("PackedQuantizer"))


def register() -> None:
    """Make ``from_pretrained`` of transformers load packed folders; once is enough, again does no harm."""
    if not any(
        type(finder).__name__ == _Watcher.__name__ and type(finder).__module__ == __name__
        for finder in sys.meta_path
    ):
        sys.meta_path.insert(0, _Watcher())
    if _AUTO in sys.modules:
        _enter(import_module(_AUTO))  # waits where another thread is still importing it
