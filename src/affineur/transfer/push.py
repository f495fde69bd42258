"""Sending an artifact somewhere else: only what changed, and never a half one for a reader to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from pathlib import Path

from affineur.artifact import MANIFEST, verify
from affineur.artifact.paths import safe_names
from affineur.artifact.tensors import is_pickle
from affineur.errors import ParameterError, TransferError
from affineur.progress import report
from affineur.transfer.index import (
    INDEX,
    PUSHING,
    VERSIONS,
    Entry,
    Index,
    find_index,
    local_index,
    read_index,
    read_small,
    stat_of,
)
from affineur.transfer.places.core.place import (
    PART,
    Access,
    Conflict,
    Place,
    Publication,
    Pushed,
    Remote,
    Small,
    Stat,
    place_of,
    shown,
    unknown_place,
)
from affineur.transfer.places.core.retry import patiently
from affineur.transfer.streams import Meter, at_once, side_by_side
from affineur.transfer.workers import Workers

#: Inode, size and time of a file.
_Stamp = tuple[int, int, int]
_ID = 12  # digits of a version's digest that name its folder


def push(
    folder: Path,
    reference: str,
    *,
    access: Access | None = None,
    publication: Publication | None = None,
) -> Pushed:
    """Send an artifact, or any other folder, to a place.

    Args:
        folder: What is sent; its digests are checked first.
        reference: Where to, such as ``s3://BUCKET/FOLDER``.
        access: How the place is reached, where its usual configuration does not say so.
        publication: What is said beside it, where the place publishes.

    Returns:
        What was sent and what was there already.

    Raises:
        ModelError: If a file is not the one its manifest names.
        TransferError: If it cannot be written there, or something else lies there already.
        ParameterError: If there is no such place, or it has no use for an option.
    """
    if not folder.is_dir():
        raise ParameterError(
            f"{folder} is {'a file' if folder.exists() else 'not there'}, expected a folder to push", "folder"
        )
    access, publication = access or Access(), publication or Publication()
    place = place_to_push(reference, access, publication)
    return place.push(folder, reference, access, publication)


def place_to_push(reference: str, access: Access, publication: Publication) -> Place:
    """Find the place of a reference, and refuse what can be refused before the work that leads there.

    Args:
        reference: As for :func:`push`.
        access: As for :func:`push`.
        publication: As for :func:`push`.

    Raises:
        ParameterError: If there is no such place, or it has no use for an option.
        TransferError: If nothing can be written there.
    """
    place = place_of(reference)
    if place is None:
        raise unknown_place(reference)
    place.refuse_options(access, publication)
    if not place.writes:
        raise TransferError(f"{shown(reference)} is only read from; push to a place that can be written")
    return place


def push_files(folder: Path, reach: Callable[[], Remote]) -> Pushed:
    """Send what changed of a folder, then its index, in one step that readers see as a whole.

    The folder is digested while the place is reached and asked what it has.

    Args:
        folder: The folder.
        reach: Opens where it goes.

    Raises:
        TransferError: If it cannot be written, something else lies there, or somebody else pushed meanwhile.
        ModelError: If a file is not the one its manifest names, or has a name that cannot be pulled
            everywhere.
    """
    stamps = _stamps(folder)
    side = Workers(1)
    digested = side.submit(copy_context().run, sendable, folder)
    side.close()
    with reach() as remote:
        return _push(folder, stamps, digested, remote)


def _push(
    folder: Path, stamps: Mapping[str, _Stamp | None], digested: Future[Index], remote: Remote
) -> Pushed:
    seen = read_small(remote, INDEX)
    theirs, begun = _theirs(remote, seen)
    ours = digested.result()  # nothing was changed so far
    plain = theirs is None and _begin(remote, ours, begun)
    placed = ours.files if plain else _placed(ours, theirs)
    before = theirs.objects if theirs else set()
    new = Index(placed, tuple(sorted(before - Index(placed).objects)))
    # affineur.json last: whoever reads by it alone sees it when the rest is there
    entries = sorted(new.files.values(), key=lambda entry: (entry.name == MANIFEST, entry.name))
    changed = _lacking(remote, entries)
    sending = {entry.name for entry in changed}
    kept = tuple(entry.name for entry in entries if entry.name not in sending)
    if theirs and seen and not changed and theirs.version == new.version:
        return Pushed(remote.where, (), kept, 0)
    meter = Meter(f"sending to {remote.where}", sum(entry.size or 0 for entry in changed))
    _send_all(remote, folder, changed, meter)
    if changing := [entry for entry in changed if _stamp(folder / entry.name) != stamps.get(entry.name)]:
        remote.remove([entry.at for entry in changing])  # under this digest lies another content
        raise TransferError(
            f"{folder / changing[0].name} was changed while it was sent; the version before is still the one "
            "that is read. Push again"
        )
    _check_arrived(remote, entries, seen)
    old = _old(remote, new, theirs)
    try:
        patiently(partial(remote.put, INDEX, new.as_bytes(), seen), INDEX)
    except Conflict:
        now = read_small(remote, INDEX)
        if now is None or now.data != new.as_bytes():  # else ours: the answer to what succeeded was lost
            raise _overtaken(remote) from None
    # whoever pushed before us may have tidied one away that was there already
    gone = [entry for entry, stat in _asked(remote, entries) if stat is None]
    _send_all(remote, folder, gone, meter)
    _tidy(remote, new, old)
    sent = tuple(entry.name for entry in changed)
    return Pushed(remote.where, sent, kept, sum(entry.size or 0 for entry in changed))


def _asked(remote: Remote, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Stat | None]]:
    asked = [partial(stat_of, remote, entry.at) for entry in entries]
    return zip(entries, at_once(asked, remote.questions), strict=True)


def _send_all(remote: Remote, folder: Path, entries: Sequence[Entry], meter: Meter) -> None:
    """Send files: small ones side by side, each large one alone, since its parts may go side by side."""
    small: list[Callable[[], None]] = []
    alone: list[Callable[[], None]] = []
    for entry in entries:
        fits = (entry.size or 0) <= PART and entry.name != MANIFEST
        (small if fits else alone).append(partial(_send, remote, folder, entry, meter))
    side_by_side(small, remote.questions, meter)
    for job in alone:
        side_by_side([job], 1, meter)


def sendable(folder: Path) -> Index:
    """Verify a folder, index it, and refuse what nobody could pull.

    Raises:
        TransferError: If it was pushed to itself.
        ModelError: If a file is not the one its manifest names, or has a name that means something else, or
            nothing, on other systems.
    """
    verify(folder)
    for name in (INDEX, PUSHING):
        if (folder / name).exists():
            raise TransferError(
                f"{folder} has {name}: it is where something was pushed to, or a copy of it; pull "
                f"{folder.absolute().as_uri()} to another folder, and push that"
            )
    found = local_index(folder)
    pickles = [name for name in found.files if is_pickle(name)]
    for name in pickles:
        report(f"warning: {name} is a pickle, which can run code when it is read; it is not sent")
    files = {name: entry for name, entry in found.files.items() if name not in pickles}
    if not files:
        raise TransferError(f"{folder} has nothing but pickles, expected a model folder, or one with data")
    safe_names(files, str(folder), (INDEX, PUSHING))
    return Index(files)


def _theirs(remote: Remote, seen: Small | None) -> tuple[Index | None, bool]:
    """Find out what lies there: a version, or nothing but what a first push left that has not ended.

    Returns:
        The version, and whether a first push has begun.
    """
    if seen is not None:
        return read_index(seen.data, remote.where), False
    begun = stat_of(remote, PUSHING) is not None
    if not begun and stat_of(remote, MANIFEST) is not None:
        return find_index(remote)[0], False
    if begun or not remote.lists:
        return None, begun
    # the list anew each time: one that broke off gives nothing more, as if nothing were there
    other = patiently(
        lambda: next((name for name in remote.names() if name != PUSHING), None), f"listing {remote.where}"
    )
    if other is not None:
        raise TransferError(
            f"{remote.where} holds something else already ({other}), and no {INDEX} or {MANIFEST}; nothing "
            "was changed. Name an empty folder, or remove what is there"
        )
    return None, False


def _placed(ours: Index, theirs: Index | None) -> dict[str, Entry]:
    """Choose the object of each file: the one that holds it already, or one that no reader is at."""
    known, folder = theirs.files if theirs else {}, f"{VERSIONS}{ours.version[:_ID]}"
    found = {}
    for name, entry in ours.files.items():
        same = known.get(name)
        kept = same is not None and same.sha256 == entry.sha256
        found[name] = replace(entry, at=same.at if same and kept else f"{folder}/{name}")
    return found


def _lacking(remote: Remote, entries: Sequence[Entry]) -> list[Entry]:
    def there(entry: Entry) -> bool:
        assert entry.size is not None
        assert entry.sha256 is not None
        return patiently(partial(remote.holds, entry.at, entry.size, entry.sha256), entry.name)

    held = at_once([partial(there, entry) for entry in entries], remote.questions)
    return [entry for entry, has in zip(entries, held, strict=True) if not has]


def _begin(remote: Remote, ours: Index, begun: bool) -> bool:
    """Mark a first push, so that the next run of the command knows what it finds for its own.

    Returns:
        Whether the files may have their own names: not where the first push of another version has begun,
        which may still be under way, and have put its index in place before ours.
    """
    data = (json.dumps({"version": ours.version}) + "\n").encode()
    if not begun:
        with suppress(Conflict):
            patiently(partial(remote.put, PUSHING, data, None), PUSHING)
            return True
    marked = read_small(remote, PUSHING)
    return marked is not None and marked.data == data


class _Attempts:
    """Counts what attempts to send a file have brought there: each tells anew what it finds there already."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._now, self.most = meter, 0, 0

    def begin(self) -> None:
        """Count an attempt from its beginning."""
        self._meter.moved(-self._now)
        self._now = 0

    def moved(self, count: int) -> None:
        """Count bytes of this attempt."""
        self._meter.check()
        self._meter.moved(count)
        self._now += count
        self.most = max(self.most, self._now)


def _send(remote: Remote, folder: Path, entry: Entry, meter: Meter) -> None:
    attempts = _Attempts(meter)

    def once() -> None:
        attempts.begin()
        assert entry.sha256 is not None
        remote.send(entry.at, folder / entry.name, entry.sha256, attempts.moved)

    patiently(once, entry.name, lambda: attempts.most)


def _check_arrived(remote: Remote, entries: Sequence[Entry], seen: Small | None) -> None:
    for entry, stat in _asked(remote, entries):
        found = "nothing" if stat is None else f"{stat.size:,} bytes"
        if stat is None or stat.size != entry.size:
            now = read_small(remote, INDEX)
            if (now and now.data) != (seen and seen.data):  # theirs tidied ours away
                raise _overtaken(remote)
            raise TransferError(
                f"{remote.where}: {entry.name} did not arrive whole ({found} of {entry.size:,} are there); "
                "the version before is still the one that is read. Push again"
            )


def _overtaken(remote: Remote) -> TransferError:
    return TransferError(
        f"{remote.where}: somebody else pushed there meanwhile; nothing of theirs was changed. Look at it "
        "(pull), then push again"
    )


def _old(remote: Remote, new: Index, theirs: Index | None) -> set[str]:
    """List what no reader can be at once ours is in place: versions before the last, and killed pushes.

    It is listed before: what comes to be there afterwards belongs to who pushes after us.
    """
    needed = new.objects | set(new.previous)
    found = {PUSHING} | (set(theirs.previous) - needed if theirs else set())
    if theirs is not None and remote.lists:
        try:
            names = patiently(lambda: list(remote.names()), f"listing {remote.where}")
        except TransferError as error:  # what is left over only takes room
            report(f"warning: old files may stay at {remote.where} ({error})")
            names = []
        found |= {name for name in names if name.startswith(VERSIONS) and name not in needed}
    return found


def _tidy(remote: Remote, new: Index, old: set[str]) -> None:
    """Remove old objects, where ours is still the version in place."""
    try:
        now = read_small(remote, INDEX)
        if now is None or now.data != new.as_bytes():
            return  # who pushed after us may need them again, and tidies
        # affineur.json first: without the others it would promise what is not there
        ordered = sorted(old, key=lambda name: (name != MANIFEST, name))
        patiently(partial(remote.remove, ordered), "tidying up")
    except TransferError as error:  # the version is in place; what is left over only takes room
        report(f"warning: old files stay at {remote.where} ({error})")


def _stamps(folder: Path) -> dict[str, _Stamp | None]:
    """Take down what the system says of each file before it is read."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _stamp(path) for path in paths}


def _stamp(path: Path) -> _Stamp | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None
