"""Issue 19, numbers 3, 5 and 17: files that are none, or that have no end, where a small one is expected."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

import affineur
from affineur.artifact import open_folder
from affineur.artifact.reading import read_within
from affineur.cli.main import main
from affineur.errors import AffineurError, ModelError, ParameterError
from affineur.serve.keys import read_keys
from affineur.transfer.cache import cache_folder
from affineur.transfer.models import resolve_model


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe.yaml")
    return tmp_path / "pipe.yaml"


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A link to a file of a gigabyte, of which nothing lies on the disk."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "endless.yaml").symlink_to(tmp_path / "large")
    return tmp_path / "endless.yaml"


def line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def test_no_more_is_read_than_a_file_may_have(tmp_path: Path, pipe: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1234")
    assert read_within(file, 4) == b"1234"
    with pytest.raises(ValueError, match="it has 4 bytes, expected at most 3"):
        read_within(file, 3)
    for each in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=r"no regular file|Is a directory"):
            read_within(each, 10)


@pytest.mark.parametrize("which", ["pipe", "endless"])
def test_recipes_and_bars(
    which: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = request.getfixturevalue(which)
    said = "no regular file" if which == "pipe" else "it has 1,073,741,824 bytes, expected at most"
    assert main(["run", str(path), "-q"]) == 1
    assert said in line(capsys)
    assert main(["check", "sample", "--data", "sample", "--bars", str(path), "-q"]) == 1
    assert said in line(capsys)


@pytest.mark.parametrize("which", ["pipe", "endless"])
def test_files_of_keys(which: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(ParameterError, match=r"no regular file|expected at most 1,048,576"):
        read_keys(request.getfixturevalue(which))


def test_a_pipe_as_a_result_is_refused_and_stays_one(pipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "sample", "--json", str(pipe), "-q"]) == 1
    assert "no regular file" in line(capsys)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_as_a_result_is_refused_and_stays_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    assert main(["info", "sample", "--json", str(device), "-q"]) == 1
    assert "no regular file" in line(capsys)
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_depth_far_beyond_the_weights(tiny_model) -> None:
    folder: Path = tiny_model()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**9}))
    with pytest.raises(ModelError, match="num_hidden_layers=1,000,000,000, and the weights have"):
        open_folder(folder)


def test_a_folder_without_a_model_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "shadow").write_text("root:secret")
    with pytest.raises(AffineurError, match=r"no config\.json"):
        resolve_model((tmp_path / "etc").as_uri())
    assert not any(path.is_file() for path in cache_folder().rglob("*"))


@pytest.mark.parametrize("option", ["--verify-key", "--certificates"])
def test_a_pipe_as_a_key(
    option: str, pipe: Path, capsys: pytest.CaptureFixture[str], shared_int8: Path
) -> None:
    pytest.importorskip("model_signing")
    assert main(["verify", str(shared_int8), option, str(pipe)]) == 1
    assert "signature" in (said := line(capsys)) or "no regular file" in said


def test_a_graph_that_gives_nothing(shared_int8: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    folder = Path(shutil.copytree(shared_int8, tmp_path / "model"))
    (folder / "affineur.json").unlink()
    graph = onnx.load(folder / "model.onnx")
    del graph.graph.output[:]
    onnx.save(graph, folder / "model.onnx")
    with pytest.raises(ModelError, match=r"the ONNX graph gives nothing|cannot be loaded"):
        affineur.load(folder)("Marie")


@pytest.mark.parametrize(
    "words",
    [
        ["annotate", "MODEL", "IN", "-o", "OUT", "--json", "./OUT"],
        ["compare", "MODEL", "MODEL", "--data", "IN", "--markdown", "OUT", "--html", "./OUT"],
        ["check", "MODEL", "--bars", "IN", "--data", "IN", "--junit", "OUT", "--json", "OUT"],
    ],
)
def test_one_file_for_two_results(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert "name the same file, " in line(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_a_place_for_the_model_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said before anything is read: the model is not there either."""
    assert main(["cast", "nowhere", "--dtype", "float16", "-o", "/proc/none/out"]) == 1
    assert "-o /proc/none/out cannot be written" in line(capsys)
