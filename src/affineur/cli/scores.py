"""Commands that measure: evaluate, compare, benchmark."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path

from affineur import sample
from affineur.api.measuring import benchmark, compare
from affineur.api.model import load
from affineur.artifact import CARD, MANIFEST, SCORES, Measured, read_manifest, write_card, write_text
from affineur.cli import options, show
from affineur.cli.commands import MEASURE, Commands
from affineur.cli.numbers import Loss, Number
from affineur.entities import Corpus
from affineur.errors import ParameterError, counted
from affineur.measure import (
    EVALUATION_COLUMNS,
    MARGIN,
    PARTIAL_COLUMNS,
    TIMED,
    Evaluation,
    benchmark_markdown,
    evaluation_cells,
    markdown,
    partial_cells,
)
from affineur.measure.benchmark import ROUNDS
from affineur.transfer import load_corpus
from affineur.transfer.places.core.place import home_of, shown

_ANY = "a folder, a Hub id, 'sample', torch-int8: or guide: and one of these, or spacy: and a pipeline"


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = commands.add(
        "evaluate",
        "F1 and accuracy, overall and by type, with intervals",
        MEASURE,
        (
            "affineur evaluate student_11L_int8 --data my_corpus",
            "affineur evaluate sample --data sample --json scores.json",
            "affineur evaluate sample --data sample --as-documents 8",
        ),
    )
    options.add_model(parser, _ANY)
    parser.add_argument(
        "--card",
        action="store_true",
        help="write the scores into the model card, README.md, of a folder that Affineur made",
    )
    parser.add_argument(
        "--as-documents",
        type=Number(int, 1, 1000),
        metavar="N",
        help="join N sentences to a text and read it as predict reads raw text: what is found in documents",
    )
    options.add_types(parser)
    options.add_data(parser)
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=partial(_evaluate, parser))
    _add_compare(commands)
    _add_benchmark(commands)


def _add_compare(commands: Commands) -> None:
    parser = commands.add(
        "compare",
        "F1, size, speed and memory of several models in one table",
        MEASURE,
        ("affineur compare sample student_11L student_11L_int8 --data my_corpus --html table.html",),
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help=f"{_ANY}; the first is the baseline")
    parser.add_argument("--markdown", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--html", metavar="FILE", help="write the table as one self-contained page")
    parser.add_argument(
        "--rounds",
        type=Number(int, 1, 100_000),
        default=9,
        metavar="N",
        help="timing rounds, interleaved; 8 are the fewest that give an interval (default: 9)",
    )
    parser.add_argument(
        "--timed",
        type=Number(int, 1, 100_000),
        default=TIMED,
        metavar="N",
        help=f"sentences of a timing round, evenly over the data (default: {TIMED})",
    )
    parser.add_argument(
        "--baseline", metavar="MODEL", help="the baseline, put first (default: the first model)"
    )
    parser.add_argument(
        "--margin",
        type=Loss(),
        default=MARGIN,
        metavar="X",
        help=f"F1 you are ready to lose, for the verdicts (default: {MARGIN:g})",
    )
    options.add_types(parser)
    options.add_data(parser)
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_compare)


def _add_benchmark(commands: Commands) -> None:
    parser = commands.add(
        "benchmark",
        "size, load time, latency, speed and memory, in fresh processes taken in turn",
        MEASURE,
        ("affineur benchmark guide:sample sample torch-int8:sample",),
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help=f"{_ANY}; ratios are to the first")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables as Markdown")
    parser.add_argument(
        "--rounds",
        type=Number(int, 1, 100_000),
        default=ROUNDS,
        metavar="N",
        help=f"timing rounds; 8 are the fewest that can name a winner (default: {ROUNDS})",
    )
    options.add_data(parser, required=False)
    options.add_common(parser, device=True, threads=True)
    parser.set_defaults(run=_benchmark, data="sample")


def _corpus(args: argparse.Namespace) -> Corpus:
    return load_corpus(args.data, "test", options.data_options(args))


def _evaluate(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    if args.card and args.as_documents is not None:
        raise ParameterError(
            "--card: the F1 of a card is that of sentences, not of --as-documents; leave one of them out"
        )
    folder = _folder_of_card(args) if args.card else None
    corpus, types = _corpus(args), options.split_list(args.types)
    if folder and types is not None and (left := [kind for kind in corpus.types if kind not in types]):
        raise ParameterError(
            f"--card: --types {args.types} leaves out {', '.join(left)}, which {corpus.name} has, and the F1"
            " of a card is that of all of them; leave --types out, or leave --card out"
        )
    model = load(args.model, device=args.device, threads=args.threads)
    evaluation = model.evaluate(corpus, types=types, as_documents=args.as_documents)
    total = evaluation.total
    show.lines(
        [
            (
                f"F1 {total.f1:.2%} (95 %: {evaluation.low:.2%} to {evaluation.high:.2%}), precision"
                f" {total.precision:.2%}, recall {total.recall:.2%}, {evaluation.accuracy_said}"
            ),
            f"{counted(evaluation.sentences, 'sentence')}, {counted(evaluation.words, 'word')} of"
            f" {corpus.name}; mentions compared in {evaluation.scheme}"
            + (f", {evaluation.merged} touching gold mentions merged" if evaluation.merged else "")
            + (
                f", {evaluation.repaired} predicted tags repaired (rule: begin)"
                if evaluation.repaired
                else ""
            ),
        ]
    )
    show.table(EVALUATION_COLUMNS, evaluation_cells(evaluation))
    show.table(PARTIAL_COLUMNS, partial_cells(evaluation))
    figures = evaluation.as_dict() if args.json or folder else {}  # intervals take their time
    show.to_json({"model": shown(args.model), **figures}, args.json)
    if folder:
        again = options.command_line(parser, args, "card")
        measured = Measured.of(
            figures,
            commands={SCORES: again},
            split=_split(args.data),
            notes=[_scored(evaluation)],
        )
        if write_card(folder, measured, keep_table=True):
            show.lines([f"written into {folder / CARD} and {folder / MANIFEST}"])
        else:
            show.lines(
                [
                    f"written into {folder / MANIFEST} alone: {folder / CARD} was written or edited by hand"
                    " and is left as it is"
                ]
            )
    return 0


def _folder_of_card(args: argparse.Namespace) -> Path:
    """Find the artifact whose card will have the scores, before the long work begins.

    Raises:
        ParameterError: If the model has no card of ours.
    """
    from affineur.pipeline.models import Reference

    model, typed = Reference.parse(args.model), shown(args.model)
    if model.peer:
        raise ParameterError(
            f"--card: {typed} is {model.peer}, not a folder of Affineur's, so it has no card to write;"
            " leave --card out"
        )
    if model.prefix:
        command = shlex.join(
            ["affineur", "evaluate", shown(model.rest), "--data", shown(args.data), "--card"]
        )
        raise ParameterError(
            f"--card: {typed} runs {shown(model.rest)} another way than its folder does, and a card is"
            f" that folder's; type: {command}"
        )
    folder = model.folder()
    if sample.is_packaged(folder):
        raise ParameterError(
            f"--card: {typed} is part of affineur-fr and is not changed; leave --card out, or give a model"
            " made from it"
        )
    if read_manifest(folder) is None:
        raise ParameterError(
            f"--card: {folder} has no {MANIFEST}, so Affineur did not make it; leave --card out and write its"
            f" {CARD} by hand"
        )
    if (folder / MANIFEST).is_symlink():
        raise ParameterError(
            f"--card: {folder} lies in the Hub's cache, which is not ours to change; give the folder of a"
            " copy, or leave --card out"
        )
    return folder


def _scored(evaluation: Evaluation) -> str:
    merged = f", {evaluation.merged:,} touching gold mentions merged" if evaluation.merged else ""
    return f"Types {', '.join(evaluation.types)}; mentions compared in {evaluation.scheme}{merged}."


def _split(data: str) -> str:
    """Name the part of the data that is scored: a file is all of itself, of anything else it is test."""
    return "all" if home_of(data).is_file() else "test"


def _compare(args: argparse.Namespace) -> int:
    found = compare(
        args.models,
        _corpus(args),
        baseline=args.baseline,
        types=options.split_list(args.types),
        rounds=args.rounds,
        timed=args.timed,
        margin=args.margin,
        device=args.device,
        threads=args.threads,
    )
    show.result(found)
    show.to_json(found.as_dict(), args.json)
    if args.markdown:
        write_text(Path(args.markdown), show.marked(markdown(found)))
    if args.html:
        from affineur.measure.report import Report, report_html

        write_text(Path(args.html), show.marked(report_html(Report("compare", found))))
    return 0


def _benchmark(args: argparse.Namespace) -> int:
    found = benchmark(
        args.models, _corpus(args), rounds=args.rounds, device=args.device, threads=args.threads
    )
    show.result(found)
    show.to_json(found.as_dict(), args.json)
    if args.markdown:
        write_text(Path(args.markdown), show.marked(benchmark_markdown(found)))
    return 0
