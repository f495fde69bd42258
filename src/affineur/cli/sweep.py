"""``sweep``: the largest sparsity whose interval of F1 is inside a budget."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path

from affineur.artifact import SCORES, write_text
from affineur.cli import options, show
from affineur.cli.commands import MAKE, Commands
from affineur.cli.numbers import Loss, Number
from affineur.cli.steps import add_field
from affineur.errors import ParameterError
from affineur.steps.core.step import STEPS
from affineur.steps.pruning.core.method import METHODS
from affineur.transfer import DataOptions, load_splits

#: Parameters of ``recover`` that say how a point is fine-tuned.
_RECOVERY = (
    "epochs",
    "learning_rate",
    "batch_size",
    "weight_decay",
    "warmup",
    "seed",
    "soft_weight",
    "temperature",
    "hidden_weight",
)


def add_parsers(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "sweep",
        "the largest sparsity whose loss of F1 stays inside a budget, confirmed on test",
        MAKE,
        ("affineur sweep student_11L --data my_corpus --max-drop 0.01 -o student_11L_swept",),
        "Searched on dev, checked against test; exit status 0 where test confirms it or agrees by its"
        " estimate, 3 where it disagrees or no sparsity is inside.",
    )
    options.add_model(parser, "the model to prune: a folder, a Hub id or 'sample'")
    options.add_output(parser, "folder of the model found")
    group = parser.add_argument_group("budget")
    group.add_argument(
        "--min-f1",
        type=Number(float, 0, 1),
        metavar="X",
        help="F1 to keep, as a fraction: the lower end of its interval must reach it",
    )
    group.add_argument(
        "--max-drop",
        type=Loss(),
        metavar="X",
        help="F1 that may be lost, 0.01 is a point: the upper end of the paired interval must not exceed it",
    )
    group.add_argument(
        "--confidence",
        type=Number(float, 0, 1),
        default=0.95,
        metavar="X",
        help="mass inside the intervals (default: 0.95)",
    )
    group.add_argument("--baseline", metavar="M", help="what a drop is measured from (default: MODEL)")
    group = parser.add_argument_group("search")
    group.add_argument(
        "--method",
        default="magnitude",
        dest="methods",
        metavar="NAME,…",
        help=f"one or more of {', '.join(METHODS)}, separated by commas, or all (default: magnitude)",
    )
    group.add_argument(
        "--scope",
        default="attention+ffn",
        metavar="NAME",
        help="attention+ffn, attention or ffn (default: attention+ffn)",
    )
    group.add_argument(
        "--points", metavar="S,S,…", help="try these sparsities only (default: a coarse scan, then bisection)"
    )
    group.add_argument(
        "--tolerance",
        type=Number(float, 0, 1),
        default=0.01,
        metavar="X",
        help="bisection stops at steps of this size (default: 0.01)",
    )
    group.add_argument(
        "--calibration",
        metavar="DATA",
        help="text for methods that look at one, as --data elsewhere; labels are ignored "
        "(default: train of --data)",
    )
    group.add_argument(
        "--recover",
        action="store_true",
        help="fine-tune each point under its mask, as the options under recovery say",
    )
    group.add_argument("--teacher", metavar="T", help="learn soft labels from this model too when recovering")
    group.add_argument("--svg", metavar="FILE", type=Path, help="write the curve as a picture")
    options.add_types(parser)
    options.add_data(parser)
    share = DataOptions().dev_share
    parser.add_argument(
        "--dev-share",
        type=Number(float, 0, 1),
        default=share,
        metavar="S",
        help=f"share of train held out where there is no dev (default: {share:g})",
    )
    recover = STEPS.get("recover")
    group = parser.add_argument_group("recovery")
    for name in _RECOVERY:
        add_field(group, name, recover.model_fields[name])
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=partial(_sweep, parser))


def _sweep(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    from affineur.api.searching import sweep

    how = {name: getattr(args, name) for name in _RECOVERY if hasattr(args, name)}
    if how and not args.recover:
        raise ParameterError(
            f"{next(iter(how))} says how points are recovered, but recover is not given; give it too",
            f"{next(iter(how))} recover",
        )
    data = load_splits(args.data, options.data_options(args))
    found = sweep(
        args.model,
        data=data,
        out=args.out,
        max_drop=args.max_drop,
        min_f1=args.min_f1,
        confidence=args.confidence,
        methods="all" if args.methods == "all" else options.split_list(args.methods) or [],
        scope=args.scope,
        points=_points(args.points),
        tolerance=args.tolerance,
        recover=how if args.recover else False,
        teacher=args.teacher,
        calibration=args.calibration,
        baseline=args.baseline,
        types=options.split_list(args.types),
        device=args.device,
        threads=args.threads,
        commands=_again(parser, args),
    )
    show.result(found)
    if args.svg:
        from affineur.measure.report.picture import picture

        write_text(args.svg, show.marked(picture(found.curves)))
    show.to_json(found.as_dict(), args.json)
    return 0 if found.confirmation and found.confirmation.state != "disagrees" else 3


def _again(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, str]:
    """Return the commands that give the model and its scores again, by what they give, for its card."""
    name = args.out.resolve().name
    how = {
        name: getattr(args, name)
        for name in (
            "types",
            "format",
            "word_column",
            "tag_column",
            "scheme",
            "tag_names",
            "label_map",
            "device",
        )
    }
    again = argparse.Namespace(command="evaluate", model=name, data=args.data, **how)
    return {
        "the model": f"{options.command_line(parser, args, 'out', 'svg')} -o {shlex.quote(name)}",
        SCORES: options.command_line(parser, again),
    }


def _points(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in options.split_list(text) or ())
    except ValueError:
        raise ParameterError(
            f"points {text} is not a list of sparsities, expected for example 0.1,0.2,0.3", "points"
        ) from None
