"""KServe's Open Inference Protocol V2 over HTTP, with the binary tensors that ``tritonclient`` sends."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib.metadata import version as installed_version
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Path
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import BaseModel

from affineur.serve.exchange import (
    Error,
    answer_request,
    check_query,
    check_values,
    errors,
    read_body,
    takes,
    times,
)
from affineur.serve.problems import Problem
from affineur.serve.protocols import Health, HealthCheck, Protocol
from affineur.serve.protocols._kserve_bodies import (
    HEADER,
    INPUT,
    OUTPUT,
    InferRequest,
    InferResponse,
    parse,
    respond,
    split,
)
from affineur.serve.service import Service

SERVER, SERVER_SLASH, MODELS = "/v2", "/v2/", "/v2/models"
MODEL = f"{MODELS}/{{name}}"
VERSION = f"{MODEL}/versions/{{version}}"
INFER, INFER_VERSION = f"{MODEL}/infer", f"{VERSION}/infer"
LIVE, READY = "/v2/health/live", "/v2/health/ready"
# FastAPI would take one Path as a default of several for one parameter.
_Name = Annotated[str, Path(max_length=64)]
_EITHER = ("GET", "POST")
#: Of the protocol's extensions by Triton: what is not here, what to do instead, methods and paths.
_NOT_HERE: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "statistics": ("GET /metrics has figures", ("GET",), (f"{MODEL}/stats", f"{VERSION}/stats")),
    "model repository": (
        "GET /v2/models lists the models, and POST /admin/reload changes one",
        ("POST",),
        ("/v2/repository/index", *(f"/v2/repository/models/{{name}}/{verb}" for verb in ("load", "unload"))),
    ),
    "shared memory": (
        "tensors come in the body",
        _EITHER,
        tuple(f"/v2/{kind}sharedmemory/{{rest:path}}" for kind in ("system", "cuda")),
    ),
    "trace": (
        "the log has a line for each request",
        _EITHER,
        ("/v2/trace/setting", f"{MODEL}/trace/setting"),
    ),
    "logging": ("the log is as affineur serve was told", _EITHER, ("/v2/logging",)),
    "generate": (
        "entities are found by POST to infer",
        ("POST",),
        tuple(f"{path}/generate{kind}" for path in (MODEL, VERSION) for kind in ("", "_stream")),
    ),
}


def _live(health: Health) -> dict[str, bool]:
    """Whether the process answers."""
    health.check_live()
    return {"live": True}


def _ready(health: Health) -> dict[str, bool]:
    """Whether every model answers."""
    health.check_ready()
    return {"ready": True}


class KServe(Protocol):
    """KServe's Open Inference Protocol, version 2."""

    name: ClassVar[str] = "kserve"
    summary: ClassVar[str] = "KServe's Open Inference Protocol V2, JSON or binary tensors"
    texts: ClassVar[tuple[str, ...]] = (INFER, INFER_VERSION)
    health: ClassVar[tuple[HealthCheck, ...]] = (
        HealthCheck(READY, _ready, errors("unhealthy", usual=False)),
        HealthCheck(LIVE, _live),
    )
    bodies: ClassVar[tuple[type[BaseModel], ...]] = (InferRequest,)

    def router(self, service: Service) -> APIRouter:
        """Return its routes."""
        router = APIRouter()
        about = errors("not_found", "unhealthy", "validation", usual=False)
        infers: dict[str, Any] = {
            "response_model": InferResponse,
            "responses": errors("not_found", "too_large")
            | {400: {"model": Error, "description": "Not a request of the protocol"}},
            "openapi_extra": takes(InferRequest),
        }

        @router.get(SERVER)
        @router.get(SERVER_SLASH)
        async def server() -> dict[str, Any]:
            """What this server is."""
            return {
                "name": "affineur",
                "version": installed_version("affineur"),
                "extensions": ["binary_tensor_data", "model_configuration"],
            }

        @router.get(MODELS)
        async def models() -> dict[str, list[str]]:
            """Which models are served."""
            return {"models": service.names}

        @router.get(MODEL, responses=about)
        async def model(name: _Name) -> dict[str, Any]:
            """What a model takes and gives."""
            if name == "stats" and name not in service.references:  # Triton's, of all models
                raise _not_here("statistics")
            return metadata(name, _version(service, name))

        @router.get(VERSION, responses=about)
        async def model_version(name: _Name, version: _Name) -> dict[str, Any]:
            """The same, where the version that answers must be this one."""
            return metadata(name, _version(service, name, version))

        @router.get(f"{MODEL}/ready", responses=about)
        async def model_ready(name: _Name) -> dict[str, Any]:
            """Whether a model answers."""
            _version(service, name)
            return {"name": name, "ready": True}

        @router.get(f"{VERSION}/ready", responses=about)
        async def model_version_ready(name: _Name, version: _Name) -> dict[str, Any]:
            """The same, where the version that answers must be this one."""
            _version(service, name, version)
            return {"name": name, "ready": True}

        @router.get(f"{MODEL}/config", responses=about)
        async def model_config(name: _Name) -> dict[str, Any]:
            """What a model takes and gives, in the form of Triton's model configuration."""
            _version(service, name)
            return configuration(name)

        @router.get(f"{VERSION}/config", responses=about)
        async def model_version_config(name: _Name, version: _Name) -> dict[str, Any]:
            """The same, where the version that answers must be this one."""
            _version(service, name, version)
            return configuration(name)

        @router.post(INFER, **infers)
        async def infer(request: HttpRequest, name: _Name) -> Response:
            """Find the entities of texts, by KServe's Open Inference Protocol."""
            return await _infer(request, service, name)

        @router.post(INFER_VERSION, **infers)
        async def infer_version(request: HttpRequest, name: _Name, version: _Name) -> Response:
            """The same, where the version that answers must be this one."""
            return await _infer(request, service, name, version)

        for extension, (_, methods, places) in _NOT_HERE.items():
            for place in places:
                router.add_api_route(
                    place, _refuser(extension), methods=list(methods), include_in_schema=False
                )
        return router


PROTOCOL = KServe()


def _refuser(extension: str) -> Callable[[], Awaitable[None]]:
    async def refuse() -> None:
        raise _not_here(extension)

    return refuse


def _not_here(extension: str) -> Problem:
    return Problem(
        "not_found", f"the protocol's {extension} extension is not here; {_NOT_HERE[extension][0]}"
    )


def _version(service: Service, name: str, version: str | None = None) -> str:
    """Return the version of a model that answers.

    Raises:
        Problem: 404 if there is no such model, or that is another one; 503 while it is being loaded.
    """
    known = str(service.model(name).about.version)
    if version not in (None, known):
        raise Problem("not_found", f"no such version, expected {known}")
    return known


async def _infer(request: HttpRequest, service: Service, name: str, version: str | None = None) -> Response:
    _version(service, name, version)
    check_query(request, status=400)
    body = await read_body(request, service, json=False)
    await check_values(split(body, request.headers.get(HEADER))[0], service)
    sent, texts, parameters = parse(body, request.headers.get(HEADER), service.settings.max_inputs)
    found, answer = await answer_request(request, service, name, texts, parameters, _text)
    content, headers = respond(sent, name, str(answer.model.about.version), found)
    return Response(content, headers={**headers, **times(answer)})


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def metadata(model: str, version: str) -> dict[str, Any]:
    """Return what ``GET /v2/models/NAME`` tells."""
    return {
        "name": model,
        "versions": [version],
        "platform": "affineur_token_classification",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": OUTPUT, "datatype": "BYTES", "shape": [-1, 1]}],
    }


def configuration(model: str) -> dict[str, Any]:
    """Return what ``GET /v2/models/NAME/config`` tells, as Triton's model configuration has it."""
    told = metadata(model, "")
    sides = {
        side.removesuffix("s"): [
            {"name": tensor["name"], "data_type": "TYPE_STRING", "dims": tensor["shape"]}
            for tensor in told[side]
        ]
        for side in ("inputs", "outputs")
    }
    return {
        "name": model,
        "platform": told["platform"],
        "backend": "affineur",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,  # the first of its dimensions is the batch
        **sides,
    }
