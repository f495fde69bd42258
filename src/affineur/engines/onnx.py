"""onnx: ONNX Runtime on the CPU, without torch; graphs in full precision and in eight bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from affineur.engines.core.engine import Engine, on_cpu
from affineur.runtime import EngineTagger

if TYPE_CHECKING:
    from onnx import ModelProto


class Onnx(Engine):
    """An exported ONNX graph, only after its self-test passed on this CPU."""

    name = "onnx"
    summary = "exported graphs on ONNX Runtime, without torch"
    kinds = ("onnx",)
    exports = True

    def preload(self, rest: str) -> None:
        """Import ONNX Runtime."""
        import affineur.engines.support.onnx  # noqa: F401

    def load(self, rest: str, *, device: str = "cpu", threads: int | None = None) -> EngineTagger:
        """Load a graph and prove it."""
        from affineur.engines.support.onnx import load_onnx

        folder = self.open(rest)
        on_cpu(device, folder)
        return load_onnx(folder, threads)

    def write(self, graph: ModelProto, place: Path) -> None:
        """Write ``model.onnx``."""
        from affineur.engines.support.graphs import save_graph

        save_graph(graph, place)


ENGINE = Onnx()
