"""What every request passes: keys, identity, the log, and labels of metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from starlette.testclient import TestClient

from affineur.serve.app import create_app, paths
from affineur.serve.keys import Key
from affineur.serve.service import Service

from .held import logged

SECRET = "Hildegarde Quetzal"
OPEN = paths().health | paths().open


def _key(name: str, admin: bool = False) -> Key:
    return Key(name, sha256(f"secret-{name}".encode()).hexdigest(), admin)


def _shown(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer secret-{name}"}


@pytest.fixture(scope="module")
def guarded(service: Service) -> Iterator[TestClient]:
    with TestClient(
        create_app(service, lambda: (_key("clinic"), _key("chief", admin=True))),
        raise_server_exceptions=False,
    ) as client:
        yield client


@pytest.fixture
def told() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    with logged() as told:
        yield told


def test_without_keys_everything_is_open_and_admin_is_not_there(client: TestClient) -> None:
    assert client.post("/", json={"inputs": SECRET}).status_code == 200
    answer = client.post("/admin/reload", json={}, headers=_shown("chief"))
    assert (answer.status_code, answer.json()["error_type"]) == (404, "NotFound")


@pytest.mark.parametrize(
    "path",
    ["/", "/predict", "/info", "/metrics", "/v2", "/v2/models/ner", "/admin/reload", "/runsync", "/nowhere"],
)
@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic secret-clinic"},
        {"Authorization": "secret-clinic"},
    ],
)
def test_the_wrong_key_opens_nothing(guarded: TestClient, path: str, shown: dict[str, str]) -> None:
    for method in ("GET", "POST") if path != "/" else ("POST",):  # a browser is shown the page
        answer = guarded.request(method, path, headers=shown)
        assert (answer.status_code, answer.json()["error_type"], answer.headers["www-authenticate"]) == (
            401,
            "Unauthorized",
            "Bearer",
        )


@pytest.mark.parametrize("path", sorted(OPEN))
def test_health_checks_and_pages_need_no_key(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_a_browser_is_shown_the_page(guarded: TestClient) -> None:
    answer = guarded.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "ui")


@pytest.mark.parametrize("path", sorted(OPEN))
def test_monitors_may_ask_by_head(guarded: TestClient, path: str) -> None:
    assert guarded.head(path).status_code == 200


def test_a_misspelt_query_is_no_default(guarded: TestClient) -> None:
    answer = guarded.post("/predict?modle=other", json={"inputs": "Paris"}, headers=_shown("clinic"))
    assert (answer.status_code, answer.json()["error_type"]) == (422, "Validation")


@pytest.mark.parametrize(
    "path",
    [
        "/ui/../admin/reload",
        "/docs/../info",
        "/ping/../metrics",
        "//info",
        "/ui/%2e%2e/info",
        "/PING",
        "/ping/",
    ],
)
def test_no_spelling_of_a_path_gets_round_the_key(guarded: TestClient, path: str) -> None:
    answer = guarded.request("POST" if "reload" in path else "GET", path, follow_redirects=False)
    assert answer.status_code in (401, 404, 405, 307)
    assert "ner_" not in answer.text


def test_a_key_opens_texts_and_only_an_admins_opens_admin(
    guarded: TestClient, told: Callable[[], list[dict[str, Any]]]
) -> None:
    assert guarded.post("/", json={"inputs": "Paris"}, headers=_shown("clinic")).status_code == 200
    assert guarded.post("/admin/reload", json={"name": "nobody"}, headers=_shown("clinic")).status_code == 403
    assert (
        guarded.post("/admin/reload", json={"name": "nobody"}, headers=_shown("chief")).status_code == 404
    )  # let in, and no such model
    assert [line.get("key") for line in told()] == ["clinic", None, "chief"]


def test_an_identity_is_echoed_if_it_is_one(
    client: TestClient, told: Callable[[], list[dict[str, Any]]]
) -> None:
    sane = "a.B-9_" * 10
    assert client.get("/info", headers={"x-request-id": sane}).headers["x-request-id"] == sane
    for strange in ("", "a b", "é", "x" * 65, "a\tb", '"}', "<script>"):
        answer = client.get("/info", headers=[(b"x-request-id", strange.encode("latin-1"))])
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert client.get("/nowhere").headers["x-request-id"]
    assert {len(line["id"]) for line in told()} == {60, 32}


def test_labels_are_never_from_a_user(
    client: TestClient, service: Service, told: Callable[[], list[dict[str, Any]]]
) -> None:
    for path in (
        f"/{SECRET}",
        f"/v2/models/{SECRET}",
        f"/v2/models/{SECRET}/infer",
        f"/v2/models/ner/versions/{SECRET}/infer",
        f"/ui/{SECRET}",
    ):
        for method in ("GET", "POST", "PUT", "DELETE", "BREW", "HILDEGARDE"):
            assert client.request(method, path, headers={"User-Agent": SECRET}).status_code >= 400
    for query in ({"model": SECRET}, {SECRET: "1"}, {"model": SECRET * 10}):
        client.post(
            "/predict", params=query, json={"inputs": SECRET, "parameters": {"ignore_labels": [SECRET]}}
        )
        client.post("/predict", params=query, json={"inputs": SECRET, SECRET: 1})
    text = service.metrics.text()[0].decode()
    lines = told()
    for part in SECRET.split():
        assert part.lower() not in text.lower()
        assert part.lower() not in json.dumps(lines).lower()
    routes = set(re.findall(r'route="([^"]*)"', text))
    assert routes <= {
        "/",
        "/predict",
        "/runsync",
        "/v2",
        "/info",
        "/ui",
        "other",
        "/admin/reload",
        "/metrics",
        *OPEN,
    } | {route for route in routes if "{" in route}
    assert set(re.findall(r'method="([^"]*)"', text)) <= {"GET", "HEAD", "POST", "PUT", "DELETE", "other"}
    assert set(re.findall(r'model="([^"]*)"', text)) <= {"ner", "int8"}


@pytest.mark.parametrize("where", ["read", "compute", "results"])
def test_a_bug_is_logged_by_kind_and_place_and_quotes_no_text(
    service: Service, monkeypatch: pytest.MonkeyPatch, told: Callable[[], list[dict[str, Any]]], where: str
) -> None:
    tagger = service.models["ner"].tagger
    plain = tagger.read

    def broken(*given: Any) -> Any:
        raise ValueError(f"cannot read {SECRET} {given}")

    def read(*given: Any) -> Any:
        reading = plain(*given)
        monkeypatch.setattr(reading, "results", broken)
        return reading

    if where == "compute":
        monkeypatch.setattr(tagger, "lane_logits", broken)
    else:
        monkeypatch.setattr(tagger, "read", broken if where == "read" else read)
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        answer = client.post("/", json={"inputs": SECRET}, headers={"x-request-id": "me"})
    assert (answer.status_code, answer.json()["error_type"]) == (
        (424, "Backend") if where == "compute" else (500, "Internal")
    )
    lines = told()
    assert "Hildegarde" not in answer.text + json.dumps(lines)
    (fault,) = [line for line in lines if line["level"] == "error"]
    assert (fault["exception"], fault["place"].partition(":")[0]) == ("ValueError", "test_access.py")
    assert lines[-1]["status"] == answer.status_code
    assert lines[-1]["id"] == "me"


def test_what_asyncio_says_of_a_lost_task_quotes_no_text(told: Callable[[], list[dict[str, Any]]]) -> None:
    import asyncio
    import gc

    async def broken() -> None:
        raise ValueError(SECRET)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda _: 1 / 0, SECRET)
        task = loop.create_task(broken())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(run())
    lines = told()
    assert [line["event"] for line in lines] == ["Exception", "Task exception was never retrieved"]
    assert [line["exception"] for line in lines] == ["ZeroDivisionError", "ValueError"]
    assert "Hildegarde" not in json.dumps(lines)


def test_a_stopping_endpoint_closes_connections_and_is_not_ready(
    service: Service, monkeypatch: pytest.MonkeyPatch, client: TestClient
) -> None:
    monkeypatch.setattr(service, "draining", True)
    assert client.get("/health/live").status_code == 200
    for path in ("/health", "/health/ready", "/v2/health/ready", "/ping"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error_type"]) == (503, "Unhealthy")
    answer = client.post("/", json={"inputs": "Paris"})
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    "path", ["/metrics%0A", "/info%0a", "/health%0A", "/predict%0d", "/v2/models/ner/infer%0A"]
)
def test_a_path_with_a_line_feed_is_no_path(client: TestClient, path: str) -> None:
    """Issue 19: a proxy that closes /metrics let it pass, and Starlette's routes took it for the same."""
    for answer in (client.get(path), client.post(path, json={"inputs": "Marie"})):
        assert (answer.status_code, answer.json()["error_type"]) == (404, "NotFound")
