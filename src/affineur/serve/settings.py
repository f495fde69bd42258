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
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise _impossible(name, getattr(self, name), "more than 0")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise _impossible(name, getattr(self, name), "0 or more")
        if self.max_waiting_tokens is not None and self.max_waiting_tokens < 1:
            raise _impossible("max_waiting_tokens", self.max_waiting_tokens, "at least 1")
        if self.max_inputs > self.max_waiting_inputs:
            raise ParameterError(
                f"max_inputs={self.max_inputs} texts in a request, but only "
                f"max_waiting_inputs={self.max_waiting_inputs} may wait: it could never be granted",
                "max_inputs",
            )


_POSITIVE = (
    "max_inputs",
    "max_characters",
    "max_tokens",
    "max_body_bytes",
    "max_waiting_inputs",
    "queue_seconds",
    "timeout",
    "body_seconds",
)
_NOT_NEGATIVE = ("batch_wait", "age", "drain")


def _impossible(name: str, value: float, expected: str) -> ParameterError:
    return ParameterError(f"{name}={value} is impossible, expected {expected}", name)
