"""What clients really send: cases 18, 19 and 24 of the reports, and the clients themselves on a port."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from serve.conftest import Endpoint, endpoint, service

__all__ = ["endpoint", "service"]  # fixtures

WEB = httpx.Client(trust_env=False, timeout=30)
TEXTS = ["Marie Duval habite à Paris.", "Élodie 🎉 travaille chez Télévox."]
TENSOR = {"name": "args", "shape": [2], "datatype": "BYTES", "data": TEXTS}
#: text-embeddings-inference's ``ErrorType``, and the status that it answers each with.
TEI = {
    "Unhealthy": {503},
    "Backend": {424},
    "Overloaded": {429},
    "Validation": {413, 422},
    "Tokenizer": {422},
    "Empty": {400},
}


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    WEB.close()


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def plain(endpoint: Endpoint, texts: Any = TEXTS, **parameters: Any) -> Any:
    return WEB.post(f"{endpoint.url}/predict", json={"inputs": texts, "parameters": parameters}).json()


# ---- Case 18: Open Inference Protocol, MLServer's and Triton's clients ask for versions ----


@pytest.mark.parametrize(
    ("path", "status", "has"),
    [
        ("/v2", 200, {"name": "affineur"}),
        ("/v2/", 200, {"name": "affineur"}),
        ("/v2/models/ner/versions/1", 200, {"name": "ner", "versions": ["1"]}),
        ("/v2/models/ner/versions/1/ready", 200, {"name": "ner", "ready": True}),
        ("/v2/models/ner/versions/2", 404, {"error": "no such version, expected 1"}),
        ("/v2/models/ner/versions/2/ready", 404, {"error": "no such version, expected 1"}),
        ("/v2/models/ner/versions/01/ready", 404, {"error": "no such version, expected 1"}),
        ("/v2/models/autre/versions/1/ready", 404, {"error": "no such model, expected ner or int8"}),
        ("/v2/models/ner/", 404, {"error": "no such path; leave out the slash at its end"}),
    ],
)
def test_18_versions_that_metadata_announce_are_answered(
    endpoint: Endpoint, path: str, status: int, has: dict[str, Any]
) -> None:
    answer = WEB.get(endpoint.url + path)
    assert (answer.status_code, {key: answer.json().get(key) for key in has}) == (status, has)


def _triton() -> Any:
    return pytest.importorskip("tritonclient.http", reason="needs tritonclient")


def test_18_tritonclient_asks_for_versions(endpoint: Endpoint) -> None:
    from tritonclient.utils import InferenceServerException

    with _triton().InferenceServerClient(endpoint.url.removeprefix("http://")) as client:
        assert client.is_model_ready("ner", "1")
        assert not client.is_model_ready("ner", "2")
        assert client.get_model_metadata("ner", "1")["versions"] == ["1"]
        assert client.get_model_config("ner", "1")["input"] == [
            {"name": "args", "data_type": "TYPE_STRING", "dims": [-1]}
        ]
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data", "model_configuration"]
        refused: dict[str, Callable[[], Any]] = {
            "no such version, expected 1": lambda: client.get_model_metadata("ner", "2"),
            "GET /metrics has figures": lambda: client.get_inference_statistics("ner", "1"),
            "statistics extension": client.get_inference_statistics,
            "model repository extension": client.get_model_repository_index,
            "GET /v2/models lists": lambda: client.load_model("ner"),
            "shared memory extension": client.get_system_shared_memory_status,
            "trace extension": client.get_trace_settings,
            "logging extension": client.get_log_settings,
        }
        for said, ask in refused.items():
            with pytest.raises(InferenceServerException, match=said):
                ask()


# ---- Case 19: tritonclient compresses ----


@pytest.mark.parametrize("request_", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_19_tritonclient_with_compression(
    endpoint: Endpoint, request_: str | None, response: str | None, binary: bool
) -> None:
    triton = _triton()
    given = triton.InferInput("args", [2, 1], "BYTES")
    given.set_data_from_numpy(np.array([[text.encode()] for text in TEXTS], dtype=object), binary_data=binary)
    ways = {"request_compression_algorithm": request_, "response_compression_algorithm": response}
    with triton.InferenceServerClient(endpoint.url.removeprefix("http://")) as client:
        outputs = [triton.InferRequestedOutput("output", binary_data=binary)]
        answer = client.infer(
            "ner", [given], "1", outputs=outputs, request_id="7", priority=1, timeout=10**6, **ways
        )
    assert [json.loads(row[0]) for row in answer.as_numpy("output")] == plain(endpoint)
    assert answer.get_response()["id"] == "7"


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
def test_19_tritonclient_without_waiting(endpoint: Endpoint, algorithm: str | None) -> None:
    triton = _triton()
    from tritonclient.http.aio import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    async def ask() -> Any:
        async with InferenceServerClient(endpoint.url.removeprefix("http://")) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("ner", "1")
            assert (await client.get_model_metadata("ner", "1"))["name"] == "ner"
            with pytest.raises(InferenceServerException, match="statistics extension"):
                await client.get_inference_statistics("ner")
            given = triton.InferInput("args", [2], "BYTES")
            given.set_data_from_numpy(np.array(TEXTS, dtype=object))
            return await client.infer("ner", [given], request_compression_algorithm=algorithm)

    rows = asyncio.run(ask()).as_numpy("output")
    assert [json.loads(row[0]) for row in rows] == plain(endpoint)


@pytest.mark.parametrize("path", ["/", "/predict", "/runsync", "/v2/models/ner/infer"])
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("identity, gzip", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:20], mtime=0) + gzip.compress(data[20:], mtime=0)),
        ("gzip", lambda data: gzip.compress(data, 0, mtime=0)),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, 0)),
        ("deflate", bare_deflate),
        ("identity", bytes),
    ],
)
def test_19_every_path_of_texts_reads_compressed_bodies(
    endpoint: Endpoint, path: str, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    bodies = {
        "/runsync": {"input": {"inputs": TEXTS}, "id": "a"},
        "/v2/models/ner/infer": {"inputs": [TENSOR]},
    }
    sent = json.dumps(bodies.get(path, {"inputs": TEXTS})).encode()
    answer = WEB.post(endpoint.url + path, content=pack(sent), headers={"content-encoding": coding})
    assert answer.status_code == 200, answer.text
    wanted = WEB.post(endpoint.url + path, content=sent).json()
    told = [
        each.pop(name, None)
        for each in (wanted, answer.json())
        if isinstance(each, dict)
        for name in ("delayTime", "executionTime")
    ]
    assert len(told) in (0, 4)
    found = answer.json()
    if path == "/runsync":
        found = found["output"], wanted["output"]
        assert found[0] == found[1]
    else:
        assert found == wanted


@pytest.mark.parametrize(
    "coding",
    ["br", "zstd", "compress", "gzip, gzip", "deflate, br", "nonsense é".encode().decode("latin-1"), "*"],
)
def test_19_other_codings_are_refused_by_name(endpoint: Endpoint, coding: str) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Encoding: {coding}\r\nContent-Length: 3\r\n\r\nabc"
    with socket.create_connection(endpoint.address, 20) as connection:
        connection.sendall(head.encode("latin-1"))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        said = json.loads(answer.read())
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    assert said["error"].endswith("expected gzip, deflate, or none at all")
    assert coding.isalpha() <= (f"'{coding}'" in said["error"])


@pytest.mark.parametrize(
    ("coding", "body", "said"),
    [
        ("gzip", b'{"inputs": "a"}', "is not gzip"),
        ("gzip", gzip.compress(b'{"inputs": "a"}', mtime=0)[:-3], "is cut short"),
        ("gzip", gzip.compress(b'{"inputs": "a"}', mtime=0)[:5], "is cut short"),
        ("gzip", gzip.compress(b'{"inputs": "a"}', mtime=0) + b"abc", "is not gzip"),
        ("gzip", gzip.compress(b'{"inputs": "a"}', mtime=0)[:-8] + b"\0" * 8, "is not gzip"),  # checksum
        ("gzip", zlib.compress(b'{"inputs": "a"}'), "is not gzip"),
        ("gzip", gzip.compress(b"", mtime=0) * 1500, "more than 1000 gzip files"),
        ("deflate", b'{"inputs": "a"}', "is not deflate"),
        ("deflate", zlib.compress(b'{"inputs": "a"}')[:-1], "is cut short"),
        ("deflate", b"\x78", "is cut short"),
        ("deflate", zlib.compress(b'{"inputs": "a"}') + b"a", "bytes after its end"),
        ("deflate", gzip.compress(b'{"inputs": "a"}', mtime=0), "is not deflate"),
        ("gzip", gzip.compress(b"", mtime=0), "the body is empty"),
        ("gzip", b"", "the body is empty"),
        ("deflate", b"", "the body is empty"),
    ],
)
def test_19_damaged_bodies_are_refused(endpoint: Endpoint, coding: str, body: bytes, said: str) -> None:
    answer = WEB.post(f"{endpoint.url}/predict", content=body, headers={"content-encoding": coding})
    assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bare_deflate])
def test_19_the_limit_holds_for_what_is_in_a_body(endpoint: Endpoint, pack: Callable[[bytes], bytes]) -> None:
    most = endpoint.service.settings.max_body_bytes
    whole = b'{"inputs":"a"}'
    coding = "gzip" if pack is gzip.compress else "deflate"
    for more, status in ((0, 200), (1, 413), (50 * most, 413)):
        body = pack(whole + b" " * (most - len(whole) + more))
        assert len(body) < most
        answer = WEB.post(f"{endpoint.url}/", content=body, headers={"content-encoding": coding})
        assert answer.status_code == status, answer.text
    assert endpoint.service.bodies.total == 0


# ---- Case 24: what is misspelt is named ----

INFER = "/v2/models/ner/infer"


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (INFER, {"inputs": [TENSOR], "parameters": {"treshold": 0.5}}, 400, "'treshold' in parameters"),
        (INFER, {"inputs": [TENSOR], "parameters": {"treshold": 0.5}}, 400, "did you mean 'threshold'?"),
        (
            INFER,
            {"inputs": [TENSOR], "parameters": {"binary_data_outputs": True}},
            400,
            "did you mean 'binary_data_output'?",
        ),
        (
            INFER,
            {"inputs": [TENSOR], "parameters": {"binary_data_output": "yes"}},
            400,
            "binary_data_output in parameters",
        ),
        (INFER, {"inputs": [TENSOR], "paramters": {"threshold": 0.5}}, 400, "'paramters' in the body"),
        (INFER, {"inputs": [TENSOR], "output": []}, 400, "'output' in the body"),
        (INFER, {"input": [TENSOR]}, 400, "did you mean 'inputs'?"),
        (
            INFER,
            {"inputs": [TENSOR], "outputs": [{"name": "outputs"}]},
            400,
            "no output 'outputs' here, expected output",
        ),
        (INFER, {"inputs": [TENSOR], "outputs": [{"name": "output"}, {"name": "logits"}]}, 400, "'logits'"),
        (
            INFER,
            {"inputs": [TENSOR], "outputs": [{"name": "output", "parameters": {"classification": 3}}]},
            400,
            "'classification'",
        ),
        (
            INFER,
            {"inputs": [TENSOR], "outputs": [{"name": "output", "datatype": "BYTES"}]},
            400,
            "'datatype' in output 0",
        ),
        (INFER, {"inputs": [TENSOR], "outputs": [{}]}, 400, "outputs.0.name"),
        (
            INFER,
            {"inputs": [TENSOR | {"parameters": {"shared_memory_region": "a"}}]},
            400,
            "'shared_memory_region'",
        ),
        (INFER, {"inputs": [TENSOR | {"shapes": [2]}]}, 400, "'shapes' in input 0"),
        (
            INFER,
            {"inputs": [TENSOR | {"parameters": {"binary_data_size": 3}}]},
            400,
            "both data and binary_data_size",
        ),
        (f"{INFER}?threshold=1", {"inputs": [TENSOR]}, 400, "'threshold' in the query"),
        ("/predict", {"inputs": "a", "parameters": {"treshold": 0.5}}, 422, "'treshold' in parameters"),
        ("/predict", {"inputs": "a", "treshold": 0.5}, 422, "'treshold' in the body"),
        (
            "/predict",
            {"input": "a"},
            422,
            "'input' in the body, expected inputs, parameters; did you mean 'inputs'?",
        ),
        ("/predict?modell=ner", {"inputs": "a"}, 422, "'modell' in the query, expected model"),
        (
            "/runsync",
            {"input": {"inputs": "a", "parameters": {"treshold": 0.5}}},
            200,
            "'treshold' in parameters",
        ),
        ("/runsync", {"input": {"inputs": "a", "treshold": 0.5}}, 200, "'treshold' in the body"),
        (
            "/runsync",
            {"input": {"inputs": "a"}, "parameters": {"threshold": 0.5}},
            422,
            "'parameters' in the body",
        ),
        ("/runsync?modell=int8", {"input": {"inputs": "a"}}, 422, "'modell' in the query"),
    ],
)
def test_24_what_is_misspelt_is_named(
    endpoint: Endpoint, path: str, body: Any, status: int, said: str
) -> None:
    answer = WEB.post(endpoint.url + path, json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]
    if status == 200:
        assert answer.json()["status"] == "FAILED"


@pytest.mark.parametrize("name", ["Zoé Martin", "Zoé", "a" * 41, "a\nb", "1"])
def test_24_a_name_that_may_be_a_text_is_not_repeated(endpoint: Endpoint, name: str) -> None:
    for path, body in (
        (INFER, {"inputs": [TENSOR], "parameters": {name: 1}}),
        (INFER, {"inputs": [TENSOR], "outputs": [{"name": name}]}),
        ("/predict", {"inputs": "a", "parameters": {name: 1}}),
    ):
        answer = WEB.post(endpoint.url + path, json=body)
        assert answer.status_code in (400, 422)
        assert f"{name!r}" not in answer.json()["error"]
        assert name == "1" or name not in answer.json()["error"]


def test_24_parameters_that_clients_of_the_protocol_send_are_taken(endpoint: Endpoint) -> None:
    """tritonclient's, MLServer's codecs', KServe's."""
    request = {
        "id": "",
        "parameters": {
            "content_type": "str",
            "priority": 1,
            "timeout": 5,
            "sequence_id": 3,
            "sequence_start": True,
            "sequence_end": True,
            "binary_data_output": False,
            "headers": {},
        },
        "inputs": [TENSOR | {"parameters": {"content_type": "str"}}],
        "outputs": [{"name": "output", "parameters": {"content_type": "str", "binary_data": False}}],
    }
    answer = WEB.post(endpoint.url + INFER, json=request).json()
    assert [json.loads(each) for each in answer["outputs"][0]["data"]] == plain(endpoint)


# ---- text-embeddings-inference's and Hugging Face's errors ----


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/predict", b"", 400, "Empty"),
        ("/predict", b'{"inputs": ""}', 400, "Empty"),
        ("/predict", b'{"inputs": []}', 400, "Empty"),
        ("/predict", b"{", 422, "Validation"),
        ("/predict", b'{"inputs": 3}', 422, "Validation"),
        ("/predict", b'{"inputs": [%s]}' % b",".join([b'"a"'] * 65), 413, "Validation"),
        ("/predict", b" " * 200_001, 413, "Validation"),
        ("/predict", b'{"inputs": "%s"}' % (b"a" * 20_001), 413, "Validation"),
        ("/runsync", b"{", 422, "Validation"),
        (INFER, b"{", 400, "Validation"),
    ],
)
def test_errors_have_the_names_of_text_embeddings_inference(
    endpoint: Endpoint, path: str, body: bytes, status: int, kind: str
) -> None:
    answer = WEB.post(endpoint.url + path, content=body)
    assert (answer.status_code, answer.json()["error_type"], set(answer.json())) == (
        status,
        kind,
        {"error", "error_type"},
    )


def test_every_kind_that_text_embeddings_inference_has_is_called_so() -> None:
    from affineur.serve.problems import ERROR_TYPES, STATUS

    shared: dict[str, set[int]] = {}
    for kind, name in ERROR_TYPES.items():
        shared.setdefault(name, set()).add(STATUS[kind])
    assert {name: shared[name] for name in TEI if name in shared} == {
        name: statuses for name, statuses in TEI.items() if name != "Tokenizer"
    }
    assert set(shared) - set(TEI) == {"Unauthorized", "Forbidden", "NotFound", "MethodNotAllowed", "Internal"}
    assert set(ERROR_TYPES) == set(STATUS)


@pytest.fixture
def hub(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> InferenceClient:
    monkeypatch.setattr(
        huggingface_hub.constants, "HF_HUB_OFFLINE", False
    )  # it takes this machine for the hub
    return InferenceClient(model=endpoint.url, provider="hf-inference")


@pytest.mark.parametrize("strategy", [None, "none", "simple", "first", "average", "max"])
@pytest.mark.parametrize(("ignored", "stride"), [(None, None), ([], 0), (["O", "PER"], 8), (["LOC"], None)])
def test_huggingface_hub_with_all_its_parameters(
    hub: InferenceClient, endpoint: Endpoint, strategy: Any, ignored: list[str] | None, stride: int | None
) -> None:
    given = {"aggregation_strategy": strategy, "ignore_labels": ignored, "stride": stride}
    found = hub.token_classification(TEXTS[0], **given)
    wanted = plain(endpoint, TEXTS[0], **{name: value for name, value in given.items() if value is not None})
    assert [
        {key: getattr(each, key) for key in ("entity_group", "entity", "score", "word", "start", "end")}
        for each in found
    ] == [
        {"entity_group": None, "entity": None} | {k: v for k, v in each.items() if k != "index"}
        for each in wanted
    ]


def test_huggingface_hub_asks_for_health_and_reads_errors(hub: InferenceClient, endpoint: Endpoint) -> None:
    assert hub.health_check(endpoint.url)
    assert hub.get_endpoint_info(model=endpoint.url)["version"]
    with pytest.raises(HfHubHTTPError, match="stride") as caught:
        hub.token_classification(TEXTS[0], stride=10_000)
    assert caught.value.response.status_code == 422


# ---- OpenAI's, KServe's and others' ----


def test_openai_s_list_of_models(endpoint: Endpoint) -> None:
    listed = WEB.get(f"{endpoint.url}/v1/models", headers={"Authorization": "Bearer none"}).json()
    assert (listed["object"], [each["id"] for each in listed["data"]]) == ("list", ["ner", "int8"])
    for each in listed["data"]:
        assert (each["object"], each["owned_by"], type(each["created"])) == ("model", "affineur", int)
        assert WEB.get(f"{endpoint.url}/v1/models/{each['id']}").json() == each
    assert WEB.get(f"{endpoint.url}/v1/models/autre").status_code == 404
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        answer = WEB.post(endpoint.url + path, json={"model": "ner"})
        assert (answer.status_code, "POST /predict" in answer.json()["error"]) == (404, True)
    assert WEB.get(f"{endpoint.url}/health").status_code == 200


def test_what_kserve_s_client_does(endpoint: Endpoint) -> None:
    """``kserve.InferenceRESTClient`` of version 2: its paths, headers, and what it reads of answers."""
    assert WEB.get(f"{endpoint.url}/v2/health/live").json()["live"] is True
    assert WEB.get(f"{endpoint.url}/v2/health/ready").json()["ready"] is True
    assert WEB.get(f"{endpoint.url}/v2/models/ner/ready").json()["ready"] is True
    assert WEB.get(f"{endpoint.url}/v2/models").json() == {"models": ["ner", "int8"]}
    elements = b"".join(len(each.encode()).to_bytes(4, "little") + each.encode() for each in TEXTS)
    head = json.dumps(
        {
            "id": "5f1c",
            "inputs": [
                {
                    "name": "input-0",
                    "shape": [2],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": len(elements)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    answer = WEB.post(endpoint.url + INFER, content=head + elements, headers=headers)
    length = int(answer.headers["inference-header-content-length"])
    told = json.loads(answer.content[:length])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert (told["id"], told["outputs"][0]["parameters"]["binary_data_size"]) == (
        "5f1c",
        len(answer.content) - length,
    )


@pytest.mark.parametrize(
    "words",
    [
        ["-H", "Content-Type: text/plain"],
        ["-H", "Content-Type: application/json; charset=utf-8"],
        ["-H", "Content-Type:"],
        ["-H", "Accept: text/html;q=0.9, */*;q=0.1"],
        ["-H", "Accept-Encoding: br, zstd, gzip;q=0"],
        ["--compressed"],
        ["-H", "TE: trailers"],
        ["-H", "Expect: 100-continue"],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Content-Encoding: identity"],
        ["-H", "Content-Encoding;"],
        ["-H", "Connection: close"],
        ["-H", "Range: bytes=0-3"],
        ["-H", "If-None-Match: *"],
        ["-H", "Cookie: a=b; c=d"],
        ["-H", "X-Forwarded-For: 1.2.3.4, 5.6.7.8"],
        ["-H", "Authorization: Bearer unknown"],
        ["-A", ""],
        ["--http1.0"],
        ["--path-as-is"],
    ],
    ids=" ".join,
)
def test_curl_with_odd_headers(endpoint: Endpoint, words: list[str]) -> None:
    body = json.dumps({"inputs": TEXTS})
    told = subprocess.run(
        ["curl", "-s", *words, f"{endpoint.url}/predict", "--data-binary", body],
        capture_output=True,
        check=True,
    ).stdout
    assert json.loads(told) == plain(endpoint)
