"""Safetensors without zeros, marked in ``config.json`` (``docs/packed-format.md``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affineur.artifact.formats.dense import Dense, packed_in
from affineur.artifact.packed import PACKED, read_format

if TYPE_CHECKING:
    from affineur.artifact.folder import ModelFolder
    from affineur.artifact.tensors import Tensor


class Packed(Dense):
    """Safetensors in which matrices are packed: a bitmask, and the values that are not zero."""

    kind = "packed"
    summary = "safetensors without zeros, lossless; transformers loads them after import affineur"

    def marks(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Say whether ``config.json`` says that tensors are packed."""
        said = config.get("quantization_config")
        return isinstance(said, dict) and said.get("quant_method") == PACKED

    def check(self, folder: ModelFolder, tensors: Sequence[Tensor]) -> None:
        """Check that as many tensors are packed as ``config.json`` says.

        Raises:
            ModelError: If there are more or fewer.
        """
        packed_in(folder, tensors, read_format(folder.config["quantization_config"]))


FORMAT = Packed()
