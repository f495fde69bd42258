"""An engine: a model computed in bfloat16 on torch, asked for as ``torch-bf16:MODEL``."""

from __future__ import annotations

from typing import Any

from affineur.engines.core.engine import Engine
from affineur.engines.core.references import Reference
from affineur.runtime import EngineTagger


class TorchHalf(Engine):
    """A model whose weights are made bfloat16 while it is loaded."""

    name = "torch-bf16"
    prefix = "torch-bf16:"
    summary = "a model in bfloat16 on torch"
    takes = ("transformers", "packed")
    approximate = True

    def preload(self, reference: Reference) -> None:
        """Import torch and transformers."""
        import affineur.engines.support.torch_tagger  # noqa: F401

    def load(self, reference: Reference, *, device: str = "cpu", threads: int | None = None) -> EngineTagger:
        """Load a model folder."""
        import torch

        from affineur.engines.support.torch_tagger import load_tagger

        tagger = load_tagger(reference.open(), device, threads=threads)
        tagger.model.to(torch.bfloat16)
        return tagger

    def serialized_size(self, tagger: Any) -> int:
        """Return the bytes that ``torch.save`` writes."""
        from affineur.engines.support.torch_tagger import serialized_size

        return serialized_size(tagger.model)


ENGINE = TorchHalf()
