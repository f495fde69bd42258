"""Names in tables that others write: what is accepted means one file inside the folder, on every system."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.artifact import inside, safe_name, safe_names
from affineur.errors import ModelError

PARTS = st.sampled_from(
    ["..", ".", "", "a", "é", "A", "~", "c:", "\\", "con", " ", "x ", "x.", "\0", "a" * 300]
)
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join) | st.text(max_size=20)


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "onnx/model.onnx", "sub/é.txt", ".gitattributes", "a b/c-d_1.txt", "..a/b..c"],
)
def test_names_as_artifacts_have_them(name: str) -> None:
    assert safe_name(name) is name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../secret", "lies outside the folder"),
        ("a/../../secret", "lies outside the folder"),
        ("..", "lies outside the folder"),
        ("/etc/passwd", "lies outside the folder"),
        ("//host/share", "lies outside the folder"),
        ("..\\secret", "lies outside the folder"),
        ("a\\..\\..\\secret", "lies outside the folder"),
        ("\\\\host\\share", "lies outside the folder on Windows"),
        ("c:secret", "lies outside the folder on Windows"),
        ("config.json:hidden", "lies outside the folder on Windows"),
        ("a//b", "is not plain"),
        ("./a", "is not plain"),
        ("a/", "is not plain"),
        ("config.json.", "is not plain"),
        ("config.json ", "is not plain"),
        (".", "is not plain"),
        ("a\0b", "has characters that no name of a file has"),
        ("a\nb", "has characters that no name of a file has"),
        ("a\ud800b", "has characters that no name of a file has"),
        ("é" * 128, "is too long"),
        ("", "is not the name of a file"),
        (3, "is not the name of a file"),
        (None, "is not the name of a file"),
    ],
)
def test_names_that_are_refused(name: object, why: str) -> None:
    with pytest.raises(ModelError, match=f"^x.json names .*, which {re.escape(why)}") as caught:
        safe_name(name, "x.json")
    assert len(str(caught.value).splitlines()) == 1


@given(NAMES)
def test_what_is_accepted_stays_inside_on_every_system(name: str) -> None:
    try:
        safe_name(name)
    except ModelError:
        return
    for pure, root in ((PurePosixPath, "/home/x"), (PureWindowsPath, "C:\\home\\x")):
        joined = pure(root) / name
        assert joined.is_relative_to(pure(root))
        assert ".." not in joined.parts
        assert joined.relative_to(pure(root)).as_posix() == name
    assert not Path("/nowhere", name).is_file()  # the system can be asked for it


@given(st.lists(NAMES, max_size=6))
def test_names_accepted_together_are_as_many_files_where_case_does_not_count(names: list[str]) -> None:
    try:
        accepted = safe_names(names, "x.json", ["affineur.json"])
    except ModelError:
        return
    lowered = [name.lower() for name in accepted]
    assert len(set(lowered)) == len(names)
    assert "affineur.json" not in lowered
    assert not {str(parent) for name in lowered for parent in PurePosixPath(name).parents} & set(lowered)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("a.txt", "A.txt"), "names 'A.txt', which differs from 'a.txt' only by case"),
        (("é", "e\u0301"), "differs from 'é' only by case or accents"),
        (("Straße", "STRASSE"), "only by case"),
        (("sub/a", "SUB/A"), "only by case"),
        (("a", "a"), "is listed twice"),
        (("sub", "sub/a"), "which needs a folder where sub is a file"),
        (("SUB/b/c", "sub"), "which needs a folder where sub is a file"),
        (("affineur.json",), "which is the place of affineur.json itself"),
        (("AFFINEUR.JSON",), "which is the place of affineur.json itself"),
    ],
)
def test_names_that_do_not_go_together(names: tuple[str, ...], why: str) -> None:
    with pytest.raises(ModelError, match=re.escape(why)):
        safe_names(names, "x.json", ("affineur.json",))


def test_links(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").touch()
    (folder / "file").touch()
    (folder / "to file").symlink_to("file")
    (folder / "to secret").symlink_to("../secret")
    (folder / "up").symlink_to("..")
    (folder / "nowhere").symlink_to("../nothing")
    assert all(inside(folder, name) for name in ("file", "to file", "nowhere", "absent"))
    assert not any(inside(folder, name) for name in ("to secret", "up/secret"))
    linked = tmp_path / "linked"
    linked.symlink_to(folder)
    assert inside(linked, "file")


@pytest.mark.parametrize("target", ["blobs/ab", "blobs/sub/ab", "refs/ab", "../other/blobs/ab"])
def test_only_the_blobs_of_the_same_repository_are_inside(target: str, tmp_path: Path) -> None:
    snapshot = tmp_path / "repository" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    there = snapshot.parent.parent / target
    there.parent.mkdir(parents=True)
    there.touch()
    (snapshot / "file").symlink_to(there)
    assert inside(snapshot, "file") is (target == "blobs/ab")
