"""The endpoint under attack: pipelining, answers nobody reads, the largest bodies it takes and bodies that
stall, all at once, while honest clients ask.

Told are the memory of the endpoint (idle, at most, a minute after), health checks at their own port, and what
share of the honest requests was answered, and how soon. Everything is on this machine, so the attackers take
their share of its processors, too.

    python benchmarks/attacks.py [--model FOLDER] [--seconds 120]

The model is ``student_2L`` made of the sample and quantized, unless one is given. The bars are those of
``docs/security.md``: under 600 MB, back within 20 % of idle, health p99 under 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import load
from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.transfer import load_corpus

#: Connections of each attack.
_PIPELINING, _UNREAD, _STALLED, _LARGE = 20, 200, 16, 2
_HONEST = 4
_MOST_MEGABYTES, _BACK, _MOST_HEALTH = 600, 1.2, 100
_ERRORS = (OSError, TimeoutError, asyncio.IncompleteReadError)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="artifact to serve (default: the sample's, in INT8)")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the attack")
    parser.add_argument("--after", type=float, default=60.0, help="seconds of rest after it")
    args = parser.parse_args()

    def command() -> int:
        print(describe_machine(), flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            model = args.model or _made(Path(temporary))
            return 0 if run(model, args.seconds, args.after) else 1

    return guarded(command, "attacks.py", quiet=True)


def _made(work: Path) -> Path:
    """Make a small INT8 model."""
    import affineur

    affineur.export("sample", out=work / "onnx")
    affineur.quantize(work / "onnx", out=work / "int8", calibration=load_corpus("sample", "train"))
    return work / "int8"


def run(model: Path, seconds: float, after: float) -> bool:
    """Attack a server of a model; whether it held its bars."""
    port, health_port = load.free_port(), load.free_port()
    command = [sys.executable, "-m", "affineur.cli.main", "serve", str(model), "--port", str(port)]
    with subprocess.Popen(
        [*command, "--health-port", str(health_port)], stderr=subprocess.DEVNULL
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            load.until_ready(process, f"{url}/health/ready")
            texts = [" ".join(sentence.words) for sentence in load_corpus("sample").spread(64)]
            load.closed(f"{url}/predict", texts, _HONEST, 3)  # what a server at work takes is its idle
            time.sleep(2)
            idle, memory = _megabytes(process.pid), _Memory(process.pid)
            attacker = multiprocessing.get_context("spawn").Process(target=_attack, args=(port, seconds))
            with memory, load.Health(f"http://127.0.0.1:{health_port}") as health:
                attacker.start()
                time.sleep(1)
                seen = load.closed(f"{url}/predict", texts, _HONEST, seconds - 1)
                attacker.join()
            time.sleep(after)
            rest = _megabytes(process.pid)
        finally:
            process.kill()
    asked = seen.statuses.total()
    share = seen.statuses["200"] / asked
    p50 = 1000 * sorted(health.seconds)[len(health.seconds) // 2]
    print(
        f"{seconds:g} s of {_PIPELINING} connections that pipeline, {_UNREAD} that do not read, "
        f"{_LARGE} with the largest bodies and {_STALLED} that stall\n"
        f"  memory: idle {idle:.0f} MB, at most {memory.most:.0f} MB, {after:g} s later {rest:.0f} MB\n"
        f"  health: p50 {p50:.0f} ms, {health.line()}\n"
        f"  {_HONEST} honest clients: {seen.statuses['200']} of {asked} answered ({share:.1%}), "
        f"{seen.line()}; {dict(seen.statuses)}",
        flush=True,
    )
    held = memory.most < _MOST_MEGABYTES and rest < _BACK * idle and health.p99 < _MOST_HEALTH
    print("  every bar held" if held and share else "  a bar is missed", flush=True)
    return bool(held and share)


def _megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class _Memory:
    """Looks at the memory of a process ten times a second while a block runs."""

    def __init__(self, pid: int) -> None:
        self.most, self._pid, self._end = 0.0, pid, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.1):
            self.most = max(self.most, _megabytes(self._pid))


# ---- The attacks, in a process of their own ----


def _attack(port: int, seconds: float) -> None:
    asyncio.run(_attacks(port, time.monotonic() + seconds))


async def _attacks(port: int, end: float) -> None:
    blank = {"inputs": [" " * 100_000] * 39, "parameters": {"redact": "type"}}
    tensor = {"name": "args", "shape": [1], "datatype": "BYTES", "data": ["Paris"]}
    echo = json.dumps({"id": "a" * 3_900_000, "inputs": [tensor]}).encode()
    parameters = {"aggregation_strategy": "simple", "stride": 255}
    large = json.dumps({"inputs": ["a " * 50_000] * 39, "parameters": parameters}).encode()
    info = b"GET /info HTTP/1.1\r\nHost: here\r\n\r\n"
    kinds: list[tuple[int, Callable[..., Any], tuple[Any, ...]]] = [
        (_PIPELINING, _send_without_reading, (info * 1000, 1 << 60)),
        (_UNREAD // 2, _send_without_reading, (_post(echo, "/v2/models/ner/infer"), 3)),
        (_UNREAD // 2, _send_without_reading, (_post(json.dumps(blank).encode()), 3)),
        (_LARGE, _ask, (_post(large),)),
        (_STALLED, _stall, (_post(b" " * 3_999_990, length=4_000_000),)),
    ]
    await asyncio.gather(
        *(_again(port, end, attack, *given) for count, attack, given in kinds for _ in range(count))
    )


def _post(body: bytes, path: str = "/predict", length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {told}\r\n\r\n".encode() + body


async def _again(port: int, end: float, attack: Callable[..., Any], *given: Any) -> None:
    """Attack on one connection after another."""
    loop = asyncio.get_running_loop()
    while time.monotonic() < end:
        with contextlib.closing(socket.socket()) as client, contextlib.suppress(*_ERRORS):
            client.setblocking(False)
            async with asyncio.timeout(max(0.1, end - time.monotonic())):
                await loop.sock_connect(client, ("127.0.0.1", port))
                await attack(loop, client, *given)
        await asyncio.sleep(0.2)


async def _send_without_reading(loop: Any, client: socket.socket, data: bytes, times: int) -> None:
    for _ in range(times):
        async with asyncio.timeout(30):
            await loop.sock_sendall(client, data)
    await asyncio.sleep(20)


async def _ask(loop: Any, client: socket.socket, request: bytes) -> None:
    await loop.sock_sendall(client, request)
    async with asyncio.timeout(60):
        await loop.sock_recv(client, 65536)


async def _stall(loop: Any, client: socket.socket, request: bytes) -> None:
    await loop.sock_sendall(client, request)
    async with asyncio.timeout(30):
        await loop.sock_recv(client, 65536)


if __name__ == "__main__":
    sys.exit(main())
