"""What clients and gateways of OpenAI's API ask to see whether a server is there: which models it has."""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel

from affineur.serve.exchange import errors
from affineur.serve.problems import Problem
from affineur.serve.protocols import Protocol
from affineur.serve.service import Service

MODELS, MODEL = "/v1/models", "/v1/models/{name}"


class Model(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "affineur"


class Models(BaseModel):
    """All models, the default first."""

    object: Literal["list"] = "list"
    data: list[Model]


class OpenAI(Protocol):
    """OpenAI's list of models, and nothing else of it: no texts are taken in its form."""

    name: ClassVar[str] = "openai"
    summary: ClassVar[str] = "OpenAI's list of models, which gateways look at"

    def router(self, service: Service) -> APIRouter:
        """Return its routes."""
        router, started = APIRouter(), int(time.time())
        about: dict[str, Any] = {"responses": errors("not_found", "unhealthy", "validation", usual=False)}

        def told(name: str) -> Model:
            return Model(id=service.model(name).about.name, created=started)

        @router.get(MODELS, responses=errors("unhealthy", usual=False))
        async def models() -> Models:
            """Which models are served, as OpenAI's API lists them."""
            return Models(data=[told(name) for name in service.names])

        @router.get(MODEL, **about)
        async def model(name: Annotated[str, Path(max_length=64)]) -> Model:
            """One of them."""
            return told(name)

        @router.post("/v1/{rest:path}", include_in_schema=False)
        async def others() -> None:
            raise Problem(
                "not_found",
                "no such path; of OpenAI's there is GET /v1/models, and texts go to POST /predict",
            )

        return router


PROTOCOL = OpenAI()
