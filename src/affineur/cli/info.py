"""The commands that say what a model is, and what data is: info, data."""

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

    parser = commands.add(
        "data",
        "what labeled text is taken for: format, columns, scheme, types, and what looks wrong in it",
        MEASURE,
        (
            "affineur data corpus.conll",
            "affineur data my_corpus",
            "affineur data export.json --format json --json data.json",
            "affineur data mine.conll theirs.conll",
        ),
        "Of two, how they label is compared.",
    )
    parser.add_argument("data", metavar="DATA", help=options.DATA_HELP)
    parser.add_argument("other", metavar="OTHER", nargs="?", help="other data, to compare how both label")
    options.add_reading(parser.add_argument_group("data"))
    options.add_common(parser)
    parser.set_defaults(run=_data)


def _info(args: argparse.Namespace) -> int:
    found = describe(model_folder(args.model))
    show.table(("Aspect", "Details"), found.rows(), numbers=False)
    show.to_json(found.as_dict(), args.json)
    return 0


def _data(args: argparse.Namespace) -> int:
    from affineur.api.describing import describe_data

    found = describe_data(args.data, args.other, options=options.data_options(args))
    for table in found.tables():
        show.lines([table.title])
        show.table(table.columns, table.rows)
        show.lines(table.notes)
    show.to_json(found.as_dict(), args.json)
    return 0
