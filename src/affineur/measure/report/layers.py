"""Sparsity by layer and kind of matrix: a table whose cells are shaded, and that reads without the shade."""

from __future__ import annotations

from collections.abc import Iterable

from affineur.artifact.info import MatrixInfo, ModelInfo
from affineur.measure.report.markup import Cell, Html, cell, el, join, table
from affineur.measure.report.words import percent

# In the order the data flows, not the alphabet's.
_ORDER = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.query_key_value",
    "attention.output",
    "ffn.intermediate",
    "ffn.output",
)


def layers(name: str, info: ModelInfo) -> Html:
    """Show the sparsity of every matrix in scope, of every layer and of every kind.

    Args:
        name: Name of the model.
        info: What its folder says.
    """
    kinds = sorted(
        {one.matrix.kind for one in info.matrices},
        key=lambda kind: (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), kind),
    )
    numbers = sorted({one.matrix.layer for one in info.matrices})
    cells = {
        (n, k): _zeros(m for m in info.matrices if (m.matrix.layer, m.matrix.kind) == (n, k))
        for n in numbers
        for k in kinds
    }
    known = [share for share in cells.values() if share is not None]
    low, high = min(known), max(known)
    rows = []
    for number in numbers:
        whole = _zeros(one for one in info.matrices if one.matrix.layer == number)
        rows.append([str(number), *(shaded(cells[number, kind], low, high) for kind in kinds), _share(whole)])
    foot = [
        "All layers",
        *(_share(_zeros(one for one in info.matrices if one.matrix.kind == kind)) for kind in kinds),
        percent(info.sparsity),
    ]
    caption = (
        f"Zeros ÷ weights of each matrix of {name}, in scope. Layers count from 0, the one next to the "
        "words. "
        f"The stronger the shade, the more zeros: from {percent(low)} to {percent(high)}."
    )
    whole_model = 1 - info.nonzero / info.parameters if info.parameters else 0.0
    lead = (
        f"{info.zeros_in_scope:,} of {info.weights_in_scope:,} weights in scope (attention and "
        "feed-forward matrices) are zero: "
        f"{percent(info.sparsity)}, and {percent(whole_model)} of the whole model. Where a column or a row "
        "stands out, pruning found more to spare."
    )
    return join(
        [
            el("p", lead),
            table(
                caption,
                ["Layer", *(_words(kind) for kind in kinds), "Whole layer"],
                rows,
                foot,
                class_="shaded",
            ),
        ]
    )


def shaded(share: float | None, low: float, high: float, *lines: str, class_: str | None = None) -> Cell:
    """Build a cell that is darker the nearer its share is to the highest."""
    if share is None:
        return cell("–")
    depth = (share - low) / (high - low) if high > low else 0.5
    return cell(*(lines or [percent(share)]), class_=class_, style=f"--depth:{depth * 0.5:.2f}")


def _zeros(matrices: Iterable[MatrixInfo]) -> float | None:
    known = list(matrices)
    weights = sum(one.weights for one in known)
    return sum(one.zeros for one in known) / weights if weights else None


def _share(share: float | None) -> str:
    return "–" if share is None else percent(share)


def _words(kind: str) -> str:
    return kind.replace("ffn.", "feed-forward ").replace("attention.", "attention ").replace("_", ", ")
