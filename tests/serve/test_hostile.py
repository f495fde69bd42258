"""Bodies and texts made to break a server: an answer or a documented error for each, no word of the user's in
any, and it lives on.
"""

from __future__ import annotations

import json
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from affineur.serve.app import create_app
from affineur.serve.problems import ERROR_TYPES, STATUS
from affineur.serve.service import Service
from affineur.serve.settings import Settings

from .conftest import LIMITS, Endpoint, loaded
from .held import until

SECRET = "Zénobie"
STRATEGIES = ("word", "none", "simple", "first", "average", "max")
KINDS = {(ERROR_TYPES[kind], status) for kind, status in STATUS.items()}
ROUTES = ("/", "/predict", "/runsync", "/v2/models/ner/infer")
DEEP = 10_000

BODIES: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n\t ",
    "null": b"null",
    "number": b"1",
    "negative zero": b"-0",
    "text": f'"{SECRET}"'.encode(),
    "list": f'["{SECRET}"]'.encode(),
    "true": b"true",
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "nested lists": b"[" * DEEP + b"]" * DEEP,
    "nested objects": b'{"inputs":' * DEEP + b"1" + b"}" * DEEP,
    "nested, not closed": b'{"inputs":[' * DEEP,
    "truncated": f'{{"inputs": "{SECRET}'.encode(),
    "truncated UTF-8": f'{{"inputs": "{SECRET} é'.encode()[:-1],
    "damaged UTF-8": f'{{"inputs": "{SECRET} '.encode() + b'\xc3"}',
    "overlong UTF-8": b'{"inputs": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"inputs": "\xed\xa0\x80"}',
    "UTF-16": f'{{"inputs": "{SECRET}"}}'.encode("utf-16"),
    "NUL alone": b"\0",
    "raw NUL": f'{{"inputs": "{SECRET}\0"}}'.encode(),
    "comment": f'{{"inputs": "{SECRET}" /* */}}'.encode(),
    "two values": f'{{"inputs": "{SECRET}"}}{{"inputs": "{SECRET}"}}'.encode(),
    "form": f"inputs={SECRET}".encode(),
    "huge number": b'{"inputs": ' + b"9" * 100_000 + b"}",
    "binary": bytes(range(256)) * 16,
    "gzip": bytes.fromhex("1f8b0800000000000003ab56cacc2b28") + b"\0" * 20,
}
INPUTS: dict[str, Any] = {
    "null": None,
    "number": 5,
    "float": 1e308,
    "true": True,
    "object": {SECRET: SECRET},
    "empty": "",
    "no texts": [],
    "numbers": [1, 2],
    "null among texts": [SECRET, None],
    "lists of lists": [[SECRET]],
}
#: Raw JSON after ``"inputs": "…"``.
PARAMETERS = (
    '{"threshold": NaN}',
    '{"threshold": -Infinity}',
    '{"threshold": 1e999}',
    '{"threshold": "0.5"}',
    '{"stride": 1e400}',
    '{"stride": 99999999999999999999999999}',
    '{"stride": -1}',
    '{"stride": true}',
    f'{{"aggregation_strategy": "{SECRET}"}}',
    f'{{"{SECRET}": 1}}',
    f'{{"ignore_labels": "{SECRET}"}}',
    f'{{"ignore_labels": [{", ".join(["1"] * 50)}]}}',
    f'{{"ignore_labels": {json.dumps([SECRET] * 101)}}}',
    f'{{"redact": "{SECRET}"}}',
    f'["{SECRET}"]',
    f'"{SECRET}"',
)


def faults(exposition: str) -> list[str]:
    """How often which route has met a bug."""
    return [line for line in exposition.splitlines() if 'status="500"' in line and "_count" in line]


@pytest.fixture(scope="module", autouse=True)
def faults_before(service: Service) -> list[str]:
    """Those that the tests of other modules have made on purpose."""
    return faults(service.metrics.text()[0].decode())


def check(answer: Any, *statuses: int) -> dict[str, Any]:
    """Check that an answer is a documented error without a word of the user's."""
    body: dict[str, Any] = answer.json()
    assert answer.status_code in statuses, answer.text
    assert set(body) == {"error", "error_type"}
    assert (body["error_type"], answer.status_code) in KINDS or answer.status_code == 400
    assert "\n" not in body["error"]
    assert len(body["error"]) < 300
    assert SECRET not in answer.text
    assert json.dumps(SECRET)[1:-1] not in answer.text
    return body


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies_that_are_no_requests(client: TestClient, route: str, body: bytes) -> None:
    check(client.post(route, content=body), 400, 413, 422)


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_inputs_that_are_no_texts(client: TestClient, inputs: Any) -> None:
    check(client.post("/predict", json={"inputs": inputs}), 400, 422)
    failed = client.post("/runsync", json={"input": {"inputs": inputs}}).json()
    assert failed["status"] == "FAILED"
    assert SECRET not in failed["error"]
    tensor = {"name": SECRET, "shape": [1], "datatype": "BYTES", "data": inputs}
    if inputs != [[SECRET]]:  # rows of texts are of the protocol
        check(client.post("/v2/models/ner/infer", json={"inputs": [tensor]}), 400)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_parameters_that_are_none(client: TestClient, parameters: str) -> None:
    check(client.post("/", content=f'{{"inputs": "{SECRET}", "parameters": {parameters}}}'), 422)
    job = client.post(
        "/runsync", content=f'{{"input": {{"inputs": "{SECRET}", "parameters": {parameters}}}}}'
    )
    assert job.status_code == 422 or job.json()["status"] == "FAILED"
    assert SECRET not in job.text
    tensor = json.dumps([{"name": "args", "shape": [1], "datatype": "BYTES", "data": [SECRET]}])
    check(
        client.post("/v2/models/ner/infer", content=f'{{"inputs": {tensor}, "parameters": {parameters}}}'),
        400,
    )


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\udc00\\ud800", "\\ud800\\ud800", "\\ud83d"])
@pytest.mark.parametrize("route", ROUTES)
def test_lone_surrogates_are_refused(client: TestClient, route: str, escape: str) -> None:
    text = f'"{SECRET} {escape} a"'
    tensor = f'{{"name": "args", "shape": [1], "datatype": "BYTES", "data": [{text}]}}'
    bodies = {
        "/runsync": f'{{"input": {{"inputs": {text}}}}}',
        "/v2/models/ner/infer": f'{{"inputs": [{tensor}]}}',
    }
    check(client.post(route, content=bodies.get(route, f'{{"inputs": {text}}}')), 400, 422)


def test_of_a_key_twice_the_last_counts(client: TestClient) -> None:
    plain = client.post("/", json={"inputs": "Marie Duval"}).json()
    assert client.post("/", content='{"inputs": "Paris", "inputs": "Marie Duval"}').json() == plain


@pytest.mark.parametrize("strategy", ["word", pytest.param("simple", marks=pytest.mark.slow)])
def test_a_word_of_a_million_characters(shared_onnx: Path, strategy: str) -> None:
    word = "é" * 1_000_000
    with (
        loaded({"ner": shared_onnx}, Settings(max_characters=1_000_000)) as service,
        TestClient(create_app(service)) as client,
    ):
        answer = client.post("/", json={"inputs": word, "parameters": {"aggregation_strategy": strategy}})
        if answer.status_code != 200:  # more than this machine computes in time is a documented refusal
            assert (answer.status_code, answer.json()["error_type"]) in (
                (413, "Validation"),
                (429, "Overloaded"),
            )
        else:
            hold(word, answer.json())
        assert client.get("/ping").status_code == 200
        body = check(client.post("/", json={"inputs": word + "é"}), 413)
        assert body["error"] == "a text of 1000001 characters, expected at most 1000000"
        assert all(model.admission.inputs == model.admission.tokens == 0 for model in service.models.values())


def test_limits_hold_to_the_one(client: TestClient) -> None:
    assert client.post("/", json={"inputs": "a" * LIMITS.max_characters}).status_code == 200
    check(client.post("/", json={"inputs": "a" * (LIMITS.max_characters + 1)}), 413)
    assert len(client.post("/", json={"inputs": ["a"] * LIMITS.max_inputs}).json()) == LIMITS.max_inputs
    check(client.post("/", json={"inputs": ["a"] * (LIMITS.max_inputs + 1)}), 413)
    padding = b" " * (LIMITS.max_body_bytes - len(b'{"inputs":"a"}'))
    assert client.post("/", content=b'{"inputs":"a"}' + padding).status_code == 200
    check(client.post("/", content=b'{"inputs":"a"}' + padding + b" "), 413)


# ---- Raw sockets ----


def talk(endpoint: Endpoint, *parts: bytes) -> bytes:
    """Send bytes, and return what comes back until the server has nothing more to say."""
    with socket.create_connection(endpoint.address, timeout=30) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has refused already
        connection.settimeout(2)
        got = b""
        try:
            while part := connection.recv(65536):
                got += part
        except (TimeoutError, ConnectionResetError):
            pass
        return got


HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("route", [b"/", b"/runsync", b"/v2/models/ner/infer"])
def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(endpoint: Endpoint, route: bytes) -> None:
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    got = talk(
        endpoint,
        HEAD.replace(b" / ", b" " + route + b" ") + b"Transfer-Encoding: chunked\r\n\r\n",
        *[chunk] * 20,
    )  # never ends
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b'"error_type":"Validation"' in got
    assert b"connection: close" in got.lower()


def test_a_body_that_says_it_is_over_the_limit_is_not_waited_for(endpoint: Endpoint) -> None:
    assert talk(endpoint, HEAD + b"Content-Length: 200001\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert talk(endpoint, HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n").split()[1] in (b"400", b"413")


def test_a_chunked_body_within_the_limit_is_served(endpoint: Endpoint) -> None:
    body = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in b'{"inputs":"Paris"}') + b"0\r\n\r\n"
    assert talk(
        endpoint, HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body
    ).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /%00%ff%2e%2e/ HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
        b"POST /v2/models/%ff%00/infer HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\nConnection: "
        b"close\r\n\r\n",
        b"POST /?model=%ff%00 HTTP/1.1\r\nHost: here\r\nContent-Length: 14\r\nConnection: close\r\n\r\n"
        + b'{"inputs":"a"}',
    ],
)
def test_what_is_no_http_ends_nothing_but_its_connection(endpoint: Endpoint, request_: bytes) -> None:
    got = talk(endpoint, request_)
    assert not got or got.split()[1][:1] == b"4"
    assert talk(endpoint, b"GET /ping HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 200 "
    )


def test_clients_that_go_leave_nothing_behind(endpoint: Endpoint) -> None:
    text = json.dumps({"inputs": ["Marie Duval habite à Paris. " * 100] * 30}).encode()
    for cut in (len(text), len(text) // 2, 1):
        with socket.create_connection(endpoint.address, timeout=30) as connection:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(text) + text[:cut])

    models = endpoint.service.models.values()
    until(lambda: not any(model.admission.inputs or model.admission.tokens for model in models))


# ---- Texts ----

TEXTS = {
    "C0": "Marie\x00 Duval\x01\x02\x07\x08\x1b[31m à\x1f Paris\x7f.",
    "C1": "Marie\x80\x85Duval\x9f à\x9b Paris.",
    "controls alone": "\x00\x01\x02",
    "white space alone": " \t\n\r\u00a0\u2003\u2028\u2029\u3000",
    "right to left": "يعمل أحمد بن علي في باريس. שרה גרה בתל אביב.",
    "both directions": "Marie \u202eDuval\u202c à \u2067باريس\u2069 Paris.",
    "joined emoji": "👩‍👩‍👧‍👦 Marie 👩🏽‍⚕️ à 🏴󠁧󠁢󠁷󠁬󠁳󠁿 Paris 🇫🇷🇫🇷.",
    "combining marks": "Ma\u0301rie\u0302\u0303\u0304 Du\u0327val a\u0300 Pa\u0301ris" + "\u0301" * 300,
    "marks alone": "\u0301\u0302\u200d\u20e3\ufe0f",
    "no spaces": "東京都渋谷区で田中さんと会いました。ประเทศไทยรวมเลือดเนื้อ។ភ្នំពេញ",
    "BOM": "\ufeffMarie Duval\ufeff habite à Paris.",
    "non-characters": "Marie\ufffe\uffff Duval \U0010ffff à Paris.",
    "private use": "\ue000 Marie \U000f0000",
    "ligatures and width": "ﬁn de ﬀ ＭＡＲＩＥ Ⅷ ﷺ ½ ㎏ Paris",
    "invisible": "Ma\u00adrie\u200b Du\u2060val\u180e à Pa\u200cris",
    "special pieces": "<s> </s> <pad> <unk> <mask> [CLS] [SEP] Marie",
    "placeholders": "[PER] [PER_1] Marie Duval",
    "astral": "𝓜𝓪𝓻𝓲𝓮 𐍈 à 𝔓𝔞𝔯𝔦𝔰",
    "line ends": "Marie\r\nDuval\n\n\nà\rParis\v\f",
    "long word": "é" * 5000 + " Paris",
    "one letter": "a",
    "metaspace": "▁Marie▁Duval ▁ Paris",
}


def hold(text: str, found: list[dict[str, Any]], overlap: bool = False) -> None:
    for each in found:
        assert 0 <= each["start"] < each["end"] <= len(text)
        assert each["word"] == text[each["start"] : each["end"]]
        assert 0 <= each["score"] <= 1
    if not overlap:
        assert all(before["end"] <= after["start"] for before, after in pairwise(found))


def hold_everywhere(client: TestClient, text: str, strategy: str) -> None:
    for model in ("ner", "int8"):
        for ignored in (["O"], []):
            parameters = {"aggregation_strategy": strategy, "ignore_labels": ignored}
            answer = client.post(
                f"/predict?model={model}", json={"inputs": [text, text], "parameters": parameters}
            )
            assert answer.status_code == 200, answer.text
            for found in answer.json():
                hold(text, found, strategy == "none")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_strange_texts_keep_every_promise(client: TestClient, text: str, strategy: str) -> None:
    hold_everywhere(client, text, strategy)
    if strategy != "none":
        hidden = client.post(
            "/",
            json={"inputs": text, "parameters": {"aggregation_strategy": strategy, "redact": "pseudonym"}},
        ).json()
        hold(hidden["text"], hidden["entities"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    strategy=st.sampled_from(STRATEGIES),
)
def test_any_text_keeps_every_promise(client: TestClient, text: str, strategy: str) -> None:
    hold_everywhere(client, text, strategy)


def test_nothing_strange_has_been_kept_or_lost(client: TestClient, faults_before: list[str]) -> None:
    service = client.app.service  # type: ignore[attr-defined]
    assert all(model.admission.inputs == model.admission.tokens == 0 for model in service.models.values())
    exposition = client.get("/metrics").text
    assert SECRET not in exposition
    assert faults(exposition) == faults_before
