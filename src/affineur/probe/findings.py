"""What a probe of an endpoint found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from affineur.measure.gate import Gate

#: Steps that reach this share of the highest throughput are as fast: what lies above moves with the noise of
#: the machine.
AS_FAST = 0.95


@dataclass(frozen=True, slots=True)
class RampStep:
    """One step of the ramp: ``concurrency`` connections, each asking again as soon as it has its answer.

    Args:
        concurrency: Connections.
        seconds: From the first request to the last answer.
        statuses: Requests by outcome (:class:`~affineur.probe.client.Reply`), such as ``200``, ``429`` or
            ``timeout``.
        requests_per_second: Those that were answered, in a second.
        p50_ms: Median time to an answer, or ``None`` where there was none.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
    """

    concurrency: int
    seconds: float
    statuses: dict[str, int]
    requests_per_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(slots=True)
class Probe:
    """What a probe of an endpoint found.

    Args:
        url: The endpoint.
        data: Name of the texts.
        parameters: What was sent beside the inputs: nothing, unless the server puts no entities together by
            itself.
        expected: Mentions of the known sentences.
        found: Those it found, by type and exact span.
        missed: The others, with their sentence.
        faults: Answers that cannot be true, each once.
        remarks: What is unusual and no fault.
        requests: Requests judged, warm-up aside.
        errors: Those that failed, not counting 429, or whose answer has a fault.
        steps: The ramp, from one connection upwards.
        queue_ms: Median milliseconds in the server's queue at one connection, where it tells.
        inference_ms: Median milliseconds in its model.
        stopped: Why the ramp ended early.
        gone: The error that ended the probe early: the endpoint does not answer any more.
        same: Texts with the same spans as the local model's, of those compared.
        compared: Texts compared with the local model.
        peer: Name of the local model.
        gate: The verdict, where there are bars.
    """

    url: str
    data: str
    parameters: dict[str, Any] = field(default_factory=dict)
    expected: int = 0
    found: int = 0
    missed: list[str] = field(default_factory=list)
    faults: dict[str, None] = field(default_factory=dict)
    remarks: dict[str, None] = field(default_factory=dict)
    requests: int = 0
    errors: int = 0
    steps: list[RampStep] = field(default_factory=list)
    queue_ms: float | None = None
    inference_ms: float | None = None
    stopped: str = ""
    gone: str = ""
    same: int = 0
    compared: int = 0
    peer: str | None = None
    gate: Gate | None = None

    @property
    def capacity(self) -> RampStep | None:
        """The step with the fewest connections that is about as fast as the fastest, if any answered."""
        best = max((step.requests_per_second for step in self.steps), default=0.0)
        return next(
            (step for step in self.steps if best and step.requests_per_second >= AS_FAST * best), None
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the stable keys of ``probe-endpoint --json``."""
        plain = {
            name: getattr(self, name) for name in ("url", "data", "parameters", "expected", "found", "missed")
        }
        top = self.capacity
        return {
            **plain,
            "faults": list(self.faults),
            "remarks": list(self.remarks),
            "requests": self.requests,
            "errors": self.errors,
            "queue_ms": self.queue_ms,
            "inference_ms": self.inference_ms,
            "steps": [asdict(step) for step in self.steps],
            "capacity": top
            and {"concurrency": top.concurrency, "requests_per_second": top.requests_per_second},
            "stopped": self.stopped or self.gone or None,
            "agreement": {"model": self.peer, "same": self.same, "compared": self.compared}
            if self.compared
            else None,
            "passed": self.gate and self.gate.passed,
            "bars": [asdict(verdict) for verdict in self.gate.verdicts] if self.gate else None,
        }
