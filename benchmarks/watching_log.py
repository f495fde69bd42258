"""The production log of an endpoint: what it costs, and what it survives.

``throughput``: the same endpoint without a log, with one in SQLite and one in PostgreSQL, 64 clients in a
    closed loop; rounds are interleaved, one that is not measured is stopped. Rates are compared within a
    round (the median of the ratios, and the middle half of them), processor time per answer over all.
``latency``: random arrivals (Poisson) at half of the rate of the slowest, timed from when each should have
    been sent.
``kills``: an endpoint is killed (``kill -9``) under load again and again: how many answered texts and
    acknowledged labels the log has, and how many it says it lacks.
``full``: a log on a file system of 1 MB (mounted for it, which needs root): answers, drops, recovery.
``memory``: minutes of load without a pause, resident bytes after the first and at the end.

PostgreSQL is started for it where it is installed. Without ``--model`` the full-size model is made as in
``serving.py``.

    python benchmarks/watching_log.py [throughput latency kills full memory] [--model FOLDER] [--rounds 9]
    [--seconds 10] [--kills 50] [--minutes 10]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import serving
from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.transfer import load_corpus

PARTS = ("throughput", "latency", "kills", "full", "memory")
_CLIENTS = 64
_WITHOUT = "without"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--model", type=Path, help="artifact to serve")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=10.0, help="of one measurement")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args()
    if unknown := [part for part in args.parts if part not in PARTS]:
        parser.error(f"no part '{unknown[0]}', expected {', '.join(PARTS)}")

    def command() -> int:
        print(describe_machine(), f"load {os.getloadavg()[0]:.1f}", flush=True)
        with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
            model = args.model or serving.made(Path(temporary))[0]
            texts = [" ".join(s.words) for s in load_corpus("sample").spread(256)]
            url = stack.enter_context(postgres())
            numbers = (args.rounds, args.seconds, args.kills, args.minutes)
            bench = Bench(model, texts, Path(temporary), url, *numbers)
            held = [getattr(bench, part)() for part in args.parts or PARTS]
            return 0 if all(held) else 1

    return guarded(command, "watching_log.py", quiet=True)


@contextmanager
def postgres() -> Iterator[str | None]:
    """Start a server of PostgreSQL as it is by default, and give its URL; ``None`` where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    program = shutil.which("pg_ctl") or (str(found[-1]) if found else None)
    if program is None:
        print("PostgreSQL is not installed: left out")
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres")

    def run(name: str, *arguments: str) -> None:
        command = [*user, str(Path(program).with_name(name)), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    run("initdb", "-A", "trust", "-U", "postgres")
    run("pg_ctl", "-o", f"-c listen_addresses= -k {folder}", "-w", "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql:///postgres?host={folder}&user=postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Bench:
    model: Path
    texts: list[str]
    work: Path
    postgres: str | None
    rounds: int
    seconds: float
    kill_count: int
    minutes: float

    def ways(self, stack: ExitStack) -> dict[str, serving.Way]:
        """Start an endpoint of each kind, stopped."""
        options: dict[str, list[str]] = {_WITHOUT: [], "SQLite": ["--log", str(self.work / "speed.db")]}
        if self.postgres:
            options["PostgreSQL"] = ["--log", self.postgres, "--log-key", str(self.work / "speed.key")]
        return {
            name: stack.enter_context(serving.server(self.model, stopped=True, more=more))
            for name, more in options.items()
        }

    def throughput(self) -> bool:
        with ExitStack() as stack:
            ways = self.ways(stack)
            rates: dict[str, list[float]] = {name: [] for name in ways}
            costs: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(self.rounds + 1):
                for name in list(ways)[:: 1 if number % 2 else -1]:
                    way = ways[name]
                    with way.running():
                        before = processor(way.process.pid)
                        seen = load.closed(
                            f"{way.url}/predict", self.texts, _CLIENTS, self.seconds if number else 3
                        )
                        spent = processor(way.process.pid) - before
                    if set(seen.statuses) != {"200"}:
                        print(f"  {name}: {dict(seen.statuses)}")
                    if number:
                        rates[name].append(seen.rate)
                        costs[name].append(spent / seen.statuses["200"])
        print(f"throughput, {_CLIENTS} clients, {self.rounds} rounds of {self.seconds:g} s")
        held = True
        for name, found in rates.items():
            ratios = sorted(rate / base for rate, base in zip(found, rates[_WITHOUT], strict=True))
            quarter = len(ratios) // 4
            cost = sum(costs[name]) / sum(costs[_WITHOUT])
            held &= statistics.median(ratios) >= 0.97
            print(
                f"  {name:<11} {statistics.median(found):7.1f} texts/s, {statistics.median(ratios):.3f} of "
                f"without ({ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f}); processor time per text "
                f"{1000 * statistics.mean(costs[name]):.2f} ms, {cost:.3f}",
                flush=True,
            )
        return held

    def latency(self) -> bool:
        with ExitStack() as stack:
            ways = self.ways(stack)
            capacity = []
            for way in ways.values():
                with way.running():
                    load.closed(f"{way.url}/predict", self.texts, _CLIENTS, 3)
                    capacity.append(
                        load.closed(f"{way.url}/predict", self.texts, _CLIENTS, self.seconds).rate
                    )
            rate = min(capacity) / 2
            seen: dict[str, list[load.Seen]] = {name: [] for name in ways}
            for number in range(self.rounds):
                for name in list(ways)[:: 1 if number % 2 else -1]:
                    with ways[name].running():
                        url = f"{ways[name].url}/predict"
                        seen[name].append(
                            load.open_loop(url, [self.texts], [rate], self.seconds, seed=number)
                        )
        print(f"latency at {rate:.1f} texts/s")
        base = load.together(seen[_WITHOUT]).percentiles()[2]
        held = True
        for name, several in seen.items():
            whole = load.together(several)
            held &= whole.percentiles()[2] <= 1.1 * base
            print(f"  {name:<11} {whole.line()}, p99 {whole.percentiles()[2] / base:.3f}", flush=True)
        return held

    def kills(self) -> bool:
        held = True
        for name, more in {
            "SQLite": ["--log", str(self.work / "kills.db")],
            "PostgreSQL": ["--log", self.postgres or "", "--log-key", str(self.work / "kills.key")],
        }.items():
            if "" not in more:
                held &= self._kill(name, more)
        return held

    def _kill(self, name: str, more: list[str]) -> bool:
        from affineur.watch import Log

        options = dict(zip(("where", "key"), more[1::2], strict=False))
        with Log(**options) as log:
            before = log.summary()
        answered, labels, unknown = 0, 0, 0
        for number in range(self.kill_count):
            started = serving.server(self.model, stopped=True, more=more)
            with started as way, Asking(way.url, self.texts, number) as asking:
                time.sleep(0.5 + 0.05 * (number % 10))
                os.killpg(way.process.pid, signal.SIGKILL)
            answered += asking.seen["answered"]
            unknown += asking.seen["no answer"]
            labels += asking.seen["labels"]
        told: list[str] = []
        with Log(**options, tell=told.append) as log:
            after = log.summary()
        rows, kept = after.texts - before.texts, after.labels - before.labels
        lost = after.dropped.get("killed", 0) - before.dropped.get("killed", 0)
        held = kept >= labels and answered <= rows + lost <= answered + unknown
        print(
            f"{self.kill_count} × kill -9, {name}: {answered} texts answered ({unknown} more asked, without "
            f"an answer): {rows} in the log, {lost} said to lack ({lost / self.kill_count:.1f} a kill); "
            f"{labels} labels acknowledged, {kept} in the log",
            flush=True,
        )
        return held

    def full(self) -> bool:
        place = self.work / "small"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            print("full: needs root to mount a small file system: left out")
            return True
        try:
            more = ["--log", str(place / "watch.db"), "--log-key", str(self.work / "full.key")]
            with serving.server(self.model, stopped=True, more=more) as way, way.running():
                filler, statuses = place / "filler", Counter[str]()
                filler.write_bytes(bytes(500_000))
                for _ in range(40):
                    seen = load.closed(f"{way.url}/predict", self.texts, _CLIENTS, 5)
                    statuses += seen.statuses
                    if serving.gauge(way.url, "ner_log_dropped_total"):
                        break
                dropped = serving.gauge(way.url, "ner_log_dropped_total")
                filler.unlink()
                time.sleep(8)
                after = load.closed(f"{way.url}/predict", self.texts[:8], 1, 1)
                time.sleep(1)
                waiting = plain(way.url, "ner_log_waiting_texts")
                written = plain(way.url, "ner_log_texts_total")
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False)
        print(
            f"disk full: {dict(statuses)}, {dropped:.0f} texts dropped and counted; with room again "
            f"{dict(after.statuses)}, {written:.0f} written, {waiting:.0f} waiting",
            flush=True,
        )
        return set(statuses) == {"200"} and dropped > 0 and waiting == 0

    def memory(self) -> bool:
        more = ["--log", str(self.work / "memory.db")]
        with serving.server(self.model, stopped=True, more=more) as way:
            sizes = []
            for _ in range(max(2, round(self.minutes))):
                load.closed(f"{way.url}/predict", self.texts, _CLIENTS, 60)
                sizes.append(serving.rss(way.process.pid))
            written = plain(way.url, "ner_log_texts_total")
        growth = sizes[-1] / sizes[0] - 1
        print(
            f"memory, {len(sizes)} minutes, {written:.0f} texts written: {sizes[0] / 1e6:.0f} MB after the "
            f"first, {sizes[-1] / 1e6:.0f} MB at the end ({100 * growth:+.1f} %)",
            flush=True,
        )
        return growth < 0.05


class Asking:
    """Threads that ask until the endpoint is gone, and one that sends a label for each of its texts."""

    def __init__(self, url: str, texts: list[str], seed: int) -> None:
        self.seen = Counter[str]()
        self._url, self._texts, self._seed, self._lock = url, texts, seed, threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(8)]
        self._threads.append(threading.Thread(target=self._label))

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(60)

    def _post(self, path: str, body: object) -> bool:
        request = urllib.request.Request(self._url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as response:
            response.read()
        return True

    def _count(self, what: str) -> None:
        with self._lock:
            self.seen[what] += 1

    def _ask(self, number: int) -> None:
        for turn in range(1 << 30):
            text = self._texts[(self._seed * 31 + number * 7 + turn) % len(self._texts)]
            try:
                self._post("/predict", {"inputs": text})
                self._count("answered")
            except urllib.error.HTTPError:
                continue
            except OSError as error:  # killed: what was asked last may have been answered inside
                refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
                self._count("refused" if refused else "no answer")
                return
            except Exception:
                self._count("no answer")
                return

    def _label(self) -> None:
        for turn in range(1 << 30):
            text = f"Marie Duval, dossier {self._seed}.{turn}"
            try:
                self._post("/predict", {"inputs": text})
                self._count("answered")
                with contextlib.suppress(urllib.error.HTTPError):
                    self._post(
                        "/feedback", {"text": text, "mentions": [{"type": "PER", "start": 0, "end": 11}]}
                    )
                    self._count("labels")
            except Exception as error:
                refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
                self._count("refused" if refused else "no answer")
                return


def processor(pid: int) -> float:
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def plain(url: str, name: str) -> float:
    """Return a figure without labels."""
    lines = urllib.request.urlopen(f"{url}/metrics").read().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


if __name__ == "__main__":
    sys.exit(main())
