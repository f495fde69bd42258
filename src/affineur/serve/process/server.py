"""The process of an endpoint: listen, load, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affineur.errors import AffineurError, ParameterError
from affineur.runtime.memory import trim
from affineur.serve import logs
from affineur.serve.app import create_app
from affineur.serve.feedback import Feedback
from affineur.serve.keys import Key, read_keys, warn_if_open
from affineur.serve.listeners import AnswerListener
from affineur.serve.metrics import Figure, Metrics
from affineur.serve.operations import reload
from affineur.serve.process import system
from affineur.serve.process.health import HEALTH_CONNECTIONS, HealthServer
from affineur.serve.process.listening import Sockets, address, listen
from affineur.serve.process.uvicorn_adapter import MOST_CONNECTIONS, Hooks, Server
from affineur.serve.queue.served import Loader
from affineur.serve.service import Service
from affineur.serve.settings import Settings
from affineur.serve.threads import apart

#: Descriptors of everything but connections for texts: those of health checks, models, and then some.
_FILES = HEALTH_CONNECTIONS + 64
#: Descriptors of a connection: its own, and that of a file it is sent.
_EACH = 2
_LEAST_CONNECTIONS = 8
#: Bytes that the kernel keeps of a connection at worst, for which a container pays, and the share of its
#: memory that all of them may take.
_BUFFERS, _SHARE = 1 << 19, 0.25
#: Bytes of bodies that are gone again for which it is worth giving memory back, and how often that is done.
_WORTH_TRIMMING, _TRIM_SECONDS = 16_000_000, 5.0


@dataclass(frozen=True, slots=True)
class ServePlan:
    """What to serve, and where.

    Args:
        references: What the user typed for each model, by the name it is served under; the first is the
            default.
        loader: Loads and proves a model.
        settings: Limits.
        host: Address to listen on.
        port: Port; 0 for any that is free.
        health_port: A port for health checks alone (RunPod's ``PORT_HEALTH``), answered by a thread of its
            own; 0 for any that is free.
        key_file: File of keys; without one nobody needs a key, and there is no ``/admin``.
        listeners: Hear of every answer.
        figures: What they count, for Prometheus.
        feedback: Keeps corrections; without it nobody can send any.

    Raises:
        ParameterError: If a port is impossible.
    """

    references: dict[str, str]
    loader: Loader
    settings: Settings
    host: str = "127.0.0.1"
    port: int = 8000
    health_port: int | None = None
    key_file: Path | None = None
    listeners: tuple[AnswerListener, ...] = ()
    figures: tuple[Figure, ...] = ()
    feedback: Feedback | None = None

    def __post_init__(self) -> None:
        for name, port in (("port", self.port), ("health_port", self.health_port or 0)):
            if not 0 <= port <= 65535:
                raise ParameterError(f"{name}={port} is impossible, expected 0 to 65535", name)


class Endpoint:
    """What serves in this process.

    Args:
        plan: What to serve.
        ready: Called once, in the event loop, with the seconds it took, when every model answers.
        most: Connections for texts that there may be.

    Raises:
        ParameterError: If the keys cannot be read.
    """

    def __init__(self, plan: ServePlan, ready: Callable[[float], None], most: int = MOST_CONNECTIONS) -> None:
        self.plan = plan
        self.keys: tuple[Key, ...] = read_keys(plan.key_file) if plan.key_file else ()
        self.service = Service(
            plan.references, plan.loader, plan.settings, Metrics(plan.figures), plan.listeners
        )
        logs.tell_dropped(self.service.metrics.unlogged.inc)
        self.failure: AffineurError | None = None
        self._most, self._trim_next = most, 0.0
        self._started = time.perf_counter()
        self._ready = ready
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading: asyncio.Task[None] | None = None
        self._reload_asked = self._reloads = False

    def run(self, sockets: Sockets) -> None:
        """Serve until a signal says to stop, and every accepted request is answered.

        Health checks at a port of their own are answered until the end.

        Raises:
            AffineurError: If a model cannot be served.
        """
        app = create_app(self.service, lambda: self.keys, self.plan.feedback)
        _shorten_collections()
        with contextlib.ExitStack() as stack:
            health = None
            if sockets.apart is not None:
                health = stack.enter_context(HealthServer(self.service, sockets.apart))
            hooks = Hooks(
                started=self._start_loading,
                turned=lambda: self.turn(health),
                signals={
                    signal.SIGTERM: lambda: self.stop(self.plan.settings.drain),
                    signal.SIGINT: lambda: self.stop(0.0),
                    signal.SIGHUP: self.hang_up,
                },
            )
            self._server = Server(app, int(2 * self.plan.settings.timeout) + 5, hooks, self._most)
            self._server.run([sockets.main])
            self.service.close()
        if self.failure is not None:
            raise self.failure
        logs.event("stopped")

    def turn(self, health: HealthServer | None) -> None:
        """Tell that the event loop turns, and give back what bodies and heads took, which glibc keeps."""
        if health is not None:
            health.turn()
        every = (self.service.bodies, self._server.server_state.holdings)
        over = [each for each in every if each.peak >= max(_WORTH_TRIMMING, 2 * each.total)]
        if over and (now := time.monotonic()) >= self._trim_next:
            self._trim_next = now + _TRIM_SECONDS
            for each in over:
                each.peak = each.total
            self.spawn(asyncio.to_thread(trim))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine beside the requests."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _start_loading(self) -> None:
        self._loading = self.spawn(self.load())

    async def load(self) -> None:
        """Load every model, unless that is done, while health checks are already answered."""
        try:
            if not self.service.models:
                await apart(self.service.load)
        except AffineurError as error:
            self.failure = error
            self._server.end()
            return
        except Exception as error:  # a bug, but the process must not stay there without a model
            logs.fault("load failed")
            self.failure = AffineurError(f"the model cannot be loaded ({type(error).__name__})")
            self._server.end()
            return
        if self.service.draining:  # it has taken longer than anybody waits
            return
        self.read_keys()  # who took one back meanwhile has said so, or not
        for model in self.service.models.values():
            logs.event(
                "serving",
                model=model.about.name,
                sha256=model.about.sha256,
                kind=model.about.kind,
                threads=_threads(model.tagger),
            )
        seconds = time.perf_counter() - self._started
        logs.event("ready", seconds=round(seconds, 2))
        await asyncio.to_thread(logs.flush)  # what is told of readiness stands after it
        try:
            self._ready(seconds)
        except AffineurError as error:  # whoever waits for the file that tells would wait for ever
            self.failure = error
            self._server.end()

    def hang_up(self) -> None:
        """Read the keys again at once, and every artifact after what is being loaded already."""
        self.read_keys()
        self._reload_asked = True
        if not self._reloads:
            self._reloads = True
            self.spawn(self._reload_as_asked())

    async def _reload_as_asked(self) -> None:
        if self._loading is not None:
            await asyncio.wait({self._loading})
        while self._reload_asked and not self.service.draining:
            self._reload_asked = False
            await self.reload_all()
        self._reloads = False

    async def reload_all(self) -> None:
        """Load every artifact again from where it was.

        What cannot be used leaves the old in place.
        """
        for name, reference in self.service.references.items():
            try:
                about = await reload(self.service, name, reference)
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
            except Exception:  # whatever is wrong with it, those before are known
                logs.fault("keys refused")

    def stop(self, delay: float) -> None:
        """Say not ready at once, accept for a little longer, then answer what is accepted and end.

        A second time, end at once.
        """
        if self.service.draining:
            self._server.end_at_once()
            return
        self.service.draining = True
        logs.event("draining", waiting=sum(model.admission.inputs for model in self.service.models.values()))
        asyncio.get_running_loop().call_later(delay, self._server.end)


def serve(plan: ServePlan, ready: Callable[[str, str | None, float], None]) -> None:
    """Serve in this process until a signal says to stop.

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
    descriptors = system.raise_descriptors(_EACH * MOST_CONNECTIONS + _FILES)
    if plan.key_file is not None:
        read_keys(plan.key_file)
        warn_if_open(plan.key_file)
    sockets = listen(plan.host, plan.port, plan.health_port)
    url, health = address(sockets.main), None if sockets.health is None else address(sockets.health)
    told = {"url": url} if health is None else {"url": url, "health": health}
    logs.event("listening", **told, pid=os.getpid())
    Endpoint(
        plan, lambda seconds: ready(url, health, seconds), _connections(descriptors, system.memory())
    ).run(sockets)


def _connections(descriptors: int | None, memory: int | None) -> int:
    """Return how many connections for texts there may be, so that enough is left for all else."""
    most = [MOST_CONNECTIONS]
    if descriptors is not None:
        most.append((descriptors - _FILES) // _EACH)
    if memory is not None:
        most.append(int(_SHARE * memory) // _BUFFERS)
    return max(_LEAST_CONNECTIONS, min(most))


def _shorten_collections() -> None:
    """Keep Python's garbage collector from stopping every thread for long.

    Looking through all objects of the process took up to a third of a second in a burst of connections, in
    which no health check was answered. What imports made stays anyhow, and need not be looked at; the
    requests of a burst are looked at in small portions, and all of them seldom.
    """
    gc.freeze()
    gc.set_threshold(5_000, 2, 100)


def _threads(tagger: Any) -> int | None:
    return getattr(tagger, "threads", None)
