"""Bringing a folder here: in parts, side by side, resumed after any interruption, and checked to the byte.

What has come lies in ``.NAME.partial`` beside the target, each file at its full length, with the number of
bytes that each of its parts has; the next run of the same command goes on from there. Only when every digest
is right does the folder take the target's place, in one step.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from affineur.artifact import (
    Manifest,
    file_digest,
    new_folder,
    open_folder,
    remember_digest,
    verify,
    write_manifest,
)
from affineur.artifact.locking import alone
from affineur.artifact.writing import HIDDEN, disk_errors, refuse_to_lose, write_text
from affineur.errors import AffineurError, ModelError, TransferError
from affineur.transfer.coming import STATE, Coming, Receiver, part_name
from affineur.transfer.following import Follower
from affineur.transfer.index import Index, find_index, local_index
from affineur.transfer.names import CONFIG
from affineur.transfer.places.core.place import Access, Remote, opened
from affineur.transfer.streams import Meter, at_once, side_by_side


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
    coming: list[Coming] = []
    with disk_errors(target):
        arriving.mkdir(parents=True, exist_ok=True)
        try:
            _forget_others(arriving, index)
            asked = [partial(Coming.of, entry, arriving, remote) for entry in index.files.values()]
            coming += at_once(asked, remote.questions)
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
                _link(each, building / each.entry.name)
            linked.add(each.file)
        try:
            _accept(building, remote.where, check)
        except (ModelError, TransferError):  # all is here, as it was said to be: to try again is vain
            shutil.rmtree(arriving, ignore_errors=True)
            raise
    shutil.rmtree(arriving, ignore_errors=True)


def _link(coming: Coming, name: Path) -> None:
    """Give a file another name: a kill before the folder is in place loses nothing."""
    try:
        os.link(coming.file, name)
    except OSError:  # a file system without hard links
        shutil.copyfile(coming.file, name)
        return
    if coming.entry.sha256 is not None:  # which it has, as was just verified
        remember_digest(name, coming.entry.sha256)


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
    wanted = {part_name(entry) for entry in index.files.values()}
    for path in arriving.iterdir():
        if path.name.removesuffix(STATE) not in wanted:
            path.unlink()


def _drop_useless(coming: list[Coming], arriving: Path) -> None:
    """Remove what the next run could not go on with: it would only fill the disk."""
    for each in coming:
        if not each.stat.ranges and not each.complete:
            each.file.unlink(missing_ok=True)
            Path(f"{each.file}{STATE}").unlink(missing_ok=True)
    with suppress(OSError):  # there is more
        arriving.rmdir()


def _reuse(coming: list[Coming], target: Path) -> None:
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


def _all_bounds(each: Coming) -> Iterator[tuple[int, int]]:
    for part in range(len(each.done)):
        start, stop = each.bounds(part)
        yield start, stop or 0


def _require_space(coming: list[Coming], target: Path) -> None:
    needed = sum(max(0, each.left) for each in coming)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise AffineurError(
            f"{target} needs {needed / 1e6:,.1f} MB more, but {target.parent} has {free / 1e6:,.1f} MB free; "
            "make room or name another folder, nothing was fetched"
        )


def _receive(remote: Remote, coming: list[Coming]) -> None:
    meter = Meter(f"fetching {remote.where}", _total(coming), sum(sum(each.done) for each in coming))
    each_once = list({each.file: each for each in coming}.values())  # equal files come once
    with ExitStack() as stack:
        follower = stack.enter_context(Follower(each_once))
        jobs = []
        for each in each_once:
            wanted = [part for part in range(len(each.done)) if each.lacks(part)]
            receiver = Receiver(remote, each, len(wanted), meter, follower.tell)
            stack.callback(receiver.close)
            jobs += [partial(receiver.part, part) for part in wanted]
            if not wanted:
                receiver.open()
                receiver.close()
        side_by_side(jobs, remote.streams, meter, remote.later)


def _total(coming: list[Coming]) -> int | None:
    sizes = [each.size for each in coming]
    return None if None in sizes else sum(size or 0 for size in sizes)
