"""Fewer neurons in the feed-forward layers, the same number in each.

Which neurons go is told by the diagonal of the Fisher information, and what they gave is spread over those
that stay by least squares, as in Kwon et al. 2022 (arXiv 2204.09656): no training, a few hundred sentences
without labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from affineur.artifact import ModelFolder, in_scope
from affineur.engines.support.torch_tagger import pad
from affineur.errors import ModelError
from affineur.progress import report
from affineur.runtime import DEFAULT_BUDGET, Window, plan_batches
from affineur.steps.tailoring.limits import width_key

#: Ridge of the least squares, as a share of the mean square of a neuron: pulls towards the weights as they
#: were.
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class _Feedforward:
    """The two matrices of a feed-forward layer.

    Args:
        layer: Number of the layer.
        first: The matrix that gives neurons.
        second: The matrix that takes them.
        gated: Whether the first gives each neuron and its gate (ModernBERT).
    """

    layer: int
    first: nn.Linear
    second: nn.Linear
    gated: bool


def narrow(
    network: PreTrainedModel,
    folder: ModelFolder,
    width: int,
    windows: Sequence[Window],
    pad_id: int,
    reconstruct: bool,
) -> dict[str, Any]:
    """Drop the least important neurons of every feed-forward layer, in place.

    Args:
        network: The model, in float32 and evaluation mode.
        folder: The folder it comes from, whose configuration tells the width it has.
        width: Neurons each layer keeps.
        windows: Windows of the calibration text.
        pad_id: The piece that pads.
        reconstruct: Whether the neurons that stay take over what the others gave, by least squares.

    Returns:
        ``width_before``, ``width``, and for each of the ``layers`` of the network which share of the mean
        square of its output was ``lost``, with and without least squares.

    Raises:
        ModelError: If the model has no feed-forward layers that are known here.
    """
    name = width_key(folder)
    have = folder.config[name]
    layers = _feedforwards(network, have)
    importance, moments = _measure(network, layers, windows, pad_id)
    lost = []
    for place, layer in enumerate(layers):
        kept = importance[place].argsort(descending=True, stable=True)[:width].sort().values
        lost.append({"layer": layer.layer, **_narrow(layer, kept, moments[place], reconstruct)})
        report("shrinking", place + 1, len(layers))
    setattr(network.config, name, width)
    return {"width_before": have, "width": width, "layers": lost}


def _feedforwards(network: PreTrainedModel, have: int) -> list[_Feedforward]:
    """Find the feed-forward layers, from the lowest.

    Raises:
        ModelError: If their shapes are not the ones expected.
    """
    by_layer: dict[int, dict[str, nn.Linear]] = {}
    for matrix in in_scope([name for name, _ in network.named_parameters()], "ffn"):
        by_layer.setdefault(matrix.layer, {})[matrix.kind] = network.get_submodule(
            matrix.name.removesuffix(".weight")
        )  # type: ignore[assignment]
    found = []
    for layer, matrices in sorted(by_layer.items()):
        first, second = matrices["ffn.intermediate"], matrices["ffn.output"]
        if second.in_features != have or first.out_features not in (have, 2 * have):
            raise ModelError(
                f"the feed-forward matrices of layer {layer} have {first.out_features} "
                f"and {second.in_features} neurons, expected {have}"
            )
        found.append(_Feedforward(layer, first, second, first.out_features == 2 * have))
    return found


def _measure(
    network: PreTrainedModel, layers: Sequence[_Feedforward], windows: Sequence[Window], pad_id: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Measure how important each neuron is, and how neurons go together.

    The importance is the diagonal of the empirical Fisher information of a switch at each neuron: activation
    times gradient, squared and summed over pieces. The loss is that of the model's own answers, so no label
    is needed.

    Returns:
        For each layer the importance, shape ``(neurons,)``, and the second moments of its activations with a
        constant 1 appended, shape ``(neurons + 1, neurons + 1)``; both float64 sums over pieces.
    """
    size = layers[0].second.in_features
    importance = [torch.zeros(size, dtype=torch.float64) for _ in layers]
    moments = [torch.zeros(size + 1, size + 1, dtype=torch.float64) for _ in layers]
    done = 0
    with _watching(layers) as seen:
        for batch in plan_batches([len(window) for window in windows], DEFAULT_BUDGET):
            chosen = [windows[i] for i in batch]
            ids, mask = pad([window.ids for window in chosen], pad_id)
            seen.clear()
            gradients = torch.autograd.grad(_loss(network, ids, mask, chosen), seen)
            for place, (active, gradient) in enumerate(zip(seen, gradients, strict=True)):
                real = active.detach()[mask.bool()].double()
                importance[place] += (real * gradient[mask.bool()].double()).square().sum(0)
                extended = functional.pad(real, (0, 1), value=1.0)
                moments[place] += extended.T @ extended
            done += len(batch)
            report("calibrating", done, len(windows))
    return importance, moments


@contextmanager
def _watching(layers: Sequence[_Feedforward]) -> Iterator[list[torch.Tensor]]:
    """Give the list that each forward pass appends to: activations, ``(sequences, longest, neurons)``."""
    seen: list[torch.Tensor] = []

    def look(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0])

    handles = [layer.second.register_forward_pre_hook(look) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _loss(
    network: Callable[..., Any], ids: torch.Tensor, mask: torch.Tensor, windows: Sequence[Window]
) -> torch.Tensor:
    """Return the summed cross entropy of first pieces against the model's own likeliest labels."""
    logits = network(input_ids=ids, attention_mask=mask).logits
    words = torch.cat([logits[row, list(window.positions)] for row, window in enumerate(windows)])
    return functional.cross_entropy(words, words.detach().argmax(-1), reduction="sum")


def _narrow(
    layer: _Feedforward, kept: torch.Tensor, moments: torch.Tensor, reconstruct: bool
) -> dict[str, float]:
    """Leave only some neurons of a layer, in place; return which share of its output is lost on the text.

    The second matrix becomes the minimum of ``‖A_K W_K − A W‖² + ridge ‖W_K − (W)_K‖²``, where ``A`` are the
    activations of the dense model and ``K`` the neurons kept: ``W_K = (W)_K + (G_KK + ridge)⁻¹ G_KD W_D``
    with ``G = AᵀA``. The bias is a weight of the constant 1.
    """
    width = layer.second.in_features
    bias = layer.second.bias
    old = torch.zeros(width + 1, layer.second.out_features, dtype=torch.float64)
    old[:width] = layer.second.weight.detach().T
    if bias is not None:
        old[width] = bias.detach()
    stay = torch.cat([kept, torch.tensor([width])]) if bias is not None else kept
    gone = torch.ones(width, dtype=torch.bool)
    gone[kept] = False
    dropped = gone.nonzero().squeeze(1)
    new = old.clone()
    new[dropped] = 0
    found = {"lost_without_least_squares": _lost(old, new, moments)}
    if reconstruct:
        gram = moments[stay][:, stay]
        ridge = _RIDGE * float(gram.diagonal()[: len(kept)].mean())
        new[stay] += torch.linalg.solve(
            gram + ridge * torch.eye(len(stay), dtype=torch.float64), moments[stay][:, dropped] @ old[dropped]
        )
    rows = torch.cat([kept, kept + width]) if layer.gated else kept
    layer.first.weight = nn.Parameter(layer.first.weight.detach()[rows].clone())
    if layer.first.bias is not None:
        layer.first.bias = nn.Parameter(layer.first.bias.detach()[rows].clone())
    layer.first.out_features = len(rows)
    layer.second.weight = nn.Parameter(new[kept].T.float().contiguous())
    if bias is not None:
        layer.second.bias = nn.Parameter(new[width].float())
    layer.second.in_features = len(kept)
    return {"lost": _lost(old, new, moments), **found}


def _lost(old: torch.Tensor, new: torch.Tensor, moments: torch.Tensor) -> float:
    """Return ``‖A (new − old)‖² ÷ ‖A old‖²``."""
    change = new - old
    return float((change * (moments @ change)).sum() / (old * (moments @ old)).sum())
