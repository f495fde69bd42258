"""Recipes: a YAML file that says what to make of a teacher.

Unknown keys are refused with the nearest valid name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from affineur.errors import ParameterError, RecipeError, did_you_mean, one_line
from affineur.measure import MARGIN, Bars, Budget, parse_bars
from affineur.pipeline.points import Plan
from affineur.steps import SoftTargets, TrainSettings, check_pruning

RowName = Literal[
    "teacher",
    "teacher_fp32",
    "teacher_fp16",
    "student",
    "pruned",
    "recovered",
    "torch-int8",
    "packed",
    "onnx",
    "int8",
]
_ROW_OF: dict[RowName, str] = {
    "student": "distill",
    "pruned": "prune",
    "recovered": "recover",
    "packed": "pack",
    "onnx": "export",
    "int8": "quantize",
}

#: Rows a run may end with, the last stage first.
LAST: tuple[RowName, ...] = ("int8", "onnx", "packed", "recovered", "pruned", "student")

# Of a teacher, the row that says its dtype is shown; the rest as far as the recipe makes them.
_DEFAULT_ROWS: tuple[RowName, ...] = (
    "teacher_fp32",
    "teacher_fp16",
    "student",
    "pruned",
    "recovered",
    "torch-int8",
    "packed",
    "onnx",
    "int8",
)

_Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Training(_Section):
    epochs: Annotated[float, Field(ge=0)] = 1.0
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    batch_size: Annotated[int, Field(ge=1)] = 8
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: _Share = 0.0

    def settings(self, seed: int, **more: Any) -> TrainSettings:
        """Return the training settings, with the recipe's seed."""
        return TrainSettings(
            self.epochs, self.learning_rate, self.batch_size, self.weight_decay, self.warmup, seed, **more
        )


class _Learning(_Training):
    soft_weight: _Share = 0.5
    temperature: Annotated[float, Field(gt=0)] = 2.0
    hidden_weight: Annotated[float, Field(ge=0)] = 0.0

    def soft(self) -> SoftTargets:
        """Return what is learned from the teacher."""
        return SoftTargets(self.soft_weight, self.temperature, self.hidden_weight)


class TrainSection(_Training):
    """``train``: make the teacher first, from the model named as ``teacher``."""

    epochs: Annotated[float, Field(ge=0)] = 3.0
    replace_mentions: _Share = 0.0
    patience: Annotated[int, Field(ge=1)] | None = None


class DistillSection(_Learning):
    """``distill``: a student with fewer layers."""

    layers: Annotated[int, Field(ge=1)]
    keep: Literal["top", "uniform", "search"] = "search"


class PruneSection(_Section):
    """``prune``: the smallest weights become zero; ``wanda`` is calibrated on the recipe's train."""

    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.15
    method: Literal["magnitude", "layerwise", "wanda"] = "magnitude"
    scope: Literal["attention+ffn", "attention", "ffn"] = "attention+ffn"
    max_layer_sparsity: Annotated[float, Field(gt=0, le=1)] | None = None


class RecoverSection(_Learning):
    """``recover``: the guide's §5 by default; with ``if_f1_below`` only where dev F1 needs it (§5, §9)."""

    epochs: Annotated[float, Field(ge=0)] = 0.5
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    if_f1_below: _Share | None = None
    from_teacher: bool = False


class PackSection(_Section):
    """``pack``: the last model as a sparse file; nothing to choose."""


class ExportSection(_Section):
    """``export``: the last model as an ONNX or OpenVINO graph."""

    to: Literal["onnx", "openvino"] = "onnx"


class QuantizeSection(_Section):
    """``quantize``: the last model in eight bits, proved on the recipe's train."""

    target: Annotated[Literal["auto", "vnni", "avx512", "avx2", "arm"], Field(alias="for")] = "auto"
    scheme: Literal["u8s8", "u8s8-reduced", "u8u8"] | None = None
    activations: Literal["auto", "static", "token", "batch"] = "auto"
    min_agreement: _Share = 0.995


class DataSection(_Section):
    """``data``, where one reference is not enough."""

    path: str
    word_column: int = 0
    tag_column: int = -1
    scheme: Literal["IO", "BIO", "BIOES", "IOB1"] | None = None
    tag_names: list[str] | None = None
    label_map: dict[str, str] = {}
    dev_share: Annotated[float, Field(gt=0, lt=1)] = 0.05


class CompareSection(_Section):
    """``compare``: the rows of the table, the baseline first.

    Rows whose stage is not in the recipe are left out.
    """

    rows: Annotated[list[RowName], Field(min_length=1)] = list(_DEFAULT_ROWS)
    rounds: Annotated[int, Field(ge=1)] = 9
    memory: bool = True
    margin: _Share = MARGIN


class SweepSection(_Section):
    """``sweep``: what sparsity costs the model before it is pruned, on dev; a curve for the report, no model."""

    points: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=1)] = [
        0.15,
        0.3,
        0.45,
        0.6,
        0.75,
        0.9,
    ]
    methods: Annotated[list[Literal["magnitude", "layerwise", "wanda"]], Field(min_length=1)] = ["magnitude"]
    max_drop: _Share = 0.01


class BenchmarkSection(_Section):
    """``benchmark``: speed and memory in fresh processes; by default of the first row and the last two."""

    rows: Annotated[list[RowName], Field(min_length=1)] | None = None
    rounds: Annotated[int, Field(ge=1)] = 15


class Recipe(_Section):
    """A whole recipe."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")]
    teacher: str
    data: str | DataSection
    types: Annotated[list[str], Field(min_length=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 13
    train: TrainSection | None = None
    distill: DistillSection | None = None
    prune: PruneSection | None = None
    recover: RecoverSection | None = None
    pack: PackSection | None = None
    export: ExportSection | None = None
    quantize: QuantizeSection | None = None
    sweep: SweepSection | None = None
    compare: CompareSection = CompareSection()
    benchmark: BenchmarkSection | None = None
    check: dict[str, Any] | None = None

    @property
    def bars(self) -> Bars | None:
        """The bars of ``check``, for the last model the recipe makes."""
        return parse_bars(self.check, "check") if self.check is not None else None

    @property
    def plan(self) -> Plan | None:
        """What ``sweep`` draws: the pruning of ``prune``, in its scope.

        At several sparsities and without fine-tuning.
        """
        if self.sweep is None:
            return None
        scope = (self.prune or PruneSection()).scope
        return Plan(
            Budget(max_drop=self.sweep.max_drop),
            tuple(self.sweep.methods),
            tuple(self.sweep.points),
            scope=scope,
        )

    @property
    def makes(self) -> set[RowName]:
        """The rows of the table this recipe may make.

        ``recovered`` only where dev F1 asks for it, if it has such a bar.
        """
        stages: set[RowName] = {row for row, section in _ROW_OF.items() if getattr(self, section) is not None}
        given: set[RowName] = {"teacher", "teacher_fp32", "teacher_fp16"}
        return given | stages | ({"torch-int8"} if self.distill or self.prune else set())

    @property
    def digest(self) -> str:
        """Digest of what the recipe says, whatever its layout."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def data_section(self) -> DataSection:
        """The data, with every option filled in."""
        return self.data if isinstance(self.data, DataSection) else DataSection(path=self.data)


def read_recipe(path: Path | str, changes: dict[str, Any] | None = None) -> Recipe:
    """Read and check a recipe.

    Args:
        path: The YAML file.
        changes: Top-level values that replace the file's, such as ``{"data": "corpus"}``.

    Raises:
        RecipeError: If it is not there, not YAML, has an unknown key (the nearest valid name is given), an
            impossible value, or stages that do not fit together.
    """
    path = Path(path)
    raw = read_yaml(path, "a recipe, expected keys such as name, teacher, data, distill, prune")
    # A section with nothing under it is asked for as it is: YAML gives null.
    sections = {key for key, field in Recipe.model_fields.items() if any(_sections(field.annotation))}
    raw = {key: {} if value is None and key in sections else value for key, value in raw.items()}
    try:
        recipe = Recipe.model_validate(raw | (changes or {}))
    except ValidationError as error:
        raise RecipeError(f"{path}: {explain(error, Recipe)}") from None
    if recipe.recover and recipe.recover.from_teacher and not (recipe.distill or recipe.prune):
        raise RecipeError(f"{path}: recover.from_teacher needs a student; add distill or prune")
    compared = recipe.makes & set(recipe.compare.rows)
    judged = next((row for row in LAST if row in recipe.makes), None)
    if recipe.check is not None and judged and judged not in compared:
        raise RecipeError(
            f"{path}: check holds bars against the last model, {judged}, which compare.rows leaves out; add it there"
        )
    if not compared or len(set(recipe.compare.rows)) < len(recipe.compare.rows):
        raise RecipeError(
            f"{path}: compare.rows names no model this recipe makes, or one twice (it makes {', '.join(sorted(recipe.makes))})"
        )
    if recipe.benchmark and recipe.benchmark.rows is not None and not compared & set(recipe.benchmark.rows):
        raise RecipeError(
            f"{path}: benchmark.rows names none of the models that are compared ({', '.join(sorted(compared))})"
        )
    for section, values in (
        ("check", lambda: recipe.bars),
        ("sweep", lambda: recipe.plan),
        ("prune", lambda: _check_prune(recipe.prune)),
    ):
        try:
            values()
        except (ParameterError, RecipeError) as error:
            raise RecipeError(f"{path}: {'' if section == 'check' else f'{section}: '}{error}") from None
    return recipe


def _check_prune(section: PruneSection | None) -> None:
    if section is not None:
        check_pruning(section.sparsity, section.method, section.max_layer_sparsity)


def read_yaml(path: Path, expected: str) -> dict[str, Any]:
    """Read a YAML file whose top is a table.

    Args:
        path: The file.
        expected: What it should be, to say where it is not.

    Raises:
        RecipeError: If it is not there, not YAML, or something else.
    """
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path} cannot be read ({error.strerror}), expected a recipe in YAML") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML ({one_line(error)})") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} is not {expected}")
    return raw


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """Turn the most specific complaint into one line with what to type.

    Args:
        error: What pydantic found.
        root: The model of the whole recipe.
    """
    # Where a value may be one of two things, both alternatives complain; the deeper one saw what was meant.
    first = max(error.errors(), key=lambda e: len(e["loc"]))
    steps = [
        str(step)
        for step in first["loc"]
        if step not in ("str", "int", "DataSection") and "[" not in str(step)
    ]
    where = ".".join(steps)
    if first["type"] == "extra_forbidden":
        known = list(_section_at(root, steps[:-1]).model_fields)
        return f"unknown key '{where}'{did_you_mean(steps[-1], known)} (known here: {', '.join(known)})"
    if first["type"] == "missing":
        return f"the key '{where}' is missing"
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be", 1)
    return f"'{where}' is {first['input']!r}, but {said}"


def _section_at(root: type[BaseModel], steps: list[str]) -> type[BaseModel]:
    """Find the section a path of keys leads to."""
    for step in steps:
        root = (
            next(_sections(root.model_fields[step].annotation), root) if step in root.model_fields else root
        )
    return root


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
