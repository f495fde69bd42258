"""A tagger on torch: the same answers however texts are batched, none from damaged weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification

from affineur.engines.support.torch_tagger import (
    TorchTagger,
    load_tagger,
    pad,
    quantize_dynamic,
    serialized_size,
)
from affineur.entities import Corpus, Entity, Tagger
from affineur.errors import ModelError
from steps.conftest import FAMILIES, count_calls

TEXTS = (
    "Marie Duval travaille à la Banque du Nord.",
    "",
    "Hier, l'équipe de Lyon a battu celle d'Aix !",
    "👩‍👩‍👧 Élodie\u200b et \x00 Noël",
    "   ",
    "Paris",
    "Selon Ahmed Benali, Rouge Garance est une œuvre mineure. " * 12,
)


def equal(first: list[Entity], second: list[Entity]) -> bool:
    return len(first) == len(second) and all(
        (a.type, a.word, a.start, a.end) == (b.type, b.word, b.start, b.end) and abs(a.score - b.score) < 1e-5
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_models_own(family: str, shared_model, short: Corpus) -> None:
    """One sentence at a time, through plain transformers."""
    path = shared_model(family)
    tagger = load_tagger(path)
    assert isinstance(tagger, Tagger)
    model = AutoModelForTokenClassification.from_pretrained(path).eval()
    sentences = [s.words for s in short]
    for words, found in zip(sentences, tagger.logits(sentences), strict=True):
        encoding = tagger.encoder.tokenizer.encode(list(words), is_pretokenized=True)
        first = [encoding.word_ids.index(i) for i in range(len(words))]
        with torch.inference_mode():
            wanted = model(input_ids=torch.tensor([encoding.ids])).logits[0, first].numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert tagger.tag([words]) == [[tagger.labels[i] for i in wanted.argmax(1)]]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_many_texts_in_input_order_equal_one_by_one(family: str, batch_size: int, shared_model) -> None:
    tagger = load_tagger(shared_model(family))
    found = tagger.predict_batch(TEXTS, batch_size)
    assert len(found) == len(TEXTS)
    assert sum(map(len, found)) > 5
    for text, entities in zip(TEXTS, found, strict=True):
        assert equal(entities, tagger.predict(text))
        assert all(e.word == text[e.start : e.end] for e in entities)


def test_batches_keep_to_the_budget_and_to_the_batch_size(
    shared_model, train_corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = load_tagger(shared_model())
    tagger.budget = 200
    seen: list[tuple[int, int]] = []
    real = TorchTagger.window_logits

    def forward(self: TorchTagger, windows):
        seen.append((len(windows), max(map(len, windows))))
        return real(self, windows)

    monkeypatch.setattr(TorchTagger, "window_logits", forward)
    sentences = [s.words for s in train_corpus]
    by_budget = tagger.logits(sentences)
    assert all(rows * longest <= 200 for rows, longest in seen)
    seen.clear()
    by_size = tagger.whole().logits(sentences, batch_size=7)
    assert [rows for rows, _ in seen] == [7] * 8 + [4]
    seen.clear()
    tagger.logits(sentences, batch_size=7)
    assert all(rows <= 7 and rows * longest <= 200 for rows, longest in seen)
    for first, second in zip(by_budget, by_size, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_nothing_in_nothing_out(shared_model, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = load_tagger(shared_model())
    calls = count_calls(monkeypatch, TorchTagger, "window_logits")
    assert tagger.tag([]) == []
    assert tagger.tag([[]]) == [[]]
    assert tagger.predict_batch([]) == []
    assert tagger.predict("") == []
    assert calls == [0]


def test_a_word_without_a_piece_is_outside(shared_model) -> None:
    tagger = load_tagger(shared_model("bert"))
    (found,) = tagger.logits([["Paris", "\x01", "dort"]])
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]
    assert tagger.tag([["\x01"]]) == [["O"]]


@pytest.mark.parametrize("family", FAMILIES)
def test_dynamic_int8_works_and_warns_of_nothing(family: str, shared_model, short: Corpus) -> None:
    """Warnings are errors in these tests: torch's own about its deprecated kernels have to be contained."""
    sentences = [s.words for s in short]
    exact, small = load_tagger(shared_model(family)), load_tagger(shared_model(family), int8=True)
    found, wanted = np.concatenate(small.logits(sentences)), np.concatenate(exact.logits(sentences))
    assert np.abs(found - wanted).max() < wanted.std()
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.8
    assert not np.array_equal(found, wanted)
    assert serialized_size(small.model) < serialized_size(exact.model)
    assert len(small.predict_batch(TEXTS)) == len(TEXTS)


def test_quantizing_leaves_the_model_it_was_given(shared_model) -> None:
    tagger = load_tagger(shared_model())
    before = tagger.logits([["Paris", "dort"]])[0]
    quantized = quantize_dynamic(tagger.model)
    assert quantized is not tagger.model
    assert np.array_equal(tagger.logits([["Paris", "dort"]])[0], before)
    assert any(
        "Quantized" in type(m).__name__ or "quantized" in type(m).__module__ for m in quantized.modules()
    )


def test_no_quantized_kernels(shared_model, monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        engine = "none"

    monkeypatch.setattr(torch.backends, "quantized", Engine)
    with pytest.raises(ModelError, match="no quantized kernels"):
        load_tagger(shared_model(), int8=True)


def _spoil(folder: Path, name: str, value: float | None) -> Path:
    weights = load_file(folder / "model.safetensors")
    if value is None:
        del weights[name]
    else:
        weights[name].fill_(value)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    "name",
    ["classifier.bias", "roberta.encoder.layer.1.output.dense.weight", "roberta.embeddings.LayerNorm.weight"],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(name: str, value: float, tiny_model) -> None:
    with pytest.raises(ModelError, match=rf"{name} holds .* that are NaN or infinite"):
        load_tagger(_spoil(tiny_model(), name, value))


def test_missing_tensors(tiny_model) -> None:
    with pytest.raises(ModelError, match=r"lacks 1 tensor of its architecture: classifier\.bias"):
        load_tagger(_spoil(tiny_model(), "classifier.bias", None))


def test_padding() -> None:
    ids, mask = pad([[5, 6, 7], np.array([8], np.int32), (9, 10)], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1], [9, 10, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert ids.dtype == mask.dtype == torch.long
