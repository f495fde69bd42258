"""``distill``: which layers a student has, and what it learns from its teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from affineur.artifact import open_folder, read_manifest, verify
from affineur.engines.support.torch_tagger import TorchTagger, load_tagger
from affineur.entities import Corpus
from affineur.errors import DataError, ParameterError
from affineur.steps.core.step import Shape
from affineur.steps.distill import Distill

from .conftest import ONE_STEP as STEP
from .conftest import count_calls, run_step, same_bits, weights


def test_a_student_starts_as_the_teachers_layers(tiny_model, short: Corpus, tmp_path: Path) -> None:
    teacher = tiny_model(num_hidden_layers=4)
    run_step("distill", teacher, tmp_path / "out", layers=2, train=short, keep="uniform", epochs=0)
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
    run_step("distill", teacher, tmp_path / "out", layers=2, train=short, dev=dev_corpus, **STEP)
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
        run_step("distill", tiny_model(), tmp_path / "out", layers=2, train=short)
    assert not (tmp_path / "out").exists()


def test_a_student_comes_nearer_to_its_teacher(
    tiny_model, train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    """Soft labels alone, on a teacher that has learned something."""
    teacher = run_step(
        "train", tiny_model(), tmp_path / "teacher", train=train_corpus, epochs=15, learning_rate=3e-3
    )
    far = run_step("distill", teacher, tmp_path / "far", layers=1, train=train_corpus, keep="top", epochs=0)
    near = run_step(
        "distill",
        teacher,
        tmp_path / "near",
        layers=1,
        train=train_corpus,
        keep="top",
        epochs=8,
        learning_rate=3e-3,
        soft_weight=1.0,
    )
    sentences = [s.words for s in dev_corpus]
    said, first, last = (load_tagger(path).tag(sentences) for path in (teacher, far, near))

    def agreement(tags: list[list[str]]) -> float:
        return float(
            np.mean([a == b for x, y in zip(said, tags, strict=True) for a, b in zip(x, y, strict=True)])
        )

    assert agreement(last) > agreement(first) + 0.1
    assert agreement(last) > 0.7


def test_the_teacher_is_asked_once_for_all_students(
    tiny_model, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = tiny_model()
    calls = count_calls(monkeypatch, TorchTagger, "window_logits")
    run_step("distill", teacher, tmp_path / "a", layers=2, train=short, keep="top", **STEP)
    assert calls[0] > 0
    asked = calls[0]
    run_step("distill", teacher, tmp_path / "b", layers=1, train=short, keep="top", **(STEP | {"epochs": 2}))
    run_step("recover", tmp_path / "a", tmp_path / "c", train=short, teacher=teacher, **STEP)
    assert calls[0] == asked


@pytest.mark.parametrize("layers", [4, 40])
def test_more_layers_than_the_teacher_has(layers: int, tiny_model, short: Corpus, tmp_path: Path) -> None:
    said = rf"^layers={layers} is impossible: the model has 3 encoder layers, so give a number from 1 to 3$"
    with pytest.raises(ParameterError, match=said) as error:
        run_step("distill", tiny_model(), tmp_path / "out", layers=layers, train=short, keep="top")
    assert error.value.parameter == "layers"
    with pytest.raises(ParameterError, match=said):
        Distill(layers=layers).after(Shape("transformers", 3))
    assert list(tmp_path.iterdir()) == []


def test_what_a_student_will_be_is_known_before() -> None:
    step = Distill(layers=2)
    for kind in ("transformers", "packed"):
        assert step.after(Shape(kind, 3, pruned=True)) == Shape("transformers", 2)
    assert step.label("teacher", "student_3L") == "student_2L"
    with pytest.raises(ParameterError, match="distill cannot start from a model of the kind onnx"):
        step.after(Shape("onnx", 3))


def test_a_packed_teacher(tiny_model, short: Corpus, tmp_path: Path) -> None:
    run_step("prune", tiny_model(), tmp_path / "pruned", sparsity=0.5)
    run_step("pack", tmp_path / "pruned", tmp_path / "packed")
    options = {"layers": 2, "keep": "top", "train": short, **STEP}
    out = [
        run_step("distill", tmp_path / name, tmp_path / f"of_{name}", **options)
        for name in ("pruned", "packed")
    ]
    assert same_bits(weights(out[0]), weights(out[1]))
    assert open_folder(out[1]).kind == "transformers"


def test_without_train_data(tiny_model, dev_corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train"):
        run_step("distill", tiny_model(), tmp_path / "out", layers=2, dev=dev_corpus)
    with pytest.raises(ParameterError, match="distill needs data") as error:
        run_step("distill", tiny_model(), tmp_path / "out", layers=2)
    assert error.value.parameter == "data"
