"""Tables as rows of text: for Markdown here, for the terminal elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affineur.measure.comparison import Comparison, Row
from affineur.measure.evaluation import Evaluation

COLUMNS = ("Model", "Layers", "Sparsity", "Size", "F1", "95 %", "ΔF1 (95 %)", "Accuracy", "Sentences/s", "Speed", "Memory")


def megabytes(size: int | None) -> str:
    """Write bytes as megabytes (10⁶ bytes), with a decimal below 100."""
    if size is None:
        return "–"
    return f"{size / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB"


def comparison_cells(comparison: Comparison) -> list[list[str]]:
    """Return the cells of the comparison table, row by row, under :data:`COLUMNS`."""
    return [_cells(row, first=place == 0) for place, row in enumerate(comparison.rows)]


def _cells(row: Row, first: bool) -> list[str]:
    return [
        row.model,
        str(row.layers),
        f"{row.sparsity:.1%}",
        megabytes(row.size_bytes),
        f"{row.f1:.2%}",
        f"{row.f1_low * 100:.1f}–{row.f1_high * 100:.1f}",
        "–" if first else f"{-row.drop * 100:+.2f} ({-row.drop_high * 100:+.2f} … {-row.drop_low * 100:+.2f})",
        f"{row.accuracy:.2%}",
        f"{row.sentences_per_second:.0f}" if row.sentences_per_second >= 10 else f"{row.sentences_per_second:.1f}",
        "1.00×" if first else f"{row.speedup:.2f}×",
        megabytes(row.peak_rss_bytes),
    ]


def footnotes(comparison: Comparison) -> list[str]:
    """Say in plain lines what the figures are."""
    notes = [
        f"{comparison.sentences:,} sentences, {comparison.words:,} words of {comparison.data}; "
        f"types {', '.join(comparison.types)}; mentions compared in {comparison.scheme}."
    ]
    if comparison.merged:
        notes.append(f"{comparison.merged} gold mentions touch another of their type and merge with it in {comparison.scheme}.")
    notes += [
        "F1: mentions, micro, exact span and type; 95 % bootstrap interval. ΔF1: points against the first row, paired over the same sentences.",
        "Sparsity: zeros ÷ attention and feed-forward weights. Size: weights. Speed: median ratio over interleaved rounds. "
        "Memory: peak resident set of a fresh process.",
        str(comparison.machine["description"]) + ".",
    ]
    return notes


def markdown(comparison: Comparison) -> str:
    """Write the comparison as GitHub-flavored Markdown."""
    table = markdown_table(COLUMNS, comparison_cells(comparison))
    return table + "\n" + "\n".join(f"- {note}" for note in footnotes(comparison)) + "\n"


def markdown_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *cells]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def evaluation_cells(evaluation: Evaluation) -> list[list[str]]:
    """Return rows ``type, precision, recall, F1, 95 %, gold mentions``, one a type and one for all."""

    def cells(name: str, counts: Any, interval: Any) -> list[str]:
        return [
            name,
            f"{counts.precision:.2%}",
            f"{counts.recall:.2%}",
            f"{counts.f1:.2%}",
            f"{interval.low * 100:.1f}–{interval.high * 100:.1f}",
            str(counts.gold),
        ]

    rows = [cells(kind, evaluation.of_type(kind), evaluation.interval(kind)) for kind in evaluation.types]
    return [*rows, cells("all", evaluation.total, evaluation.interval())]
