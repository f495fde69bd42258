"""``prune`` by a method that looks at text: which text, and what is written of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affineur.artifact import read_manifest
from affineur.entities import Corpus, open_corpus
from affineur.errors import DataError, ParameterError
from affineur.steps.core.context import Context
from affineur.steps.prune import CALIBRATION_SENTENCES
from affineur.transfer import load_splits

from ..conftest import corpus_of, run_step, state, zero_set
from ..test_prune import builds, info_of, prune

WANDA = {"sparsity": 0.3, "method": "wanda"}


def test_writes_what_it_was_calibrated_on_and_knows_it_again(
    tiny_model, train_corpus: Corpus, tmp_path: Path
) -> None:
    source, out = tiny_model(), tmp_path / "out"
    said = prune(source, out, **WANDA, calibration=train_corpus)
    zeros = sum(int(z.sum()) for z in zero_set(out).values())
    assert said["zeros_in_scope"] == round(0.3 * said["weights_in_scope"]) == zeros
    wanted = {"name": train_corpus.name, "digest": train_corpus.digest, "sentences": len(train_corpus)}
    assert (said["method"], said["calibration"]) == ("wanda", wanted)
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.data == {"calibration": wanted}
    before = state(out)
    assert not builds(source, out, **WANDA, calibration=train_corpus)
    assert state(out) == before
    assert builds(source, out, **WANDA, calibration=train_corpus.head(7))
    assert builds(source, out, sparsity=0.3)
    assert info_of(out)["calibration"] is None
    assert builds(source, out, **WANDA, calibration=train_corpus)
    assert (out / "model.safetensors").read_bytes() == before["model.safetensors"][1]


def test_only_the_first_sentences_are_read(
    tiny_model, train_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CALIBRATION_SENTENCES <= 512
    monkeypatch.setattr("affineur.steps.prune.CALIBRATION_SENTENCES", 5)
    source, out = tiny_model(), tmp_path / "out"
    assert prune(source, out, **WANDA, calibration=train_corpus)["calibration"]["sentences"] == 5
    assert not builds(source, out, **WANDA, calibration=train_corpus.head(5))


def test_labels_are_never_read(tiny_model, short: Corpus, tmp_path: Path) -> None:
    """Types the model has never heard of change nothing."""
    source = tiny_model()
    strange = corpus_of(*((" ".join(s.words), " ".join(["B-VIRUS"] * len(s.words))) for s in short))
    prune(source, tmp_path / "a", **WANDA, calibration=short)
    prune(source, tmp_path / "b", **WANDA, calibration=strange)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        tmp_path / "b" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays(dtype: str, tiny_model, short: Corpus, tmp_path: Path) -> None:
    info = prune(tiny_model(dtype=dtype), tmp_path / "out", **WANDA, calibration=short)
    assert info["zeros_in_scope"] == max(round(0.3 * info["weights_in_scope"]), info["zeros_before"])
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype


@pytest.mark.parametrize("method", ["magnitude", "layerwise"])
def test_calibration_and_method_go_together(method: str, tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError,
        match=rf"methods that look at text \(wanda\), but the method is '{method}'; leave it out",
    ) as error:
        prune(tiny_model(), tmp_path / "out", method=method, calibration=short)
    assert error.value.parameter == "calibration"
    assert list(tmp_path.iterdir()) == []


def test_text_without_pieces(tiny_model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no piece of any word"):
        prune(tiny_model("bert"), tmp_path / "out", **WANDA, calibration=corpus_of(("\u200b", "O")))
    assert list(tmp_path.iterdir()) == []


def test_train_of_the_data_is_read_where_no_text_is_named(tiny_model, corpus: Path, tmp_path: Path) -> None:
    context = Context(data=load_splits(corpus))
    said = prune(tiny_model(), tmp_path / "out", **WANDA, context=context)
    assert said["calibration"]["digest"] == open_corpus(corpus / "train.conll").digest


def test_the_samples_text_is_read_where_there_is_no_data(tiny_model, tmp_path: Path) -> None:
    said = prune(tiny_model(), tmp_path / "out", **WANDA)["calibration"]
    assert said["sentences"] == CALIBRATION_SENTENCES
    assert said["name"].startswith("sample/train")


def test_recover_keeps_the_zeros(tiny_model, short: Corpus, tmp_path: Path) -> None:
    prune(tiny_model(), tmp_path / "pruned", sparsity=0.4, method="wanda", calibration=short)
    short_training = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    run_step("recover", tmp_path / "pruned", tmp_path / "tuned", train=short, **short_training)
    before, after = zero_set(tmp_path / "pruned"), zero_set(tmp_path / "tuned")
    assert all(bool((after[name] | ~zeros).all()) for name, zeros in before.items())
