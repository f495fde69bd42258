"""A folder of this machine or of a mounted drive, as a place: ``file:///mnt/models/mine``."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from affineur.artifact import file_digest
from affineur.artifact.locking import in_turn
from affineur.errors import ParameterError, TransferError
from affineur.transfer.places.core.place import (
    Access,
    Conflict,
    Moved,
    Place,
    Publication,
    Pushed,
    Remote,
    Small,
    Stat,
    shown,
    whole,
)

_CHUNK = 1 << 20
# What is on its way, and the locks of who writes it
_OURS = re.compile(r"\.[0-9a-f]{12}\.(\w+\.part|lock)")


class FolderRemote(Remote):
    """A folder that other processes may read meanwhile."""

    lists = True

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, folder.as_uri()

    def stat(self, name: str) -> Stat | None:
        """Ask the file system."""
        try:
            found = (self.folder / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise TransferError(f"{self.where}/{name} cannot be looked at ({error.strerror})") from None
        return Stat(found.st_size, version=f"{found.st_ino}-{found.st_mtime_ns}")

    def read(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Read a part of a file."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(start)
                left = -1 if stop is None else stop - start
                while chunk := file.read(_CHUNK if left < 0 else min(_CHUNK, left)):
                    left -= len(chunk) if left > 0 else 0
                    yield chunk
        except OSError as error:
            raise TransferError(f"{self.where}/{name} cannot be read ({error.strerror})") from None

    def names(self) -> Iterator[str]:
        """List every file."""
        for path in self.folder.rglob("*"):
            if path.is_file() and not _OURS.fullmatch(path.name):
                yield path.relative_to(self.folder).as_posix()

    def get(self, name: str) -> Small | None:
        """Read a small file; its version is its digest."""
        if not (self.folder / name).exists():
            return None
        data = whole(self.read(name, 0, None), f"{self.where}/{name}")
        return Small(data, hashlib.sha256(data).hexdigest())

    def put(self, name: str, data: bytes, seen: Small | None) -> None:
        """Write a file beside and rename it, where the one it replaces is still the same."""

        def write(building: Path) -> None:
            if self.get(name) != seen:
                raise Conflict(f"{self.where}/{name} is another one by now")
            building.write_bytes(data)

        self._place(name, write)

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """Compare digests."""
        path = self.folder / name
        return path.is_file() and path.stat().st_size == size and file_digest(path) == sha256

    def send(self, name: str, file: Path, sha256: str, moved: Moved) -> None:
        """Copy a file; one that was begun is gone on with."""

        def copy(building: Path) -> None:
            with self._ours(file) as ours, building.open("ab") as theirs:
                ours.seek(theirs.tell())
                moved(theirs.tell())
                while chunk := ours.read(_CHUNK):
                    theirs.write(chunk)
                    moved(len(chunk))
            if file_digest(building) != sha256:
                building.unlink()
                raise TransferError(
                    f"{self.where}/{name} did not arrive as it was sent, or {file} changed "
                    "meanwhile; try again"
                )

        self._place(name, copy, sha256[:12])

    def _ours(self, file: Path) -> BinaryIO:
        try:
            return file.open("rb")
        except OSError as error:
            raise TransferError(f"{file} cannot be read ({error.strerror})") from None

    def _place(self, name: str, write: Callable[[Path], object], mark: str = "new") -> None:
        path = self.folder / name
        # a name may have all the bytes that a name can have
        short = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
        building = path.with_name(f".{short}.{mark}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with in_turn(path.with_name(short)):  # two who send the same write to the same part
                write(building)
                with building.open("rb") as file:
                    os.fsync(file.fileno())
                building.replace(path)
        except (OSError, ParameterError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TransferError(f"{self.where}/{name} cannot be written ({reason})") from None

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and folders that are empty then."""
        for name in names:
            path = self.folder / name
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise TransferError(f"{self.where}/{name} cannot be removed ({error.strerror})") from None
            if path.parent != self.folder:
                with suppress(OSError):  # there is more in it
                    path.parent.rmdir()


class Folder(Place):
    """Folders of this machine."""

    prefixes = ("file://",)
    form = "file:///FOLDER"
    summary = "a folder of this machine, or of a drive that is mounted here"

    def open(self, reference: str, access: Access) -> FolderRemote:
        """Open a folder by its address."""
        try:
            parts = urlsplit(reference)
        except ValueError:
            raise TransferError(f"'{reference}' is no address of a folder, expected {self.form}") from None
        path = unquote(parts.path)
        if not path.startswith("/") or "\0" in path or parts.netloc not in ("", "localhost"):
            raise TransferError(f"{shown(reference)} is no folder of this machine, expected {self.form}")
        if parts.query or parts.fragment:
            raise TransferError(
                f"{reference} has a ? or # that ends the name of the folder; write ? as %3F and # as %23"
            )
        return FolderRemote(Path(path))

    def push(self, folder: Path, reference: str, access: Access, publication: Publication) -> Pushed:
        """Send what changed, to somewhere else."""
        here, there = folder.resolve(), self.open(reference, access).folder.resolve()
        if there.is_relative_to(here) or here.is_relative_to(there):
            raise TransferError(
                f"{reference} is, or holds, or lies in, the folder that is pushed ({folder}); name another"
            )
        return super().push(folder, reference, access, publication)


PLACE = Folder()
