"""The guide's §2 table for any model folder, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from affineur.artifact.exported import read_export_info
from affineur.artifact.folder import ModelFolder, State, folder_state, open_folder
from affineur.artifact.manifest import Manifest, read_manifest, verify
from affineur.artifact.scope import PARTS, Matrix, matrix_of, part_of
from affineur.artifact.soundness import refuse_strange_numbers
from affineur.display import Shown, Table, megabytes


@dataclass(frozen=True, slots=True)
class MatrixInfo:
    """Weights and zeros of one matrix in scope."""

    matrix: Matrix
    weights: int
    zeros: int
    size_bytes: int


@dataclass(frozen=True, slots=True, repr=False)
class ModelInfo(Shown):
    """What can be said of a model by looking at its folder; ``print`` and a notebook show it.

    Args:
        folder: The folder.
        manifest: Its manifest, if it has one.
        parameters: Number of parameters.
        nonzero: Number of parameters that are not zero.
        dtypes: Data types of the weights, as safetensors names them.
        matrices: Matrices in scope, by layer.
        parts: Bytes of embeddings, encoder and head.
        precision: How an exported graph stores matrices and scales activations, for people; empty for other
            folders.
    """

    folder: ModelFolder
    manifest: Manifest | None
    parameters: int
    nonzero: int
    dtypes: tuple[str, ...]
    matrices: tuple[MatrixInfo, ...]
    parts: dict[str, int]
    precision: str = ""

    @property
    def weights_in_scope(self) -> int:
        """Weights in scope: attention and feed-forward matrices."""
        return sum(m.weights for m in self.matrices)

    @property
    def zeros_in_scope(self) -> int:
        """Zeros in scope."""
        return sum(m.zeros for m in self.matrices)

    @property
    def sparsity(self) -> float:
        """Zeros ÷ weights, in scope."""
        return self.zeros_in_scope / self.weights_in_scope if self.weights_in_scope else 0.0

    @property
    def size_bytes(self) -> int:
        """Bytes of the model's files."""
        return self.folder.size_bytes

    def by_layer(self) -> dict[int, float]:
        """Return the sparsity of each encoder layer, in scope."""
        layers = sorted({m.matrix.layer for m in self.matrices})
        return {layer: _sparsity([m for m in self.matrices if m.matrix.layer == layer]) for layer in layers}

    def as_dict(self) -> dict[str, Any]:
        """Return stable keys for ``info --json``."""
        manifest = self.manifest
        return {
            "model": str(self.folder.path),
            "kind": self.folder.kind,
            "architecture": (self.folder.config.get("architectures") or ["?"])[0],
            "layers": self.folder.layers,
            "hidden_size": self.folder.config.get("hidden_size") or self.folder.config.get("dim"),
            "attention_heads": self.folder.config.get("num_attention_heads")
            or self.folder.config.get("n_heads"),
            "parameters": self.parameters,
            "nonzero_parameters": self.nonzero,
            "sparsity": self.sparsity,
            "sparsity_of_model": 1 - self.nonzero / self.parameters if self.parameters else 0.0,
            "weights_in_scope": self.weights_in_scope,
            "zeros_in_scope": self.zeros_in_scope,
            "sparsity_by_layer": {str(k): v for k, v in self.by_layer().items()},
            "sparsity_by_matrix": {
                m.matrix.name: m.zeros / m.weights if m.weights else 0.0 for m in self.matrices
            },
            "labels": list(self.folder.labels),
            "size_bytes": self.folder.size_bytes,
            "size_by_part": self.parts,
            "dtypes": list(self.dtypes),
            "precision": self.precision or None,
            "digest": self.folder.digest(),
            "stage": manifest.stage if manifest else None,
            "format": manifest.format if manifest else None,
            "version": _version_of(manifest) if manifest else None,
            "lineage": [{"stage": p.stage, "name": p.name, "digest": p.digest} for p in manifest.parents]
            if manifest
            else [],
        }

    @property
    def summary(self) -> str:
        """What it is, and how large."""
        return (
            f"{self.folder.path.name}, {self.folder.layers} layers, {self.parameters:,} parameters, "
            f"{megabytes(self.folder.size_bytes)}, sparsity {self.sparsity:.2%} in scope"
        )

    def tables(self) -> list[Table]:
        """Return what is shown."""
        return [Table(("Aspect", "Details"), self.rows(), words=("Details",))]

    def rows(self) -> list[list[str]]:
        """Write the guide's §2 table, one row per aspect."""
        facts, config, labels = self.as_dict(), self.folder.config, self.folder.labels
        stored = self.precision or ", ".join(self.dtypes)
        rows = [
            ["Model", f"{self.folder.path.resolve().name} ({facts['architecture']})"],
            ["Layers", f"{facts['layers']} encoder layers"],
            [
                "Hidden size",
                f"{facts['hidden_size']}, {facts['attention_heads']} attention heads per layer, vocabulary "
                f"{config.get('vocab_size') or 0:,}",
            ],
            ["Parameters", f"{self.parameters:,} ({self.nonzero:,} not zero)"],
            ["Labels", f"{len(labels)}: {', '.join(labels)}"],
            ["Size", f"{megabytes(self.folder.size_bytes)} ({stored})"],
            [
                "Sparsity",
                f"{self.sparsity:.2%} of attention and feed-forward weights, "
                f"{facts['sparsity_of_model']:.2%} of "
                "the whole model",
            ],
            [
                "Scope",
                f"{self.weights_in_scope:,} weights; excluded: embeddings, LayerNorm, biases, classifier",
            ],
        ]
        if self.sparsity >= 0.001:  # half precision alone rounds a few weights to zero
            by_layer = [f"{layer}: {share:.1%}" for layer, share in self.by_layer().items()]
            rows.append(["Sparsity by layer", ", ".join(by_layer)])
        if self.manifest:
            version = f"affineur {facts['version']}, format {facts['format']}"
            rows.append(["Made by", f"{self.manifest.stage}, {version}"])
            rows += [
                ["Parent" if place == 0 else "", f"{p['stage']}: {p['name']} ({p['digest'][:12]})"]
                for place, p in enumerate(facts["lineage"])
            ]
        return [*rows, ["Digest", facts["digest"]]]


def describe(path: ModelFolder | Path | str) -> ModelInfo:
    """Look at a model folder; its weights are counted once, as long as none of its files changes.

    Raises:
        ModelError: If it is not a usable model folder, or a file is not what its manifest says.
    """
    folder = path if isinstance(path, ModelFolder) else open_folder(path)
    verify(folder.path)
    return _described(folder.path, folder_state(folder.path))


@lru_cache(maxsize=16)
def _described(path: Path, _state: State) -> ModelInfo:
    """Count the weights of a folder; ``_state`` makes the cache forget it when a file of it changes."""
    folder, manifest = open_folder(path), read_manifest(path)
    if folder.is_graph:
        return _describe_exported(folder, manifest)
    listed = folder.tensors()
    counted = {t.name: t.counts() for t in listed}
    refuse_strange_numbers({name: strange for name, (_, strange) in counted.items() if strange}, path)
    zeros = {name: none for name, (none, _) in counted.items()}
    matrices = sorted(
        (MatrixInfo(m, t.elements, zeros[t.name], t.size_bytes) for t in listed if (m := matrix_of(t.name))),
        key=lambda i: i.matrix,
    )
    parameters = sum(t.elements for t in listed)
    parts = {part: sum(t.size_bytes for t in listed if part_of(t.name) == part) for part in PARTS}
    dtypes = tuple(sorted({t.dtype for t in listed}))
    return ModelInfo(
        folder, manifest, parameters, parameters - sum(zeros.values()), dtypes, tuple(matrices), parts
    )


def _describe_exported(folder: ModelFolder, manifest: Manifest | None) -> ModelInfo:
    """Take it from what the export wrote down; of a graph that others exported only the size is known."""
    found = read_export_info(folder.path)
    if found is None:
        return ModelInfo(folder, manifest, 0, 0, (), (), {})
    # Bytes of a single matrix inside the graph are not told: they would say nothing that the parts do not.
    matrices = tuple(
        sorted(
            (MatrixInfo(m, weights, zeros, 0) for m, weights, zeros in found.scope()), key=lambda i: i.matrix
        )
    )
    return ModelInfo(
        folder,
        manifest,
        found.parameters,
        found.nonzero,
        found.dtypes,
        matrices,
        dict(found.parts),
        found.precision,
    )


def _version_of(manifest: Manifest) -> str | None:
    libraries = manifest.environment.get("libraries")
    return libraries.get("affineur") if isinstance(libraries, dict) else None


def _sparsity(matrices: list[MatrixInfo]) -> float:
    weights = sum(m.weights for m in matrices)
    return sum(m.zeros for m in matrices) / weights if weights else 0.0
