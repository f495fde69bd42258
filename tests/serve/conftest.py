"""The real endpoint of two tiny models: as an application, behind a client of tests, and on a port."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from affineur.pipeline.models import load_to_serve as load
from affineur.serve.access import AccessGate
from affineur.serve.app import create_app
from affineur.serve.metrics import Metrics
from affineur.serve.process.listening import address, listen
from affineur.serve.process.uvicorn_adapter import Server
from affineur.serve.service import Service
from affineur.serve.settings import Settings

from .held import until

LIMITS = Settings(max_inputs=64, max_characters=20_000, max_body_bytes=200_000)


@dataclass(frozen=True)
class Endpoint:
    """Where an endpoint is, and what is behind it."""

    url: str
    service: Service

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)


@contextlib.contextmanager
def loaded(models: Mapping[str, Path], settings: Settings = LIMITS) -> Iterator[Service]:
    """Load models to serve."""
    service = Service({name: str(path) for name, path in models.items()}, load, settings, Metrics())
    service.load()
    yield service
    service.close()


@contextlib.contextmanager
def listening(service: Service) -> Iterator[Endpoint]:
    """Serve in a thread, on a port that is free."""
    server, sockets = Server(create_app(service), grace=5), listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([sockets.main],), daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive())
    assert thread.is_alive()
    yield Endpoint(address(sockets.main), service)
    server.end()
    thread.join(30)


@pytest.fixture(scope="session")
def service(shared_onnx: Path, shared_int8: Path) -> Iterator[Service]:
    """Two models: ``ner`` in full precision, ``int8`` in eight bits."""
    with loaded({"ner": shared_onnx, "int8": shared_int8}) as service:
        yield service


@pytest.fixture(scope="session")
def app(service: Service) -> AccessGate:
    """The application, gate included."""
    return create_app(service)


@pytest.fixture
def client(app: AccessGate) -> Iterator[TestClient]:
    """A client that needs no port."""
    with TestClient(app, raise_server_exceptions=True) as client:
        yield client


@pytest.fixture(scope="session")
def endpoint(service: Service) -> Iterator[Endpoint]:
    """The same two models on a port."""
    with listening(service) as endpoint:
        yield endpoint
