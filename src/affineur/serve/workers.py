"""Several processes behind one socket: started, kept alive, and given another artifact all together or not at all."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from affineur.errors import AffineurError, ModelError
from affineur.runtime.onnx import usable_threads
from affineur.serve import logs
from affineur.serve.metrics import SHARED
from affineur.serve.served import About
from affineur.serve.server import Plan, Worker

_LONGEST_LOAD = 600.0
_MOST_PAUSE = 30.0


class Supervisor:
    """The process that owns the workers; it serves nothing itself.

    Args:
        plan: What to serve.
        sockets: Where; the workers share them.
        ready: Called once with the seconds it took, when every worker answers.
    """

    def __init__(self, plan: Plan, sockets: list[socket.socket], ready: Callable[[float], None]) -> None:
        self.plan, self._sockets, self._ready = plan, sockets, ready
        self._workers: dict[Connection, BaseProcess] = {}
        self._answering: set[Connection] = set()
        self._signals: list[int] = []
        self._pause = 0.0

    def run(self) -> None:
        """Serve until a signal says to stop.

        Raises:
            AffineurError: If a worker cannot serve a model at the start.
        """
        started = time.perf_counter()
        told = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _: self._signals.append(received))
        with tempfile.TemporaryDirectory(prefix="affineur-metrics-") as shared:
            os.environ[SHARED] = shared
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_threads() // self.plan.workers)))
            try:
                for _ in range(self.plan.workers):
                    self._start()
                while not self._stopping():
                    for connection in wait(list(self._workers), timeout=0.2):
                        assert isinstance(connection, Connection)
                        failure = self._hear(connection)
                        if failure is not None and not told:
                            raise ModelError(failure)
                    if not told and len(self._answering) == self.plan.workers:
                        told = True
                        self._ready(time.perf_counter() - started)
                    if signal.SIGHUP in self._signals:
                        self._signals = [number for number in self._signals if number != signal.SIGHUP]
                        self._tell_all(("keys",))
                        for name, reference in list(self.plan.references.items()):
                            self._reload(name, reference)
            finally:
                self._stop()
                del os.environ[SHARED]

    def _stopping(self) -> bool:
        return any(number in self._signals for number in (signal.SIGTERM, signal.SIGINT))

    def _start(self) -> None:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(self.plan, self._sockets, theirs), name="affineur-worker")
        process.start()
        theirs.close()
        self._workers[ours] = process

    def _stop(self) -> None:
        for process in self._workers.values():
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)
        for listener in self._sockets:
            listener.close()
        for process in self._workers.values():
            process.join(2 * self.plan.settings.timeout + self.plan.settings.drain + 10)
            if process.is_alive():
                process.kill()

    def _hear(self, connection: Connection) -> str | None:
        """Handle what a worker says; return why it could not serve, if it says that."""
        try:
            message = connection.recv()
        except (EOFError, OSError):
            self._bury(connection)
            return None
        if message[0] == "ready":
            self._answering.add(connection)
            self._pause = 0.0
        elif message[0] == "failed":
            return str(message[1])
        elif message[0] == "reload":
            answer = self._reload(message[1], message[2])
            self._send(connection, ("reloaded", *answer))
        return None

    def _bury(self, connection: Connection) -> None:
        """Start another worker in place of one that is gone, more slowly the more often that happens."""
        from prometheus_client import multiprocess

        process = self._workers.pop(connection)
        self._answering.discard(connection)
        connection.close()
        process.join(5)
        if process.pid is not None:
            multiprocess.mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        if self._stopping():
            return
        logs.event("worker gone", worker=process.pid, exit=process.exitcode, pause=self._pause)
        time.sleep(self._pause)
        self._pause = min(_MOST_PAUSE, 2 * self._pause + 0.5)
        self._start()

    def _reload(self, name: str, reference: str) -> tuple[bool, Any]:
        """Let every worker prepare an artifact, and serve it only if all could."""
        answers = self._ask_all(("prepare", name, reference))
        refused = next((message for done, message in answers if not done), None)
        if refused is not None or not answers:
            self._tell_all(("abort",))
            logs.event("reload refused", model=name, error=refused)
            return False, refused or "no worker is ready"
        self._tell_all(("commit",))
        self.plan = replace(self.plan, references={**self.plan.references, name: reference})
        logs.event("reloaded", model=name, sha256=answers[0][1].sha256)
        return True, answers[0][1]

    def _ask_all(self, message: tuple[Any, ...]) -> list[tuple[bool, Any]]:
        asked = [connection for connection in list(self._answering) if self._send(connection, message)]
        answers: list[tuple[bool, Any]] = []
        end = time.monotonic() + _LONGEST_LOAD
        while asked and (rest := end - time.monotonic()) > 0:
            for connection in wait(asked, timeout=min(1.0, rest)):
                assert isinstance(connection, Connection)
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    answers.append((False, "a worker ended while it prepared the artifact"))
                    asked.remove(connection)
                    continue
                if answer[0] == "prepared":
                    answers.append((answer[1], answer[2]))
                    asked.remove(connection)
                elif answer[0] == "reload":  # two administrators at once: the second is told to wait
                    self._send(connection, ("reloaded", False, "another artifact is being loaded"))
        return answers + [(False, "a worker did not answer in time")] * len(asked)

    def _tell_all(self, message: tuple[Any, ...]) -> None:
        for connection in list(self._answering):
            self._send(connection, message)

    def _send(self, connection: Connection, message: tuple[Any, ...]) -> bool:
        try:
            connection.send(message)
            return True
        except OSError:
            return False  # it is gone; the next wait tells


class _Remote:
    """A worker's end of the talk with its supervisor."""

    def __init__(self, worker: Worker, connection: Connection) -> None:
        self._worker, self._connection = worker, connection
        self._prepared: Any = None
        self._asked: asyncio.Future[tuple[bool, Any]] | None = None
        worker.reload = self.reload
        worker.hang_up = lambda: None  # the supervisor gets the signal, too, and sees to it that all or none change

    def listen(self) -> None:
        """Hear what the supervisor says, on a thread of its own."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._hear, name="affineur-supervised", daemon=True).start()

    async def reload(self, name: str, reference: str) -> About:
        """Ask the supervisor to let every worker load an artifact.

        Raises:
            ModelError: If one could not.
        """
        if self._asked is not None:
            raise ModelError("another artifact is being loaded")
        self._asked = self._loop.create_future()
        try:
            self._connection.send(("reload", name, reference))
            done, answer = await self._asked
        finally:
            self._asked = None
        if not done:
            raise ModelError(str(answer))
        assert isinstance(answer, About)
        return answer

    def _hear(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                if message[0] == "prepare":
                    self._connection.send(("prepared", *self._prepare(message[1], message[2])))
                elif message[0] == "commit" and self._prepared is not None:
                    self._loop.call_soon_threadsafe(self._worker.service.commit, self._prepared)
                    self._prepared = None
                elif message[0] == "abort" and self._prepared is not None:
                    self._prepared.batcher.close()
                    self._prepared = None
                elif message[0] == "keys":
                    self._loop.call_soon_threadsafe(self._worker.read_keys)
                elif message[0] == "reloaded" and self._asked is not None:
                    self._loop.call_soon_threadsafe(self._asked.set_result, (message[1], message[2]))
        except (EOFError, OSError):  # the supervisor is gone, so nobody would stop this worker
            self._loop.call_soon_threadsafe(self._worker.stop, 0.0)

    def _prepare(self, name: str, reference: str) -> tuple[bool, Any]:
        try:
            self._prepared = self._worker.service.prepare(name, reference)
        except AffineurError as error:
            return False, str(error)
        except Exception as error:  # whatever is wrong with it, the old one serves
            logs.fault("reload refused", model=name)
            return False, f"it cannot be loaded ({type(error).__name__})"
        return True, self._prepared.about


def _work(plan: Plan, sockets: list[socket.socket], connection: Connection) -> None:
    """What a worker's process does."""
    logs.set_up()

    def ready(_: Worker) -> None:
        remote.listen()
        connection.send(("ready",))

    try:
        worker = Worker(plan, ready)
        remote = _Remote(worker, connection)
        worker.run(sockets)
    except AffineurError as error:
        connection.send(("failed", str(error)))
