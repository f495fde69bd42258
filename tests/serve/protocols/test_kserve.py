"""KServe's Open Inference Protocol V2: every route byte for byte, and its official client."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from affineur.pipeline.models import load_to_serve as load
from affineur.serve.app import create_app
from affineur.serve.metrics import Metrics
from affineur.serve.service import Service

from ..conftest import LIMITS, Endpoint

TEXTS = ["Marie Duval habite à Paris.", "Élodie 🎉 travaille chez Télévox.", "Il fait beau ce matin ."]


def tensor(texts: list[Any], **changes: Any) -> dict[str, Any]:
    return {"name": "args", "shape": [len(texts)], "datatype": "BYTES", "data": texts, **changes}


def plain(client: TestClient, texts: list[str], **parameters: Any) -> Any:
    return client.post("/predict", json={"inputs": texts, "parameters": parameters}).json()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/ner/ready", {"name": "ner", "ready": True}),
        (
            "/v2/models/int8",
            {
                "name": "int8",
                "versions": ["1"],
                "platform": "affineur_token_classification",
                "inputs": [{"name": "args", "datatype": "BYTES", "shape": [-1]}],
                "outputs": [{"name": "output", "datatype": "BYTES", "shape": [-1, 1]}],
            },
        ),
    ],
)
def test_what_is_told(client: TestClient, path: str, body: dict[str, Any]) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (200, body)


def test_the_server_names_itself(client: TestClient) -> None:
    answer = client.get("/v2").json()
    assert (answer["name"], answer["extensions"], set(answer)) == (
        "affineur",
        ["binary_tensor_data", "model_configuration"],
        {"name", "version", "extensions"},
    )


def test_an_answer_is_that_of_the_protocol_to_the_byte(client: TestClient) -> None:
    text = TEXTS[0]
    answer = client.post("/v2/models/ner/infer", json={"id": "1", "inputs": [tensor([text])]})
    string = json.dumps(json.dumps(plain(client, [text])[0], ensure_ascii=False), ensure_ascii=False)
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == (
        '{"model_name":"ner","model_version":"1","id":"1","outputs":[{"name":"output","shape":[1,1],"datatype":"BYTES",'
        f'"parameters":{{"content_type":"hg_jsonlist"}},"data":[{string}]}}]}}'
    )
    assert "id" not in client.post("/v2/models/ner/infer", json={"inputs": [tensor([text])]}).json()


@pytest.mark.parametrize("data", [TEXTS, [[text] for text in TEXTS]])
def test_several_texts_flat_or_in_rows(client: TestClient, data: list[Any]) -> None:
    shape = [3] if isinstance(data[0], str) else [3, 1]
    answer = client.post("/v2/models/ner/infer", json={"inputs": [tensor(data, shape=shape)]}).json()
    assert answer["outputs"][0]["shape"] == [3, 1]
    assert [json.loads(string) for string in answer["outputs"][0]["data"]] == plain(client, TEXTS)


def test_parameters_are_those_of_predict_and_others_are_of_the_protocol(client: TestClient) -> None:
    wanted = {"aggregation_strategy": "simple", "threshold": 0.6, "ignore_labels": ["O", "PER"], "stride": 4}
    answer = client.post(
        "/v2/models/ner/infer", json={"parameters": {**wanted, "priority": 1}, "inputs": [tensor(TEXTS)]}
    ).json()
    found = [json.loads(string) for string in answer["outputs"][0]["data"]]
    assert found == plain(client, TEXTS, **wanted) != plain(client, TEXTS)
    hidden = client.post(
        "/v2/models/ner/infer", json={"parameters": {"redact": "type"}, "inputs": [tensor(TEXTS[:1])]}
    ).json()
    assert json.loads(hidden["outputs"][0]["data"][0]) == plain(client, TEXTS[:1], redact="type")[0]


def test_a_version_answers_for_itself_alone(client: TestClient) -> None:
    assert (
        client.post("/v2/models/ner/versions/1/infer", json={"inputs": [tensor(TEXTS)]}).json()[
            "model_version"
        ]
        == "1"
    )
    answer = client.post("/v2/models/ner/versions/2/infer", json={"inputs": [tensor(TEXTS)]})
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "no such version, expected 1", "error_type": "NotFound"},
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/autre",
        "/v2/models/autre/ready",
        "/v2/models/autre/infer",
        "/v2/models/autre/versions/1/infer",
    ],
)
def test_an_unknown_model_is_not_found(client: TestClient, path: str) -> None:
    answer = (
        client.post(path, json={"inputs": [tensor(TEXTS)]}) if path.endswith("infer") else client.get(path)
    )
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "no such model, expected ner or int8", "error_type": "NotFound"},
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "one input"),
        ({"inputs": [tensor(TEXTS), tensor(TEXTS)]}, "one input"),
        ({"inputs": [tensor(TEXTS, shape=[2])]}, "shape [2] is for 2 texts, but there are 3"),
        ({"inputs": [tensor(TEXTS, shape=[3, 2])]}, "shape"),
        ({"inputs": [tensor(TEXTS, shape=[-3])]}, "shape"),
        ({"inputs": [tensor([], shape=[0])]}, "no text"),
        ({"inputs": [tensor(TEXTS, datatype="FP32")]}, "datatype"),
        ({"inputs": [tensor([1, 2, 3])]}, "data"),
        ({"inputs": [tensor(TEXTS, data=None)]}, "neither data nor binary_data_size"),
        ({"inputs": [tensor(TEXTS)], "parameters": {"threshold": 2}}, "threshold"),
        ({"inputs": [tensor(TEXTS)], "parameters": {"aggregation_strategy": "most"}}, "aggregation_strategy"),
        ({"inputs": [tensor(TEXTS, parameters={"binary_data_size": 7})]}, "binary_data_size"),
        ({"inputs": [tensor(TEXTS, parameters={"binary_data_size": True})]}, "binary_data_size"),
        ({"inputs": [tensor(TEXTS, parameters={"binary_data_size": -1})]}, "binary_data_size"),
    ],
)
def test_what_is_wrong_gets_the_protocol_s_error(client: TestClient, body: Any, said: str) -> None:
    answer = client.post("/v2/models/ner/infer", json=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "error_type"}
    assert said in answer.json()["error"]
    assert not any(text in answer.text for text in TEXTS)


def binary(elements: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def send(
    client: TestClient,
    elements: bytes,
    length: str | None = None,
    size: Any = None,
    count: int = 3,
    **request: Any,
) -> Any:
    size = len(elements) if size is None else size
    head = json.dumps(
        {
            **request,
            "inputs": [
                {
                    "name": "args",
                    "shape": [count],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": size},
                }
            ],
        }
    )
    headers = {"Inference-Header-Content-Length": str(len(head)) if length is None else length}
    return client.post("/v2/models/ner/infer", content=head.encode() + elements, headers=headers)


def test_binary_tensors_in_and_out(client: TestClient) -> None:
    elements = binary([text.encode() for text in TEXTS])
    answer = send(client, elements)
    assert [json.loads(string) for string in answer.json()["outputs"][0]["data"]] == plain(client, TEXTS)
    for wanted in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "output", "parameters": {"binary_data": True}}]},
    ):
        answer = send(client, elements, **wanted)
        length = int(answer.headers["inference-header-content-length"])
        head, rest = json.loads(answer.content[:length]), answer.content[length:]
        output = head["outputs"][0]
        assert "data" not in output
        assert output["parameters"]["binary_data_size"] == len(rest)
        strings = []
        while rest:
            (size,) = struct.unpack_from("<I", rest)
            strings.append(rest[4 : 4 + size].decode())
            rest = rest[4 + size :]
        assert [json.loads(string) for string in strings] == plain(client, TEXTS)
    both = {
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "output", "parameters": {"binary_data": False}}],
    }
    assert send(client, elements, **both).json()["outputs"][0]["data"]


@pytest.mark.parametrize(
    ("elements", "changes", "said"),
    [
        (binary([b"un", b"deux"]), {}, "shape"),
        (binary([b"un", b"deux", b"trois"])[:-1], {}, "cut short"),
        (binary([b"un"]) + b"\x01\x00", {}, "cut short"),
        (b"\xff\xff\xff\xff", {}, "cut short"),
        (binary([b"\xff\xfe", b"a", b"b"]), {}, "UTF-8"),
        (binary(["\ud800".encode("utf-8", "surrogatepass"), b"a", b"b"]), {}, "UTF-8"),
        (binary([b"a", b"b", b"c"]), {"size": 3}, "binary_data_size"),
        (binary([b"a", b"b", b"c"]), {"length": "99999"}, "does not fit"),
        (binary([b"a", b"b", b"c"]), {"length": "-1"}, "does not fit"),
        (binary([b"a", b"b", b"c"]), {"length": "1" * 5000}, "does not fit"),
        (binary([b"a", b"b", b"c"]), {"length": "3"}, "JSON"),
        (b"", {}, "no text"),
    ],
)
def test_damaged_tensors_are_refused(client: TestClient, elements: bytes, changes: Any, said: str) -> None:
    answer = send(client, elements, **changes)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_nothing_is_ready_while_models_are_loaded(shared_onnx: Path) -> None:
    service = Service({"ner": str(shared_onnx)}, load, LIMITS, Metrics())
    with TestClient(create_app(service)) as client:
        paths = ("/v2/health/ready", "/v2/models/ner", "/v2/models/ner/ready")
        answers = [client.get(path) for path in paths] + [
            client.post("/v2/models/ner/infer", json={"inputs": [tensor(TEXTS)]})
        ]
        assert [(answer.status_code, answer.json()["error_type"]) for answer in answers] == [
            (503, "Unhealthy")
        ] * 4
        assert all(answer.headers["retry-after"] == "1" for answer in answers)
        assert client.get("/v2/health/live").status_code == client.get("/v2").status_code == 200
        assert client.get("/v2/models/autre").status_code == 404
    service.close()


# ---- The official client ----


@pytest.fixture
def triton(endpoint: Endpoint) -> Any:
    http = pytest.importorskip(
        "tritonclient.http", reason="needs tritonclient (pip install 'tritonclient[http]')"
    )
    with http.InferenceServerClient(endpoint.url.removeprefix("http://")) as client:
        yield client


def test_the_official_client_learns_what_is_served(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("ner")
    assert not triton.is_model_ready("autre")
    assert triton.get_server_metadata()["name"] == "affineur"
    assert triton.get_model_metadata("ner")["inputs"] == [
        {"name": "args", "datatype": "BYTES", "shape": [-1]}
    ]


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("returned", [True, False, None])
@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS])
def test_the_official_client_infers(
    triton: Any, client: TestClient, sent: bool, returned: bool | None, texts: list[str]
) -> None:
    import tritonclient.http as http

    given = http.InferInput("args", [len(texts)], "BYTES")
    given.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=object), binary_data=sent)
    outputs = None if returned is None else [http.InferRequestedOutput("output", binary_data=returned)]
    answer = triton.infer(
        "ner", [given], outputs=outputs, request_id="7", parameters={"aggregation_strategy": "simple"}
    )
    got = answer.as_numpy("output")
    assert got.shape == (len(texts), 1)
    assert [json.loads(row[0]) for row in got] == plain(client, texts, aggregation_strategy="simple")
    assert (answer.get_response()["id"], answer.get_response()["model_name"]) == ("7", "ner")


def test_the_official_client_reads_errors(triton: Any) -> None:
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    given = http.InferInput("args", [2], "BYTES")
    given.set_data_from_numpy(np.array(["un", "deux"], dtype=object))
    with pytest.raises(InferenceServerException, match="no such model, expected ner or int8"):
        triton.infer("autre", [given])
    with pytest.raises(InferenceServerException, match="threshold"):
        triton.infer("ner", [given], parameters={"threshold": 3})
