"""How entities are wanted, and how they go over the wire: the same in every protocol.

The names and their meaning are those of Hugging Face's token-classification pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from affineur.entities import Entity, LabeledPiece
from affineur.errors import ParameterError
from affineur.runtime import PredictOptions
from affineur.runtime.aggregation import AggregationStrategy
from affineur.runtime.reading import Context
from affineur.runtime.redaction import redact, without_overlap
from affineur.runtime.rules.core.rule import RULES, chosen_rules, with_rules
from affineur.serve.problems import Problem
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
            {"properties": {"rules": {"type": "null"}}},
            {
                "not": {
                    "properties": {"aggregation_strategy": {"const": "none"}},
                    "required": ["aggregation_strategy"],
                }
            },
        ]
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


class Parameters(BaseModel):
    """How the entities are wanted."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"allOf": _REDACTION})

    aggregation_strategy: AggregationStrategy | None = Field(
        None,
        description="How pieces become entities; `word` (ours) when none is asked for, "
        "the others are transformers'.",
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
    context: Context | None = Field(
        None,
        description="What the model is shown at once: `sentence` or `document`; when not given, `sentence` "
        "for `word` and for `redact`, `document` for transformers' strategies, as its pipeline does.",
    )
    redact: Literal["type", "pseudonym"] | None = Field(
        None,
        description="Give the text with its mentions replaced by `[PER]` or by `[PER_1]`; "
        "what `threshold` and `ignore_labels` leave out stays.",
    )
    rules: Annotated[str, Field(max_length=200)] | None = Field(
        None,
        description="Rules that find more beside the model: `fr`, some of them as `fr:email,phone`, "
        "all but some as `fr:-date`. `threshold` and `ignore_labels` are for the model's entities.",
        json_schema_extra=lambda schema: schema.update(pattern=_rules_asked()),
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
            self.context or ("sentence" if self.redact else None),
        )


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
    if parameters.rules is None:
        return
    if parameters.aggregation_strategy == "none":
        raise Problem(
            "validation",
            "rules give entities and aggregation_strategy none gives pieces; leave one of them out",
        )
    try:
        chosen_rules(parameters.rules)
    except ParameterError:
        raise Problem("validation", f"rules are not known, expected {_rule_names()}") from None


def _rule_names() -> str:
    return "; ".join(
        f"{name}, or {name}: and some of {', '.join(each.rules)}" for name, each in RULES.all().items()
    )


def _rules_asked() -> str:
    """Return the pattern of what :func:`chosen_rules` takes, for JSON Schema."""
    sets = []
    for name, each in RULES.all().items():
        one = f"-?({'|'.join(each.rules)})"
        sets.append(f"{name}(:{one}(,{one})*)?")
    return f"^({'|'.join(sets)})$"


def _fields(entity: Entity, text: str) -> dict[str, Any]:
    """Do what ``asdict`` does, several times as fast."""
    start, end = entity.start, entity.end
    return {
        "entity_group": entity.type,
        "score": entity.score,
        "word": text[start:end],
        "start": start,
        "end": end,
    }


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
    if parameters.rules is not None:
        entities = with_rules(text, entities, chosen_rules(parameters.rules))
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


def limit_stride(schemas: dict[str, Any], most: int | None) -> None:
    """Write the largest stride that every model takes into the JSON schema of the parameters.

    Args:
        schemas: By name; they are changed.
        most: That stride; ``None`` while the models are being loaded.
    """
    if most is not None:
        schemas[Parameters.__name__]["properties"]["stride"]["anyOf"][0]["maximum"] = most
