"""Load on an endpoint: a closed loop, an open loop, a burst, and health checks from a process of their own.
Used by ``serving.py``.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import random
import socket
import statistics
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import uvloop

from affineur.errors import AffineurError


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_ready(process: subprocess.Popen[Any], url: str, seconds: float = 180) -> None:
    """Wait until a URL of a process that was started answers.

    Raises:
        AffineurError: If the process ends before, or that takes too long.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    raise AffineurError(f"{' '.join(map(str, process.args[:5]))} … does not become ready")


@dataclass
class Seen:
    """What clients saw: seconds of each answer, by the kind of its request; and what it cost the client's
    process.
    """

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

    def line(self, kind: int = 0) -> str:
        """The percentiles, to print."""
        return "p50 {:.0f}, p95 {:.0f}, p99 {:.0f} ms".format(*self.percentiles(kind))


def together(several: Sequence[Seen]) -> Seen:
    """Put what was seen in several rounds together."""
    whole = Seen()
    for seen in several:
        whole.statuses += seen.statuses
        for kind, seconds in seen.seconds.items():
            whole.seconds.setdefault(kind, []).extend(seconds)
    return whole


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


def open_loop(
    url: str, kinds: Sequence[Sequence[str]], rates: Sequence[float], seconds: float, seed: int = 13
) -> Seen:
    """Let requests of several kinds arrive at random (Poisson); each is timed from when it should have been
    sent.
    """
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
        await asyncio.gather(
            *(_ask(session, url, requests[i % len(requests)], seen, start) for i in range(count))
        )

    return _measured(run)


class Health:
    """Asks a health path every 20 ms, answered or not, from a process of its own, while a block runs;
    ``seconds`` has what each took.
    """

    def __init__(self, url: str, path: str = "/health/live") -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port, path)

    def __enter__(self) -> Health:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_ask_health, args=(*self._target, theirs)
        )
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

    def line(self) -> str:
        """What was seen, to print."""
        failures = f"{self.failures} failures of {len(self.seconds)}"
        return f"p99 {self.p99:.0f} ms, at most {1000 * max(self.seconds):.0f} ms, {failures}"


def _ask_health(host: str, port: int, path: str, pipe: Any) -> None:
    def ask(due: float) -> tuple[float, bool]:
        try:
            # As orchestrators do: a connection each.
            connection = http.client.HTTPConnection(host, port, timeout=10)
            connection.request("GET", path)
            failed = connection.getresponse().status != 200
            connection.close()
        except OSError:
            failed = True
        return time.perf_counter() - due, failed

    with ThreadPoolExecutor(64) as pool:
        asked, start = [], time.perf_counter()
        pipe.send("ready")
        while not pipe.poll(max(0.0, start + 0.02 * len(asked) - time.perf_counter())):
            asked.append(pool.submit(ask, start + 0.02 * len(asked)))
        answers = [each.result() for each in asked]
    pipe.send(([seconds for seconds, _ in answers], sum(failed for _, failed in answers)))


async def _ask(
    session: aiohttp.ClientSession, url: str, body: bytes, seen: Seen, start: float, kind: int = 0
) -> None:
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

    with asyncio.Runner(
        loop_factory=uvloop.new_event_loop
    ) as runner:  # as the server has: its client must not take more than it needs
        runner.run(session())
    return seen
