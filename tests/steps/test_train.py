"""``train``: what it may start from, and what it refuses before hours of work."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification

from affineur.artifact import Manifest, open_folder, read_manifest, verify, write_manifest
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus, Scheme
from affineur.errors import ModelError, ParameterError
from affineur.measure import evaluate
from affineur.progress import listening
from affineur.steps.train import Train

from .conftest import FAMILIES, corpus_of, run_step, same_bits, state, weights
from .conftest import ONE_STEP as STEP


def test_train_from_a_token_classifier_keeps_its_labels(
    tiny_model, train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    options = {"train": train_corpus, "dev": dev_corpus, "epochs": 4, "learning_rate": 3e-3}
    run_step("train", source, tmp_path / "out", **options)
    folder = open_folder(tmp_path / "out")
    assert folder.labels == open_folder(source).labels
    manifest = verify(tmp_path / "out")
    assert manifest is not None
    assert manifest.stage == "train"
    f1 = evaluate(load_tagger(tmp_path / "out"), dev_corpus).total.f1
    assert max(manifest.scores["dev_f1"]) == f1 > 0.05
    assert manifest.parameters["keep_best"] is True
    assert manifest.parameters["from_weights"] is True


@pytest.mark.parametrize(
    ("scheme", "labels"),
    [
        (Scheme.IO, ("O", "I-LOC", "I-PER")),
        (Scheme.BIO, ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")),
        (Scheme.BIOES, ("O", "B-LOC", "I-LOC", "E-LOC", "S-LOC", "B-PER", "I-PER", "E-PER", "S-PER")),
    ],
)
def test_train_from_an_encoder_without_a_head(
    scheme: Scheme, labels: tuple[str, ...], tiny_model, tmp_path: Path
) -> None:
    corpus = corpus_of(("Marie Duval à Paris", "I-PER I-PER O I-LOC"), ("il dort", "O O"))
    source = headless(tiny_model(), AutoModelForMaskedLM)
    run_step(
        "train",
        source,
        tmp_path / "out",
        train=corpus,
        tags=scheme.value,
        **(STEP | {"epochs": 1, "learning_rate": 0}),
    )
    assert open_folder(tmp_path / "out").labels == labels
    old, new = weights(source), weights(tmp_path / "out")
    encoder = {name: weight for name, weight in new.items() if name.startswith("roberta.")}
    assert same_bits(encoder, {name: old[name] for name in encoder})
    assert new["classifier.weight"].shape == (len(labels), 32)
    plain, loading = AutoModelForTokenClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert plain.config.id2label == dict(enumerate(labels))


def headless(folder: Path, kind: Any) -> Path:
    from affineur.engines.support.checkpoints import quiet

    with quiet():
        model = kind.from_pretrained(folder)
        for name, parameter in model.named_parameters():
            if "head" in name or "predictions" in name or "vocab" in name:
                torch.nn.init.normal_(parameter)
        config = model.config
        for key in ("id2label", "label2id"):
            config.__dict__.pop(key, None)
        model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", [AutoModelForMaskedLM, AutoModel], ids=["masked language model", "bare"])
@pytest.mark.parametrize("family", FAMILIES)
def test_train_from_an_encoder_of_every_family(
    family: str, kind: Any, tiny_model, short: Corpus, tmp_path: Path
) -> None:
    run_step("train", headless(tiny_model(family), kind), tmp_path / "out", train=short, **STEP)
    assert open_folder(tmp_path / "out").labels[0] == "O"
    assert len(load_tagger(tmp_path / "out").tag([["Marie", "dort"]])[0]) == 2


def test_train_from_a_configuration_without_weights(tiny_model, short: Corpus, tmp_path: Path) -> None:
    source = tiny_model(dtype="float16")
    (source / "model.safetensors").unlink()
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        run_step("train", source, tmp_path / "a", train=short, **STEP)
    assert "train: the base has no weights, so all of them start at random" in heard
    run_step("train", source, tmp_path / "b", train=short, **STEP)
    assert same_bits(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert {w.dtype for w in weights(tmp_path / "a").values()} == {torch.float32}
    manifest = read_manifest(tmp_path / "a")
    assert manifest is not None
    assert manifest.parameters["from_weights"] is False
    run_step("train", source, tmp_path / "c", train=short, **(STEP | {"seed": 3}))
    assert not same_bits(weights(tmp_path / "a"), weights(tmp_path / "c"))


def _broken_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _list_for_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _bad_labels(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"a": "O"}}))


def _no_outside(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"id2label": {str(i): f"LABEL_{i}" for i in range(5)}})
    )


def _only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])


def _another_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"model_type": "electra", "architectures": ["ElectraForTokenClassification"]})
    )


def _tampered(folder: Path) -> None:
    write_manifest(folder, Manifest("transformers", "test"))
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes() + b" ")
    os.utime(folder / "tokenizer.json", ns=(0, 0))


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_broken_json, "not valid JSON"),
        (_list_for_config, "not a JSON object"),
        (_no_config, "no config.json"),
        (_gone, "no config.json"),
        (_bad_labels, "no usable id2label"),
        (_no_outside, "labels LABEL_0, .*none of them O.*config.json's id2label"),
        (_only_pickles, "only as pytorch_model.bin, a pickle"),
        (_truncated, "not a readable safetensors file"),
        (_another_architecture, "lacks"),
        (_tampered, "sha256 differs"),
        (_no_tokenizer, "has no tokenizer"),
    ],
)
def test_bases_that_cannot_be_used(
    spoil: Callable[[Path], None], match: str, tiny_model, short: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    spoil(source)
    with pytest.raises(ModelError, match=match):
        run_step("train", source, tmp_path / "out", train=short, **STEP)
    assert not (tmp_path / "out").exists()


def test_what_a_trainer_left_is_no_reason_to_refuse_a_configuration(
    tiny_model, short: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    (source / "model.safetensors").rename(source / "optimizer.pt")
    run_step("train", source, tmp_path / "out", train=short, **STEP)
    verify(tmp_path / "out")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_impossible_shares(share: float, tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="share of mentions"):
        run_step("train", tiny_model(), tmp_path / "out", train=short, replace_mentions=share)


def test_early_stopping_needs_dev(tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^patience=2 .* early stopping needs dev data") as error:
        run_step("train", tiny_model(), tmp_path / "out", train=short, patience=2)
    assert error.value.parameter == "patience"


def test_a_base_that_brings_no_labels_is_opened_without_any(tiny_model) -> None:
    model = tiny_model()
    assert Train.open(model) == open_folder(model)
    assert Train.open(headless(model, AutoModel)).labels == ()
    (model / "model.safetensors").rename(model / "model.onnx")
    with pytest.raises(ModelError, match=r"is an exported graph \(onnx\), which cannot be trained"):
        Train.open(model)


def test_the_scheme_of_a_new_classifier_decides_nothing_where_there_is_one(
    tiny_model, short: Corpus, tmp_path: Path
) -> None:
    source, out = tiny_model(), tmp_path / "out"
    run_step("train", source, out, train=short, **STEP)
    before = state(out)
    run_step("train", source, out, train=short, tags="BIO", **STEP)
    assert state(out) == before
    manifest = read_manifest(out)
    assert manifest is not None
    assert "tags" not in manifest.parameters
    assert manifest.parameters["labels"] == list(open_folder(source).labels)


def test_joined_sentences_are_fewer_and_all_there(tiny_model, train_corpus: Corpus, tmp_path: Path) -> None:
    steps, windows = {}, STEP | {"epochs": 1, "batch_size": 1}
    for share in (0.0, 1.0):
        out = tmp_path / f"out-{share:g}"
        run_step("train", tiny_model(), out, train=train_corpus, join_sentences=share, **windows)
        manifest = read_manifest(out)
        assert manifest is not None
        assert manifest.parameters["join_sentences"] == share
        steps[share] = manifest.scores["steps"]
    assert steps[0.0] == len(train_corpus) > steps[1.0] >= len(train_corpus) / 8
