"""``sweep``: the largest sparsity whose interval of F1 is inside a budget."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path

from affineur.artifact import SCORES, write_text
from affineur.cli import options, show
from affineur.errors import ParameterError
from affineur.measure import SWEEP_COLUMNS, Budget, sweep_cells
from affineur.measure.report.picture import picture
from affineur.transfer import DataOptions, load_corpus, load_splits, resolve_model

_METHODS = "magnitude, layerwise, wanda"


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser(
        "sweep",
        help="the largest sparsity whose interval of F1 on dev is inside a budget, then held against test; exit status 0 where test confirms it or "
        "agrees by its estimate, 3 where test disagrees or no sparsity is inside",
    )
    parser.add_argument("model", metavar="MODEL", help="the model to prune: a folder, a Hub id or 'sample'")
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, required=True, help="folder of the model found"
    )
    group = parser.add_argument_group("budget")
    group.add_argument(
        "--min-f1", type=float, help="F1 to keep, as a fraction: the lower end of its interval must reach it"
    )
    group.add_argument(
        "--max-drop",
        type=float,
        help="F1 that may be lost, 0.01 is a point: the upper end of the paired interval must not exceed it",
    )
    group.add_argument(
        "--confidence", type=float, default=0.95, help="mass inside the intervals (default: 0.95)"
    )
    group.add_argument("--baseline", metavar="M", help="what a drop is measured from (default: MODEL)")
    group = parser.add_argument_group("search")
    group.add_argument(
        "--method",
        default="magnitude",
        help=f"one or more of {_METHODS}, separated by commas, or all (default: magnitude)",
    )
    group.add_argument(
        "--scope", default="attention+ffn", help="attention+ffn, attention or ffn (default: attention+ffn)"
    )
    group.add_argument(
        "--points", metavar="S,S,…", help="try these sparsities only (default: a coarse scan, then bisection)"
    )
    group.add_argument(
        "--tolerance", type=float, default=0.01, help="bisection stops at steps of this size (default: 0.01)"
    )
    group.add_argument(
        "--calibration",
        metavar="DATA",
        help="text for wanda, as --data elsewhere; labels are not read (default: train of --data)",
    )
    group.add_argument(
        "--recover", action="store_true", help="fine-tune each point under its mask, by the options below"
    )
    group.add_argument("--teacher", metavar="T", help="learn soft labels from this model too when recovering")
    group.add_argument("--svg", metavar="FILE", type=Path, help="write the curve as a picture")
    options.add_types(parser)
    options.add_data(parser)
    share = DataOptions().dev_share
    parser.add_argument(
        "--dev-share",
        type=float,
        default=share,
        metavar="S",
        help=f"share of train held out where there is no dev (default: {share:g})",
    )
    options.add_training(parser, epochs=0.5, learning_rate=1e-5)
    options.add_soft(parser)
    options.add_common(parser)
    parser.set_defaults(run=partial(_sweep, parser))


def _sweep(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    budget = Budget(args.min_f1, args.max_drop, args.confidence)
    if args.teacher and not args.recover:
        raise ParameterError("--teacher says what to learn from when recovering; add --recover")
    from affineur.pipeline import Plan, Recovery
    from affineur.pipeline.sweep import sweep
    from affineur.steps import GUIDE, METHODS

    soft = options.soft_of(args)
    if not args.teacher and soft != type(soft)():
        raise ParameterError(
            "--soft-weight, --temperature and --hidden-weight say what to learn from a teacher; name one with --teacher"
        )
    if not args.recover and options.settings_of(args) != replace(GUIDE, seed=args.seed):
        raise ParameterError(
            "--epochs, --learning-rate, --batch-size, --weight-decay and --warmup say how to recover; add --recover"
        )
    teacher = resolve_model(args.teacher) if args.teacher else None
    recovery = (
        Recovery(options.settings_of(args), teacher, soft if teacher else None) if args.recover else None
    )
    methods = METHODS if args.method == "all" else tuple(options.split_list(args.method) or ())
    plan = Plan(budget, methods, _points(args.points), args.tolerance, args.scope, recovery)
    if args.calibration and "wanda" not in plan.methods:
        raise ParameterError(
            f"--calibration is for --method wanda, but the method is {args.method}; leave it out, or say --method wanda"
        )
    data = load_splits(args.data, replace(options.data_options(args), dev_share=args.dev_share))
    calibration = (
        load_corpus(args.calibration, "train", DataOptions(dev_share=0.0)) if args.calibration else None
    )
    types = options.split_list(args.types)
    found = sweep(
        args.model,
        args.output,
        data,
        plan,
        args.baseline,
        calibration,
        types,
        args.device,
        commands=_again(parser, args),
    )
    show.table(SWEEP_COLUMNS, [cells for curve in found.curves for cells in sweep_cells(curve)])
    show.lines(found.lines())
    if args.svg:
        write_text(args.svg, picture(found.curves))
    show.to_json(found.as_dict(), args.json)
    return 0 if found.confirmation and found.confirmation.state != "disagrees" else 3


def _again(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, str]:
    """Return the commands that give the model and its scores again, by what they give, for its card."""
    name = args.output.resolve().name
    how = {
        name: getattr(args, name)
        for name in ("types", "word_column", "tag_column", "scheme", "tag_names", "label_map", "device")
    }
    again = argparse.Namespace(command="evaluate", model=name, data=args.data, **how)
    return {
        "the model": f"{options.command_line(parser, args, 'output', 'svg')} -o {shlex.quote(name)}",
        SCORES: options.command_line(parser, again),
    }


def _points(text: str | None) -> tuple[float, ...] | None:
    try:
        return (
            None if text is None else tuple(sorted({float(part) for part in options.split_list(text) or ()}))
        )
    except ValueError:
        raise ParameterError(
            f"--points {text} is not a list of sparsities, expected for example 0.1,0.2,0.3"
        ) from None
