"""Work on long texts: on other threads, a portion at a time, so that everybody has a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from affineur.entities import Entity, LabeledPiece
from affineur.runtime import Evidence, Logits, Reading, Window
from affineur.runtime.memory import trim
from affineur.runtime.texts import TextWindow

T = TypeVar("T")

#: What was found in a text.
Found = Sequence[Entity] | Sequence[LabeledPiece]
#: Characters of texts that are worked on in one go; of a single text that is longer, all.
_PORTION = 16_000
#: Threads that work on long texts. All of Python's threads share one processor, so more gain nothing.
_THREADS = 2
#: Seconds between long work and the return of its memory, together with that of others.
_TRIM_AFTER = 1.0


class Turn(Protocol):
    """Lets work be done when it is its turn; raises where it has become vain."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Do it."""


class SideThreads:
    """Threads beside the event loop, so that health checks need not wait for long texts."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="affineur-text")
        self._trimming = False

    async def do(self, work: Callable[[], T]) -> T:
        """Do work after what waits already, and give back its memory soon."""
        self._trim_soon()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _trim_soon(self) -> None:
        def now() -> None:
            self._trimming = False
            with suppress(RuntimeError):  # the endpoint has ended
                self._pool.submit(trim)

        if not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(_TRIM_AFTER, now)

    def close(self) -> None:
        """End; what waits is not done."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Portions:
    """The texts of a request in portions, each read and answered at a turn of its own.

    Args:
        texts: Raw texts.
        turn: Lets a portion be worked on.
    """

    def __init__(self, texts: Sequence[str], turn: Turn) -> None:
        self._texts, self._turn = _cut(texts), turn
        self._readings: list[Reading] = []
        self.tokens = 0

    @property
    def windows(self) -> list[Window | TextWindow]:
        """What has to be computed."""
        return [window for reading in self._readings for window in reading.windows]

    async def read(
        self, read: Callable[[Sequence[str]], Reading], counted: Callable[[int, int], None]
    ) -> None:
        """Cut texts into windows.

        Args:
            read: Cuts some of them.
            counted: Told after each portion how many tokens there are so far, and how many characters are
                left; raises where that is too much.
        """
        left = sum(len(text) for texts in self._texts for text in texts)
        for texts in self._texts:
            reading = await self._turn(partial(read, texts))
            self._readings.append(reading)
            self.tokens += sum(map(len, reading.windows))
            left -= sum(map(len, texts))
            counted(self.tokens, left)

    async def results(
        self, rows: Sequence[Logits], shape: Callable[[str, Found], Any]
    ) -> tuple[list[Found], list[Any]]:
        """Read what was found in each text.

        Args:
            rows: Logits of each window.
            shape: Makes what is answered of a text and what was found in it.

        Returns:
            What was found, and what was made of it, for each text.
        """
        found: list[Found] = []
        shaped: list[Any] = []
        place = 0

        def portion(reading: Reading, texts: Sequence[str], rows: Sequence[Logits]) -> None:
            results = reading.results(rows)
            found.extend(results)
            shaped.extend(map(shape, texts, results))

        for texts, reading in zip(self._texts, self._readings, strict=True):
            end = place + len(reading.windows)
            await self._turn(partial(portion, reading, texts, rows[place:end]))
            place = end
        return found, shaped

    def evidence(self, rows: Sequence[Logits], found: Sequence[Found]) -> list[Evidence]:
        """Say what the probabilities of each text are evidence of.

        Args:
            rows: Logits of each window.
            found: What was found in each text.
        """
        evidence: list[Evidence] = []
        place = 0
        for texts, reading in zip(self._texts, self._readings, strict=True):
            end, done = place + len(reading.windows), len(evidence)
            evidence += reading.evidence(rows[place:end], found[done : done + len(texts)])
            place = end
        return evidence


def _cut(texts: Sequence[str]) -> list[list[str]]:
    portions: list[list[str]] = []
    size = 0
    for text in texts:
        size += len(text)
        if not portions or size > _PORTION:
            portions.append([])
            size = len(text)
        portions[-1].append(text)
    return portions
