"""One command per step; options, help and examples are those of the step itself."""

from __future__ import annotations

import argparse
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from affineur.api.verbs import context_of, take
from affineur.cli import options, show
from affineur.cli.commands import MAKE, Commands
from affineur.cli.numbers import AMOUNT, COUNT
from affineur.errors import one_line
from affineur.progress import report
from affineur.steps.core.command import option
from affineur.steps.core.step import STEPS, Input, Step


def add_parsers(commands: Commands) -> None:
    """Add a command for each step of ours."""
    for kind in _steps(ours=True):
        _add(commands, kind)


def add_plugins(commands: Commands) -> None:
    """Add a command for each step of another package, after all of ours; what cannot be added is reported."""
    for kind in _steps(ours=False):
        try:
            if kind.name in commands:
                raise ValueError(f"'{kind.name}' is a command of Affineur's; use another name")
            _fill(argparse.ArgumentParser(), kind)
        except Exception as error:  # anything may be wrong in somebody else's step, and the rest works
            report(f"warning: the step '{kind.name}' of {kind.__module__} has no command ({one_line(error)})")
        else:
            _add(commands, kind)


def _steps(*, ours: bool) -> list[type[Step]]:
    return [kind for kind in STEPS.all().values() if kind.__module__.startswith("affineur.") is ours]


def _add(commands: Commands, kind: type[Step]) -> None:
    _fill(commands.add(kind.name, kind.summary, MAKE, kind.examples), kind)


def _fill(parser: argparse.ArgumentParser, kind: type[Step]) -> None:
    options.add_model(parser)
    options.add_output(parser)
    fields = parser.add_argument_group("parameters") if kind.model_fields else parser
    for name, field in kind.fields().items():
        add_field(fields, name, field)
    for known in kind.inputs:
        _add_input(parser, known)
    options.add_common(parser, device=kind.on_device, threads=kind.threaded)
    parser.set_defaults(run=partial(_run, kind))


def add_field(group: Any, name: str, field: FieldInfo) -> None:
    """Add an option for a field. The step checks its value, so an impossible one is no wrong usage."""
    spelled, said = option(field.alias or name), (field.description or "").replace("%", "%%")
    default = field.get_default(call_default_factory=True)
    if not field.is_required() and default is not None and not isinstance(default, bool):
        said += f" (default: {default:g})" if isinstance(default, float) else f" (default: {default})"
    values = _values(field.annotation)
    if values is bool:
        turned = argparse.BooleanOptionalAction
        said += f" (default: {'yes' if default else 'no'})"
        group.add_argument(spelled, dest=name, action=turned, default=argparse.SUPPRESS, help=said)
        return
    if not isinstance(values, tuple) and values not in _METAVARS:
        raise TypeError(f"'{name}' is {field.annotation}, expected a bool, int, float, str or Literal")
    shown, reads = values if isinstance(values, tuple) else (_METAVARS[values], _TYPES[values])
    group.add_argument(
        spelled,
        dest=name,
        type=reads,
        metavar=shown,
        required=field.is_required(),
        default=argparse.SUPPRESS,
        help=said,
    )


_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "NAME"}
_TYPES: dict[Any, Any] = {int: COUNT, float: AMOUNT, str: str}


def _values(annotation: Any) -> Any:
    """Return how values are read: ``bool``, ``int``, ``float``, ``str``; for a choice, what is shown too."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (kind for kind in get_args(annotation) if kind is not NoneType)
        return _values(annotation)
    if get_origin(annotation) is Literal:
        return "{" + ",".join(map(str, get_args(annotation))) + "}", str
    return annotation


def _add_input(parser: argparse.ArgumentParser, known: Input) -> None:
    if known.name == "data" and not known.many:
        options.add_data(parser, required=known.required)
        return
    spelled = [option(name) for name in (known.name, *known.spellings)]
    parser.add_argument(
        *spelled,
        dest=known.name,
        nargs="+" if known.many else None,
        metavar="MODEL" if known.name == "teacher" else "FILE" if known.name == "text" else "DATA",
        required=known.required,
        help=known.help,
    )


def _run(kind: type[Step], args: argparse.Namespace) -> int:
    given = {name: getattr(args, name) for name in kind.model_fields if hasattr(args, name)}
    step = kind.given(given)
    inputs = {known.name: getattr(args, known.name, None) for known in kind.inputs}
    read = options.data_options(args) if hasattr(args, "word_column") else None
    context = context_of(
        kind,
        inputs,
        options=read,
        device=getattr(args, "device", "cpu"),
        threads=getattr(args, "threads", None),
    )
    made = take(step, args.model, args.out, context)
    assert made.source is not None
    if made.path != made.source.path:
        *lines, last = step.said(made.info, made.source) or [""]
        show.lines([*lines, f"{last}; written to {args.out}" if last else f"written to {args.out}"])
        show.to_json(step.result(made.info, made.source), args.json)
    else:
        show.lines([f"nothing had to be done: use {made.path} as it is"])
        show.to_json({"model": str(made.path), "step": None}, args.json)
    return 0
