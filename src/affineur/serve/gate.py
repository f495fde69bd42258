"""What every request passes: its identity, keys, refusal under load, the clock, the log.

Plain ASGI, since it is on the hot path.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from affineur.serve import logs
from affineur.serve.keys import Key, find_key
from affineur.serve.problems import Problem, fault
from affineur.serve.service import Gone, Service

#: Paths that need no key: probes, and pages that hold nothing of anybody's.
OPEN = frozenset(
    {
        "/ping",
        "/health",
        "/health/live",
        "/health/ready",
        "/v2/health/live",
        "/v2/health/ready",
        "/ui",
        "/docs",
        "/openapi.json",
    }
)
_OPEN_UNDER = ("/ui/", "/static-offline-docs/", "/docs/")
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/infer")
_TEXTS = frozenset({"/", "/predict", "/runsync"})
#: Seconds after which a refusal is told: clients that ask again at once would take the processor from those
#: who are served.
_HOLD = (0.2, 1.0)
_GONE = 499  # nobody is there to read it; it stands in metrics and logs


class Gate:
    """The outermost application.

    Args:
        app: The application behind.
        service: Says whether it is overloaded or draining.
        keys: Returns the keys that are known; none of them, and nobody needs one.
        texts: What answers ``POST /`` and ``/predict``, where it is not the application behind.
        sheds: Whether texts are refused under load; where none are taken, there is no such path at any time.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        keys: Callable[[], tuple[Key, ...]] = tuple,
        texts: ASGIApp | None = None,
        sheds: bool = True,
    ) -> None:
        self.app, self.service, self.keys, self._sheds = app, service, keys, sheds
        self._quick = {("POST", path): texts for path in ("/", "/predict") if texts is not None}
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
        status = _GONE
        key: Key | None = None

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
            if any(
                name == b"upgrade" for name, _ in scope["headers"]
            ):  # the parser hands over what follows, so a body would be lost
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
            await self._quick.get((scope["method"], scope["path"]), self.app)(asked, receive, answer)
        except Problem as problem:
            await respond(problem, answer)
        except (Gone, ClientDisconnect):  # before it got an answer, or before it had sent its request
            status = _GONE
        except Exception:
            logs.fault("fault", id=identity, route=_route(scope))
            if status == _GONE:
                await respond(fault(), answer)
        finally:
            seconds = time.perf_counter() - start
            route = _route(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.service.metrics.requests.labels(method, route, str(status)).observe(seconds)
            if refused:
                self._tell_refused()
            elif route not in OPEN or status >= 500:
                told = scope.get("affineur", {})
                logs.event(
                    "request",
                    id=identity,
                    method=method,
                    route=route,
                    status=status,
                    ms=round(1000 * seconds, 1),
                    **_who(key),
                    **told,
                )

    def _key(self, scope: Scope, shown: str) -> Key | None:
        keys, path = self.keys(), scope["path"]
        admin = path.startswith("/admin/")
        if not keys:
            if admin:
                raise Problem("not_found", "no such path")  # off unless there is a key to guard it
            return None
        if (
            path in OPEN
            or path.startswith(_OPEN_UNDER)
            or (path == "/" and scope["method"] in ("GET", "HEAD"))
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
                "the key is not an administrator's; make one with: affineur key FILE NAME --admin",
            )
        return key

    def _refusal(self, scope: Scope) -> Problem | None:
        """Return the refusal of texts under load, before anything of them is read.

        Under a flood that is most of the work.
        """
        if scope["method"] != "POST" or not self._sheds:
            return None
        match = None if scope["path"] in _TEXTS else _INFER.fullmatch(scope["path"])
        if match is None and (scope["path"] not in _TEXTS or scope["query_string"]):
            return None
        return self.service.overload(match[1] if match else None)

    def _tell_refused(self) -> None:
        """Log refusals together, a line a second: a flood must not become one of lines."""
        self._refused += 1
        if (now := time.monotonic()) >= self._tell_next:
            logs.event("refused", requests=self._refused)
            self._refused, self._tell_next = 0, now + 1


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


async def respond(problem: Problem, send: Send) -> None:
    """Send an error."""
    body = to_json(problem.body())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _route(scope: Scope) -> str:
    """Return the template of a route; never the path itself, which anybody may choose."""
    if (route := getattr(scope.get("route"), "path", None)) is not None:
        return str(route)
    if scope["path"] in _TEXTS or scope["path"] in OPEN:
        return str(scope["path"])
    return "/v2/models/{name}/infer" if _INFER.fullmatch(scope["path"]) else "other"


def _who(key: Key | None) -> dict[str, Any]:
    return {} if key is None else {"key": key.name}
