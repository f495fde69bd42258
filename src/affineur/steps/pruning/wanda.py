"""Wanda (Sun et al. 2023, arXiv 2306.11695): a weight matters as much as what it is multiplied with.

The score of a weight is ``|W_ij| · ‖X_j‖₂``, its magnitude times the norm of input feature *j* over some
text, and scores are compared within an output row only: each output keeps the inputs it draws most on. No
label and no gradient is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from affineur.errors import ParameterError
from affineur.steps.pruning.core.method import PruningMethod

if TYPE_CHECKING:
    import torch

    from affineur.artifact import Matrix
    from affineur.engines.support.torch_tagger import TorchTagger


class Wanda(PruningMethod):
    """Each output row loses the weights of least magnitude times norm of the input."""

    name = "wanda"
    summary = "each output ranked alone, by weight times input on a text"
    first = "least used weights first"
    needs_calibration = True

    def calibrate(
        self, tagger: TorchTagger, sentences: Sequence[Sequence[str]], scope: str
    ) -> dict[str, torch.Tensor]:
        """Measure the norm of each input feature: by tensor name, float64 of shape ``(in_features,)``."""
        from affineur.steps.pruning.core.norms import input_norms

        return input_norms(tagger, sentences, scope)

    def zero(self, weights: Sequence[torch.Tensor], k: int, statistics: Sequence[Any]) -> float:
        """Set the ``k`` weights of one matrix to zero that score lowest within their rows."""
        from affineur.steps.pruning.core.norms import zero_rows

        (weight,), (norms,) = weights, statistics
        return zero_rows(weight, norms, k)

    def checked(
        self, weights: Mapping[Matrix, torch.Tensor], statistics: Mapping[str, torch.Tensor] | None
    ) -> dict[Matrix, torch.Tensor]:
        """Check that there is a finite norm for each input feature of each matrix.

        Raises:
            ParameterError: If there is not.
            ModelError: If a weight is not a finite number.
        """
        found = super().checked(weights, statistics)
        for matrix, weight in weights.items():
            norms = found[matrix]
            if tuple(norms.shape) != tuple(weight.shape[1:]):
                raise ParameterError(
                    f"the statistics of {matrix.name} have the shape {tuple(norms.shape)}, "
                    f"expected {tuple(weight.shape[1:])}",
                    "statistics",
                )
            if not bool((norms.isfinite() & (norms >= 0)).all()):
                raise ParameterError(
                    f"the statistics of {matrix.name} must be finite norms, not negative", "statistics"
                )
            found[matrix] = norms.double()
        return found


METHOD = Wanda()
