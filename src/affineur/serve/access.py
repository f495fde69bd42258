"""What every request passes: its identity, keys, refusal under load, the clock, the log.

Plain ASGI, since it is on the hot path. Which paths need no key, are health checks or take texts, the
application says, which has it from the protocols.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affineur.serve import logs
from affineur.serve.keys import Key, find_key
from affineur.serve.listeners import RequestFacts
from affineur.serve.problems import Problem, fault
from affineur.serve.service import Gone, Service

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
#: Seconds after which a refusal is told: clients that ask again at once would take the processor from those
#: who are served.
_HOLD = (0.2, 1.0)
#: Seconds for an answer when the process ends.
_LAST_WORD = 1.0
_GONE = 499  # nobody is there to read it; it stands in metrics and logs


@dataclass(frozen=True, slots=True)
class Paths:
    """What there is to know of the paths behind the gate. All others need a key, where keys are asked for.

    Args:
        health: Health checks: they need no key, and those that succeed are not logged.
        open: Others that need no key, since they hold nothing of anybody's.
        open_under: The same for all that begin so.
        texts: Templates of those that take texts by POST, and are refused under load; ``{name}`` in one is
            the model's.
    """

    health: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    open_under: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


class AccessGate:
    """The outermost application.

    Args:
        app: The application behind.
        service: Says whether it is overloaded or draining.
        paths: What there is to know of the paths behind.
        keys: Returns the keys that are known; none of them, and nobody needs one.
        short: What answers POST at some paths, where it is not the application behind.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        paths: Paths,
        keys: Callable[[], tuple[Key, ...]] = tuple,
        short: Mapping[str, ASGIApp] | None = None,
    ) -> None:
        self.app, self.service, self.paths, self.keys = app, service, paths, keys
        self._short = {("POST", path): answer for path, answer in (short or {}).items()}
        self._open = paths.health | paths.open
        self._texts = frozenset(path for path in paths.texts if "{" not in path)
        self._named = [(compile_path(path)[0], path) for path in paths.texts if "{" in path]
        self._refused, self._tell_next = 0, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = {
            name: value for name, value in scope["headers"] if name in (b"authorization", b"x-request-id")
        }
        identity = headers.get(b"x-request-id", b"").decode("latin-1")
        if not _ID.fullmatch(identity):
            identity = uuid.uuid4().hex
        facts = scope["affineur"] = RequestFacts(identity)
        status = _GONE

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = [(b"x-request-id", identity.encode())]
                if self.service.draining:
                    more.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        refused = False
        try:
            key = self._key(scope, headers.get(b"authorization", b"").decode("latin-1"))
            facts.key = None if key is None else key.name
            # Routes end in $, which lets a line feed follow: /metrics%0A would pass what a proxy closes.
            if not scope["path"].isprintable():
                raise Problem("not_found", "the path has a character that no path here has", status=404)
            # The parser hands over what follows an upgrade, so a body would be lost.
            if any(name == b"upgrade" for name, _ in scope["headers"]):
                raise Problem(
                    "validation",
                    "HTTP/1.1 without Upgrade is spoken here",
                    {"Connection": "close"},
                    status=426,
                )
            if refusal := self._refusal(scope):
                refused = True
                await asyncio.sleep(random.uniform(*_HOLD))
                raise refusal
            # Monitors ask by HEAD; the server leaves the body out by itself.
            asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            await self._short.get((scope["method"], scope["path"]), self.app)(asked, receive, answer)
        except Problem as problem:
            if problem.status in (413, 429) and not refused:
                # What led here holds the texts; nobody needs them while this waits.
                problem.__traceback__ = problem.__context__ = None
                await asyncio.sleep(random.uniform(*_HOLD))
            await respond(problem, answer)
        except (Gone, ClientDisconnect):  # before it got an answer, or before it had sent its request
            status = _GONE
        except asyncio.CancelledError:  # the process ends, and the time for answers is over
            if status == _GONE:
                with contextlib.suppress(TimeoutError):  # one before it may be unread
                    async with asyncio.timeout(_LAST_WORD):
                        await respond(Problem("unhealthy", "the endpoint has ended"), answer)
        except Exception:
            logs.fault("fault", id=identity, route=self._route(scope))
            if status == _GONE:
                await respond(fault(), answer)
        finally:
            seconds = time.perf_counter() - start
            route = self._route(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.service.metrics.requests.labels(method, route, str(status)).observe(seconds)
            if refused:
                self._tell_refused()
            elif route not in self._open or status >= 500:
                logs.event(
                    "request",
                    id=identity,
                    method=method,
                    route=route,
                    status=status,
                    ms=round(1000 * seconds, 1),
                    **facts.told(),
                )

    def _key(self, scope: Scope, shown: str) -> Key | None:
        keys, path = self.keys(), scope["path"]
        admin = path.startswith("/admin/")
        if not keys:
            if admin:
                raise Problem("not_found", "no such path")  # off unless there is a key to guard it
            return None
        if (
            path in self._open
            or path.startswith(self.paths.open_under)
            or (path == "/" and scope["method"] in ("GET", "HEAD"))  # leads a browser to the page
        ):
            return None
        key = find_key(shown, keys)
        if key is None:
            found = "not a known key" if shown else "no key"
            raise Problem(
                "unauthorized",
                f"{found}; expected the header Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        if admin and not key.admin:
            raise Problem(
                "forbidden",
                "the key is not an administrator's, which this path asks for",
            )
        return key

    def _refusal(self, scope: Scope) -> Problem | None:
        """Return the refusal of texts under load, before anything of them is read.

        Under a flood that is most of the work.
        """
        if scope["method"] != "POST":
            return None
        if scope["path"] in self._texts:
            # With a query it may be another model's turn.
            return None if scope["query_string"] else self.service.overload()
        match, _ = self._match(scope["path"])
        return None if match is None else self.service.overload(match.groupdict().get("name"))

    def _match(self, path: str) -> tuple[re.Match[str] | None, str]:
        """Find the template of a path that takes texts for a model it names."""
        for expression, template in self._named:
            if (match := expression.match(path)) is not None:
                return match, template
        return None, "other"

    def _route(self, scope: Scope) -> str:
        """Return the template of a route; never the path itself, which anybody may choose."""
        if (route := getattr(scope.get("route"), "path", None)) is not None:
            return str(route)
        path = str(scope["path"])
        return path if path in self._texts or path in self._open else self._match(path)[1]

    def _tell_refused(self) -> None:
        """Log refusals together, a line a second: a flood must not become one of lines."""
        self._refused += 1
        if (now := time.monotonic()) >= self._tell_next:
            logs.event("refused", requests=self._refused)
            self._refused, self._tell_next = 0, now + 1


async def respond(problem: Problem, send: Send) -> None:
    """Send an error."""
    body = to_json(problem.body())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
