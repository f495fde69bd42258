"""SFTP, version 3, over the system's ``ssh``: many requests under way at once, no file in memory whole.

The protocol is https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02, and for names that end in
``@openssh.com`` the file ``PROTOCOL`` of OpenSSH.
"""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct, pack, unpack_from
from typing import IO

_INIT, _VERSION, _OPEN, _CLOSE, _READ, _WRITE, _FSTAT, _FSETSTAT = 1, 2, 3, 4, 5, 6, 8, 10
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _STAT, _RENAME = 11, 12, 13, 14, 17, 18
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED, _EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201
_OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, UNSUPPORTED = 0, 1, 2, 3, 4, 8
READING, WRITING = 0x01, 0x02 | 0x08  # to write also makes the file, and never empties it
_LARGEST = 1 << 18  # OpenSSH closes on longer packets; nobody else sends longer ones
_PLAIN = 32768  # what every server must take
#: Bytes under way at once, one packet more or less: twice what OpenSSH lets a channel have.
UNDER_WAY = 1 << 22
_PIPE = 1 << 20  # bytes, where the system lets pipes be larger: fewer turns between ssh and us
_SHORT = 1 << 12  # bytes of a request that goes out in one piece
_HEAD = Struct(">IBI")


class Refused(Exception):
    """The server said no.

    Args:
        code: Its status code.
        text: Its reason.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Lost(Exception):
    """The connection ended; the message is what ``ssh`` said, empty where it said nothing."""


class NotSftp(Exception):
    """What answers is no SFTP server; the message is how its answer begins."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a server says of a file.

    Args:
        size: Bytes.
        mode: Permissions and kind, 0 where it does not say.
        modified: Seconds since 1970.
    """

    size: int
    mode: int
    modified: int

    @property
    def is_file(self) -> bool:
        """Say whether it is a regular file."""
        return stat.S_ISREG(self.mode)


class Session:
    """One connection, for one thread at a time.

    Args:
        command: The ``ssh`` that connects its input and output to an SFTP server.

    Attributes:
        waiting: How many requests are not answered yet; the connection is of use only when there are none.
        lost: Whether it ended, or was left in the middle of a packet.

    Raises:
        Lost: If there is no connection, here and in every method.
        NotSftp: If something else answers.
    """

    def __init__(self, command: list[str]) -> None:
        self.waiting, self.lost, self._number = 0, False, 0
        # A file and not a pipe: a process left behind by the user's configuration may keep it open.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # for as long as ssh runs
        # A session of its own: Ctrl-C is ours to handle, and ssh finds no terminal to ask questions on.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
            pipesize=_PIPE,
            start_new_session=True,
            env={**os.environ, "SSH_ASKPASS_REQUIRE": "never"},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._input: IO[bytes] = self._process.stdin
        self._output: IO[bytes] = self._process.stdout
        try:
            self._extensions = self._begin()
            self._most_read, self._most_write = self._limits()
        except BaseException:
            self.end()
            raise

    def _begin(self) -> dict[str, bytes]:
        self._write(pack(">IBI", 5, _INIT, 3))
        head = self._exactly(5)
        length = int.from_bytes(head[:4], "big")
        if head[4] != _VERSION or not 5 <= length <= _LARGEST:
            os.set_blocking(self._output.fileno(), False)
            raise NotSftp((head + (self._output.read(200) or b"")).decode("utf-8", "replace"))
        body, at, extensions = self._exactly(length - 1), 4, {}
        while at < len(body):
            name, at = _text(body, at)
            extensions[name.decode("ascii", "replace")], at = _text(body, at)
        return extensions

    def _limits(self) -> tuple[int, int]:
        if "limits@openssh.com" not in self._extensions:
            return _PLAIN, _PLAIN
        _, reading, writing, _ = unpack_from(">QQQQ", self._extended("limits@openssh.com", b""))
        most = _LARGEST - 1024
        return min(reading or _PLAIN, most), min(writing or _PLAIN, most)

    def alive(self) -> bool:
        """Say whether it can be used for another request."""
        return not self.waiting and not self.lost and self._process.poll() is None

    def end(self) -> None:
        """End it, whatever is under way."""
        self.lost = True
        self._process.kill()
        self._process.wait()
        for file in (self._input, self._output, self._said):
            file.close()

    # ------------------------------------------------------------------ packets

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._input.write(view) :]
        except OSError:
            raise self._loss() from None

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            try:
                count = self._output.readinto(view)  # type: ignore[attr-defined]
            except OSError:
                count = 0
            if not count:
                raise self._loss()
            view = view[count:]
        return data

    def _loss(self) -> Lost:
        self.lost = True
        try:
            self._process.wait(timeout=5)  # it has closed its output: it is about to end
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.seek(0)
        return Lost(self._said.read()[-4096:].decode("utf-8", "replace"))

    def _ask(self, kind: int, *parts: bytes) -> int:
        self._number = self._number + 1 & 0xFFFFFFFF
        size = sum(map(len, parts))
        whole = (_HEAD.pack(size + 5, kind, self._number), *parts)
        self.waiting += 1
        self.lost = True  # for as long as half a packet is written: Ctrl-C may come
        for each in whole if size > _SHORT else (b"".join(whole),):
            self._write(each)
        self.lost = False
        return self._number

    def _answer(self) -> tuple[int, int, bytearray]:
        self.lost = True
        length, kind, number = _HEAD.unpack(self._exactly(9))
        if not 5 <= length <= _LARGEST + 1024:
            raise Lost("it sent what is no SFTP")
        body = self._exactly(length - 5)
        self.waiting -= 1
        self.lost = False
        return kind, number, body

    def _call(self, wanted: int, kind: int, *parts: bytes) -> bytearray:
        self._ask(kind, *parts)
        found, _, body = self._answer()
        return _body(wanted, found, body)

    def _extended(self, name: str, body: bytes) -> bytearray:
        return self._call(_EXTENDED_REPLY, _EXTENDED, _packed(name.encode()), body)

    # ------------------------------------------------------------------ requests

    def open(self, path: str, flags: int) -> bytes:
        """Open a file, :data:`READING` or :data:`WRITING`; return its handle."""
        return _text(self._call(_HANDLE, _OPEN, _path(path), pack(">II", flags, 0)), 0)[0]

    def close(self, handle: bytes) -> None:
        """Close a file."""
        self._call(_STATUS, _CLOSE, _packed(handle))

    def stat(self, path: str) -> Attributes | None:
        """Ask for a file, through links; ``None`` where it is not there."""
        try:
            return _attributes(self._call(_ATTRS, _STAT, _path(path)), 0)[0]
        except Refused as error:
            if error.code == NO_SUCH_FILE:
                return None
            raise

    def fstat(self, handle: bytes) -> Attributes:
        """Ask for an open file."""
        return _attributes(self._call(_ATTRS, _FSTAT, _packed(handle)), 0)[0]

    def chmod(self, handle: bytes, mode: int) -> None:
        """Change who may read an open file."""
        self._call(_STATUS, _FSETSTAT, _packed(handle), pack(">II", 0x04, mode))

    def cut(self, handle: bytes, size: int) -> None:
        """Shorten an open file."""
        self._call(_STATUS, _FSETSTAT, _packed(handle), pack(">IQ", 0x01, size))

    def read(self, handle: bytes, start: int, stop: int) -> Iterator[bytes]:
        """Read a part of an open file in order; it ends early where the file does."""
        asked: dict[int, tuple[int, int]] = {}
        arrived: dict[int, bytes] = {}
        most, ahead, given, ended = self._most_read, start, start, False
        try:
            while True:
                while not ended and ahead < stop and ahead - given < UNDER_WAY:
                    size = min(most, stop - ahead)
                    asked[self._ask(_READ, _packed(handle), pack(">QI", ahead, size))] = (ahead, size)
                    ahead += size
                if not asked:
                    return
                kind, number, body = self._answer()
                at, size = asked.pop(number)
                try:
                    data = _text(_body(_DATA, kind, body), 0)[0]
                except Refused as error:
                    if error.code != EOF:
                        raise
                    ended = True
                    continue
                arrived[at] = data
                if len(data) < size:  # the server gives less at a time: ask for the rest, and then for less
                    most, at, size = max(len(data), 4096), at + len(data), size - len(data)
                    asked[self._ask(_READ, _packed(handle), pack(">QI", at, size))] = (at, size)
                while given in arrived:
                    chunk = arrived.pop(given)
                    given += len(chunk)
                    yield chunk
        except (GeneratorExit, Refused):  # it goes on being of use; after Ctrl-C nobody waits for answers
            while self.waiting:
                self._answer()
            raise

    def write(
        self, handle: bytes, start: int, source: Callable[[int], bytes], wrote: Callable[[int], None]
    ) -> None:
        """Write into an open file from ``start`` on what ``source`` gives, telling what is there for sure."""
        asked: dict[int, int] = {}
        at, more = start, True
        try:
            while True:
                while more and sum(asked.values()) < UNDER_WAY:
                    if not (data := source(self._most_write)):
                        more = False
                        break
                    head = _packed(handle) + pack(">QI", at, len(data))
                    asked[self._ask(_WRITE, head, data)] = len(data)
                    at += len(data)
                if not asked:
                    return
                kind, number, body = self._answer()
                size = asked.pop(number)
                _body(_STATUS, kind, body)
                wrote(size)
        except (GeneratorExit, Refused):  # it goes on being of use; after Ctrl-C nobody waits for answers
            while self.waiting:
                self._answer()
            raise

    def entries(self, path: str) -> Iterator[tuple[str, Attributes]]:
        """List a folder, page by page; what a link is like is told of the link."""
        handle = _text(self._call(_HANDLE, _OPENDIR, _path(path)), 0)[0]
        try:
            while True:
                try:
                    body = self._call(_NAME, _READDIR, _packed(handle))
                except Refused as error:
                    if error.code == EOF:
                        return
                    raise
                at = 4
                for _ in range(unpack_from(">I", body)[0]):
                    name, at = _text(body, at)
                    _, at = _text(body, at)
                    attributes, at = _attributes(body, at)
                    if name not in (b".", b".."):
                        yield name.decode("utf-8", "surrogateescape"), attributes
        finally:
            if self.alive():
                self.close(handle)

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        self._call(_STATUS, _MKDIR, _path(path), pack(">I", 0))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._call(_STATUS, _REMOVE, _path(path))

    def rename(self, old: str, new: str, *, over: bool) -> None:
        """Rename a file in one step.

        Args:
            old: What it is called.
            new: What it will be called.
            over: Whether a file of that name is replaced; else it is :class:`Refused`.
        """
        if over and self.replaces:
            name = _packed(b"posix-rename@openssh.com")
            self._call(_STATUS, _EXTENDED, name, _path(old), _path(new))
        else:
            self._call(_STATUS, _RENAME, _path(old), _path(new))

    @property
    def replaces(self) -> bool:
        """Say whether a file can be renamed over another."""
        return "posix-rename@openssh.com" in self._extensions

    def sync(self, handle: bytes) -> None:
        """Have an open file written to disk, where the server can be asked to."""
        if "fsync@openssh.com" in self._extensions:
            self._call(_STATUS, _EXTENDED, _packed(b"fsync@openssh.com"), _packed(handle))

    def space(self, path: str) -> int | None:
        """Ask how many bytes are free where a folder lies; ``None`` where the server does not say."""
        if "statvfs@openssh.com" not in self._extensions:
            return None
        try:
            answer = unpack_from(">QQQQQ", self._extended("statvfs@openssh.com", _path(path)))
        except Refused:
            return None
        return int(answer[1] * answer[4])  # size of a block, blocks for those who are not root


def _packed(data: bytes) -> bytes:
    return pack(">I", len(data)) + data


def _path(path: str) -> bytes:
    return _packed(path.encode("utf-8", "surrogateescape"))


def _text(body: bytearray, at: int) -> tuple[bytes, int]:
    length = unpack_from(">I", body, at)[0]
    return bytes(memoryview(body)[at + 4 : at + 4 + length]), at + 4 + length


def _body(wanted: int, found: int, body: bytearray) -> bytearray:
    if found == _STATUS:
        code = unpack_from(">I", body)[0]
        if code != _OK or wanted != _STATUS:
            text = _text(body, 4)[0] if len(body) >= 8 else b""
            raise Refused(code, text.decode("utf-8", "replace"))
    elif found != wanted:
        raise Refused(FAILURE, f"answer {found} where {wanted} was expected")
    return body


def _attributes(body: bytearray, at: int) -> tuple[Attributes, int]:
    flags, at = unpack_from(">I", body, at)[0], at + 4
    size = mode = modified = 0
    if flags & 0x01:
        size, at = unpack_from(">Q", body, at)[0], at + 8
    if flags & 0x02:
        at += 8
    if flags & 0x04:
        mode, at = unpack_from(">I", body, at)[0], at + 4
    if flags & 0x08:
        modified, at = unpack_from(">II", body, at)[1], at + 8
    if flags & 0x80000000:
        count, at = unpack_from(">I", body, at)[0], at + 4
        for _ in range(2 * count):
            _, at = _text(body, at)
    return Attributes(size, mode, modified), at
