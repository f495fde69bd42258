"""A pruning method: weights go by lot. The baseline that any other method has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affineur.steps.pruning.core.method import PruningMethod

if TYPE_CHECKING:
    import torch


class Random(PruningMethod):
    """Each matrix loses its share of the weights, chosen by lot; zeros that are there already stay."""

    name = "random"
    summary = "weights of each matrix chosen by lot, the baseline to beat"

    def zero(self, weights: Sequence[torch.Tensor], k: int, statistics: Sequence[Any]) -> float:
        """Set ``k`` weights to zero, those that are zero already first."""
        import torch

        (weight,) = weights
        chance = torch.rand(weight.shape, generator=torch.Generator().manual_seed(13))
        chance[weight == 0] = -1
        doomed = chance.flatten().argsort(stable=True)[:k]
        flat = weight.view(-1)
        largest = float(flat[doomed].abs().max()) if k else 0.0
        flat[doomed] = 0
        return largest


METHOD = Random()
