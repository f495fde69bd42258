"""F1 without labels: the commands watch fit, watch estimate."""

from __future__ import annotations

import argparse

from affineur.cli import options, show
from affineur.cli.commands import SERVE, Commands
from affineur.errors import counted
from affineur.transfer.formats.core.raw import KINDS
from affineur.watch.reference import Reference

_MODEL = "a folder, a Hub id, 'sample', or torch-int8: and one of these"


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = commands.add(
        "watch fit",
        "learn from labeled text what a model's confidence is worth",
        SERVE,
        ("affineur watch fit student_11L_int8 --data my_corpus/dev.conll",),
        "The file it writes goes with the model and holds no word of the text. Text that the model was"
        " trained on makes it too hopeful; of data in splits dev is taken.",
    )
    options.add_model(parser, _MODEL)
    options.add_output(
        parser, "file to write (default: watch.json in the model's folder)", metavar="FILE", required=False
    )
    options.add_types(parser)
    options.add_data(parser)
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_fit)

    parser = commands.add(
        "watch estimate",
        "F1 on text without labels, with its interval, or why it cannot be told",
        SERVE,
        (
            "affineur watch estimate student_11L_int8 last_week.txt",
            "affineur watch estimate student_11L_int8 last_week.jsonl --types PER,LOC --json estimate.json",
        ),
        "It takes what watch fit wrote for the same model. Labels in the file are not looked at.",
    )
    options.add_model(parser, _MODEL)
    parser.add_argument(
        "texts",
        metavar="FILE",
        help='one text per line (.txt), one under "text" (.jsonl), or a word per line (CoNLL)',
    )
    parser.add_argument(
        "--reference", metavar="FILE", help="what watch fit wrote (default: watch.json in the model's folder)"
    )
    parser.add_argument("--format", choices=tuple(KINDS), help="what FILE is (default: found out)")
    options.add_types(parser)
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_estimate)


def _fit(args: argparse.Namespace) -> int:
    from affineur.watch import fit

    found = fit(
        args.model,
        args.data,
        types=options.split_list(args.types),
        out=args.out,
        options=options.data_options(args),
        device=args.device,
        threads=args.threads,
    )
    show.lines([_said(found)])
    show.to_json(
        {
            "model": found.model_name,
            "model_sha256": found.model,
            "data": found.data_name,
            "data_sha256": found.data,
            "sentences": found.sentences,
            "words": found.words,
            "types": list(found.types),
            "f1": found.f1,
            "method": found.method,
            "log_loss": dict(found.losses),
        },
        args.json,
    )
    return 0


def _said(found: Reference) -> str:
    losses = ", ".join(
        f"{name} {loss:.4f}" for name, loss in sorted(found.losses.items(), key=lambda e: e[1])
    )
    return (
        f"{counted(found.sentences, 'sentence')} of {found.data_name}, F1 {found.f1:.2%} over"
        f" {', '.join(found.types)}; calibration: {found.method} (log loss on sentences held out: {losses})"
    )


def _estimate(args: argparse.Namespace) -> int:
    from affineur.watch import estimate

    found = estimate(
        args.model,
        args.texts,
        types=options.split_list(args.types),
        reference=args.reference,
        format=args.format,
        device=args.device,
        threads=args.threads,
    )
    show.result(found)
    show.to_json(found.as_dict(), args.json)
    return 0
