"""References to places, wherever a model, a corpus or a recipe is named; what is kept of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import affineur
from affineur.artifact import Manifest, write_manifest
from affineur.cli.main import main
from affineur.errors import ParameterError, TransferError
from affineur.pipeline import read_recipe
from affineur.progress import listening
from affineur.transfer import cache_folder, load_corpus, load_splits, resolve_model
from affineur.transfer.cache import clean, fetched, kept
from affineur.transfer.places.core.place import Unreachable
from affineur.transfer.push import push

from .conftest import build_model

SENTENCE = "Marie\tI-PER\nrit\tO\n\n"


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A place with a model at ``model``, data at ``data`` and a recipe at ``recipes``."""
    model = build_model(tmp_path / "made" / "model")
    write_manifest(model, Manifest("transformers", "train"))
    for name, files in {
        "data": {f"{split}.conll": SENTENCE for split in ("train", "dev", "test")},
        "recipes": {
            "mine.yaml": "{name: mine, teacher: sample, data: sample, steps: [prune: {sparsity: 0.1}]}"
        },
    }.items():
        folder = tmp_path / "made" / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
    base = (tmp_path / "place").as_uri()
    for name in ("model", "data", "recipes"):
        push(tmp_path / "made" / name, f"{base}/{name}")
    return base


def test_a_model_is_fetched_once_and_shared(place: str, tmp_path: Path) -> None:
    first = resolve_model(f"{place}/model")
    assert first == resolve_model(f"{place}/model")
    assert first.is_relative_to(cache_folder())
    push(tmp_path / "made" / "model", f"{place}/other")
    assert resolve_model(f"{place}/other") == first  # the same content by another name


def test_notes_of_unfinished_uploads_are_listed_and_cleaned_by_their_age(tmp_path: Path) -> None:
    notes = cache_folder() / "uploads"
    notes.mkdir(parents=True)
    (notes / "old.jsonl").write_text("{}\n")
    (notes / "new.jsonl").write_text("{}\n")
    os.utime(notes / "old.jsonl", (0, 0))
    assert [each.what for each in kept()] == ["uploads"]
    assert [each.size_bytes for each in clean(30)] == [3]
    assert [path.name for path in notes.iterdir()] == ["new.jsonl"]
    assert len(clean()) == 1
    assert kept() == []


def test_a_new_version_is_fetched_and_the_old_one_kept(place: str, tmp_path: Path) -> None:
    old = resolve_model(f"{place}/model")
    model = tmp_path / "made" / "model"
    (model / "README.md").write_text("---\n---\n# mine\n")
    write_manifest(model, Manifest("transformers", "prune"))
    push(model, f"{place}/model")
    new = resolve_model(f"{place}/model")
    assert new != old
    assert old.is_dir()
    assert (new / "README.md").read_text() == "---\n---\n# mine\n"


def test_where_the_place_is_away_the_last_version_is_used_and_said(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = resolve_model(f"{place}/model")

    def away(*_: object) -> None:
        raise Unreachable("no network")

    monkeypatch.setattr("affineur.transfer.cache.find_index", away)
    said: list[str] = []
    with listening(lambda what, *_: said.append(what)):
        assert resolve_model(f"{place}/model") == known
    assert any(line.endswith("is used") and "no network" in line for line in said)
    with pytest.raises(Unreachable):
        resolve_model(f"{place}/data")


def test_what_is_gone_or_damaged_is_not_passed_over(place: str, tmp_path: Path) -> None:
    resolve_model(f"{place}/model")
    shutil.rmtree(tmp_path / "place")
    with pytest.raises(TransferError, match="nothing is there"):
        resolve_model(f"{place}/model")


def test_data_by_folder_and_by_file_goes_by_its_reference(place: str) -> None:
    splits = load_splits(f"{place}/data")
    assert splits.test is not None
    assert splits.test.name == f"{place}/data/test"
    corpus = load_corpus(f"{place}/data/dev.conll")
    assert corpus.name == f"{place}/data/dev.conll"
    assert [sentence.words for sentence in corpus] == [("Marie", "rit")]


def test_only_the_file_that_is_named_is_fetched(place: str) -> None:
    file = fetched(f"{place}/data/dev.conll")
    assert file.name == "dev.conll"
    assert {path.name for path in file.parent.iterdir() if path.name[0] != "."} == {"dev.conll"}
    with pytest.raises(TransferError, match=r"has no mine.conll; it has dev.conll, test.conll, train.conll"):
        fetched(f"{place}/data/mine.conll")


def test_a_recipe(place: str) -> None:
    assert read_recipe(f"{place}/recipes/mine.yaml").name == "mine"


def test_a_file_that_is_named_in_a_folder_without_an_index(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "test.conll").write_text(SENTENCE)
    (tmp_path / "plain" / "large.bin").write_bytes(b"pickle")
    reference = f"{(tmp_path / 'plain').as_uri()}/test.conll"
    first = fetched(reference)
    assert first.read_text() == SENTENCE
    (tmp_path / "plain" / "test.conll").write_text(SENTENCE * 2)
    assert fetched(reference).read_text() == SENTENCE * 2


def test_the_cache_is_listed_and_cleaned(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = resolve_model(f"{place}/model")
    load_corpus(f"{place}/data")
    (cache_folder() / "teacher_logits").mkdir()
    (cache_folder() / "teacher_logits" / "a").write_bytes(b"x" * 1000)
    assert {each.what for each in kept()} == {f"{place}/model", f"{place}/data", "teacher logits"}
    assert main(["cache", "--json", "-"]) == 0
    assert f"{place}/model" in capsys.readouterr().out
    os.utime(model, (0, 0))
    for path in model.rglob("*"):
        os.utime(path, (0, 0))
    assert [each.path for each in clean(30)] == [model]
    assert not model.exists()
    assert len(clean()) == 2
    assert not kept()
    assert resolve_model(f"{place}/model") == model
    with pytest.raises(ParameterError, match="older_than=-1 is impossible"):
        clean(-1)


def test_from_the_command_line(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "got"
    assert main(["pull", f"{place}/model", "-o", str(out), "-q"]) == 0
    assert "every digest was checked" in capsys.readouterr().out
    assert main(["push", str(out), f"{place}/again", "-q"]) == 0
    assert "4 files sent" in capsys.readouterr().out
    assert main(["push", str(out), f"{place}/again", "-q"]) == 0
    assert "nothing to send; 4 files were there already" in capsys.readouterr().out
    assert main(["pull", f"{place}/nothing", "-o", str(out), "-q"]) == 1
    assert capsys.readouterr().err.strip().count("\n") == 0
    assert main(["cache", "--older-than", "3"]) == 1
    assert "add --clean" in capsys.readouterr().err


def test_from_python(place: str, tmp_path: Path) -> None:
    assert affineur.pull(f"{place}/model", out=tmp_path / "got") == tmp_path / "got"
    done = affineur.push(tmp_path / "got", f"{place}/third")
    assert (done.where, len(done.sent)) == (f"{place}/third", 4)
