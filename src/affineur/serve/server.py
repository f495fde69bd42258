"""One process of an endpoint: listen, load, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from affineur.errors import AffineurError, ParameterError
from affineur.serve import logs, system
from affineur.serve.app import Reload, create_app, reload_here
from affineur.serve.health import HealthServer
from affineur.serve.keys import Key, read_keys, warn_if_open
from affineur.serve.listening import BACKLOG, Sockets, address, configure, listen
from affineur.serve.metrics import Metrics
from affineur.serve.served import Loader
from affineur.serve.service import Service
from affineur.serve.settings import Settings

#: Seconds that a connection which exists when accepting ends has for its request.
_SPEAK = 0.5
#: Descriptors of everything but connections of clients, and then some.
_FILES = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """What to serve, and where.

    Args:
        references: What the user typed for each model, by the name it is served under; the first is the
            default.
        loader: Loads and proves a model.
        settings: Limits.
        host: Address to listen on.
        port: Port; 0 for any that is free.
        health_port: A port for probes alone (RunPod's ``PORT_HEALTH``), answered by a thread of its own; 0
            for any that is free.
        key_file: File of keys; without one nobody needs a key, and there is no ``/admin``.
        workers: Processes.
        versions: Numbers of the artifacts to begin with, where other workers serve them already.
    """

    references: dict[str, str]
    loader: Loader
    settings: Settings
    host: str = "127.0.0.1"
    port: int = 8000
    health_port: int | None = None
    key_file: Path | None = None
    workers: int = 1
    versions: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ParameterError(f"{self.workers} workers are impossible, expected at least 1")
        for port in (self.port, self.health_port or 0):
            if not 0 <= port <= 65535:
                raise ParameterError(f"port {port} is impossible, expected 0 to 65535")


class Worker:
    """One process that serves.

    Args:
        plan: What to serve.
        ready: Called once, in the event loop, when every model answers.
        supervised: Whether another process sees to signals and to the end.
    """

    def __init__(self, plan: Plan, ready: Callable[[Worker], None], supervised: bool = False) -> None:
        self.plan, self.supervised = plan, supervised
        self.keys: tuple[Key, ...] = read_keys(plan.key_file) if plan.key_file else ()
        self.service = Service(plan.references, plan.loader, plan.settings, Metrics(), plan.versions)
        self.reload: Reload = reload_here(self.service)
        self.failure: AffineurError | None = None
        self.started = time.perf_counter()
        self._ready = ready
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, sockets: Sockets) -> None:
        """Serve until a signal says to stop, and every accepted request is answered.

        Probes at a port of their own until the end.

        Raises:
            AffineurError: If a model cannot be served.
        """
        app = create_app(
            self.service, lambda: self.keys, lambda name, reference: self.reload(name, reference)
        )
        _shorten_collections()
        self._server = _Server(configure(app, int(2 * self.plan.settings.timeout) + 5), self)
        with contextlib.ExitStack() as stack:
            if sockets.apart is not None:
                self._server.health = stack.enter_context(HealthServer(self.service, sockets.apart))
            self._server.run([sockets.main])
            self.service.close()
        if self.failure is not None:
            raise self.failure
        logs.event("stopped")

    def spawn(self, work: Any) -> None:
        """Run a coroutine beside the requests."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def load(self) -> None:
        """Load every model, unless that is done, while probes are already answered."""
        try:
            if not self.service.models:
                await asyncio.to_thread(self.service.load)
        except AffineurError as error:
            self.failure = error
            self._server.should_exit = True
            return
        except Exception as error:  # a bug, but the process must not stay there without a model
            logs.fault("load failed")
            self.failure = AffineurError(f"the model cannot be loaded ({type(error).__name__})")
            self._server.should_exit = True
            return
        for model in self.service.models.values():
            logs.event(
                "serving",
                model=model.about.name,
                sha256=model.about.sha256,
                kind=model.about.kind,
                threads=_threads(model.tagger),
            )
        logs.event("ready", seconds=round(time.perf_counter() - self.started, 2))
        try:
            self._ready(self)
        except AffineurError as error:  # whoever waits for the file that tells would wait for ever
            self.failure = error
            self._server.should_exit = True

    async def reload_all(self) -> None:
        """Load every artifact, and the keys, again from where they were.

        What cannot be used leaves the old in place.
        """
        self.read_keys()
        for name, reference in self.service.references.items():
            try:
                about = await self.reload(name, reference)
                logs.event("reloaded", model=name, sha256=about.sha256)
            except AffineurError as error:
                logs.event("reload refused", model=name, error=str(error))
            except Exception:  # whatever is wrong with it, the old one serves
                logs.fault("reload refused", model=name)

    def read_keys(self) -> None:
        """Read the file of keys again; one that cannot be used changes nothing."""
        if self.plan.key_file is not None:
            try:
                self.keys = read_keys(self.plan.key_file, empty=True)
            except AffineurError as error:
                logs.event("keys refused", error=str(error))

    def stop(self, delay: float) -> None:
        """Say not ready at once, accept for a little longer, then answer what is accepted and end.

        A second time, end at once.

        Where there is a supervisor, that is who ends a worker at once: a platform may send the first signal
        to it and to the workers.
        """
        if self.service.draining:
            if not self.supervised:
                self._server.should_exit = self._server.force_exit = True
            return
        self.service.draining = True
        logs.event("draining", waiting=sum(model.admission.inputs for model in self.service.models.values()))
        asyncio.get_running_loop().call_later(delay, self._server.end)


class _Server(uvicorn.Server):
    health: HealthServer | None = None

    def __init__(self, config: uvicorn.Config, worker: Worker) -> None:
        super().__init__(config)
        self._worker = worker

    def end(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._worker.spawn(self._worker.load())

    async def on_tick(self, counter: int) -> bool:
        if self.health is not None:
            self.health.turn()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, hear who has connected until then, and answer what is accepted.

        uvicorn alone hangs up on connections whose request it has not read yet.
        """
        connected = []
        for listener in sockets or []:  # whom the kernel has let in would be reset when the socket is closed
            with contextlib.suppress(OSError):
                while True:
                    connected.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in connected:
            connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        end = time.monotonic() + _SPEAK
        while (
            not self.force_exit
            and time.monotonic() < end
            and any(getattr(c, "cycle", c) is None for c in self.server_state.connections)
        ):
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )  # type: ignore

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        drain = self._worker.plan.settings.drain
        loop.add_signal_handler(signal.SIGTERM, self._worker.stop, drain)
        if not self._worker.supervised:
            loop.add_signal_handler(signal.SIGINT, self._worker.stop, 0.0)
            loop.add_signal_handler(signal.SIGHUP, lambda: self._worker.spawn(self._worker.reload_all()))
        yield


def serve(plan: Plan, ready: Callable[[str, str | None, float], None]) -> None:
    """Serve in this process, or in several, until a signal says to stop.

    Args:
        plan: What to serve, and where.
        ready: Called once with the URL, that of the health port where one was asked for, and the seconds it
            took, when every model answers.

    Raises:
        ParameterError: If a port is taken or the keys cannot be read.
        AffineurError: If a model cannot be served.
    """
    logs.set_up()
    system.limit_arenas()
    system.raise_descriptors(BACKLOG + plan.settings.max_waiting_inputs + _FILES)
    if plan.key_file is not None:
        read_keys(plan.key_file)
        warn_if_open(plan.key_file)
    sockets = listen(plan.host, plan.port, plan.health_port)
    url, health = address(sockets.main), None if sockets.health is None else address(sockets.health)
    logs.event(
        "listening",
        url=url,
        **({} if health is None else {"health": health}),
        workers=plan.workers,
        pid=os.getpid(),
    )
    if plan.workers == 1:
        Worker(plan, lambda worker: ready(url, health, time.perf_counter() - worker.started)).run(sockets)
        return
    from affineur.serve.workers import Supervisor

    Supervisor(plan, sockets, lambda seconds: ready(url, health, seconds)).run()


def _shorten_collections() -> None:
    """Keep Python's garbage collector from stopping every thread for long.

    Looking through all objects of the process took up to a third of a second in a burst of connections, in
    which no probe was answered. What imports made stays anyhow, and need not be looked at; the requests of a
    burst are looked at in small portions, and all of them seldom.
    """
    gc.freeze()
    gc.set_threshold(5_000, 2, 100)


def _threads(tagger: Any) -> int | None:
    return getattr(tagger, "threads", None)
