"""Hugging Face's token-classification schema: a text or a list of texts in, entities out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Query
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.types import ASGIApp, Receive, Scope, Send

from affineur.serve.exchange import (
    answer_request,
    check_query,
    errors,
    parse_as,
    read_body,
    takes,
    times,
)
from affineur.serve.parameters import Parameters
from affineur.serve.protocols import Protocol
from affineur.serve.service import Service
from affineur.serve.settings import Settings

ROOT, PREDICT = "/", "/predict"
#: The entry of the query that chooses among several models.
ModelQuery = Annotated[
    str | None, Query(max_length=64, description="Which of several models; the first when not given.")
]


class Request(BaseModel):
    """One text or several."""

    model_config = ConfigDict(extra="forbid", strict=True, title="TokenClassificationRequest")

    inputs: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)] = Field(
        description="A text, or a list of texts."
    )
    parameters: Parameters | None = None
    options: dict[str, Any] | None = Field(
        None, description="Of Hugging Face's hosted API; has no effect here."
    )

    @property
    def texts(self) -> list[str]:
        """The texts, whether one came or a list."""
        return [self.inputs] if isinstance(self.inputs, str) else self.inputs

    @property
    def wanted(self) -> Parameters:
        """How the entities are wanted."""
        return self.parameters or Parameters.model_construct()

    def shaped(self, found: list[Any]) -> Any:
        """Return the answer for one text as it is, for a list as a list."""
        return found[0] if isinstance(self.inputs, str) else found

    def joined(self, found: list[bytes]) -> bytes:
        """Return the same of answers that are JSON already."""
        return found[0] if isinstance(self.inputs, str) else b"[%s]" % b",".join(found)


class FoundEntity(BaseModel):
    """A mention; `word` is the text from `start` to `end`, in code points."""

    model_config = ConfigDict(title="Entity")

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class FoundPiece(BaseModel):
    """A piece with its label: strategy `none`."""

    model_config = ConfigDict(title="Piece")

    entity: str
    score: float
    index: int
    word: str
    start: int
    end: int


class ReplacedMention(BaseModel):
    """What stood where a placeholder stands in the redacted text."""

    placeholder: str
    start: int
    end: int
    word: str


class RedactedText(BaseModel):
    """A text without its mentions; offsets are those of the redacted text."""

    text: str
    entities: list[FoundEntity]
    map: list[ReplacedMention] | None = None


_Found = list[FoundEntity] | list[FoundPiece] | RedactedText
#: The body of an answer: what was found in a text, or in each of a list of texts.
ResponseBody = _Found | list[_Found]


class HuggingFace(Protocol):
    """The schema of Hugging Face's token-classification pipeline and of its hosted API."""

    name: ClassVar[str] = "huggingface"
    summary: ClassVar[str] = "Hugging Face's token-classification schema"
    texts: ClassVar[tuple[str, ...]] = (ROOT, PREDICT)
    bodies: ClassVar[tuple[type[BaseModel], ...]] = (Request,)

    def router(self, service: Service) -> APIRouter:
        """Return its routes; they are here for the document, since :meth:`short` answers them."""
        router = APIRouter()
        known: dict[str, Any] = {
            "response_model": ResponseBody,
            "responses": errors("empty", "not_found", "too_large"),
            "openapi_extra": takes(Request),
        }

        @router.post(PREDICT, **known)
        async def entities(request: HttpRequest, model: ModelQuery = None) -> Response:
            """Find the entities of a text, or of a list of texts, by Hugging Face's schema."""
            return await _predict(request, service, model)

        @router.post(ROOT, **known)
        async def root(request: HttpRequest, model: ModelQuery = None) -> Response:
            """The same as `/predict`."""
            return await _predict(request, service, model)

        return router

    def short(self, service: Service) -> Mapping[str, ASGIApp]:
        """Return what answers texts: the framework's way there takes longer than reading them."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            request = HttpRequest(scope, receive, send)
            check_query(request, "model")
            response = await _predict(request, service, request.query_params.get("model"))
            await response(scope, receive, send)

        return dict.fromkeys(self.texts, answer)

    def limit(self, schemas: dict[str, Any], settings: Settings) -> None:
        """Write what a request may hold into its schema."""
        text, several = schemas[Request.__name__]["properties"]["inputs"]["anyOf"]
        text["maxLength"] = several["items"]["maxLength"] = settings.max_characters
        several["maxItems"] = settings.max_inputs


PROTOCOL = HuggingFace()


def parse(body: bytes) -> Request:
    """Read a request; see :func:`affineur.serve.exchange.parse_as`."""
    return parse_as(Request, body, '{"inputs": "texte"}')


async def _predict(request: HttpRequest, service: Service, model: str | None) -> Response:
    asked = parse(await read_body(request, service))
    found, answer = await answer_request(request, service, model, asked.texts, asked.wanted, to_json)
    return Response(asked.joined(found), media_type="application/json", headers=times(answer))
