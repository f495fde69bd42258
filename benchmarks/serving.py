"""The endpoint under load: against the offline runtime and two other servers, at shares of its capacity, in a
burst, with mixed texts, for long.

``throughput``: 64 clients in a closed loop on real sentences, on this machine too (their processor time is
    printed, not taken off), against the
offline runtime on the same sentences, the guide's recipe behind plain FastAPI, and LitServe with its own
batching in front of the *same* engine, which computes a batch as it comes or cuts it by length as it does
offline; rounds are interleaved, and a server that is not measured is stopped. ``latency``: random arrivals
(Poisson) at 25, 50 and 80 % of capacity, timed from when each should have been sent. ``burst``: 512 clients,
then 5,000 requests at once, with health checks throughout, on a connection each: those at a port of their own
(``--health-port``) decide; those at the main port, which wait behind the requests, are measured at the same
time and printed beside them, and decide nothing. ``mix``: texts of 20 and 400 words, first come first served
and as it is. ``soak``: ten minutes at 70 % of capacity. ``start``: time to ready.

The full-size model is random, so it proves speed; without ``--model`` it is made as in ``fast.py``. LitServe
is no dependency: ``pip install litserve`` to have its row.

    python benchmarks/serving.py [throughput latency burst mix soak start] [--model FOLDER] [--teacher FOLDER]
    [--rounds 5] [--seconds 20]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import load
from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.transfer import load_corpus

PARTS = ("throughput", "latency", "burst", "mix", "soak", "start")
_CLIENTS = 64
_BURST = 5000
#: Ways to work offline: one batch after another on all threads, or batches side by side on one thread each.
_OFFLINE = ("offline", "offline, batches side by side")


def main() -> int:
    if sys.argv[1:2] == ["--peer"]:
        return PEERS[sys.argv[2]](*sys.argv[3:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all but soak)"
    )
    parser.add_argument(
        "--model", type=Path, help="artifact to serve (default: 11 full-size layers in INT8, random)"
    )
    parser.add_argument(
        "--teacher", type=Path, help="model of the guide's recipe (default: 12 full-size layers, random)"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="of one measurement")
    parser.add_argument("--minutes", type=float, default=10.0, help="of soak")
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"no part '{unknown[0]}', expected {', '.join(PARTS)}")

    def command() -> int:
        print(describe_machine(), flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            model, teacher = made(Path(temporary)) if args.model is None else (args.model, args.teacher)
            print(f"model {model.name}", flush=True)
            texts = [" ".join(s.words) for s in load_corpus("sample").spread(256)]
            bench = Bench(model, teacher, texts, args.rounds, args.seconds, args.minutes)
            held = [getattr(bench, part)() for part in args.parts or [p for p in PARTS if p != "soak"]]
            return 0 if all(held) else 1

    return guarded(command, "serving.py", quiet=True)


def made(work: Path) -> tuple[Path, Path]:
    """Make the full-size models."""
    import affineur
    import fast
    import winner

    teacher, eleven = (
        fast.wide_vocabulary(winner.random_camembert(work / f"random_{layers}L", layers))
        for layers in (12, 11)
    )
    text = load_corpus("sample", "train")
    affineur.quantize(eleven, out=work / "int8_11L", min_agreement=0, calibration=text)
    return work / "int8_11L", teacher


@dataclass
class Bench:
    model: Path
    teacher: Path | None
    texts: list[str]
    rounds: int
    seconds: float
    minutes: float

    @functools.cached_property
    def capacity(self) -> float:
        """Requests a second of 64 clients."""
        with server(self.model) as url:
            load.closed(url + "/predict", self.texts, _CLIENTS, 3)
            return load.closed(url + "/predict", self.texts, _CLIENTS, self.seconds).rate

    def throughput(self) -> bool:
        with ExitStack() as stack:
            ways = {name: stack.enter_context(offline(self.model, self.texts, name)) for name in _OFFLINE}
            ways["affineur serve"] = stack.enter_context(server(self.model, stopped=True))
            if _installed("litserve"):
                ways["LitServe, its batches whole"] = stack.enter_context(peer("litserve", self.model))
                ways["LitServe, two workers, batches cut by ours"] = stack.enter_context(
                    peer("litserve-two", self.model, OMP_NUM_THREADS="1")
                )
            if self.teacher is not None:
                ways["plain FastAPI, the guide's recipe"] = stack.enter_context(peer("plain", self.teacher))
            rates: dict[str, list[float]] = {name: [] for name in ways}
            seen: dict[str, list[load.Seen]] = {name: [] for name in ways}
            for number in range(self.rounds + 1):
                for name in list(ways)[:: 1 if number % 2 else -1]:
                    way, seconds = ways[name], self.seconds if number else 3  # the first round warms up
                    with way.running():
                        if name in _OFFLINE:
                            rate = way.rate(seconds)
                        else:
                            found = load.closed(way.url + "/predict", self.texts, _CLIENTS, seconds)
                            rate = found.rate
                            if set(found.statuses) != {"200"}:
                                print(f"  {name}: {dict(found.statuses)}")
                    if number:
                        rates[name].append(rate)
                        seen[name] += [] if name in _OFFLINE else [found]
        cpu = statistics.median(each.client_cpu / each.wall for each in seen["affineur serve"])
        print(
            f"throughput, {_CLIENTS} clients, {self.rounds} rounds of {self.seconds:g} s; the "
            f"clients used {cpu:.2f} processors"
        )
        best = max(_OFFLINE, key=lambda name: statistics.median(rates[name]))
        ratios = {
            name: statistics.median(a / b for a, b in zip(found, rates[best], strict=True))
            for name, found in rates.items()
        }
        for name, found in rates.items():
            times = load.together(seen[name]).line() if seen[name] else ""
            print(
                f"  {name:<44} {statistics.median(found):7.1f} sentences/s, {ratios[name]:.3f} × "
                f"{best}   {times}",
                flush=True,
            )
        return ratios["affineur serve"] >= 0.9

    def latency(self) -> bool:
        print(f"latency at shares of {self.capacity:.1f} requests/s")
        with server(self.model) as url:
            load.closed(url + "/predict", self.texts, _CLIENTS, 3)
            for share in (0.25, 0.5, 0.8):
                seen = load.open_loop(
                    url + "/predict", [self.texts], [share * self.capacity], 2 * self.seconds
                )
                print(f"  {share:4.0%}   {seen.line()}   {dict(seen.statuses)}", flush=True)
        return True

    def burst(self) -> bool:
        with server(self.model, health=True) as url:
            checks = _HEALTH[url]
            quiet = load.closed(url + "/predict", self.texts, 1, 3).percentiles()[0]
            with load.Health(checks) as many, load.Health(url) as many_main:
                seen = load.closed(url + "/predict", self.texts, 512, self.seconds)
            with load.Health(checks) as health, load.Health(url) as health_main:
                flood = load.burst(url + "/predict", self.texts, _BURST)
                over = time.perf_counter()
                while (recovery := time.perf_counter() - over) < 30:
                    found = load.closed(url + "/predict", self.texts, 1, 0.2)
                    if found.statuses["200"] > 2 and found.percentiles()[0] < 1.5 * quiet:
                        break
            held = {
                name: gauge(url, name)
                for name in ("ner_waiting_inputs", "ner_waiting_tokens", "ner_queue_depth")
            }
        print(
            f"512 clients: {dict(seen.statuses)}; {seen.rate:.1f} answers/s\n  health port "
            f"{many.line()}\n  main port {many_main.line()}"
        )
        print(
            f"{_BURST} at once: {dict(flood.statuses)} in {flood.wall:.1f} s\n  health port "
            f"{health.line()}\n  main port {health_main.line()}"
        )
        print(
            f"  as quick as before within {recovery + 0.2:.1f} s after the last answer; permits "
            f"held then: {held}",
            flush=True,
        )
        only = set(seen.statuses) | set(flood.statuses) <= {"200", "429"}
        return (
            only
            and many.p99 < 100
            and health.p99 < 100
            and not (many.failures or health.failures)
            and recovery < 5
            and not any(held.values())
        )

    def mix(self) -> bool:
        words = " ".join(self.texts).split()
        rng = random.Random(13)
        short, long = (
            [" ".join(words[(at := rng.randrange(len(words) - size)) : at + size]) for _ in range(64)]
            for size in (20, 400)
        )
        ways = {"first come, first served": False, "length-aware": True}
        capacity, found = {}, {}
        for name, by_length in ways.items():
            with server(self.model, by_length=by_length) as url:
                load.closed(url + "/predict", short + long, 8, 5)
                capacity[name] = load.closed(
                    url + "/predict", (short * 19)[: 19 * 8] + long[:8], _CLIENTS, self.seconds
                ).rate
        # The same for both: one request in twenty is long, and half of all words are theirs.
        rate = 0.7 * min(capacity.values())
        for name, by_length in ways.items():
            with server(self.model, by_length=by_length) as url:
                load.closed(url + "/predict", short + long, 8, 5)
                found[name] = load.open_loop(
                    url + "/predict", [short, long], [0.95 * rate, 0.05 * rate], 2 * self.seconds
                )
        print(
            f"texts of 20 words, and one in twenty of 400, {rate:.1f} requests/s: 70 % of the "
            f"smaller capacity"
        )
        for name, seen in found.items():
            print(
                f"  {name:<26} capacity {capacity[name]:.1f}; short {seen.line(0)}; long "
                f"{seen.line(1)}; {dict(seen.statuses)}",
                flush=True,
            )
        return True

    def soak(self) -> bool:
        with server(self.model) as url:
            rate = 0.7 * self.capacity
            pid = _PIDS[url]
            load.open_loop(url + "/predict", [self.texts], [rate], 60)
            first, statuses = rss(pid), {}
            for minute in range(round(self.minutes)):
                seen = load.open_loop(url + "/predict", [self.texts], [rate], 60, seed=minute)
                for status, count in seen.statuses.items():
                    statuses[status] = statuses.get(status, 0) + count
                print(
                    f"  minute {minute + 1}: {rss(pid) / 1e6:.1f} MB, p99 {seen.percentiles()[2]:.0f} ms",
                    flush=True,
                )
            growth = rss(pid) / first - 1
        print(
            f"{self.minutes:g} minutes at {rate:.1f} requests/s (70 %): memory {growth:+.1%} after "
            f"the first; {statuses}",
            flush=True,
        )
        return growth < 0.05 and set(statuses) == {"200"}

    def start(self) -> bool:
        for model in (self.model, Path("sample")):
            times = []
            for _ in range(3):
                begin = time.perf_counter()
                with server(model):
                    times.append(time.perf_counter() - begin)
            print(
                f"from the command to ready: {model.name} {statistics.median(times):.2f} s (median of 3)",
                flush=True,
            )
        return True


class Way:
    """A process that answers, stopped while it is not measured."""

    def __init__(self, process: subprocess.Popen[str], url: str = "") -> None:
        self.process, self.url = process, url

    @contextmanager
    def running(self) -> Iterator[None]:
        os.killpg(self.process.pid, signal.SIGCONT)
        yield
        os.killpg(self.process.pid, signal.SIGSTOP)

    def rate(self, seconds: float) -> float:
        """Ask the offline runtime to work, and return its sentences a second."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def server(
    model: Path, by_length: bool = True, stopped: bool = False, health: bool = False, more: Sequence[str] = ()
) -> Iterator[str]:
    """Start ``affineur serve``, with more options, or the same with batches as they come; give its URL, or
    with ``stopped`` its process.
    """
    port = load.free_port()
    command = [sys.executable, "-m", "affineur", "serve", str(model), "--port", str(port), "-q", *more]
    if health:
        health_port = load.free_port()
        command += ["--health-port", str(health_port)]
        _HEALTH[f"http://127.0.0.1:{port}"] = f"http://127.0.0.1:{health_port}"
    if not by_length:
        command = [sys.executable, __file__, "--peer", "fifo", str(model), str(port)]
    way = Way(
        subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True, text=True),
        f"http://127.0.0.1:{port}",
    )
    _PIDS[way.url] = way.process.pid
    try:
        load.until_ready(way.process, f"{way.url}/health/ready")
        yield way if stopped else way.url
    finally:
        way.end()


_PIDS: dict[str, int] = {}
_HEALTH: dict[str, str] = {}
_QUIET: Any = {
    "stdout": subprocess.DEVNULL,
    "stderr": subprocess.DEVNULL,
    "start_new_session": True,
    "text": True,
}


@contextmanager
def peer(name: str, model: Path, **environment: str) -> Iterator[Way]:
    port = load.free_port()
    command = [sys.executable, __file__, "--peer", name, str(model), str(port)]
    way = Way(subprocess.Popen(command, env=os.environ | environment, **_QUIET), f"http://127.0.0.1:{port}")
    try:
        load.until_ready(way.process, f"{way.url}/health")
        yield way
    finally:
        way.end()


@contextmanager
def offline(model: Path, texts: list[str], way: str) -> Iterator[Way]:
    command = [sys.executable, __file__, "--peer", way, str(model), json.dumps(texts)]
    way = Way(
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
        )
    )
    try:
        yield way
    finally:
        way.end()


def serve_first_come(model: str, port: str) -> int:
    from affineur.pipeline.models import load_to_serve as loader
    from affineur.serve.process.server import ServePlan, serve
    from affineur.serve.settings import Settings

    serve(ServePlan({"ner": model}, loader, Settings(by_length=False), port=int(port)), lambda *_: None)
    return 0


def serve_plain(model: str, port: str) -> int:
    """What one writes first: FastAPI, the model in torch, a request at a time in its pool of threads."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel
    from transformers import pipeline

    pipe = pipeline("token-classification", model, aggregation_strategy="simple", device="cpu")
    app = FastAPI()

    class Body(BaseModel):
        inputs: str

    Body.__module__ = "__main__"
    globals()["Body"] = Body  # for FastAPI to find behind the postponed annotation

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"ok": True}

    @app.post("/predict")
    def predict(body: Body) -> list[dict[str, object]]:
        return [{**entity, "score": float(entity["score"])} for entity in pipe(body.inputs)]

    uvicorn.run(app, port=int(port), log_level="error")
    return 0


def serve_litserve(model: str, port: str, whole: bool = True) -> int:
    """LitServe in front of our engine: batches of 32 within 5 ms.

    Args:
        model: The artifact.
        port: Where to listen.
        whole: Whether one worker computes batches as they come, as its documentation has it; otherwise two
            workers with one thread each let our engine cut them by length, which is the best we found for it.
    """
    import litserve

    litserve.LitServer(
        Batching(model, whole, max_batch_size=32, batch_timeout=0.005),
        accelerator="cpu",
        workers_per_device=1 if whole else 2,
    ).run(port=int(port), generate_client_file=False, log_level="error")
    return 0


def run_offline(model: str, texts: str, side_by_side: bool = False) -> int:
    from affineur.pipeline import load as load_model

    tagger, sentences = load_model(model), json.loads(texts)
    tagger.beside_from = 2 if side_by_side else None
    tagger.predict_batch(sentences, None)
    for line in sys.stdin:
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < float(line):
            tagger.predict_batch(sentences, None)
            count += len(sentences)
        print(count / elapsed, flush=True)
    return 0


def _batching() -> type:

    import litserve

    class Api(litserve.LitAPI):
        def __init__(self, model: str, whole: bool, **more: object) -> None:
            super().__init__(**more)
            self.model, self.whole = model, whole

        def setup(self, device: str) -> None:
            from affineur.pipeline import load as load_model

            tagger = load_model(self.model)
            self.tagger = tagger.whole() if self.whole else tagger

        def decode_request(self, request: dict[str, str]) -> str:
            return request["inputs"]

        def batch(self, inputs: list[str]) -> list[str]:
            return list(inputs)

        def predict(self, texts: list[str]) -> list[object]:
            return self.tagger.predict_batch(texts, None)

        def unbatch(self, output: list[object]) -> list[object]:
            return output

        def encode_response(self, output: list[object]) -> list[dict[str, object]]:
            return [entity.as_dict() for entity in output]

    return Api


def _installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


if _installed("litserve"):
    Batching = _batching()
    Batching.__qualname__ = "Batching"  # LitServe starts its workers anew, and they look it up here

PEERS = {
    "fifo": serve_first_come,
    "plain": serve_plain,
    "litserve": serve_litserve,
    "litserve-two": functools.partial(serve_litserve, whole=False),
    _OFFLINE[0]: run_offline,
    _OFFLINE[1]: functools.partial(run_offline, side_by_side=True),
}


def gauge(url: str, name: str) -> float:
    """Return the sum of a gauge over its labels."""
    lines = urllib.request.urlopen(f"{url}/metrics").read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{"))


def rss(pid: int) -> int:
    """Return the resident bytes of a process."""
    return 1024 * next(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )


if __name__ == "__main__":
    sys.exit(main())
