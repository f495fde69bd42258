"""What is a usable model folder, and what every other folder is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from affineur.artifact import open_folder
from affineur.artifact.folder import file_digest
from affineur.errors import ModelError
from conftest import FAMILIES


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        open_folder(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def configure(folder: Path, **entries: Any) -> Path:
    config = json.loads((folder / "config.json").read_text("utf-8")) | entries
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_opens_every_family(family: str, shared_model) -> None:
    path = shared_model(family)
    folder = open_folder(str(path))
    assert folder.path == path
    assert folder.labels == ("O", "I-LOC", "I-PER", "I-MISC", "I-ORG")
    assert folder.layers == 3
    assert folder.size_bytes == (path / "model.safetensors").stat().st_size
    assert {t.name for t in folder.tensors()} == load_file(path / "model.safetensors").keys()


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "is not there, expected a model folder")


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("x")
    refused(tmp_path / "model.bin", "is a file, expected a model folder")


def test_no_config(tiny_model) -> None:
    folder = tiny_model()
    (folder / "config.json").unlink()
    refused(folder, r"has no config.json")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        ("[]", "not a JSON object"),
    ],
)
def test_a_bad_config(text: str | bytes, match: str, tiny_model) -> None:
    folder = tiny_model()
    (folder / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(folder, match)


@pytest.mark.parametrize(
    ("architectures", "named"),
    [
        (["CamembertForMaskedLM"], "CamembertForMaskedLM"),
        (["CamembertModel", "X"], "CamembertModel, X"),
        ([], "none named"),
        (None, "none named"),
        (..., "none named"),
        ("CamembertForTokenClassification", "CamembertForTokenClassification"),
        (5, "5"),
    ],
)
def test_the_wrong_head(architectures: object, named: str, tiny_model) -> None:
    refused(
        configure(tiny_model(), architectures=architectures),
        rf"no token-classification head \(architecture: {named}, expected .*affineur train",
    )


@pytest.mark.parametrize(
    "id2label", [..., None, [], ["O"], 3, {"a": "O"}, {"1": "O"}, {"0": "O", "2": "I-LOC"}]
)
def test_unusable_labels(id2label: object, tiny_model) -> None:
    refused(configure(tiny_model(), id2label=id2label), "no usable id2label")


def test_labels_without_an_outside(tiny_model) -> None:
    refused(configure(tiny_model(), id2label={str(i): f"LABEL_{i}" for i in range(5)}), "none of them O")


@pytest.mark.parametrize("count", [1, 4, 6])
def test_labels_that_do_not_fit_the_classifier(count: int, tiny_model) -> None:
    folder = configure(tiny_model(), id2label={str(i): f"I-T{i}" if i else "O" for i in range(count)})
    refused(folder, rf"the classifier has 5 outputs but config.json names {count} labels")


def test_a_classifier_without_a_shape(tiny_model) -> None:
    folder = tiny_model()
    save_file(
        load_file(folder / "model.safetensors") | {"classifier.weight": torch.tensor(1.0)},
        folder / "model.safetensors",
    )
    refused(folder, "the classifier has 0 outputs")


def test_no_tokenizer(tiny_model) -> None:
    folder = tiny_model()
    (folder / "tokenizer.json").unlink()
    refused(folder, "has no tokenizer")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "weights.pkl", "last.ckpt"])
def test_only_pickles_are_refused_by_name(name: str, tiny_model) -> None:
    folder = tiny_model()
    (folder / "model.safetensors").rename(folder / name)
    (folder / "optimizer.pt").write_text("x")
    refused(
        folder,
        rf"has its weights only as {name}, a pickle, which can run code when it is read; "
        "expected model.safetensors",
    )


def test_what_a_trainer_leaves_is_ignored(tiny_model) -> None:
    folder = tiny_model()
    for name in (
        "optimizer.pt",
        "scheduler.pt",
        "training_args.bin",
        "rng_state.pth",
        "rng_state_0.pth",
        "scaler.pt",
        "optimizer.bin",
    ):
        (folder / name).write_text("x")
    assert open_folder(folder).layers == 3
    (folder / "pytorch_model.bin").write_text("x")  # beside safetensors a pickle is merely never read
    assert open_folder(folder).layers == 3
    (folder / "pytorch_model.bin").unlink()
    (folder / "model.safetensors").unlink()
    refused(folder, r"has no model.safetensors")


def test_truncated_weights(tiny_model) -> None:
    folder = tiny_model()
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1])
    refused(folder, r"model.safetensors is not a readable safetensors file \(.*\); fetch or write it again")


def test_the_digest_follows_what_decides_the_outputs(tiny_model) -> None:
    folder = tiny_model()
    before = open_folder(folder).digest()
    (folder / "README.md").write_text("x")
    assert open_folder(folder).digest() == before
    seen = {before}
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(
            content[:-1] + bytes([content[-1] ^ 1]) if name == "model.safetensors" else content + b" "
        )
        os.utime(folder / name, ns=(0, 0))
        seen.add(open_folder(folder).digest())
    assert len(seen) == 4


def test_two_copies_have_one_digest(tiny_model) -> None:
    assert open_folder(tiny_model()).digest() == open_folder(tiny_model()).digest()
    assert open_folder(tiny_model()).digest() != open_folder(tiny_model(seed=8)).digest()


def test_a_file_digest_is_read_again_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("abc")
    assert (
        file_digest(file)
        == file_digest(file)
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    file.write_text("abd")
    os.utime(file, ns=(0, 0))
    assert file_digest(file) == "a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9"
