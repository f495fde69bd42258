"""A teacher is asked once: what it said is kept, gone on with, and put in the student's order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from affineur.artifact import open_folder
from affineur.engines.support.torch_tagger import TorchTagger, load_tagger
from affineur.entities import Corpus
from affineur.errors import ModelError
from affineur.steps.core.context import Context
from affineur.steps.training import teacher_logits as module
from affineur.steps.training.teacher_logits import teacher_hidden, teacher_logits
from affineur.transfer import cache_folder

from ..conftest import InterruptedTrainingError, corpus_of, count_calls

LABELS = ("O", "I-LOC", "I-PER", "I-MISC", "I-ORG")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 8)


@pytest.fixture
def teacher(shared_model) -> TorchTagger:
    return load_tagger(shared_model())


def kept(cache: Path) -> list[str]:
    return sorted(p.suffix for p in (cache / "logits").iterdir())


def test_they_are_the_teachers(teacher: TorchTagger, train_corpus: Corpus, tmp_path: Path) -> None:
    found = teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path)
    assert isinstance(found, np.memmap)
    assert found.shape == (train_corpus.words, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, np.concatenate(teacher.logits([s.words for s in train_corpus])), atol=1e-5
    )
    assert kept(tmp_path) == [".f4"]


def test_in_bf16_they_are_near_and_kept_for_themselves(
    teacher: TorchTagger, train_corpus: Corpus, tmp_path: Path
) -> None:
    first = np.array(teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path))
    second = np.array(teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path, "bf16"))
    assert 0 < np.abs(first - second).max() < 0.05 * np.abs(first).max()
    assert kept(tmp_path) == [".f4"] * 2


def test_hidden_states_are_those_at_first_pieces(
    teacher: TorchTagger, train_corpus: Corpus, short: Corpus, tmp_path: Path, monkeypatch
) -> None:
    found = teacher_hidden(teacher, "d", train_corpus, tmp_path)
    assert (found.shape, found.dtype) == ((train_corpus.words, teacher.model.config.hidden_size), np.float16)
    row = 0
    for sentence in short:  # the first sentences of the corpus, one by one
        (window,) = teacher.encoder.windows([sentence.words])
        with torch.inference_mode():
            states = teacher.model(torch.tensor([window.ids]), output_hidden_states=True).hidden_states[-1][0]
        wanted = states[list(window.positions)].numpy()
        np.testing.assert_allclose(found[row : row + len(wanted)], wanted, atol=5e-3)
        row += len(wanted)
    calls = count_calls(monkeypatch, TorchTagger, "window_logits")
    teacher_hidden(teacher, "d", train_corpus, tmp_path)
    assert calls == [0]
    assert kept(tmp_path) == [".f2"]


def test_asked_again_the_teacher_is_silent(
    teacher: TorchTagger, train_corpus: Corpus, short: Corpus, tmp_path: Path, monkeypatch
) -> None:
    first = np.array(teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path))
    calls = count_calls(monkeypatch, TorchTagger, "window_logits")
    assert np.array_equal(teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path), first)
    assert calls == [0]
    teacher_logits(teacher, "another teacher", train_corpus, LABELS, tmp_path)
    teacher_logits(teacher, "d", short, LABELS, tmp_path)
    assert calls[0] > 0
    assert kept(tmp_path) == [".f4"] * 3


def test_kept_in_affineurs_cache(
    teacher: TorchTagger, short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "given"))
    teacher_logits(teacher, "d", short, LABELS, Context().cache)
    assert kept(tmp_path / "given") == [".f4"]
    monkeypatch.delenv("AFFINEUR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "affineur"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "affineur"


@pytest.mark.parametrize("cut", [0, 1, 19, 20, 21, 1000])
def test_a_computation_cut_short_goes_on_with_identical_bytes(
    cut: int, teacher: TorchTagger, train_corpus: Corpus, tmp_path: Path, monkeypatch
) -> None:
    calls = count_calls(monkeypatch, TorchTagger, "window_logits")
    teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path / "undisturbed")
    whole = calls[0]
    (wanted,) = (tmp_path / "undisturbed" / "logits").iterdir()
    real = TorchTagger.logits
    asked = [0]

    def logits(self: TorchTagger, *words, **options):
        asked[0] += 1
        if asked[0] == 5:
            raise InterruptedTrainingError
        return real(self, *words, **options)

    monkeypatch.setattr(TorchTagger, "logits", logits)
    with pytest.raises(InterruptedTrainingError):
        teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path)
    (part,) = (tmp_path / "logits").iterdir()
    assert part.suffix == ".part"
    with part.open("r+b") as file:
        file.truncate(part.stat().st_size - cut)
    calls[0] = 0
    teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path)
    (found,) = (tmp_path / "logits").iterdir()
    assert found.read_bytes() == wanted.read_bytes()
    assert 0 < calls[0] < whole * 0.8


def test_a_kept_file_of_another_length_is_made_again(
    teacher: TorchTagger, train_corpus: Corpus, tmp_path: Path
) -> None:
    wanted = np.array(teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path))
    (file,) = (tmp_path / "logits").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    assert np.array_equal(teacher_logits(teacher, "d", train_corpus, LABELS, tmp_path), wanted)
    assert kept(tmp_path) == [".f4"]


def test_columns_are_put_in_the_students_order(teacher: TorchTagger, short: Corpus, tmp_path: Path) -> None:
    order = [3, 0, 4, 2, 1]
    plain = np.array(teacher_logits(teacher, "d", short, LABELS, tmp_path))
    found = teacher_logits(teacher, "d", short, tuple(LABELS[i] for i in order), tmp_path)
    assert np.array_equal(found, plain[:, order])
    bare = teacher_logits(teacher, "d", short, ("PER", "O", "LOC", "ORG", "MISC"), tmp_path)
    assert np.array_equal(bare, plain[:, [2, 0, 1, 4, 3]])


@pytest.mark.parametrize(
    "labels", [("O", "I-LOC"), (*LABELS, "I-DATE"), ("O", "B-LOC", "I-PER", "I-MISC", "I-ORG")]
)
def test_other_labels_are_refused(
    labels: tuple[str, ...], teacher: TorchTagger, short: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(
        ModelError, match=r"the teacher's labels are O, I-LOC, .* soft labels need the same set"
    ):
        teacher_logits(teacher, "d", short, labels, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_words_the_teacher_never_saw_are_nan(shared_model, tmp_path: Path) -> None:
    path = shared_model("bert")
    found = teacher_logits(
        load_tagger(path),
        open_folder(path).digest(),
        corpus_of(("à \x01 Paris", "O O I-LOC")),
        LABELS,
        tmp_path,
    )
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]
