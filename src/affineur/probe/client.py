"""Ask a token-classification endpoint over HTTP: a reply comes back, never an exception.

It speaks Hugging Face's schema, bare or in the envelope of a RunPod queue.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from affineur.errors import MissingExtraError, ParameterError, TransferError, one_line
from affineur.measure.bars import plain

if TYPE_CHECKING:
    import aiohttp

#: An entity as it came: nothing about its fields is known to be true.
Found = dict[str, Any]

_LOST = ("timeout", "connection", "tls")
_MOST_ANSWER = 1 << 26  # bytes: entities of the largest request take a tenth of it
_SCHEMA = (
    "expected a list of entities, such as "
    "[{'entity_group': 'PER', 'score': 0.99, 'word': 'Marie', 'start': 0, 'end': 5}]"
)
_HINTS = {
    "401": "; give its key",
    "403": "; give a key that may use it",
    "404": "; give the whole address that takes POST, such as http://127.0.0.1:8000/predict",
    "405": "; give the address that takes POST, such as http://127.0.0.1:8000/predict",
    "429": "; wait until it is idle, and ask again",
    "503": "; wait until it is ready, and ask again",
    "timeout": "; is it loading? A longer timeout may do",
    "connection": "; is it running, and is this its address?",
    "tls": "; is its certificate valid here, or is it an http:// address?",
}


class EndpointError(TransferError):
    """An endpoint that cannot be probed.

    Args:
        message: What it answers, and what to do.
        kind: What came back, as in :class:`Reply`.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one request.

    Args:
        kind: ``200`` for an answer; else the HTTP status; ``timeout``, ``connection`` or ``tls`` where there
            is none; ``schema`` for a 2xx that is no answer; ``failed``, ``in_progress`` and the like for a
            RunPod job that did not complete.
        seconds: From sending to the last byte.
        found: The entities of the text, or of each text of a list; ``None`` unless it was answered.
        said: What went wrong, as one line that follows the endpoint's address.
        retry_after: Seconds that an overloaded server asks to wait.
        queue_ms: Milliseconds in the server's queue, where it tells (``x-queue-time``, or RunPod's
            ``delayTime``).
        inference_ms: Milliseconds in the model, where it tells (``x-inference-time``, or RunPod's
            ``executionTime``).
    """

    kind: str
    seconds: float
    found: list[Any] | None = None
    said: str = ""
    retry_after: float | None = None
    queue_ms: float | None = None
    inference_ms: float | None = None

    @property
    def lost(self) -> bool:
        """Whether no answer of any kind came."""
        return self.kind in _LOST

    def refusal(self, url: str) -> EndpointError:
        """Return the error for an endpoint that cannot be measured because of this reply."""
        return EndpointError(f"{url} {self.said}{_HINTS.get(self.kind, '')}", self.kind)


class _TooLongError(Exception):
    """More came than any answer has."""


async def _read_within(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer of bounded size, whatever its coding makes of what is sent."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(1 << 16):
        size += len(part)
        if size > _MOST_ANSWER:
            response.close()
            raise _TooLongError
        parts.append(part)
    return b"".join(parts)


class Endpoint:
    """An address and the connections to it; made by :func:`connect`.

    Attributes:
        parameters: What is sent beside the inputs.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, timeout: float) -> None:
        self.parameters: dict[str, Any] = {}
        self._url = url
        self._session = session
        self._timeout = timeout
        self._queue = urlsplit(url).path.rstrip("/").endswith("/runsync")

    async def ask(self, inputs: str | Sequence[str]) -> Reply:
        """Ask for the entities of a text, or of a list of texts."""
        import aiohttp

        parameters = {"parameters": self.parameters} if self.parameters else {}
        body: dict[str, Any] = {"inputs": inputs, **parameters}
        start = time.perf_counter()
        try:
            # A redirected POST may arrive as a GET, and times two requests: the address has to be the last
            # one.
            async with self._session.post(
                self._url, json={"input": body} if self._queue else body, allow_redirects=False
            ) as response:
                raw = await _read_within(response)
        except _TooLongError:
            said = f"answers with more than {_MOST_ANSWER:,} bytes, expected entities"
            return Reply("schema", time.perf_counter() - start, said=said)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            kind, said = _lost(error, self._timeout)
            return Reply(kind, time.perf_counter() - start, said=said)
        return self._read(response, raw, time.perf_counter() - start, inputs)

    def _read(
        self, response: aiohttp.ClientResponse, raw: bytes, seconds: float, inputs: str | Sequence[str]
    ) -> Reply:
        status = str(response.status)
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = None
        if 300 <= response.status < 400:
            return Reply(
                status,
                seconds,
                said=f"redirects to {response.headers.get('Location', 'nowhere')!a}; give that address",
            )
        if not 200 <= response.status < 300:
            return Reply(
                status,
                seconds,
                said=f"answers {status} ({_complaint(value, raw)})",
                retry_after=_number(response.headers, "Retry-After"),
            )
        times = (_number(response.headers, "x-queue-time"), _number(response.headers, "x-inference-time"))
        if self._queue and isinstance(value, dict):
            state = str(value.get("status", "schema")).lower()
            output = value.get("output")
            if state != "completed" or (isinstance(output, dict) and "error" in output):
                return Reply(
                    "failed" if state == "completed" else state,
                    seconds,
                    said=f"answers {state} ({_complaint(output or value, raw)})",
                )
            times = (_number(value, "delayTime"), _number(value, "executionTime"))
            value = output
        if not (_entities(value) if isinstance(inputs, str) else _lists(value, len(inputs))):
            return Reply("schema", seconds, said=f"answers {_shown(raw)}, {_SCHEMA}")
        return Reply("200", seconds, value, "", None, *times)


@asynccontextmanager
async def connect(url: str, key: str | None = None, timeout: float = 30.0) -> AsyncIterator[Endpoint]:
    """Open an endpoint; nothing is sent yet.

    Proxies of the environment are not used, since they would be timed too.

    Args:
        url: The whole address that takes POST; one whose path ends in ``/runsync`` is a RunPod queue.
        key: Sent as ``Authorization: Bearer KEY``.
        timeout: Seconds a request may take in all.

    Raises:
        ParameterError: If the address, the key or the timeout is impossible.
        MissingExtraError: If aiohttp is not installed.
    """
    try:
        import aiohttp
    except ModuleNotFoundError:
        raise MissingExtraError("probing an endpoint", "serve") from None
    check_url(url)
    if key is not None and (not key or not key.isascii() or not key.isprintable()):
        raise ParameterError(
            "the key is empty or holds a character that no HTTP header carries; "
            "give it as the server's operator gave it",
            "key",
        )
    if not 0 < timeout < math.inf:
        raise ParameterError(f"timeout={timeout:g} is impossible, expected seconds, more than 0", "timeout")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeout),
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Endpoint(url, session, timeout)


def _lost(error: Exception, timeout: float) -> tuple[str, str]:
    """Return the kind of a request without an answer, and what is said of it."""
    import aiohttp

    if isinstance(error, TimeoutError):
        return "timeout", f"does not answer within {timeout:g} seconds"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls", f"cannot be reached over TLS ({one_line(error.os_error, 200)})"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0  # those of name resolution are negative, and speak for themselves
        reason = os.strerror(number) if number > 0 else error.os_error.strerror
        return "connection", f"cannot be reached ({reason or one_line(error.os_error, 200)})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "connection", "breaks off in the middle of an answer"
    if isinstance(error, (aiohttp.ServerConnectionError, aiohttp.ClientOSError)):
        return "connection", "closes the connection without an answer"
    return "connection", f"does not speak HTTP ({one_line(error, 200)})"


def check_url(url: str) -> None:
    """Refuse what is no address of an HTTP endpoint.

    Raises:
        ParameterError: If the scheme, the host or the port is missing or impossible, or a password stands in
            it.
    """
    example = "expected an address such as http://127.0.0.1:8000/predict"
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
        (host or "").encode("idna")
    except ValueError as error:  # UnicodeError is one
        raise ParameterError(f"{url!r} is not a URL ({one_line(error, 100)}), {example}", "url") from None
    if (
        parts.scheme not in ("http", "https")
        or not host
        or port == 0
        or any(c.isspace() or not c.isprintable() for c in url)
    ):
        near = f"; type: http://{url}" if "://" not in url and host is None and url.strip("/") else ""
        raise ParameterError(f"{url!r} is not a URL, {example}{near}", "url")
    if parts.username is not None:
        raise ParameterError(
            f"the URL of {host} holds a user name; leave it out and give the key apart from it", "url"
        )


def _entities(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and ("entity_group" in each or "entity" in each) for each in value
    )


def _lists(value: object, many: int) -> bool:
    return isinstance(value, list) and len(value) == many and all(map(_entities, value))


def _shown(raw: bytes) -> str:
    """Name a body that is no answer."""
    if raw.lstrip()[:1] == b"<":
        return "a web page"
    return repr(one_line(ValueError(raw.decode("utf-8", "replace")), 80)) if raw else "nothing"


def _complaint(value: object, raw: bytes) -> str:
    """Say what a server complains of, by ``error`` or ``detail`` where it speaks JSON."""
    if isinstance(value, dict):
        value = value.get("error") or value.get("detail") or value
    if value is None and raw.lstrip()[:1] == b"<":
        return "a web page"
    return plain(
        one_line(
            ValueError(
                value if value is not None else raw[:400].decode("utf-8", "replace") or "without a word"
            ),
            150,
        )
    )


def _number(values: Mapping[str, Any], name: str) -> float | None:
    try:
        number = float(values[name])
    except (KeyError, TypeError, ValueError, OverflowError):  # an integer of 400 digits
        return None
    return number if 0 <= number < math.inf else None


async def pause(reply: Reply) -> None:
    """Wait as long as an overloaded server asks for, a second at most.

    A client that asks again at once measures its own impatience.
    """
    await asyncio.sleep(min(0.1 if reply.retry_after is None else reply.retry_after, 1.0))
