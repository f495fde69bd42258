"""A graph of ONNX operators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affineur.artifact.formats.core.external import external_files
from affineur.artifact.formats.core.graph import GraphFormat
from affineur.artifact.formats.core.outputs import output_width
from affineur.artifact.published import GRAPH, lies_at
from affineur.errors import ModelError

if TYPE_CHECKING:
    from affineur.artifact.folder import ModelFolder
    from affineur.artifact.tensors import Tensor


class Onnx(GraphFormat):
    """``model.onnx``, with the constants beside it where one file cannot hold them, by any name.

    A folder that came from the Hub may have them in ``onnx/`` (see :mod:`affineur.artifact.published`).
    """

    kind = "onnx"
    summary = "an ONNX graph"
    library = "onnxruntime"
    files = (GRAPH, "model.onnx.data", "model.onnx_data")

    def file(self, folder: Path, name: str) -> Path:
        """Look for it in ``onnx/`` too."""
        return lies_at(folder, name)

    def weight_files(self, folder: Path) -> list[Path]:
        """List the graph, what lies beside it under a name of ours, and whatever else it keeps weights in."""
        known = super().weight_files(folder)
        others = [file for file in external_files(known[0]) if file not in known] if known else []
        for file in others:
            if not file.is_file():
                raise ModelError(
                    f"{known[0]} keeps weights in {file.name}, which is not there; the model is incomplete"
                )
        return known + others

    def check(self, folder: ModelFolder, tensors: Sequence[Tensor]) -> None:
        """Check that the graph gives as many numbers for each piece as there are labels, where it says so.

        Raises:
            ModelError: If it gives more or fewer.
        """
        graph = self.graph(folder.path)
        width = output_width(graph)
        if width is not None and width != len(folder.labels):
            raise ModelError(
                f"{graph} gives logits of shape (sequences, pieces, {width}), but config.json names "
                f"{len(folder.labels)} labels; they do not belong together"
            )

    def named(self, file: Path) -> str:
        """Call a graph by the one name that it has in every artifact."""
        return GRAPH if file.suffix == Path(GRAPH).suffix else file.name


FORMAT = Onnx()
