"""Pull and push on a place whose faults are chosen: what readers see, what is sent again, what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from affineur.artifact import verify
from affineur.errors import AffineurError, ModelError, ParameterError, TransferError
from affineur.progress import listening
from affineur.transfer import pull as pulling
from affineur.transfer.index import PUSHING, Index, find_index, local_index, read_index
from affineur.transfer.places.core import place as places
from affineur.transfer.places.core import retry
from affineur.transfer.places.core.place import PART, Access, Moved, Passing, Place, Remote, Small, Stat
from affineur.transfer.places.folder import FolderRemote
from affineur.transfer.pull import pull
from affineur.transfer.push import push, push_files

from .conftest import sealed


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


class Faulty(Remote):
    """A folder that counts its calls, fails when told, and is killed before the n-th change."""

    def __init__(
        self, folder: Path, *, dies_at: int | None = None, fails: int = 0, lists: bool = True
    ) -> None:
        self.inner, self.where, self.lists = FolderRemote(folder), f"faulty:{folder.name}", lists
        self.dies_at, self.fails, self.changes = dies_at, fails, 0
        self.sent: list[str] = []
        self.bytes_read = 0

    def _change(self) -> None:
        self.changes += 1
        if self.dies_at is not None and self.changes > self.dies_at:
            raise Killed

    def _maybe_fail(self) -> None:
        if self.fails > 0:
            self.fails -= 1
            raise Passing(f"{self.where}: 502")

    def stat(self, name: str) -> Stat | None:
        return self.inner.stat(name)

    def read(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        self._maybe_fail()
        for chunk in self.inner.read(name, start, stop):
            self.bytes_read += len(chunk)
            yield chunk

    def names(self) -> Iterator[str]:
        return self.inner.names()

    def get(self, name: str) -> Small | None:
        return self.inner.get(name)

    def put(self, name: str, data: bytes, seen: Small | None) -> None:
        self._change()
        self._maybe_fail()
        self.inner.put(name, data, seen)
        self._change()

    def holds(self, name: str, size: int, sha256: str) -> bool:
        return self.inner.holds(name, size, sha256)

    def send(self, name: str, file: Path, sha256: str, moved: Moved) -> None:
        self._change()
        self._maybe_fail()
        self.inner.send(name, file, sha256, moved)
        self.sent.append(name)
        self._change()

    def remove(self, names) -> None:
        for name in names:
            self._change()
            self.inner.remove([name])


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST", 0.0)


def changed(folder: Path, to: Path, factor: float = 2.0) -> Path:
    """Copy an artifact, with other weights in it."""
    shutil.copytree(folder, to)
    weights = {name: value * factor for name, value in load_file(to / "model.safetensors").items()}
    save_file(weights, to / "model.safetensors")
    return sealed(to)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read(remote: Remote, to: Path) -> dict[str, bytes]:
    """Read as a reader does."""
    index, _ = find_index(remote)
    pulling.fetch(remote, index, to)
    return content(to)


def test_what_is_pushed_is_what_is_pulled(artifact: Path, tmp_path: Path) -> None:
    place = (tmp_path / "place").as_uri()
    done = push(artifact, place)
    assert set(done.sent) == set(content(artifact))
    assert not done.kept
    assert done.size_bytes == sum(map(len, content(artifact).values()))
    assert pull(place, tmp_path / "got") == tmp_path / "got"
    assert content(tmp_path / "got") == content(artifact)
    assert verify(tmp_path / "got") is not None
    assert not (tmp_path / ".got.partial").exists()
    assert not (tmp_path / "place" / PUSHING).exists()


def test_only_what_changed_is_sent_and_fetched(artifact: Path, tmp_path: Path) -> None:
    place = Faulty(tmp_path / "place")
    push_files(artifact, lambda: place)
    again = push_files(artifact, lambda: place)
    assert not again.sent
    assert read(place, tmp_path / "got") == content(artifact)
    second = changed(artifact, tmp_path / "second")
    done = push_files(second, lambda: place)
    assert set(done.sent) == {"model.safetensors", "affineur.json"}
    place.bytes_read = 0
    assert read(place, tmp_path / "got") == content(second)
    assert place.bytes_read == sum(len(content(second)[name]) for name in done.sent)


def test_a_push_killed_at_any_moment_leaves_one_whole_version(artifact: Path, tmp_path: Path) -> None:
    second = changed(artifact, tmp_path / "second")
    whole = Faulty(tmp_path / "count")
    push_files(artifact, lambda: whole)
    whole.changes = 0
    push_files(second, lambda: whole)
    moments = whole.changes
    assert moments >= 6
    seen = set()
    for moment in range(moments):
        place = tmp_path / f"place_{moment}"
        push_files(artifact, partial(Faulty, place))
        with pytest.raises(Killed):
            push_files(second, partial(Faulty, place, dies_at=moment))
        found = read(FolderRemote(place), tmp_path / f"got_{moment}")
        assert found in (content(artifact), content(second)), moment
        seen.add(found == content(second))
        push_files(second, partial(Faulty, place))  # the same command again
        assert read(FolderRemote(place), tmp_path / f"then_{moment}") == content(second)
    assert seen == {False, True}


def test_a_first_push_killed_at_any_moment_shows_nothing_or_all_of_it(artifact: Path, tmp_path: Path) -> None:
    whole = Faulty(tmp_path / "count")
    push_files(artifact, lambda: whole)
    for moment in range(whole.changes):
        place = tmp_path / f"place_{moment}"
        with pytest.raises(Killed):
            push_files(artifact, partial(Faulty, place, dies_at=moment))
        try:
            found = read(FolderRemote(place), tmp_path / f"got_{moment}")
        except TransferError as error:
            assert "is not there yet" in str(error) or "nothing is there" in str(error)  # noqa: PT017
        else:
            assert found == content(artifact)
        push_files(artifact, partial(Faulty, place))
        assert read(FolderRemote(place), tmp_path / f"then_{moment}") == content(artifact)


def test_old_versions_go_when_no_reader_can_be_at_them(artifact: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    versions = [artifact, *(changed(artifact, tmp_path / f"v{i}", i + 2.0) for i in range(3))]
    indexes = []
    for version in versions:
        push_files(version, partial(FolderRemote, place))
        indexes.append(find_index(FolderRemote(place))[0])
    for name in indexes[-1].objects | indexes[-2].objects:
        assert (place / name).is_file()
    assert len(list(place.rglob("model.safetensors"))) == 2
    assert read(FolderRemote(place), tmp_path / "got") == content(versions[-1])


def test_somebody_elses_push_is_not_overwritten(artifact: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    push_files(artifact, partial(FolderRemote, place))
    theirs, ours = changed(artifact, tmp_path / "theirs", 3), changed(artifact, tmp_path / "ours", 4)

    class Meanwhile(Faulty):
        def send(self, name: str, file: Path, sha256: str, moved: Moved) -> None:
            super().send(name, file, sha256, moved)
            if name.endswith("affineur.json"):
                push_files(theirs, partial(FolderRemote, place))

    with pytest.raises(TransferError, match="somebody else pushed there meanwhile"):
        push_files(ours, partial(Meanwhile, place))
    assert read(FolderRemote(place), tmp_path / "got") == content(theirs)


def test_a_folder_that_holds_something_else_is_left_alone(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "thesis.tex").write_text("mine")
    with pytest.raises(TransferError, match=r"holds something else already \(thesis.tex\)"):
        push(artifact, (tmp_path / "place").as_uri())
    assert content(tmp_path / "place") == {"thesis.tex": b"mine"}


@pytest.mark.parametrize("fails", [1, retry.ATTEMPTS - 1])
def test_what_passes_is_tried_again(artifact: Path, tmp_path: Path, fails: int) -> None:
    place = Faulty(tmp_path / "place", fails=fails)
    said: list[str] = []
    with listening(lambda what, *_: said.append(what)):
        push_files(artifact, lambda: place)
        place.fails = fails
        assert read(place, tmp_path / "got") == content(artifact)
    assert any("trying again" in line for line in said)


class Unlucky(Faulty):
    """Each first question about a file, and each first listing, fails."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: set[str] = set()

    def _once(self, what: str) -> None:
        if what not in self.asked:
            self.asked.add(what)
            raise Passing(f"{self.where}: 503")

    def stat(self, name: str) -> Stat | None:
        self._once(f"stat {name}")
        return super().stat(name)

    def get(self, name: str) -> Small | None:
        self._once(f"get {name}")
        return super().get(name)

    def names(self) -> Iterator[str]:
        self._once("names")
        return super().names()


def test_every_question_is_asked_again(artifact: Path, tmp_path: Path) -> None:
    place = Unlucky(tmp_path / "place")
    push_files(artifact, lambda: place)
    place.asked.clear()
    assert set(find_index(place)[0].files) == set(local_index(artifact).files)
    plain = Unlucky(tmp_path / "plain")
    for number in range(3 * retry.ATTEMPTS):
        (tmp_path / "plain").mkdir(exist_ok=True)
        (tmp_path / "plain" / f"{number}.txt").write_text("a")
    assert len(find_index(plain)[0].files) == 3 * retry.ATTEMPTS


def test_a_listing_that_breaks_off_is_not_an_empty_folder(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "holiday.jpg").write_bytes(b"a")
    with pytest.raises(TransferError, match=r"something else already \(holiday.jpg\)"):
        push_files(artifact, partial(Unlucky, tmp_path / "place"))


def test_what_does_not_pass_is_given_up(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=f"given up after {retry.ATTEMPTS} attempts"):
        push_files(artifact, partial(Faulty, tmp_path / "place", fails=10_000))


def test_a_flipped_byte_a_swapped_file_and_a_wrong_length_are_named(artifact: Path, tmp_path: Path) -> None:
    push(artifact, (tmp_path / "place").as_uri())
    weights = tmp_path / "place" / "model.safetensors"
    good = weights.read_bytes()
    for bad, said in (
        (bytes([good[0] ^ 1]) + good[1:], "model.safetensors has the sha256"),
        (good[:-1], r"model.safetensors has .* bytes, expected"),
        (good + b"x", r"model.safetensors has .* bytes, expected"),
    ):
        weights.write_bytes(bad)
        with pytest.raises(TransferError, match=said):
            pull((tmp_path / "place").as_uri(), tmp_path / "got")
        assert not (tmp_path / "got").exists()
    weights.write_bytes(good)
    pull((tmp_path / "place").as_uri(), tmp_path / "got")
    assert content(tmp_path / "got") == content(artifact)


def test_a_manifest_of_another_artifact_is_refused(artifact: Path, tmp_path: Path) -> None:
    other = changed(artifact, tmp_path / "other")
    place = tmp_path / "place"
    shutil.copytree(artifact, place)  # as a plain copy puts it there: no index
    shutil.copy(other / "affineur.json", place)
    with pytest.raises(TransferError, match=r"model.safetensors has the sha256"):
        pull(place.as_uri(), tmp_path / "got")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\\b", "a/../../x", "C:x", "x\0y", ""])
@pytest.mark.parametrize("where", ["name", "at"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str, where: str) -> None:
    digest = "0" * 64
    entry = {"sha256": digest, "size": 1} | ({"at": name} if where == "at" else {})
    files = {name if where == "name" else "config.json": entry}
    data = json.dumps({"format": 1, "version": "", "files": files}).encode()
    with pytest.raises(ModelError, match=r"outside the folder|the name of a file|no name of a file"):
        read_index(data, "there")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b'{"format": 1, "files": {"a": 3}}', b"[" * 100_000]
)
def test_a_damaged_index_is_one_line(data: bytes) -> None:
    with pytest.raises(TransferError, match="is damaged"):
        read_index(data, "there")


def test_a_newer_index_says_to_upgrade() -> None:
    with pytest.raises(TransferError, match="has format 2, this Affineur reads up to 1"):
        read_index(b'{"format": 2}', "there")


def test_an_index_is_read_as_it_was_written(artifact: Path) -> None:
    index = local_index(artifact)
    again = read_index(index.as_bytes(), "there")
    assert again == Index(index.files)
    assert again.version == index.version


def test_data_is_moved_too_and_known_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "test.conll").write_text("Marie\tI-PER\n\n")
    push(data, (tmp_path / "place").as_uri())
    for _ in range(2):
        pull((tmp_path / "place").as_uri(), tmp_path / "got")
    assert (tmp_path / "got" / "test.conll").read_text() == "Marie\tI-PER\n\n"
    (tmp_path / "got" / "notes.txt").write_text("mine")
    with pytest.raises(ParameterError, match=r"holds files that Affineur did not write \(notes.txt\)"):
        pull((tmp_path / "place").as_uri(), tmp_path / "got")


def test_a_model_that_cannot_be_used_is_not_put_in_place(artifact: Path, tmp_path: Path) -> None:
    config = json.loads((artifact / "config.json").read_text())
    (artifact / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    push(sealed(artifact), (tmp_path / "place").as_uri())
    with pytest.raises(ModelError, match=r"file://.*place has no token-classification head"):
        pull((tmp_path / "place").as_uri(), tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_an_artifact_that_is_not_what_its_manifest_says_is_not_pushed(artifact: Path, tmp_path: Path) -> None:
    (artifact / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config.json is not the file that was written"):
        push(artifact, (tmp_path / "place").as_uri())
    assert not (tmp_path / "place").exists()


def test_wrong_words_are_one_line(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="at no place that is known"):
        push(artifact, "gopher://there")
    with pytest.raises(ParameterError, match="private says nothing to file:///"):
        push(artifact, tmp_path.as_uri(), publication=places.Publication(private=True))
    with pytest.raises(ParameterError, match="region says nothing to file:///"):
        pull(tmp_path.as_uri(), tmp_path / "got", access=Access(region="x"))
    with pytest.raises(ParameterError, match="is not there, expected a folder to push"):
        push(tmp_path / "nowhere", tmp_path.as_uri())
    with pytest.raises(TransferError, match="nothing is there; check the reference"):
        pull((tmp_path / "nothing").as_uri(), tmp_path / "got")


def test_too_little_room_is_said_before_anything_is_fetched(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(artifact, (tmp_path / "place").as_uri())
    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(AffineurError, match=r"needs .* MB more, but .* has 0.0 MB free"):
        pull((tmp_path / "place").as_uri(), tmp_path / "got")


_KILLED = """
import os, sys, time
from pathlib import Path
from affineur.transfer.places import folder
from affineur.transfer.pull import pull

class Slow(folder.FolderRemote):
    def read(self, name, start, stop):
        for chunk in super().read(name, start, stop):
            for at in range(0, len(chunk), 1 << 18):
                with open(sys.argv[3], "a") as log:
                    log.write(f"{len(chunk[at:at + (1 << 18)])}\\n")
                time.sleep(0.002)
                yield chunk[at:at + (1 << 18)]

folder.FolderRemote = Slow
pull(sys.argv[1], Path(sys.argv[2]))
print("done")
"""


def test_a_pull_killed_again_and_again_sends_each_byte_about_once(tmp_path: Path) -> None:
    source, log = tmp_path / "source", tmp_path / "log"
    source.mkdir()
    size = 3 * PART + 12_345
    (source / "test.conll").write_bytes(os.urandom(size))
    push(source, (tmp_path / "place").as_uri())
    words = [sys.executable, "-c", _KILLED, (tmp_path / "place").as_uri(), str(tmp_path / "got"), str(log)]
    kills = 0
    while True:
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        enough = (kills + 1) * size // 6
        while child.poll() is None and kills < 5:
            if log.is_file() and sum(map(int, log.read_text().split())) > enough:
                child.kill()
        out, _ = child.communicate()
        if "done" in out:
            break
        kills += 1
    assert kills >= 3
    assert (tmp_path / "got" / "test.conll").read_bytes() == (source / "test.conll").read_bytes()
    read_in_all = sum(map(int, log.read_text().split()))
    assert size <= read_in_all <= size + kills * 4 * (1 << 18)  # one chunk for each of four threads


def test_every_place_says_what_it_is() -> None:
    for place in places.PLACES.all().values():
        assert isinstance(place, Place)
        assert place.summary
        assert all(place.form.startswith(prefix) for prefix in place.prefixes[:1])


def test_who_pushes_while_the_one_before_tidies_loses_nothing(artifact: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    push_files(artifact, partial(FolderRemote, place))
    ours, theirs = changed(artifact, tmp_path / "ours", 3), changed(artifact, tmp_path / "theirs", 4)

    class Meanwhile(Faulty):
        def remove(self, names) -> None:
            push_files(theirs, partial(FolderRemote, place))
            super().remove(names)

        def put(self, name: str, data: bytes, seen: Small | None) -> None:
            super().put(name, data, seen)
            push_files(theirs, partial(FolderRemote, place))

    push_files(ours, partial(Meanwhile, place))
    assert read(FolderRemote(place), tmp_path / "got") == content(theirs)


def test_a_file_that_changes_while_it_is_sent_is_sent_anew(artifact: Path, tmp_path: Path) -> None:
    (artifact / "note.txt").write_text("one")
    sealed(artifact)

    class Changing(Faulty):
        def send(self, name: str, file: Path, sha256: str, moved: Moved) -> None:
            if file.name == "note.txt":
                self.inner.send(name, file, sha256, moved)
                file.write_text("two")
            else:
                super().send(name, file, sha256, moved)

    with pytest.raises(TransferError, match=r"note.txt was changed while it was sent"):
        push_files(artifact, partial(Changing, tmp_path / "place"))
    sealed(artifact)
    push_files(artifact, partial(FolderRemote, tmp_path / "place"))
    assert read(FolderRemote(tmp_path / "place"), tmp_path / "got") == content(artifact)


def test_cuts_of_any_length_are_given_up_in_the_end() -> None:
    cuts = iter([5, 6] * 500)
    moved = [0]

    def cut() -> None:
        moved[0] = next(cuts)
        raise Passing("cut")

    with pytest.raises(TransferError, match="given up"):
        retry.patiently(cut, "x", lambda: moved[0])


def test_equal_files_come_once_and_are_two(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.conll", "b.conll"):
        (data / name).write_text("Marie\tI-PER\n\n")
    push(data, (tmp_path / "place").as_uri())
    got = pull((tmp_path / "place").as_uri(), tmp_path / "got")
    (got / "a.conll").write_text("x")
    assert (got / "b.conll").read_text() == "Marie\tI-PER\n\n"
