"""Names of files in a table that somebody else may have written: which are followed, and which refused."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from affineur.errors import ModelError, brief

#: Bytes that a part of a name may have on every disk.
_LONGEST = 255
#: What the Hub's cache calls the folder of its files, beside the folder of snapshots that link to them.
_BLOBS, _SNAPSHOTS = "blobs", "snapshots"


def safe_name(name: object, where: str = "a manifest") -> str:
    """Return a name that means the same file on every system, inside the folder it is relative to.

    Args:
        name: What a table names.
        where: The table, for messages.

    Raises:
        ModelError: If it is not a name, lies outside the folder, or is read otherwise by another system.
    """
    if problem := _problem(name):
        raise ModelError(f"{where} names {brief(name)}, which {problem}")
    assert isinstance(name, str)
    return name


def safe_names(names: Iterable[object], where: str, taken: Iterable[str] = ()) -> list[str]:
    """Return names that mean as many files on every system, inside the folder they are relative to.

    Args:
        names: What a table names.
        where: The table, for messages.
        taken: Names that the table may not have, in any case.

    Raises:
        ModelError: If one is not safe (see :func:`safe_name`), or two are the same file where case does not
            count, or one is both a file and a folder.
    """
    checked = [safe_name(name, where) for name in names]
    kept = {folded(name): name for name in taken}
    files: dict[str, str] = {}
    for name in checked:
        alike = folded(name)
        if alike in kept:
            raise ModelError(f"{where} names {brief(name)}, which is the place of {kept[alike]} itself")
        if (other := files.get(alike)) is not None:
            how = (
                "is listed twice" if other == name else f"differs from {brief(other)} only by case or accents"
            )
            raise ModelError(f"{where} names {brief(name)}, which {how}")
        files[alike] = name
    for name in checked:
        for parent in list(PurePosixPath(folded(name)).parents)[:-1]:
            if (other := files.get(str(parent))) is not None:
                raise ModelError(f"{where} names {brief(name)}, which needs a folder where {other} is a file")
    return checked


def inside(folder: Path, name: str) -> bool:
    """Say whether a file is in its folder once links are followed.

    In the Hub's cache each file is a link to the folder where its repository keeps all files; that is inside.
    """
    path = folder / name
    if not path.exists():
        return True  # there is nothing that could lead anywhere
    home, target = folder.resolve(), path.resolve()
    if target.is_relative_to(home):
        return True
    return home.parent.name == _SNAPSHOTS and target.parent == home.parent.parent / _BLOBS


def present(folder: Path) -> list[str]:
    """List the files of a folder, and the links to folders, sorted.

    Hidden files and folders right in it are left out: places and systems keep them there (``.gitattributes``,
    ``.cache``), and nothing reads a model from them.
    """
    found = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here == folder:
            folders[:] = [name for name in folders if not name.startswith(".")]
            files = [name for name in files if not name.startswith(".")]
        links = [name for name in folders if (here / name).is_symlink()]
        found += [(here / name).relative_to(folder).as_posix() for name in (*files, *links)]
    return sorted(found)


def folded(name: str) -> str:
    """Return what a disk makes of a name for which neither case nor the spelling of accents counts."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _problem(name: object) -> str | None:
    if not isinstance(name, str) or not name:
        return "is not the name of a file"
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
        return "lies outside the folder"
    if set(name) & set("\\:"):
        return "lies outside the folder on Windows (it has \\ or :)"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "has characters that no name of a file has"
    parts = name.split("/")
    if any(part in ("", ".") or part.endswith((" ", ".")) for part in parts):
        return "is not plain (expected parts between single /, none of them ending in a space or a dot)"
    if any(len(part.encode()) > _LONGEST for part in parts):
        return f"is too long (at most {_LONGEST} bytes between two /)"
    return None
