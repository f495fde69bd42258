"""What became of each gold mention: right, of another type, cut wrong, missed; and what was invented."""

from __future__ import annotations

from affineur.measure.analysis import Analysis, Confusion
from affineur.measure.report.failures import gold_mentions
from affineur.measure.report.layers import shaded
from affineur.measure.report.markup import Cell, Html, cell, el, join, table
from affineur.measure.report.words import percent


def confusion(analysis: Analysis) -> Html:
    """Show the errors of the model beside those of its baseline."""
    intro = (
        "Each row is a type in the gold data and adds up to all its mentions. ✓ marks the right ones: "
        "span and type are exact. A mention counts as "
        "a wrong boundary where the type is right and the span is not, as missed where nothing overlaps "
        "it. Invented ones overlap no gold mention."
    )
    tables = [_table(analysis.model, analysis.confusion)]
    if analysis.baseline != analysis.model:
        tables.append(_table(analysis.baseline, analysis.baseline_confusion))
    return join(
        [el("p", intro), el("div", *tables, class_="beside" if len(analysis.confusion.types) <= 4 else None)]
    )


def _table(name: str, found: Confusion) -> Html:
    gold = gold_mentions(found)
    rows = []
    for i, kind in enumerate(found.types):
        if not gold[i]:
            rows.append([kind, cell("no gold mention", colspan=len(found.types) + 3, class_="none")])
            continue
        cells = [_cell(int(found.confused[i, j]), gold[i], right=i == j) for j in range(len(found.types))]
        rows.append(
            [
                kind,
                *cells,
                _cell(int(found.boundary[i]), gold[i]),
                _cell(int(found.missed[i]), gold[i]),
                f"{gold[i]:,}",
            ]
        )
    foot = [
        "Invented",
        *(f"{int(count):,}" for count in found.invented),
        "–",
        "–",
        f"{int(found.invented.sum()):,}",
    ]
    columns = ["Gold type", *(f"said {kind}" for kind in found.types), "wrong boundary", "missed", "all"]
    return table(
        f"{name}: what became of the gold mentions, in shares and counts",
        columns,
        rows,
        foot,
        class_="shaded confusion",
    )


def _cell(count: int, whole: int, right: bool = False) -> Cell:
    mark = "✓ " if right else ""
    if not count:
        return cell(f"{mark}0", class_="right" if right else "none")
    share = f"{mark}{percent(count / whole, 0)}"
    small = el("small", f"{count:,}")
    return shaded(count / whole, 0.0, 1.0, share, small, class_="right" if right else None)
