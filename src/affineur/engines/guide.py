"""The guide's §6: torch in float32, on batches of 32 sentences as they come."""

from __future__ import annotations

from affineur.engines.core.engine import Batched
from affineur.engines.core.references import Reference
from affineur.engines.torch import Torch

_BATCH = 32


class Guide(Torch):
    """A model in the batches that the guide makes, unsorted: what most code does."""

    name = "guide"
    summary = "torch on batches of 32 as they come (guide §6)"
    prefix = "guide:"
    takes = Torch.kinds
    kinds = ()

    def load(self, reference: Reference, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load a model folder."""
        from affineur.engines.support.torch_tagger import load_tagger
        from affineur.runtime import FixedBatches

        return FixedBatches(load_tagger(reference.open(), device, threads=threads).whole(), _BATCH)


ENGINE = Guide()
