"""Every step as a function: its parameters are the step's own fields and inputs, said once, in the step."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from affineur.api.data import corpus_of, splits_of
from affineur.api.model import Model, reference_of
from affineur.api.place import context_at, settle
from affineur.artifact import open_folder
from affineur.engines.core.references import model_folder
from affineur.errors import ParameterError, did_you_mean
from affineur.steps.core.context import CALIBRATION, Context
from affineur.steps.core.step import STEPS, Input, Shape, Step
from affineur.steps.tailoring.texts import texts_of
from affineur.transfer import DataOptions

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
#: What every step may be told beside its own parameters.
_PLACES: dict[str, tuple[Any, Any, str]] = {
    "device": (str, "cpu", "cpu, cuda or auto"),
    "threads": (int | None, None, "threads of the engine; one per usable processor by default"),
    "cache": (Path | None, None, "where teacher logits and scores are kept"),
}


def take(step: Step, model: object, out: str | os.PathLike[str], context: Context | None = None) -> Model:
    """Take one step: make a model of another, or find that it is there already.

    Args:
        step: The step.
        model: A reference, a path or a model.
        out: Folder to write to.
        context: Where it works, and on what.

    Returns:
        The result; where nothing had to be done, the model itself.

    Raises:
        AffineurError: Whatever is wrong with model, data or values, in one line; nothing is written then.
    """
    context = context or Context()
    step.check(context)
    settle(context.device if step.on_device else "cpu", context.threads if step.threaded else None)
    source = step.open(model_folder(reference_of(model)))
    try:
        step.after(Shape.of(source))
    except ParameterError as error:
        raise ParameterError(f"{source.path}: {error}", error.parameter) from None
    device = context.device if step.on_device else "cpu"
    made = Model(step.run(source, Path(out), context), device=device, threads=context.threads)
    made.source = source
    return made


def context_of(
    kind: type[Step],
    inputs: dict[str, Any],
    *,
    options: DataOptions | None = None,
    device: str = "cpu",
    threads: int | None = None,
    cache: Path | None = None,
) -> Context:
    """Open what a step is given beside its parameters.

    Args:
        kind: The step.
        inputs: What was given, by the inputs' names.
        options: How data is read where it is given by reference.
        device: A torch device.
        threads: Threads of engines.
        cache: Where things are kept; ``None`` for the user's cache.

    Raises:
        DataError: If data cannot be read.
        ModelError: If the teacher cannot be used.
    """
    found = context_at(device, threads, cache)
    options = options or DataOptions()
    for known in kind.inputs:
        value = inputs.get(known.name)
        if value is None or known.many:
            continue
        if known.name == "data":
            found = replace(found, data=splits_of(value, options))
        elif known.name == "calibration":
            found = replace(found, calibration=corpus_of(value, "train", CALIBRATION))
        elif known.name == "teacher":
            found = replace(found, teacher=open_folder(model_folder(reference_of(value))))
    if any(known.many for known in kind.inputs):
        texts, unseen = texts_of(_several(inputs.get("data")), _several(inputs.get("text")))
        found = replace(found, texts=texts, unseen=unseen)
    return found


def _several(value: object) -> Sequence[Any]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


@cache
def verb(name: str) -> Callable[..., Model]:
    """Return a step as a function, with the signature and the documentation that follow from its description.

    Args:
        name: Name of the step.

    Raises:
        ParameterError: If there is none of this name.
    """
    kind = STEPS.get(name)
    signature = signature_of(kind)

    def call(model: object, *unexpected: object, **given: Any) -> Model:
        if unexpected:
            raise TypeError(f"{call.__name__}() takes one model, all else by keyword, such as out='folder'")
        known = [parameter for parameter in signature.parameters if parameter != "model"]
        if strange := [key for key in given if key not in known]:
            raise ParameterError(
                f"{call.__name__}() has no parameter '{strange[0]}', expected some of {', '.join(known)}"
                f"{did_you_mean(strange[0], known)}",
                strange[0],
            )
        out = given.pop("out", None)
        if out is None:
            raise ParameterError(f"{call.__name__}() needs out, the folder to write the model to", "out")
        places = {key: given.pop(key) for key in _PLACES if key in given}
        inputs = {each.name: given.pop(each.name) for each in kind.inputs if each.name in given}
        step = kind.given(given)
        return take(step, model, out, context_of(kind, inputs, **places))

    call.__name__ = call.__qualname__ = name.replace("-", "_")
    call.__module__ = "affineur"
    call.__doc__ = _documentation(kind)
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def signature_of(kind: type[Step]) -> inspect.Signature:
    """Return the signature of a step as a function."""
    parameters = [
        inspect.Parameter(
            "model", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="str | os.PathLike[str] | Model"
        ),
        inspect.Parameter("out", _KEYWORD, annotation="str | os.PathLike[str]"),
    ]
    for name, field in kind.fields().items():
        default = (
            inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
        )
        annotation = kind.__annotations__.get(name) or field.annotation
        parameters.append(inspect.Parameter(name, _KEYWORD, default=default, annotation=annotation))
    for known in kind.inputs:
        default = inspect.Parameter.empty if known.required else None
        parameters.append(
            inspect.Parameter(known.name, _KEYWORD, default=default, annotation=_annotation(known))
        )
    for name in places_of(kind):
        annotation, default, _ = _PLACES[name]
        parameters.append(inspect.Parameter(name, _KEYWORD, default=default, annotation=annotation))
    # Among keywords, one without a default may follow one with; people read the required ones first.
    head, rest = parameters[:2], parameters[2:]
    rest.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    return inspect.Signature([*head, *rest], return_annotation="Model")


def places_of(kind: type[Step]) -> tuple[str, ...]:
    """Say which of device, threads and cache change something for a step."""
    return (*(["device", "cache"] if kind.on_device else []), *(["threads"] if kind.threaded else []))


def _annotation(known: Input) -> str:
    if known.name == "teacher":
        return "str | os.PathLike[str] | Model" + ("" if known.required else " | None")
    one = "str | os.PathLike[str] | Corpus" + (" | Splits" if known.name == "data" else "")
    many = f"{one} | Sequence[{one}]" if known.many else one
    return many + ("" if known.required else " | None")


def _documentation(kind: type[Step]) -> str:
    """Write the docstring of a step as a function."""
    lines = [inspect.cleandoc(kind.__doc__ or kind.summary), "", "Args:"]
    lines.append("    model: A folder, a reference such as ``sample``, or a model.")
    lines.append("    out: Folder to write the result to; where it is there already, nothing is done again.")
    fields = kind.model_fields
    for parameter in signature_of(kind).parameters:
        if parameter in fields:
            said = fields[parameter].description or ""
        elif parameter in _PLACES:
            said = _PLACES[parameter][2]
        else:
            said = next((each.help for each in kind.inputs if each.name == parameter), "")
        if said:
            lines.append(f"    {parameter}: {said[0].upper()}{said[1:]}.")
    lines += ["", "Returns:", "    The model that was made: ``.path``, ``.info``, and it can be called."]
    lines += ["", "Raises:", "    AffineurError: Whatever is wrong, in one line; nothing is written then."]
    return "\n".join(lines)
