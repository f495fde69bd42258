"""The mask: which weights stay zero while a pruned model learns.

Masking gradients is not enough: AdamW's momentum still moves pruned weights. The mask is applied to the
weights after every optimizer step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from affineur.artifact import in_scope
from affineur.errors import ModelError


class Mask:
    """Remembers the zeros a model has in scope now.

    Args:
        model: The model, already pruned.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
    """

    def __init__(self, model: nn.Module, scope: str = "attention+ffn") -> None:
        parameters = dict(model.named_parameters())
        self._zeros = {m.name: parameters[m.name].detach() == 0 for m in in_scope(list(parameters), scope)}

    def __len__(self) -> int:
        """Return how many weights stay zero."""
        return sum(int(zeros.sum()) for zeros in self._zeros.values())

    def apply(self, model: nn.Module) -> None:
        """Set the remembered weights of ``model`` to zero, in place."""
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, zeros in self._zeros.items():
                parameters[name].masked_fill_(zeros.to(parameters[name].device), 0)

    def check(self, model: nn.Module) -> None:
        """Check that every remembered weight of ``model`` is zero.

        Raises:
            ModelError: If one is not.
        """
        parameters = dict(model.named_parameters())
        for name, zeros in self._zeros.items():
            if moved := int(parameters[name].detach().cpu()[zeros.cpu()].count_nonzero()):
                raise ModelError(f"{moved} pruned weights of {name} are no longer zero")


class KeepZeros(TrainerCallback):
    """Keeps the zeros of a pruned model while ``transformers.Trainer`` fine-tunes it.

    Add it to the Trainer of the guide's §5, ``callbacks=[KeepZeros(model)]``, and the rest stays as it is.

    Args:
        model: The pruned model, before training.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
    """

    def __init__(self, model: nn.Module, scope: str = "attention+ffn") -> None:
        self.mask = Mask(model, scope)

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, model: nn.Module | None = None, **kwargs: Any
    ) -> None:
        """Apply the mask: called by the Trainer after each ``optimizer.step()``."""
        if model is not None:
            self.mask.apply(model)
