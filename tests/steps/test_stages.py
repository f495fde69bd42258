"""``train``, ``distill`` and ``recover`` on folders: from end to end, in every family, and killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification

from affineur.artifact import (
    CARD,
    MANIFEST,
    Manifest,
    Measured,
    open_folder,
    read_manifest,
    refuse_to_lose,
    verify,
    write_card,
    write_manifest,
)
from affineur.entities import Corpus, Scheme
from affineur.errors import AffineurError, DataError, ModelError, ParameterError
from affineur.measure import evaluate
from affineur.progress import listening
from affineur.steps import (
    SoftTargets,
    TorchTagger,
    TrainSettings,
    distill,
    load_tagger,
    prune,
    recover,
    train,
    training,
)

from .conftest import FAMILIES, InterruptedTrainingError, corpus_of, count_calls, same_bits, zero_set

STEP = TrainSettings(epochs=1, batch_size=8, learning_rate=1e-3)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.iterdir())}


def beside(out: Path) -> list[str]:
    return sorted(p.name for p in out.parent.iterdir() if p != out)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_guides_way_in_every_family(family: str, tiny_model, short: Corpus, tmp_path: Path) -> None:
    teacher = tiny_model(family)
    before = state(teacher)
    student, pruned, tuned = (
        tmp_path / name for name in ("student", "student_pruned", "student_pruned_finetuned")
    )
    assert distill(teacher, student, 2, short, keep="top", settings=STEP) == student
    info = prune(student, pruned, 0.3)
    assert info is not None
    assert recover(pruned, tuned, short, teacher=teacher, settings=STEP) == tuned
    assert state(teacher) == before
    zeros = zero_set(pruned)
    assert sum(int(z.sum()) for z in zeros.values()) == info.zeros
    after = zero_set(tuned)
    assert all(torch.equal(zeros[name], after[name]) for name in zeros)  # exactly these stayed
    assert not same_bits(weights(pruned), weights(tuned))
    plain, loading = AutoModelForTokenClassification.from_pretrained(tuned, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert plain.config.num_hidden_layers == 2
    for folder in (student, pruned, tuned):
        refuse_to_lose(folder)
        made = verify(folder)
        assert made is not None
        assert CARD in made.files
        assert (folder / CARD).read_text("utf-8").split("---\n")[2].startswith(f"\n# {folder.name}\n")
        assert len(load_tagger(folder).tag([["Marie", "dort"]])[0]) == 2
    manifest = read_manifest(tuned)
    assert manifest is not None
    wanted = [("prune", pruned), ("distill", student), ("given", teacher)]
    assert [(p.stage, p.digest, p.name) for p in manifest.parents] == [
        (stage, open_folder(path).digest(), path.name) for stage, path in wanted
    ]
    assert manifest.data["train"] == {"name": short.name, "digest": short.digest, "sentences": 8}
    assert manifest.scores["zeros_kept"] == info.zeros
    assert (tuned / "pruning_info.json").read_bytes() == (pruned / "pruning_info.json").read_bytes()
    assert not (student / "pruning_info.json").exists()
    assert beside(tmp_path / "x") == [
        "student",
        "student_pruned",
        "student_pruned_finetuned",
    ]  # no workplace is left


def test_a_student_starts_as_the_teachers_layers(tiny_model, short: Corpus, tmp_path: Path) -> None:
    teacher = tiny_model(num_hidden_layers=4)
    distill(teacher, tmp_path / "out", 2, short, keep="uniform", settings=TrainSettings(epochs=0))
    old, new = weights(teacher), weights(tmp_path / "out")
    moved = {name.replace("layer.1.", "layer.3."): weight for name, weight in new.items()}
    assert same_bits(moved, {name: old[name] for name in moved})
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.scores["layers_kept"] == [0, 3]
    assert manifest.scores["steps"] == 0


def test_distill_searches_on_dev_and_says_so(
    tiny_model, short: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    teacher = tiny_model()
    distill(teacher, tmp_path / "out", 2, short, dev_corpus, settings=STEP)
    manifest = verify(tmp_path / "out")
    assert manifest is not None
    scores = manifest.scores
    assert len(scores["layer_search"]) == 2
    best = max(trial["f1"] for trial in scores["layer_search"])
    dropped = [trial["dropped"] for trial in scores["layer_search"] if trial["f1"] == best][-1]
    assert scores["layers_kept"] == [i for i in range(3) if i not in dropped]
    assert scores["dev_f1_untrained"] == best
    assert len(scores["dev_f1"]) == 1
    assert manifest.parameters["layers"] == 2
    assert manifest.parameters["keep"] == "search"
    assert manifest.parameters["soft_weight"] == 0.5


def test_search_without_dev_is_refused(tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="search needs dev data"):
        distill(tiny_model(), tmp_path / "out", 2, short)
    assert not (tmp_path / "out").exists()


def test_a_student_comes_nearer_to_its_teacher(
    tiny_model, train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    """Soft labels alone, on a teacher that has learned something."""
    teacher = train(
        tiny_model(),
        tmp_path / "teacher",
        train_corpus,
        settings=TrainSettings(epochs=15, learning_rate=3e-3),
    )
    far = distill(teacher, tmp_path / "far", 1, train_corpus, keep="top", settings=TrainSettings(epochs=0))
    near = distill(
        teacher,
        tmp_path / "near",
        1,
        train_corpus,
        keep="top",
        settings=TrainSettings(epochs=8, learning_rate=3e-3),
        soft=SoftTargets(weight=1.0),
    )
    sentences = [s.words for s in dev_corpus]
    said, first, last = (load_tagger(path).tag(sentences) for path in (teacher, far, near))

    def agreement(tags: list[list[str]]) -> float:
        return float(
            np.mean([a == b for x, y in zip(said, tags, strict=True) for a, b in zip(x, y, strict=True)])
        )

    assert agreement(last) > agreement(first) + 0.1
    assert agreement(last) > 0.7


def test_hidden_states_are_learned_from_too(tiny_model, short: Corpus, tmp_path: Path) -> None:
    teacher = tiny_model()
    runs = [
        distill(
            teacher, tmp_path / str(w), 2, short, keep="top", settings=STEP, soft=SoftTargets(0.0, 2.0, w)
        )
        for w in (0.0, 1.0)
    ]
    assert not same_bits(weights(runs[0]), weights(runs[1]))
    prune(runs[0], tmp_path / "pruned", 0.2)
    tuned = recover(
        tmp_path / "pruned",
        tmp_path / "tuned",
        short,
        teacher=teacher,
        settings=STEP,
        soft=SoftTargets(0.5, 2.0, 1.0),
    )
    assert all(
        torch.equal(a, b)
        for a, b in zip(zero_set(tmp_path / "pruned").values(), zero_set(tuned).values(), strict=True)
    )


@pytest.mark.parametrize("teacher", [{"family": "bert"}, {"family": "camembert", "hidden_size": 16}])
def test_hidden_states_of_another_kind_are_refused(
    teacher: dict[str, Any], tiny_model, short: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match="same tokenizer and hidden size"):
        recover(
            tiny_model(),
            tmp_path / "out",
            short,
            teacher=tiny_model(**teacher),
            settings=STEP,
            soft=SoftTargets(0.5, 2.0, 1.0),
        )
    assert not (tmp_path / "out").exists()


def test_soft_labels_of_a_teacher_with_another_tokenizer(tiny_model, short: Corpus, tmp_path: Path) -> None:
    recover(tiny_model(), tmp_path / "out", short, teacher=tiny_model("bert"), settings=STEP)
    verify(tmp_path / "out")


def test_a_teacher_of_other_labels_is_refused(tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="soft labels need the same set"):
        recover(
            tiny_model(), tmp_path / "out", short, teacher=tiny_model(labels=["O", "I-LOC"]), settings=STEP
        )
    assert not (tmp_path / "out").exists()


def test_recover_without_a_teacher_or_zeros_is_plain_fine_tuning(
    tiny_model, short: Corpus, tmp_path: Path
) -> None:
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        recover(tiny_model(), tmp_path / "out", short, settings=STEP)
    assert "recover: no zeros in scope, so this is plain fine-tuning" in heard
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert "soft_weight" not in manifest.parameters


def test_half_precision_is_trained_in_float32(tiny_model, short: Corpus, tmp_path: Path) -> None:
    prune(tiny_model(dtype="float16"), tmp_path / "pruned", 0.3)
    recover(tmp_path / "pruned", tmp_path / "out", short, settings=STEP)
    assert {w.dtype for w in weights(tmp_path / "out").values()} == {torch.float32}
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            zero_set(tmp_path / "pruned").values(), zero_set(tmp_path / "out").values(), strict=True
        )
    )


def test_a_zero_that_is_lost_is_never_written(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affineur.steps import KeepZeros

    prune(tiny_model(), tmp_path / "pruned", 0.3)
    monkeypatch.setattr(KeepZeros, "on_optimizer_step", lambda *_, **__: None)
    with pytest.raises(ModelError, match="no longer zero"):
        recover(tmp_path / "pruned", tmp_path / "out", short, settings=STEP)
    assert not (tmp_path / "out").exists()


def test_the_written_file_is_checked_again(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affineur.steps import stage

    prune(tiny_model(), tmp_path / "pruned", 0.3)
    real = stage.save_model

    def spoil(model: Any, target: Path, source: Path) -> None:
        with torch.no_grad():
            model.roberta.encoder.layer[0].output.dense.weight.fill_(1)
        real(model, target, source)

    monkeypatch.setattr(stage, "save_model", spoil)
    with pytest.raises(ModelError, match="no longer zero"):
        recover(tmp_path / "pruned", tmp_path / "out", short, settings=STEP)
    assert not (tmp_path / "out").exists()


Stage = Callable[[Path], Path]


@pytest.fixture(params=["distill", "recover", "train"])
def stage(
    request: pytest.FixtureRequest, shared_model, train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> Stage:
    """One stage of two scored epochs of two steps, as a function of where it writes."""
    model, cache = shared_model(), tmp_path / "cache"
    settings = TrainSettings(epochs=2, batch_size=30, learning_rate=1e-3, keep_best=request.param == "train")
    if request.param == "distill":
        soft = SoftTargets(0.5, 2.0, 0.5)
        return lambda out: distill(
            model, out, 2, train_corpus, dev_corpus, settings=settings, soft=soft, cache=cache
        )
    if request.param == "train":
        return lambda out: train(model, out, train_corpus, dev_corpus, settings, replace_mentions=0.5)
    prune(model, tmp_path / "pruned", 0.3)
    return lambda out: recover(
        tmp_path / "pruned", out, train_corpus, teacher=model, settings=settings, cache=cache
    )


def test_killed_at_every_checkpoint_a_stage_writes_identical_weights(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = stage(tmp_path / "undisturbed")
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", -1.0)
    real, known = training._Checkpoints.on_save, set()

    def on_save(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        real(self, args, state, control, **kwargs)
        if state.global_step not in known:
            known.add(state.global_step)
            raise InterruptedTrainingError

    monkeypatch.setattr(training._Checkpoints, "on_save", on_save)
    out = tmp_path / "out"
    while not out.exists():
        try:
            stage(out)
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
    for name in set(first.scores) - {
        "loss"
    }:  # the mean loss since the last one told: a resumed run tells it over fewer steps
        assert first.scores[name] == second.scores[name], name


def test_a_second_call_does_nothing_and_a_tampered_result_is_made_again(stage: Stage, tmp_path: Path) -> None:
    out = stage(tmp_path / "out")
    before = state(out)
    assert stage(out) == out
    assert state(out) == before
    content = bytearray((out / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "model.safetensors").write_bytes(content)
    os.utime(out / "model.safetensors", ns=(0, 0))
    stage(out)
    assert (out / "model.safetensors").read_bytes() == before["model.safetensors"][1]
    verify(out)


def test_a_card_with_scores_leaves_a_stage_finished(stage: Stage, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    out = stage(tmp_path / "out")
    key = getattr(read_manifest(out), "key", None)
    assert "Not measured yet" in (out / CARD).read_text("utf-8")
    assert ModelCard.load(out / CARD).data.base_model == "camembert"
    write_card(out, Measured("x", "0" * 64, 1, 2, 0.5, 0.4, 0.6, 0.5, 0.5, 0.9))
    before = state(out)
    assert stage(out) == out
    assert state(out) == before
    assert getattr(read_manifest(out), "key", None) == key
    (out / CARD).write_text("edited on the Hub", "utf-8")
    before = state(out)
    stage(out)
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
    distill(teacher, tmp_path / "student", 2, short, keep="top", settings=STEP)
    prune(tmp_path / "student", tmp_path / "pruned", 0.3)
    recover(tmp_path / "pruned", tmp_path / "tuned", short, teacher=teacher, settings=STEP)
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
    train(source, tmp_path / "out", short, settings=STEP)
    assert "license:" not in (tmp_path / "out" / CARD).read_text("utf-8").split("---\n")[1]


def test_a_source_from_the_hub_is_named_by_its_id(tiny_model, tmp_path: Path) -> None:
    cached = tmp_path / "models--owner--tiny" / "snapshots" / ("ab" * 20)
    shutil.copytree(tiny_model(), cached)
    prune(cached, tmp_path / "out", 0.3)
    downloaded = Path(shutil.copytree(cached, tmp_path / "downloaded"))
    write_manifest(downloaded, Manifest("transformers", "download", {"source": "hub:owner/tiny"}))
    prune(downloaded, tmp_path / "out2", 0.3)
    for out in ("out", "out2"):
        manifest = read_manifest(tmp_path / out)
        assert manifest is not None
        assert manifest.parents[0].name == "owner/tiny"
        assert "base_model: owner/tiny\n" in (tmp_path / out / CARD).read_text("utf-8")


def test_a_configuration_lends_nothing_and_is_no_base(tiny_model, short: Corpus, tmp_path: Path) -> None:
    source = tiny_model()
    (source / "model.safetensors").unlink()
    train(source, tmp_path / "out", short, settings=STEP)
    prune(tmp_path / "out", tmp_path / "pruned", 0.3)
    for out in ("out", "pruned"):
        manifest = read_manifest(tmp_path / out)
        assert manifest is not None
        assert manifest.parents[-1].stage == "configuration"
        assert "base_model" not in (tmp_path / out / CARD).read_text("utf-8")


def test_for_want_of_a_card_no_work_is_lost(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affineur.steps import stage

    def refuse(_: Path) -> None:
        raise ModelError("cannot be described")

    monkeypatch.setattr(stage, "describe", refuse)
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        train(tiny_model(), tmp_path / "out", short, settings=STEP)
    assert "train: no README.md is written (cannot be described)" in heard
    verify(tmp_path / "out")
    assert not (tmp_path / "out" / CARD).exists()


def test_a_workplace_of_other_parameters_is_cleared(tiny_model, short: Corpus, tmp_path: Path) -> None:
    place = tmp_path / ".out.work"
    place.mkdir()
    (place / "key").write_text("another")
    (place / "checkpoints").write_text("rubbish")
    train(tiny_model(), tmp_path / "out", short, settings=STEP)
    assert beside(tmp_path / "out") == []


def test_two_processes_at_the_same_output(tiny_model, short: Corpus, tmp_path: Path) -> None:
    lock = tmp_path / ".out.lock"
    hold = f"import fcntl\nfile = open({str(lock)!r}, 'w')\nfcntl.flock(file, fcntl.LOCK_EX)\nprint('held', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        with pytest.raises(ParameterError, match="another process is making"):
            train(tiny_model(), tmp_path / "out", short, settings=STEP)
        other.stdin.close()
        other.wait()
    train(tiny_model(), tmp_path / "out", short, settings=STEP)  # the lock went with the process
    assert beside(tmp_path / "out") == []


@pytest.mark.parametrize("changes", [{"learning_rate": 2e-3}, {"seed": 14}, {"epochs": 2}])
def test_other_parameters_are_another_result(
    changes: dict[str, Any], tiny_model, short: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    train(source, tmp_path / "out", short, settings=STEP)
    before = weights(tmp_path / "out")
    train(source, tmp_path / "out", short, settings=replace(STEP, **changes))
    assert not same_bits(before, weights(tmp_path / "out"))


def test_other_data_is_another_result(
    tiny_model, short: Corpus, train_corpus: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    train(source, tmp_path / "out", short, settings=STEP)
    before = weights(tmp_path / "out")
    train(source, tmp_path / "out", train_corpus.head(9), settings=STEP)
    assert not same_bits(before, weights(tmp_path / "out"))


def test_the_teacher_is_asked_once_for_all_students(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = tiny_model()
    calls = count_calls(monkeypatch, TorchTagger, "window_logits")
    distill(teacher, tmp_path / "a", 2, short, keep="top", settings=STEP)
    assert calls[0] > 0
    asked = calls[0]
    distill(teacher, tmp_path / "b", 1, short, keep="top", settings=replace(STEP, epochs=2))
    recover(tmp_path / "a", tmp_path / "c", short, teacher=teacher, settings=STEP)
    assert calls[0] == asked


UNKNOWN = corpus_of(("Paris en mai", "I-GPE O O"))


@pytest.mark.parametrize("where", ["train", "dev"])
@pytest.mark.parametrize("name", ["distill", "recover", "train"])
def test_types_the_model_lacks_are_an_error_before_any_work(
    name: str, where: str, tiny_model, short: Corpus, tmp_path: Path
) -> None:
    data, dev = (UNKNOWN, short) if where == "train" else (short, UNKNOWN)
    model, out = tiny_model(), tmp_path / "out"
    calls: dict[str, Callable[[], Path]] = {
        "distill": lambda: distill(model, out, 2, data, dev, settings=STEP),
        "recover": lambda: recover(model, out, data, dev, settings=STEP),
        "train": lambda: train(model, out, data, dev, settings=STEP),
    }
    with pytest.raises(
        DataError,
        match=r"the data has types GPE, the model knows LOC, MISC, ORG, PER; rename with --label-map GPE=LOC",
    ):
        calls[name]()
    assert list(tmp_path.iterdir()) == []


def test_output_folders_that_are_not_ours(tiny_model, short: Corpus, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    for call in (distill, recover, train):
        with pytest.raises(ParameterError, match="did not write"):
            call(tiny_model(), tmp_path, *([2] if call is distill else []), short)  # type: ignore[operator]
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


# train: what it may start from


def test_train_from_a_token_classifier_keeps_its_labels(
    tiny_model, train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    settings = TrainSettings(epochs=4, learning_rate=3e-3, keep_best=True)
    train(source, tmp_path / "out", train_corpus, dev_corpus, settings)
    folder = open_folder(tmp_path / "out")
    assert folder.labels == open_folder(source).labels
    manifest = verify(tmp_path / "out")
    assert manifest is not None
    assert manifest.stage == "train"
    assert (
        max(manifest.scores["dev_f1"]) == evaluate(load_tagger(tmp_path / "out"), dev_corpus).total.f1 > 0.05
    )
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
    train(source, tmp_path / "out", corpus, settings=replace(STEP, epochs=1, learning_rate=0), scheme=scheme)
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
    train(headless(tiny_model(family), kind), tmp_path / "out", short, settings=STEP)
    assert open_folder(tmp_path / "out").labels[0] == "O"
    assert len(load_tagger(tmp_path / "out").tag([["Marie", "dort"]])[0]) == 2


def test_train_from_a_configuration_without_weights(tiny_model, short: Corpus, tmp_path: Path) -> None:
    source = tiny_model(dtype="float16")
    (source / "model.safetensors").unlink()
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        train(source, tmp_path / "a", short, settings=STEP)
    assert "train: the base has no weights, so all of them start at random" in heard
    train(source, tmp_path / "b", short, settings=STEP)
    assert same_bits(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert {w.dtype for w in weights(tmp_path / "a").values()} == {torch.float32}
    manifest = read_manifest(tmp_path / "a")
    assert manifest is not None
    assert manifest.parameters["from_weights"] is False
    train(source, tmp_path / "c", short, settings=replace(STEP, seed=3))
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
        train(source, tmp_path / "out", short, settings=STEP)
    assert not (tmp_path / "out").exists()


def test_what_a_trainer_left_is_no_reason_to_refuse_a_configuration(
    tiny_model, short: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    (source / "model.safetensors").rename(source / "optimizer.pt")
    train(source, tmp_path / "out", short, settings=STEP)
    verify(tmp_path / "out")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_impossible_shares(share: float, tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="share of mentions"):
        train(tiny_model(), tmp_path / "out", short, replace_mentions=share)


def test_early_stopping_needs_dev(tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="early stopping needs dev data"):
        train(tiny_model(), tmp_path / "out", short, settings=TrainSettings(patience=2))


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
            train(source, tmp_path / "out", short, settings=STEP)
    assert beside(tmp_path / "out") == [".out.work"]
    train(source, tmp_path / "out", short, settings=STEP)
    assert beside(tmp_path / "out") == []
    assert (tmp_path / "out" / MANIFEST).exists()
