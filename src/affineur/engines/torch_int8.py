"""torch-int8: torch's dynamic quantization in memory, the guide's own way (§3B); the baseline to beat."""

from __future__ import annotations

from typing import Any

from affineur.engines.core.engine import Engine
from affineur.runtime import EngineTagger


class TorchInt8(Engine):
    """A model whose linear layers are quantized to eight bits while it is loaded, on the CPU."""

    name = "torch-int8"
    summary = "a model quantized by torch while it is loaded, the guide's own way to eight bits"
    prefixed = True
    in_memory = True

    def preload(self, rest: str) -> None:
        """Import torch and transformers."""
        import affineur.engines.support.torch  # noqa: F401

    def load(self, rest: str, *, device: str = "cpu", threads: int | None = None) -> EngineTagger:
        """Load and quantize a model folder."""
        from affineur.engines.support.torch import load_tagger

        return load_tagger(self.open(rest), device, int8=True, threads=threads)

    def serialized_size(self, tagger: Any) -> int:
        """Return the bytes that ``torch.save`` writes."""
        from affineur.engines.support.torch import serialized_size

        return serialized_size(tagger.model)


ENGINE = TorchInt8()
