"""RunPod: the answers of a queue worker, for its SDK's handler and for the same requests over HTTP."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from affineur.serve import logs, wire
from affineur.serve.metrics import Metrics
from affineur.serve.problems import Problem
from affineur.serve.served import Loader
from affineur.serve.service import Service
from affineur.serve.settings import Settings

#: From a job, ``{"id": …, "input": …}``, to its output, or to ``{"error": …}``.
Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]

#: RunPod's queue is who limits what waits.
_PATIENT = Settings(max_waiting_inputs=1_000_000, max_waiting_tokens=1 << 40, timeout=3600.0)
#: Problems of the endpoint, not of the job: over HTTP they keep their status, so that a client asks again, or
#: another model.
_NOT_THE_JOBS = frozenset({"not_found", "overloaded", "unhealthy"})


class RunRequest(BaseModel):
    """A job; what is wrong with its `input` makes the job fail, and is no error of the request."""

    model_config = ConfigDict(extra="ignore", strict=True)

    input: dict[str, Any] = Field(
        description="What `/predict` takes.", examples=[{"inputs": "Marie Duval habite à Paris."}]
    )
    id: str | None = Field(None, max_length=200)


class RunResponse(BaseModel):
    """A finished job, with times in milliseconds; `output` is what `/predict` answers."""

    model_config = ConfigDict(extra="forbid")

    id: str
    status: Literal["COMPLETED", "FAILED"]
    delayTime: int | None = None  # noqa: N815
    executionTime: int | None = None  # noqa: N815
    output: Any = None
    error: str | None = None


def make_handler(reference: str, loader: Loader, settings: Settings | None = None) -> Handler:
    """Load a model and return the handler of a queue worker, for ``runpod.serverless.start``.

    Jobs that the SDK runs at once (its ``concurrency_modifier``) share batches.

    Args:
        reference: A model, as the user typed it.
        loader: Loads and proves it.
        settings: Limits of a job; by default nothing is too much, for nobody asks again for a job that fails.

    Raises:
        AffineurError: If the model cannot be served.
    """
    service = Service({"ner": reference}, loader, settings or _PATIENT, Metrics())
    service.load()

    async def handle(job: Mapping[str, Any]) -> Any:
        try:
            output, _ = await wire.find(service, None, read_input(job.get("input")))
        except Problem as problem:
            return {"error": problem.message}
        except Exception:  # the SDK would send the traceback, file names included, to whoever asked
            logs.fault("fault", id=str(job.get("id")))
            return {"error": "an internal error; the worker's log has it"}
        return output

    return handle


def parse(body: bytes) -> RunRequest:
    """Read the envelope of a job that comes over HTTP; see :func:`affineur.serve.wire.parse_as`."""
    return wire.parse_as(RunRequest, body, '{"input": {"inputs": "texte"}}')


def read_input(value: object) -> wire.Request:
    """Read the input of a job.

    Raises:
        Problem: If it is not of the schema of ``/predict``.
    """
    if not isinstance(value, dict):
        raise Problem("validation", 'input is not an object, expected {"inputs": "texte"}')
    try:
        return wire.Request.model_validate(value)
    except ValidationError as error:
        raise wire.explain(error, wire.Request) from None


def completed(job: str | None, output: Any, delay_seconds: float, execution_seconds: float) -> dict[str, Any]:
    """Return the answer to a job that was done."""
    times = {"delayTime": round(1000 * delay_seconds), "executionTime": round(1000 * execution_seconds)}
    return {"id": job or new_id(), "status": "COMPLETED", **times, "output": output}


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
