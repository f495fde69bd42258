"""The guide's §3B: torch with its linear layers quantized in memory, at every load."""

from __future__ import annotations

from dataclasses import replace

from affineur.engines.core.engine import Batched
from affineur.engines.core.facts import Facts
from affineur.engines.core.references import Reference
from affineur.engines.torch import Torch
from affineur.entities import Tagger


class TorchInt8(Torch):
    """A model with torch's dynamic quantization, which runs on the CPU whatever the device."""

    name = "torch-int8"
    summary = "torch's dynamic quantization in memory (guide §3B)"
    prefix = "torch-int8:"
    takes = Torch.kinds
    kinds = ()
    approximate = True

    def load(self, reference: Reference, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load a model folder and quantize it."""
        from affineur.engines.support.torch_tagger import load_tagger

        return load_tagger(reference.open(), device, int8=True, threads=threads)

    def serialized_size(self, tagger: Tagger) -> int:
        """Return the bytes of the quantized model, serialized."""
        from affineur.engines.support.torch_tagger import TorchTagger, serialized_size

        return serialized_size(tagger.model) if isinstance(tagger, TorchTagger) else 0

    def facts(self, reference: Reference, tagger: Tagger | None = None) -> Facts:
        """Say what is known of its folder; the size is that of the loaded model, 0 where it is not."""
        size = self.serialized_size(tagger) if tagger is not None else 0
        return replace(super().facts(reference, tagger), size_bytes=size, parts={})


ENGINE = TorchInt8()
