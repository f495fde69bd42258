"""Models are loaded whole or not at all, from safetensors only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification, AutoTokenizer

from affineur.artifact import Manifest, write_manifest
from affineur.engines.support.checkpoints import load_encoder, load_model, pick_device, save_model
from affineur.errors import ModelError, ParameterError
from steps.conftest import FAMILIES, same_bits


def configure(folder: Path, **entries: Any) -> Path:
    config = json.loads((folder / "config.json").read_text("utf-8")) | entries
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def change_weights(folder: Path, drop: str = "", **add: torch.Tensor) -> Path:
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if k != drop}
    save_file(weights | add, folder / "model.safetensors", {"format": "pt"})
    return folder


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_loads_every_family_in_float32_for_evaluation(family: str, shared_model) -> None:
    model = load_model(shared_model(family, dtype="float16"))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training
    kept = load_model(shared_model(family, dtype="float16"), dtype="auto")
    assert {p.dtype for p in kept.parameters()} == {torch.float16}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickles_are_refused(name: str, tiny_model) -> None:
    folder = tiny_model()
    torch.save(load_file(folder / "model.safetensors"), folder / name)
    (folder / "model.safetensors").unlink()
    refused(folder, rf"only as {name}, a pickle")


def test_a_pickle_beside_safetensors_is_never_read(tiny_model) -> None:
    folder = tiny_model()
    (folder / "pytorch_model.bin").write_bytes(b"this would not even unpickle")
    assert load_model(folder).config.num_hidden_layers == 3


@pytest.mark.parametrize(
    "name",
    ["classifier.weight", "roberta.encoder.layer.1.output.dense.weight", "roberta.embeddings.LayerNorm.bias"],
)
def test_missing_tensors(name: str, tiny_model) -> None:
    refused(
        change_weights(tiny_model(), name),
        rf"lacks 1 tensor of its architecture: {name} \(.*\) expected; they would be random",
    )


def test_fewer_layers_in_the_configuration_than_in_the_weights(tiny_model) -> None:
    refused(
        configure(tiny_model(), num_hidden_layers=2),
        r"has 16 tensors in its layers that its config.json does not know: .*layer.2.* refused",
    )


def test_more_layers_in_the_configuration_than_in_the_weights(tiny_model) -> None:
    refused(configure(tiny_model(), num_hidden_layers=4), "lacks 16 tensors")


def test_a_pooler_that_is_left_over_is_harmless(tiny_model) -> None:
    folder = tiny_model("bert")
    extra = {"bert.pooler.dense.weight": torch.ones(32, 32), "bert.pooler.dense.bias": torch.ones(32)}
    change_weights(folder, **extra)
    assert load_model(folder).config.num_hidden_layers == 3


@pytest.mark.parametrize("shape", [(31, 32), (32, 33), (32,), ()])
def test_a_tensor_of_another_shape(shape: tuple[int, ...], tiny_model) -> None:
    name = "roberta.encoder.layer.1.attention.self.query.weight"
    refused(
        change_weights(tiny_model(), name, **{name: torch.ones(shape)}), rf"{name} \(.*expected \(32, 32\)"
    )


@pytest.mark.parametrize(
    "entries",
    [
        {"hidden_size": "abc"},
        {"hidden_size": 31},
        {"hidden_size": None},
        {"num_attention_heads": 0},
        {"vocab_size": -1},
        {"pad_token_id": 5000},
        {"hidden_act": "nope"},
        {"model_type": "nope"},
        {"model_type": None},
        {"max_position_embeddings": 3},
        {"intermediate_size": 64},
    ],
    ids=str,
)
def test_damaged_configurations(entries: dict[str, Any], tiny_model) -> None:
    said = (
        r"camembert cannot be loaded \(|json has .*(expected |not know)|expected \(.* by config\.json|lacks"
    )
    refused(configure(tiny_model(), **entries), said)


def test_code_of_a_model_is_never_run(tiny_model, tmp_path: Path) -> None:
    folder = configure(
        tiny_model(), auto_map={"AutoModelForTokenClassification": "evil.Model", "AutoConfig": "evil.Config"}
    )
    (folder / "evil.py").write_text(
        f"open({str(tmp_path / 'owned')!r}, 'w')\nclass Model: pass\nclass Config: pass\n"
    )
    load_model(folder)
    assert not (tmp_path / "owned").exists()


def test_digests_are_verified(tiny_model) -> None:
    folder = tiny_model()
    write_manifest(folder, Manifest("transformers", "test"))
    load_model(folder)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    os.utime(folder / "model.safetensors", ns=(0, 0))
    refused(folder, "sha256 differs")


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_again_it_is_the_same(family: str, shared_model, tmp_path: Path) -> None:
    path = shared_model(family)
    model = load_model(path)
    save_model(model, tmp_path, path)
    assert same_bits(load_file(path / "model.safetensors"), load_file(tmp_path / "model.safetensors"))
    assert (tmp_path / "tokenizer.json").read_bytes() == (path / "tokenizer.json").read_bytes()
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert plain.config.id2label == model.config.id2label
    assert (
        AutoTokenizer.from_pretrained(tmp_path)("Paris")["input_ids"]
        == AutoTokenizer.from_pretrained(path)("Paris")["input_ids"]
    )


@pytest.mark.parametrize(
    ("device", "match"),
    [
        ("tpu9", "no device 'tpu9'"),
        ("", "no device ''"),
        ("cuda", "no CUDA device"),
        ("cuda:7", "no CUDA device"),
    ],
)
def test_devices_that_are_not_there(device: str, match: str) -> None:
    if torch.cuda.is_available() and "cuda" in device:
        pytest.skip("this machine has one")
    with pytest.raises(ParameterError, match=match):
        pick_device(device)


def test_devices() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": "1.0"}', "garbage"])
def test_a_damaged_tokenizer(text: str, tiny_model) -> None:
    folder = tiny_model()
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match=r"tokenizer.json cannot be read"):
        load_encoder(folder)


def test_a_word_list_without_tokenizer_json_is_converted(tiny_model, tmp_path: Path) -> None:
    """What a BERT of 2019 brings: ``vocab.txt`` alone."""
    folder = tiny_model("bert")
    encoder = load_encoder(folder)
    words = ["Marie", "habite", "à", "Saint-Étienne"]
    vocabulary = sorted((i, piece) for piece, i in encoder.tokenizer.get_vocab().items())
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for _, piece in vocabulary), "utf-8")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    )
    assert list(load_encoder(folder).windows([words])) == list(encoder.windows([words]))
    save_model(load_model(folder), tmp_path, folder)
    assert list(load_encoder(tmp_path).windows([words])) == list(encoder.windows([words]))


def test_a_tokenizer_nobody_can_read(tiny_model) -> None:
    folder = tiny_model()
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "sentencepiece.bpe.model").write_bytes(b"garbage")
    with pytest.raises(ModelError, match="tokenizer"):
        load_encoder(folder)
