"""The Open Inference Protocol's table over HTTP: each of its paths, asked well and badly.

Paths, methods and the entries of answers are those of ``open_inference_rest.yaml`` and of the text beside it;
that every refusal has an ``error`` is, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serve.conftest import Endpoint, endpoint, service

__all__ = ["endpoint", "service"]  # fixtures

INFER, INFER_1 = "/v2/models/ner/infer", "/v2/models/ner/versions/1/infer"
SERVER = {"name": str, "version": str, "extensions": list}
MODEL = {"name": str, "versions": list, "platform": str, "inputs": list, "outputs": list}
READY = {"name": str, "ready": bool}
ANSWER = {"model_name": str, "model_version": str, "outputs": list}
ERROR = {"error": str}

#: Method, path, status, entries of the answer with their types.
GETS: list[tuple[str, str, int, dict[str, type]]] = [
    ("GET", "/v2", 200, SERVER),
    ("GET", "/v2/", 200, SERVER),
    ("GET", "/v2/health/live", 200, {"live": bool}),
    ("GET", "/v2/health/ready", 200, {"ready": bool}),
    ("GET", "/v2/models/ner", 200, MODEL),
    ("GET", "/v2/models/ner/versions/1", 200, MODEL),
    ("GET", "/v2/models/ner/ready", 200, READY),
    ("GET", "/v2/models/ner/versions/1/ready", 200, READY),
    ("GET", "/v2/models/none", 404, ERROR),
    ("GET", "/v2/models/none/versions/1", 404, ERROR),
    ("GET", "/v2/models/none/ready", 404, ERROR),
    ("GET", "/v2/models/none/versions/1/ready", 404, ERROR),
    ("GET", "/v2/models/ner/versions/2", 404, ERROR),
    ("GET", "/v2/models/ner/versions/2/ready", 404, ERROR),
    ("GET", "/v2/models/ner/versions/latest/ready", 404, ERROR),
    ("GET", "/v2/health", 404, ERROR),
    ("GET", INFER, 405, ERROR),
    ("GET", INFER_1, 405, ERROR),
    ("POST", "/v2/models/ner/ready", 405, ERROR),
    ("POST", "/v2/models/ner", 405, ERROR),
    ("POST", "/v2/health/live", 405, ERROR),
    ("POST", "/v2", 405, ERROR),
]


def tensor(data: Any, shape: list[Any], **more: Any) -> dict[str, Any]:
    return {"name": "args", "shape": shape, "datatype": "BYTES", "data": data, **more}


ONE = tensor(["Paris"], [1])
#: Path, body, status, words of the error; or the texts that are answered.
POSTS: list[tuple[str, Any, int, Any]] = [
    (INFER, {"inputs": [ONE]}, 200, 1),
    (INFER_1, {"inputs": [ONE]}, 200, 1),
    (INFER, {"id": "é-1", "inputs": [ONE]}, 200, 1),
    (INFER, {"id": "a" * 200, "inputs": [ONE]}, 200, 1),
    (INFER, {"id": "a" * 201, "inputs": [ONE]}, 400, "id"),
    (INFER, {"id": 1, "inputs": [ONE]}, 400, "id"),
    (INFER, {"inputs": [ONE], "outputs": []}, 200, 1),
    (INFER, {"inputs": [ONE], "outputs": [{"name": "output"}]}, 200, 1),
    (INFER, {"inputs": [ONE], "outputs": [{"name": "none"}]}, 400, "'none'"),
    (INFER, {"inputs": [ONE], "parameters": {}}, 200, 1),
    (INFER, {"inputs": [ONE], "parameters": {"none": 1}}, 400, "'none'"),
    (INFER, {"inputs": [ONE], "parameters": []}, 400, "parameters"),
    (INFER, {"inputs": [tensor(["a", "b", "c"], [3])]}, 200, 3),
    (INFER, {"inputs": [tensor(["a", "b", "c"], [3, 1])]}, 200, 3),
    (INFER, {"inputs": [tensor(["a", "b", "c"], [1, 3])]}, 200, 3),
    (INFER, {"inputs": [tensor(["a", "b", "c", "d"], [2, 2])]}, 200, 4),
    (INFER, {"inputs": [tensor([["a"], ["b"]], [2, 1])]}, 200, 2),
    (INFER, {"inputs": [tensor([["a", "b"]], [1, 2])]}, 200, 2),
    (INFER, {"inputs": [tensor([["a", "b"], ["c", "d"]], [2, 2])]}, 200, 4),
    (INFER, {"inputs": [tensor([["a", "b"]], [2, 1])]}, 400, "shape [2, 1] is not that of the data"),
    (INFER, {"inputs": [tensor([["a"], ["b", "c"]], [3])]}, 400, "2 rows of 1 to 2 texts"),
    (INFER, {"inputs": [tensor([["a"], "b"], [2])]}, 400, "data"),
    (INFER, {"inputs": [tensor(["a"], [2])]}, 400, "shape [2] is for 2 texts, but there are 1"),
    (INFER, {"inputs": [tensor(["a"], [-1])]}, 400, "shape"),
    (INFER, {"inputs": [tensor(["a"], ["1"])]}, 400, "shape"),
    (INFER, {"inputs": [tensor(["a"], [])]}, 400, "shape"),
    (INFER, {"inputs": [tensor([], [0])]}, 400, "no text"),
    (INFER, {"inputs": [tensor("a", [1])]}, 400, "data"),
    (INFER, {"inputs": [tensor([1], [1])]}, 400, "data"),
    (INFER, {"inputs": [tensor(["a"], [1], datatype="INT32")]}, 400, "datatype"),
    (INFER, {"inputs": [{"shape": [1], "datatype": "BYTES", "data": ["a"]}]}, 400, "name"),
    (INFER, {"inputs": [{"name": "args", "datatype": "BYTES", "data": ["a"]}]}, 400, "shape"),
    (INFER, {"inputs": [{"name": "args", "shape": [1], "data": ["a"]}]}, 400, "datatype"),
    (INFER, {"inputs": [{"name": "args", "shape": [1], "datatype": "BYTES"}]}, 400, "neither data"),
    (INFER, {"inputs": [ONE, ONE]}, 400, "one input"),
    (INFER, {"inputs": []}, 400, "one input"),
    (INFER, {}, 400, "inputs"),
    (INFER, [], 400, "the body"),
    ("/v2/models/none/infer", {"inputs": [ONE]}, 404, "no such model"),
    ("/v2/models/none/versions/1/infer", {"inputs": [ONE]}, 404, "no such model"),
    ("/v2/models/ner/versions/2/infer", {"inputs": [ONE]}, 404, "no such version, expected 1"),
]


@pytest.fixture(scope="module")
def web(endpoint: Endpoint) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=endpoint.url, trust_env=False, timeout=30) as web:
        yield web


@pytest.mark.parametrize(("method", "path", "status", "entries"), GETS)
def test_what_is_told(
    web: httpx.Client, method: str, path: str, status: int, entries: dict[str, type]
) -> None:
    answer = web.request(method, path)
    assert answer.status_code == status, answer.text
    assert {name: type(answer.json().get(name)) for name in entries} == entries


@pytest.mark.parametrize(("path", "body", "status", "told"), POSTS)
def test_what_is_inferred(web: httpx.Client, path: str, body: Any, status: int, told: Any) -> None:
    answer = web.post(path, json=body)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert told in answer.json()["error"]
        return
    value = answer.json()
    assert {name: type(value.get(name)) for name in ANSWER} == ANSWER
    assert value.get("id") == body.get("id")
    (output,) = value["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("output", "BYTES", [told, 1])
    assert all(isinstance(json.loads(each), list) for each in output["data"])


@pytest.mark.parametrize(
    ("length", "after", "tensor_", "said"),
    [
        ("0", b"Paris", ONE, "holds no JSON; tensors alone, without it, are not taken"),
        (None, b"Paris", ONE, "5 bytes after the JSON, but the input has no binary_data_size"),
    ],
)
def test_binary_forms_that_are_refused(
    web: httpx.Client, length: str | None, after: bytes, tensor_: Any, said: str
) -> None:
    head = json.dumps({"inputs": [tensor_]}).encode()
    headers = {"inference-header-content-length": length or str(len(head))}
    answer = web.post(INFER, content=head + after, headers=headers)
    assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text
