"""What was fetched, kept by what it holds: one copy of a version, however many references lead to it."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from affineur.artifact import disk_errors, write_json
from affineur.artifact.locking import in_turn
from affineur.artifact.reading import WRONG, read_json
from affineur.errors import ParameterError
from affineur.progress import report
from affineur.transfer.index import Index, find_index
from affineur.transfer.places.core.place import Access, Unreachable, opened, place_of, refuse_unknown, shown
from affineur.transfer.pull import fetch, only

#: How the names of files end that a reference may name by themselves: corpora and recipes.
_FILES = (".conll", ".txt", ".bio", ".iob", ".wikiner", ".jsonl", ".json", ".parquet", ".csv", ".tsv")
_RECIPES = (".yaml", ".yml")
_DIGITS = 32
_DAY = 86_400.0


def cache_folder() -> Path:
    """Return where what is dear to get is kept: ``$AFFINEUR_CACHE``, or a folder in the user's cache."""
    if given := os.environ.get("AFFINEUR_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "affineur"


def is_elsewhere(reference: str | os.PathLike[str]) -> bool:
    """Say whether a reference is at a place other than this disk and the Hub, which has its own cache.

    Raises:
        ParameterError: If it is an address of no place that is known.
    """
    text = os.fspath(reference)
    if text.startswith("hub:"):
        return False
    if place_of(text) is not None:
        return True
    refuse_unknown(text)
    return False


def fetched(
    reference: str, access: Access | None = None, check: Callable[[Index, str], None] | None = None
) -> Path:
    """Return what a reference stands for as a folder (or, for a corpus or recipe, a file) on this disk.

    The place is asked which version it has; that version is fetched once. Where the place cannot be reached,
    the version that it had last is used, and said.

    Args:
        reference: Such as ``s3://BUCKET/FOLDER``, or ``https://HOST/corpus/test.conll``.
        access: How the place is reached, where its usual configuration does not say so.
        check: Called with what is there, and where that is, before any of it is fetched; it raises to refuse.

    Raises:
        TransferError: If it cannot be fetched, and has not been before.
        ModelError: If it names places outside its folder.
    """
    base, name = _divided(reference)
    record = _record(base)
    try:
        with opened(base, access) as remote:
            index, _ = find_index(remote, None if name is None else (name,))
            if name is not None:
                index = only(index, {name}, remote.where)
            if check is not None:
                check(index, remote.where)
            folder = _versions() / index.version[:_DIGITS]
            # said here: whoever writes a result would take a full disk for that of the result
            with disk_errors(folder), in_turn(folder):
                if not folder.is_dir():
                    fetch(remote, index, folder)
            _remember(record, remote.where, folder)
    except Unreachable as error:
        known = _remembered(record)
        if known is None or (name is not None and not (known / name).is_file()):
            raise
        folder = known
        day = datetime.fromtimestamp(record.stat().st_mtime).date().isoformat()
        report(f"{error}; the copy of {day} is used")
    os.utime(folder)  # used today
    return folder if name is None else folder / name


def _divided(reference: str) -> tuple[str, str | None]:
    """Divide a reference to a file into its folder and its name; one to a folder has no name."""
    path, question, query = reference.partition("?")
    if PurePosixPath(path).suffix.lower() not in (*_FILES, *_RECIPES):
        return reference, None
    folder, _, name = path.rpartition("/")
    return f"{folder}{question}{query}", name


def _root() -> Path:
    return cache_folder() / "fetched"


def _records() -> Path:
    return _root() / "references"


def _versions() -> Path:
    return _root() / "versions"


def _record(base: str) -> Path:
    """Return the record of a reference; its name is no means to try passwords, which it leaves out."""
    told = f"{shown(base)}?{base.partition('?')[2]}"
    return _records() / f"{hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]}.json"


def _remember(record: Path, where: str, folder: Path) -> None:
    write_json(record, {"reference": where, "version": folder.name})


def _remembered(record: Path) -> Path | None:
    with suppress(OSError, *WRONG):
        folder = _versions() / str(read_json(record)["version"])
        return folder if folder.is_dir() else None
    return None


@dataclass(frozen=True, slots=True)
class Kept:
    """Something in the cache.

    Args:
        what: References that lead to it, or what kind of thing it is.
        path: Where it lies.
        size_bytes: Its size.
        used: When it was used last, in seconds since 1970.
    """

    what: str
    path: Path
    size_bytes: int
    used: float


def kept() -> list[Kept]:
    """List what is in the cache: versions of what was fetched, then what was computed, by kind."""
    names: dict[str, list[str]] = {}
    for record in sorted(_records().glob("*.json")):
        with suppress(OSError, *WRONG):
            said = read_json(record)
            names.setdefault(said["version"], []).append(str(said["reference"]))
    found = [
        _kept(", ".join(names.get(folder.name, ["no reference leads here any more"])), folder)
        for folder in _folders(_versions())
    ]
    others = (folder for folder in _folders(cache_folder()) if folder != _root())
    return [*found, *(_kept(folder.name.replace("_", " "), folder) for folder in others)]


def clean(days: float | None = None) -> list[Kept]:
    """Remove what is in the cache; what is needed again is fetched or computed again.

    Args:
        days: Only what has not been used for so many days.

    Raises:
        ParameterError: If ``days`` is below 0.
    """
    if days is not None and days < 0:
        raise ParameterError(f"older_than={days:g} is impossible, expected at least 0 days", "older_than")
    gone = [each for each in kept() if days is None or time.time() - each.used > days * _DAY]
    if days is not None:
        whole = {each.path for each in gone}
        gone += [each for each in _old_notes(days) if each.path.parent not in whole]
    for each in gone:
        if each.path.is_file():
            each.path.unlink(missing_ok=True)
            continue
        with in_turn(each.path):
            shutil.rmtree(each.path, ignore_errors=True)
    for record in _records().glob("*.json"):
        if _remembered(record) is None:
            record.unlink(missing_ok=True)
    for arriving in _versions().glob(".*.partial"):
        if days is None or time.time() - arriving.stat().st_mtime > days * _DAY:
            shutil.rmtree(arriving, ignore_errors=True)
    return gone


def _old_notes(days: float) -> list[Kept]:
    """List notes of uploads that nobody ended, each by its own age: their folder is that of all."""
    notes = [path for path in (cache_folder() / "uploads").glob("*.jsonl") if path.is_file()]
    found = [Kept("uploads", path, path.stat().st_size, path.stat().st_mtime) for path in notes]
    return [each for each in found if time.time() - each.used > days * _DAY]


def _folders(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from sorted(path for path in parent.iterdir() if path.is_dir() and path.name[:1] != ".")


def _kept(what: str, folder: Path) -> Kept:
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    used = max([folder.stat().st_mtime, *(stat.st_mtime for stat in stats)])
    return Kept(what, folder, sum(stat.st_size for stat in stats), used)
