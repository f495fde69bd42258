"""Web servers: a folder that is read over HTTP or HTTPS, in parts where the server gives parts."""

from __future__ import annotations

import base64
import os
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from netrc import NetrcParseError, netrc
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from affineur.errors import TransferError, one_line
from affineur.progress import report
from affineur.transfer.places.core.place import (
    Access,
    Passing,
    Place,
    Remote,
    Small,
    Stat,
    Unreachable,
    whole,
)

_TIMEOUT = 20.0  # seconds without a byte
_CHUNK = 1 << 18
_DRAINED = 1 << 16  # what is left of an answer is read to here, beyond it the connection is given up
_REDIRECTS = 10
_PORTS = {"http": 80, "https": 443}
_MOVED = (301, 302, 303, 307, 308)
_ABSENT = (403, 404, 410)  # S3 answers 403 for a file that is not there
_NO_HEAD = (400, 403, 405, 501)  # 403: an address that is signed is signed for GET alone
_BUSY = (408, 425, 429)
_NEVER = (501, 505)  # of 5xx, those that say the same tomorrow
_BROKEN = (TimeoutError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)
_SPAN = re.compile(r"\s*bytes\s+(\d+)-(\d+)/(\d+|\*)\s*$", re.IGNORECASE)
_KEPT = "/%:@!$&'()*+,;=~?"  # what stands in an address as it is


class _Origin(NamedTuple):
    """Who is spoken to: credentials and connections are for one alone."""

    scheme: str
    host: str
    port: int


class HttpRemote(Remote):
    """A folder of a web server.

    Args:
        base: Address of the folder without a password; its query, such as a signature, is sent for each file.
        authorization: The ``Authorization`` header, for the host of ``base`` alone.
    """

    def __init__(self, base: SplitResult, authorization: str | None = None) -> None:
        self.where = _shown(base)
        self._base, self._authorization = base, authorization
        self._origin = _origin(base)
        self._lock = threading.Lock()
        self._idle: dict[_Origin, list[HTTPConnection]] = {}
        self._closed = False
        self._tags: dict[str, str] = {}  # what the server calls the version of each file that is being read
        self._answered = False  # an address that never answered is wrong, one that did is in trouble
        self._heads = True
        self._ranges = False

    def stat(self, name: str) -> Stat | None:
        """Ask with HEAD, and for the first byte where that does not say enough."""
        size, heads = None, self._heads
        self._tags.pop(name, None)
        if heads:
            with self._asked("HEAD", name) as (answer, url):
                if answer.status in (404, 410):
                    return None
                heads = answer.status not in _NO_HEAD
                if heads:
                    self._check(answer, url, 200)
                    self._remember(name, answer, url)
                    size = _length(answer)
                    said = answer.headers.get("Accept-Ranges", "").strip().lower()
                    if size and (self._ranges or said in ("bytes", "none")):
                        return Stat(size, said != "none", _version(answer))
        with self._asked("GET", name, Range="bytes=0-0") as (answer, url):
            if answer.status in _ABSENT:
                return None
            if answer.status == 416:  # there is no first byte
                return Stat(0)
            self._check(answer, url, 200, 206)
            self._remember(name, answer, url)
            self._heads = heads
            if answer.status == 200:
                return Stat(_length(answer), False, _version(answer))
            self._ranges = True
            return Stat(_span(answer, url, 0)[1], True, _version(answer))

    def read(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Read with ``Range``; what a server that ignores it sends before ``start`` is thrown away."""
        while stop is None or start < stop:
            asked = {}
            if start or stop is not None:
                asked["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
                if (tag := self._tags.get(name, "")).startswith('"'):  # a weak one says nothing of bytes
                    asked["If-Range"] = tag
            with self._asked("GET", name, **asked) as (answer, url):
                if answer.status == 416:  # it ends before
                    return
                self._check(answer, url, 200, 206)
                self._remember(name, answer, url)
                if answer.status == 200:
                    yield from _cut(_body(answer, url, answer.length), start, stop)
                    return
                end, total = _span(answer, url, start)
                yield from _cut(_body(answer, url, end - start), 0, None if stop is None else stop - start)
                start = end  # a server may give less than it was asked for
                if total is not None and start >= total:
                    return

    def get(self, name: str) -> Small | None:
        """Read a small file whole, with one request."""
        with self._asked("GET", name) as (answer, url):
            if answer.status in _ABSENT:
                return None
            self._check(answer, url, 200)
            _plain(answer, url)
            return Small(whole(_body(answer, url, answer.length), url), answer.headers.get("ETag", ""))

    def close(self) -> None:
        """Close the connections that are kept; one that is being read from is closed by its reader."""
        with self._lock:
            self._closed = True
            kept = [each for line in self._idle.values() for each in line]
            self._idle.clear()
        for connection in kept:
            connection.close()

    @contextmanager
    def _asked(self, method: str, name: str, **headers: str) -> Iterator[tuple[HTTPResponse, str]]:
        """Ask for a file, and follow where the server points; gives the answer and its address as shown."""
        url = self._base._replace(path=f"{self._base.path.rstrip('/')}/{quote(name)}")
        for _ in range(_REDIRECTS + 1):
            connection, answer = self._exchange(method, url, headers)
            location = answer.headers.get("Location") if answer.status in _MOVED else None
            try:
                if location is None:
                    yield answer, _shown(url)
            except BaseException:  # what is left on the connection may never come
                answer.close()
                connection.close()
                raise
            self._done(_origin(url), connection, answer)
            if location is None:
                return
            url = _followed(url, location)
        raise TransferError(
            f"{self.where} points elsewhere more than {_REDIRECTS} times in a row; check the address"
        )

    def _exchange(
        self, method: str, url: SplitResult, headers: dict[str, str]
    ) -> tuple[HTTPConnection, HTTPResponse]:
        origin = _origin(url)
        proxy = _proxy(origin)
        sent = {"User-Agent": "affineur", "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        if self._authorization and _same_host(self._origin, origin):
            sent["Authorization"] = self._authorization
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        if proxy and origin.scheme == "http":
            target = f"http://{url.netloc}{target}"
            if proxy.authorization:
                sent["Proxy-Authorization"] = proxy.authorization
        for fresh in (False, True):
            connection = None if fresh else self._kept(origin)
            kept = connection is not None
            connection = connection or self._connection(origin, proxy)
            try:
                connection.request(method, target, headers=sent)
                answer = connection.getresponse()
            except (OSError, HTTPException, ValueError) as error:
                connection.close()
                if kept and not isinstance(
                    error, TimeoutError
                ):  # the server had closed it, as servers do after a while
                    continue
                raise self._failure(url, error) from None
            except BaseException:
                connection.close()
                raise
            self._answered = True
            return connection, answer
        raise AssertionError("a fresh connection is no kept one")

    def _kept(self, origin: _Origin) -> HTTPConnection | None:
        with self._lock:
            line = self._idle.get(origin)
            return line.pop() if line else None

    def _connection(self, origin: _Origin, proxy: _Proxy | None) -> HTTPConnection:
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        if origin.scheme == "http":
            return HTTPConnection(host, port, timeout=_TIMEOUT)
        secure = HTTPSConnection(host, port, timeout=_TIMEOUT, context=self._trust)
        if proxy:
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            secure.set_tunnel(origin.host, origin.port, headers)
        return secure

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def _done(self, origin: _Origin, connection: HTTPConnection, answer: HTTPResponse) -> None:
        """Keep the connection for the next request where nothing much is left on it."""
        with suppress(OSError, HTTPException):
            if not answer.isclosed() and answer.length is not None and answer.length <= _DRAINED:
                answer.read()
        keep = answer.isclosed() and connection.sock is not None
        answer.close()
        with self._lock:
            if keep and not self._closed:
                self._idle.setdefault(origin, []).append(connection)
                return
        connection.close()

    def _failure(self, url: SplitResult, error: Exception) -> TransferError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return TransferError(
                f"{_shown(url)} could not be fetched: the certificate of {url.hostname} is not trusted "
                f"({error.verify_message}); check the address, or set SSL_CERT_FILE to the certificate of "
                "the authority that signed it"
            )
        said = f"{_shown(url)} could not be fetched ({one_line(error)})"
        if isinstance(error, _BROKEN) or (self._answered and not isinstance(error, ValueError)):
            return Passing(said)
        return Unreachable(f"{said}; check the address and the network")

    def _check(self, answer: HTTPResponse, url: str, *expected: int) -> None:
        """Refuse an answer of another status.

        Raises:
            Passing: If the server may answer otherwise a little later.
            TransferError: If it will not.
        """
        status = answer.status
        if status in expected:
            return
        said = f"{url} was answered with {status} {' '.join(answer.reason.split())[:100]}".rstrip()
        if status in _BUSY or (status >= 500 and status not in _NEVER):
            passing = Passing(said)
            after = answer.headers.get("Retry-After", "").strip()
            passing.after = float(after) if after.isdecimal() and len(after) < 9 else 0.0
            raise passing
        if status == 401 and self._authorization:
            raise TransferError(f"{said}: user and password were refused; check them where you wrote them")
        if status == 401:
            raise TransferError(
                f"{said}: it asks for a password, found none in the address nor in {_netrc_file()}; "
                f"write there: machine {self._origin.host} login USER password PASSWORD"
            )
        raise TransferError(f"{said}; check the address")

    def _remember(self, name: str, answer: HTTPResponse, url: str) -> None:
        """Note which version of a file is being read, and refuse what is another."""
        _plain(answer, url)
        tag = answer.headers.get("ETag", "").strip()
        known = self._tags.setdefault(name, tag) if tag else ""
        if known.removeprefix("W/") != tag.removeprefix("W/"):
            raise TransferError(
                f"{url} changed while it was being read (its ETag is another); type the same again"
            )


class HttpPlace(Place):
    """Folders of web servers."""

    prefixes = ("https://", "http://")
    form = "https://HOST/FOLDER"
    summary = "a folder of a web server, only read from"
    writes = False

    def open(self, reference: str, access: Access) -> HttpRemote:
        """Take the address apart; user and password are in it, or in the netrc file, or there are none."""
        try:
            parts = urlsplit(reference)
            host = _host(parts)
        except ValueError:  # its message may hold a part of a password
            host = ""
        if not host:
            raise TransferError(
                f"an address that begins with {reference.partition('://')[0]}:// is not a URL of a folder, "
                f"expected {self.form}; write a / in a password as %2F and a number as the port"
            )
        user, password = parts.username, parts.password
        known = (unquote(user), unquote(password or "")) if user is not None else _from_netrc(host)
        authorization = _basic(*known) if known else None
        netloc = parts.netloc.rpartition("@")[2]
        path, query = quote(parts.path, safe=_KEPT), quote(parts.query, safe=_KEPT)
        base = SplitResult(parts.scheme.lower(), netloc, path, query, "")
        return HttpRemote(base, authorization)


PLACE = HttpPlace()


class _Proxy(NamedTuple):
    host: str
    port: int
    authorization: str | None


def _proxy(origin: _Origin) -> _Proxy | None:
    """Find the proxy that the environment names for a host, as urllib does."""
    said = getproxies().get(origin.scheme)
    if not said or proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    try:
        parts = urlsplit(said if "://" in said else f"http://{said}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme != "http":
        raise TransferError(
            f"{origin.scheme}_proxy is set to something that is no http://HOST:PORT; correct or unset it"
        )
    user = parts.username
    known = None if user is None else _basic(unquote(user), unquote(parts.password or ""))
    return _Proxy(host, port or 80, known)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _netrc_file() -> str:
    return os.environ.get("NETRC") or "~/.netrc"


def _from_netrc(host: str) -> tuple[str, str] | None:
    try:
        found = netrc(os.environ.get("NETRC") or None).authenticators(host)
    except OSError:  # most have none
        return None
    except (NetrcParseError, UnicodeDecodeError) as error:  # its message may hold a part of a password
        line = f", line {error.lineno}" if isinstance(error, NetrcParseError) and error.lineno else ""
        report(
            f"warning: {_netrc_file()}{line} cannot be read as a netrc file, or others may read it; "
            "no password is taken from it"
        )
        return None
    return (found[0], found[2] or "") if found and found[0] else None


def _origin(url: SplitResult) -> _Origin:
    return _Origin(url.scheme, url.hostname or "", url.port or _PORTS[url.scheme])


def _host(url: SplitResult) -> str:
    """Return the host of an address that can be asked, or nothing.

    Raises:
        ValueError: If its port is none.
    """
    host = url.hostname or ""
    return "" if url.port == 0 or re.search(r"[\x00-\x20\x7f]", host) else host


def _same_host(one: _Origin, other: _Origin) -> bool:
    """Say whether credentials for one may be sent to the other: it is the same, or the same made secure."""
    return one == other or (one.port == 80 and one._replace(scheme="https", port=443) == other)


def _shown(url: SplitResult) -> str:
    """Write an address for messages: its query may be a signature."""
    return f"{url.scheme}://{url.netloc}{url.path}".rstrip("/")


def _followed(url: SplitResult, location: str) -> SplitResult:
    """Follow a redirect, to a web server, never from HTTPS to HTTP."""
    try:
        parts = urlsplit(urljoin(url.geturl(), location.strip()))
        host = _host(parts)
    except ValueError:
        raise TransferError(
            f"{_shown(url)} points to something that is not a URL; check the address"
        ) from None
    if not host or parts.scheme not in _PORTS:
        raise TransferError(
            f"{_shown(url)} points to what is no web server ({parts.scheme[:20]}); check the address"
        )
    if url.scheme == "https" and parts.scheme == "http":
        raise TransferError(
            f"{_shown(url)} points from HTTPS to HTTP at {host}, which is not followed; "
            "give the address that it should point to"
        )
    path, query = quote(parts.path, safe=_KEPT), quote(parts.query, safe=_KEPT)
    return SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], path, query, "")


def _length(answer: HTTPResponse) -> int | None:
    """Return what a header says of the size; that of an answer to HEAD is 0 to http.client."""
    said = answer.headers.get("Content-Length", "").strip()
    return int(said) if said.isdecimal() else None


def _version(answer: HTTPResponse) -> str:
    """Return what changes when a file does, as far as the server tells."""
    tag = answer.headers.get("ETag", "").strip()
    return tag or answer.headers.get("Last-Modified", "").strip()


def _plain(answer: HTTPResponse, url: str) -> None:
    """Refuse what comes compressed: its parts and its size would be those of something else."""
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("identity", ""):
        raise TransferError(
            f"{url} comes compressed ({encoding[:20]}), expected the bytes as they are, as was asked for "
            "(Accept-Encoding: identity); have the server leave this folder uncompressed"
        )


def _span(answer: HTTPResponse, url: str, start: int) -> tuple[int, int | None]:
    """Return where a part ends, and how long the whole is, if that is known."""
    found = _SPAN.match(answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start or int(found[2]) < start:
        said = one_line(ValueError(answer.headers.get("Content-Range", "nothing")), 60)
        raise TransferError(
            f"{url} was asked for a part from byte {start} and gave another ({said}); "
            "its server cannot be used, fetch the folder in another way"
        )
    return int(found[2]) + 1, None if found[3] == "*" else int(found[3])


def _body(answer: HTTPResponse, url: str, total: int | None) -> Iterator[bytes]:
    """Read a body. Only reading is guarded here: a full disk is the writer's error, not the network's."""
    done = 0
    while total is None or done < total:
        try:
            chunk = answer.read(_CHUNK if total is None else min(_CHUNK, total - done))
        except (OSError, HTTPException, ValueError) as error:
            raise Passing(f"{url} was cut off after {done} bytes ({one_line(error)})") from None
        if not chunk:
            break
        done += len(chunk)
        yield chunk
    if total is not None and done < total:
        raise Passing(f"{url} was cut off after {done} of {total} bytes")


def _cut(chunks: Iterator[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    """Give bytes ``start`` to ``stop`` of what comes."""
    position = 0
    for chunk in chunks:
        end = position + len(chunk)
        if end > start:
            first, last = max(0, start - position), len(chunk) if stop is None else stop - position
            yield chunk if first == 0 and last >= len(chunk) else chunk[first:last]
        position = end
        if stop is not None and position >= stop:
            return
