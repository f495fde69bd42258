"""torch, with transformers' own code: runs every model that is not exported; CPU and GPU."""

from __future__ import annotations

from typing import ClassVar

from affineur.engines.core.engine import Batched, Engine
from affineur.engines.core.references import Reference


class Torch(Engine):
    """A model as transformers builds it, in float32."""

    name = "torch"
    summary = "torch and transformers, as the model was trained"
    kinds: ClassVar[tuple[str, ...]] = ("transformers", "packed")

    def preload(self, reference: Reference) -> None:
        """Import torch and transformers."""
        import affineur.engines.support.torch_tagger  # noqa: F401

    def load(self, reference: Reference, *, device: str = "cpu", threads: int | None = None) -> Batched:
        """Load a model folder."""
        from affineur.engines.support.torch_tagger import load_tagger

        return load_tagger(reference.open(), device, threads=threads)


ENGINE = Torch()
