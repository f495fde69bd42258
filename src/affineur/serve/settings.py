"""What an endpoint takes, and how long anybody waits."""

from __future__ import annotations

from dataclasses import dataclass

from affineur.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits of an endpoint.

    Args:
        max_inputs: Texts in one request.
        max_characters: Characters (code points) in one text; longer ones than a window are cut into
            overlapping windows.
        max_tokens: Tokens in one request, where windows overlap counted twice; fewer where more could not be
            computed within :attr:`work_seconds`.
        max_body_bytes: Bytes of a request's body, chunked or not.
        max_waiting_inputs: Texts accepted and not yet answered, of all requests: each takes a permit.
        max_waiting_tokens: Tokens accepted and not yet answered; ``None`` for what ``queue_seconds`` are
            enough for.
        queue_seconds: Work that may wait, by the speed measured at start.
        timeout: Seconds after which a request that still waits is dropped.
        batch_wait: Seconds that an idle engine waits for a batch to fill.
        age: Seconds by which a text of a whole window may be overtaken by shorter ones that came later; 0 for
            first come, first served.
        by_length: Whether texts of about the same length are computed together.
        body_seconds: Seconds within which a body must have come.
        drain: Seconds between the signal to stop, when readiness ends, and the end of accepting.

    Raises:
        ParameterError: If a limit is impossible.
    """

    max_inputs: int = 256
    max_characters: int = 100_000
    max_tokens: int = 200_000
    max_body_bytes: int = 4_000_000
    max_waiting_inputs: int = 1024
    max_waiting_tokens: int | None = None
    queue_seconds: float = 4.0
    timeout: float = 30.0
    batch_wait: float = 0.001
    age: float = 0.5
    by_length: bool = True
    body_seconds: float = 10.0
    drain: float = 1.0

    @property
    def work_seconds(self) -> float:
        """Seconds of computing that one request may ask for, and nobody else does, at most.

        Its windows leave half of the engine to others; what waits already is computed before the last of
        them. So it is done in time, whatever comes after it.
        """
        return max(self.timeout - self.queue_seconds, self.timeout / 2) / 2

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ParameterError(f"{name}={value} is impossible, expected {least:g} to {most}", name)
        if self.max_inputs > self.max_waiting_inputs:
            raise ParameterError(
                f"max_inputs={self.max_inputs} texts in a request, but only "
                f"max_waiting_inputs={self.max_waiting_inputs} may wait: it could never be granted",
                "max_inputs",
            )


_MANY, _DAY = 1 << 40, 86_400
#: The least and the most that each limit may be.
LIMITS: dict[str, tuple[float, float]] = {
    "max_inputs": (1, 1_000_000),
    "max_characters": (1, 1_000_000_000),
    "max_tokens": (1, _MANY),
    "max_body_bytes": (1, 1_000_000_000),
    "max_waiting_inputs": (1, 10_000_000),
    "max_waiting_tokens": (1, _MANY),
    "queue_seconds": (0.001, _DAY),
    "timeout": (0.001, _DAY),
    "batch_wait": (0, 60),
    "age": (0, _DAY),
    "body_seconds": (0.001, _DAY),
    "drain": (0, _DAY),
}
