"""Issue 15: a classifier for other types is trained from one that has its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from affineur.artifact import open_folder, read_manifest
from affineur.entities import Corpus
from affineur.errors import DataError
from affineur.progress import listening
from steps.conftest import ONE_STEP, corpus_of, run_step, same_bits, weights

STEP = ONE_STEP | {"epochs": 1, "learning_rate": 0}


def drugs() -> Corpus:
    return corpus_of(("Marie Duval prend Doliprane", "I-PER I-PER O I-DRUG"), ("il dort", "O O"))


@pytest.mark.parametrize("labels", [("O", "I-LOC", "I-ORG"), ("O", "I-LOC", "I-PER", "I-MISC", "I-ORG")])
def test_other_types_get_a_new_classifier(labels: tuple[str, ...], tiny_model, tmp_path: Path) -> None:
    source = tiny_model(labels=labels)
    out = run_step("train", source, tmp_path / "out", train=drugs(), new_head=True, **STEP)
    assert open_folder(out).labels == ("O", "I-DRUG", "I-PER")
    old, new = weights(source), weights(out)
    encoder = [name for name in new if name.startswith("roberta.")]
    assert same_bits({name: old[name] for name in encoder}, {name: new[name] for name in encoder})
    assert new["classifier.weight"].shape == (3, 32)
    # Where the old one had as many outputs, too: they meant something else.
    assert not (old["classifier.weight"][: len(labels)][:3] == new["classifier.weight"]).all()
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.parameters["new_head"] is True
    assert "--new-head" in str(manifest.command)


def test_without_the_flag_it_is_named_before_any_work(tiny_model, tmp_path: Path) -> None:
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)), pytest.raises(DataError) as caught:
        run_step("train", tiny_model(), tmp_path / "out", train=drugs(), **STEP)
    said = str(caught.value)
    assert "types DRUG, PER, the model knows LOC, MISC, ORG, PER; new_head gives it a new classifier" in said
    assert not heard
    assert not (tmp_path / "out").exists()


def test_labels_that_name_no_outside_need_a_new_classifier(tiny_model, tmp_path: Path) -> None:
    source = tiny_model(labels=("LABEL_0", "LABEL_1"))
    out = run_step("train", source, tmp_path / "out", train=drugs(), new_head=True, tags="BIO", **STEP)
    assert open_folder(out).labels == ("O", "B-DRUG", "I-DRUG", "B-PER", "I-PER")


def test_where_no_head_is_there_the_flag_decides_nothing(tiny_model, tmp_path: Path) -> None:
    source = tiny_model()
    run_step("train", source, tmp_path / "out", train=drugs(), new_head=True, **STEP)
    manifest = read_manifest(tmp_path / "out")
    run_step("train", tmp_path / "out", tmp_path / "b", train=drugs(), **STEP)
    other = read_manifest(tmp_path / "b")
    assert manifest is not None
    assert other is not None
    assert "new_head" not in other.parameters
