"""The endpoint as its users run it: a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .held import ask, until

TEXT = "Marie Duval habite à Paris ."
_SECONDS = 60.0


class Running:
    """A process of ``affineur serve``.

    Args:
        folder: Where it writes.
        arguments: Of the command.
        environment: More variables.
    """

    def __init__(self, folder: Path, *arguments: object, **environment: str) -> None:
        self.told, self._errors = folder / "told.json", folder / "stderr"
        self.told.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "affineur.cli.main",
            "serve",
            *map(str, arguments),
            "--json",
            str(self.told),
        ]
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def errors(self) -> str:
        """Standard error until now."""
        return self._errors.read_text("utf-8")

    @property
    def log(self) -> list[dict[str, Any]]:
        """Lines of the log until now."""
        return [
            json.loads(line)
            for line in self.errors.splitlines()
            if line.startswith("{") and line.endswith("}")
        ]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of one kind."""
        return [line for line in self.log if line["event"] == name]

    def ready(self) -> Running:
        """Wait until every model answers."""

        def answered() -> bool:
            assert self.process.poll() is None, self.errors
            return self.told.exists()

        until(answered, _SECONDS)
        self.port = int(json.loads(self.told.read_text())["url"].rpartition(":")[2])
        return self

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, body: Any, path: str = "/", **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Ask on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            return ask(connection, body, path, **headers)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(_SECONDS)


@contextlib.contextmanager
def running(folder: Path, *arguments: object, **environment: str) -> Iterator[Running]:
    """Run an endpoint, and end it whatever happens."""
    endpoint = Running(folder, *arguments, **environment)
    try:
        yield endpoint
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(endpoint.process.pid, signal.SIGKILL)
        endpoint.process.wait(_SECONDS)


class Load:
    """Threads that ask without a pause, half of them on connections that stay, until the endpoint is not
    there any more.

    Attributes:
        outcomes: How many requests got which status, and how many were ``lost``: sent on a connection that
            then gave no answer.
        answered: Identities of the requests that got an answer.
    """

    def __init__(self, endpoint: Running, threads: int = 8) -> None:
        self.outcomes: Counter[int | str] = Counter()
        self.answered: set[str] = set()
        self._endpoint, self._lock, self._end = endpoint, threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        until(lambda: self.outcomes[200] >= 50)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def more(self, count: int = 50) -> None:
        """Wait for so many more answers."""
        wanted = self.outcomes[200] + count
        until(lambda: self.outcomes[200] >= wanted)

    def _run(self, number: int) -> None:
        connection, asked = self._endpoint.connect(), 0
        while not self._end.is_set():
            asked += 1
            name = f"{number}.{asked}"
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError:  # nobody listens
                break
            try:
                status, _, headers = ask(connection, {"inputs": TEXT * (1 + asked % 3)}, x_request_id=name)
            except (OSError, http.client.HTTPException):
                connection.close()
                with self._lock:
                    self.outcomes["lost"] += 1
                continue
            if number % 2 or headers.get("connection") == "close":
                connection.close()
            with self._lock:
                self.outcomes[status] += 1
                self.answered.add(name)
        connection.close()
