"""What pruning did, matrix by matrix: the content of ``pruning_info.json``; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affineur.artifact import EXCLUDED, Matrix


@dataclass(frozen=True, slots=True)
class MatrixZeros:
    """Zeros of one pruned matrix, and the largest magnitude that became zero in it."""

    matrix: Matrix
    weights: int
    zeros: int
    size_bytes: int
    threshold: float


@dataclass(frozen=True, slots=True)
class PruningInfo:
    """What pruning did; :meth:`as_dict` is ``pruning_info.json``.

    Args:
        method: Name of the pruning method.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        requested: Requested sparsity in scope.
        max_layer_sparsity: Cap on the sparsity of one encoder layer, or ``None``.
        zeros_before: Zeros in scope before pruning; they stay.
        parameters: Parameters of the whole model.
        zeros_in_model: Zeros in the whole model, out of scope too.
        matrices: What became of each matrix in scope.
        calibration: ``name``, ``digest`` and ``sentences`` of the text the method was calibrated on, or
            ``None``.
    """

    method: str
    scope: str
    requested: float
    max_layer_sparsity: float | None
    zeros_before: int
    parameters: int
    zeros_in_model: int
    matrices: tuple[MatrixZeros, ...]
    calibration: dict[str, Any] | None = None

    @property
    def weights(self) -> int:
        """Weights in scope."""
        return sum(m.weights for m in self.matrices)

    @property
    def zeros(self) -> int:
        """Zeros in scope."""
        return sum(m.zeros for m in self.matrices)

    @property
    def achieved(self) -> float:
        """Zeros ÷ weights, in scope."""
        return self.zeros / self.weights

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``pruning_info.json``."""
        layers = sorted({m.matrix.layer for m in self.matrices})
        return {
            "method": self.method,
            "scope": self.scope,
            "excluded_modules": list(EXCLUDED),
            "requested_sparsity": self.requested,
            "achieved_sparsity": self.achieved,
            "sparsity_of_model": self.zeros_in_model / self.parameters,
            "max_layer_sparsity": self.max_layer_sparsity,
            "calibration": self.calibration,
            "threshold": max(m.threshold for m in self.matrices),
            "weights_in_scope": self.weights,
            "zeros_in_scope": self.zeros,
            "zeros_before": self.zeros_before,
            "parameters": self.parameters,
            "layers": [
                {
                    "layer": layer,
                    "weights": sum(m.weights for m in mine),
                    "zeros": sum(m.zeros for m in mine),
                    "sparsity": sum(m.zeros for m in mine) / sum(m.weights for m in mine),
                    "size_bytes": sum(m.size_bytes for m in mine),
                    "matrices": {
                        m.matrix.kind: {
                            "name": m.matrix.name,
                            "weights": m.weights,
                            "zeros": m.zeros,
                            "sparsity": m.zeros / m.weights,
                            "size_bytes": m.size_bytes,
                            "threshold": m.threshold,
                        }
                        for m in mine
                    },
                }
                for layer in layers
                for mine in [[m for m in self.matrices if m.matrix.layer == layer]]
            ],
        }
