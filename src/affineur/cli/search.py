"""``search``: the Pareto front of F1, speed and size within a time."""

from __future__ import annotations

import argparse
from pathlib import Path

from affineur.cli import options, show
from affineur.cli.commands import MAKE, Commands
from affineur.cli.numbers import SEED, Loss, Number
from affineur.errors import ParameterError

_RECIPES = (".yaml", ".yml")


def add_parsers(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "search",
        "the best trade-offs of F1, speed and size over layers, width, pieces, sparsity and precision",
        MAKE,
        (
            "affineur search ./my_teacher --data ./my_corpus --minutes 30 -o best",
            "affineur search recipes/search.yaml --teacher ./my_teacher --data ./my_corpus",
        ),
        "It takes as many minutes as it is given and goes on where it stopped. Exit status 0 where test does"
        " not disagree with the smallest point inside the budget, else 3.",
    )
    parser.add_argument(
        "model", metavar="MODEL|RECIPE.yaml", help="the model to start from, or a recipe of a search"
    )
    about = "folder for the one model to take: the smallest whose F1 is inside the budget"
    options.add_output(parser, about, metavar="BEST", required=False)
    parser.add_argument(
        "--front",
        metavar="DIR",
        type=Path,
        help="folder for the front and its models (default: searches/NAME)",
    )
    parser.add_argument("--teacher", metavar="MODEL", help="use this teacher instead of the recipe's")
    parser.add_argument(
        "--data", metavar="DATA", help="labeled data with train, dev and test; needed without a recipe"
    )
    parser.add_argument(
        "--minutes",
        type=Number(float, 0, 1_000_000),
        metavar="M",
        help=(
            "time for all points together, what an earlier run spent included (default: the recipe's,"
            " else 20)"
        ),
    )
    parser.add_argument(
        "--max-drop",
        type=Loss(),
        metavar="X",
        help="without a recipe: F1 that may be lost (default: 0.01, a point)",
    )
    parser.add_argument(
        "--seed", type=SEED, metavar="N", help="seed of everything random (default: the recipe's, else 13)"
    )
    parser.add_argument(
        "--keep-all", action="store_true", help="keep the models of all points, not those of the front alone"
    )
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_search)


def _search(args: argparse.Namespace) -> int:
    from affineur.api.searching import search

    recipe = args.model if Path(args.model).suffix.lower() in _RECIPES else None
    if recipe is None and args.data is None:
        raise ParameterError("a search without a recipe needs --data: a folder with train, dev and test")
    if recipe is None and args.teacher is not None:
        raise ParameterError(f"--teacher is for a recipe, but {args.model} is a model; leave it out")
    if recipe is not None and args.max_drop is not None:
        raise ParameterError(
            "--max-drop is for a search without a recipe; change budget.max_drop in the recipe"
        )
    given = {"minutes": args.minutes, "max_drop": args.max_drop, "seed": args.seed}
    found = search(
        args.teacher if recipe else args.model,
        data=args.data,
        recipe=recipe,
        out=args.out,
        front=args.front,
        keep_all=args.keep_all,
        device=args.device,
        threads=args.threads,
        **{key: value for key, value in given.items() if value is not None},
    )
    show.result(found)
    where = found.out
    show.lines(
        [
            f"Figures: {where}/search.json, search.md; picture: {where}/search.svg; models: {where}/models/",
        ]
    )
    if args.out is not None:
        taken = found.smallest
        show.lines(
            [
                (
                    f"{taken.name} written to {args.out}"
                    if taken
                    else f"no point is inside the budget, so nothing is in {args.out}"
                )
            ]
        )
    show.to_json(found.as_dict(), args.json)
    return 0 if found.agreed else 3
