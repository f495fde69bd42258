"""torch: dense and packed models, on any device; what training and pruning start from."""

from __future__ import annotations

from affineur.engines.core.engine import Engine
from affineur.runtime import EngineTagger


class Torch(Engine):
    """A token classifier of transformers, in float32."""

    name = "torch"
    summary = "dense and packed models in full precision, on the CPU or a GPU"

    def preload(self, rest: str) -> None:
        """Import torch and transformers."""
        import affineur.engines.support.torch  # noqa: F401

    def load(self, rest: str, *, device: str = "cpu", threads: int | None = None) -> EngineTagger:
        """Load a model folder."""
        from affineur.engines.support.torch import load_tagger

        return load_tagger(self.open(rest), device, threads=threads)


ENGINE = Torch()
