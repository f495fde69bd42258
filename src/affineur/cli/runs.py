"""Commands that run a whole recipe: run and demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from affineur import sample
from affineur.cli import options, show
from affineur.measure import COLUMNS


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    parser = commands.add_parser(
        "run", help="a recipe through all its stages, to the table; resumes where it stopped"
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml", type=Path)
    parser.add_argument("--teacher", help="use this teacher instead of the recipe's")
    parser.add_argument("--data", help="use this data instead of the recipe's")
    parser.add_argument("--name", help="name the run so, instead of the recipe's name")
    _finish(parser)

    parser = commands.add_parser(
        "demo", help="the whole pipeline on the embedded sample, a few minutes on two cores"
    )
    parser.set_defaults(recipe=sample.recipe(), teacher=None, data=None, name=None)
    _finish(parser)


def _finish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs",
        metavar="DIR",
        type=Path,
        default=Path("runs"),
        help="folder that holds the runs (default: runs)",
    )
    options.add_common(parser)
    parser.set_defaults(run=_run, seed=None)


def _run(args: argparse.Namespace) -> int:
    from affineur.pipeline import read_recipe, run

    given = {"teacher": args.teacher, "data": args.data, "name": args.name, "seed": args.seed}
    recipe = read_recipe(args.recipe, {key: value for key, value in given.items() if value is not None})
    made = run(recipe, args.runs, args.device)
    _show(made.table, made.gate, made.folder)
    show.to_json(made.table, args.json)
    return 0 if made.passed else 3


def _show(table: dict[str, Any], gate: dict[str, Any], folder: Path) -> None:
    show.table(COLUMNS, table["cells"])
    show.lines([*table["footnotes"], *table.get("notes", []), *gate.get("lines", [])])
    show.lines(
        [f"Report: {folder}/report.html; figures: {folder}/*.json, compare.md; models: {folder}/models/"]
    )
