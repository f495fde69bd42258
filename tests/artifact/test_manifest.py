"""The manifest: what is written is read, and what was changed is found."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from affineur.artifact import (
    MANIFEST,
    Manifest,
    Parent,
    State,
    describe_machine,
    environment,
    examine,
    read_manifest,
    unlisted,
    verify,
    write_manifest,
)
from affineur.artifact.manifest import FORMAT
from affineur.errors import ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "weights").write_bytes(bytes(range(256)))
    (tmp_path / "sub" / "é.txt").write_text("é")
    (tmp_path / "empty").touch()
    write_manifest(tmp_path, Manifest("transformers", "test"))
    return tmp_path


def change(folder: Path, **entries: Any) -> None:
    raw = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(json.dumps(raw | entries))


def test_round_trip(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    wanted = Manifest(
        kind="transformers",
        stage="prune",
        parameters={"sparsity": 0.15, "scope": None, "nested": {"é": [1, 2]}},
        parents=[Parent("distill", "ab" * 32, "student"), Parent("given", "cd" * 32, "teacher")],
        data={"train": {"name": "x", "digest": "d"}},
        key="ef" * 32,
        recipe="00",
        scores={"f1": 0.8451234567890123},
    )
    write_manifest(tmp_path, wanted)
    found = verify(tmp_path)
    assert found is not None
    assert found.files == {"a": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert found.format == FORMAT
    for name in ("kind", "stage", "parameters", "parents", "data", "key", "recipe", "scores", "environment"):
        assert getattr(found, name) == getattr(wanted, name), name


def test_every_file_is_listed(folder: Path) -> None:
    found = verify(folder)
    assert found is not None
    assert sorted(found.files) == ["empty", "sub/é.txt", "weights"]


def test_a_folder_without_a_manifest_passes(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert verify(tmp_path) is None


def test_files_nobody_listed_are_not_looked_at(folder: Path) -> None:
    (folder / "optimizer.pt").write_text("x")
    assert verify(folder) is not None


@pytest.mark.parametrize("position", [0, 100, 255])
def test_a_tampered_byte(position: int, folder: Path) -> None:
    content = bytearray((folder / "weights").read_bytes())
    content[position] ^= 1
    (folder / "weights").write_bytes(content)
    os.utime(
        folder / "weights", ns=(0, 0)
    )  # the clock of a file system may be coarser than this test is fast
    with pytest.raises(
        ModelError, match=r"weights is not the file that was written \(sha256 differs from affineur.json\)"
    ):
        verify(folder)


def test_a_byte_more(folder: Path) -> None:
    with (folder / "empty").open("a") as file:
        file.write("x")
    with pytest.raises(ModelError, match="empty is not the file"):
        verify(folder)


def test_a_missing_file(folder: Path) -> None:
    (folder / "sub" / "é.txt").unlink()
    with pytest.raises(ModelError, match=r"é.txt is missing, though affineur.json lists it"):
        verify(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/../../secret", ".."])
def test_a_name_that_leads_outside(name: str, folder: Path) -> None:
    change(folder, files={name: "0" * 64})
    with pytest.raises(ModelError, match="lies outside the folder"):
        verify(folder)


def test_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    change(folder, files={"sub": "0" * 64})
    with pytest.raises(ModelError, match="missing"):
        verify(folder)


def test_links_to_the_blobs_of_the_hubs_cache_pass(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("c" * 40)
    (snapshot / "sub").mkdir(parents=True)
    (blobs := tmp_path / "models--a--b" / "blobs").mkdir()
    for number, name in enumerate(("weights", "sub/é.txt", "empty", MANIFEST)):
        (folder / name).rename(blobs / str(number))
        up = "../" * (2 + name.count("/"))
        (snapshot / name).symlink_to(f"{up}blobs/{number}")
    assert verify(snapshot) is not None


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_that_leads_outside(link: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    moved = "weights" if link == "file" else "sub"
    (folder / moved).rename(elsewhere / moved)
    (folder / moved).symlink_to(elsewhere / moved)
    with pytest.raises(ModelError, match=rf"{moved}.* is a link to .*, outside the folder"):
        verify(folder)


def test_a_link_inside_the_folder_passes(folder: Path) -> None:
    (folder / "weights").rename(folder / "other")
    (folder / "weights").symlink_to("other")
    assert verify(folder) is not None


def test_what_stands_beside_an_artifact_is_not_listed(folder: Path) -> None:
    for name in ("model.sig", "sbom.json"):
        (folder / name).write_text("{}")
    write_manifest(folder, Manifest("transformers", "test"))
    found = verify(folder)
    assert found is not None
    assert sorted(found.files) == ["empty", "sub/é.txt", "weights"]


def test_every_file_is_examined_not_only_the_first(folder: Path) -> None:
    (folder / "README.md").write_text("a card")
    write_manifest(folder, Manifest("transformers", "test"))
    (folder / "README.md").write_text("an edited card")
    (folder / "empty").write_text("x")
    (folder / "sub" / "é.txt").unlink()
    manifest = read_manifest(folder)
    assert manifest is not None
    found = dict(examine(folder, manifest))
    assert found == {
        "README.md": State.EDITED,
        "empty": State.DIFFERS,
        "sub/é.txt": State.MISSING,
        "weights": State.GOOD,
    }
    assert [name for name, state in found.items() if not state.passes] == ["empty", "sub/é.txt"]


def test_files_that_nobody_listed_are_named(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "sub" / "more").mkdir()
    (folder / "sub" / "more" / "x.bin").touch()
    (folder / "linked").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    for name in (".gitattributes", "model.sig", "sbom.json", "README.md"):
        (folder / name).touch()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "kept").touch()
    manifest = read_manifest(folder)
    assert manifest is not None
    assert unlisted(folder, manifest) == ["linked", "sub/more/x.bin"]


def test_a_newer_format(folder: Path) -> None:
    change(folder, format=FORMAT + 1)
    with pytest.raises(
        ModelError, match=rf"has format {FORMAT + 1}, this Affineur reads up to {FORMAT}; upgrade it: pip"
    ):
        read_manifest(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '"x"',
        "{}",
        '{"format": 1}',
        '{"format": "1", "parents": []}',
        '{"format": null}',
        "\x00",
        "é".encode("latin-1"),
    ],
)
def test_damaged_json(text: str | bytes, folder: Path) -> None:
    (folder / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(
        ModelError, match=r"affineur.json is damaged \(.*\); delete it to use the folder as a plain model"
    ):
        read_manifest(folder)


@pytest.mark.parametrize(
    "entries",
    [
        {"parents": None},
        {"parents": [3]},
        {"parents": [{"stage": "x"}]},
        {"files": []},
        {"files": None},
        {"files": {"weights": 3}},
        {"surprise": 1},
    ],
)
def test_entries_of_the_wrong_kind(entries: dict[str, Any], folder: Path) -> None:
    change(folder, **entries)
    with pytest.raises(ModelError, match="damaged"):
        verify(folder)


def test_the_environment_says_what_figures_depend_on() -> None:
    here = environment()
    assert {"python", "system", "cpu", "cpu_flags", "cores", "libraries"} == here.keys()
    assert here["cores"] >= 1
    assert {"affineur", "numpy", "safetensors"} <= here["libraries"].keys()
    assert "\n" not in describe_machine()
    assert here["cpu"] in describe_machine()


def test_commands_are_kept_and_older_manifests_have_none(tmp_path: Path) -> None:
    parent = Parent("given", "d" * 64, "teacher", command=None)
    manifest = Manifest("transformers", "prune", parents=[parent], command="affineur prune teacher -o here")
    write_manifest(tmp_path, manifest)
    again = read_manifest(tmp_path)
    assert again is not None
    assert (again.command, again.parents[0].command) == ("affineur prune teacher -o here", None)
    raw = json.loads((tmp_path / MANIFEST).read_text("utf-8"))
    del raw["command"], raw["parents"][0]["command"]
    (tmp_path / MANIFEST).write_text(json.dumps(raw), "utf-8")
    assert read_manifest(tmp_path) == replace(again, command=None)
