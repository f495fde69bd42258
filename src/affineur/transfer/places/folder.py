"""A folder of this machine or of a mounted drive, as a place: ``file:///mnt/models/mine``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from affineur.artifact import file_digest
from affineur.errors import TransferError
from affineur.transfer.places.core.place import Access, Conflict, Moved, Place, Remote, Small, Stat

_CHUNK = 1 << 20


class FolderRemote(Remote):
    """A folder that other processes may read meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, folder.as_uri()

    def stat(self, name: str) -> Stat | None:
        """Ask the file system."""
        try:
            found = (self.folder / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
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
            if path.is_file():
                yield path.relative_to(self.folder).as_posix()

    def get(self, name: str) -> Small | None:
        """Read a small file; its version is its digest."""
        try:
            data = (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise TransferError(f"{self.where}/{name} cannot be read ({error.strerror})") from None
        return Small(data, hashlib.sha256(data).hexdigest())

    def put(self, name: str, data: bytes, seen: Small | None) -> None:
        """Write a file beside and rename it, where the one it replaces is still the same."""
        if self.get(name) != seen:
            raise Conflict(f"{self.where}/{name} is another one by now")
        self._place(name, lambda building: building.write_bytes(data))

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """Compare digests."""
        path = self.folder / name
        return path.is_file() and path.stat().st_size == size and file_digest(path) == sha256

    def send(self, name: str, file: Path, sha256: str, moved: Moved) -> None:
        """Copy a file; one that was begun is gone on with."""

        def copy(building: Path) -> None:
            with file.open("rb") as ours, building.open("ab") as theirs:
                ours.seek(theirs.tell())
                moved(theirs.tell())
                while chunk := ours.read(_CHUNK):
                    theirs.write(chunk)
                    moved(len(chunk))

        self._place(name, copy, sha256[:12])
        if file_digest(self.folder / name) != sha256:
            (self.folder / name).unlink()
            raise TransferError(f"{self.where}/{name} did not arrive as it was sent; try again")

    def _place(self, name: str, write: Callable[[Path], object], mark: str = "new") -> None:
        path = self.folder / name
        building = path.with_name(f".{path.name}.{mark}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(building)
            with building.open("rb") as file:
                os.fsync(file.fileno())
            building.replace(path)
        except OSError as error:
            raise TransferError(f"{self.where}/{name} cannot be written ({error.strerror})") from None

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and folders that are empty then."""
        for name in names:
            path = self.folder / name
            path.unlink(missing_ok=True)
            if path.parent != self.folder and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()


class Folder(Place):
    """Folders of this machine."""

    prefixes = ("file://",)
    form = "file:///FOLDER"
    summary = "a folder of this machine, or of a drive that is mounted here"

    def open(self, reference: str, access: Access) -> FolderRemote:
        """Open a folder by its address."""
        path = unquote(urlsplit(reference).path)
        if not path.startswith("/") or urlsplit(reference).netloc not in ("", "localhost"):
            raise TransferError(f"{reference} is no folder of this machine, expected {self.form}")
        return FolderRemote(Path(path))


PLACE = Folder()
