"""The guide's scripts that move a model: from elsewhere to ``./student_11L``, and out again if it is good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from affineur.artifact import Manifest, verify, write_manifest
from affineur.transfer.push import push
from transfer.places.http_server import HttpServer, serving

from .test_guide import script


@pytest.fixture
def artifact(tiny_model) -> Path:
    folder = tiny_model("camembert", num_hidden_layers=1)
    write_manifest(folder, Manifest("transformers", "train"))
    return folder


@pytest.fixture
def server(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    """A web server of the artifact, as a push put it in its folder."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    push(artifact, (tmp_path / "place").as_uri())
    with serving(tmp_path / "place") as server:
        yield server


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def bars(folder: Path, text: str) -> Path:
    path = folder / "bars.yaml"
    path.write_text(text)
    return path


def test_download_from_a_web_server_and_a_folder(
    artifact: Path, server: HttpServer, here: Path, tmp_path: Path
) -> None:
    done = script("download_student.py", server.url, "--sha256", digest(artifact), cwd=here)
    assert (done.returncode, done.stdout) == (0, "student_11L; next: prune_student.py --sparsity 0.15\n"), (
        done.stderr
    )
    assert verify(here / "student_11L") == verify(artifact)
    for source in ((tmp_path / "place").as_uri(), str(tmp_path / "place"), str(artifact)):
        done = script("download_student.py", source, "--output_dir", "copy", cwd=here)
        assert done.returncode == 0, done.stderr
        assert verify(here / "copy") == verify(artifact)
    assert {path.name for path in here.iterdir()} == {"student_11L", "copy"}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--sha256", "0" * 64), "model.safetensors has the sha256"),
        (("--sha256", "1"), "--sha256 '1' is impossible, expected 64 hexadecimal digits"),
        (("--region", "EU-RO-1"), "--region says nothing to https://HOST/FOLDER"),
    ],
)
def test_download_refuses_in_one_line(
    words: tuple[str, ...], wanted: str, server: HttpServer, here: Path
) -> None:
    done = script("download_student.py", server.url, *words, cwd=here)
    assert done.returncode == 1
    assert wanted in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(here.iterdir()) == []


def test_download_options_need_a_source(here: Path) -> None:
    done = script("download_student.py", "--region", "EU-RO-1", cwd=here)
    assert done.returncode == 2
    assert "options need a SOURCE" in done.stderr


def test_upload_where_the_bars_hold(artifact: Path, corpus: Path, here: Path) -> None:
    reached = str(bars(here, "min_f1: 0.0\nmax_size_bytes: 100000000\n"))
    words = ("--model_dir", str(artifact), "--data", str(corpus), "--bars", reached)
    place = (here / "place").as_uri()
    done = script("upload_student.py", place, *words, cwd=here)
    assert done.returncode == 0, done.stderr
    assert "passed: 2 of 2 bars" in done.stdout
    sent = len([path for path in artifact.rglob("*") if path.is_file()])
    assert done.stdout.splitlines()[-1] == f"{place}: {sent} files sent, 0 were there already"
    done = script("upload_student.py", place, *words, cwd=here)
    assert done.stdout.splitlines()[-1] == f"{place}: 0 files sent, {sent} were there already"
    assert script("download_student.py", place, cwd=here).returncode == 0
    assert verify(here / "student_11L") == verify(artifact)


def test_upload_where_a_bar_is_missed(artifact: Path, corpus: Path, here: Path) -> None:
    missed = str(bars(here, "min_f1: 1.0\n"))
    words = ("--model_dir", str(artifact), "--data", str(corpus), "--bars", missed)
    done = script("upload_student.py", (here / "place").as_uri(), *words, cwd=here)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines()[-1] == "a bar was missed, so nothing was published"
    assert "min_f1" in done.stdout
    assert not (here / "place").exists()


@pytest.mark.parametrize(
    ("reference", "words", "wanted"),
    [
        ("gopher://there", (), "is at no place that is known"),
        ("https://me:hush@there/x", (), "https://there/x is only read from"),
        ("file:///nowhere", ("--tag", "v1"), "--tag says nothing to file:///FOLDER"),
    ],
)
def test_upload_refuses_before_it_measures(
    reference: str, words: tuple[str, ...], wanted: str, here: Path
) -> None:
    done = script("upload_student.py", reference, "--model_dir", "nothing", *words, cwd=here)
    assert (done.returncode, done.stdout) == (1, "")
    assert wanted in done.stderr
    assert "hush" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
