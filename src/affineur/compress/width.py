"""``shrink``: a model folder whose feed-forward layers have fewer neurons, the same number in each.

Which neurons go is told by the diagonal of the Fisher information, and what they gave is spread over those that stay by least
squares, as in Kwon et al. 2022 (arXiv 2204.09656): no training, a few hundred sentences without labels. The result is a dense model
with a smaller ``intermediate_size``, which any library loads and every engine runs faster. Attention heads stay: no configuration of
these families can say that a layer has fewer heads of the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from affineur.artifact import in_scope, open_folder
from affineur.compress.models import load_encoder, load_model, save_model
from affineur.compress.stage import Stage
from affineur.compress.tagger import pad
from affineur.entities import Corpus
from affineur.errors import DataError, ModelError, ParameterError
from affineur.progress import report
from affineur.runtime import DEFAULT_BUDGET, Encoder, Window, plan_batches

#: Sentences of the calibration text that are read, evenly spread over it.
SHRINK_SENTENCES = 1024
#: Ridge of the least squares, as a share of the mean square of a neuron: pulls towards the weights as they were.
_RIDGE = 1e-3
_WIDTHS = ("intermediate_size", "hidden_dim")


@dataclass(frozen=True, slots=True)
class _Feedforward:
    """The two matrices of a feed-forward layer; ``gated`` where the first gives each neuron and its gate (ModernBERT)."""

    layer: int
    first: nn.Linear
    second: nn.Linear
    gated: bool


def shrink(model: Path | str, out: Path | str, ffn_width: float, calibration: Corpus, reconstruct: bool = True) -> Path:
    """Drop the least important neurons of every feed-forward layer, and write the result; the dtype stays as it was.

    Args:
        model: Folder of the model, not pruned.
        out: Folder to write to.
        ffn_width: Neurons each layer keeps; below 1 a share of what it has.
        calibration: Text to measure on: the words of up to 1,024 sentences are read, labels never.
        reconstruct: Whether the neurons that stay take over what the others gave, by least squares.

    Returns:
        ``out``; the manifest's ``scores`` say for each layer which share of the mean square of its output was lost.

    Raises:
        ParameterError: If the width is out of range, or the model is pruned: its zeros would be lost.
        DataError: If the tokenizer makes no piece of the text.
        ModelError: If the model cannot be used, or has no feed-forward layers that are known here.
    """
    folder = open_folder(model)
    if (folder.path / "pruning_info.json").is_file():
        raise ParameterError(f"{folder.path} is pruned, and its zeros would be lost; shrink the model it was made from, then prune")
    named, have = _width(folder.config, folder.path)
    # Written so that NaN fails too.
    width = round(ffn_width * have) if ffn_width < 1 else int(ffn_width) if 1 < ffn_width < have else 0
    if not 0 < width < have or (ffn_width >= 1 and width != ffn_width):
        raise ParameterError(f"--ffn-width {ffn_width:g} is impossible: the layers have {have} neurons, expected 2 to {have - 1}, or a share below 1")
    parameters = {"ffn_width": width, "reconstruct": reconstruct}
    stage = Stage("shrink", Path(out), folder, parameters, {"text": calibration})
    if stage.finished():
        return stage.out
    network: Any = load_model(folder, dtype="auto")
    dtype = network.dtype
    network.float()
    layers = _feedforwards(network, have)
    words = [sentence.words for sentence in calibration.spread(SHRINK_SENTENCES)]
    importance, moments = _measure(network, load_encoder(folder), layers, words)
    lost = []
    for place, layer in enumerate(layers):
        kept = importance[place].argsort(descending=True, stable=True)[:width].sort().values
        lost.append({"layer": layer.layer, **_narrow(layer, kept, moments[place], reconstruct)})
        report("shrinking", place + 1, len(layers))
    setattr(network.config, named, width)
    network.to(dtype)
    return stage.write_files(lambda target: save_model(network, target, folder.path), scores={"width_before": have, "width": width, "layers": lost})


def _width(config: dict[str, Any], path: Path) -> tuple[str, int]:
    for name in _WIDTHS:
        if isinstance(found := config.get(name), int):
            return name, found
    raise ModelError(f"{path}/config.json says nothing of the width of its feed-forward layers, expected {' or '.join(_WIDTHS)}")


def _feedforwards(network: PreTrainedModel, have: int) -> list[_Feedforward]:
    """Find the feed-forward layers, from the lowest.

    Raises:
        ModelError: If their shapes are not the ones expected.
    """
    by_layer: dict[int, dict[str, nn.Linear]] = {}
    for matrix in in_scope([name for name, _ in network.named_parameters()], "ffn"):
        by_layer.setdefault(matrix.layer, {})[matrix.kind] = network.get_submodule(matrix.name.removesuffix(".weight"))  # type: ignore[assignment]
    found = []
    for layer, matrices in sorted(by_layer.items()):
        first, second = matrices["ffn.intermediate"], matrices["ffn.output"]
        if second.in_features != have or first.out_features not in (have, 2 * have):
            raise ModelError(
                f"the feed-forward matrices of layer {layer} have {first.out_features} and {second.in_features} neurons, expected {have}"
            )
        found.append(_Feedforward(layer, first, second, first.out_features == 2 * have))
    return found


def _measure(
    network: PreTrainedModel, encoder: Encoder, layers: Sequence[_Feedforward], sentences: Sequence[Sequence[str]]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Measure how important each neuron is, and how neurons go together.

    The importance is the diagonal of the empirical Fisher information of a switch at each neuron: activation times
    gradient, squared and summed over pieces. The loss is that of the model's own answers, so no label is needed.

    Returns:
        For each layer the importance, shape ``(neurons,)``, and the second moments of its activations with a constant 1 appended,
        shape ``(neurons + 1, neurons + 1)``; both float64 sums over pieces.

    Raises:
        DataError: If the tokenizer makes no piece of any word.
    """
    windows = list(encoder.windows(sentences))
    if not windows:
        raise DataError("the tokenizer makes no piece of any word of the calibration text")
    size = layers[0].second.in_features
    importance = [torch.zeros(size, dtype=torch.float64) for _ in layers]
    moments = [torch.zeros(size + 1, size + 1, dtype=torch.float64) for _ in layers]
    done = 0
    with _watching(layers) as seen:
        for batch in plan_batches([len(window) for window in windows], DEFAULT_BUDGET):
            chosen = [windows[i] for i in batch]
            ids, mask = pad([window.ids for window in chosen], encoder.pad_id)
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
    """Give the list that each forward pass appends to: the activations of each layer, shape ``(sequences, longest, neurons)``."""
    seen: list[torch.Tensor] = []

    def look(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0])

    handles = [layer.second.register_forward_pre_hook(look) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _loss(network: Callable[..., Any], ids: torch.Tensor, mask: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
    """Return the summed cross entropy of first pieces against the model's own likeliest labels."""
    logits = network(input_ids=ids, attention_mask=mask).logits
    words = torch.cat([logits[row, list(window.positions)] for row, window in enumerate(windows)])
    return functional.cross_entropy(words, words.detach().argmax(-1), reduction="sum")


def _narrow(layer: _Feedforward, kept: torch.Tensor, moments: torch.Tensor, reconstruct: bool) -> dict[str, float]:
    """Leave only some neurons of a layer, in place; return the share of its output's mean square that is lost on the text.

    The second matrix becomes the minimum of ``‖A_K W_K − A W‖² + ridge ‖W_K − (W)_K‖²``, where ``A`` are the activations of the dense
    model and ``K`` the neurons kept: ``W_K = (W)_K + (G_KK + ridge)⁻¹ G_KD W_D`` with ``G = AᵀA``. The bias is a weight of the constant 1.
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
        new[stay] += torch.linalg.solve(gram + ridge * torch.eye(len(stay), dtype=torch.float64), moments[stay][:, dropped] @ old[dropped])
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
