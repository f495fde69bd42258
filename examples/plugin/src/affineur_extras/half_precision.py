"""An engine: a model computed in bfloat16 on torch, asked for as ``torch-bf16:MODEL``."""

from __future__ import annotations

from typing import Any

from affineur.engines.core.engine import Engine
from affineur.runtime import EngineTagger


class TorchHalf(Engine):
    """A model whose weights are made bfloat16 while it is loaded."""

    name = "torch-bf16"
    summary = "a model in bfloat16 on torch"
    prefixed = True
    in_memory = True

    def preload(self, rest: str) -> None:
        """Import torch and transformers."""
        import affineur.engines.support.torch  # noqa: F401

    def load(self, rest: str, *, device: str = "cpu", threads: int | None = None) -> EngineTagger:
        """Load a model folder."""
        import torch

        from affineur.engines.support.torch import load_tagger

        tagger = load_tagger(self.open(rest), device, threads=threads)
        tagger.model.to(torch.bfloat16)
        return tagger

    def serialized_size(self, tagger: Any) -> int:
        """Return the bytes that ``torch.save`` writes."""
        from affineur.engines.support.torch import serialized_size

        return serialized_size(tagger.model)


ENGINE = TorchHalf()
