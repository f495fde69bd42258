"""Global magnitude: all weights in scope ranked together (Han et al. 2015, arXiv 1506.02626; guide §2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from affineur.steps.pruning.core.method import PruningMethod

if TYPE_CHECKING:
    import torch

    from affineur.artifact import Matrix


class Magnitude(PruningMethod):
    """The smallest magnitudes go, wherever they are."""

    name = "magnitude"
    summary = "all weights in scope ranked together by magnitude"
    first = "smallest weights first"
    together = True

    def zero(self, weights: Sequence[torch.Tensor], k: int, statistics: Sequence[Any]) -> float:
        """Set the ``k`` smallest to zero."""
        from affineur.steps.pruning.core.ranking import zero_smallest

        return zero_smallest(weights, k)

    def checked(
        self, weights: Mapping[Matrix, torch.Tensor], statistics: Mapping[str, torch.Tensor] | None
    ) -> dict[Matrix, torch.Tensor]:
        """Refuse statistics; the ranking itself meets numbers that are not finite, before any change."""
        return {} if statistics is None else super().checked(weights, statistics)

    def would_lose(self, weights: Sequence[torch.Tensor], k: int) -> list[int]:
        """Count how many of the ``k`` smallest each matrix has."""
        from affineur.steps.pruning.core.ranking import would_lose

        return would_lose(weights, k)


METHOD = Magnitude()
