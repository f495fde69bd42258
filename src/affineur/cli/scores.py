"""Commands that measure: evaluate and compare."""

from __future__ import annotations

import argparse

from affineur.cli import options, show
from affineur.entities import Corpus
from affineur.measure import COLUMNS, compare, comparison_cells, evaluate, evaluation_cells, footnotes, markdown
from affineur.transfer import load_corpus


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    parser = commands.add_parser("evaluate", help="F1, accuracy, per type, with intervals")
    parser.add_argument("model", metavar="MODEL", help="a folder, a Hub id, 'sample', or torch-int8: and one of these")
    options.add_types(parser)
    options.add_data(parser)
    options.add_common(parser)
    parser.set_defaults(run=_evaluate)

    parser = commands.add_parser("compare", help="the guide's table, measured: F1, size, speed and memory of several models")
    parser.add_argument("models", metavar="MODEL", nargs="+", help="the first is the baseline")
    parser.add_argument("--markdown", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--html", metavar="FILE", help="write the table as one self-contained page")
    parser.add_argument("--rounds", type=int, default=5, help="timing rounds, interleaved (default: 5)")
    options.add_types(parser)
    options.add_data(parser)
    options.add_common(parser)
    parser.set_defaults(run=_compare)


def _corpus(args: argparse.Namespace) -> Corpus:
    return load_corpus(args.data, "test", options.data_options(args))


def _evaluate(args: argparse.Namespace) -> int:
    from affineur.pipeline import load

    corpus = _corpus(args)
    evaluation = evaluate(load(args.model, args.device), corpus, options.split_list(args.types))
    total, interval = evaluation.total, evaluation.interval()
    show.lines(
        [
            f"F1 {total.f1:.2%} (95 %: {interval.low:.2%} to {interval.high:.2%}), precision {total.precision:.2%}, recall {total.recall:.2%}, "
            f"accuracy {evaluation.accuracy:.2%}",
            f"{evaluation.sentences:,} sentences, {evaluation.words:,} words of {corpus.name}; mentions compared in {evaluation.scheme}"
            + (f", {evaluation.merged} touching gold mentions merged" if evaluation.merged else "")
            + (f", {evaluation.repaired} predicted tags repaired (rule: begin)" if evaluation.repaired else ""),
        ]
    )
    show.table(("Type", "Precision", "Recall", "F1", "95 %", "Gold mentions"), evaluation_cells(evaluation))
    show.to_json({"model": args.model, **evaluation.as_dict()}, args.json)
    return 0


def _compare(args: argparse.Namespace) -> int:
    from pathlib import Path

    from affineur.artifact import write_text
    from affineur.errors import ParameterError
    from affineur.pipeline import candidate, peak_rss, report_html

    if args.rounds < 1:
        raise ParameterError(f"--rounds {args.rounds} is impossible, expected at least 1")
    corpus = _corpus(args)
    candidates = [candidate(model, args.device) for model in args.models]
    names = [c.name for c in candidates]
    if len(set(names)) < len(names):  # two folders of one name: show them as they were typed
        candidates = [candidate(model, args.device, model) for model in args.models]
    by_name = dict(zip([c.name for c in candidates], args.models, strict=True))
    found = compare(candidates, corpus, options.split_list(args.types), args.rounds, lambda name: peak_rss(by_name[name], corpus, args.device))
    show.table(COLUMNS, comparison_cells(found))
    show.lines(footnotes(found))
    show.to_json(found.as_dict(), args.json)
    if args.markdown:
        write_text(Path(args.markdown), markdown(found))
    if args.html:
        write_text(Path(args.html), report_html(found, "compare"))
    return 0
