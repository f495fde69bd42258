"""What a pruning method is: which weights matter least, and what it has to look at to know; no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from affineur.artifact import Matrix
from affineur.errors import ModelError, ParameterError
from affineur.registry import Registry

if TYPE_CHECKING:
    import torch

    from affineur.engines.support.torch_tagger import TorchTagger


class PruningMethod(ABC):
    """Chooses weights. One instance of a subclass is a method; its module calls it ``METHOD``.

    Attributes:
        name: What people type.
        summary: What it ranks by, in one line.
        first: What it takes away first, for the legend of a curve.
        together: Whether all matrices in scope are ranked together, and not each alone.
        needs_calibration: Whether it looks at text first (:meth:`calibrate`).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    first: ClassVar[str] = ""
    together: ClassVar[bool] = False
    needs_calibration: ClassVar[bool] = False

    @abstractmethod
    def zero(self, weights: Sequence[torch.Tensor], k: int, statistics: Sequence[Any]) -> float:
        """Set exactly ``k`` weights to zero, in place; weights that are zero already go first.

        Args:
            weights: Matrices of shape ``(out_features, in_features)`` that are ranked together: all in scope,
                or one.
            k: How many of their weights are zero afterwards, at most all.
            statistics: For each matrix what was measured of it, ``None`` where nothing is.

        Returns:
            The largest magnitude that became zero.
        """

    def calibrate(
        self, tagger: TorchTagger, sentences: Sequence[Sequence[str]], scope: str
    ) -> dict[str, torch.Tensor]:
        """Measure on text what the ranking needs.

        Args:
            tagger: The model, in float32.
            sentences: Words of each sentence.
            scope: Which matrices matter.

        Returns:
            By tensor name.
        """
        raise NotImplementedError(f"{self.name} needs calibration and does not say how")

    def checked(
        self, weights: Mapping[Matrix, torch.Tensor], statistics: Mapping[str, torch.Tensor] | None
    ) -> dict[Matrix, torch.Tensor]:
        """Check weights and statistics before anything is changed; return the statistics by matrix.

        Raises:
            ParameterError: If statistics are missing, or given though none are needed.
            ModelError: If a weight is not a finite number.
        """
        from affineur.steps.pruning.core.ranking import NOT_FINITE, all_finite

        if not self.needs_calibration and statistics is not None:
            raise ParameterError(
                "statistics are for methods that are calibrated, "
                f"but the method is '{self.name}'; leave them out",
                "statistics",
            )
        if self.needs_calibration and statistics is None:
            raise ParameterError(
                f"method '{self.name}' needs statistics of the model on a text; "
                "compute them with its calibrate()",
                "statistics",
            )
        if not all(map(all_finite, weights.values())):
            raise ModelError(NOT_FINITE)
        found = statistics or {}
        if missing := [m.name for m in weights if statistics is not None and m.name not in found]:
            raise ParameterError(
                f"the statistics lack {missing[0]}; compute them for the same model and scope", "statistics"
            )
        return {m: found[m.name] for m in weights if m.name in found}

    def would_lose(self, weights: Sequence[torch.Tensor], k: int) -> list[int]:
        """Count how many weights each matrix would lose if ``k`` of all went.

        Only methods that rank all together can tell.

        Raises:
            ParameterError: If the method cannot tell, so that no layer can be capped.
        """
        raise ParameterError(
            f"method '{self.name}' cannot cap single layers; leave max_layer_sparsity out",
            "max_layer_sparsity",
        )


def _check(given: object) -> None:
    if not isinstance(given, PruningMethod):
        raise TypeError("it gives something that is no PruningMethod")


#: Every pruning method there is.
METHODS: Registry[PruningMethod] = Registry(
    "affineur.pruning_methods", "affineur.steps.pruning", "METHOD", "pruning method", _check
)


def check_sparsity(sparsity: float, cap: float | None = None) -> None:
    """Check a sparsity and a cap on single layers, before any model is read.

    Raises:
        ParameterError: If one is out of range.
    """
    if not 0 <= sparsity < 1:
        raise ParameterError(
            f"sparsity {sparsity:g} is outside [0, 1): "
            "it is the share of weights set to zero, for example 0.15",
            "sparsity",
        )
    if cap is not None and not 0 < cap <= 1:
        raise ParameterError(f"max_layer_sparsity must be in (0, 1], got {cap:g}", "max_layer_sparsity")
    if cap is not None and sparsity > cap:
        raise ParameterError(
            f"sparsity {sparsity:g} cannot be reached when no layer may exceed {cap:g}; "
            "lower sparsity, or raise max_layer_sparsity",
            "max_layer_sparsity",
        )
