"""Load on an endpoint: a closed loop, an open loop, a burst, and health probes from a process of their own. Used by ``serving.py``."""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import random
import statistics
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp


@dataclass
class Seen:
    """What clients saw: seconds of each answer, by the kind of its request; and what it cost the client's process."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    wall: float = 0.0
    client_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.statuses["200"] / self.wall

    def percentiles(self, kind: int = 0) -> tuple[float, float, float]:
        """p50, p95 and p99 in milliseconds."""
        cuts = statistics.quantiles(self.seconds[kind], n=100, method="inclusive")
        return 1000 * cuts[49], 1000 * cuts[94], 1000 * cuts[98]


def bodies(texts: Sequence[str]) -> list[bytes]:
    """Return the bodies of requests for texts."""
    return [json.dumps({"inputs": text}).encode() for text in texts]


def closed(url: str, texts: Sequence[str], clients: int, seconds: float) -> Seen:
    """Let clients ask one after another without a pause."""
    requests = bodies(texts)

    async def run(session: aiohttp.ClientSession, seen: Seen) -> None:
        end = time.perf_counter() + seconds
        turn = iter(range(1 << 60))

        async def client() -> None:
            while time.perf_counter() < end:
                await _ask(session, url, requests[next(turn) % len(requests)], seen, time.perf_counter())

        await asyncio.gather(*(client() for _ in range(clients)))

    return _measured(run)


def open_loop(url: str, kinds: Sequence[Sequence[str]], rates: Sequence[float], seconds: float, seed: int = 13) -> Seen:
    """Let requests of several kinds arrive at random (Poisson); each is timed from when it should have been sent."""
    rng = random.Random(seed)
    arrivals = []
    for kind, (texts, rate) in enumerate(zip(kinds, rates, strict=True)):
        requests, at, number = bodies(texts), rng.expovariate(rate), 0
        while at < seconds:
            arrivals.append((at, kind, requests[number % len(requests)]))
            at += rng.expovariate(rate)
            number += 1
    arrivals.sort(key=lambda arrival: arrival[0])

    async def run(session: aiohttp.ClientSession, seen: Seen) -> None:
        start = time.perf_counter()
        tasks = []
        for at, kind, body in arrivals:
            if (pause := start + at - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(_ask(session, url, body, seen, start + at, kind)))
        await asyncio.gather(*tasks)

    return _measured(run)


def burst(url: str, texts: Sequence[str], count: int) -> Seen:
    """Send many requests at once, each on a connection of its own."""
    requests = bodies(texts)

    async def run(session: aiohttp.ClientSession, seen: Seen) -> None:
        start = time.perf_counter()
        await asyncio.gather(*(_ask(session, url, requests[i % len(requests)], seen, start) for i in range(count)))

    return _measured(run)


class Health:
    """Asks a health path every 20 ms, from a process of its own, while a block runs; then ``seconds`` has every answer's time."""

    def __init__(self, url: str, path: str = "/health/live") -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port, path)

    def __enter__(self) -> Health:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_ask_health, args=(*self._target, theirs))
        self._process.start()
        self._ours.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.send("stop")
        self.seconds, self.failures = self._ours.recv()
        self._process.join()

    @property
    def p99(self) -> float:
        """The 99th percentile in milliseconds."""
        return 1000 * statistics.quantiles(self.seconds, n=100, method="inclusive")[98]


def _ask_health(host: str, port: int, path: str, pipe: Any) -> None:
    seconds, failures = [], 0
    pipe.send("ready")
    while not pipe.poll(0.02):
        start = time.perf_counter()
        try:
            connection = http.client.HTTPConnection(host, port, timeout=10)  # as probes do: a connection each
            connection.request("GET", path)
            failures += connection.getresponse().status != 200
            connection.close()
        except OSError:
            failures += 1
        seconds.append(time.perf_counter() - start)
    pipe.send((seconds, failures))


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes, seen: Seen, start: float, kind: int = 0) -> None:
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            await response.read()
            status = str(response.status)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        status = type(error).__name__
    seen.statuses[status] += 1
    if status == "200":
        seen.seconds.setdefault(kind, []).append(time.perf_counter() - start)


def _measured(run: Any) -> Seen:
    seen = Seen()

    async def session() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
            start, cpu = time.perf_counter(), time.process_time()
            work: Coroutine[Any, Any, None] = run(session, seen)
            await work
            seen.wall, seen.client_cpu = time.perf_counter() - start, time.process_time() - cpu

    asyncio.run(session())
    return seen
