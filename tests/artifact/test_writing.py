"""A folder is written whole or not at all, and nothing that is not ours is ever lost."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from affineur.artifact import (
    COMPANIONS,
    MANIFEST,
    Manifest,
    new_folder,
    verify,
    write_json,
    write_manifest,
    write_text,
)
from affineur.artifact import writing as module
from affineur.errors import AffineurError, ParameterError


def write(target: Path, content: str = "new", files: int = 3) -> None:
    with new_folder(target) as folder:
        for i in range(files):
            (folder / f"{i}.txt").write_text(content)
        write_manifest(folder, Manifest("transformers", "test"))


def write_badly(target: Path, error: BaseException) -> None:
    with new_folder(target) as folder:
        (folder / "0.txt").write_text("half")
        raise error


def state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def neighbors(target: Path) -> list[str]:
    return sorted(p.name for p in target.parent.iterdir() if p != target)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    write(tmp_path / "out", "old")
    return tmp_path / "out"


@pytest.fixture(params=["exchange", "two renames"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two renames":
        monkeypatch.setattr(module, "_exchange", lambda *_: False)


@pytest.mark.usefixtures("_both_ways")
def test_replaces_an_artifact_whole(old: Path) -> None:
    (old / "1.txt").unlink()  # a file that is lost is no reason to refuse
    write(old, "new", files=2)
    assert sorted(state(old)) == ["0.txt", "1.txt", MANIFEST]
    assert (old / "1.txt").read_text() == "new"
    assert verify(old) is not None
    assert neighbors(old) == []


def test_a_signature_and_a_bill_of_materials_are_replaced_with_what_they_stand_beside(old: Path) -> None:
    for name in COMPANIONS:
        (old / name).write_text("{}")
    write(old, "new")
    assert sorted(state(old)) == ["0.txt", "1.txt", "2.txt", MANIFEST]


def test_makes_the_parents(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "out")
    assert verify(tmp_path / "a" / "b" / "out") is not None


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert verify(tmp_path / "out") is not None


def test_a_relative_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("out"))
    assert verify(tmp_path / "out") is not None


def test_a_symbolic_link_stays_and_its_target_is_replaced(old: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(old)
    write(link, "new")
    assert link.is_symlink()
    assert (old / "0.txt").read_text() == "new"
    assert neighbors(old) == ["link"]


def test_a_name_with_glob_letters(tmp_path: Path) -> None:
    target = tmp_path / "out[1]*"
    leftover = tmp_path / f".{target.name}.tmp-{os.getpid()}"
    leftover.mkdir()
    write(target)
    write(target)
    assert neighbors(target) == []


@pytest.mark.parametrize("error", [ValueError("x"), AffineurError("x"), KeyboardInterrupt()])
def test_an_exception_inside_leaves_the_old(error: BaseException, old: Path) -> None:
    before = state(old)
    with pytest.raises(type(error)):
        write_badly(old, error)
    assert state(old) == before
    assert neighbors(old) == []


def test_an_exception_inside_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"):
        write_badly(tmp_path / "out", ValueError("x"))
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ParameterError, match=r"out is a file, expected a folder"):
        write(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("manifest", [None, "[]", "{", '{"files": 3}', '{"files": {}}', '{"files": null}'])
def test_refuses_a_folder_that_is_not_ours(manifest: str | None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("ten years")
    if manifest is not None:
        (out / MANIFEST).write_text(manifest)
    before = state(out)
    with pytest.raises(ParameterError, match=r"(did not write|left alone) \(.*thesis.tex"):
        write(out)
    assert state(out) == before
    assert neighbors(out) == []


def test_refuses_an_artifact_somebody_added_a_file_to(old: Path) -> None:
    (old / "sub").mkdir()
    for i in range(5):
        (old / "sub" / f"notes{i}").write_text("mine")
    with pytest.raises(ParameterError, match=r"\(sub/notes0, sub/notes1, sub/notes2, …\)"):
        write(old)
    assert (old / "sub" / "notes4").read_text() == "mine"


def test_refuses_a_link_to_a_file_somebody_added(old: Path, tmp_path: Path) -> None:
    (old / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ParameterError, match="link"):
        write(old)


def _dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_leftovers_of_dead_processes_go_and_those_of_live_ones_stay(old: Path) -> None:
    names = (f".out.tmp-{_dead_pid()}", f".out.tmp-{os.getpid()}", ".out.tmp-1", ".out2.tmp-99999999")
    stale, mine, live, other = (old.parent / name for name in names)
    for folder in (stale, mine, live, other):
        folder.mkdir()
        (folder / "half").write_text("half")
    write(old)
    assert neighbors(old) == [live.name, other.name]


def test_an_old_folder_left_aside_comes_back(old: Path) -> None:
    """Without an atomic exchange a kill between two renames leaves the old folder aside: it must not be swept
    away.
    """
    before = state(old)
    old.rename(old.parent / f".out.tmp-old-{_dead_pid()}")
    with pytest.raises(ValueError, match="x"):
        write_badly(old, ValueError("x"))
    assert state(old) == before
    assert neighbors(old) == []


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_at_the_sync(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(old)
    monkeypatch.setattr(os, "fsync", _full)
    with (
        pytest.raises(AffineurError, match=r"no space left on the disk of .* while writing out") as caught,
        new_folder(old) as folder,
    ):
        (folder / "0.txt").write_text("new")
    assert "\n" not in str(caught.value)
    assert state(old) == before
    assert neighbors(old) == []


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "out")
    assert verify(tmp_path / "out") is not None


@pytest.fixture
def _files_of_at_most_64_kib() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("_files_of_at_most_64_kib")
def test_a_disk_that_fills_up(old: Path) -> None:
    before = state(old)
    with pytest.raises(AffineurError, match="no space left"):
        write(old, "x" * (1 << 17))
    with pytest.raises(AffineurError, match="no space left"):
        write_text(old.parent / "table.json", "x" * (1 << 17))
    assert state(old) == before
    assert neighbors(old) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_that_is_full(old: Path) -> None:
    before = state(old)
    with pytest.raises(AffineurError, match="no space left"):
        _write_to_dev_full(old)
    assert state(old) == before


def _write_to_dev_full(target: Path) -> None:
    with new_folder(target) as folder:
        (folder / "0.txt").symlink_to("/dev/full")
        (folder / "0.txt").write_text("new")


def test_a_full_disk_that_another_library_met(old: Path) -> None:
    before = state(old)
    with pytest.raises(AffineurError, match="no space left"):
        write_badly(
            old, RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
        )
    assert state(old) == before


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder nobody may write to, seen by a user who is not root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "out", "old")
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def test_a_read_only_parent_is_one_clear_error(read_only: Path) -> None:
    before = state(read_only / "out")
    for target in (read_only / "out", read_only / "new", read_only / "deep" / "new"):
        with pytest.raises(AffineurError, match=r"cannot be written \(Permission denied\)") as caught:
            write(target)
        assert str(target) in str(caught.value)
    with pytest.raises(AffineurError, match=r"table.json cannot be written"):
        write_text(read_only / "table.json", "x")
    assert state(read_only / "out") == before
    assert list(read_only.iterdir()) == [read_only / "out"]


def test_a_read_only_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(AffineurError, match=r"cannot be written \(Read-only file system\)"):
        write(tmp_path / "out")


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "out"):
        with pytest.raises(AffineurError, match="cannot be written"):
            write(target)


def test_files_get_the_usual_rights(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        with new_folder(tmp_path / "out") as folder:
            (folder / "private").touch(0o600)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "out" / "private").stat().st_mode) == 0o640


KILLED = """
import os, signal, sys
from pathlib import Path
from affineur.artifact import Manifest, new_folder, verify, write_manifest
from affineur.artifact import writing

target = Path(sys.argv[1])
if sys.argv[2] == "two renames":
    writing._exchange = lambda first, second: False

def write(content):
    with new_folder(target) as folder:
        for name in "abc":
            (folder / name).write_text(content * 1000)
        write_manifest(folder, Manifest("transformers", "test", environment={}))

write("old")
for number in range(1, 1000):
    child = os.fork()
    if not child:
        count = 0
        def hook(event, args):
            global count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        write(f"new {number}")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if sys.argv[2] == "two renames":
        try:  # the next writer puts an old folder back that was left aside
            with new_folder(target):
                raise KeyError
        except KeyError:
            pass
    assert verify(target).files.keys() == set("abc"), number
    found = {(target / name).read_text() for name in "abc"}
    assert len(found) == 1, number
    print(number, status, found.pop()[:3], len(list(target.parent.iterdir())))
    if status == 0:
        break
    write("old")  # also sweeps up
"""


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(way: str, tmp_path: Path) -> None:
    """The process kills itself at its first, second, … open, rename, mkdir, unlink: no moment is left out."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "out"), way],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *killed, last = [line.split() for line in done.stdout.splitlines()]
    assert len(killed) > 15
    assert {status for _, status, *_ in killed} == {str(int(signal.SIGKILL))}
    assert {content for _, _, content, _ in killed} == {"old", "new"}
    assert last[1:] == ["0", "new", "1"]  # nothing is left beside it


def test_write_text_replaces_and_keeps_the_old_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "table.md"
    write_text(path, "élan\n")
    assert path.read_bytes() == "élan\n".encode()
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(AffineurError, match=r"no space left .* table.md"):
        write_text(path, "half")
    assert path.read_text("utf-8") == "élan\n"
    assert [p.name for p in path.parent.iterdir()] == ["table.md"]


def test_write_text_to_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(AffineurError, match="cannot be written"):
        write_text(tmp_path, "x")
    assert list(tmp_path.iterdir()) == []


def test_write_json_reads_back(tmp_path: Path) -> None:
    value = {"é": [1, 0.1, None, True], "b": {}}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text("utf-8")
    assert json.loads(text) == value
    assert "é" in text
    assert text.endswith("}\n")
