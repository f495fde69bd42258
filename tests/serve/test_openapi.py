"""The served OpenAPI document: valid, complete, kept by the server under schemathesis, and shown by a page
that loads nothing from elsewhere.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import httpx
import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks, openapi
from schemathesis.specs.openapi import checks as checks_of_openapi
from starlette.testclient import TestClient

from .conftest import LIMITS, Endpoint

_TEXT_ROUTES = (
    "/",
    "/predict",
    "/runsync",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/infer",
)


def test_the_document_is_valid_openapi(client: TestClient) -> None:
    validator = pytest.importorskip(
        "openapi_spec_validator", reason="needs openapi-spec-validator (pip install openapi-spec-validator)"
    )
    validator.validate(client.get("/openapi.json").json())


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_schema_is_there_and_every_one_is_used(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) == named


def test_the_document_tells_the_limits_of_this_endpoint(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    text, several = schemas["Request"]["properties"]["inputs"]["anyOf"]
    assert (text["maxLength"], several["items"]["maxLength"], several["maxItems"]) == (
        LIMITS.max_characters,
        LIMITS.max_characters,
        LIMITS.max_inputs,
    )
    most = schemas["Parameters"]["properties"]["stride"]["anyOf"][0]["maximum"]
    answers = [
        client.post("/", json={"inputs": "a", "parameters": {"stride": stride}}).status_code
        for stride in (most, most + 1)
    ]
    assert answers == [200, 422]


def test_every_error_has_the_one_schema(client: TestClient) -> None:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert response["content"]["application/json"]["schema"] == {
                        "$ref": "#/components/schemas/Error"
                    }, (path, status)
            if path in _TEXT_ROUTES:
                assert {"401", "404", "413", "424", "429", "503"} < set(operation["responses"]), path


def test_what_redaction_excludes_is_in_the_schema_and_in_the_server(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schema = {
        **copy.deepcopy(document["components"]["schemas"]["Parameters"]),
        "components": document["components"],
    }
    for redact in (None, "type", "pseudonym"):
        for strategy in (None, "none", "word"):
            for mapped in (None, False, True):
                parameters = {"redact": redact, "aggregation_strategy": strategy, "redact_map": mapped}
                for sent in (
                    parameters,
                    {name: value for name, value in parameters.items() if value is not None},
                ):
                    taken = client.post("/", json={"inputs": "Marie", "parameters": sent}).status_code == 200
                    assert jsonschema_rs.is_valid(schema, sent) == taken, sent


@pytest.mark.parametrize("path", ["/docs"])
def test_the_page_of_the_document_loads_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    page = client.get(path).text
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page) + re.findall(
        r"""url:\s*["']([^"']+)""", page
    )
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith("/"), address
        assert not address.startswith("//"), address
        assert client.get(address).status_code == 200
    assert "http" not in re.sub(r"oauth2RedirectUrl:.*", "", page)
    assert client.get("/redoc").status_code == 404


# ---- schemathesis ----

_ALWAYS = [
    checks.not_a_server_error,
    checks_of_openapi.status_code_conformance,
    checks_of_openapi.content_type_conformance,
    checks_of_openapi.response_schema_conformance,
    checks_of_openapi.response_headers_conformance,
]


def run(endpoint: Endpoint, examples: int) -> None:
    """Send what the document allows and what it does not to every operation, and check every answer against
    it.
    """
    failures = []
    for result in openapi.from_url(f"{endpoint.url}/openapi.json").get_all_operations():
        operation = result.ok()
        modes = (
            list(GenerationMode)
            if operation.body or operation.query or operation.path_parameters
            else [GenerationMode.POSITIVE]
        )
        for mode in modes:
            asked: list[int] = []
            try:
                send(operation, mode, examples if len(modes) > 1 else 2, asked)
            except (Exception, BaseExceptionGroup) as error:
                failures.append(f"{operation.label} {mode} {type(error).__name__} {error}"[:3000])
            else:
                assert sum(asked) >= (examples // 2 if len(modes) > 1 else 1), (
                    f"{operation.label} {mode}: {sum(asked)} requests"
                )
    assert not failures, "\n\n".join(failures)


def send(operation: Any, mode: GenerationMode, examples: int, asked: list[int]) -> None:
    """Send examples to one operation, those with a model in the path to one that is there, but for some."""
    held = list(_ALWAYS)
    if mode is GenerationMode.POSITIVE and not operation.path.endswith(
        "/infer"
    ):  # no schema can say that a shape fits its data
        held.append(checks_of_openapi.positive_data_acceptance)
    if mode is GenerationMode.NEGATIVE and operation.path in ("/", "/predict"):
        held.append(checks_of_openapi.negative_data_rejection)

    @settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
        derandomize=True,
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.integers(0, 3))
    def ask(case: Any, known: int) -> None:
        if known and case.path_parameters:
            case.path_parameters.update(
                {name: {"name": "ner", "version": "1"}[name] for name in case.path_parameters}
            )
        if known and case.query and "model" in case.query:
            case.query["model"] = "int8"
        answer = case.call()
        case.validate_response(
            answer, checks=held if answer.status_code != 413 else _ALWAYS
        )  # which that check takes for no refusal
        asked.append(1)

    ask()


def test_the_server_keeps_its_document(endpoint: Endpoint) -> None:
    run(endpoint, 10)


@pytest.mark.slow
def test_the_server_keeps_its_document_at_length(endpoint: Endpoint) -> None:
    run(endpoint, 120)
    assert 'status="500"' not in httpx.get(f"{endpoint.url}/metrics").text
