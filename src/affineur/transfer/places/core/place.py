"""What a place is: somewhere else that folders lie, told by how a reference begins."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from affineur.errors import ParameterError, TransferError
from affineur.registry import Registry

#: Told how many more bytes have been sent or received; negative where some are sent again.
Moved = Callable[[int], None]
#: Most bytes of a file that is read whole, which is more than any index has.
SMALL = 32 << 20


#: Bytes that are read at a time by one thread, for most places.
PART = 8 << 20
_BEGINS = re.compile(r"[A-Za-z][\w+.-]*:/+|\brunpod:")


class Passing(TransferError):
    """A failure that may pass: a connection that broke, a server that is busy. What failed is tried again."""

    #: Seconds that the place asks to be left alone, where it says so.
    after: float = 0.0


class Unreachable(TransferError):
    """A place that does not answer: no network, no such host, or nothing but failures for a long time."""


class Conflict(TransferError):
    """Somebody else wrote a file between our reading it and our writing it."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a place is reached, where its usual configuration does not say so.

    No secret is among them: those come from the environment, profiles, agents and logins alone.

    Args:
        endpoint: Address of the service, such as ``https://s3api-eu-ro-1.runpod.io``.
        region: Region, or data center.
        profile: Section of the usual configuration files.
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Stat:
    """What a place says of a file.

    Args:
        size: Bytes, or ``None`` where it does not say.
        ranges: Whether a part of it can be read.
        version: What changes when its content does, such as an ETag; empty where there is no such thing.
    """

    size: int | None
    ranges: bool = True
    version: str = ""


@dataclass(frozen=True, slots=True)
class Small:
    """A small file, read whole.

    Args:
        data: Its content.
        version: What the place calls this version of it, to be given back to :meth:`Remote.put`; empty where
            it has no such thing.
    """

    data: bytes
    version: str = ""


def whole(chunks: Iterable[bytes], where: str) -> bytes:
    """Put a small file together.

    Args:
        chunks: Its content.
        where: What it is called in messages.

    Raises:
        TransferError: If it has more than :data:`SMALL` bytes.
    """
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > SMALL:
            raise TransferError(
                f"{where} has more than {SMALL} bytes, expected a small file; check the address"
            )
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Publication:
    """What a place that publishes is told beside the files.

    Args:
        private: Whether only those with access see it, where it is new.
        pull_request: Whether it is proposed, and not put in place.
        revision: Branch that is written to.
        tag: Name of the version.
        license: License it is given, such as ``cc-by-nc-sa-4.0``.
        message: What changed, in one line.
    """

    private: bool = False
    pull_request: bool = False
    revision: str | None = None
    tag: str | None = None
    license: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did.

    Args:
        where: Where the artifact is now.
        sent: Names of the files sent.
        kept: Names of the files that were there already, the same.
        size_bytes: Bytes of the files sent.
    """

    where: str
    sent: tuple[str, ...]
    kept: tuple[str, ...]
    size_bytes: int


class Remote(ABC):
    """A folder at a place, opened. Methods may be called from several threads at once.

    Names are relative, with ``/`` between parts. Every method raises :class:`Passing` for what may pass, and
    :class:`~affineur.errors.TransferError` for what will not: no credentials, no such bucket. Neither names a
    secret.

    Attributes:
        where: What it is called in messages: the reference, without secrets.
        streams: How many threads may usefully read at once, and write the parts of a large file.
        later: Seconds for which one thread reads alone, where another one costs much to begin.
        part: Bytes that a thread reads at a time; a read that was cut off goes on at its last byte.
        questions: How many may usefully ask something, or send small files, at once.
        lists: Whether :meth:`names` can list.
    """

    where: str
    streams: int = 4
    later: float = 0.0
    part: int = PART
    questions: int = 4
    lists: bool = False

    @abstractmethod
    def stat(self, name: str) -> Stat | None:
        """Ask for a file; ``None`` where it is not there."""

    @abstractmethod
    def read(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Read bytes ``start`` to ``stop`` (its end, where ``None``) in chunks of at most 1 MiB.

        It ends early only with :class:`Passing`, or where the file does.
        """

    def names(self) -> Iterator[str]:
        """List its files, in any order, page by page.

        Raises:
            TransferError: If the place cannot list.
        """
        raise TransferError(f"{self.where} cannot be listed; give it an affineur.json that names its files")

    def get(self, name: str) -> Small | None:
        """Read a small file whole; ``None`` where it is not there."""
        if self.stat(name) is None:
            return None
        return Small(whole(self.read(name, 0, None), f"{self.where}/{name}"))

    def put(self, name: str, data: bytes, seen: Small | None) -> None:
        """Write a small file in one step: a reader sees the old content or the new, never a part.

        Args:
            name: The file.
            data: Its new content.
            seen: The content that it replaces, as :meth:`get` gave it, ``None`` where it was not there.

        Raises:
            Conflict: If it has another content by now, where the place can tell.
        """
        raise self.read_only()

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """Say whether exactly this file has been sent here before, whole."""
        return False

    def send(self, name: str, file: Path, sha256: str, moved: Moved) -> None:
        """Write a file, and check that it arrived.

        What an earlier call had sent before it was killed is not sent again, as far as the place allows;
        nobody sees the file before it is whole. It is tried again by the caller after :class:`Passing`.

        Args:
            name: What it is called there.
            file: What is sent.
            sha256: Its digest.
            moved: Told of the bytes sent, and at once of those that were there already; each call counts
                from 0 to the size of the file.
        """
        raise self.read_only()

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is not there is no error."""
        raise self.read_only()

    def read_only(self) -> TransferError:
        """Make the error for what is written to where nothing can be."""
        return TransferError(f"{self.where} is only read from; push to a place that can be written")

    def close(self) -> None:  # noqa: B027  # most have something to close, not all
        """Close connections."""

    def __enter__(self) -> Remote:
        """Use it in a ``with`` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class Place(ABC):
    """Somewhere folders lie. One instance of a subclass is a place; its module calls it ``PLACE``.

    Attributes:
        prefixes: How a reference to it begins, such as ``s3://``.
        form: What a whole reference looks like, such as ``s3://BUCKET/FOLDER``.
        summary: What it is, in a few words.
        writes: Whether something can be pushed there.
        options: Which of :class:`Access` it knows.
        publishing: Which of :class:`Publication` it knows.
    """

    prefixes: ClassVar[tuple[str, ...]]
    form: ClassVar[str]
    summary: ClassVar[str]
    writes: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ()
    publishing: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def open(self, reference: str, access: Access) -> Remote:
        """Open the folder of a reference; nothing needs to be asked of the place yet.

        Args:
            reference: What was typed.
            access: How the place is reached; only :attr:`options` are set.

        Raises:
            TransferError: If the reference is not complete, or no credentials are found, saying where they
                were looked for.
            MissingExtraError: If what speaks to the place is not installed.
        """

    def refuse_options(self, access: Access, publication: Publication) -> None:
        """Refuse what this place has no use for, and would ignore.

        Raises:
            ParameterError: If such an option is set, naming it.
        """
        for given, known in ((access, self.options), (publication, self.publishing)):
            for each in fields(given):
                if getattr(given, each.name) != each.default and each.name not in known:
                    raise ParameterError(f"{each.name} says nothing to {self.form}; leave it out", each.name)

    def push(self, folder: Path, reference: str, access: Access, publication: Publication) -> Pushed:
        """Send what changed of an artifact; readers see the old version or the new.

        Args:
            folder: The artifact; it is for here to verify it before anything is written there
                (:func:`affineur.transfer.push.sendable` does).
            reference: What was typed.
            access: How the place is reached; only :attr:`options` are set.
            publication: What is said beside it; only :attr:`publishing` are set.

        Raises:
            TransferError: If it cannot be written, or holds something that is no artifact.
        """
        from affineur.transfer.push import push_files

        return push_files(folder, partial(self.open, reference, access))


def _check(given: object) -> None:
    if not isinstance(given, Place):
        raise TypeError("it gives something that is no Place")


#: Every place there is.
PLACES: Registry[Place] = Registry("affineur.places", "affineur.transfer.places", "PLACE", "place", _check)


def place_of(reference: str) -> Place | None:
    """Find the place of a reference by how it begins; ``None`` for a path, ``sample`` or a bare Hub id."""
    return next((each for each in PLACES.all().values() if reference.startswith(each.prefixes)), None)


def opened(reference: str, access: Access | None = None) -> Remote:
    """Open the folder of a reference at its place.

    Raises:
        ParameterError: If no place has such references, or the place has no use for what ``access`` says.
        TransferError: As :meth:`Place.open`.
        MissingExtraError: As :meth:`Place.open`.
    """
    place, access = place_of(reference), access or Access()
    if place is None:
        raise unknown_place(reference)
    place.refuse_options(access, Publication())
    return place.open(reference, access)


def shown(reference: str) -> str:
    """Return a reference as it may be shown: without password and query, which may be a signature.

    Where what should be a port is none, a password had a ``/``, ``?`` or ``#`` in it, and nothing is shown.
    """
    begins = _BEGINS.search(reference)
    if begins is None or begins[0].lower().startswith("file:"):
        return reference
    before, scheme, rest = reference[: begins.end()], begins[0].lower(), reference[begins.end() :]
    signs = "?#" if scheme.startswith("http") else "?"
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    path = re.split(f"[{signs}]", rest[len(host) :], maxsplit=1)[0]
    user, at, host = host.rpartition("@")
    if re.search(r":(?!\d*$)", re.sub(r"^\[[^]]*\]", "", host)):
        return f"{before}…"
    # a name may be a token, or half of a pair of keys, but for those of people on a machine
    name = f"{user.partition(':')[0]}@" if at and scheme.startswith("sftp:") else ""
    return f"{before}{name}{host}{path}"


def refuse_unknown(reference: str) -> None:
    """Refuse what looks like a reference to a place and is none: ``S3://…``, ``ftp://…``, ``https:/…``.

    It is no path either, and must not be shown as one: there may be a password in it.

    Raises:
        ParameterError: If it is one.
    """
    if re.match(r"[\s'\"]*\w[\w+-]+:/", reference):
        raise unknown_place(reference)


def home_of(text: str) -> Path:
    """Return a path that was typed, with ``~`` as the shell reads it.

    A name after ``~`` that is no user's stays as it is, as it does in a shell.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def unknown_place(reference: str) -> ParameterError:
    """Make the error for a reference that no place has."""
    known = ", ".join(each.form for each in PLACES.all().values())
    return ParameterError(
        f"'{shown(reference)}' is at no place that is known, expected one of {known}", "reference"
    )
