"""Who hears of every answer: scores for Prometheus, and whatever else wants to see texts and results.

Listeners are told after the answer, by a thread of their own, so that they cannot delay one. What comes
faster than they take it is dropped and counted, so that it cannot fill the memory either.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from affineur.entities import Entity, LabeledPiece
from affineur.runtime import Evidence, PredictOptions
from affineur.serve import logs
from affineur.serve.metrics import Metrics
from affineur.serve.queue.served import About

#: Answers that may wait to be heard, and characters of their texts.
MOST_ANSWERS, MOST_CHARACTERS = 4096, 20_000_000
#: Characters that each entity or piece counts for beside, and each token that was computed: about its bytes.
_FOUND, _TOKEN = 200, 80
#: Seconds in which answers gather before the thread takes them: waking for each would cost more than that.
_GATHER = 0.05
#: Seconds between two lines of the log about listeners that fail.
_QUIET = 1.0


@dataclass(slots=True)
class RequestFacts:
    """What is known of a request beside its texts; the log tells the same.

    Args:
        id: Its identity: the client's ``x-request-id``, or ours.
        key: Name of the key it showed, where keys are asked for.
        texts: Texts in it.
        tokens: Tokens computed for it.
        queue_ms: Milliseconds before it was computed.
    """

    id: str
    key: str | None = None
    texts: int | None = None
    tokens: int | None = None
    queue_ms: float | None = None

    def told(self) -> dict[str, str | int | float]:
        """Return what the log tells of it, beside its identity: what is known."""
        fields = {"key": self.key, "texts": self.texts, "tokens": self.tokens, "queue_ms": self.queue_ms}
        return {name: value for name, value in fields.items() if value is not None}


class Answered(NamedTuple):
    """One request that was answered.

    Attributes:
        texts: Its texts.
        results: What was found in each, in order: entities, or pieces where those were asked for.
        options: How they were wanted.
        model: What answered.
        seconds: From arrival to result.
        queue_seconds: Of these, before the computation began.
        inference_seconds: Of these, from there to its end.
        tokens: Tokens computed.
        request: What is known of the request, where it came by HTTP or from a queue.
        evidence: Computes what the probabilities of each text say; to call while it is heard.
    """

    texts: Sequence[str]
    results: Sequence[Sequence[Entity] | Sequence[LabeledPiece]]
    options: PredictOptions
    model: About
    seconds: float
    queue_seconds: float
    inference_seconds: float
    tokens: int
    request: RequestFacts | None
    evidence: Callable[[], Sequence[Evidence]]


class AnswerListener(Protocol):
    """Hears of every answer, one after another, never two at a time.

    It may block; it must not change what it is given. What it raises is logged by kind and place, and no
    other listener is kept from hearing. One that has a method ``announce`` is told by it, before the answer
    goes out, of how many texts it is going to hear: that must neither block nor fail.
    """

    def __call__(self, answered: Answered, /) -> None:
        """Hear of an answer."""


class Listeners:
    """Tells listeners of answers, on a thread that begins with the first of them.

    Args:
        listeners: Who is told.
        dropped: Called for each answer that is not told, since too many wait already.
    """

    def __init__(self, listeners: Iterable[AnswerListener], dropped: Callable[[], None]) -> None:
        self._listeners, self._dropped = tuple(listeners), dropped
        self._announced: list[Callable[[int], None]] = [
            each.announce for each in self._listeners if hasattr(each, "announce")
        ]
        self._waiting: deque[Answered] = deque()
        self._characters = 0
        self._lock = threading.Lock()
        self._some, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._complain_next = 0.0

    def tell(self, answered: Answered) -> None:
        """Let listeners hear of an answer soon; returns at once."""
        size = _size(answered)
        for announce in self._announced:
            announce(len(answered.texts))
        with self._lock:
            full = len(self._waiting) >= MOST_ANSWERS or self._characters + size > MOST_CHARACTERS
            if not full:
                self._waiting.append(answered)
                self._characters += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="affineur-listeners", daemon=True)
                self._thread.start()
        if full:
            self._dropped()
        if not self._some.is_set():
            self._some.set()

    def close(self, timeout: float) -> None:
        """Let listeners hear what waits, for so many seconds at most, and end."""
        self._closing.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._closing.wait(_GATHER)
            self._some.clear()
            last = self._closing.is_set()
            while self._waiting:
                with self._lock:
                    answered = self._waiting.popleft()
                    self._characters -= _size(answered)
                for listener in self._listeners:
                    self._let_hear(listener, answered)
            if last:
                return

    def _let_hear(self, listener: AnswerListener, answered: Answered) -> None:
        try:
            listener(answered)
        except Exception:  # whatever is wrong with it, the others must hear, and the thread must live
            if (now := time.monotonic()) >= self._complain_next:
                self._complain_next = now + _QUIET
                logs.fault("listener fault", listener=getattr(listener, "__name__", type(listener).__name__))


def _size(answered: Answered) -> int:
    found = sum(map(len, answered.results))
    return sum(map(len, answered.texts)) + _FOUND * found + _TOKEN * answered.tokens


class Scores:
    """The listener that shows Prometheus the scores of what is found.

    Args:
        metrics: Where they are counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._confidence = metrics.confidence

    def __call__(self, answered: Answered, /) -> None:
        """Count the score of each entity under its label."""
        for found in answered.results:
            for each in found:
                label = each.type if isinstance(each, Entity) else each.label
                self._confidence.labels(label).observe(each.score)
