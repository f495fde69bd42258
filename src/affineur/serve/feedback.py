"""Corrections of what was answered, for whoever keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from pydantic import BaseModel, ConfigDict, Field

from affineur.errors import AffineurError
from affineur.serve.exchange import errors, parse_as, read_body, takes
from affineur.serve.problems import Problem, overloaded
from affineur.serve.service import Service
from affineur.serve.threads import apart

FEEDBACK = "/feedback"
#: Corrections that may wait: each is written to the disk before the next.
_WAITING = 64


class Feedback(Protocol):
    """Keeps corrections.

    What is wrong with one is an ``AffineurError`` that names the parameter at fault; of a text that nobody
    knows a ``LookupError`` too.
    """

    def __call__(
        self,
        mentions: Sequence[Mapping[str, Any]],
        *,
        text: str | None = None,
        hash: str | None = None,
        source: str = ...,
    ) -> str:
        """Keep the mentions of a text, all of them, and return what stands for it."""


class RightMention(BaseModel):
    """A mention that is there."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: str = Field(max_length=200, examples=["PER"])
    start: int = Field(description="First character, in code points.")
    end: int = Field(description="One past the last character.")


class FeedbackRequest(BaseModel):
    """What is right for a text that was answered: all of its mentions, none where it has none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | None = Field(None, description="The very text; it is looked for, and not kept.")
    hash: str | None = Field(None, max_length=200, description="Or the hash that stands for it in the log.")
    mentions: list[RightMention] = Field(max_length=10_000)


class FeedbackResponse(BaseModel):
    """It is kept."""

    hash: str = Field(description="What stands for the text in the log.")


def feedback_router(service: Service, keep: Feedback) -> APIRouter:
    """Return the route of corrections.

    Args:
        service: Limits bodies.
        keep: Keeps them.
    """
    router, turn = APIRouter(), asyncio.Lock()
    waiting = 0

    @router.post(
        FEEDBACK,
        response_model=FeedbackResponse,
        responses=errors(
            "empty", "not_found", "too_large", "validation", "backend", "overloaded", usual=False
        ),
        openapi_extra=takes(FeedbackRequest),
    )
    async def feedback(request: HttpRequest) -> dict[str, str]:
        """Keep a correction; it is on the disk when this is answered."""
        nonlocal waiting
        sent = parse_as(
            FeedbackRequest,
            await read_body(request, service),
            '{"text": "…", "mentions": [{"type": "PER", "start": 0, "end": 5}]}',
        )
        facts = request.scope.get("affineur")
        source = "feedback" if facts is None or facts.key is None else f"feedback of {facts.key}"
        mentions = [mention.model_dump() for mention in sent.mentions]
        if waiting >= _WAITING:
            raise overloaded("too many corrections wait", 1.0)
        waiting += 1
        try:
            async with turn:
                found = await apart(lambda: keep(mentions, text=sent.text, hash=sent.hash, source=source))
        except AffineurError as error:
            kind = "not_found" if isinstance(error, LookupError) else "validation"
            raise Problem(kind if error.parameter else "backend", str(error)) from None
        finally:
            waiting -= 1
        return {"hash": found}

    return router
