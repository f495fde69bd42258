"""Which encoder layers a student keeps, and the student made of them.

Without labels that is told by the tags: the layer without which the model's answers change least goes, then
the next is sought in what is left, as in SLEB (Song et al. 2024, arXiv 2402.09025).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from affineur.engines.support.torch_tagger import TorchTagger
from affineur.errors import ModelError, ParameterError, did_you_mean
from affineur.progress import report
from affineur.steps.tailoring.limits import check_layers

CHOICES = ("top", "uniform", "search")


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Find the list of encoder layers of any encoder family.

    Raises:
        ModelError: If there is no list with as many entries as the configuration has layers.
    """
    wanted = model.config.num_hidden_layers
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.ModuleList)
            and name.rpartition(".")[2] in ("layer", "layers")
            and len(module) == wanted
        ):
            return module
    raise ModelError(f"{type(model).__name__} has no list of {wanted} encoder layers that could be dropped")


def keep_layers(model: PreTrainedModel, kept: list[int]) -> PreTrainedModel:
    """Drop all encoder layers but ``kept``, in place; embeddings and classifier stay.

    Args:
        model: The model.
        kept: Layers to keep, ascending, from 0.

    Raises:
        ParameterError: If layer 0 is dropped where it is built differently from the others (ModernBERT).
    """
    layers = encoder_layers(model)
    if layers[kept[0]].state_dict().keys() != layers[0].state_dict().keys():
        raise ParameterError(
            f"layer 0 of {type(model).__name__} is built differently from layer {kept[0]}, so it has to stay"
        )
    # Modules are dropped from the same list object, so nothing that refers to it goes stale.
    for index in reversed(range(len(layers))):
        if index not in kept:
            del layers[index]
    config: Any = model.config
    # Some configurations name the kind of each layer (ModernBERT's local and global attention).
    kinds = getattr(config, "layer_types", None)
    config.num_hidden_layers = len(kept)
    if kinds is not None:
        config.layer_types = [kinds[i] for i in kept]
    return model


def choose_layers(
    model: PreTrainedModel, wanted: int, how: str, score: Callable[[PreTrainedModel], float] | None = None
) -> tuple[list[int], list[dict[str, Any]]]:
    """Choose the layers a student keeps.

    Args:
        model: The teacher; unchanged.
        wanted: How many layers to keep.
        how: ``top`` drops the highest (Sajjad et al. 2020), ``uniform`` keeps evenly spaced ones with the
            first and the last (Sanh et al. 2019), ``search`` tries each single drop without training and
            keeps the best, until enough are gone.
        score: Gives the dev F1 of a model, for ``search``.

    Returns:
        The layers kept, ascending, and what ``search`` saw: ``dropped`` and ``f1`` of each trial.

    Raises:
        ParameterError: If the number is impossible, the choice unknown, or ``search`` has nothing to score
            on.
    """
    have = len(encoder_layers(model))
    check_layers(wanted, have)
    if how == "top":
        return list(range(wanted)), []
    if how == "uniform":
        return [round(i * (have - 1) / max(1, wanted - 1)) for i in range(wanted)], []
    if how != "search":
        raise ParameterError(
            f"no way '{how}' to choose layers, "
            f"expected one of {', '.join(CHOICES)}{did_you_mean(how, CHOICES)}",
            "keep",
        )
    if score is None:
        raise ParameterError(
            "choosing layers by search needs dev data; "
            "name a folder with dev.conll as data, or use keep='top'",
            "keep",
        )
    kept, trials = search_layers(model, wanted, score)
    return kept, [{"dropped": dropped, "f1": f1} for dropped, f1 in trials]


def search_layers(
    model: PreTrainedModel, wanted: int, score: Callable[[PreTrainedModel], float]
) -> tuple[list[int], list[tuple[list[int], float]]]:
    """Drop the layer without which a model scores best, again and again.

    Args:
        model: The model; unchanged.
        wanted: How many layers to keep.
        score: Says how good a model is; it is called with ``model`` while that runs through some of its
            layers only.

    Returns:
        The layers kept, ascending, and of each trial the layers it left out and its score.
    """
    layers = encoder_layers(model)
    everything = list(layers)
    kept = list(range(len(everything)))
    trials: list[tuple[list[int], float]] = []
    todo = sum(n - 1 for n in range(len(kept), wanted, -1))
    try:
        while len(kept) > wanted:
            best = (-math.inf, 0)
            # The lowest layer stays: every study finds it matters most, and ModernBERT's differs in kind.
            for layer in kept[1:]:
                _show(model, layers, everything, [i for i in kept if i != layer])
                found = score(model)
                trials.append((sorted(set(range(len(everything))) - set(kept) | {layer}), found))
                report("trying to drop each layer", len(trials), todo)
                best = max(best, (found, layer))  # among equals the higher layer goes
            kept.remove(best[1])
    finally:
        _show(model, layers, everything, list(range(len(everything))))
    return kept, trials


def drop_layers(
    model: PreTrainedModel, wanted: int, tagger: TorchTagger, sentences: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Drop layers in place, those whose absence changes the tags least.

    The change is the Kullback-Leibler divergence of the distribution over labels from that of the whole
    model, in nats, averaged over words.

    Args:
        model: The model, in float32 and evaluation mode.
        wanted: How many layers to keep.
        tagger: Tags with that very model.
        sentences: Words of each sentence to look at.

    Returns:
        ``layers_before``, ``layers_kept``, their ``divergence``, and the ``layer_search``: of each trial what
        was ``dropped`` and its ``divergence``.
    """

    def log_probabilities() -> torch.Tensor:
        logits = torch.from_numpy(np.concatenate(tagger.logits(sentences))).double()
        return logits[~logits.isnan().any(1)].log_softmax(-1)  # a word the tokenizer drops has none

    whole = log_probabilities()
    kept, trials = search_layers(
        model, wanted, lambda _: float((whole.exp() * (log_probabilities() - whole)).sum(1).mean())
    )
    before = model.config.num_hidden_layers
    keep_layers(model, kept)
    divergence = min(-likeness for dropped, likeness in trials if len(dropped) == before - wanted)
    search = [{"dropped": dropped, "divergence": -likeness} for dropped, likeness in trials]
    return {"layers_before": before, "layers_kept": kept, "divergence": divergence, "layer_search": search}


def _show(
    model: PreTrainedModel, layers: nn.ModuleList, everything: list[nn.Module], shown: list[int]
) -> None:
    """Let the model run through some of its layers only; nothing is copied."""
    while len(layers):
        del layers[-1]
    layers.extend([everything[i] for i in shown])
    model.config.num_hidden_layers = len(shown)
