"""From an exported artifact to a tagger, by the engine its files are for."""

from __future__ import annotations

from pathlib import Path

from affineur.artifact import ModelFolder, open_folder
from affineur.errors import ModelError
from affineur.runtime.tagger import EngineTagger


def load_exported(path: ModelFolder | Path | str, threads: int | None = None) -> EngineTagger:
    """Load an ONNX or OpenVINO artifact and prove it on this CPU.

    Raises:
        ModelError: If the folder is not a usable exported artifact, or its probe disagrees.
        MissingExtraError: If it is for OpenVINO and that is not installed.
    """
    folder = path if isinstance(path, ModelFolder) else open_folder(path)
    if folder.kind == "onnx":
        from affineur.engines.onnx import load_onnx

        return load_onnx(folder, threads)
    if folder.kind == "openvino":
        from affineur.engines.openvino import load_openvino

        return load_openvino(folder, threads)
    raise ModelError(
        f"{folder.path} is not exported ({folder.kind}); type: affineur export {folder.path} -o OUT"
    )
