"""Plain safetensors, as ``save_pretrained`` of transformers writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affineur.artifact.formats.core.format import Format
from affineur.artifact.tensors import Tensor, safetensors_files, tensors
from affineur.errors import ModelError

if TYPE_CHECKING:
    from affineur.artifact.folder import ModelFolder


class Dense(Format):
    """Safetensors, in one file or in several with an index."""

    kind = "transformers"
    summary = "safetensors, as transformers writes them"
    extra = "compress"

    def weight_files(self, folder: Path) -> list[Path]:
        """List the safetensors."""
        return safetensors_files(folder)

    def marks(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Say whether there are safetensors that no other format has a use for: it is asked last."""
        return False

    def holds(self, name: str) -> bool:
        """Say whether it is the file, or one of several."""
        return name.startswith("model") and name.endswith(".safetensors")

    def tensors(self, folder: Path) -> list[Tensor]:
        """List the tensors of all files, by name."""
        return tensors(folder)

    def check(self, folder: ModelFolder, tensors: Sequence[Tensor]) -> None:
        """Check that no tensor is packed: ``config.json`` would say so.

        Raises:
            ModelError: If one is.
        """
        packed_in(folder, tensors, 0)


def packed_in(folder: ModelFolder, tensors: Sequence[Tensor], said: int) -> None:
    """Check how many tensors of a folder are packed.

    Args:
        folder: The folder.
        tensors: Its tensors.
        said: How many its ``config.json`` speaks of.

    Raises:
        ModelError: If there are more or fewer.
    """
    found = sum(tensor.packed is not None for tensor in tensors)
    if found != said:
        raise ModelError(
            f"{folder.path} has {found} packed tensors, but its config.json speaks of {said}; "
            "its files do not belong together: fetch or pack it again"
        )


FORMAT = Dense()
