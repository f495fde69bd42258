"""A tagger on OpenVINO, behind the same interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affineur.artifact import ModelFolder, open_folder
from affineur.artifact.formats.openvino import FORMAT
from affineur.engines.core.proof import proved
from affineur.engines.core.threads import usable_threads
from affineur.engines.support.graph_inputs import INPUTS, fitting
from affineur.errors import MissingExtraError, ModelError, one_line
from affineur.runtime.batches import DEFAULT_BUDGET
from affineur.runtime.prediction import Logits
from affineur.runtime.tagger import EngineTagger
from affineur.runtime.windows import Encoder


class OpenVinoTagger(EngineTagger):
    """Tags words with a compiled OpenVINO model.

    Args:
        compiled: The model, compiled.
        encoder: Cuts words into windows of pieces.
        labels: Labels in the order of the outputs.
        budget: Padded tokens in one batch.

    Raises:
        ModelError: If the graph wants inputs that are not pieces.
    """

    def __init__(
        self, compiled: Any, encoder: Encoder, labels: Sequence[str], budget: int = DEFAULT_BUDGET
    ) -> None:
        super().__init__(encoder, labels, budget)
        self.compiled = compiled
        self._request = compiled.create_infer_request()
        self._names = [port.get_any_name() for port in compiled.inputs]
        if strange := sorted(set(self._names).difference(INPUTS)):
            raise ModelError(f"the OpenVINO graph wants {', '.join(strange)}, expected {', '.join(INPUTS)}")

    @property
    def threads(self) -> int:
        """Threads of the engine."""
        return int(self.compiled.get_property("INFERENCE_NUM_THREADS"))

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Logits:
        """Compute logits of shape ``(sequences, longest, labels)``.

        Raises:
            ModelError: If the graph cannot take the pieces, or gives other than one number a label.
        """
        known = {"input_ids": ids, "attention_mask": mask}
        try:
            logits: Logits = self._request.infer(
                {name: known.get(name, np.zeros_like(ids)) for name in self._names}
            )[0]
        except RuntimeError as error:
            raise ModelError(
                f"the OpenVINO graph fails on {len(ids)} × {ids.shape[1]} pieces ({one_line(error)}); "
                "export it again"
            ) from None
        return fitting(logits, ids, self.labels)


def compile_graph(graph: Any, threads: int | None = None) -> Any:
    """Compile an OpenVINO model, or its file, for the CPU in full precision.

    Left alone, OpenVINO takes bf16 where it can.

    Args:
        graph: The model, or its file.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If OpenVINO cannot.
        MissingExtraError: If OpenVINO is not installed.
    """
    try:
        import openvino
    except ModuleNotFoundError:
        raise MissingExtraError("an OpenVINO model", "openvino") from None
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or usable_threads(),
    }
    try:
        return openvino.Core().compile_model(graph, "CPU", settings)
    except RuntimeError as error:
        raise ModelError(
            f"{graph} cannot be compiled by OpenVINO ({one_line(error)}); fetch or export it again"
        ) from None


def load_openvino(path: ModelFolder | Path | str, threads: int | None = None) -> OpenVinoTagger:
    """Load an OpenVINO artifact and prove it on this CPU.

    Args:
        path: The artifact.
        threads: Threads of the engine; ``None`` for one per usable processor.

    Raises:
        ModelError: If the folder is not a usable OpenVINO artifact, a file is not what its manifest says, or
            the self-test disagrees.
        MissingExtraError: If OpenVINO is not installed.
    """
    folder = path if isinstance(path, ModelFolder) else open_folder(path)

    def load() -> OpenVinoTagger:
        compiled = compile_graph(str(FORMAT.graph(folder.path)), threads)
        return OpenVinoTagger(compiled, Encoder.from_folder(folder.path, folder.config), folder.labels)

    return proved(folder, load)
