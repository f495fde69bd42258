"""RunPod: the answers of a queue worker, for its SDK's handler and for the same requests over HTTP."""

from __future__ import annotations

import time
import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from affineur.serve.wire import Request


class RunRequest(BaseModel):
    """A job: what `/predict` takes under `input`."""

    model_config = ConfigDict(extra="ignore", strict=True)

    input: Request
    id: str | None = Field(None, max_length=200)


class RunResponse(BaseModel):
    """A finished job, with times in milliseconds; `output` is what `/predict` answers."""

    model_config = ConfigDict(extra="forbid")

    id: str
    status: str
    delayTime: int | None = None  # noqa: N815
    executionTime: int | None = None  # noqa: N815
    output: Any = None
    error: str | None = None


def completed(job: str | None, output: Any, delay_seconds: float, execution_seconds: float) -> dict[str, Any]:
    """Return the answer to a job that was done."""
    times = {"delayTime": round(1000 * delay_seconds), "executionTime": round(1000 * execution_seconds)}
    return {"id": job or new_id(), "status": "COMPLETED", **times, "output": output}


def failed(job: str | None, message: str) -> dict[str, Any]:
    """Return the answer to a job that was not."""
    return {"id": job or new_id(), "status": "FAILED", "error": message}


def new_id() -> str:
    """Return an identity as RunPod gives them to synchronous jobs."""
    return f"sync-{uuid.UUID(int=(time.time_ns() << 64 | uuid.uuid4().int >> 64) & ((1 << 128) - 1))}"
