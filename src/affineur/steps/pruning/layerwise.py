"""Layerwise magnitude: each matrix is ranked alone, and loses its share of the zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affineur.steps.pruning.core.method import PruningMethod

if TYPE_CHECKING:
    import torch


class Layerwise(PruningMethod):
    """The smallest magnitudes of each matrix go."""

    name = "layerwise"
    summary = "each matrix ranked alone by magnitude"
    first = "smallest weights of each matrix first"

    def zero(self, weights: Sequence[torch.Tensor], k: int, statistics: Sequence[Any]) -> float:
        """Set the ``k`` smallest to zero."""
        from affineur.steps.pruning.core.ranking import zero_smallest

        return zero_smallest(weights, k)


METHOD = Layerwise()
