"""``shrink``: a dense model with fewer encoder layers, narrower feed-forward layers, or both.

From a text without labels or training.

Any library loads the result and every engine runs it faster. Which layers go is told by the tags: the layer
without which the model's answers change least goes, then the next is sought in what is left, as in SLEB (Song
et al. 2024, arXiv 2402.09025). Neurons: :mod:`affineur.steps.tailoring.width`.

Attention heads stay. In none of these families can a configuration say that layers have fewer heads of the
same size: the output projection is ``hidden_size × hidden_size`` in all of them, so heads × size has to be
``hidden_size`` (DeBERTa-v2 reads an ``attention_head_size``, but builds that matrix all the same), and
transformers 5 knows no ``pruned_heads`` any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from affineur.artifact import open_folder
from affineur.engines.support.checkpoints import load_encoder, load_model, save_model
from affineur.engines.support.torch_tagger import TorchTagger
from affineur.entities import Corpus
from affineur.errors import DataError, ParameterError
from affineur.steps.core.work import Stage
from affineur.steps.tailoring.layers import check_layers, keep_layers, search_layers
from affineur.steps.tailoring.width import check_width, narrow

#: Sentences of the calibration text that are read, evenly spread over it.
SHRINK_SENTENCES = 1024
#: Most of them that each trial of a layer reads. There are dozens of trials, and twice as many sentences
#: chose the same layers.
_TRIAL_SENTENCES = 64


def shrink(
    model: Path | str,
    out: Path | str,
    ffn_width: float | None,
    calibration: Corpus,
    reconstruct: bool = True,
    layers: int | None = None,
) -> Path:
    """Drop the encoder layers, then the feed-forward neurons that matter least, and write the result.

    The dtype stays as it was.

    Args:
        model: Folder of the model, not pruned.
        out: Folder to write to.
        ffn_width: Neurons each feed-forward layer keeps; below 1 a share of what it has; ``None`` for all.
        calibration: Text to measure on: the words of up to 1,024 sentences are read, labels never.
        reconstruct: Whether the neurons that stay take over what the others gave, by least squares.
        layers: Encoder layers to keep; ``None`` for all. The lowest always stays; embeddings and classifier,
            too.

    Returns:
        ``out``. The manifest's ``scores`` say which layers were kept and, for each set that was tried to be
        left out, the divergence of the tags (nats a word); for each layer of the result, which share of the
        mean square of its feed-forward output was lost.

    Raises:
        ParameterError: If neither is given, a number is out of range, or the model is pruned: its zeros would
            be lost.
        DataError: If the tokenizer makes no piece of the text.
        ModelError: If the model cannot be used, or has no feed-forward layers that are known here.
    """
    if ffn_width is None and layers is None:
        raise ParameterError(
            "nothing to shrink; say how many encoder layers stay with --layers, how many neurons with --ffn-width, or both"
        )
    folder = open_folder(model)
    if (folder.path / "pruning_info.json").is_file():
        raise ParameterError(
            f"{folder.path} is pruned, and its zeros would be lost; shrink the model it was made from, then prune"
        )
    parameters: dict[str, Any] = {}
    if layers is not None:
        check_layers(layers, folder.layers, fewer=True)
        parameters |= {"layers": layers}
    if ffn_width is not None:
        parameters |= {"ffn_width": check_width(ffn_width, folder), "reconstruct": reconstruct}
    stage = Stage("shrink", Path(out), folder, parameters, {"text": calibration})
    if stage.finished():
        return stage.out
    network: Any = load_model(folder, dtype="auto")
    dtype = network.dtype
    network.float()
    encoder = load_encoder(folder)
    sentences = [sentence.words for sentence in calibration.spread(SHRINK_SENTENCES)]
    windows = list(encoder.windows(sentences))
    if not windows:
        raise DataError("the tokenizer makes no piece of any word of the calibration text")
    scores: dict[str, Any] = {}
    if layers is not None:
        read = sorted({window.sentence for window in windows})
        tagger = TorchTagger(network, encoder, folder.labels)
        scores |= _drop_layers(
            network, layers, tagger, [sentences[i] for i in read[:: -(-len(read) // _TRIAL_SENTENCES)]]
        )
    if ffn_width is not None:
        scores |= narrow(network, folder, parameters["ffn_width"], windows, encoder.pad_id, reconstruct)
    network.to(dtype)
    return stage.write_files(lambda target: save_model(network, target, folder.path), scores=scores)


def _drop_layers(
    network: PreTrainedModel, layers: int, tagger: TorchTagger, sentences: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Drop layers in place, those whose absence changes the tags least; return what the manifest says of it.

    The change is the Kullback-Leibler divergence of the distribution over labels from that of the whole
    model, in nats, averaged over words.
    """

    def log_probabilities() -> torch.Tensor:
        logits = torch.from_numpy(np.concatenate(tagger.logits(sentences))).double()
        return logits[~logits.isnan().any(1)].log_softmax(-1)  # a word the tokenizer drops has none

    whole = log_probabilities()
    kept, trials = search_layers(
        network, layers, lambda _: float((whole.exp() * (log_probabilities() - whole)).sum(1).mean())
    )
    before = network.config.num_hidden_layers
    keep_layers(network, kept)
    divergence = min(-likeness for dropped, likeness in trials if len(dropped) == before - layers)
    search = [{"dropped": dropped, "divergence": -likeness} for dropped, likeness in trials]
    return {"layers_before": before, "layers_kept": kept, "divergence": divergence, "layer_search": search}
