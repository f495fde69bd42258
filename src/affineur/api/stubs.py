"""``affineur/__init__.pyi``: what type checkers and editors see of the names that are made from steps.

It is generated (``make docs``) and checked (``make check``), never written by hand.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

import affineur
from affineur.api.verbs import verb

_HEAD = '''"""What Affineur gives, for type checkers and editors. Generated from the steps: make docs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from affineur import watch as watch
'''


def render() -> str:
    """Write the stub of the package."""
    lines = [_HEAD]
    for home, names in vars(affineur)["_HOMES"].items():
        lines += [f"from {home} import {name} as {name}\n" for name in names.split()]
    lines.append("\n__version__: str\n")
    for name in vars(affineur)["_STEPS"]:
        lines.append(_function(name))
    return "".join(lines)


def _function(name: str) -> str:
    call = verb(name.replace("_", "-"))
    signature = inspect.signature(call)
    head = [f"\ndef {name}(\n", "    model: str | os.PathLike[str] | Model,\n", "    *,\n"]
    for parameter in list(signature.parameters.values())[1:]:
        default = "" if parameter.default is inspect.Parameter.empty else f" = {parameter.default!r}"
        head.append(f"    {parameter.name}: {_written(parameter.annotation)}{default},\n")
    documented = textwrap.indent(f'"""{call.__doc__}\n"""', "    ")
    return "".join([*head, ") -> Model:\n", documented, "\n"])


def _written(annotation: Any) -> str:
    """Write an annotation as source, without constraints of pydantic's."""
    if isinstance(annotation, str):
        return annotation
    text = inspect.formatannotation(annotation)
    return re.sub(r"\b(?:typing|pathlib|collections\.abc)\.", "", text)
