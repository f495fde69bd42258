"""A file on its way here: how far each part of it is, on disk too, and how its bytes get into place."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from affineur.artifact import file_digest
from affineur.errors import AffineurError, TransferError
from affineur.transfer.index import Entry, stat_of
from affineur.transfer.places.core.place import Passing, Remote, Stat
from affineur.transfer.places.core.retry import patiently
from affineur.transfer.streams import Meter

STATE = ".parts"  # ends the name of the file that has the count of each part
_COUNT = struct.Struct("<Q")


def part_name(entry: Entry) -> str:
    """Name a file on its way after its content, as far as that is known."""
    told = entry.sha256 or f"{entry.name} {entry.mark} {entry.size}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(slots=True)
class Coming:
    """A file on its way here, and how far each part of it is."""

    entry: Entry
    file: Path
    stat: Stat
    part: int
    done: list[int]

    @classmethod
    def of(cls, entry: Entry, folder: Path, remote: Remote) -> Coming:
        """Ask for a file, and find what an earlier run had of it.

        Args:
            entry: The file, as the index has it.
            folder: Where files lie while they come.
            remote: Where it comes from.

        Raises:
            TransferError: If it is not there, or is another by now.
            AffineurError: If it is larger than the disk.
        """
        file = folder / part_name(entry)
        stat = stat_of(remote, entry.at)
        if stat is None:
            raise TransferError(
                f"{remote.where}: {entry.name} is not there, though it is listed; if it is being pushed just "
                "now, try again"
            )
        if entry.mark and stat.version != entry.mark:
            raise _changed(remote, entry)
        size = stat.size if entry.size is None else entry.size
        if stat.size is not None and stat.size != size:
            raise TransferError(
                f"{remote.where}: {entry.name} has {stat.size:,} bytes, expected {size:,}; push it again"
            )
        _require_room(
            size or 0, entry.name, folder
        )  # before its parts are counted, of which it may say billions
        divided = size is not None and stat.ranges
        count = max(1, -(-(size or 0) // remote.part)) if divided else 1
        done = [0] * count
        state = Path(f"{file}{STATE}")
        if divided and file.is_file() and state.is_file() and file.stat().st_size == size:
            kept = state.read_bytes()
            if len(kept) == count * _COUNT.size:
                done = [value for (value,) in _COUNT.iter_unpack(kept)]
        return cls(entry, file, Stat(size, divided, stat.version), remote.part, done)

    @property
    def size(self) -> int | None:
        """Bytes, where known."""
        return self.stat.size

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self.size is not None and self.left <= 0

    @property
    def left(self) -> int:
        """Bytes still to come, where known."""
        return (self.size or 0) - sum(self.done)

    def bounds(self, part: int) -> tuple[int, int | None]:
        """Return where a part begins and ends; the end is ``None`` where the size is not known."""
        if not self.stat.ranges or self.size is None:
            return 0, self.size
        return part * self.part, min((part + 1) * self.part, self.size)

    def lacks(self, part: int) -> bool:
        """Say whether bytes of a part are still to come; where the size is not known, they may be."""
        start, stop = self.bounds(part)
        return self.size is None or self.done[part] < (stop or 0) - start

    @property
    def followed(self) -> bool:
        """Say whether its bytes, once here, stay, so that they can be digested as they come."""
        return bool(self.stat.ranges and self.size and self.entry.sha256)

    def reached(self, at: int) -> int:
        """Return up to where there is every byte from ``at`` on."""
        for part in range(at // self.part, len(self.done)):
            at = part * self.part + self.done[part]
            if self.lacks(part):
                break
        return at

    def verify(self, remote: Remote) -> None:
        """Compare with the digest; what is wrong is thrown away, so that the next run fetches it again.

        Where no digest is known, the place is asked once more whether it is still the same file.
        """
        where = remote.where
        if self.entry.sha256 is None:
            now = stat_of(remote, self.entry.at)
            if now is None or now.version != self.stat.version:
                self.file.unlink()
                raise _changed(remote, self.entry)
            return
        if (found := file_digest(self.file)) != self.entry.sha256:
            self.file.unlink()
            raise TransferError(
                f"{where}: {self.entry.name} has the sha256 {found}, expected {self.entry.sha256}; nothing "
                "was put in place. It was damaged on its way or changed there: try again, else push it again"
            )


def _changed(remote: Remote, entry: Entry) -> TransferError:
    return TransferError(f"{remote.where}: {entry.name} was changed there while it was fetched; try again")


def _require_room(size: int, name: str, folder: Path) -> None:
    """Refuse a file that is larger than the disk."""
    if size > (total := shutil.disk_usage(folder).total):
        raise AffineurError(
            f"{name} would have {size / 1e6:,.1f} MB, and the whole disk of {folder.parent} has "
            f"{total / 1e6:,.1f} MB; name a folder on a larger disk, if that is what it should have"
        )


class Receiver:
    """Writes the parts of one file into place, and keeps count of them on disk.

    It is open only while parts of it are on their way: a folder may have more files than a process may open.
    """

    def __init__(
        self, remote: Remote, coming: Coming, parts: int, meter: Meter, came: Callable[[], None]
    ) -> None:
        self._remote, self._coming, self._left, self._meter = remote, coming, parts, meter
        self._came = came
        self._file = self._state = -1
        self._lock = threading.Lock()

    def open(self) -> None:
        """Open the file at its full length, and the count of its parts."""
        with self._lock:
            if self._state >= 0:
                return
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            coming = self._coming
            self._file = os.open(coming.file, flags, 0o644)
            try:
                self._state = os.open(f"{coming.file}{STATE}", flags, 0o644)
            except OSError:
                os.close(self._file)
                raise
            _write_all(self._state, b"".join(_COUNT.pack(done) for done in coming.done), 0)
            os.ftruncate(self._state, len(coming.done) * _COUNT.size)
            os.ftruncate(self._file, coming.size or 0)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            if self._state >= 0:
                os.close(self._state)
                os.close(self._file)
                self._file = self._state = -1

    def part(self, part: int) -> None:
        """Bring the rest of a part."""
        name = self._coming.entry.name
        self.open()
        patiently(partial(self._once, part), name, lambda: self._coming.done[part])
        with self._lock:
            self._left -= 1
        if not self._left:  # the last that was on its way
            self.close()

    def _once(self, part: int) -> None:
        coming = self._coming
        start, stop = coming.bounds(part)
        if not coming.stat.ranges:  # it comes from its beginning, whatever there is
            self._count(part, 0)
        at = start + coming.done[part]
        if stop is not None and at >= stop:
            return
        for chunk in self._remote.read(coming.entry.at, at, stop):
            self._meter.check()
            if stop is not None and at + len(chunk) > stop:
                raise TransferError(
                    f"{self._remote.where}: {coming.entry.name} goes on after {stop:,} bytes; it is another "
                    "file than was listed"
                )
            _write_all(self._file, chunk, at)
            at += len(chunk)
            self._count(part, at - start)
        if stop is None:  # an earlier attempt may have been longer
            os.ftruncate(self._file, at)
        elif at < stop:
            raise Passing(
                f"{self._remote.where}: {coming.entry.name} was cut off after {at:,} of {stop:,} bytes"
            )

    def _count(self, part: int, done: int) -> None:
        """Take down how far a part is, after its bytes: what is counted is there, whenever we are killed."""
        before, self._coming.done[part] = self._coming.done[part], done
        os.pwrite(self._state, _COUNT.pack(done), part * _COUNT.size)
        self._meter.moved(done - before)
        self._came()


def _write_all(file: int, data: bytes, at: int) -> None:
    """Write all of it: a disk that is nearly full takes a part of it, and says no error."""
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, at)
        view, at = view[count:], at + count
