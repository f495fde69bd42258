"""Formats of graphs that one engine computes: some files, and nothing to be told of single tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from affineur.artifact.formats.core.format import Format
from affineur.artifact.tensors import safetensors_files


class GraphFormat(Format):
    """A graph, which stands for the model only where no safetensors lie beside it."""

    is_graph = True
    #: Names of its files: the graph itself, and what may lie beside it.
    files: ClassVar[tuple[str, ...]]

    def graph(self, folder: Path) -> Path:
        """Return where the graph of a folder lies."""
        return self.file(folder, self.files[0])

    def file(self, folder: Path, name: str) -> Path:
        """Return where one of its files lies in a folder."""
        return folder / name

    def weight_files(self, folder: Path) -> list[Path]:
        """List the graph and what lies beside it."""
        if not self.graph(folder).is_file():
            return []
        return [file for name in self.files if (file := self.file(folder, name)).is_file()]

    def marks(self, folder: Path, config: Mapping[str, Any]) -> bool:
        """Say whether there is a graph, and no safetensors."""
        return self.graph(folder).is_file() and not safetensors_files(folder)

    def holds(self, name: str) -> bool:
        """Say whether it is one of its files."""
        return name in self.files
