"""RunPod: the answers of a queue worker, for its SDK's handler and for the same requests over HTTP."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from affineur.serve import logs
from affineur.serve.exchange import (
    answer_request,
    check_query,
    errors,
    explain,
    find,
    json_response,
    parse_as,
    read_body,
    takes,
)
from affineur.serve.listeners import AnswerListener, RequestFacts
from affineur.serve.metrics import Metrics
from affineur.serve.problems import Problem
from affineur.serve.protocols import Health, HealthCheck, Protocol
from affineur.serve.protocols.huggingface import ModelQuery, Request
from affineur.serve.queue.served import Loader
from affineur.serve.service import Service
from affineur.serve.settings import Settings

RUN, PING = "/runsync", "/ping"

#: From a job, ``{"id": …, "input": …}``, to its output, or to ``{"error": …}``.
Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]

#: RunPod's queue is who limits what waits.
_PATIENT = Settings(
    max_tokens=1 << 40, max_waiting_inputs=1_000_000, max_waiting_tokens=1 << 40, timeout=3600.0
)
#: Problems of the endpoint, not of the job: over HTTP they keep their status, so that a client asks again, or
#: another model.
_NOT_THE_JOBS = frozenset({"not_found", "overloaded", "unhealthy"})


_PLATFORM = "Of RunPod's platform; has no effect here."


class RunRequest(BaseModel):
    """A job; what is wrong with its `input` makes the job fail, and is no error of the request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input: dict[str, Any] = Field(
        description="What `/predict` takes.", examples=[{"inputs": "Marie Duval habite à Paris."}]
    )
    id: str | None = Field(None, max_length=200)
    webhook: str | None = Field(None, description=_PLATFORM)
    policy: dict[str, Any] | None = Field(None, description=_PLATFORM)
    s3Config: dict[str, Any] | None = Field(None, description=_PLATFORM)  # noqa: N815


class RunResponse(BaseModel):
    """A finished job, with times in milliseconds; `output` is what `/predict` answers."""

    model_config = ConfigDict(extra="forbid")

    id: str
    status: Literal["COMPLETED", "FAILED"]
    delayTime: int | None = None  # noqa: N815
    executionTime: int | None = None  # noqa: N815
    output: Any = None
    error: str | None = None


def _ping(health: Health) -> Any:
    """RunPod's health check: 204 while the models are being loaded, then 200."""
    if health.loading:
        return Response(status_code=204)
    health.check_ready()
    return json_response({"status": "ready"})


class RunPod(Protocol):
    """RunPod's queue form over HTTP, and the health check of its load balancer."""

    name: ClassVar[str] = "runpod"
    summary: ClassVar[str] = "RunPod's queue form, and its health check"
    texts: ClassVar[tuple[str, ...]] = (RUN,)
    health: ClassVar[tuple[HealthCheck, ...]] = (
        HealthCheck(
            PING,
            _ping,
            errors("unhealthy", usual=False) | {204: {"description": "The models are being loaded"}},
        ),
    )
    bodies: ClassVar[tuple[type[BaseModel], ...]] = (RunRequest,)

    def router(self, service: Service) -> APIRouter:
        """Return its route."""
        router = APIRouter()

        @router.post(
            RUN,
            response_model=RunResponse,
            response_model_exclude_none=True,
            responses=errors("empty", "not_found", "too_large"),
            openapi_extra=takes(RunRequest),
        )
        async def runsync(request: HttpRequest, model: ModelQuery = None) -> Response:
            """The same in RunPod's queue form: a job that fails is answered too, with its error."""
            check_query(request, "model")
            job = parse(await read_body(request, service))
            try:
                asked = read_input(job.input)
                found, answer = await answer_request(
                    request, service, model, asked.texts, asked.wanted, to_json
                )
            except Problem as problem:
                return json_response(failed(job.id, problem))
            head = to_json(completed(job.id, answer.queue_seconds, answer.inference_seconds))
            body = b'%s,"output":%s}' % (head.removesuffix(b"}"), asked.joined(found))
            return Response(body, media_type="application/json")

        return router


PROTOCOL = RunPod()


def make_handler(
    reference: str, loader: Loader, settings: Settings | None = None, listeners: Sequence[AnswerListener] = ()
) -> Handler:
    """Load a model and return the handler of a queue worker, for ``runpod.serverless.start``.

    Jobs that the SDK runs at once (its ``concurrency_modifier``) share batches.

    Args:
        reference: A model, as the user typed it.
        loader: Loads and proves it.
        settings: Limits of a job; by default nothing is too much, for nobody asks again for a job that fails.
        listeners: Hear of every answer.

    Raises:
        AffineurError: If the model cannot be served.
    """
    service = Service({"ner": reference}, loader, settings or _PATIENT, Metrics(), listeners)
    service.load()

    async def handle(job: Mapping[str, Any]) -> Any:
        try:
            asked = read_input(job.get("input"))
            facts = RequestFacts(str(job.get("id")))
            found, _ = await find(service, None, asked.texts, asked.wanted, facts=facts)
        except Problem as problem:
            return {"error": problem.message}
        except Exception:  # the SDK would send the traceback, file names included, to whoever asked
            logs.fault("fault", id=str(job.get("id")))
            return {"error": "an internal error; the worker's log has it"}
        return asked.shaped(found)

    return handle


def parse(body: bytes) -> RunRequest:
    """Read the envelope of a job that comes over HTTP; see :func:`affineur.serve.exchange.parse_as`."""
    return parse_as(RunRequest, body, '{"input": {"inputs": "texte"}}')


def read_input(value: object) -> Request:
    """Read the input of a job.

    Raises:
        Problem: If it is not of the schema of ``/predict``.
    """
    if not isinstance(value, dict):
        raise Problem("validation", 'input is not an object, expected {"inputs": "texte"}')
    try:
        return Request.model_validate(value)
    except ValidationError as error:
        raise explain(error, Request) from None


def completed(job: str | None, delay_seconds: float, execution_seconds: float) -> dict[str, Any]:
    """Return the answer to a job that was done, without its output."""
    times = {"delayTime": round(1000 * delay_seconds), "executionTime": round(1000 * execution_seconds)}
    return {"id": job or new_id(), "status": "COMPLETED", **times}


def failed(job: str | None, problem: Problem) -> dict[str, Any]:
    """Return the answer to a job that was not; RunPod sends it with status 200.

    Raises:
        Problem: The same, if it is the endpoint's and not the job's.
    """
    if problem.kind in _NOT_THE_JOBS:
        raise problem
    return {"id": job or new_id(), "status": "FAILED", "error": problem.message}


def new_id() -> str:
    """Return an identity as RunPod gives them to synchronous jobs."""
    return f"sync-{uuid.UUID(int=(time.time_ns() << 64 | uuid.uuid4().int >> 64) & ((1 << 128) - 1))}"
