"""The real endpoint of two tiny models: as an application, behind a client of tests, and on a port."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from starlette.testclient import TestClient

from affineur.cli.serve import load
from affineur.serve.app import create_app
from affineur.serve.gate import Gate
from affineur.serve.listening import address, configure, listen
from affineur.serve.metrics import Metrics
from affineur.serve.service import Service
from affineur.serve.settings import Settings

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
    server, sockets = uvicorn.Server(configure(create_app(service), grace=5)), listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([sockets.main],), daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.01)
    yield Endpoint(address(sockets.main), service)
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="session")
def service(shared_onnx: Path, shared_int8: Path) -> Iterator[Service]:
    """Two models: ``ner`` in full precision, ``int8`` in eight bits."""
    with loaded({"ner": shared_onnx, "int8": shared_int8}) as service:
        yield service


@pytest.fixture(scope="session")
def app(service: Service) -> Gate:
    """The application, gate included."""
    return create_app(service)


@pytest.fixture
def client(app: Gate) -> Iterator[TestClient]:
    """A client that needs no port."""
    with TestClient(app, raise_server_exceptions=True) as client:
        yield client


@pytest.fixture(scope="session")
def endpoint(service: Service) -> Iterator[Endpoint]:
    """The same two models on a port."""
    with listening(service) as endpoint:
        yield endpoint
