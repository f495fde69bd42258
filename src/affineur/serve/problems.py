"""What an endpoint answers when it does not answer: one line, a kind, a status.

The schema is that of text-embeddings-inference, and so are the names of the kinds that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Kinds of error and their status. Those that text-embeddings-inference has, have its status.
STATUS = {
    "empty": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_large": 413,
    "validation": 422,
    "backend": 424,
    "overloaded": 429,
    "internal": 500,
    "unhealthy": 503,
}
#: What each is called in an answer. text-embeddings-inference has ``Unhealthy``, ``Backend``, ``Overloaded``,
#: ``Validation`` (413 there: beyond a limit), ``Tokenizer`` (never sent here) and ``Empty``.
ERROR_TYPES = {
    "empty": "Empty",
    "unauthorized": "Unauthorized",
    "forbidden": "Forbidden",
    "not_found": "NotFound",
    "method_not_allowed": "MethodNotAllowed",
    "too_large": "Validation",
    "validation": "Validation",
    "backend": "Backend",
    "overloaded": "Overloaded",
    "internal": "Internal",
    "unhealthy": "Unhealthy",
}


class Problem(Exception):
    """A request that gets an error.

    Args:
        kind: One of :data:`STATUS`.
        message: One line, for people; no text of the user's in it.
        headers: Headers of the answer.
        status: Where a protocol wants another than the kind's.
    """

    def __init__(
        self, kind: str, message: str, headers: Mapping[str, str] | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message
        self.status = STATUS[kind] if status is None else status
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        return {"error": self.message, "error_type": ERROR_TYPES[self.kind]}


def overloaded(reason: str, seconds: float) -> Problem:
    """Return the refusal of a request under load, with when to come again.

    Args:
        reason: What there is too much of.
        seconds: Until there is room again, as far as one can tell.
    """
    wait = str(min(60, max(1, round(seconds + 0.5))))
    return Problem(
        "overloaded", f"Model is overloaded ({reason}); try again in {wait} s", {"Retry-After": wait}
    )


def fault() -> Problem:
    """Return what a request gets when it meets a bug."""
    return Problem("internal", "an internal error; the log has it under this request's x-request-id")
