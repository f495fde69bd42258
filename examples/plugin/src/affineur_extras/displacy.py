"""A server protocol: what spaCy's displaCy draws, ``POST /displacy`` with a text."""

from __future__ import annotations

from typing import Any, ClassVar

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from affineur.serve.exchange import answer_request, errors, json_response, parse_as, read_body, takes, times
from affineur.serve.parameters import Parameters
from affineur.serve.protocols import Protocol
from affineur.serve.service import Service

PATH = "/displacy"


class DisplacyRequest(BaseModel):
    """A text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(min_length=1, examples=["Marie Duval habite à Paris."])


class DisplacyResponse(BaseModel):
    """The text and its entities, as ``displacy.render(…, style="ent", manual=True)`` takes them."""

    text: str
    ents: list[dict[str, Any]]
    title: str | None = None


class Displacy(Protocol):
    """Entities under the names that displaCy gives them."""

    name: ClassVar[str] = "displacy"
    summary: ClassVar[str] = "what spaCy's displaCy draws"
    texts: ClassVar[tuple[str, ...]] = (PATH,)
    bodies: ClassVar[tuple[type[BaseModel], ...]] = (DisplacyRequest,)

    def router(self, service: Service) -> APIRouter:
        """Return its route."""
        router = APIRouter()

        @router.post(
            PATH,
            response_model=DisplacyResponse,
            responses=errors("empty"),
            openapi_extra=takes(DisplacyRequest),
        )
        async def displacy(request: HttpRequest) -> Response:
            """Entities of one text, for displaCy."""
            body = await read_body(request, service)
            asked = parse_as(DisplacyRequest, body, '{"text": "Marie Duval habite à Paris."}')
            parameters = Parameters.model_construct()
            (found,), answer = await answer_request(request, service, None, [asked.text], parameters)
            ents = [{"start": e["start"], "end": e["end"], "label": e["entity_group"]} for e in found]
            return json_response({"text": asked.text, "ents": ents, "title": None}, headers=times(answer))

        return router


PROTOCOL = Displacy()
