"""What operators ask: health checks, what is served, figures, another artifact."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from affineur.errors import AffineurError, one_line
from affineur.serve.exchange import errors, parse_as, read_body, takes
from affineur.serve.problems import Problem
from affineur.serve.protocols import Health, HealthCheck
from affineur.serve.queue.served import About
from affineur.serve.service import Service
from affineur.serve.threads import apart

INFO, METRICS, RELOAD = "/info", "/metrics", "/admin/reload"
#: Seconds between two looks whether the endpoint ends while an artifact is loaded.
_LOOK = 0.2


class ReloadRequest(BaseModel):
    """Which artifact shall serve."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = Field(None, description="The name it is served under; the first when not given.")
    model: str | None = Field(
        None,
        max_length=4000,
        description="A folder, a Hub id, or a folder at a place; the same as before when not given.",
    )


def _ready(health: Health) -> dict[str, str]:
    """Whether every model answers."""
    health.check_ready()
    return {"status": "ready"}


def _live(health: Health) -> dict[str, str]:
    """Whether the process answers."""
    health.check_live()
    return {"status": "live"}


#: Health checks of no protocol.
HEALTH = (
    HealthCheck("/health", _ready, errors("unhealthy", usual=False)),
    HealthCheck("/health/ready", _ready, errors("unhealthy", usual=False)),
    HealthCheck("/health/live", _live),
)


def operations_router(service: Service) -> APIRouter:
    """Return the routes of operators, health checks aside.

    Args:
        service: Whose models serve.
    """
    router = APIRouter()

    @router.get(INFO)
    async def info() -> dict[str, Any]:
        """What is served, and within which limits."""
        return {
            "version": version("affineur"),
            "models": [asdict(model.about) for model in list(service.models.values())],
            "limits": asdict(service.settings),
        }

    @router.get(METRICS, response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Figures for Prometheus."""
        text, kind = service.metrics.text()
        return Response(text, headers={"content-type": kind})

    @router.post(
        RELOAD,
        responses=errors("forbidden", "not_found", "too_large", "unhealthy"),
        openapi_extra=takes(ReloadRequest),
    )
    async def reload_model(request: HttpRequest) -> dict[str, Any]:
        """Verify and load another artifact, then let it serve; the one before stays if that fails.

        Needs an admin's key.
        """
        body = await read_body(request, service)
        wanted = parse_as(ReloadRequest, body.strip() or b"{}", "{}")
        name = service.model(wanted.name).about.name
        try:
            reference = wanted.model or service.references[name]
            return {"model": asdict(await reload(service, name, reference, request.is_disconnected))}
        except (AffineurError, OSError, ValueError) as error:  # names that no file can have are among them
            if service.draining:
                raise Problem("unhealthy", "the endpoint is stopping") from None
            raise Problem("backend", f"{one_line(error)}; the artifact before it still serves") from None

    return router


async def reload(
    service: Service, name: str, reference: str, gone: Callable[[], Awaitable[bool]] | None = None
) -> About:
    """Verify and load another artifact under a name, then let it serve; one reload at a time.

    Args:
        service: Whose model it is.
        name: Its name.
        reference: The other artifact.
        gone: Says whether whoever asked has gone away meanwhile: then nothing is loaded.

    Raises:
        AffineurError: If it cannot be used, or nobody waits for it; the one before serves then.
    """
    async with service.reloading:
        if service.draining or (gone is not None and await gone()):
            raise AffineurError("nobody waits for this artifact any more")
        # what has begun is ended, whoever goes away: else a loaded model would be left to nobody
        loading = asyncio.ensure_future(_load(service, name, reference))
        loading.add_done_callback(lambda done: done.cancelled() or done.exception())  # it has been looked at
        while not (await asyncio.wait({loading}, timeout=_LOOK))[0]:
            if service.draining:
                raise AffineurError("the endpoint is stopping")
        return loading.result()


async def _load(service: Service, name: str, reference: str) -> About:
    new = await apart(lambda: service.prepare(name, reference))
    service.commit(new)
    return new.about
