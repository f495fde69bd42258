"""The norms of what matrices are given over a text, padding left out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from affineur.engines.support.checkpoints import load_encoder
from affineur.engines.support.torch_tagger import TorchTagger, load_tagger
from affineur.entities import Corpus
from affineur.errors import DataError, ModelError, ParameterError
from affineur.steps.pruning.core.norms import input_norms

from ..conftest import FAMILIES, same_bits
from .texts import LONG, sentences_of


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_does_not_count(family: str, shared_model, train_corpus: Corpus) -> None:
    """In one batch with a long sentence all others are mostly padding; alone they have none."""
    tagger = load_tagger(shared_model(family))
    sentences = [("Paris",), ("Il", "fait", "beau"), LONG[:20], *sentences_of(train_corpus.head(8))]
    padded = input_norms(TorchTagger(tagger.model, tagger.encoder, tagger.labels, budget=1 << 20), sentences)
    alone = input_norms(TorchTagger(tagger.model, tagger.encoder, tagger.labels, budget=1), sentences)
    for name, found in padded.items():
        torch.testing.assert_close(found, alone[name], rtol=1e-5, atol=1e-6, msg=name)


def test_the_same_text_twice_gives_the_same_bits(shared_model, train_corpus: Corpus) -> None:
    tagger = load_tagger(shared_model())
    first, second = (input_norms(tagger, sentences_of(train_corpus)) for _ in range(2))
    assert same_bits(first, second)


@pytest.mark.parametrize("family", ["camembert", "distilbert"])
def test_feed_forward_in_chunks_is_counted_whole(family: str, shared_model, short: Corpus) -> None:
    tagger = load_tagger(shared_model(family))
    window = [("Paris", "Lyon")]  # one window: transformers wants its length to be a multiple of the chunk
    length = len(next(iter(tagger.encoder.windows(window))))
    whole = input_norms(tagger, window)
    for module in tagger.model.modules():
        if hasattr(module, "chunk_size_feed_forward"):
            module.chunk_size_feed_forward = 1
    calls = []
    handle = next(
        m for n, m in tagger.model.named_modules() if n.endswith(("intermediate.dense", "lin1"))
    ).register_forward_hook(lambda *_: calls.append(1))
    chunked = input_norms(tagger, window)
    handle.remove()
    assert len(calls) == length
    for name, found in chunked.items():
        torch.testing.assert_close(found, whole[name], rtol=1e-5, atol=1e-6)


class Unpadding(nn.Module):
    """Takes padding out before its matrices, as ModernBERT with flash attention does."""

    def __init__(self, unpads: bool, shaped: str = "2-D") -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = nn.Embedding(1000, 6)
        self.layers = nn.ModuleList([nn.ModuleDict({"attn": nn.ModuleDict({"Wo": nn.Linear(6, 6)})})])
        self.unpads, self.shaped = unpads, shaped

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        inputs = self.embed(input_ids)
        if self.unpads:
            inputs = inputs[attention_mask.bool()]
        if self.shaped == "3-D":
            inputs = inputs[None]
        if self.shaped == "odd":
            inputs = inputs[:-1]
        return SimpleNamespace(logits=self.layers[0]["attn"]["Wo"](inputs))


@pytest.mark.parametrize("shaped", ["2-D", "3-D"])
def test_inputs_without_padding_count_whole(shaped: str, shared_model) -> None:
    encoder = load_encoder(shared_model())
    sentences = [("Paris",), LONG[:12], ("Marie", "Duval")]
    padded, unpadded = (
        input_norms(TorchTagger(m, encoder, ("O",)), sentences)
        for m in (Unpadding(False), Unpadding(True, shaped))
    )
    name = "layers.0.attn.Wo.weight"
    torch.testing.assert_close(unpadded[name], padded[name], rtol=1e-12, atol=0)


def test_shapes_that_hide_the_padding_are_refused_and_hooks_are_gone(shared_model) -> None:
    model = Unpadding(True, "odd")
    tagger = TorchTagger(model, load_encoder(shared_model()), ("O",))
    with pytest.raises(
        ModelError,
        match=r"the inputs of layers.0.attn.Wo.weight have the shape \(\d+, 6\), .* prune it by magnitude",
    ):
        input_norms(tagger, [("Paris",), ("Marie", "Duval", "habite")])
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_hooks_are_gone_after_success_too(shared_model) -> None:
    tagger = load_tagger(shared_model())
    input_norms(tagger, [("Paris",)])
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in tagger.model.modules())


def test_a_matrix_that_is_never_used_is_refused(shared_model) -> None:
    model = Unpadding(True)
    model.layers.append(nn.ModuleDict({"attn": nn.ModuleDict({"Wo": nn.Linear(6, 6)})}))
    with pytest.raises(ModelError, match=r"never used layers\.1\.attn\.Wo\.weight"):
        input_norms(TorchTagger(model, load_encoder(shared_model()), ("O",)), [("Paris",)])


def test_damaged_weights_are_named(shared_model) -> None:
    tagger = load_tagger(shared_model())
    with torch.no_grad():
        tagger.model.get_input_embeddings().weight[:] = math.nan
    with pytest.raises(ModelError, match="are not all finite numbers"):
        input_norms(tagger, [("Paris",)])


def test_scopes_and_text_without_pieces(shared_model) -> None:
    tagger = load_tagger(shared_model())
    assert len(input_norms(tagger, [("Paris",)], "ffn")) == 2 * 3
    with pytest.raises(ParameterError, match="no scope 'all'"):
        input_norms(tagger, [("Paris",)], "all")
    with pytest.raises(DataError, match="no piece of any word"):
        input_norms(tagger, [])
