"""The application: routes of every protocol over one service."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib import resources
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from affineur.errors import AffineurError, one_line
from affineur.serve import kserve, runpod, wire
from affineur.serve.gate import Gate
from affineur.serve.keys import Key
from affineur.serve.problems import STATUS, Problem, fault, overloaded
from affineur.serve.served import About
from affineur.serve.service import Answer, Service

#: Loads another artifact under a name, in every worker; returns what serves then, or raises what kept it from
#: it.
Reload = Callable[[str, str], Awaitable[About]]

_VERSION = version("affineur")
#: Whole bodies whose bytes may be in memory before they are requests.
_UNREAD = 16
#: Seconds without a turn after which the event loop of the texts is given no more of them, and after which it
#: is taken for dead.
_SLOW, _STUCK = 5.0, 30.0
_PAGE = {
    "": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_STRICT = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_Model = Annotated[
    str | None, Query(max_length=64, description="Which of several models; the first when not given.")
]
_Name = Annotated[
    str, Path(max_length=64)
]  # FastAPI would take one Path as a default of several for one parameter


class ReloadRequest(BaseModel):
    """Which artifact shall serve."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = Field(None, description="The name it is served under; the first when not given.")
    model: str | None = Field(
        None, max_length=1000, description="A folder or Hub id; the same as before when not given."
    )


def create_app(
    service: Service, keys: Callable[[], tuple[Key, ...]] = tuple, reload: Reload | None = None
) -> Gate:
    """Build the application of a service.

    Args:
        service: Its models.
        keys: Returns the keys that are known.
        reload: Loads another artifact; by default in this process alone.
    """
    app = FastAPIOffline(
        title="Affineur",
        version=_VERSION,
        description="Token classification: text in, entities out.",
        redoc_url=None,
    )
    _add_texts(app, service)
    _add_kserve(app, service)
    _add_probes(app, service)
    _add_operations(app, service, reload or reload_here(service))
    _add_pages(app)
    _describe(app, service)
    _add_errors(app)
    return Gate(app, service, keys, _short_way(service))


def create_probes(service: Service, still: Callable[[], float]) -> Gate:
    """Build the application of a health port: the probes of the other one, and no path but theirs.

    Nobody needs a key.

    Args:
        service: Whose state is asked for.
        still: Seconds for which the event loop that answers texts has not turned; only another one can tell,
            so only these probes do.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    _add_probes(app, service, still)
    _add_errors(app)
    return Gate(app, service, sheds=False)


def _add_errors(app: FastAPI) -> None:
    async def refused(_: HttpRequest, error: Exception) -> Response:
        if isinstance(error, Problem):
            return _json(error.body(), error.status, error.headers)
        if isinstance(error, HTTPException):
            kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "validation")
            return _json(
                {"error": "no such path" if kind == "not_found" else str(error.detail), "error_type": kind},
                error.status_code,
                error.headers,
            )
        if isinstance(error, RequestValidationError):
            return _json(
                Problem("validation", "a parameter of the path or the query is not valid").body(), 422
            )
        return _json(fault().body(), 500)  # and the gate tells the log

    for kind in (Problem, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, refused)


def _short_way(service: Service) -> ASGIApp:
    """Return what answers texts without the framework's way there, which takes longer than reading them."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope, receive, send)
        if any(name != "model" for name in request.query_params):
            raise Problem(
                "validation",
                "unknown entry in the query, expected model; the others go into the body, under parameters",
            )
        response = await _predict(request, service, request.query_params.get("model"))
        await response(scope, receive, send)

    return answer


def reload_here(service: Service) -> Reload:
    """Return what loads another artifact in this process."""

    async def reload(name: str, reference: str) -> About:
        new = await asyncio.get_running_loop().run_in_executor(None, service.prepare, name, reference)
        service.commit(new)
        return new.about

    return reload


def _add_texts(app: FastAPI, service: Service) -> None:
    # The first two are here for the document: the gate answers them by the short way.
    @app.post(
        "/predict",
        response_model=wire.Answer,
        responses=_errors("empty", "not_found", "too_large"),
        openapi_extra=_takes("Request"),
    )
    async def entities(request: HttpRequest, model: _Model = None) -> Response:
        """Find the entities of a text, or of a list of texts, by Hugging Face's token-classification schema."""
        return await _predict(request, service, model)

    @app.post(
        "/",
        response_model=wire.Answer,
        responses=_errors("empty", "not_found", "too_large"),
        openapi_extra=_takes("Request"),
    )
    async def root(request: HttpRequest, model: _Model = None) -> Response:
        """The same as `/predict`."""
        return await _predict(request, service, model)

    @app.post(
        "/runsync",
        response_model=runpod.RunResponse,
        response_model_exclude_none=True,
        responses=_errors("empty", "not_found", "too_large"),
        openapi_extra=_takes("RunRequest"),
    )
    async def runsync(request: HttpRequest, model: _Model = None) -> Response:
        """The same in the form of RunPod's queue workers: a job that fails is answered too, with its error."""
        job = runpod.parse(await _body(request, service))
        try:
            shown, answer = await _found(request, service, model, runpod.read_input(job.input))
        except Problem as problem:
            return _json(runpod.failed(job.id, problem))
        return _json(runpod.completed(job.id, shown, answer.queue_seconds, answer.inference_seconds))


def _add_kserve(app: FastAPI, service: Service) -> None:
    infer_errors = _errors("not_found", "too_large") | {
        400: {"model": wire.Error, "description": "Not a request of the protocol"}
    }

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        """What this server is."""
        return {"name": "affineur", "version": _VERSION, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/models/{name}", responses=_errors("not_found", "unhealthy", "validation", usual=False))
    async def model(name: _Name) -> dict[str, Any]:
        """What a model takes and gives."""
        return kserve.metadata(name, str(service.model(name).about.version))

    @app.get(
        "/v2/models/{name}/ready", responses=_errors("not_found", "unhealthy", "validation", usual=False)
    )
    async def model_ready(name: _Name) -> dict[str, Any]:
        """Whether a model answers."""
        return {"name": service.model(name).about.name, "ready": True}

    async def run(request: HttpRequest, name: str) -> Response:
        service.model(name)
        body = await _body(request, service)
        sent, texts, parameters = kserve.parse(body, request.headers.get(kserve.HEADER))
        asked = wire.Request.model_construct(inputs=texts, parameters=parameters)
        shown, answer = await _found(request, service, name, asked)
        content, headers = kserve.respond(sent, name, str(answer.model.about.version), shown)
        return Response(content, headers={**headers, **_times(answer)})

    @app.post(
        "/v2/models/{name}/infer",
        response_model=kserve.InferResponse,
        responses=infer_errors,
        openapi_extra=_takes("InferRequest"),
    )
    async def infer(request: HttpRequest, name: _Name) -> Response:
        """Find the entities of texts, by KServe's Open Inference Protocol."""
        return await run(request, name)

    @app.post(
        "/v2/models/{name}/versions/{version}/infer",
        response_model=kserve.InferResponse,
        responses=infer_errors,
        openapi_extra=_takes("InferRequest"),
    )
    async def infer_version(request: HttpRequest, name: _Name, version: _Name) -> Response:
        """The same, where the version that answers must be this one."""
        if str(service.model(name).about.version) != version:
            raise Problem("not_found", f"no such version, expected {service.model(name).about.version}")
        return await run(request, name)


def _add_probes(app: FastAPI, service: Service, still: Callable[[], float] = lambda: 0.0) -> None:
    unhealthy = _errors("unhealthy", usual=False)

    async def ready() -> dict[str, str]:
        """Whether every model answers."""
        _be_ready(service)
        _be_turning(still(), _SLOW)
        return {"status": "ready"}

    for path in ("/health", "/health/ready"):
        app.get(path, responses=unhealthy)(ready)

    @app.get("/v2/health/ready", responses=unhealthy)
    async def ready_v2() -> dict[str, bool]:
        """Whether every model answers."""
        _be_ready(service)
        _be_turning(still(), _SLOW)
        return {"ready": True}

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process answers."""
        _be_turning(still(), _STUCK)
        return {"status": "live"}

    @app.get("/v2/health/live")
    async def live_v2() -> dict[str, bool]:
        """Whether the process answers."""
        _be_turning(still(), _STUCK)
        return {"live": True}

    @app.get("/ping", responses=unhealthy | {204: {"description": "The models are being loaded"}})
    async def ping() -> Response:
        """RunPod's probe: 204 while the models are being loaded, then 200."""
        if service.draining:
            raise Problem("unhealthy", "the endpoint is stopping")
        if not service.ready:
            return Response(status_code=204)
        _be_turning(still(), _SLOW)
        return _json({"status": "ready"})


def _add_operations(app: FastAPI, service: Service, reload: Reload) -> None:
    @app.get("/info")
    async def info() -> dict[str, Any]:
        """What is served, and within which limits."""
        return {
            "version": _VERSION,
            "models": [asdict(m.about) for m in list(service.models.values())],
            "limits": asdict(service.settings),
        }

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Figures for Prometheus."""
        text, kind = service.metrics.text()
        return Response(text, headers={"content-type": kind})

    @app.post(
        "/admin/reload",
        responses=_errors("forbidden", "not_found", "too_large"),
        openapi_extra=_takes("ReloadRequest"),
    )
    async def reload_model(request: HttpRequest) -> dict[str, Any]:
        """Verify and load another artifact, then let it serve; the one before stays if that fails.

        Needs an admin's key.
        """
        body = await _body(request, service)
        wanted = wire.parse_as(ReloadRequest, body.strip() or b"{}", "{}")
        name = service.model(wanted.name).about.name
        try:
            return {"model": asdict(await reload(name, wanted.model or service.references[name]))}
        except (AffineurError, OSError, ValueError) as error:  # names that no file can have are among them
            raise Problem("backend", f"{one_line(error)}; the artifact before it still serves") from None


def _add_pages(app: FastAPI) -> None:
    async def to_page(_: HttpRequest) -> Response:
        return RedirectResponse("ui")

    app.add_route("/", to_page, methods=["GET"])
    folder = resources.files("affineur.serve") / "page"
    for path, (name, kind) in _PAGE.items():
        text = (folder / name).read_bytes()

        async def page(text: bytes = text, kind: str = kind) -> Response:
            return Response(text, media_type=kind, headers=_STRICT | {"Cache-Control": "no-cache"})

        # A function of its own, for FastAPI would take the defaults for parameters.
        app.add_route(f"/ui{path}", _without_parameters(page), methods=["GET"])


def _without_parameters(
    page: Callable[[], Awaitable[Response]],
) -> Callable[[HttpRequest], Awaitable[Response]]:
    async def show(_: HttpRequest) -> Response:
        return await page()

    return show


async def _predict(request: HttpRequest, service: Service, model: str | None) -> Response:
    asked = wire.parse(await _body(request, service))
    shown, answer = await _found(request, service, model, asked)
    texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
    return await service.aside(texts, lambda: _json(shown, headers=_times(answer)))


async def _found(
    request: HttpRequest, service: Service, model: str | None, asked: wire.Request
) -> tuple[Any, Answer]:
    """Answer a request: what goes over the wire, and how it came about."""
    shown, answer = await wire.find(service, model, asked, lambda: _gone(request))
    texts = 1 if isinstance(asked.inputs, str) else len(asked.inputs)
    request.scope["affineur"] = {
        "texts": texts,
        "tokens": answer.tokens,
        "queue_ms": round(1000 * answer.queue_seconds, 1),
    }
    return shown, answer


async def _body(request: HttpRequest, service: Service) -> bytes:
    """Read a body up to the limit, whether its length was told before or not.

    Raises:
        Problem: 408, 413, or 429 where bodies that have not come yet hold too much memory.
    """
    most = service.settings.max_body_bytes
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > most:
        raise _too_large(most)
    parts, size = [], 0
    try:
        async with asyncio.timeout(service.settings.body_seconds):
            async for part in request.stream():
                size += len(part)
                service.unread += len(part)
                if size > most:
                    raise _too_large(most)
                if service.unread > _UNREAD * most:
                    raise overloaded("too many bodies are being read", 1.0)
                parts.append(part)
    except TimeoutError:
        late = f"the body did not come within {service.settings.body_seconds:g} seconds"
        raise Problem("validation", late, {"Connection": "close"}, status=408) from None
    finally:
        service.unread -= size
    return b"".join(parts)


def _too_large(most: int) -> Problem:
    return Problem(
        "too_large",
        f"a body of more than {most} bytes; send fewer or shorter texts in a request",
        {"Connection": "close"},
    )


async def _gone(request: HttpRequest) -> None:
    """Wait until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _be_ready(service: Service) -> None:
    if not service.ready:
        raise Problem(
            "unhealthy",
            "the endpoint is stopping" if service.draining else "the models are being loaded",
            {"Retry-After": "1"},
        )


def _be_turning(still: float, bound: float) -> None:
    if still > bound:
        raise Problem("unhealthy", "the endpoint answers probes, but does not read requests any more")


def _times(answer: Answer) -> dict[str, str]:
    return {
        "x-queue-time": f"{1000 * answer.queue_seconds:.3f}",
        "x-inference-time": f"{1000 * answer.inference_seconds:.3f}",
    }


def _json(value: Any, status: int = 200, headers: Any = None) -> Response:
    return Response(to_json(value), status, media_type="application/json", headers=headers)


def _errors(*kinds: str, usual: bool = True) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route; the usual ones are those of every route that takes texts."""
    told = (*kinds, "unauthorized", "validation", "backend", "overloaded", "unhealthy") if usual else kinds
    return {
        STATUS[kind]: {"model": wire.Error, "description": kind.replace("_", " ").capitalize()}
        for kind in told
    }


def _takes(model: str) -> dict[str, Any]:
    """Describe the body of a route that reads it itself, within the limit and without a second parser."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}},
        }
    }


def _describe(app: FastAPI, service: Service) -> None:
    """Add the schemas of bodies that routes read themselves, with the limits of this endpoint and its models."""
    plain = app.openapi
    bodies: list[Any] = [
        (model, "validation")
        for model in (wire.Request, kserve.InferRequest, runpod.RunRequest, ReloadRequest)
    ]

    def openapi() -> dict[str, Any]:
        schema = copy.deepcopy(plain())  # that one is kept, and the models may change
        _, definitions = models_json_schema(bodies, ref_template="#/components/schemas/{model}")
        strides = [model.tagger.encoder.most_stride for model in service.models.values()]
        wire.tell_limits(definitions["$defs"], service.settings, min(strides, default=None))
        schema["components"]["schemas"].update(definitions["$defs"])
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{}, {"key": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
