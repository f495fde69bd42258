"""``search``: the Pareto front of F1, speed and size within a time."""

from __future__ import annotations

import argparse
from pathlib import Path

from affineur.cli import options, show


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser(
        "search",
        help="the Pareto front of F1, speed and size over layers, width, pieces, sparsity and precision, within the recipe's minutes; resumes where "
        "it stopped; exit status 0 where test does not disagree with the smallest point inside the budget, else 3",
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml", type=Path)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        help="folder for the front and its models (default: searches/NAME)",
    )
    parser.add_argument("--teacher", help="use this teacher instead of the recipe's")
    parser.add_argument("--data", help="use this data instead of the recipe's")
    parser.add_argument(
        "--minutes",
        type=float,
        help="spend so much time instead of the recipe's, what an earlier run spent included",
    )
    parser.add_argument(
        "--keep-all",
        action="store_true",
        help="keep the models of all points and stages, not those of the front alone",
    )
    options.add_common(parser)
    parser.set_defaults(run=_search, seed=None)


def _search(args: argparse.Namespace) -> int:
    from affineur.pipeline.search import search
    from affineur.pipeline.search_recipe import read_search_recipe
    from affineur.pipeline.search_results import COLUMNS

    given = {name: getattr(args, name) for name in ("teacher", "data", "minutes", "seed")}
    recipe = read_search_recipe(
        args.recipe, {key: value for key, value in given.items() if value is not None}
    )
    out = args.output or Path("searches") / recipe.name
    found = search(recipe, out, args.keep_all, args.device)
    show.table(COLUMNS, found.cells())
    show.lines(
        [
            *found.lines(),
            f"Figures: {out}/search.json, search.md; picture: {out}/search.svg; models: {out}/models/",
        ]
    )
    show.to_json(found.as_dict(), args.json)
    return 0 if found.agreed else 3
