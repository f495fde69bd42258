"""Several processes behind one socket.

Started, kept alive, and given another artifact all together or not at all.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from affineur.engines.support.exported import usable_threads
from affineur.errors import AffineurError, ModelError
from affineur.runtime.memory import give_back
from affineur.serve import logs, system
from affineur.serve.listening import Sockets
from affineur.serve.metrics import SHARED
from affineur.serve.served import About
from affineur.serve.server import Plan, Worker

_LONGEST_LOAD = 600.0
_MOST_PAUSE = 30.0
_OURS = (signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class _Process:
    """A worker, and what it was told to serve."""

    process: BaseProcess
    plan: Plan


class Supervisor:
    """The process that owns the workers; it serves nothing itself.

    Args:
        plan: What to serve.
        sockets: Where; the workers share them.
        ready: Called once with the seconds it took, when every worker answers.
    """

    def __init__(self, plan: Plan, sockets: Sockets, ready: Callable[[float], None]) -> None:
        self.plan, self._sockets, self._ready = plan, sockets, ready
        self._workers: dict[Connection, _Process] = {}
        self._answering: set[Connection] = set()
        self._signals: list[int] = []
        self._told = False
        self._pause = 0.0
        self._due: list[float] = []

    def run(self) -> None:
        """Serve until a signal says to stop.

        Raises:
            AffineurError: If a worker cannot serve a model at the start.
        """
        started = time.perf_counter()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _: self._signals.append(received))
        with tempfile.TemporaryDirectory(prefix="affineur-metrics-") as shared:
            os.environ[SHARED] = shared
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_threads() // self.plan.workers)))
            try:
                for _ in range(self.plan.workers):
                    self._start()
                while not self._stops():
                    self._turn()
                    if not self._told and len(self._answering) == self.plan.workers:
                        self._told = True
                        self._ready(time.perf_counter() - started)
            finally:
                self._stop()
                del os.environ[SHARED]

    def _turn(self) -> None:
        """Hear what the workers say, start those that are missing, and reload if a signal said so."""
        for connection in wait(list(self._workers), timeout=0.2):
            assert isinstance(connection, Connection)
            if connection in self._workers and connection.poll():  # a reload may have heard it meanwhile
                self._hear(connection)
        for due in [due for due in self._due if due <= time.monotonic()]:
            self._due.remove(due)
            self._start()
        if signal.SIGHUP in self._signals:
            self._signals = [number for number in self._signals if number != signal.SIGHUP]
            self._tell_all(("keys",))
            for name, reference in list(self.plan.references.items()):
                self._reload(name, reference)

    def _stops(self) -> int:
        """Return how often a signal said to stop."""
        return sum(number in (signal.SIGTERM, signal.SIGINT) for number in self._signals)

    def _start(self) -> None:
        resource_tracker.ensure_running()  # first, for it unblocks signals
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(
            target=_work, args=(self.plan, self._sockets, theirs, self._told), name="affineur-worker"
        )
        # A terminal sends these to the workers, too; they are the supervisor's to handle, and stay blocked in
        # a new process.
        signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
        theirs.close()
        self._workers[ours] = _Process(process, self.plan)

    def _stop(self) -> None:
        """Let every worker drain and end; at once if a signal comes again."""
        at_once = signal.SIGINT in self._signals
        for connection, worker in self._workers.items():
            if not (at_once and connection in self._answering and self._send(connection, ("stop",))):
                worker.process.terminate()
        self._sockets.close()
        end = time.monotonic() + 2 * self.plan.settings.timeout + self.plan.settings.drain + 10
        processes = [worker.process for worker in self._workers.values()]
        while (
            any(process.is_alive() for process in processes) and time.monotonic() < end and self._stops() < 2
        ):
            wait([process.sentinel for process in processes if process.is_alive()], timeout=0.2)
        for process in processes:
            process.kill()
            process.join()

    def _hear(self, connection: Connection) -> None:
        """Handle what a worker says.

        Raises:
            ModelError: If it cannot serve, and none has before.
        """
        try:
            message = connection.recv()
        except (EOFError, OSError):
            self._bury(connection)
            return
        if message[0] == "ready":
            self._pause = 0.0
            if self._workers[connection].plan is self.plan:
                self._answering.add(connection)
            else:  # the others have another artifact meanwhile
                self._workers[connection].process.terminate()
        elif message[0] == "failed":
            if not self._told:
                raise ModelError(message[1])
            logs.event("worker failed", error=message[1])
        elif message[0] == "reload":
            self._send(connection, ("reloaded", *self._reload(message[1], message[2])))

    def _bury(self, connection: Connection) -> None:
        """See to another worker in place of one that is gone, more slowly the more often that happens."""
        from prometheus_client import multiprocess

        process = self._workers.pop(connection).process
        self._answering.discard(connection)
        connection.close()
        process.join(5)
        if process.pid is not None:
            multiprocess.mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        logs.event("worker gone", worker=process.pid, exit=process.exitcode, pause=self._pause)
        self._due.append(time.monotonic() + self._pause)
        self._pause = min(_MOST_PAUSE, 2 * self._pause + 0.5)

    def _reload(self, name: str, reference: str) -> tuple[bool, Any]:
        """Let every worker prepare an artifact, and serve it only if all could."""
        answers = self._ask_all(("prepare", name, reference))
        refused = next((message for done, message in answers if not done), None)
        if refused is not None or not answers:
            self._tell_all(("abort",))
            logs.event("reload refused", model=name, error=refused)
            return False, refused or "no worker is ready"
        self._tell_all(("commit",))
        about: About = answers[0][1]
        references, versions = (
            self.plan.references | {name: reference},
            self.plan.versions | {name: about.version},
        )
        self.plan = replace(self.plan, references=references, versions=versions)
        for connection in self._answering:
            self._workers[connection] = replace(self._workers[connection], plan=self.plan)
        logs.event("reloaded", model=name, sha256=about.sha256)
        return True, about

    def _ask_all(self, message: tuple[Any, ...]) -> list[tuple[bool, Any]]:
        asked = [connection for connection in list(self._answering) if self._send(connection, message)]
        answers: list[tuple[bool, Any]] = []
        end = time.monotonic() + _LONGEST_LOAD
        while asked and (rest := end - time.monotonic()) > 0 and not self._stops():
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
                    give_back()
                elif message[0] == "keys":
                    self._loop.call_soon_threadsafe(self._worker.read_keys)
                elif message[0] == "reloaded":
                    self._loop.call_soon_threadsafe(self._reloaded, message[1], message[2])
                elif message[0] == "stop":
                    self._loop.call_soon_threadsafe(self._worker.stop, 0.0)
        except (EOFError, OSError):  # the supervisor is gone, so nobody would stop this worker
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._reloaded, False, "the endpoint is stopping")
                self._loop.call_soon_threadsafe(self._worker.stop, 0.0)

    def _reloaded(self, done: bool, answer: Any) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result((done, answer))

    def _prepare(self, name: str, reference: str) -> tuple[bool, Any]:
        try:
            self._prepared = self._worker.service.prepare(name, reference)
        except AffineurError as error:
            return False, str(error)
        except Exception as error:  # whatever is wrong with it, the old one serves
            logs.fault("reload refused", model=name)
            return False, f"it cannot be loaded ({type(error).__name__})"
        return True, self._prepared.about


def _work(plan: Plan, sockets: Sockets, connection: Connection, replacement: bool) -> None:
    """What a worker's process does; one that comes in another's place accepts nothing before it can answer."""
    logs.set_up()
    system.limit_arenas()

    def ready(_: Worker) -> None:
        remote.listen()
        with suppress(OSError):  # the supervisor is gone, which the thread hears, too
            connection.send(("ready",))

    with suppress(BrokenPipeError):  # the supervisor is gone
        try:
            worker = Worker(plan, ready, supervised=True)
            remote = _Remote(worker, connection)
            if replacement:
                worker.service.load()
            worker.run(sockets)
        except AffineurError as error:
            connection.send(("failed", str(error)))
