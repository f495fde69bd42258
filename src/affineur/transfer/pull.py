"""Bringing a folder here: in parts, side by side, resumed after any interruption, and checked to the byte.

What has come lies in ``.NAME.partial`` beside the target, each file at its full length, with the number of
bytes that each of its parts has; the next run of the same command goes on from there. Only when every digest
is right does the folder take the target's place, in one step.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from affineur.artifact import (
    Manifest,
    file_digest,
    new_folder,
    open_folder,
    verify,
    write_manifest,
)
from affineur.artifact.locking import alone
from affineur.artifact.writing import HIDDEN, disk_errors, refuse_to_lose, write_text
from affineur.errors import AffineurError, ModelError, TransferError
from affineur.transfer.index import Entry, Index, find_index, local_index, stat_of
from affineur.transfer.names import CONFIG
from affineur.transfer.places.core.place import Access, Passing, Remote, Stat, opened
from affineur.transfer.places.core.retry import patiently
from affineur.transfer.streams import Meter, side_by_side

PART = 8 << 20  # bytes
_STATE = ".parts"
_COUNT = struct.Struct("<Q")


def pull(
    reference: str,
    destination: Path,
    *,
    access: Access | None = None,
    check: Callable[[Path], None] | None = None,
) -> Path:
    """Copy a folder from a place to this disk, all of it or nothing.

    Args:
        reference: Where it is, such as ``s3://BUCKET/FOLDER``.
        destination: The folder to make; what an earlier pull put there is replaced, and files in it that are
            the same are not fetched again.
        access: How the place is reached, where its usual configuration does not say so.
        check: Called with the finished folder before it is put in place; it raises to refuse it.

    Returns:
        ``destination``.

    Raises:
        TransferError: If a file does not come, or has another digest than was said.
        ModelError: If what came is a model that cannot be used, or names places outside its folder.
        ParameterError: If ``destination`` holds something that Affineur did not write.
        AffineurError: If the disk is full or not writable.
    """
    refuse_to_lose(destination)
    with opened(reference, access) as remote, alone(destination, "name another folder"):
        index, _ = find_index(remote)
        fetch(remote, index, destination, check)
    return destination


def fetch(
    remote: Remote, index: Index, destination: Path, check: Callable[[Path], None] | None = None
) -> None:
    """Bring the files of an index, and put the folder in place when all are right.

    Args:
        remote: The folder at its place.
        index: What is wanted of it.
        destination: The folder to make.
        check: As for :func:`pull`.
    """
    target = destination.resolve()
    arriving = target.parent / f".{target.name}.partial"
    coming: list[_Coming] = []
    with disk_errors(target):
        arriving.mkdir(parents=True, exist_ok=True)
        try:
            _forget_others(arriving, index)
            for entry in index.files.values():
                coming.append(_Coming.of(entry, arriving, remote))
            _reuse(coming, target)
            _require_space(coming, target)
            _receive(remote, coming)
            for each in coming:
                each.verify(remote)
        except BaseException:
            _drop_useless(coming, arriving)
            raise
    with new_folder(target) as building:
        linked: set[Path] = set()
        for each in coming:
            (building / each.entry.name).parent.mkdir(parents=True, exist_ok=True)
            if each.file in linked:  # equal files are two, though they came once
                shutil.copyfile(each.file, building / each.entry.name)
            else:
                _link(each.file, building / each.entry.name)
            linked.add(each.file)
        try:
            _accept(building, remote.where, check)
        except (ModelError, TransferError):  # all is here, as it was said to be: to try again is vain
            shutil.rmtree(arriving, ignore_errors=True)
            raise
    shutil.rmtree(arriving, ignore_errors=True)


def _link(file: Path, name: Path) -> None:
    """Give a file another name: a kill before the folder is in place loses nothing."""
    try:
        os.link(file, name)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, name)


def only(index: Index, names: set[str], where: str) -> Index:
    """Restrict an index to some of its files.

    Raises:
        TransferError: If one of them is not there.
    """
    if missing := sorted(names - set(index.files)):
        raise TransferError(f"{where} has no {', '.join(missing)}; it has {', '.join(sorted(index.files))}")
    return Index({name: entry for name, entry in index.files.items() if name in names})


def _accept(building: Path, where: str, check: Callable[[Path], None] | None) -> None:
    """Check what came as a whole, and leave a trace by which a second pull knows the folder for its own."""
    try:
        manifest = verify(building)
        if (building / CONFIG).is_file():
            kind = open_folder(building).kind
            if manifest is None:
                write_manifest(building, Manifest(kind, "download", {"source": where}))
        elif manifest is None:
            write_text(building / HIDDEN, local_index(building).as_bytes().decode())
        if check is not None:
            check(building)
    except ModelError as error:  # the building folder is gone by the time the message is read
        raise ModelError(str(error).replace(str(building), where)) from None


def _forget_others(arriving: Path, index: Index) -> None:
    """Drop what an earlier pull had of another version, but for files that are in this one too."""
    wanted = {_part_name(entry) for entry in index.files.values()}
    for path in arriving.iterdir():
        if path.name.removesuffix(_STATE) not in wanted:
            path.unlink()


def _drop_useless(coming: list[_Coming], arriving: Path) -> None:
    """Remove what the next run could not go on with: it would only fill the disk."""
    for each in coming:
        if not each.stat.ranges and not each.complete:
            each.file.unlink(missing_ok=True)
            Path(f"{each.file}{_STATE}").unlink(missing_ok=True)
    with suppress(OSError):  # there is more
        arriving.rmdir()


def _part_name(entry: Entry) -> str:
    """Name a file on its way after its content, as far as that is known."""
    told = entry.sha256 or f"{entry.name} {entry.mark} {entry.size}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(slots=True)
class _Coming:
    """A file on its way here, and how far each part of it is."""

    entry: Entry
    file: Path
    stat: Stat
    done: list[int]

    @classmethod
    def of(cls, entry: Entry, folder: Path, remote: Remote) -> _Coming:
        file = folder / _part_name(entry)
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
        count = max(1, -(-(size or 0) // PART)) if divided else 1
        done = [0] * count
        state = Path(f"{file}{_STATE}")
        if divided and file.is_file() and state.is_file() and file.stat().st_size == size:
            kept = state.read_bytes()
            if len(kept) == count * _COUNT.size:
                done = [value for (value,) in _COUNT.iter_unpack(kept)]
        return cls(entry, file, Stat(size, divided, stat.version), done)

    @property
    def size(self) -> int | None:
        return self.stat.size

    @property
    def complete(self) -> bool:
        return self.size is not None and self.left <= 0

    @property
    def left(self) -> int:
        return (self.size or 0) - sum(self.done)

    def bounds(self, part: int) -> tuple[int, int | None]:
        if not self.stat.ranges or self.size is None:
            return 0, self.size
        return part * PART, min((part + 1) * PART, self.size)

    def lacks(self, part: int) -> bool:
        """Say whether bytes of a part are still to come; where the size is not known, they may be."""
        start, stop = self.bounds(part)
        return self.size is None or self.done[part] < (stop or 0) - start

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


def _reuse(coming: list[_Coming], target: Path) -> None:
    """Take files that the target has already, the same to the byte."""
    for each in coming:
        held = target / each.entry.name
        size = each.size
        if each.entry.sha256 is None or each.left == 0 or not held.is_file() or held.stat().st_size != size:
            continue
        if file_digest(held) == each.entry.sha256:
            each.file.unlink(missing_ok=True)
            shutil.copyfile(held, each.file)
            each.done = [stop - start for start, stop in _all_bounds(each)]


def _all_bounds(each: _Coming) -> Iterator[tuple[int, int]]:
    for part in range(len(each.done)):
        start, stop = each.bounds(part)
        yield start, stop or 0


def _require_room(size: int, name: str, folder: Path) -> None:
    """Refuse a file that is larger than the disk."""
    if size > (total := shutil.disk_usage(folder).total):
        raise AffineurError(
            f"{name} would have {size / 1e6:,.1f} MB, and the whole disk of {folder.parent} has "
            f"{total / 1e6:,.1f} MB; name a folder on a larger disk, if that is what it should have"
        )


def _require_space(coming: list[_Coming], target: Path) -> None:
    needed = sum(max(0, each.left) for each in coming)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise AffineurError(
            f"{target} needs {needed / 1e6:,.1f} MB more, but {target.parent} has {free / 1e6:,.1f} MB free; "
            "make room or name another folder, nothing was fetched"
        )


def _receive(remote: Remote, coming: list[_Coming]) -> None:
    meter = Meter(f"fetching {remote.where}", _total(coming), sum(sum(each.done) for each in coming))
    with ExitStack() as stack:
        jobs = []
        for each in {each.file: each for each in coming}.values():  # equal files come once
            wanted = [part for part in range(len(each.done)) if each.lacks(part)]
            receiver = _Receiver(remote, each, len(wanted), meter)
            stack.callback(receiver.close)
            jobs += [partial(receiver.part, part) for part in wanted]
            if not wanted:
                receiver.open()
                receiver.close()
        side_by_side(jobs, remote.streams, meter)


def _total(coming: list[_Coming]) -> int | None:
    sizes = [each.size for each in coming]
    return None if None in sizes else sum(size or 0 for size in sizes)


class _Receiver:
    """Writes the parts of one file into place, and keeps count of them on disk.

    It is open only while parts of it are on their way: a folder may have more files than a process may open.
    """

    def __init__(self, remote: Remote, coming: _Coming, parts: int, meter: Meter) -> None:
        self._remote, self._coming, self._left, self._meter = remote, coming, parts, meter
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
                self._state = os.open(f"{coming.file}{_STATE}", flags, 0o644)
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


def _write_all(file: int, data: bytes, at: int) -> None:
    """Write all of it: a disk that is nearly full takes a part of it, and says no error."""
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, at)
        view, at = view[count:], at + count
