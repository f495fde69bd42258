"""Tables as rows of text, and the notes below them: for Markdown here, for terminal and pages elsewhere."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal

from affineur.display import megabytes, millions
from affineur.errors import counted
from affineur.measure.benchmark import CALLS
from affineur.measure.benchmark_result import CONFIDENCE, Benchmark, BenchmarkRow
from affineur.measure.budget import Curve, Point
from affineur.measure.comparison import Change, Comparison, Row
from affineur.measure.evaluation import Evaluation, TypeScore
from affineur.measure.speed import SAME, Ratio

COLUMNS = (
    "Model",
    "Layers",
    "Sparsity",
    "Size",
    "F1",
    "95 %",
    "ΔF1 (95 %)",
    "Accuracy",
    "Sentences/s",
    "Speed",
    "Memory",
)


def rate(per_second: float) -> str:
    """Write a rate, with a decimal below 10."""
    return f"{per_second:.0f}" if per_second >= 10 else f"{per_second:.1f}"


def comparison_cells(comparison: Comparison) -> list[list[str]]:
    """Return the cells of the comparison table, row by row, under :data:`COLUMNS`."""
    return [_cells(row, first=place == 0) for place, row in enumerate(comparison.rows)]


def _cells(row: Row, first: bool) -> list[str]:
    return [
        row.model,
        # A pipeline of others, such as spaCy's, tells neither.
        str(row.layers or "–"),
        f"{row.sparsity:.1%}" if row.layers else "–",
        megabytes(row.size_bytes),
        f"{row.f1:.2%}",
        f"{row.f1_low * 100:.1f}–{row.f1_high * 100:.1f}",
        "–" if first else _change(row),
        f"{row.accuracy:.2%}",
        rate(row.sentences_per_second),
        "1.00×" if first else _times(row.speed),
        megabytes(row.peak_rss_bytes),
    ]


def _change(lost: Row | Change | Point) -> str:
    """Write a drop turned around: points of F1 won or lost, with their interval."""
    return f"{-lost.drop * 100:+z.2f} ({-lost.drop_high * 100:+z.2f} … {-lost.drop_low * 100:+z.2f})"


def _times(ratio: Ratio) -> str:
    interval = "" if math.isinf(ratio.high) else f" ({ratio.low:.2f}–{ratio.high:.2f})"
    return f"{ratio.value:.2f}×{interval}"


#: What a note below the comparison is about.
Footnote = Literal["data", "left out", "merged", "verdicts", "steps", "F1", "accuracy", "units", "machine"]


def footnotes(
    comparison: Comparison, *, without: Collection[Footnote] = (), brief: bool = False
) -> list[str]:
    """Say in plain lines what the figures of a comparison are.

    Args:
        comparison: The comparison.
        without: Notes that are said elsewhere.
        brief: Leave out what only those who built the measurement understand.
    """
    rows, scheme = comparison.rows, comparison.scheme
    steps = [f"{row.model} {_change(row.step)}" for row in rows if row.step]
    sentences, words = counted(comparison.sentences, "sentence"), counted(comparison.words, "word")
    compared = "" if brief else f"; mentions compared in {scheme}"
    repaired = [
        f"{row.model} {row.accuracy_repaired:.2%}"
        for row in rows
        if f"{row.accuracy:.2%}" != f"{row.accuracy_repaired:.2%}"
    ]
    notes: dict[Footnote, list[str]] = {
        "data": [
            f"{sentences}, {words} of {comparison.data}; types {', '.join(comparison.types)}{compared}."
        ],
        "left out": [f"Left out, since not every model knows them: {', '.join(comparison.left_out)}."]
        * bool(comparison.left_out),
        "merged": [
            f"{comparison.merged} gold mentions touch another of their type and merge with it"
            f"{'' if brief else f' in {scheme}'}."
        ]
        * bool(comparison.merged),
        "verdicts": [f"{row.verdict}." for row in rows if row.verdict],
        "steps": [f"Each against the row above it: {', '.join(steps)}."] * bool(steps),
        "F1": [
            "F1: mentions, micro, exact span and type; 95 % bootstrap interval over "
            f"{comparison.bootstrap_over}. ΔF1: points against the first row, paired over the same sentences."
        ],
        "accuracy": [
            "Accuracy: words with exactly the tag of the data, as each model writes it. After repair"
            f"{'' if brief else f', in {scheme}'}, which is fair where schemes differ: {', '.join(repaired)}."
        ]
        * bool(repaired),
        "units": [
            "Sparsity: zeros ÷ attention and feed-forward weights. Size: weights. Speed: median ratio over "
            f"interleaved rounds, with its {CONFIDENCE:.0%} interval where there are enough of them; within "
            f"1 ± {SAME:.0%} no difference. Memory: peak {_memory(brief)} of a fresh process."
        ],
        "machine": [f"{comparison.machine['description']}."] if "machine" not in without else [],
    }
    return [line for kind, lines in notes.items() if kind not in without for line in lines]


def _memory(brief: bool) -> str:
    return "memory" if brief else "resident set"


def markdown(comparison: Comparison) -> str:
    """Write the comparison as GitHub-flavored Markdown."""
    table = markdown_table(COLUMNS, comparison_cells(comparison))
    return table + "\n" + "\n".join(f"- {note}" for note in footnotes(comparison)) + "\n"


def markdown_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *cells]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


EVALUATION_COLUMNS = ("Type", "Precision", "Recall", "F1", "95 %", "Gold mentions")


def evaluation_cells(evaluation: Evaluation) -> list[list[str]]:
    """Return the cells under :data:`EVALUATION_COLUMNS`, one row per type and one for all."""

    def cells(name: str, scores: Evaluation | TypeScore, gold: int) -> list[str]:
        return [
            name,
            f"{scores.precision:.2%}",
            f"{scores.recall:.2%}",
            f"{scores.f1:.2%}",
            f"{scores.low * 100:.1f}–{scores.high * 100:.1f}",
            str(gold),
        ]

    rows = [
        cells(kind, scores, scores.support) if scores.support else [kind, *["–"] * 4, "0"]
        for kind, scores in evaluation.per_type.items()
    ]
    return [*rows, cells("all", evaluation, evaluation.total.gold)]


PARTIAL_COLUMNS = (
    *("Match (SemEval-2013)", "Precision", "Recall", "F1"),
    *("Correct", "Incorrect", "Partial", "Missed", "Spurious"),
)


def partial_cells(evaluation: Evaluation) -> list[list[str]]:
    """Return the cells under :data:`PARTIAL_COLUMNS`: one row per kind of match, over all types."""
    return [
        [
            kind,
            *(f"{value:.2%}" for value in (one.precision, one.recall, one.f1)),
            *map(str, (one.correct, one.incorrect, one.partial, one.missed, one.spurious)),
        ]
        for kind, one in evaluation.partial_match.items()
    ]


SWEEP_COLUMNS = ("Method", "Sparsity", "F1", "Interval", "ΔF1 (interval)", "Budget")


def sweep_cells(curve: Curve) -> list[list[str]]:
    """Return the cells of a curve's points under :data:`SWEEP_COLUMNS`."""
    return [
        [
            p.method + (" + recovery" if p.recovered else ""),
            f"{p.sparsity:.2%}",
            f"{p.f1:.2%}",
            f"{p.f1_low * 100:.1f}–{p.f1_high * 100:.1f}",
            _change(p),
            "inside" if p.inside else "outside",
        ]
        for p in curve.points
    ]


_FILES = {True: "files read from the disk", False: "files as the system had them in its cache"}
_MEMORY = "tagging up to 128 sentences the model's own way"
BENCHMARK_COLUMNS = (
    *("Model", "Size", "Embeddings / encoder / head", "Parameters", "Not zero", "Load", "p50", "p95", "p99"),
    *("Sentences/s", "Words/s", f"Speed ({CONFIDENCE:.0%})", "Memory"),
)


def benchmark_cells(benchmark: Benchmark) -> list[list[str]]:
    """Return the cells of the benchmark's table, row by row, under :data:`BENCHMARK_COLUMNS`."""
    return [_benchmark_cells(model, place == 0) for place, model in enumerate(benchmark.models)]


def _benchmark_cells(model: BenchmarkRow, first: bool) -> list[str]:
    own, facts = model.timings[0], model.facts
    return [
        model.model,
        megabytes(facts.size_bytes),
        _parts(facts.parts),
        "–" if facts.parameters is None else f"{facts.parameters:,}",
        "–" if facts.nonzero is None else f"{facts.nonzero:,}",
        f"{model.birth.load_seconds:.2f} s",
        *(f"{value:.1f} ms" for value in (model.p50_ms, model.p95_ms, model.p99_ms)),
        rate(own.sentences_per_second),
        rate(own.words_per_second),
        "1.00×" if first else _times(own.ratio),
        megabytes(model.birth.peak_rss_bytes),
    ]


def batching_cells(benchmark: Benchmark) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return columns and cells of sentences per second: naive batches as they come, sorted ones by length."""
    columns = ("Sentences/s", *(str(timing.batching) for timing in benchmark.models[0].timings))
    return columns, [[m.model, *(rate(t.sentences_per_second) for t in m.timings)] for m in benchmark.models]


def _parts(parts: dict[str, int]) -> str:
    return f"{' / '.join(map(millions, parts.values()))} MB" if parts else "–"


#: What a note below the benchmark is about.
BenchmarkNote = Literal["verdicts", "rounds", "units", "machine"]


def benchmark_notes(
    benchmark: Benchmark, *, without: Collection[BenchmarkNote] = (), brief: bool = False
) -> list[str]:
    """Say in plain lines what the figures of a benchmark are, and who won where that can be told.

    Args:
        benchmark: The benchmark.
        without: Notes that are said elsewhere.
        brief: Leave out what only those who built the measurement understand.
    """
    threads = sorted({m.birth.threads for m in benchmark.models})
    cold = all(m.birth.cold for m in benchmark.models)
    few = "" if benchmark.singles >= CALLS else f"; too few for a p99, which needs {CALLS:,}"
    rounds, timed = counted(benchmark.rounds, "round"), counted(benchmark.timed, "sentence")
    cpus = ", ".join(map(str, benchmark.cpus)) or "not pinned"
    notes: dict[BenchmarkNote, list[str]] = {
        "verdicts": benchmark.verdicts(),
        "rounds": [
            f"Each model in a process of its own, started afresh every round, in turn: {rounds} of {timed} "
            f"of {benchmark.data}, and {benchmark.singles:,} one by one (p50, p95, p99{few}). Speed: median "
            f"of the ratios to the first row round by round; a winner only where their {CONFIDENCE:.0%} "
            f"interval leaves 1 ± {SAME:.0%}."
        ],
        "units": [
            f"Size: weights. Load: median over {counted(benchmark.rounds, 'start')}, its libraries imported "
            f"before, {_FILES[cold]}. Memory: peak {_memory(brief)} after {_MEMORY}. Threads: "
            f"{', '.join(map(str, threads))}, on processors {cpus}. Energy: not measured."
        ],
        "machine": [f"{benchmark.machine['description']}."] if "machine" not in without else [],
    }
    return [line for kind, lines in notes.items() if kind not in without for line in lines]


def benchmark_markdown(benchmark: Benchmark) -> str:
    """Write the benchmark as GitHub-flavored Markdown."""
    notes = "\n".join(f"- {note}" for note in benchmark_notes(benchmark))
    return (
        markdown_table(BENCHMARK_COLUMNS, benchmark_cells(benchmark))
        + "\n"
        + markdown_table(*batching_cells(benchmark))
        + "\n"
        + notes
        + "\n"
    )
