"""guide: the guide's own way to run a model (§6): torch in float32, unsorted batches of 32."""

from __future__ import annotations

from affineur.engines.core.engine import Engine
from affineur.runtime import FixedBatches

_BATCH = 32


class Guide(Engine):
    """A model run as the guide's ``predict_batch`` does."""

    name = "guide"
    summary = "a model in unsorted batches of 32 on torch, as the guide runs it"
    prefixed = True

    def preload(self, rest: str) -> None:
        """Import torch and transformers."""
        import affineur.engines.support.torch  # noqa: F401

    def load(self, rest: str, *, device: str = "cpu", threads: int | None = None) -> FixedBatches:
        """Load a model folder."""
        from affineur.engines.support.torch import load_tagger

        return FixedBatches(load_tagger(self.open(rest), device, threads=threads).whole(), _BATCH)


ENGINE = Guide()
