"""Pruning a model in memory: which matrices are ranked together, what each loses, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from affineur.artifact import Matrix, in_scope
from affineur.steps.pruning.core.info import MatrixZeros, PruningInfo
from affineur.steps.pruning.core.method import METHODS, PruningMethod, check_sparsity
from affineur.steps.pruning.core.ranking import one_thread, zeros


def prune_model(
    model: nn.Module,
    *,
    sparsity: float,
    method: str | PruningMethod = "magnitude",
    scope: str = "attention+ffn",
    max_layer_sparsity: float | None = None,
    statistics: Mapping[str, Any] | None = None,
) -> PruningInfo:
    """Set the least important weights in scope to zero, in place, keeping dtype and device.

    Exactly ``round(sparsity × weights in scope)`` weights are zero afterwards, those that were zero before
    included (a model, or with ``layerwise`` a matrix, or with ``wanda`` an output row, that already has more
    keeps them all). Ties at the threshold go by layer, matrix and position. Matrices ranked alone share the
    zeros in proportion to their size, by largest remainder.

    Args:
        model: The model.
        sparsity: Zeros ÷ weights in scope, in [0, 1).
        method: A pruning method, or its name.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        max_layer_sparsity: No encoder layer loses more than this share of its weights in scope (one weight
            more where whole weights allow the sparsity in no other way); what one may not lose the others do.
            Global ranking otherwise over-prunes layers whose weights are small.
        statistics: For a method that is calibrated, and for it alone: by tensor name what it measured
            (:meth:`~affineur.steps.pruning.core.method.PruningMethod.calibrate`).

    Raises:
        ParameterError: If a value is out of range, the cap is below the sparsity, or the statistics do not
            fit the method or the model.
        ModelError: If a weight in scope is not a number.
    """
    check_sparsity(sparsity, max_layer_sparsity)
    name = method if isinstance(method, str) else method.name
    how = METHODS.get(method, "method") if isinstance(method, str) else method
    parameters = dict(model.named_parameters())
    matrices = in_scope(list(parameters), scope)
    # A weight that was transposed in memory has no flat view: it is pruned as a copy, and copied back.
    weights = {m: parameters[m.name].detach().contiguous() for m in matrices}
    ranked = {m.name for m in matrices}
    thresholds: dict[Matrix, float] = {}
    with one_thread():
        known = how.checked(weights, statistics)
        elsewhere = sum(zeros(p.detach()) for name, p in parameters.items() if name not in ranked)
        before = {m: zeros(w) for m, w in weights.items()}
        for group, k in _quotas(weights, before, sparsity, how, max_layer_sparsity):
            threshold = how.zero([weights[m] for m in group], k, [known.get(m) for m in group])
            thresholds.update(dict.fromkeys(group, threshold))
            for m in group:
                if not parameters[m.name].is_contiguous():
                    parameters[m.name].detach().copy_(weights[m])
        pruned = tuple(
            MatrixZeros(m, w.numel(), zeros(w), w.numel() * w.element_size(), thresholds[m])
            for m, w in weights.items()
        )
    total = sum(p.numel() for p in parameters.values())
    everywhere = elsewhere + sum(m.zeros for m in pruned)
    return PruningInfo(
        name, scope, sparsity, max_layer_sparsity, sum(before.values()), total, everywhere, pruned
    )


def _quotas(
    weights: Mapping[Matrix, torch.Tensor],
    before: Mapping[Matrix, int],
    sparsity: float,
    method: PruningMethod,
    cap: float | None,
) -> list[tuple[list[Matrix], int]]:
    """Split the matrices into groups ranked together, and say how many weights each group loses."""
    total = round(sparsity * sum(w.numel() for w in weights.values()))
    if not method.together:
        return [
            ([m], k)
            for m, k in zip(weights, _shares([w.numel() for w in weights.values()], total), strict=True)
        ]
    if cap is None:
        return [(list(weights), total)]
    return _capped(weights, before, total, cap, method)


def _shares(sizes: list[int], total: int) -> list[int]:
    """Share ``total`` among sizes in proportion, by largest remainder, so that the sum is exact."""
    whole = sum(sizes)
    shares = [size * total // whole for size in sizes]
    remainders = sorted(range(len(sizes)), key=lambda i: (-(sizes[i] * total % whole), i))
    for i in remainders[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _capped(
    weights: Mapping[Matrix, torch.Tensor],
    before: Mapping[Matrix, int],
    total: int,
    cap: float,
    method: PruningMethod,
) -> list[tuple[list[Matrix], int]]:
    """Fix at the cap what ranking all together would prune beyond it, and rank the other layers again."""
    free = {layer: [m for m in weights if m.layer == layer] for layer in sorted({m.layer for m in weights})}
    limit = {layer: int(cap * sum(weights[m].numel() for m in group) + 1e-6) for layer, group in free.items()}
    if sum(limit.values()) < total:
        limit = {layer: most + 1 for layer, most in limit.items()}
    # Zeros that are there already stay, so a layer with more of them than the cap allows is fixed at those.
    limit = {layer: max(limit[layer], sum(before[m] for m in group)) for layer, group in free.items()}
    fixed: list[tuple[list[Matrix], int]] = []
    while True:
        rest = [m for group in free.values() for m in group]
        k = total - sum(n for _, n in fixed)
        below = method.would_lose([weights[m] for m in rest], k)
        lost = {layer: sum(n for m, n in zip(rest, below, strict=True) if m.layer == layer) for layer in free}
        over = [layer for layer in free if lost[layer] > limit[layer]]
        if not over:
            return [*fixed, (rest, k)] if rest else fixed
        fixed += [(free.pop(layer), limit[layer]) for layer in over]
