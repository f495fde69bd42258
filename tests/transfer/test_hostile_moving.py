"""What others may lay in the way of a pull or a push, by mistake or on purpose."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from affineur.cli import show
from affineur.errors import AffineurError, DataError, ModelError, ParameterError, TransferError
from affineur.pipeline.recipe import read_recipe
from affineur.progress import listening
from affineur.transfer import coming, signing
from affineur.transfer import index as indexing
from affineur.transfer.index import INDEX, PUSHING, Entry, Index, local_index, read_index
from affineur.transfer.models import resolve_model
from affineur.transfer.options import DataOptions
from affineur.transfer.places.core import place as places
from affineur.transfer.places.core.place import Small, shown, unknown_place
from affineur.transfer.places.folder import FolderRemote
from affineur.transfer.pull import fetch, pull
from affineur.transfer.push import push, push_files
from affineur.transfer.sources import find_sources

from .conftest import Server


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_index_cannot_have_the_next_push_remove_files_elsewhere(artifact: Path, tmp_path: Path) -> None:
    place, precious = tmp_path / "place", tmp_path / "precious"
    push(artifact, place.as_uri())
    precious.write_text("x")
    said = json.loads((place / INDEX).read_text())
    for name in ("../precious", str(precious), INDEX):
        (place / INDEX).write_text(json.dumps({**said, "previous": [name]}))
        (artifact / "notes.txt").write_text(name)
        with pytest.raises(ModelError, match=r"affineur\.files\.json names"):
            push(artifact, place.as_uri())
    assert precious.is_file()


def test_an_index_of_nothing_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / INDEX).write_bytes(Index({}).as_bytes())
    with pytest.raises(TransferError, match="names no file"):
        pull(place.as_uri(), tmp_path / "got")
    assert listed(tmp_path) == ["place"]


@pytest.mark.parametrize("name", ["a\nb", "trailing ", "C:x", "back\\slash", "nul.", "\udcff"])
def test_names_that_nobody_could_pull_are_not_pushed(artifact: Path, tmp_path: Path, name: str) -> None:
    (artifact / name).write_text("x")
    with pytest.raises(ModelError, match="names"):
        push(artifact, (tmp_path / "place").as_uri())
    assert not (tmp_path / "place").exists()


def test_names_that_differ_by_case_are_not_pushed(artifact: Path, tmp_path: Path) -> None:
    for name in ("Notes.txt", "notes.txt"):
        (artifact / name).write_text(name)
    if len(listed(artifact)) < 6:
        pytest.skip("case does not count on this disk")
    with pytest.raises(ModelError, match="only by case"):
        push(artifact, (tmp_path / "place").as_uri())


def test_a_pickle_stays_here_and_what_is_beside_it_can_be_pulled(artifact: Path, tmp_path: Path) -> None:
    (artifact / "training_args.bin").write_bytes(b"\x80")
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        done = push(artifact, (tmp_path / "place").as_uri())
    assert "training_args.bin" not in done.sent
    assert any("training_args.bin is a pickle" in what for what in heard)
    assert not (pull((tmp_path / "place").as_uri(), tmp_path / "got") / "training_args.bin").exists()


@pytest.mark.parametrize("name", [INDEX, PUSHING])
def test_a_copy_of_a_place_is_not_pushed_as_if_it_were_an_artifact(
    artifact: Path, tmp_path: Path, name: str
) -> None:
    (artifact / name).write_text("{}")
    with pytest.raises(TransferError, match="where something was pushed to"):
        push(artifact, (tmp_path / "place").as_uri())
    assert not (tmp_path / "place").exists()


def test_a_folder_is_not_pushed_into_itself(artifact: Path) -> None:
    before = listed(artifact)
    for there in (artifact, artifact / "sub", artifact / ".." / artifact.name):
        with pytest.raises(TransferError, match="the folder that is pushed"):
            push(artifact, there.as_uri())
    assert listed(artifact) == before


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "loop", "nowhere", "."])
def test_links_to_elsewhere_are_not_pushed(artifact: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_text("secret")
    (artifact / "loop").symlink_to(target)
    with pytest.raises(TransferError, match="loop is a link that leads to no file of the folder"):
        push(artifact, (tmp_path / "place").as_uri())
    assert not (tmp_path / "place").exists()


def test_links_within_the_folder_are_pushed_as_files(artifact: Path, tmp_path: Path) -> None:
    (artifact / "same.json").symlink_to("config.json")
    push(artifact, (tmp_path / "place").as_uri())
    got = pull((tmp_path / "place").as_uri(), tmp_path / "got") / "same.json"
    assert not got.is_symlink()
    assert got.read_bytes() == (artifact / "config.json").read_bytes()


def test_a_pipe_is_named(artifact: Path, tmp_path: Path) -> None:
    os.mkfifo(artifact / "pipe")
    with pytest.raises(TransferError, match="pipe is no regular file"):
        push(artifact, (tmp_path / "place").as_uri())


def test_a_file_that_may_not_be_read_is_named(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (artifact / "notes.txt").write_text("x")
    digest = indexing.file_digest

    def refused(path: Path) -> str:
        if path.name == "notes.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return digest(path)

    monkeypatch.setattr(indexing, "file_digest", refused)
    with pytest.raises(TransferError, match=r"notes\.txt cannot be read \(Permission denied\)"):
        push(artifact, (tmp_path / "place").as_uri())


def test_a_file_that_changes_or_vanishes_while_it_is_pushed_is_named(artifact: Path, tmp_path: Path) -> None:
    class Changing(FolderRemote):
        def send(self, name, file, sha256, moved):
            if name == "tokenizer.json":
                change()
            super().send(name, file, sha256, moved)

    def change() -> object:
        return (artifact / "tokenizer.json").write_text("{ }")

    before = (artifact / "tokenizer.json").read_bytes()
    with pytest.raises(TransferError, match=r"tokenizer\.json changed meanwhile"):
        push_files(artifact, partial(Changing, tmp_path / "first"))
    assert not (tmp_path / "first" / "tokenizer.json").exists()
    (artifact / "tokenizer.json").write_bytes(before)
    change = (artifact / "tokenizer.json").unlink  # noqa: F811
    with pytest.raises(TransferError, match=r"artifact/tokenizer\.json cannot be read \(No such file"):
        push_files(artifact, partial(Changing, tmp_path / "second"))
    assert not (tmp_path / "second" / INDEX).exists()


def test_a_name_of_255_bytes_is_pushed_and_pulled(artifact: Path, tmp_path: Path) -> None:
    (artifact / ("n" * 255)).write_text("x")
    push(artifact, (tmp_path / "place").as_uri())
    assert (pull((tmp_path / "place").as_uri(), tmp_path / "got") / ("n" * 255)).is_file()


def test_two_pushes_of_the_same_to_one_folder_do_not_mix(tmp_path: Path) -> None:
    folder, place = tmp_path / "data", tmp_path / "place"
    folder.mkdir()
    for name in "abcd":
        (folder / name).write_bytes(name.encode() * 3_000_000)
    failed: list[BaseException] = []

    def send() -> None:
        try:
            push_files(folder, partial(FolderRemote, place))
        except TransferError as error:
            if "somebody else pushed" not in str(error):
                failed.append(error)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    assert read_index((place / INDEX).read_bytes(), "place").version == local_index(folder).version
    pull(place.as_uri(), tmp_path / "got")


def test_two_first_pushes_of_different_versions_leave_one_that_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        for file in "ab":
            (tmp_path / name / file).write_text(name + file)

    class Overtaken(FolderRemote):
        def send(self, name, file, sha256, moved):
            if name == "b" and not (place / INDEX).exists():
                push_files(tmp_path / "second", partial(FolderRemote, place))
            super().send(name, file, sha256, moved)

    with pytest.raises(TransferError, match="somebody else pushed there meanwhile"):
        push_files(tmp_path / "first", partial(Overtaken, place))
    got = pull(place.as_uri(), tmp_path / "got")
    assert [(got / file).read_text() for file in "ab"] == ["seconda", "secondb"]


@pytest.mark.parametrize("rest", ["a?b", "a#b", "a%00b"])
def test_an_address_of_another_folder_than_was_meant_is_refused(
    artifact: Path, tmp_path: Path, rest: str
) -> None:
    with pytest.raises(TransferError):
        push(artifact, f"{tmp_path.as_uri()}/{rest}")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "reference",
    [
        "HTTPS://me:hunter2@host/x?sig=hunter2",
        " https://me:hunter2@host/x",
        "'https://me:hunter2@host/x'",
        "ftp://me:hunter2@host/x",
        "S3://me:hunter2@bucket/x",
        "https:/me:hunter2@host/x",
    ],
)
def test_a_password_in_a_reference_that_no_place_knows_is_not_shown(reference: str) -> None:
    assert "hunter2" not in str(unknown_place(reference))
    assert "hunter2" not in shown(reference)


@pytest.mark.parametrize("find", [resolve_model, partial(find_sources, options=DataOptions()), read_recipe])
@pytest.mark.parametrize(
    "reference", ["HTTPS://me:hunter2@host/x.yaml", "ftp://me:hunter2@host/x", "S3://b/x"]
)
def test_an_address_at_no_place_is_not_taken_for_a_path(
    find: Callable[[str], object], reference: str
) -> None:
    with pytest.raises(ParameterError, match="is at no place that is known") as caught:
        find(reference)
    assert "hunter2" not in str(caught.value)


def test_the_home_of_nobody_is_a_folder_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="~nobody-is-called-so/x is not there"):
        resolve_model("~nobody-is-called-so/x")
    with pytest.raises(DataError, match="no such file or folder"):
        find_sources("~nobody-is-called-so/x", DataOptions())


def test_a_target_that_is_a_circle_of_links_or_no_name_is_refused(artifact: Path, tmp_path: Path) -> None:
    push(artifact, (tmp_path / "place").as_uri())
    (tmp_path / "loop").symlink_to("loop")
    for target in (tmp_path / "loop", tmp_path / "a\0b"):
        with pytest.raises(ParameterError, match="name another"):
            pull((tmp_path / "place").as_uri(), target)


def test_the_current_folder_is_not_replaced(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(artifact, (tmp_path / "place").as_uri())
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    for target in (Path(), Path("..")):
        with pytest.raises(ParameterError, match="is the current folder, or holds it"):
            pull((tmp_path / "place").as_uri(), target)


def test_a_disk_that_takes_a_part_of_a_chunk_loses_none(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(artifact, (tmp_path / "place").as_uri())
    write = os.pwrite
    monkeypatch.setattr(coming.os, "pwrite", lambda file, data, at: write(file, bytes(data)[:50], at))
    got = pull((tmp_path / "place").as_uri(), tmp_path / "got")
    assert (got / "model.safetensors").read_bytes() == (artifact / "model.safetensors").read_bytes()


def test_there_may_be_more_files_than_a_process_may_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "many").mkdir()
    for number in range(400):
        (tmp_path / "many" / f"{number}").write_text(str(number))
    push(tmp_path / "many", (tmp_path / "place").as_uri())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 64  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 100, hard))
    try:
        got = pull((tmp_path / "place").as_uri(), tmp_path / "got")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all((got / f"{number}").read_text() == str(number) for number in range(400))


def test_a_file_that_would_be_larger_than_the_disk_is_refused_before_it_is_divided(
    artifact: Path, tmp_path: Path
) -> None:
    with pytest.raises(AffineurError, match="the whole disk of"):
        fetch(_Lying(artifact), _Lying.index(artifact), tmp_path / "got")
    assert listed(tmp_path) == ["artifact"]


class _Lying(FolderRemote):
    @staticmethod
    def index(folder: Path) -> Index:
        found = local_index(folder).files
        return Index({"config.json": Entry("config.json", "config.json", found["config.json"].sha256)})

    def stat(self, name):
        return places.Stat(1 << 62)


def test_what_cannot_be_gone_on_with_does_not_stay_on_a_full_disk(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(FolderRemote):
        def stat(self, name):
            return places.Stat(None, ranges=False)

        def read(self, name, start, stop):
            while True:
                yield bytes(1 << 16)

    write, room = os.pwrite, [1 << 20]

    def full(file, data, at):
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(28, "No space left on device")
        return write(file, data, at)

    monkeypatch.setattr(coming.os, "pwrite", full)
    with pytest.raises(AffineurError, match="no space left"):
        fetch(Endless(artifact), _Lying.index(artifact), tmp_path / "got")
    assert listed(tmp_path) == ["artifact"]


def test_a_file_that_never_ends_is_no_index(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SMALL", 100)
    remote = FolderRemote(artifact)
    assert isinstance(remote.get("tokenizer.json"), Small)
    with pytest.raises(TransferError, match="has more than 100 bytes, expected a small file"):
        remote.get("config.json")


@pytest.mark.parametrize("missing", ["", INDEX])
def test_a_page_to_log_in_is_called_one(tmp_path: Path, missing: str) -> None:
    def answer(path: str) -> tuple[int, dict[str, str], bytes] | None:
        return None if missing and path.endswith(missing) else (200, {}, b"\n<!DOCTYPE html><p>Log in")

    server = Server(answer)
    try:
        with pytest.raises(TransferError, match="a web page was given for"):
            pull(server.url, tmp_path / "got")
    finally:
        server.close()
    assert not (tmp_path / "got").exists()


def test_what_a_server_says_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show.error("answered 418 \x1b[31mred\x07 é")
    assert capsys.readouterr().err == "affineur: answered 418 \\x1b[31mred\\x07 é\n"


@pytest.mark.parametrize("content", [b'{"a":' * 100_000, b" " * 2000], ids=["deep", "huge"])
def test_a_hostile_signature_is_no_signature(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    if content.startswith(b" "):
        monkeypatch.setattr(signing, "_LONGEST", 1000)
    (artifact / "model.sig").write_bytes(content)
    with pytest.raises(
        ModelError, match=r"model\.sig is not a signature .*(nested more than 100 deep|more than 1000 bytes)"
    ):
        signing.read_signature(artifact)
