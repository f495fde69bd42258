"""Commands that run a whole recipe: run and demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from affineur import sample
from affineur.cli import options, show
from affineur.cli.commands import MAKE, Commands
from affineur.cli.numbers import SEED
from affineur.measure import COLUMNS


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = commands.add(
        "demo",
        "the whole pipeline on the embedded sample, a few minutes on two cores",
        MAKE,
        ("affineur demo",),
    )
    parser.set_defaults(recipe=sample.recipe(), teacher=None, data=None, name=None)
    _finish(parser)

    parser = commands.add(
        "run",
        "every step of a recipe, then the table and the report; goes on where it stopped",
        MAKE,
        ("affineur run recipes/conll.yaml --teacher ./my_teacher --data ./my_corpus --name mine",),
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml", help="the recipe, a YAML file")
    parser.add_argument("--teacher", metavar="MODEL", help="use this teacher instead of the recipe's")
    parser.add_argument("--data", metavar="DATA", help="use this data instead of the recipe's")
    parser.add_argument("--name", metavar="NAME", help="name of the run (default: the recipe's)")
    _finish(parser)


def _finish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs",
        metavar="DIR",
        type=Path,
        default=Path("runs"),
        help="folder that holds the runs (default: runs)",
    )
    parser.add_argument(
        "--seed", type=SEED, metavar="N", help="seed of everything random (default: the recipe's)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="no sweep, no benchmark, no peak memory, three timing rounds; run again without it for all",
    )
    parser.add_argument(
        "--no-text",
        dest="text",
        action="store_false",
        help="quote no sentence of the data in report.html and errors.json, so that they may be passed on",
    )
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from affineur.api.searching import run

    given = {"teacher": args.teacher, "data": args.data, "name": args.name, "seed": args.seed}
    changes = {key: value for key, value in given.items() if value is not None}
    made = run(
        args.recipe,
        runs=args.runs,
        device=args.device,
        threads=args.threads,
        text=args.text,
        quick=args.quick,
        **changes,
    )
    _show(made.table, made.gate, made.folder)
    if made.published:
        show.lines([f"Published: {made.published}"])
    show.to_json(made.table, args.json)
    return 0 if made.passed else 3


def _show(table: dict[str, Any], gate: dict[str, Any], folder: Path) -> None:
    show.table(COLUMNS, table["cells"])
    show.lines(
        [
            *table["footnotes"],
            *table.get("notes", []),
            *(table.get("example") or {}).get("lines", []),
            *gate.get("lines", []),
        ]
    )
    show.lines(
        [f"Report: {folder}/report.html; figures: {folder}/*.json, compare.md; models: {folder}/models/"]
    )
