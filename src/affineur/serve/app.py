"""The application: protocols, operations and the page over one service, behind the access gate."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, get_type_hints

from fastapi import APIRouter, FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from affineur.errors import AffineurError, one_line
from affineur.serve import operations, page
from affineur.serve.access import AccessGate, Paths
from affineur.serve.exchange import json_response
from affineur.serve.feedback import Feedback, FeedbackRequest, feedback_router
from affineur.serve.keys import Key
from affineur.serve.operations import operations_router
from affineur.serve.parameters import limit_stride
from affineur.serve.problems import Problem, fault
from affineur.serve.protocols import PROTOCOLS, Health, HealthCheck, Protocol
from affineur.serve.service import Service

_DOCS, _OPENAPI = "/docs", "/openapi.json"
_UNDER_DOCS = (f"{_DOCS}/", "/static-offline-docs/")


def create_app(
    service: Service, keys: Callable[[], tuple[Key, ...]] = tuple, feedback: Feedback | None = None
) -> AccessGate:
    """Build the application of a service.

    Args:
        service: Its models.
        keys: Returns the keys that are known.
        feedback: Keeps corrections; without it there is no path for them.

    Raises:
        AffineurError: If a protocol of another package cannot be served.
    """
    app = FastAPIOffline(
        title="Affineur",
        version=version("affineur"),
        description="Token classification: text in, entities out.",
        redoc_url=None,
        docs_url=_DOCS,
        openapi_url=_OPENAPI,
        redirect_slashes=False,  # to whatever Host and scheme came, with the text in clear
    )
    short: dict[str, ASGIApp] = {}
    for name, protocol in PROTOCOLS.all().items():
        routes, quick = _of_protocol(name, protocol, service)
        _add(app, f"the server protocol '{name}'", routes)
        short |= quick
    _add(app, "health checks", _health_routes(Health(service)))
    _add(app, "operations", operations_router(service).routes)
    if feedback is not None:
        _add(app, "feedback", feedback_router(service, feedback).routes)
    _add(app, "the page", page.page_routes())
    _describe(app, service, [operations.ReloadRequest, *([FeedbackRequest] if feedback else [])])
    _add_errors(app)
    return AccessGate(app, service, paths(), keys, short)


def create_health_app(service: Service, still: Callable[[], float]) -> AccessGate:
    """Build the application of a health port: the health checks of the other one, and no path but theirs.

    Nobody needs a key.

    Args:
        service: Whose state is asked for.
        still: Seconds for which the event loop that answers texts has not turned; only another one can tell,
            so only these health checks do.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    _add(app, "health checks", _health_routes(Health(service, still)))
    _add_errors(app)
    return AccessGate(app, service, Paths(health=frozenset(check.path for check in health_checks())))


def health_checks() -> list[HealthCheck]:
    """Return every health check: those of no protocol, then each protocol's."""
    return [*operations.HEALTH, *(check for each in PROTOCOLS.all().values() for check in each.health)]


def paths() -> Paths:
    """Return what the access gate has to know of the paths of the application."""
    return Paths(
        health=frozenset(check.path for check in health_checks()),
        open=frozenset({page.PAGE, _DOCS, _OPENAPI}),
        open_under=(page.UNDER, *_UNDER_DOCS),
        texts=tuple(path for protocol in PROTOCOLS.all().values() for path in protocol.texts),
    )


def _of_protocol(
    name: str, protocol: Protocol, service: Service
) -> tuple[list[BaseRoute], Mapping[str, ASGIApp]]:
    """Return the routes of a protocol, whose code may be anybody's, and its short ways.

    Raises:
        AffineurError: If it fails.
    """
    try:
        return list(protocol.router(service).routes), protocol.short(service)
    except Exception as error:
        raise AffineurError(
            f"the server protocol '{name}' cannot be served ({type(error).__name__}: {one_line(error)}); "
            "mend or uninstall the package that gives it"
        ) from error


def _add(app: FastAPI, what: str, routes: Iterable[BaseRoute]) -> None:
    """Add routes, unless one of them is there already: nobody would ever reach it.

    Raises:
        AffineurError: If it is.
    """
    taken = {place for route in app.routes for place in _places(route)}
    for route in routes:
        if twice := sorted(_places(route) & taken):
            method, path = twice[0]
            raise AffineurError(f"{what} wants {method} {path}, which is taken; give it another path")
        app.router.routes.append(route)


def _places(route: BaseRoute) -> set[tuple[str, str]]:
    methods: set[str] = getattr(route, "methods", None) or set()
    return {(method, str(getattr(route, "path", ""))) for method in methods - {"HEAD"}}


def _health_routes(health: Health) -> list[BaseRoute]:
    router = APIRouter()
    for check in health_checks():
        router.get(check.path, responses=check.responses)(_endpoint(check, health))
    return list(router.routes)


def _endpoint(check: HealthCheck, health: Health) -> Callable[[], Any]:
    async def endpoint() -> Any:
        return check.answer(health)

    endpoint.__name__ = check.answer.__name__.strip("_")
    endpoint.__doc__ = check.answer.__doc__
    endpoint.__annotations__ = {"return": get_type_hints(check.answer)["return"]}
    return endpoint


def _add_errors(app: FastAPI) -> None:
    async def refused(request: HttpRequest, error: Exception) -> Response:
        if isinstance(error, Problem):
            return json_response(error.body(), error.status, error.headers)
        if isinstance(error, HTTPException):
            kind = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "validation")
            said = "no such path" if kind == "not_found" else str(error.detail)
            if kind == "not_found" and len(request.scope["path"]) > 1 and request.scope["path"].endswith("/"):
                said += "; leave out the slash at its end"
            return json_response(Problem(kind, said).body(), error.status_code, error.headers)
        if isinstance(error, RequestValidationError):
            return json_response(
                Problem("validation", "a parameter of the path or the query is not valid").body(), 422
            )
        return json_response(fault().body(), 500)  # and the gate tells the log

    for kind in (Problem, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, refused)


def _describe(app: FastAPI, service: Service, own: Sequence[type[BaseModel]]) -> None:
    """Add the schemas of bodies that routes read themselves, with the limits of this endpoint."""
    plain = app.openapi
    protocols = list(PROTOCOLS.all().values())
    bodies: list[Any] = [
        (body, "validation") for body in (*(body for each in protocols for body in each.bodies), *own)
    ]

    made: dict[int | None, dict[str, Any]] = {}

    def openapi() -> dict[str, Any]:
        strides = [model.tagger.encoder.most_stride for model in service.models.values()]
        stride = min(strides, default=None)
        if stride not in made:  # the models may change, and with them what is possible
            made.clear()
            made[stride] = describe(stride)
        return made[stride]

    def describe(stride: int | None) -> dict[str, Any]:
        schema = copy.deepcopy(plain())  # that one is kept
        _, definitions = models_json_schema(bodies, ref_template="#/components/schemas/{model}")
        schemas = definitions["$defs"]
        for each in protocols:
            each.limit(schemas, service.settings)
        limit_stride(schemas, stride)
        schema["components"]["schemas"].update(schemas)
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{}, {"key": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
