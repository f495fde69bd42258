"""``recover``: zeros stay zero, with a teacher or without, and nothing is trained that need not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification

from affineur.artifact import CARD, ModelFolder, open_folder, read_manifest, refuse_to_lose, verify
from affineur.engines.support import checkpoints
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus
from affineur.errors import DataError, ModelError, ParameterError
from affineur.measure import evaluate
from affineur.progress import listening
from affineur.steps.core.context import Context
from affineur.steps.training.mask import KeepZeros

from .conftest import FAMILIES, beside, run_step, same_bits, state, weights, zero_set
from .conftest import ONE_STEP as STEP


@pytest.mark.parametrize("family", FAMILIES)
def test_the_guides_way_in_every_family(family: str, tiny_model, short: Corpus, tmp_path: Path) -> None:
    teacher = tiny_model(family)
    before = state(teacher)
    student, pruned, tuned = (
        tmp_path / name for name in ("student", "student_pruned", "student_pruned_finetuned")
    )
    assert run_step("distill", teacher, student, layers=2, train=short, keep="top", **STEP) == student
    assert run_step("prune", student, pruned, sparsity=0.3) == pruned
    pruned_weights = json.loads((pruned / "pruning_info.json").read_text("utf-8"))["zeros_in_scope"]
    assert run_step("recover", pruned, tuned, train=short, teacher=teacher, **STEP) == tuned
    assert state(teacher) == before
    zeros = zero_set(pruned)
    assert sum(int(z.sum()) for z in zeros.values()) == pruned_weights
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
    assert manifest.scores["zeros_kept"] == pruned_weights
    assert (tuned / "pruning_info.json").read_bytes() == (pruned / "pruning_info.json").read_bytes()
    assert not (student / "pruning_info.json").exists()
    # No workplace is left.
    assert beside(tmp_path / "x") == ["student", "student_pruned", "student_pruned_finetuned"]


def test_hidden_states_are_learned_from_too(tiny_model, short: Corpus, tmp_path: Path) -> None:
    teacher = tiny_model()
    runs = [
        run_step(
            "distill",
            teacher,
            tmp_path / str(w),
            layers=2,
            train=short,
            keep="top",
            soft_weight=0.0,
            temperature=2.0,
            hidden_weight=w,
            **STEP,
        )
        for w in (0.0, 1.0)
    ]
    assert not same_bits(weights(runs[0]), weights(runs[1]))
    run_step("prune", runs[0], tmp_path / "pruned", sparsity=0.2)
    tuned = run_step(
        "recover",
        tmp_path / "pruned",
        tmp_path / "tuned",
        train=short,
        teacher=teacher,
        soft_weight=0.5,
        temperature=2.0,
        hidden_weight=1.0,
        **STEP,
    )
    assert all(
        torch.equal(a, b)
        for a, b in zip(zero_set(tmp_path / "pruned").values(), zero_set(tuned).values(), strict=True)
    )


def test_hidden_states_of_another_size_are_refused(tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="the teacher have 16 numbers, those of the model 32"):
        run_step(
            "recover",
            tiny_model(),
            tmp_path / "out",
            train=short,
            teacher=tiny_model(hidden_size=16),
            soft_weight=0.5,
            temperature=2.0,
            hidden_weight=1.0,
            **STEP,
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("hidden_weight", [0.0, 1.0])
def test_a_teacher_with_another_tokenizer(
    hidden_weight: float, tiny_model, short: Corpus, tmp_path: Path
) -> None:
    """It says something of words, whatever pieces it cuts them into."""
    teacher, out = tiny_model("bert"), tmp_path / "out"
    run_step("recover", tiny_model(), out, train=short, teacher=teacher, hidden_weight=hidden_weight, **STEP)
    verify(out)


def test_frozen_embeddings_stay(tiny_model, short: Corpus, tmp_path: Path) -> None:
    source = tiny_model()
    name = "roberta.embeddings.word_embeddings.weight"
    before = weights(source)
    for frozen in (True, False):
        out = tmp_path / str(frozen)
        after = weights(run_step("recover", source, out, train=short, freeze_embeddings=frozen, **STEP))
        assert torch.equal(before[name], after[name]) is frozen
        assert sum(not torch.equal(before[key], after[key]) for key in before) > 20


def test_a_teacher_of_other_labels_is_refused(tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="soft labels need the same set"):
        run_step(
            "recover",
            tiny_model(),
            tmp_path / "out",
            train=short,
            teacher=tiny_model(labels=["O", "I-LOC"]),
            **STEP,
        )
    assert not (tmp_path / "out").exists()


def test_recover_without_a_teacher_or_zeros_is_plain_fine_tuning(
    tiny_model, short: Corpus, tmp_path: Path
) -> None:
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        run_step("recover", tiny_model(), tmp_path / "out", train=short, **STEP)
    assert "recover: no zeros in scope, so this is plain fine-tuning" in heard
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert "soft_weight" not in manifest.parameters


def test_half_precision_is_trained_in_float32(tiny_model, short: Corpus, tmp_path: Path) -> None:
    run_step("prune", tiny_model(dtype="float16"), tmp_path / "pruned", sparsity=0.3)
    run_step("recover", tmp_path / "pruned", tmp_path / "out", train=short, **STEP)
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
    run_step("prune", tiny_model(), tmp_path / "pruned", sparsity=0.3)
    monkeypatch.setattr(KeepZeros, "on_optimizer_step", lambda *_, **__: None)
    with pytest.raises(ModelError, match="no longer zero"):
        run_step("recover", tmp_path / "pruned", tmp_path / "out", train=short, **STEP)
    assert not (tmp_path / "out").exists()


def test_the_written_file_is_checked_again(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_step("prune", tiny_model(), tmp_path / "pruned", sparsity=0.3)
    real = checkpoints.save_model

    def spoil(model: Any, target: Path, source: Path) -> None:
        with torch.no_grad():
            model.roberta.encoder.layer[0].output.dense.weight.fill_(1)
        real(model, target, source)

    monkeypatch.setattr(checkpoints, "save_model", spoil)
    with pytest.raises(ModelError, match="no longer zero"):
        run_step("recover", tmp_path / "pruned", tmp_path / "out", train=short, **STEP)
    assert not (tmp_path / "out").exists()


def test_a_teacher_is_loaded_once(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, teacher = tiny_model(), tiny_model()
    real, loaded = checkpoints.load_model, []

    def load(folder: ModelFolder | Path, *words: Any, **options: Any) -> Any:
        loaded.append(folder.path if isinstance(folder, ModelFolder) else folder)
        return real(folder, *words, **options)

    monkeypatch.setattr(checkpoints, "load_model", load)
    run_step("recover", model, tmp_path / "out", train=short, teacher=teacher, hidden_weight=1.0, **STEP)
    assert loaded[:2] == [model, teacher]
    assert len(loaded) == 3  # and what was written, to check its zeros


@pytest.mark.parametrize(
    "values", [{"soft_weight": 0.4}, {"temperature": 1}, {"hidden_weight": 0.5}], ids=str
)
def test_what_is_said_of_a_teacher_needs_one(
    values: dict[str, float], tiny_model, short: Corpus, tmp_path: Path
) -> None:
    (name,) = values
    with pytest.raises(ParameterError, match=f"^{name}=.* learn from another model, but no teacher") as error:
        run_step("recover", tiny_model(), tmp_path / "out", train=short, **values)
    assert error.value.parameter == f"{name} teacher"
    assert list(tmp_path.iterdir()) == []


# if_f1_below


def test_a_model_that_is_good_enough_is_left_alone(
    tiny_model, train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    model, context = tmp_path / "model", Context()
    run_step("train", tiny_model(), model, train=train_corpus, epochs=6, learning_rate=3e-3)
    f1 = evaluate(load_tagger(model), dev_corpus).total.f1
    assert f1 > 0
    options = {"train": train_corpus, "dev": dev_corpus, "context": context, **STEP}
    assert run_step("recover", model, tmp_path / "out", if_f1_below=f1, **options) == model
    assert beside(tmp_path / "out") == ["model"]
    assert context.notes == [f"dev F1 {f1:.4f} reaches {f1:g}, so no recovery was needed"]
    bar = f1 + 1e-9
    assert run_step("recover", model, tmp_path / "out", if_f1_below=bar, **options) == tmp_path / "out"
    assert context.notes[1:] == [f"dev F1 {f1:.4f} is below {bar:g}, so the model was fine-tuned"]


def test_the_bar_decides_whether_and_not_what(
    tiny_model, short: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    """So a result made without a bar, or with another one, is not made again."""
    model, out = tiny_model(), tmp_path / "out"
    run_step("recover", model, out, train=short, dev=dev_corpus, **STEP)
    before = state(out)
    for bar in (0.99, 1):
        run_step("recover", model, out, train=short, dev=dev_corpus, if_f1_below=bar, **STEP)
    assert state(out) == before
    assert "if_f1_below" not in getattr(read_manifest(out), "parameters", ())


@pytest.mark.parametrize(("f1", "trained"), [(0.7, True), (0.9, False)])
def test_a_score_that_is_known_is_asked_for(
    f1: float, trained: bool, tiny_model, short: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    model, out, asked = tiny_model(), tmp_path / "out", []

    def known(folder: ModelFolder) -> float:
        asked.append(folder.path)
        return f1

    context = Context(dev_f1=known)
    options = {"train": short, "dev": dev_corpus, "context": context, **STEP}
    assert run_step("recover", model, out, if_f1_below=0.8, **options) == (out if trained else model)
    assert asked == [model]


def test_a_bar_needs_dev_data(tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dev"):
        run_step("recover", tiny_model(), tmp_path / "out", train=short, if_f1_below=0.8)
    assert list(tmp_path.iterdir()) == []
