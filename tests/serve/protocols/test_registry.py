"""Protocols are found by file name, or come from another package, and are served like ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from fastapi import APIRouter

from affineur.errors import AffineurError, ParameterError
from affineur.pipeline.models import load_to_serve as load
from affineur.serve.app import create_app, health_checks, paths
from affineur.serve.keys import add_key
from affineur.serve.metrics import Metrics
from affineur.serve.protocols import PROTOCOLS, Protocol
from affineur.serve.service import Service
from distributions import distribution

from ..conftest import LIMITS
from ..running import TEXT, running

PLUGIN = '''
from fastapi import APIRouter
from pydantic import BaseModel

from affineur.serve.exchange import answer_request
from affineur.serve.parameters import Parameters
from affineur.serve.protocols import HealthCheck, Protocol
from fastapi import Request


class Letter(BaseModel):
    letter: str


def alive(health) -> dict[str, bool]:
    """Whether the process answers."""
    health.check_live()
    return {"alive": True}


class Post(Protocol):
    name, summary = "post", "letters"
    texts = ("/post/{name}",)
    health = (HealthCheck("/post/alive", alive),)

    def router(self, service):
        router = APIRouter()

        @router.post("/post/{name}")
        async def post(request: Request, name: str, letter: Letter) -> dict[str, int]:
            """Count the mentions of a letter."""
            found, _ = await answer_request(request, service, name, [letter.letter], Parameters())
            return {"mentions": len(found[0])}

        return router


PROTOCOL = Post()
'''


def test_ours_are_the_files_of_the_folder() -> None:
    folder = Path(sys.modules["affineur.serve.protocols"].__file__ or "").parent
    files = {path.stem for path in folder.glob("[!_]*.py")}
    assert set(PROTOCOLS.names()) >= files == {"huggingface", "kserve", "openai", "runpod"}
    for name in files:
        protocol = PROTOCOLS.get(name)
        assert protocol.name == name
        assert protocol.summary


@pytest.mark.parametrize("name", ["huggingface", "kserve", "openai", "runpod"])
def test_what_a_protocol_says_of_its_paths_is_what_it_routes(name: str) -> None:
    protocol = PROTOCOLS.get(name)
    service = Service({"ner": "model"}, load, LIMITS, Metrics())
    routes = protocol.router(service).routes
    shown = [route for route in routes if route.include_in_schema]  # type: ignore[attr-defined]
    posts = {route.path for route in shown if "POST" in route.methods}  # type: ignore[attr-defined]
    assert posts == set(protocol.texts)
    assert set(protocol.short(service)) <= posts
    assert not {check.path for check in protocol.health} & {route.path for route in routes}  # type: ignore[attr-defined]


def test_the_gate_knows_every_health_check_and_every_path_of_texts() -> None:
    assert paths().health == {check.path for check in health_checks()}
    assert len(paths().health) == 6
    every = create_app(Service({"ner": "model"}, load, LIMITS, Metrics())).app.routes  # type: ignore[attr-defined]
    assert {*paths().health, *paths().texts} <= {route.path for route in every}


def test_another_package_adds_one_with_keys_health_checks_and_openapi(
    tmp_path: Path, shared_onnx: Path
) -> None:
    site = tmp_path / "site"
    distribution(site, "letters", PLUGIN, "affineur.protocols", post="PROTOCOL")
    code = "raise RuntimeError('out of order')"
    distribution(site, "broken", code, "affineur.protocols", ruined="PROTOCOL", other="PROTOCOL")
    key = add_key(tmp_path / "keys", "web")
    bearer = {"Authorization": f"Bearer {key}"}
    with running(
        tmp_path,
        shared_onnx,
        "--port",
        0,
        "--health-port",
        0,
        "--key-file",
        tmp_path / "keys",
        PYTHONPATH=os.pathsep.join([str(site), *sys.path]),
    ) as endpoint:
        endpoint.ready()
        letter = {"letter": TEXT}
        bearer["Content-Type"] = "application/json"  # which FastAPI asks for
        assert endpoint.ask(letter, "/post/ner")[0] == 401
        status, found, headers = endpoint.ask(letter, "/post/ner", **bearer)
        assert (status, "x-request-id" in headers) == (200, True)
        assert found == {"mentions": len(endpoint.ask({"inputs": TEXT}, **bearer)[1])}
        assert endpoint.ask(letter, "/post/nobody", **bearer)[0] == 404
        assert endpoint.ask({}, "/post/ner", **bearer)[0] == 422
        assert endpoint.ask(None, "/post/alive")[:2] == (200, {"alive": True})  # no key
        document = endpoint.ask(None, "/openapi.json")[1]
        assert {"/post/{name}", "/post/alive", "/predict"} <= set(document["paths"])
        assert 'route="/post/{name}"' in endpoint.ask(None, "/metrics", **bearer)[1]
        warned = [line for line in endpoint.errors.splitlines() if "broken" in line]
        assert len(warned) == 2
        assert "'ruined'" in "".join(warned)
        assert "out of order" in warned[0]
        (checked,) = endpoint.events("listening")
        endpoint.port = int(checked["health"].rpartition(":")[2])
        assert endpoint.ask(None, "/post/alive")[:2] == (200, {"alive": True})
        assert endpoint.ask(letter, "/post/ner")[0] == 404
        assert endpoint.stop() == 0


class Greedy(Protocol):
    name, summary = "greedy", "wants what is taken"

    def router(self, service: Service) -> APIRouter:
        router = APIRouter()
        router.post("/predict")(lambda: None)
        return router


class Failing(Protocol):
    name, summary = "failing", "fails"

    def router(self, service: Service) -> APIRouter:
        raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        (Greedy(), r"the server protocol 'mine' wants POST /predict, which is taken"),
        (Failing(), r"the server protocol 'mine' cannot be served \(RuntimeError: no such thing\)"),
    ],
)
def test_one_that_takes_a_path_or_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, protocol: Protocol, said: str
) -> None:
    every = {**PROTOCOLS.all(), "mine": protocol}
    monkeypatch.setattr(PROTOCOLS, "all", lambda: every)
    with pytest.raises(AffineurError, match=said):
        create_app(Service({"ner": "model"}, load, LIMITS, Metrics()))


def test_an_unknown_one_is_told() -> None:
    with pytest.raises(ParameterError, match=r"no server protocol 'kserv', .*did you mean 'kserve'"):
        PROTOCOLS.get("kserv")
