"""The command line of a step, for cards and reports: below ``cli``, only this module spells options."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from affineur.steps.core.step import Step


def option(name: str) -> str:
    """Spell a parameter as the command line does: ``max_layer_sparsity`` is ``--max-layer-sparsity``."""
    return f"--{name.replace('_', '-')}"


def command_line(step: Step, source: str, out: str, inputs: Mapping[str, str] | None = None) -> str:
    """Write the command that makes a model again.

    Args:
        step: The step; what has its default is left out.
        source: Name of the model it starts from.
        out: Name of the model it makes.
        inputs: What has to be given again beside parameters, by the inputs' names: a model, or a placeholder.
    """
    words = ["affineur", step.name, source]
    for name, field in type(step).fields().items():
        value, spelled = getattr(step, name), option(field.alias or name)
        if value == field.get_default(call_default_factory=True) and not field.is_required():
            continue
        if isinstance(value, bool):
            words.append(spelled if value else spelled.replace("--", "--no-", 1))
        elif value is not None:
            words += [spelled, str(value).removesuffix(".0") if isinstance(value, float) else str(value)]
    for name, given in (inputs or {}).items():
        words += [option(name), given]
    return shlex.join([*words, "-o", out])
