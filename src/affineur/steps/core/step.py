"""What a step is: one description from which recipe, command line, library, manifest and card derive.

A step is a frozen pydantic model in a file of its own. Its fields are the recipe's keys, the command's
options, the library's keyword arguments and the manifest's parameters at once; what it is given beside them
(data, calibration text, a teacher) it declares as inputs, and where it works (device, cache) comes with the
:class:`~affineur.steps.core.context.Context`.

::

    class Prune(Step):
        name = "prune"
        summary = "set the smallest weights to zero"
        suffix = "pruned"
        sparsity: float = Field(0.15, ge=0, lt=1, description="share of the weights in scope, in [0, 1)")

        def run(self, model, out, context): ...
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from affineur.artifact import PRUNING_INFO, ModelFolder, ModelInfo, open_folder
from affineur.errors import ParameterError, did_you_mean
from affineur.registry import Registry
from affineur.steps.core.context import Context


@dataclass(frozen=True, slots=True)
class Input:
    """Something a step is given that is no parameter of it.

    Args:
        name: The library's keyword and, with two dashes, the command's option.
        help: What it is, for people; the default is said by whoever fills it in.
        required: Whether the step is refused without it.
        many: Whether there may be several.
        spellings: Other options of the command line that mean the same.
    """

    name: str
    help: str
    required: bool = False
    many: bool = False
    spellings: tuple[str, ...] = ()


#: Labeled text to train on, with a dev part to score epochs on.
DATA = Input(
    "data",
    "a CoNLL, WikiNER, JSON lines or Parquet file, a folder with train/dev/test, a data set of the Hub, "
    "or 'sample'",
    required=True,
)
#: Text without labels.
CALIBRATION = Input(
    "calibration", "text to calibrate on, labeled or raw, one text per line (default: the sample)"
)
#: A model to learn soft labels from.
TEACHER = Input("teacher", "learn soft labels from this model too")


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of a model before it is made, so that a recipe is refused before hours of work.

    Args:
        kind: Of the artifact: ``transformers``, ``packed``, ``onnx`` …
        layers: Encoder layers.
        pruned: Whether it has been pruned, so that zeros would be lost by some steps.
    """

    kind: str
    layers: int
    pruned: bool = False

    @classmethod
    def of(cls, folder: ModelFolder) -> Shape:
        """Look at a model folder."""
        return cls(folder.kind, folder.layers, (folder.path / PRUNING_INFO).is_file())


class Step(BaseModel):
    """One change of a model; every subclass says what it is called and what it needs.

    Attributes:
        name: What people type, such as ``trim-vocab``.
        summary: One line for lists of commands.
        suffix: What the result's folder and row are called after the model's, as in ``student_11L_pruned``.
        stores: Whether the result is the same model in another form, named after the student alone:
            ``student_11L_int8``.
        renames: Whether what follows is named after its result, and not after the model it started from.
        takes: Kinds of artifacts it starts from.
        makes: Kind of artifact it makes.
        inputs: What it is given beside its parameters.
        on_device: Whether it computes on the device it is told, and not on the CPU alone.
        threaded: Whether the number of threads changes how long it takes.
        examples: Command lines that show its use.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    name: ClassVar[str]
    summary: ClassVar[str]
    suffix: ClassVar[str]
    stores: ClassVar[bool] = False
    renames: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = ("transformers", "packed")
    makes: ClassVar[str] = "transformers"
    inputs: ClassVar[tuple[Input, ...]] = ()
    on_device: ClassVar[bool] = False
    threaded: ClassVar[bool] = True
    examples: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def fields(cls) -> dict[str, FieldInfo]:
        """Return its fields by name, those it declares itself before those it has in common with others."""
        own = [name for name in cls.model_fields if name in cls.__annotations__]
        return {name: cls.model_fields[name] for name in dict.fromkeys([*own, *cls.model_fields])}

    @classmethod
    def given(cls, values: Mapping[str, Any]) -> Self:
        """Make a step from values as people give them.

        Raises:
            ParameterError: In one line naming the parameter, where a name is unknown or a value impossible.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _parameter_error(error, cls) from None

    @classmethod
    def open(cls, path: Path) -> ModelFolder:
        """Open the model that the step starts from.

        Raises:
            ModelError: If it is not usable.
        """
        return open_folder(path)

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the result beside model and data, under the names that people give them."""
        return self.model_dump(by_alias=True)

    @property
    def kind(self) -> str:
        """Kind of the artifact it makes."""
        return self.makes

    def label(self, before: str, stem: str) -> str:
        """Name the result in a recipe, and its folder.

        Args:
            before: Name of the model it starts from.
            stem: Name of the student, without what was done to its weights since.
        """
        return f"{stem if self.stores else before}_{self.suffix}"

    def check(self, context: Context) -> None:
        """Check what fields alone cannot tell, before any model is read.

        Raises:
            ParameterError: If parameters and inputs do not go together, or one is missing.
        """
        for needed in self.inputs:
            if needed.required and not getattr(context, needed.name, None):
                raise ParameterError(f"{self.name} needs {needed.name}: {needed.help}", needed.name)
            if needed is DATA:
                context.splits.get("train")

    def after(self, shape: Shape) -> Shape:
        """Say what a model of this shape becomes.

        Raises:
            ParameterError: If the step cannot start from it.
        """
        if shape.kind not in self.takes:
            raise ParameterError(
                f"{self.name} cannot start from a model of the kind {shape.kind}, "
                f"expected {' or '.join(self.takes)}; give the model it was made from"
            )
        return replace(shape, kind=self.kind)

    @abstractmethod
    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Make the result, unless ``out`` holds it already.

        Args:
            model: What it starts from.
            out: Folder to write to.
            context: Where it works, and on what.

        Returns:
            Where the result is: ``out``, or the folder of ``model`` where nothing had to be done.

        Raises:
            AffineurError: Whatever is wrong with model, data or values, in one line; nothing is written then.
        """

    def said(self, info: ModelInfo, source: ModelFolder) -> list[str]:
        """Say what was made, in lines for people.

        Args:
            info: The result.
            source: What it was made from.
        """
        manifest = info.manifest
        dev = manifest.scores.get("dev_f1") if manifest else None
        if not (manifest and dev):
            return []
        # What is saved is the best epoch where the step keeps that, else the last.
        saved = max(dev) if manifest.parameters.get("keep_best") else dev[-1]
        where = f" (after epoch {dev.index(saved) + 1} of {len(dev)}, the best)" if saved != dev[-1] else ""
        return [f"dev F1 of the saved model {saved:.4f}{where}"]

    def result(self, info: ModelInfo, source: ModelFolder) -> dict[str, Any]:
        """Return what was made, under stable keys, for machines.

        Args:
            info: The result.
            source: What it was made from.
        """
        scores = info.manifest.scores if info.manifest else {}
        parameters = info.manifest.parameters if info.manifest else {}
        return {"model": str(info.folder.path), "step": self.name, "parameters": parameters, "scores": scores}


def _parameter_error(error: ValidationError, step: type[Step]) -> ParameterError:
    """Turn what pydantic found into one line that names the parameter.

    Args:
        error: What it found.
        step: The step whose fields they are.
    """
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    known = [field.alias or name for name, field in step.model_fields.items()]
    if first["type"] == "extra_forbidden":
        expected = f"expected one of {', '.join(known)}" if known else "it has none"
        return ParameterError(f"no parameter '{name}', {expected}{did_you_mean(name, known)}", name)
    if first["type"] == "missing":
        return ParameterError(f"{name} is missing", name)
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected", 1)
    if not name:
        return ParameterError(said)
    field = next((f for n, f in step.model_fields.items() if name in (n, f.alias)), None)
    hint = f" ({field.description})" if field is not None and field.description else ""
    near = ""
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        near = did_you_mean(
            first["input"],
            [part.strip("' ") for part in first["ctx"]["expected"].replace(" or ", ", ").split(",")],
        )
    value = first["input"]
    shown = (
        f"{value:g}" if isinstance(value, float) else f"'{value}'" if isinstance(value, str) else str(value)
    )
    return ParameterError(f"{name}={shown} is impossible: {said[0].lower() + said[1:]}{near}{hint}", name)


def _check(given: object) -> None:
    if not (isinstance(given, type) and issubclass(given, Step)):
        raise TypeError("it gives something that is no subclass of Step")


#: Every step there is.
STEPS: Registry[type[Step]] = Registry("affineur.steps", "affineur.steps", "STEP", "step", _check)
