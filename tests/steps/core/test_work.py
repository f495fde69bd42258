"""Artifacts in general: finished work is recognized, unfinished work gone on with, the rest never harmed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affineur.artifact import (
    CARD,
    MANIFEST,
    Manifest,
    Measured,
    open_folder,
    read_manifest,
    verify,
    write_card,
    write_manifest,
)
from affineur.entities import Corpus
from affineur.errors import AffineurError, DataError, ModelError, ParameterError
from affineur.progress import listening
from affineur.steps.core.context import Context
from affineur.steps.training import loop

from ..conftest import ONE_STEP as STEP
from ..conftest import InterruptedTrainingError, beside, corpus_of, run_step, same_bits, state, weights

Trained = Callable[[Path], Path]


@pytest.fixture(params=["distill", "recover", "train"])
def trained(
    request: pytest.FixtureRequest, shared_model, train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> Trained:
    """A step that trains two epochs of two batches, as a function of where it writes."""
    model = shared_model()
    settings = {"epochs": 2, "batch_size": 30, "learning_rate": 1e-3}
    context = Context(cache=tmp_path / "cache")
    if request.param == "distill":
        return lambda out: run_step(
            "distill",
            model,
            out,
            layers=2,
            train=train_corpus,
            dev=dev_corpus,
            hidden_weight=0.5,
            context=context,
            **settings,
        )
    if request.param == "train":
        return lambda out: run_step(
            "train", model, out, train=train_corpus, dev=dev_corpus, replace_mentions=0.5, **settings
        )
    run_step("prune", model, tmp_path / "pruned", sparsity=0.3)
    return lambda out: run_step(
        "recover", tmp_path / "pruned", out, train=train_corpus, teacher=model, context=context, **settings
    )


def test_killed_at_every_checkpoint_a_stage_writes_identical_weights(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = trained(tmp_path / "undisturbed")
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
    real, known = loop._Checkpoints.on_save, set()

    def on_save(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        real(self, args, state, control, **kwargs)
        if state.global_step not in known:
            known.add(state.global_step)
            raise InterruptedTrainingError

    monkeypatch.setattr(loop._Checkpoints, "on_save", on_save)
    out = tmp_path / "out"
    while not out.exists():
        try:
            trained(out)
        except InterruptedTrainingError:
            assert not out.exists()
            assert ".out.work" in beside(out)
    assert len(known) >= 3
    assert (out / "model.safetensors").read_bytes() == (wanted / "model.safetensors").read_bytes()
    assert ".out.work" not in beside(out)
    first, second = read_manifest(wanted), read_manifest(out)
    assert first is not None
    assert second is not None
    assert first.key == second.key
    # The loss is the mean since the last one told, which a resumed run tells over fewer steps.
    for name in set(first.scores) - {"loss"}:
        assert first.scores[name] == second.scores[name], name


def test_a_second_call_does_nothing_and_a_tampered_result_is_made_again(
    trained: Trained, tmp_path: Path
) -> None:
    out = trained(tmp_path / "out")
    before = state(out)
    assert trained(out) == out
    assert state(out) == before
    content = bytearray((out / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "model.safetensors").write_bytes(content)
    os.utime(out / "model.safetensors", ns=(0, 0))
    trained(out)
    assert (out / "model.safetensors").read_bytes() == before["model.safetensors"][1]
    verify(out)


def test_a_card_with_scores_leaves_a_stage_finished(trained: Trained, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    out = trained(tmp_path / "out")
    key = getattr(read_manifest(out), "key", None)
    assert "Not measured yet" in (out / CARD).read_text("utf-8")
    assert ModelCard.load(out / CARD).data.base_model == "camembert"
    write_card(out, Measured("x", "0" * 64, 1, 2, 0.5, 0.4, 0.6, 0.5, 0.5, 0.9))
    before = state(out)
    assert trained(out) == out
    assert state(out) == before
    assert getattr(read_manifest(out), "key", None) == key
    (out / CARD).write_text("edited on the Hub", "utf-8")
    before = state(out)
    trained(out)
    assert state(out) == before


def test_a_card_takes_license_and_language_from_the_source_and_no_word_of_it(
    tiny_model, short: Corpus, tmp_path: Path
) -> None:
    from huggingface_hub import ModelCard

    teacher = tiny_model()
    (teacher / CARD).write_text(
        "---\nlicense: cc-by-nc-sa-4.0\nlanguage: fr\n---\n# Words of the teacher\n\n## Limitations\n",
        "utf-8",
    )
    run_step("distill", teacher, tmp_path / "student", layers=2, train=short, keep="top", **STEP)
    run_step("prune", tmp_path / "student", tmp_path / "pruned", sparsity=0.3)
    run_step("recover", tmp_path / "pruned", tmp_path / "tuned", train=short, teacher=teacher, **STEP)
    for name in ("student", "pruned", "tuned"):
        card = ModelCard.load(tmp_path / name / CARD)
        assert (card.data.license, card.data.language, card.data.base_model) == (
            "cc-by-nc-sa-4.0",
            "fr",
            "camembert",
        )
        assert "Words of the teacher" not in card.text
        assert "The card of `camembert` names limits of its own" in card.text
    assert card.data.tags == ["affineur", "token-classification", "ner", "distilled", "pruned"]
    for command in (
        "affineur distill camembert --layers 2",
        "affineur prune student --sparsity 0.3",
        "affineur recover pruned --epochs 1",
    ):
        assert f"\n{command}" in card.text
    manifest = read_manifest(tmp_path / "tuned")
    assert manifest is not None
    assert manifest.parameters["teacher"] == "camembert"
    assert manifest.parameters["teacher_digest"] == open_folder(teacher).digest()
    assert [p.parameters.get("layers") for p in manifest.parents] == [None, 2, None]
    assert manifest.parents[1].data == getattr(read_manifest(tmp_path / "student"), "data", None)


def test_a_damaged_card_of_the_source_stops_nothing(tiny_model, short: Corpus, tmp_path: Path) -> None:
    source = tiny_model()
    (source / CARD).write_bytes(b"---\nlicense: [\n---\n\xff")
    run_step("train", source, tmp_path / "out", train=short, **STEP)
    assert "license:" not in (tmp_path / "out" / CARD).read_text("utf-8").split("---\n")[1]


def test_a_source_from_the_hub_is_named_by_its_id(tiny_model, tmp_path: Path) -> None:
    cached = tmp_path / "models--owner--tiny" / "snapshots" / ("ab" * 20)
    shutil.copytree(tiny_model(), cached)
    run_step("prune", cached, tmp_path / "out", sparsity=0.3)
    downloaded = Path(shutil.copytree(cached, tmp_path / "downloaded"))
    write_manifest(downloaded, Manifest("transformers", "download", {"source": "hub:owner/tiny"}))
    run_step("prune", downloaded, tmp_path / "out2", sparsity=0.3)
    for out in ("out", "out2"):
        manifest = read_manifest(tmp_path / out)
        assert manifest is not None
        assert manifest.parents[0].name == "owner/tiny"
        assert "base_model: owner/tiny\n" in (tmp_path / out / CARD).read_text("utf-8")


def test_a_configuration_lends_nothing_and_is_no_base(tiny_model, short: Corpus, tmp_path: Path) -> None:
    source = tiny_model()
    (source / "model.safetensors").unlink()
    run_step("train", source, tmp_path / "out", train=short, **STEP)
    run_step("prune", tmp_path / "out", tmp_path / "pruned", sparsity=0.3)
    for out in ("out", "pruned"):
        manifest = read_manifest(tmp_path / out)
        assert manifest is not None
        assert manifest.parents[-1].stage == "configuration"
        assert "base_model" not in (tmp_path / out / CARD).read_text("utf-8")


def test_for_want_of_a_card_no_work_is_lost(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affineur.steps.core import work

    def refuse(_: Path) -> None:
        raise ModelError("cannot be described")

    monkeypatch.setattr(work, "describe", refuse)
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        run_step("train", tiny_model(), tmp_path / "out", train=short, **STEP)
    assert "train: no README.md is written (cannot be described)" in heard
    verify(tmp_path / "out")
    assert not (tmp_path / "out" / CARD).exists()


def test_a_workplace_of_other_parameters_is_cleared(tiny_model, short: Corpus, tmp_path: Path) -> None:
    place = tmp_path / ".out.work"
    place.mkdir()
    (place / "key").write_text("another")
    (place / "checkpoints").write_text("rubbish")
    run_step("train", tiny_model(), tmp_path / "out", train=short, **STEP)
    assert beside(tmp_path / "out") == []


def test_two_processes_at_the_same_output(tiny_model, short: Corpus, tmp_path: Path) -> None:
    lock = tmp_path / ".out.lock"
    hold = (
        f"import fcntl\nfile = open({str(lock)!r}, 'w')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        with pytest.raises(ParameterError, match="another process is making"):
            run_step("train", tiny_model(), tmp_path / "out", train=short, **STEP)
        other.stdin.close()
        other.wait()
    run_step("train", tiny_model(), tmp_path / "out", train=short, **STEP)  # the lock went with the process
    assert beside(tmp_path / "out") == []


@pytest.mark.parametrize("changes", [{"learning_rate": 2e-3}, {"seed": 14}, {"epochs": 2}])
def test_other_parameters_are_another_result(
    changes: dict[str, Any], tiny_model, short: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    run_step("train", source, tmp_path / "out", train=short, **STEP)
    before = weights(tmp_path / "out")
    run_step("train", source, tmp_path / "out", train=short, **(STEP | changes))
    assert not same_bits(before, weights(tmp_path / "out"))


def test_other_data_is_another_result(
    tiny_model, short: Corpus, train_corpus: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    run_step("train", source, tmp_path / "out", train=short, **STEP)
    before = weights(tmp_path / "out")
    run_step("train", source, tmp_path / "out", train=train_corpus.head(9), **STEP)
    assert not same_bits(before, weights(tmp_path / "out"))


UNKNOWN = corpus_of(("Paris en mai", "I-GPE O O"))
LAYERS: dict[str, dict[str, Any]] = {"distill": {"layers": 2, "keep": "top"}, "recover": {}, "train": {}}


@pytest.mark.parametrize("where", ["train", "dev"])
@pytest.mark.parametrize("name", ["distill", "recover", "train"])
def test_types_the_model_lacks_are_an_error_before_any_work(
    name: str, where: str, tiny_model, short: Corpus, tmp_path: Path
) -> None:
    data, dev = (UNKNOWN, short) if where == "train" else (short, UNKNOWN)
    with pytest.raises(
        DataError,
        match=r"the data has types GPE, the model knows LOC, MISC, ORG, PER; "
        r"(rename with|new_head gives it a new classifier .*) label_map",
    ):
        run_step(name, tiny_model(), tmp_path / "out", train=data, dev=dev, **STEP | LAYERS[name])
    assert list(tmp_path.iterdir()) == []


def test_output_folders_that_are_not_ours(tiny_model, short: Corpus, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    for name, layers in LAYERS.items():
        with pytest.raises(ParameterError, match="did not write"):
            run_step(name, tiny_model(), tmp_path, train=short, **layers)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_full_disk_at_the_end_leaves_the_work_to_go_on_from(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    source = tiny_model()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("affineur.artifact.writing._sync", full)
        with pytest.raises(AffineurError, match="no space left"):
            run_step("train", source, tmp_path / "out", train=short, **STEP)
    assert beside(tmp_path / "out") == [".out.work"]
    run_step("train", source, tmp_path / "out", train=short, **STEP)
    assert beside(tmp_path / "out") == []
    assert (tmp_path / "out" / MANIFEST).exists()
