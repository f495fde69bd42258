"""The index of a folder at a place: what it holds, with digests; written last and read first.

``affineur.files.json`` names every file of a version with its sha256, its size and the object that holds it.
A later version leaves the objects of the one before alone (a reader may be at them) and puts what changed
under ``versions/ID/``; then the index is replaced in one step. So a reader sees one whole version, always.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from affineur.artifact import CARD, COMPANIONS, MANIFEST, file_digest, to_json
from affineur.artifact.paths import inside
from affineur.artifact.reading import WRONG, parse_json
from affineur.artifact.tensors import INDEX as SHARDS
from affineur.artifact.tensors import WEIGHTS
from affineur.errors import ModelError, TransferError
from affineur.transfer.names import CONFIG, OPTIONAL, checked_names, digests_named, refuse_page, shards_named
from affineur.transfer.places.core.place import Remote, Small, Stat
from affineur.transfer.places.core.retry import patiently

INDEX = "affineur.files.json"
#: Lies at a place while its first version is on its way there.
PUSHING = "affineur.pushing.json"
FORMAT = 1
VERSIONS = "versions/"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a version.

    Args:
        name: Its name in the folder.
        at: The object that holds it, relative to the folder's place.
        sha256: Its digest, where one is known.
        size: Bytes, where known.
        mark: What the place calls this content, where its digest is not known.
    """

    name: str
    at: str
    sha256: str | None = None
    size: int | None = None
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """What a version of a folder holds.

    Args:
        files: Its files, by name.
        previous: Objects of the version before, which readers may still be at.
    """

    files: Mapping[str, Entry]
    previous: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Digest of names, digests and sizes: equal where the content is."""
        lines = (f"{e.name} {e.sha256 or e.mark or e.size}\n" for e in self.files.values())
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()

    @property
    def objects(self) -> set[str]:
        """The objects of this version."""
        return {entry.at for entry in self.files.values()}

    def as_bytes(self) -> bytes:
        """Write it as ``affineur.files.json``."""
        files = {
            e.name: {"sha256": e.sha256, "size": e.size} | ({"at": e.at} if e.at != e.name else {})
            for e in sorted(self.files.values(), key=lambda e: e.name)
        }
        written = {"format": FORMAT, "version": self.version, "files": files, "previous": self.previous}
        return (to_json(written) + "\n").encode()


def read_index(data: bytes, where: str) -> Index:
    """Read ``affineur.files.json``.

    Args:
        data: Its content.
        where: Where it lies, for messages.

    Raises:
        TransferError: If it is damaged or of a newer format.
        ModelError: If it names a place outside the folder, or a pickle.
    """
    refuse_page(data, where, INDEX)
    try:
        raw = parse_json(data)
        newer = raw["format"] > FORMAT
        files = {} if newer else {name: _entry(name, said) for name, said in raw["files"].items()}
        previous = () if newer else tuple(map(str, raw.get("previous", ())))
    except WRONG:
        raise TransferError(
            f"{where}: {INDEX} is damaged; push the artifact again from where it was made"
        ) from None
    if newer:
        raise TransferError(
            f"{where}: {INDEX} has format {raw['format']}, this Affineur reads up to {FORMAT}; upgrade it: "
            "pip install -U affineur"
        )
    if not files:
        raise TransferError(f"{where}: {INDEX} names no file; push the artifact again from where it was made")
    checked_names(files, where, INDEX)
    checked_names(previous, where, INDEX)  # the next push removes them
    checked_names((entry.at for entry in files.values()), where, INDEX)
    found = Index(files, previous)
    if raw.get("version") != found.version:
        raise TransferError(
            f"{where}: {INDEX} does not belong to its files (its version differs); push again"
        )
    return found


def _entry(name: str, said: Mapping[str, Any]) -> Entry:
    digest, size = said["sha256"], said["size"]
    if not (isinstance(digest, str) and len(digest) == 64 and isinstance(size, int) and size >= 0):
        raise ValueError(name)
    return Entry(name, str(said.get("at", name)), digest, size)


def local_index(folder: Path) -> Index:
    """Index a folder on this disk; hidden files are left out.

    Raises:
        TransferError: If there is nothing in it, or something that cannot be sent: a link to elsewhere, a
            pipe, a file that may not be read.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in Path(name).parts):
            continue
        if path.is_symlink() and not (path.is_file() and inside(folder, name)):
            raise TransferError(
                f"{path} is a link that leads to no file of the folder; put there what it stands for, or "
                "remove it"
            )
        if path.is_file():
            try:
                files[name] = Entry(name, name, file_digest(path), path.stat().st_size)
            except OSError as error:
                raise TransferError(f"{path} cannot be read ({error.strerror})") from None
        elif not path.is_dir():
            raise TransferError(f"{path} is no regular file, expected files and folders; remove it")
    if not files:
        raise TransferError(f"{folder} has no file to send, expected a model folder, or one with data")
    return Index(files)


def find_index(remote: Remote, names: Collection[str] | None = None) -> tuple[Index, Small | None]:
    """Find out what a folder at a place holds.

    Args:
        remote: The folder.
        names: The files wanted; ``None`` for all there are.

    Returns:
        What it holds, and the index as it was read, ``None`` where there is none: then ``affineur.json`` says
        it, else a listing, else the names that ``save_pretrained`` gives to files.

    Raises:
        TransferError: If nothing is there.
        ModelError: If what is there names places outside the folder, or pickles.
    """
    seen = read_small(remote, INDEX)
    if seen is not None:
        return read_index(seen.data, remote.where), seen
    if (manifest := read_small(remote, MANIFEST)) is not None:
        said = digests_named(manifest.data, remote.where)
        known = {name: Entry(name, name, digest) for name, digest in said.items() if name != CARD}
        # People edit a card, or take it away; what is made of a finished artifact is not in its manifest.
        for name in (*([CARD] if CARD in said else []), *COMPANIONS):
            if stat := stat_of(remote, name):
                known[name] = _plain(name, stat)
        whole = hashlib.sha256(manifest.data).hexdigest()
        return Index(known | {MANIFEST: Entry(MANIFEST, MANIFEST, whole, len(manifest.data))}), None
    if stat_of(remote, PUSHING) is not None:
        raise TransferError(
            f"{remote.where} is not there yet: its first push has not ended; wait, or push it again"
        )
    if names is not None:
        found = {name: _plain(name, stat) for name in names if (stat := stat_of(remote, name))}
    else:
        found = _listed(remote) if remote.lists else _guessed(remote)
    if not found:
        wanted = "nothing" if names is None else f"no {', '.join(sorted(names))}"
        raise TransferError(f"{remote.where}: {wanted} is there; check the reference")
    return Index(found), None


def require_model(index: Index, where: str) -> None:
    """Refuse a folder without a model, before any of it is fetched.

    Raises:
        ModelError: If it is one.
    """
    if CONFIG not in index.files:
        raise ModelError(
            f"{where} has no {CONFIG}, expected a folder with a model; other folders are fetched by affineur "
            "pull"
        )


def _listed(remote: Remote) -> dict[str, Entry]:
    listed = patiently(lambda: list(remote.names()), f"listing {remote.where}")
    names = [name for name in listed if not any(part.startswith(".") for part in name.split("/"))]
    readable = checked_names(names, remote.where, "the listing", skip_pickles=True)
    return {name: _plain(name, stat) for name in readable if (stat := stat_of(remote, name))}


def _guessed(remote: Remote) -> dict[str, Entry]:
    """Ask for the files that a model folder may have, by their names: the place cannot list."""
    found = {name: _plain(name, stat) for name in (CONFIG, *OPTIONAL) if (stat := stat_of(remote, name))}
    if not found:
        return {}
    weights = [next((name for name in (WEIGHTS, SHARDS) if stat_of(remote, name)), "")]
    if weights == [""]:
        raise ModelError(
            f"{remote.where} has neither {WEIGHTS} nor {SHARDS} (pickles are refused); expected a folder "
            "written by save_pretrained"
        )
    if weights == [SHARDS] and (index := read_small(remote, SHARDS)):
        weights += shards_named(index.data, remote.where)
    for name in weights:
        stat = stat_of(remote, name)
        if stat is None:
            raise TransferError(f"{remote.where}: {name} is not there, though {SHARDS} names it")
        found[name] = _plain(name, stat)
    return found


def stat_of(remote: Remote, name: str) -> Stat | None:
    """Ask for a file with patience; ``None`` where it is not there."""
    return patiently(partial(remote.stat, name), name)


def read_small(remote: Remote, name: str) -> Small | None:
    """Read a small file with patience; ``None`` where it is not there."""
    return patiently(partial(remote.get, name), name)


def _plain(name: str, stat: Stat) -> Entry:
    return Entry(name, name, None, stat.size, stat.version)
