"""KServe's Open Inference Protocol V2 over HTTP, with the binary tensors that ``tritonclient`` sends."""

from __future__ import annotations

import json
import struct
from importlib.metadata import version as installed_version
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Path
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from affineur.serve.exchange import Error, answer_request, check_values, errors, read_body, takes, times
from affineur.serve.parameters import Parameters
from affineur.serve.problems import Problem
from affineur.serve.protocols import Health, HealthCheck, Protocol
from affineur.serve.service import Service

#: Header that says how many bytes of the body are JSON; the rest are tensors.
HEADER = "inference-header-content-length"
#: Input tensor, as MLServer's Hugging Face runtime names it; any other name is taken too.
INPUT, OUTPUT = "args", "output"

SERVER = "/v2"
MODEL = "/v2/models/{name}"
MODEL_READY = f"{MODEL}/ready"
INFER, INFER_VERSION = f"{MODEL}/infer", f"{MODEL}/versions/{{version}}/infer"
LIVE, READY = "/v2/health/live", "/v2/health/ready"
# FastAPI would take one Path as a default of several for one parameter.
_Name = Annotated[str, Path(max_length=64)]


class InferInput(BaseModel):
    """An input: texts."""

    model_config = ConfigDict(extra="ignore", strict=True)

    name: str
    shape: list[Annotated[int, Field(ge=0, le=1_000_000)]] = Field(min_length=1, max_length=2)
    datatype: Literal["BYTES"]
    data: list[str] | list[list[str]] | None = None
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """Texts in one tensor of BYTES; `parameters` may hold those of `/predict`."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: str | None = Field(None, max_length=200)  # it is sent back
    parameters: dict[str, Any] | None = None
    inputs: list[InferInput] = Field(min_length=1, max_length=1)
    outputs: list[dict[str, Any]] | None = None


class InferOutput(BaseModel):
    """One JSON list for each text, as a string; `data` is left out where the tensor is binary."""

    name: str
    shape: list[int]
    datatype: Literal["BYTES"]
    parameters: dict[str, Any]
    data: list[str] | None = None


class InferResponse(BaseModel):
    """What was found."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferOutput]


def _live(health: Health) -> dict[str, bool]:
    """Whether the process answers."""
    health.check_live()
    return {"live": True}


def _ready(health: Health) -> dict[str, bool]:
    """Whether every model answers."""
    health.check_ready()
    return {"ready": True}


class KServe(Protocol):
    """KServe's Open Inference Protocol, version 2."""

    name: ClassVar[str] = "kserve"
    summary: ClassVar[str] = "KServe's Open Inference Protocol V2, JSON or binary tensors"
    texts: ClassVar[tuple[str, ...]] = (INFER, INFER_VERSION)
    health: ClassVar[tuple[HealthCheck, ...]] = (
        HealthCheck(READY, _ready, errors("unhealthy", usual=False)),
        HealthCheck(LIVE, _live),
    )
    bodies: ClassVar[tuple[type[BaseModel], ...]] = (InferRequest,)

    def router(self, service: Service) -> APIRouter:
        """Return its routes."""
        router = APIRouter()
        about = errors("not_found", "unhealthy", "validation", usual=False)
        infers: dict[str, Any] = {
            "response_model": InferResponse,
            "responses": errors("not_found", "too_large")
            | {400: {"model": Error, "description": "Not a request of the protocol"}},
            "openapi_extra": takes(InferRequest),
        }

        @router.get(SERVER)
        async def server() -> dict[str, Any]:
            """What this server is."""
            return {
                "name": "affineur",
                "version": installed_version("affineur"),
                "extensions": ["binary_tensor_data"],
            }

        @router.get(MODEL, responses=about)
        async def model(name: _Name) -> dict[str, Any]:
            """What a model takes and gives."""
            return metadata(name, str(service.model(name).about.version))

        @router.get(MODEL_READY, responses=about)
        async def model_ready(name: _Name) -> dict[str, Any]:
            """Whether a model answers."""
            return {"name": service.model(name).about.name, "ready": True}

        @router.post(INFER, **infers)
        async def infer(request: HttpRequest, name: _Name) -> Response:
            """Find the entities of texts, by KServe's Open Inference Protocol."""
            return await _infer(request, service, name)

        @router.post(INFER_VERSION, **infers)
        async def infer_version(request: HttpRequest, name: _Name, version: _Name) -> Response:
            """The same, where the version that answers must be this one."""
            if str(service.model(name).about.version) != version:
                raise Problem("not_found", f"no such version, expected {service.model(name).about.version}")
            return await _infer(request, service, name)

        return router


PROTOCOL = KServe()


async def _infer(request: HttpRequest, service: Service, name: str) -> Response:
    service.model(name)
    body = await read_body(request, service, json=False)
    await check_values(_split(body, request.headers.get(HEADER))[0], service)
    sent, texts, parameters = parse(body, request.headers.get(HEADER), service.settings.max_inputs)
    found, answer = await answer_request(request, service, name, texts, parameters, _text)
    content, headers = respond(sent, name, str(answer.model.about.version), found)
    return Response(content, headers={**headers, **times(answer)})


def parse(
    body: bytes, json_bytes: str | None, most: int | None = None
) -> tuple[InferRequest, list[str], Parameters]:
    """Read a request: what was sent, its texts, and how their entities are wanted.

    Args:
        body: The body.
        json_bytes: Value of :data:`HEADER`, where it was sent.
        most: Texts of a binary tensor that are read; one more, and the rest is left.

    Raises:
        Problem: 400, as the protocol has it for everything that is wrong with a request; 413 for more texts
            than are read.
    """
    head, tensors = _split(body, json_bytes)
    try:
        request = InferRequest.model_validate_json(head)
        parameters = Parameters.model_validate(
            {
                name: value
                for name, value in (request.parameters or {}).items()
                if name in Parameters.model_fields
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _wrong(f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}") from None
    tensor = request.inputs[0]
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is not None:
        texts = _binary(tensors, size, most)
    elif tensor.data is None:
        raise _wrong(f"input {INPUT} has neither data nor binary_data_size")
    else:
        texts = [text for row in tensor.data for text in ([row] if isinstance(row, str) else row)]
    if not texts:
        raise _wrong("the input holds no text")
    count = 1
    for extent in tensor.shape:
        count *= extent
    if count != len(texts):
        raise _wrong(f"shape {tensor.shape} is for {count} texts, but there are {len(texts)}")
    return request, texts, parameters


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def respond(
    request: InferRequest, model: str, version: str, texts: list[str]
) -> tuple[bytes, dict[str, str]]:
    """Return the answer's body and headers.

    JSON, or JSON and a binary tensor after it where that was asked for.

    Args:
        request: What was sent.
        model: The name of the model that answers.
        version: Its version.
        texts: What was found in each text, as JSON.
    """
    parameters: dict[str, Any] = {"content_type": "hg_jsonlist"}
    output: dict[str, Any] = {
        "name": OUTPUT,
        "shape": [len(texts), 1],
        "datatype": "BYTES",
        "parameters": parameters,
    }
    named = {} if request.id is None else {"id": request.id}
    answer = {"model_name": model, "model_version": version, **named, "outputs": [output]}
    if not _wants_binary(request):
        output["data"] = texts
        return to_json(answer), {"content-type": "application/json"}
    tensor = b"".join(
        struct.pack("<I", len(element)) + element for element in (text.encode() for text in texts)
    )
    parameters["binary_data_size"] = len(tensor)
    head = to_json(answer)
    return head + tensor, {"content-type": "application/octet-stream", HEADER: str(len(head))}


def metadata(model: str, version: str) -> dict[str, Any]:
    """Return what ``GET /v2/models/NAME`` tells."""
    return {
        "name": model,
        "versions": [version],
        "platform": "affineur_token_classification",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": OUTPUT, "datatype": "BYTES", "shape": [-1, 1]}],
    }


def _wants_binary(request: InferRequest) -> bool:
    """Say whether the output is wanted in binary: what is said of it goes before what is said of all."""
    wanted = (request.parameters or {}).get("binary_data_output")
    for output in request.outputs or []:
        if isinstance(told := output.get("parameters"), dict):
            wanted = told.get("binary_data", wanted)
    return wanted is True


def _split(body: bytes, json_bytes: str | None) -> tuple[bytes, bytes]:
    if json_bytes is None:
        return body, b""
    if (
        not json_bytes.isascii()
        or not json_bytes.isdigit()
        or len(json_bytes) > 12
        or int(json_bytes) > len(body)
    ):
        raise _wrong(f"{HEADER} does not fit a body of {len(body)} bytes")
    return body[: int(json_bytes)], body[int(json_bytes) :]


def _binary(tensors: bytes, size: Any, most: int | None) -> list[str]:
    """Read BYTES elements: four bytes of length, little endian, then UTF-8."""
    if not isinstance(size, int) or isinstance(size, bool) or size != len(tensors):
        raise _wrong(f"binary_data_size does not fit the {len(tensors)} bytes after the JSON")
    texts: list[str] = []
    place = 0
    while place < len(tensors):
        if len(texts) == most:
            raise Problem("too_large", f"more than {most} texts in one request, expected at most {most}")
        if place + 4 > len(tensors):
            raise _wrong("a binary element is cut short")
        (length,) = struct.unpack_from("<I", tensors, place)
        place += 4
        if place + length > len(tensors):
            raise _wrong("a binary element is cut short")
        try:
            texts.append(tensors[place : place + length].decode("utf-8"))
        except UnicodeDecodeError:
            raise _wrong("a binary element is not UTF-8") from None
        place += length
    return texts


def _wrong(message: str) -> Problem:
    return Problem("validation", message, status=400)
