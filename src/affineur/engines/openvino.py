"""openvino: OpenVINO on the CPU, without torch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from affineur.artifact.tensors import OPENVINO
from affineur.engines.core.engine import Engine, on_cpu
from affineur.errors import MissingExtraError
from affineur.runtime import EngineTagger

if TYPE_CHECKING:
    from onnx import ModelProto


class OpenVino(Engine):
    """A graph compiled by OpenVINO, only after its self-test passed on this CPU."""

    name = "openvino"
    summary = "exported graphs on OpenVINO, without torch"
    kinds = ("openvino",)
    exports = True

    def preload(self, rest: str) -> None:
        """Import OpenVINO."""
        import openvino  # noqa: F401

        import affineur.engines.support.openvino  # noqa: F401

    def load(self, rest: str, *, device: str = "cpu", threads: int | None = None) -> EngineTagger:
        """Compile a graph and prove it."""
        from affineur.engines.support.openvino import load_openvino

        folder = self.open(rest)
        on_cpu(device, folder)
        return load_openvino(folder, threads)

    def write(self, graph: ModelProto, place: Path) -> None:
        """Write ``openvino_model.xml`` and its ``.bin``."""
        try:
            import openvino
        except ModuleNotFoundError:
            raise MissingExtraError("export for openvino", "openvino") from None
        from affineur.engines.support.graphs import graph_bytes

        # Read from memory; left alone, it would be stored in half precision.
        model = openvino.convert_model(io.BytesIO(graph_bytes(graph)))
        openvino.save_model(model, place / OPENVINO, compress_to_fp16=False)


ENGINE = OpenVino()
