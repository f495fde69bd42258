"""Bodies of KServe's Open Inference Protocol V2: schemas, what is read of a request, what is answered."""

from __future__ import annotations

import math
import struct
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from affineur.serve.exchange import named, unknown_entry
from affineur.serve.parameters import Parameters
from affineur.serve.problems import Problem

#: Header that says how many bytes of the body are JSON; the rest are tensors.
HEADER = "inference-header-content-length"
#: Input tensor, as MLServer's Hugging Face runtime names it; any other name is taken too.
INPUT, OUTPUT = "args", "output"

#: Parameters of a request, of its input and of an output that clients send; but for the size and the form of
#: binary tensors they have no effect on a model that has no sequences and answers in order.
_OF_REQUEST = frozenset(
    {
        "binary_data_output",
        "content_type",
        "headers",
        "priority",
        "sequence_end",
        "sequence_id",
        "sequence_start",
        "timeout",
        "triton_enable_empty_final_response",
    }
)
_OF_INPUT, _OF_OUTPUT = (
    frozenset({"binary_data_size", "content_type"}),
    frozenset({"binary_data", "content_type"}),
)


class InferInput(BaseModel):
    """An input: texts."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    shape: list[Annotated[int, Field(ge=0, le=1_000_000)]] = Field(min_length=1, max_length=2)
    datatype: Literal["BYTES"]
    data: list[str] | list[list[str]] | None = None
    parameters: dict[str, Any] | None = None


class RequestedOutput(BaseModel):
    """An output that is wanted; there is one, and it is given where none is asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """Texts in one tensor of BYTES; `parameters` may hold those of `/predict`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | None = Field(None, max_length=200)  # it is sent back
    parameters: dict[str, Any] | None = None
    inputs: list[InferInput] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(None, max_length=100)


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
    head, tensors = split(body, json_bytes)
    if not head:
        raise _wrong("the body holds no JSON; tensors alone, without it, are not taken")
    try:
        request = InferRequest.model_validate_json(head)
        _check_names(request)
        parameters = Parameters.model_validate(
            {name: value for name, value in (request.parameters or {}).items() if name not in _OF_REQUEST}
        )
    except ValidationError as error:
        raise _explained(error) from None
    tensor = request.inputs[0]
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is not None and tensor.data is not None:
        raise _wrong("the input has both data and binary_data_size, expected one of them")
    if size is not None:
        texts = _binary(tensors, size, most)
    elif tensor.data is None:
        raise _wrong("the input has neither data nor binary_data_size")
    elif tensors:
        raise _wrong(f"{len(tensors)} bytes after the JSON, but the input has no binary_data_size")
    else:
        texts = _flat(tensor)
    if not texts:
        raise _wrong("the input holds no text")
    if math.prod(tensor.shape) != len(texts):
        raise _wrong(
            f"shape {tensor.shape} is for {math.prod(tensor.shape)} texts, but there are {len(texts)}"
        )
    return request, texts, parameters


def _check_names(request: InferRequest) -> None:
    """Refuse names that nobody knows: what is misspelt would have no effect.

    Raises:
        Problem: 400.
    """
    for output in request.outputs or []:
        if output.name != OUTPUT:
            raise _wrong(f"there is no output {named(output.name)}here, expected {OUTPUT}")
    told = [
        ("parameters", request.parameters, [*Parameters.model_fields, *sorted(_OF_REQUEST)]),
        ("the parameters of the input", request.inputs[0].parameters, sorted(_OF_INPUT)),
        *(
            ("the parameters of the output", each.parameters, sorted(_OF_OUTPUT))
            for each in request.outputs or []
        ),
    ]
    for where, given, known in told:
        for name, value in (given or {}).items():
            if name not in known:
                raise unknown_entry(name, where, known, 400)
            if name.startswith("binary_data") and name != "binary_data_size" and not isinstance(value, bool):
                raise _wrong(f"{name} in {where} is neither true nor false")


def _flat(tensor: InferInput) -> list[str]:
    """Return the texts of a tensor in JSON, flat or in rows as it may be."""
    rows = tensor.data or []
    columns = {len(row) for row in rows if not isinstance(row, str)}
    if columns and (len(columns) > 1 or (len(tensor.shape) == 2 and tensor.shape != [len(rows), *columns])):
        raise _wrong(f"shape {tensor.shape} is not that of the data: {len(rows)} rows of {_counts(columns)}")
    return [text for row in rows for text in ([row] if isinstance(row, str) else row)]


def _counts(columns: Collection[int]) -> str:
    least, most = min(columns), max(columns)
    return f"{least} to {most} texts" if least != most else f"{least} texts"


def _explained(error: ValidationError) -> Problem:
    """Return a validation error as the protocol wants it, without a text of the user's."""
    every = error.errors(include_url=False, include_context=False, include_input=False)
    first = next((each for each in every if each["type"] == "extra_forbidden"), every[0])
    place, kind = [str(part) for part in first["loc"]], first["type"]
    if kind == "extra_forbidden":
        model: type[BaseModel] = InferRequest
        if len(place) > 1:
            model = InferInput if place[0] == "inputs" else RequestedOutput
        where = f"{place[0].removesuffix('s')} {place[1]}" if len(place) > 1 else "the body"
        return unknown_entry(first["loc"][-1], where, model.model_fields, 400)
    if place == ["inputs"] and kind in ("too_short", "too_long"):
        return _wrong("expected one input, which holds all texts")
    return _wrong(f"{'.'.join(place) or 'the body'}: {first['msg']}")


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


def _wants_binary(request: InferRequest) -> bool:
    """Say whether the output is wanted in binary: what is said of it goes before what is said of all."""
    wanted = (request.parameters or {}).get("binary_data_output")
    for output in request.outputs or []:
        wanted = (output.parameters or {}).get("binary_data", wanted)
    return wanted is True


def split(body: bytes, json_bytes: str | None) -> tuple[bytes, bytes]:
    """Return a body's JSON and the tensors after it.

    Args:
        body: The body.
        json_bytes: Value of :data:`HEADER`, where it was sent.

    Raises:
        Problem: 400 if that is no length, or beyond the body.
    """
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
