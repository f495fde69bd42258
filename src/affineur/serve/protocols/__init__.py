"""How clients speak to the endpoint: one file each, with its paths, bodies and routes together.

Ours are the modules of this package: adding a file whose ``PROTOCOL`` is a :class:`Protocol` is all it takes.
Another distribution adds one by an entry point::

    [project.entry-points."affineur.protocols"]
    mine = "my_package.serving:PROTOCOL"

Keys, refusals under load, the log, metrics and OpenAPI hold for its paths as for ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from affineur.registry import Registry
from affineur.serve.problems import Problem

if TYPE_CHECKING:
    from fastapi import APIRouter
    from pydantic import BaseModel
    from starlette.types import ASGIApp

    from affineur.serve.service import Service
    from affineur.serve.settings import Settings

#: Seconds without a turn after which the event loop of the texts is given no more of them, and after which it
#: is taken for dead.
SLOW, STUCK = 5.0, 30.0


class Health:
    """What health checks ask.

    Args:
        service: Whose state it is.
        still: Seconds for which the event loop that answers texts has not turned; only another one can tell.
    """

    def __init__(self, service: Service, still: Callable[[], float] = lambda: 0.0) -> None:
        self._service, self._still = service, still

    @property
    def loading(self) -> bool:
        """Whether models are being loaded, and nobody asked to stop."""
        return not self._service.ready and not self._service.draining

    def check_ready(self) -> None:
        """Check that every model answers.

        Raises:
            Problem: 503 if not.
        """
        if not self._service.ready:
            raise Problem(
                "unhealthy",
                "the endpoint is stopping" if self._service.draining else "the models are being loaded",
                {"Retry-After": "1"},
            )
        self._check_turning(SLOW)

    def check_live(self) -> None:
        """Check that the process answers.

        Raises:
            Problem: 503 if not.
        """
        self._check_turning(STUCK)

    def _check_turning(self, bound: float) -> None:
        if self._still() > bound:
            raise Problem(
                "unhealthy", "the endpoint answers health checks, but does not read requests any more"
            )


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What an orchestrator asks by GET, at the port of the texts and at the health port; it needs no key.

    Args:
        path: Where.
        answer: Makes the answer, or raises :class:`~affineur.serve.problems.Problem`; its docstring and its
            return annotation are OpenAPI's.
        responses: Other responses, for OpenAPI.
    """

    path: str
    answer: Callable[[Health], Any]
    responses: dict[int | str, dict[str, Any]] = field(default_factory=dict)


class Protocol(ABC):
    """A way for clients to speak to the endpoint.

    Attributes:
        name: Its name, which is also its file's or its entry point's.
        summary: One line that says what it is.
        texts: Templates of its paths that take texts by POST: under load they are refused before their body
            is read. ``{name}`` in one is the model's.
        health: Its health checks. All its other paths need a key, where keys are asked for.
        bodies: Schemas of bodies that its routes read themselves, for OpenAPI.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    texts: ClassVar[tuple[str, ...]] = ()
    health: ClassVar[tuple[HealthCheck, ...]] = ()
    bodies: ClassVar[tuple[type[BaseModel], ...]] = ()

    @abstractmethod
    def router(self, service: Service) -> APIRouter:
        """Return its routes over a service, health checks aside.

        :mod:`affineur.serve.exchange` holds what they need: reading a body within the limits, finding
        entities, answering.
        """

    def short(self, service: Service) -> Mapping[str, ASGIApp]:
        """Return what answers POST at some of its paths without the framework's way there, by path."""
        return {}

    def limit(self, schemas: dict[str, Any], settings: Settings) -> None:
        """Write the endpoint's limits into the JSON schemas of :attr:`bodies`, which are given by name."""
        return


def _check(given: object) -> None:
    if not isinstance(given, Protocol):
        raise TypeError(f"a {type(given).__name__} is no instance of affineur.serve.protocols.Protocol")


#: Every protocol, by name.
PROTOCOLS: Registry[Protocol] = Registry(
    group="affineur.protocols",
    package="affineur.serve.protocols",
    attribute="PROTOCOL",
    what="server protocol",
    check=_check,
)
