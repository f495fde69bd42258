"""Pruning: exactly the k smallest weights become zero, in place, whatever the size of the model.

Global magnitude ranks all weights in scope together (Han et al. 2015; guide §2), layerwise ranks each matrix
alone, and wanda each output row alone, by what its weights are multiplied with too
(:mod:`affineur.steps.pruning.wanda`). The k-th smallest magnitude is found by radix selection on the bits: IEEE
754 numbers without their sign order as integers, so two histograms of 16 bits each find it exactly, without
sorting and without a second copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from affineur.artifact import EXCLUDED, Matrix, in_scope
from affineur.errors import ModelError, ParameterError, did_you_mean
from affineur.steps.pruning.wanda import zero_rows

METHODS = ("magnitude", "layerwise", "wanda")
_CHUNK = 1 << 16  # weights looked at together: they and what is made of them stay in the processor's cache
_BUCKETS = 1 << 16
_INFINITE = 0x7F80  # upper half of the bits of infinity; NaNs lie above
_NOT_FINITE = "the model has weights that are not finite numbers, so they cannot be ranked"


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
        method: ``magnitude``, ``layerwise`` or ``wanda``.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        requested: Requested sparsity in scope.
        max_layer_sparsity: Cap on the sparsity of one encoder layer, or ``None``.
        zeros_before: Zeros in scope before pruning; they stay.
        parameters: Parameters of the whole model.
        zeros_in_model: Zeros in the whole model, out of scope too.
        matrices: What became of each matrix in scope.
        calibration: ``name``, ``digest`` and ``sentences`` of the text that ``wanda`` was calibrated on, or
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


def prune_model(
    model: nn.Module,
    sparsity: float,
    method: str = "magnitude",
    scope: str = "attention+ffn",
    max_layer_sparsity: float | None = None,
    activations: Mapping[str, torch.Tensor] | None = None,
) -> PruningInfo:
    """Set the smallest weights in scope to zero, in place, keeping dtype and device.

    Exactly ``round(sparsity × weights in scope)`` weights are zero afterwards, those that were zero before
    included (a model, or with ``layerwise`` a matrix, or with ``wanda`` an output row, that already has more
    keeps them all). Ties at the threshold go by layer, matrix and position.

    Args:
        model: The model.
        sparsity: Zeros ÷ weights in scope, in [0, 1).
        method: ``magnitude`` ranks all weights in scope together, ``layerwise`` each matrix alone, ``wanda``
            each output row alone by magnitude times the norm of the input. Matrices share the zeros in
            proportion to their size, and the rows of a matrix alike, by largest remainder.
        scope: ``attention+ffn``, ``attention`` or ``ffn``.
        max_layer_sparsity: No encoder layer loses more than this share of its weights in scope (one weight
            more where whole weights allow the sparsity in no other way); what one may not lose the others do.
            Global ranking otherwise over-prunes layers whose weights are small.
        activations: For ``wanda``, and for it alone: by tensor name the norm of each input feature, shape
            ``(in_features,)`` (see :func:`~affineur.steps.pruning.wanda.input_norms`).

    Raises:
        ParameterError: If a value is out of range, the cap is below the sparsity, or the activations do not
            fit the method or the model.
        ModelError: If a weight in scope is not a number.
    """
    check_pruning(sparsity, method, max_layer_sparsity)
    parameters = dict(model.named_parameters())
    matrices = in_scope(list(parameters), scope)
    weights = {m: parameters[m.name].detach() for m in matrices}
    norms = _checked_norms(weights, method, activations)
    ranked = {m.name for m in matrices}
    thresholds: dict[Matrix, float] = {}
    with _one_thread():
        elsewhere = sum(_zeros(p.detach()) for name, p in parameters.items() if name not in ranked)
        before = {m: _zeros(w) for m, w in weights.items()}
        if norms and not all(
            bool(torch.isfinite(part).all()) for w in weights.values() for part in _chunks(w)
        ):
            raise ModelError(_NOT_FINITE)
        for group, k in _quotas(weights, before, sparsity, method, max_layer_sparsity):
            # With norms a group is one matrix.
            threshold = (
                zero_rows(weights[group[0]], norms[group[0]], k)
                if norms
                else _zero_smallest([weights[m] for m in group], k)
            )
            thresholds.update(dict.fromkeys(group, threshold))
        pruned = tuple(
            MatrixZeros(m, w.numel(), _zeros(w), w.numel() * w.element_size(), thresholds[m])
            for m, w in weights.items()
        )
    total = sum(p.numel() for p in parameters.values())
    return PruningInfo(
        method,
        scope,
        sparsity,
        max_layer_sparsity,
        sum(before.values()),
        total,
        elsewhere + sum(m.zeros for m in pruned),
        pruned,
    )


def check_pruning(sparsity: float, method: str, cap: float | None) -> None:
    """Check pruning parameters before any model is read.

    Raises:
        ParameterError: If one is out of range.
    """
    if not 0 <= sparsity < 1:
        raise ParameterError(
            f"sparsity {sparsity:g} is outside [0, 1): it is the share of weights set to zero, for example 0.15"
        )
    if method not in METHODS:
        raise ParameterError(
            f"no pruning method '{method}', expected one of {', '.join(METHODS)}{did_you_mean(method, METHODS)}"
        )
    if cap is not None and not 0 < cap <= 1:
        raise ParameterError(f"a layer's largest sparsity must be in (0, 1], got {cap:g}")
    if cap is not None and sparsity > cap:
        raise ParameterError(f"sparsity {sparsity:g} cannot be reached when no layer may exceed {cap:g}")


def _checked_norms(
    weights: Mapping[Matrix, torch.Tensor], method: str, activations: Mapping[str, torch.Tensor] | None
) -> dict[Matrix, torch.Tensor]:
    """Return the input norms of each matrix for ``wanda``, none for any other method."""
    if method != "wanda":
        if activations is not None:
            raise ParameterError(
                f"activations are for method 'wanda', but the method is '{method}'; leave them out"
            )
        return {}
    if activations is None:
        raise ParameterError(
            "method 'wanda' needs activations, the norms of each matrix's inputs; compute them with input_norms"
        )
    found: dict[Matrix, torch.Tensor] = {}
    for matrix, weight in weights.items():
        norms = activations.get(matrix.name)
        if norms is None:
            raise ParameterError(
                f"the activations lack {matrix.name}; compute them with input_norms for the same model and scope"
            )
        if tuple(norms.shape) != tuple(weight.shape[1:]):
            raise ParameterError(
                f"the activations of {matrix.name} have the shape {tuple(norms.shape)}, expected {tuple(weight.shape[1:])}"
            )
        if not bool((torch.isfinite(norms) & (norms >= 0)).all()):
            raise ParameterError(f"the activations of {matrix.name} must be finite norms, not negative")
        found[matrix] = norms.double()
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: on chunks this small, waiting for the others costs more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _quotas(
    weights: Mapping[Matrix, torch.Tensor],
    before: Mapping[Matrix, int],
    sparsity: float,
    method: str,
    cap: float | None,
) -> list[tuple[list[Matrix], int]]:
    """Split the matrices into groups ranked together, and say how many weights each group loses."""
    total = round(sparsity * sum(w.numel() for w in weights.values()))
    if method != "magnitude":
        return [
            ([m], k)
            for m, k in zip(weights, _shares([w.numel() for w in weights.values()], total), strict=True)
        ]
    if cap is None:
        return [(list(weights), total)]
    return _capped(weights, before, total, cap)


def _shares(sizes: list[int], total: int) -> list[int]:
    """Share ``total`` among sizes in proportion, by largest remainder, so that the sum is exact."""
    whole = sum(sizes)
    shares = [size * total // whole for size in sizes]
    remainders = sorted(range(len(sizes)), key=lambda i: (-(sizes[i] * total % whole), i))
    for i in remainders[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _capped(
    weights: Mapping[Matrix, torch.Tensor], before: Mapping[Matrix, int], total: int, cap: float
) -> list[tuple[list[Matrix], int]]:
    """Find the layers that global ranking would prune beyond the cap, fix them there.

    Rank the rest again.
    """
    free = {layer: [m for m in weights if m.layer == layer] for layer in sorted({m.layer for m in weights})}
    limit = {layer: int(cap * sum(weights[m].numel() for m in group) + 1e-6) for layer, group in free.items()}
    if sum(limit.values()) < total:
        limit = {layer: most + 1 for layer, most in limit.items()}
    # Zeros that are there already stay, so a layer that has more of them than the cap allows is fixed at
    # those.
    limit = {layer: max(limit[layer], sum(before[m] for m in group)) for layer, group in free.items()}
    fixed: list[tuple[list[Matrix], int]] = []
    while True:
        rest = [m for group in free.values() for m in group]
        k = total - sum(n for _, n in fixed)
        below = _would_lose([weights[m] for m in rest], k)
        lost = {layer: sum(n for m, n in zip(rest, below, strict=True) if m.layer == layer) for layer in free}
        over = [layer for layer in free if lost[layer] > limit[layer]]
        if not over:
            return [*fixed, (rest, k)] if rest else fixed
        fixed += [(free.pop(layer), limit[layer]) for layer in over]


def _would_lose(weights: list[torch.Tensor], k: int) -> list[int]:
    """Count how many weights each tensor would lose if the ``k`` smallest of all were set to zero."""
    if not k:
        return [0] * len(weights)
    threshold, ties = _kth_smallest(weights, k)
    counts = []
    for weight in weights:
        below = equal = 0
        for part in _chunks(weight):
            bits = _magnitude_bits(part)
            below += int((bits < threshold).sum())
            equal += int((bits == threshold).sum())
        taken = min(equal, ties)
        ties -= taken
        counts.append(below + taken)
    return counts


def _zero_smallest(weights: list[torch.Tensor], k: int) -> float:
    """Set the ``k`` smallest magnitudes to zero; return the largest magnitude that became zero."""
    if not k:
        return 0.0
    threshold, ties = _kth_smallest(weights, k)
    for weight in weights:
        for part in _chunks(weight):
            bits = _magnitude_bits(part)
            doomed = bits < threshold
            if ties:
                equal = (bits == threshold).nonzero().flatten()[:ties]
                doomed[equal] = True
                ties -= len(equal)
            part.masked_fill_(doomed, 0)
    return float(torch.tensor(threshold, dtype=torch.int32).view(torch.float32))


def _kth_smallest(weights: list[torch.Tensor], k: int) -> tuple[int, int]:
    """Find the ``k``-th smallest magnitude, exactly.

    Returns:
        Its bits as a float32 without sign, and how many weights of just that magnitude belong to the ``k``.
    """
    high = _histogram(weights, lambda bits: bits >> 16)
    if int(high[_INFINITE:].sum()):
        raise ModelError(_NOT_FINITE)
    bucket, before = _bucket_of(high, k)
    low = _histogram(weights, lambda bits: (bits & 0xFFFF)[(bits >> 16) == bucket])
    rest, below = _bucket_of(low, k - before)
    return (bucket << 16) | rest, k - before - below


def _histogram(weights: list[torch.Tensor], part_of: Any) -> torch.Tensor:
    counts = torch.zeros(_BUCKETS, dtype=torch.int64, device=weights[0].device)
    for weight in weights:
        for part in _chunks(weight):
            counts += torch.bincount(part_of(_magnitude_bits(part)), minlength=_BUCKETS)
    return counts


def _bucket_of(counts: torch.Tensor, k: int) -> tuple[int, int]:
    """Return the bucket that holds the ``k``-th element, and how many elements lie in the buckets before it."""
    cumulative = counts.cumsum(0)
    bucket = int(torch.searchsorted(cumulative, k))
    return bucket, int(cumulative[bucket - 1]) if bucket else 0


def _magnitude_bits(part: torch.Tensor) -> torch.Tensor:
    """Return magnitudes as integers that order alike; half precision becomes float32 first, which is exact."""
    return part.float().view(torch.int32) & 0x7FFF_FFFF


def _chunks(weight: torch.Tensor) -> Iterator[torch.Tensor]:
    """View a tensor as flat pieces that can be changed in place."""
    return iter(weight.view(-1).split(_CHUNK))


def _zeros(weight: torch.Tensor) -> int:
    zeros = 0
    for part in weight.reshape(-1).split(_CHUNK):
        zeros += part.numel() - int(torch.count_nonzero(part))
    return zeros
