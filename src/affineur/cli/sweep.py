"""``sweep``: the largest sparsity inside a budget of F1."""

from __future__ import annotations

import argparse
from pathlib import Path

from affineur.cli import options, show
from affineur.errors import ParameterError
from affineur.measure import Budget
from affineur.transfer import load_corpus, load_splits, resolve_model

_METHODS = "magnitude, layerwise, wanda"


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser("sweep", help="the largest sparsity inside a budget of F1, shown to be inside it")
    parser.add_argument("model", metavar="MODEL", help="the model to prune: a folder, a Hub id or 'sample'")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="folder of the model found")
    group = parser.add_argument_group("budget")
    group.add_argument("--min-f1", type=float, help="F1 to keep, as a fraction: the lower end of its interval must reach it")
    group.add_argument("--max-drop", type=float, help="F1 that may be lost, 0.01 is a point: the upper end of the paired interval must not exceed it")
    group.add_argument("--confidence", type=float, default=0.95, help="mass inside the intervals (default: 0.95)")
    group.add_argument("--baseline", metavar="M", help="what a drop is measured from (default: MODEL)")
    group = parser.add_argument_group("search")
    group.add_argument("--method", default="magnitude", help=f"one or more of {_METHODS}, separated by commas, or all (default: magnitude)")
    group.add_argument("--scope", default="attention+ffn", help="attention+ffn, attention or ffn (default: attention+ffn)")
    group.add_argument("--points", metavar="S,S,…", help="try these sparsities only (default: a coarse scan, then bisection)")
    group.add_argument("--tolerance", type=float, default=0.01, help="bisection stops at steps of this size (default: 0.01)")
    group.add_argument("--calibration", metavar="DATA", help="text for wanda; labels are not read (default: train of --data)")
    group.add_argument("--recover", action="store_true", help="fine-tune each point under its mask, by the options below")
    group.add_argument("--teacher", metavar="T", help="learn soft labels from this model too when recovering")
    group.add_argument("--svg", metavar="FILE", type=Path, help="write the curve as a picture")
    options.add_types(parser)
    options.add_data(parser)
    options.add_training(parser, epochs=0.5, learning_rate=1e-5)
    options.add_soft(parser)
    options.add_common(parser)
    parser.set_defaults(run=_sweep)


def _sweep(args: argparse.Namespace) -> int:
    budget = Budget(args.min_f1, args.max_drop, args.confidence)
    if args.teacher and not args.recover:
        raise ParameterError("--teacher says what to learn from when recovering; add --recover")
    from affineur.compress import METHODS
    from affineur.pipeline import Plan, Recovery, sweep
    from affineur.pipeline.sweep import SWEEP_COLUMNS, sweep_cells

    teacher = resolve_model(args.teacher) if args.teacher else None
    recovery = Recovery(options.settings_of(args), teacher, options.soft_of(args) if teacher else None) if args.recover else None
    methods = METHODS if args.method == "all" else tuple(options.split_list(args.method) or ())
    plan = Plan(budget, methods, _points(args.points), args.tolerance, args.scope, recovery)
    data = load_splits(args.data, options.data_options(args))
    calibration = load_corpus(args.calibration, "train") if args.calibration else None
    found = sweep(args.model, args.output, data, plan, args.baseline, calibration, options.split_list(args.types), args.device)
    show.table(SWEEP_COLUMNS, [cells for curve in found.curves for cells in sweep_cells(curve)])
    first = found.curves[0]
    lines = [f"Searched on {first.data}, {first.sentences:,} sentences; baseline {first.baseline}, F1 {first.baseline_f1:.2%}; budget: {budget}."]
    if found.chosen is None:
        near = found.nearest
        figures = f"F1 {near.f1:.2%} ({near.f1_low:.2%} to {near.f1_high:.2%}), may lose up to {near.drop_high * 100:.2f} points"
        lines.append(
            f"No sparsity is shown to be inside the budget. The best point, {near.method} at {near.sparsity:.2%}: {figures}. Nothing was written."
        )
    else:
        best = found.chosen
        lines.append(
            f"Chosen: {best.method} at {best.sparsity:.2%}, inside on the split that was searched: may lose up to {best.drop_high * 100:.2f} points."
        )
        lines += [str(found.confirmation), f"written to {found.out}, with the evidence in affineur.json and sweep.json"]
    show.lines(lines)
    show.to_json(found.as_dict(), args.json)
    return 0 if found.confirmation and found.confirmation.state != "disagrees" else 3


def _points(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(sorted({float(part) for part in options.split_list(text) or ()}))
    except ValueError:
        raise ParameterError(f"--points {text} is not a list of sparsities, expected for example 0.1,0.2,0.3") from None
