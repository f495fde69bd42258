"""Folders on a machine that is reached by SSH, through the system's OpenSSH client.

Why ``ssh`` and a few hundred lines of our own (:mod:`~affineur.transfer.places.core.ssh`): the agent,
``~/.ssh/config`` with its aliases and jump hosts, ``known_hosts`` and hardware keys work as the user knows
them, nothing has to be installed, and the bytes are enciphered by OpenSSL, outside of Python. 200 MB over
loopback to OpenSSH 9.2 on two busy cores, the median of five, taken in turns with ``scp``:

================================  =========  =========  ======================
what                              up, MB/s   down       processor, up and down
================================  =========  =========  ======================
``scp``                           72         75         0.49 s, 0.65 s
this, one connection              79         88         0.56 s, 0.72 s
this, four                        100        91         0.81 s, 1.52 s
``ssh`` and paramiko 5.1's SFTP   60         66         0.70 s, 0.90 s
paramiko 5.1 alone                63         65         0.83 s, 1.02 s
asyncssh 2.24                     54         72         0.90 s, 0.74 s
================================  =========  =========  ======================

On disk, paramiko and what only it needs take 8 MB, asyncssh 4 MB, and cryptography, which both need, 16 MB.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote

from affineur.errors import TransferError
from affineur.transfer.places.core.place import (
    PART,
    Access,
    Conflict,
    Moved,
    Passing,
    Place,
    Remote,
    Small,
    Stat,
    whole,
)
from affineur.transfer.places.core.ssh import (
    NO_SUCH_FILE,
    PERMISSION_DENIED,
    READING,
    UNDER_WAY,
    WRITING,
    Lost,
    NotSftp,
    Refused,
    Session,
)
from affineur.transfer.places.core.ssh_faults import RUNPOD, last_line, refusal, unreachable

#: Names a configuration file for ``ssh`` to use in place of ``~/.ssh/config``.
CONFIG = "AFFINEUR_SSH_CONFIG"
_CHECKED = UNDER_WAY + (1 << 18)  # bytes before the end of what is there already that are compared
_MARKED = 1 << 23  # a file larger than this is told by a mark beside it, a smaller one is read
_OURS = re.compile(r"\.(?P<name>.+)\.(?P<digest>[0-9a-f]{12})\.([0-9a-f]{8}\.part|sent)", re.DOTALL)
# Shells see neither, should a ProxyCommand of the user's configuration hand them on.
_HOST = re.compile(r"[\w.][\w.-]*|\[[0-9A-Fa-f:.]+(%\w+)?\]")
_USER = re.compile(r"[\w.+=@][\w.+=@-]*")
_OPTIONS = (
    "BatchMode=yes",  # never asks
    "StrictHostKeyChecking=yes",  # an unknown key is never accepted, whatever the configuration says
    "LogLevel=ERROR",  # no banner, but every reason
    "ConnectTimeout=20",
    "ServerAliveInterval=15",  # a network that went away is noticed within a minute
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",  # those of the configuration would clash between connections
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "UpdateHostKeys=no",  # several would rewrite known_hosts at once
    "ControlMaster=no",  # one that runs is used, none is left behind
)


class Sftp(Place):
    """A folder on a machine reached by SSH."""

    prefixes = ("sftp://",)
    form = "sftp://USER@HOST[:PORT]/FOLDER"
    summary = "a folder on a machine that is reached by SSH"

    def open(self, reference: str, access: Access) -> Remote:
        """Open a folder; the machine is asked nothing yet."""
        rest = reference.removeprefix(self.prefixes[0])
        login, _, path = rest.partition("/")
        user, at, address = login.rpartition("@")
        if ":" in user:
            raise TransferError(
                f"{self.prefixes[0]}{address}/{path} was given a password, which others here could read; "
                "use a key (type: ssh-copy-id HOST) and leave it out"
            )
        host, colon, port = address.rpartition(":") if re.search(r":\d*$", address) else (address, "", "")
        if address.endswith("]"):
            host, colon, port = address, "", ""
        user, folder = unquote(user), unquote(path).rstrip("/")
        bad = not _HOST.fullmatch(host) or (at and not _USER.fullmatch(user)) or "\0" in folder
        if bad or (colon and not (port.isdigit() and 0 < int(port) < 65536)) or not folder:
            shown = re.sub(r":[^/@][^@]*@", ":…@", reference)  # a password with an odd character in it
            raise TransferError(
                f"'{shown}' is no folder on a machine, expected {self.form} (FOLDER begins with ~/ for one "
                "in the home)"
            )
        if host.lower() == "ssh.runpod.io":
            raise TransferError(f"{reference} cannot be read or written: {RUNPOD}")
        if shutil.which("ssh") is None:
            raise TransferError(
                f"{reference} needs the program ssh, which is not on the PATH; install OpenSSH's client "
                "(type: apt install openssh-client)"
            )
        command = ["ssh", *(part for option in _OPTIONS for part in ("-o", option))]
        command += ["-F", os.environ[CONFIG]] if os.environ.get(CONFIG) else []
        command += ["-p", port] if port else []
        command += ["-l", user] if user else []
        home = folder == "~" or folder.startswith("~/")
        root = folder[2:] or "." if home else f"/{folder}"
        return SftpFolder(reference, [*command, "-s", "--", host.strip("[]"), "sftp"], root)


class SftpFolder(Remote):
    """A folder, reached by as many connections as there are threads that use it.

    Args:
        where: Its reference.
        command: What connects to the machine.
        root: Its path there.
    """

    lists = True
    streams = 2  # each is a connection of its own: more of them cost more to open than they bring
    part = 8 * PART  # between two, a connection is idle for as long as it takes to ask
    later = 3.0  # and on a line as fast as the processor even the second does
    questions = 1

    def __init__(self, where: str, command: list[str], root: str) -> None:
        self.where, self._command, self._root = where.rstrip("/"), command, root
        self._free: deque[Session] = deque()
        self._reached = self._closed = False

    # ------------------------------------------------------------------ connections

    @contextmanager
    def _session(self, name: str = "") -> Iterator[Session]:
        """Lend a connection; what goes wrong is told as of ``name``."""
        session = self._connection()
        try:
            yield session
        except Lost as error:
            self._end_free()  # what broke this one has broken those that nobody uses now, too
            raise Passing(f"{self.where}: the connection was lost ({last_line(str(error))})") from None
        except Refused as error:
            raise refusal(f"{self.where}/{name}" if name else self.where, error) from None
        finally:
            if session.alive() and not self._closed:
                self._free.append(session)
            else:
                session.end()

    def _connection(self) -> Session:
        while self._free:
            try:
                session = self._free.pop()
            except IndexError:  # another thread was faster
                break
            if session.alive():
                return session
            session.end()
        try:
            session = Session(self._command)
        except Lost as error:
            raise unreachable(self.where, str(error), self._reached) from None
        except (Refused, NotSftp) as error:
            said = " ".join(str(error).split())[:60]
            raise TransferError(
                f"{self.where} was answered with {said!r} and not with SFTP; take what prints out of the "
                f"shell's start-up files there, or enable the sftp subsystem ({RUNPOD})"
            ) from None
        self._reached = True
        return session

    def close(self) -> None:
        """End the connections; one that a thread still uses ends when it is done."""
        self._closed = True
        self._end_free()

    def _end_free(self) -> None:
        while self._free:
            try:
                self._free.pop().end()
            except IndexError:
                break

    # ------------------------------------------------------------------ reading

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def stat(self, name: str) -> Stat | None:
        """Ask for a file; ``None`` where it is not there, or is none."""
        with self._session(name) as session:
            found = session.stat(self._path(name))
        return Stat(found.size, version=str(found.modified)) if found and found.is_file else None

    def read(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Read a part, with requests under way for 4 MiB of it."""
        with self._session(name) as session:
            handle = session.open(self._path(name), READING)
            try:
                if stop is None:
                    stop = session.fstat(handle).size
                yield from session.read(handle, start, stop)
            finally:
                if session.alive():
                    session.close(handle)

    def names(self) -> Iterator[str]:
        """List the files of all folders; links to files count, links to folders are not followed."""
        folders = [""]
        while folders:
            inside = folders.pop()
            with self._session(inside) as session:
                try:
                    for entry, found in session.entries(self._path(inside)):
                        name = f"{inside}{entry}"
                        if stat.S_ISDIR(found.mode):
                            folders.append(f"{name}/")
                        elif _OURS.fullmatch(entry):
                            continue
                        elif found.is_file:
                            yield name
                        elif stat.S_ISLNK(found.mode) or not found.mode:
                            target = session.stat(self._path(name))
                            if target and target.is_file:
                                yield name
                except Refused as error:  # a folder that is not there has no files
                    if error.code != NO_SUCH_FILE:
                        raise

    def get(self, name: str) -> Small | None:
        """Read a small file whole; ``None`` where it is not there."""
        with self._session(name) as session:
            data = self._content(session, name)
        return None if data is None else Small(data)

    def _content(self, session: Session, name: str) -> bytes | None:
        try:
            handle = session.open(self._path(name), READING)
        except Refused as error:
            if error.code == NO_SUCH_FILE:
                return None
            raise
        data = whole(session.read(handle, 0, session.fstat(handle).size), f"{self.where}/{name}")
        session.close(handle)
        return data

    # ------------------------------------------------------------------ writing

    def put(self, name: str, data: bytes, seen: Small | None) -> None:
        """Write a small file beside, and rename it over the old one.

        One that is new is never written over another that was made meanwhile. For one that replaces another,
        the old content is compared just before: SFTP has nothing that compares and renames in one step.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        part = _part(name, sha256)
        with self._session(name) as session:
            left = self._left(session, name)
            self._upload(session, name, part, BytesIO(data), len(data), sha256, lambda _: None)
            written = False
            try:
                written = self._replaced(session, name, part, data, seen)
            finally:
                if session.alive():  # those of pushes that were killed; one under way will be told
                    self._clear(session, part, *(left if written else ()))
            if written:
                return
        raise Conflict(f"{self.where}/{name} was changed by somebody else meanwhile; try again")

    def _replaced(self, session: Session, name: str, part: str, data: bytes, seen: Small | None) -> bool:
        expected, there = seen.data if seen else None, self._content(session, name)
        if there == data:  # an earlier attempt got this far, and its answer was lost
            return True
        if there != expected:
            return False
        try:
            session.rename(self._path(part), self._path(name), over=seen is not None)
        except Refused as error:
            if (there := self._content(session, name)) != expected:
                return there == data
            if error.code == NO_SUCH_FILE:
                raise Passing(f"{self.where}/{name}: somebody else writes it, too") from None
            self._check_replaces(session, name)
            raise
        return True

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """Say whether a file is this one: a small one is read, a large one has a mark of ours beside it.

        The mark says which content was sent, and when the file was last written: another of the same size
        that somebody put there is not taken for ours.
        """
        with self._session(name) as session:
            found = session.stat(self._path(name))
            if not found or not found.is_file or found.size != size:
                return False
            if size <= _MARKED:
                data = self._content(session, name)
                return data is not None and hashlib.sha256(data).hexdigest() == sha256
            return self._content(session, _sent(name, sha256)) == _mark(sha256, found.modified)

    def send(self, name: str, file: Path, sha256: str, moved: Moved) -> None:
        """Write ``.NAME.DIGEST.TOKEN.part`` and rename it; what an earlier call had written of it stays.

        The token is this call's own: under one name for all who send the same file, one of them could rename
        what another has just begun. What is left of an earlier call is renamed to it first.
        """
        size = file.stat().st_size
        part = _part(name, sha256)
        with file.open("rb") as source, self._session(name) as session:
            if left := self._left(session, name, sha256):
                with suppress(Refused):  # somebody else was faster
                    session.rename(self._path(left[0]), self._path(part), over=False)
            self._upload(session, name, part, source, size, sha256, moved)
            try:
                session.rename(self._path(part), self._path(name), over=True)
            except Refused as error:  # gone: somebody else who sends the same went on with it
                if error.code != NO_SUCH_FILE:
                    self._check_replaces(session, name)
                    raise
            found = session.stat(self._path(name))
            if found and found.size == size:
                self._clear(session, *left)
                return
        there = found.size if found else "no"
        raise Passing(f"{self.where}/{name} has {there} bytes after it was sent, expected {size}")

    def _check_replaces(self, session: Session, name: str) -> None:
        if not session.replaces:
            raise TransferError(
                f"{self.where}/{name} is there, and the server cannot replace a file in one step "
                "(posix-rename@openssh.com); push to a new folder, or have OpenSSH serve it"
            ) from None

    def _upload(
        self,
        session: Session,
        name: str,
        part: str,
        source: IO[bytes],
        size: int,
        sha256: str,
        moved: Moved,
    ) -> None:
        """Write what is renamed later, from where it ends on."""
        try:
            handle = self._made(session, part)
            self._fill(session, handle, part, source, size, moved)
            session.sync(handle)
            with suppress(Refused):  # a share without permissions
                session.chmod(handle, 0o644)
            if size > _MARKED:
                self._leave_mark(session, name, sha256, session.fstat(handle).modified)
            session.close(handle)
        except Refused as error:
            session.end()  # and its files with it
            raise self._full(name, size, error) from None

    def _fill(
        self, session: Session, handle: bytes, part: str, source: IO[bytes], size: int, moved: Moved
    ) -> None:
        there = session.fstat(handle).size
        if there > size or not self._same_end(session, part, source, there):
            session.cut(handle, 0)
            there = 0
        source.seek(there)
        moved(there)
        session.write(handle, there, source.read, moved)
        if (found := session.fstat(handle).size) != size:
            raise TransferError(
                f"{self.where}/{part} has {found} bytes after it was sent, expected {size}; something else "
                "writes it, or the file here changed meanwhile: try again"
            )

    def _leave_mark(self, session: Session, name: str, sha256: str, modified: int) -> None:
        # Two versions may be written within a second: there is one mark at most.
        self._clear(session, *self._left(session, name, marks=True))
        handle = session.open(self._path(_sent(name, sha256)), WRITING)
        session.write(handle, 0, BytesIO(_mark(sha256, modified)).read, lambda _: None)
        session.close(handle)

    def _same_end(self, session: Session, part: str, source: IO[bytes], there: int) -> bool:
        """Compare the end of what was written: where a server writes out of order, it may have holes."""
        if not there:
            return True
        source.seek(start := max(0, there - _CHECKED))
        handle = session.open(self._path(part), READING)
        same = True
        for chunk in session.read(handle, start, there):  # to its end: nothing may be left under way
            same = source.read(len(chunk)) == chunk and same
        session.close(handle)
        return same

    def _made(self, session: Session, name: str) -> bytes:
        """Open a file to write, making its folders."""
        path = self._path(name)
        try:
            return session.open(path, WRITING)
        except Refused as error:
            if error.code != NO_SUCH_FILE:
                raise
        for folder in reversed(PurePosixPath(path).parents):
            if str(folder) in ("/", ".") or session.stat(str(folder)):
                continue
            try:
                session.mkdir(str(folder))
            except Refused:
                if not session.stat(str(folder)):  # else somebody else made it meanwhile
                    raise
        return session.open(path, WRITING)

    def _full(self, name: str, size: int, error: Refused) -> TransferError:
        """Find out whether a write was refused for want of space: SFTP has one code for many reasons."""
        free = None
        if error.code not in (PERMISSION_DENIED, NO_SUCH_FILE):
            with self._session(name) as session:
                free = session.space(self._root)
        if free is None or free > size:
            return refusal(f"{self.where}/{name}", error)
        return TransferError(
            f"{self.where}/{name}: the disk there is full ({free:,} bytes free, the file has {size:,}); make "
            "room and try again, what was sent is kept"
        )

    def remove(self, names: Iterable[str]) -> None:
        """Remove files and what was left beside them; one that is not there is no error."""
        for name in names:
            with self._session(name) as session:
                self._remove(session, name)
                self._clear(session, *self._left(session, name), *self._left(session, name, marks=True))

    def _left(
        self, session: Session, name: str, sha256: str | None = None, *, marks: bool = False
    ) -> list[str]:
        """List the parts, or the marks, that pushes left beside a file, the longest first."""
        folder, slash, last = name.rpartition("/")
        ending, found = ".sent" if marks else ".part", []
        try:
            for entry, attributes in session.entries(self._path(folder)):
                ours = _OURS.fullmatch(entry)
                if not ours or ours["name"] != last or not entry.endswith(ending):
                    continue
                if sha256 is None or sha256.startswith(ours["digest"]):
                    found.append((attributes.size, f"{folder}{slash}{entry}"))
        except Refused as error:
            if error.code != NO_SUCH_FILE:
                raise
        return [left for _, left in sorted(found, reverse=True)]

    def _clear(self, session: Session, *left: str) -> None:
        """Remove what is of no use any more, where that is allowed."""
        for each in left:
            with suppress(Refused):
                session.remove(self._path(each))

    def _remove(self, session: Session, name: str) -> None:
        try:
            session.remove(self._path(name))
        except Refused as error:
            if error.code != NO_SUCH_FILE:
                raise


def _part(name: str, sha256: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}.{last}.{sha256[:12]}.{secrets.token_hex(4)}.part"


def _sent(name: str, sha256: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}.{last}.{sha256[:12]}.sent"


def _mark(sha256: str, modified: int) -> bytes:
    return f"{sha256} {modified:>12}\n".encode()  # always as long: one that is written over another is whole


PLACE = Sftp()
