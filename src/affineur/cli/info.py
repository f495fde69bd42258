"""The command that says what a model is: info."""

from __future__ import annotations

import argparse

from affineur.artifact import describe
from affineur.cli import options, show
from affineur.cli.commands import MEASURE, Commands
from affineur.engines.core.references import model_folder


def add_parsers(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "info",
        "what a model folder is: layers, parameters, sparsity, labels, size, lineage",
        MEASURE,
        ("affineur info sample", "affineur info student_11L_int8 --json info.json"),
    )
    options.add_model(parser)
    options.add_common(parser)
    parser.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> int:
    found = describe(model_folder(args.model))
    show.table(("Aspect", "Details"), found.rows(), numbers=False)
    show.to_json(found.as_dict(), args.json)
    return 0
