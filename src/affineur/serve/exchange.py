"""What every protocol does with a request: read its body, find the entities, answer, describe itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from affineur.errors import did_you_mean
from affineur.serve.coding import STATE_BYTES, Inflater, coding_of
from affineur.serve.framing import body_length
from affineur.serve.listeners import RequestFacts
from affineur.serve.parameters import Parameters, check_redaction, check_texts, shown
from affineur.serve.problems import STATUS, Problem, overloaded
from affineur.serve.service import Answer, Service

Body = TypeVar("Body", bound=BaseModel)

#: A string of JSON, or what begins a value that another one is before or around.
_STRING_OR_VALUE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{,]', re.DOTALL)
_QUOTE = ord('"')
#: Values in a body, beside the texts that it may hold.
_MOST_VALUES = 1000
#: A name that programs give to things; nobody's text.
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.-]{0,39}", re.ASCII)
#: Kinds of error of every route that takes texts.
_OF_TEXTS = ("unauthorized", "validation", "backend", "overloaded", "unhealthy")


class Error(BaseModel):
    """Why there is no answer."""

    error: str
    error_type: str


class _Incoming:
    """A body that is being read.

    Args:
        seconds: How long that may take.
    """

    def __init__(self, seconds: float) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.beside = 0  # bytes that are held beside its parts
        self.given_up = False
        self.time = asyncio.timeout(seconds)

    def give_up(self) -> None:
        """Wait for it no longer: of all bodies that are coming, this one has held most for longest."""
        self.given_up = True
        self.parts.clear()
        if not self.time.expired():
            self.time.reschedule(0)


async def read_body(request: Request, service: Service, json: bool = True) -> bytes:
    """Read a body up to the limit, whether its length was told before or not.

    One that is compressed is undone as it comes, and the limit holds for both: what is sent, and what is in
    it.

    Args:
        request: Whose body it is.
        service: Has the limits.
        json: Whether all of it is JSON; where a part is, that is the caller's to check
            (:func:`check_values`).

    Raises:
        Problem: 408, 413, or 429 where bodies that have not come yet hold too much memory, and this one most;
            400 or 415 for a coding that it is not in, or that is not undone here.
    """
    most = service.settings.max_body_bytes
    if body_length(request.headers.get("content-length", "")) > most:
        raise _too_large(most)
    coming = _Incoming(service.settings.body_seconds)
    coding = coding_of(request.headers.getlist("content-encoding"))
    parts = _inflated(request, coding, coming, most) if coding else request.stream()
    try:
        async with coming.time:
            async for part in parts:
                coming.size += len(part)
                if coming.size > most:
                    raise _too_large(most)
                coming.parts.append(part)
                service.bodies.hold(coming, coming.size + coming.beside)
                if coming.given_up:
                    raise _too_many()
            body = b"".join(coming.parts)
            coming.parts.clear()
            if json:  # it may have to wait for that, too
                await check_values(body, service)
    except TimeoutError:
        if coming.given_up:
            raise _too_many() from None
        late = f"the body did not come within {service.settings.body_seconds:g} seconds"
        raise Problem("validation", late, {"Connection": "close"}, status=408) from None
    finally:
        service.bodies.release(coming)
    return body


async def _inflated(request: Request, coding: str, coming: _Incoming, most: int) -> AsyncIterator[bytes]:
    """Undo a coding, and let others have their turn between the pieces."""
    inflater, sent = Inflater(coding), 0
    async for part in request.stream():
        sent += len(part)
        if sent > most:  # of a stream that says nothing, too
            raise _too_large(most)
        coming.beside = STATE_BYTES
        yield b""  # so that it is held, whatever comes of it
        for piece in inflater.pieces(part):
            yield piece
            await asyncio.sleep(0)
    inflater.finish()


def _too_many() -> Problem:
    problem = overloaded("too many bodies are being read, and this one has taken longest", 1.0)
    problem.headers["Connection"] = "close"
    return problem


async def check_values(body: bytes, service: Service) -> None:
    """Refuse JSON that holds more values than any request has, before it is parsed.

    Each would become an object, or an error of its own: 4 MB of them took 1.8 GB and 8 seconds.

    Raises:
        Problem: 413.
    """
    most = _MOST_VALUES + 2 * service.settings.max_inputs  # a text may come in a list of its own
    if sum(map(body.count, (b",", b"[", b"{"))) > most:  # most of them in texts, as a rule
        await service.beside.do(lambda: _count_values(body, most, service.settings.max_inputs))


def _count_values(body: bytes, most: int, texts: int) -> None:
    values = (found for found in _STRING_OR_VALUE.finditer(body) if body[found.start()] != _QUOTE)
    if next(islice(values, most, None), None) is not None:
        raise Problem(
            "too_large", f"the body holds more than {most} values; send at most {texts} texts in a request"
        )


def _too_large(most: int) -> Problem:
    return Problem(
        "too_large",
        f"a body of more than {most} bytes; send fewer or shorter texts in a request",
        {"Connection": "close"},
    )


def parse_as(model: type[Body], body: bytes, example: str) -> Body:
    """Read a body.

    Args:
        model: Its schema.
        body: The bytes.
        example: What a body looks like.

    Raises:
        Problem: 400 if there is nothing in it, 422 if it is not of the schema.
    """
    if not body.strip():
        raise Problem("empty", f"the body is empty, expected {example}")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise explain(error, model) from None


def explain(error: ValidationError, model: type[BaseModel]) -> Problem:
    """Return a validation error as one line that holds no text of the user's."""
    every = error.errors(include_url=False, include_context=False, include_input=False)
    first = every[0]
    if first["type"] == "missing":  # what is there instead says more
        first = next((each for each in every if each["type"] == "extra_forbidden"), first)
    where = ".".join(
        str(part) for part in first["loc"] if not str(part).startswith(("constrained-", "function-"))
    )
    kind = first["type"]
    if kind == "json_invalid":
        return Problem("validation", f"the body is not JSON ({first['msg'].removeprefix('Invalid JSON: ')})")
    if first["loc"] and first["loc"][0] == "inputs":
        if any(
            each["loc"][0] == "inputs" and each["type"] in ("too_short", "string_too_short") for each in every
        ):
            return Problem("empty", "inputs is empty, expected a text or a list of texts")
        if kind == "missing":
            return Problem("validation", 'inputs is missing, expected {"inputs": "texte"}')
        return Problem("validation", "inputs is neither a text nor a list of texts")
    if kind == "extra_forbidden":
        fields = model.model_fields if len(first["loc"]) == 1 else Parameters.model_fields
        inside = "parameters" if len(first["loc"]) > 1 else "the body"
        return unknown_entry(first["loc"][-1], inside, [name for name in fields if name != "options"])
    return Problem("validation", f"{where or 'the body'}: {first['msg']}")


def unknown_entry(name: object, where: str, known: Iterable[str], status: int | None = None) -> Problem:
    """Return the refusal of what nobody knows: ignored, a misspelt threshold would change the answer.

    Args:
        name: Its name.
        where: What it stands in.
        known: Names that there are.
        status: Where a protocol wants another than the kind's.
    """
    known = list(known)
    near = did_you_mean(str(name)[:40], known)
    return Problem(
        "validation",
        f"unknown entry {named(name)}in {where}, expected {', '.join(known) or 'none'}{near}",
        status=status,
    )


def named(name: object) -> str:
    """Quote a name that a user gave, with a blank after it; nothing where it might be somebody's text."""
    return f"'{name}' " if isinstance(name, str) and _PLAIN_NAME.fullmatch(name) else ""


def check_query(request: Request, *known: str, status: int | None = None) -> None:
    """Refuse a query that holds anything else than what is known.

    Args:
        request: Whose query it is.
        known: Names of entries.
        status: Where a protocol wants another than the kind's.

    Raises:
        Problem: 422.
    """
    if request.scope["query_string"]:
        for name in request.query_params:
            if name not in known:
                problem = unknown_entry(name, "the query", known, status)
                problem.message += "; the others go into the body, under parameters"
                raise problem


async def answer_request(
    request: Request,
    service: Service,
    model: str | None,
    texts: Sequence[str],
    parameters: Parameters,
    write: Callable[[Any], Any] = lambda told: told,
) -> tuple[list[Any], Answer]:
    """Answer the texts of a request that came by HTTP; see :func:`find`."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return await find(service, model, texts, parameters, gone, request.scope.get("affineur"), write)


async def find(
    service: Service,
    model: str | None,
    texts: Sequence[str],
    parameters: Parameters,
    gone: Callable[[], Coroutine[Any, Any, None]] | None = None,
    facts: RequestFacts | None = None,
    write: Callable[[Any], Any] = lambda told: told,
) -> tuple[list[Any], Answer]:
    """Answer texts: what goes over the wire for each, and how it came about.

    Args:
        service: Whose models answer.
        model: The model; ``None`` for the default one.
        texts: Raw texts.
        parameters: How their entities are wanted.
        gone: Returns what ends when nobody waits for the answer any more.
        facts: What else is known of the request.
        write: Makes of what is told of a text what is sent. Called for each text at its turn, on another
            thread where texts are long, so that a large answer neither stops the others nor is in memory
            twice.

    Raises:
        Problem: As :meth:`Service.answer`, and 413 or 422 for texts and parameters that cannot be served.
        Gone: If nobody waits any more.
    """
    check_texts(texts, service.settings)
    check_redaction(parameters)
    answer = await service.answer(
        model,
        texts,
        parameters.predict_options(),
        gone,
        facts,
        lambda text, found: write(shown(text, found, parameters)),
    )
    return answer.found, answer


def times(answer: Answer) -> dict[str, str]:
    """Return the headers that tell how long an answer took, in milliseconds."""
    return {
        "x-queue-time": f"{1000 * answer.queue_seconds:.3f}",
        "x-inference-time": f"{1000 * answer.inference_seconds:.3f}",
    }


def json_response(value: Any, status: int = 200, headers: Any = None) -> Response:
    """Return a response of JSON."""
    return Response(to_json(value), status, media_type="application/json", headers=headers)


def errors(*kinds: str, usual: bool = True) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route, for OpenAPI.

    Args:
        kinds: Of :data:`~affineur.serve.problems.STATUS`.
        usual: Whether those of every route that takes texts are among them.
    """
    told = (*kinds, *_OF_TEXTS) if usual else kinds
    return {
        STATUS[kind]: {"model": Error, "description": kind.replace("_", " ").capitalize()} for kind in told
    }


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """Describe the body of a route that reads it itself, within the limit and without a second parser."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
