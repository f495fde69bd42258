"""Hugging Face's token-classification schema: what comes in, what goes out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from affineur.entities import Entity, LabeledPiece
from affineur.errors import did_you_mean
from affineur.runtime import PredictOptions
from affineur.runtime.aggregation import AggregationStrategy
from affineur.runtime.redaction import redact, without_overlap
from affineur.serve.problems import Problem
from affineur.serve.service import Answer as Result
from affineur.serve.service import Service
from affineur.serve.settings import Settings

#: What :func:`check_redaction` refuses, for JSON Schema.
_REDACTION: list[Any] = [
    {
        "not": {
            "properties": {
                "redact": {"enum": ["type", "pseudonym"]},
                "aggregation_strategy": {"const": "none"},
            },
            "required": ["redact", "aggregation_strategy"],
        }
    },
    {
        "anyOf": [
            {"properties": {"redact": {"enum": ["type", "pseudonym"]}}, "required": ["redact"]},
            {"properties": {"redact_map": {"enum": [False, None]}}},
        ]
    },
]


def _integer(value: object) -> object:
    """Take 16.0 for 16: to JSON Schema both are integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Model = TypeVar("Model", bound=BaseModel)


class Parameters(BaseModel):
    """How the entities are wanted."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"allOf": _REDACTION})

    aggregation_strategy: AggregationStrategy | None = Field(
        None,
        description="How pieces become entities; `word` (ours) when none is asked for, the others are transformers'.",
    )
    ignore_labels: list[str] | None = Field(
        None, max_length=100, description='Labels or types that are left out; `["O"]` when not given.'
    )
    stride: Annotated[int, Field(ge=0, le=100_000), BeforeValidator(_integer)] | None = Field(
        None, description="Tokens that neighboring windows of a long text share, at most half of a window."
    )
    threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Least score of what is given."
    )
    redact: Literal["type", "pseudonym"] | None = Field(
        None,
        description="Give the text with its mentions replaced by `[PER]` or by `[PER_1]`; what `threshold` and `ignore_labels` leave out stays.",
    )
    redact_map: bool | None = Field(None, description="With `redact`: also what stood there, to undo it.")

    def predict_options(self) -> PredictOptions:
        """Return it as the runtime takes it."""
        default = PredictOptions()
        return PredictOptions(
            self.aggregation_strategy or default.strategy,
            default.ignore_labels if self.ignore_labels is None else tuple(self.ignore_labels),
            self.stride,
            self.threshold or 0.0,
        )


class Request(BaseModel):
    """One text or several."""

    model_config = ConfigDict(extra="forbid", strict=True, title="TokenClassificationRequest")

    inputs: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)] = Field(
        description="A text, or a list of texts."
    )
    parameters: Parameters | None = None
    options: dict[str, Any] | None = Field(
        None, description="Of Hugging Face's hosted API; has no effect here."
    )


class FoundEntity(BaseModel):
    """A mention; `word` is the text from `start` to `end`, in code points."""

    model_config = ConfigDict(title="Entity")

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class FoundPiece(BaseModel):
    """A piece with its label: strategy `none`."""

    model_config = ConfigDict(title="Piece")

    entity: str
    score: float
    index: int
    word: str
    start: int
    end: int


class Replacement(BaseModel):
    """What stood where a placeholder stands in the redacted text."""

    placeholder: str
    start: int
    end: int
    word: str


class RedactedText(BaseModel):
    """A text without its mentions; offsets are those of the redacted text."""

    text: str
    entities: list[FoundEntity]
    map: list[Replacement] | None = None


Found = list[FoundEntity] | list[FoundPiece] | RedactedText
Answer = Found | list[Found]


class Error(BaseModel):
    """Why there is no answer."""

    error: str
    error_type: str


def parse(body: bytes) -> Request:
    """Read a request; see :func:`parse_as`."""
    return parse_as(Request, body, '{"inputs": "texte"}')


def parse_as(model: type[Model], body: bytes, example: str) -> Model:
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
        known = [name for name in fields if name != "options"]
        near = did_you_mean(str(first["loc"][-1])[:40], known)
        return Problem(
            "validation",
            f"unknown entry in {'parameters' if len(first['loc']) > 1 else 'the body'}, expected {', '.join(known)}{near}",
        )
    return Problem("validation", f"{where or 'the body'}: {first['msg']}")


async def find(
    service: Service,
    model: str | None,
    asked: Request,
    gone: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> tuple[Any, Result]:
    """Answer a request: what goes over the wire, and how it came about.

    Raises:
        Problem: As :meth:`Service.answer`, and 413 or 422 for texts and parameters that cannot be served.
        Gone: If nobody waits any more.
    """
    texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
    parameters = asked.parameters or Parameters.model_construct()
    check_texts(texts, service.settings)
    check_redaction(parameters)
    answer = await service.answer(model, texts, parameters.predict_options(), gone)
    found = await service.aside(
        texts, lambda: [shown(*each, parameters) for each in zip(texts, answer.entities, strict=True)]
    )
    return found[0] if isinstance(asked.inputs, str) else found, answer


def _fields(entity: Entity, text: str) -> dict[str, Any]:
    """Do what ``as_dict`` does, with the text for the word."""
    start, end = entity.start, entity.end
    return {
        "entity_group": entity.type,
        "score": entity.score,
        "word": text[start:end],
        "start": start,
        "end": end,
    }


def check_texts(texts: Sequence[str], settings: Settings) -> None:
    """Refuse texts beyond the limits.

    Raises:
        Problem: 413.
    """
    if len(texts) > settings.max_inputs:
        raise Problem(
            "too_large", f"{len(texts)} texts in one request, expected at most {settings.max_inputs}"
        )
    longest = max(map(len, texts))
    if longest > settings.max_characters:
        raise Problem(
            "too_large", f"a text of {longest} characters, expected at most {settings.max_characters}"
        )


def check_redaction(parameters: Parameters) -> None:
    """Refuse parameters that exclude each other.

    Raises:
        Problem: 422.
    """
    if parameters.redact and parameters.aggregation_strategy == "none":
        raise Problem(
            "validation",
            "redact wants entities and aggregation_strategy none gives pieces; leave one of them out",
        )
    if parameters.redact_map and not parameters.redact:
        raise Problem("validation", 'redact_map needs redact; expected "redact": "type" or "pseudonym"')


def tell_limits(schemas: dict[str, Any], settings: Settings, most_stride: int | None) -> None:
    """Write what :func:`check_texts` and the models refuse into the JSON schemas of requests.

    Args:
        schemas: By name; they are changed.
        settings: Limits.
        most_stride: The largest stride that every model takes; ``None`` while they are being loaded.
    """
    text, several = schemas["Request"]["properties"]["inputs"]["anyOf"]
    text["maxLength"] = several["items"]["maxLength"] = settings.max_characters
    several["maxItems"] = settings.max_inputs
    if most_stride is not None:
        schemas["Parameters"]["properties"]["stride"]["anyOf"][0]["maximum"] = most_stride


def shown(text: str, found: Sequence[Entity] | Sequence[LabeledPiece], parameters: Parameters) -> Any:
    """Return what was found in one text as it goes over the wire.

    Offsets hold by whatever strategy: ``word`` is the text they stand for, nothing is empty, and entities do
    not overlap (Hugging Face's strategies may cut one character into two pieces; of two entities that overlap
    the longer stays, of two as long the surer).
    """
    if parameters.aggregation_strategy == "none":
        return [
            piece.as_dict() | {"word": text[piece.start : piece.end]}
            for piece in found
            if piece.start < piece.end
        ]
    entities = [entity for entity in found if isinstance(entity, Entity)]
    if parameters.redact is None:
        return [_fields(entity, text) for entity in without_overlap(text, entities)]
    hidden = redact(text, entities, style=parameters.redact)
    answer: dict[str, Any] = {
        "text": hidden.text,
        "entities": [entity.as_dict() for entity in hidden.entities],
    }
    if parameters.redact_map:
        answer["map"] = [replacement._asdict() for replacement in hidden.replacements]
    return answer
