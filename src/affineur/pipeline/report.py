"""``report.html``: the comparison as one self-contained page, pictures inline, no external request."""

from __future__ import annotations

from html import escape

from affineur.measure import COLUMNS, Comparison, Row, comparison_cells, footnotes

_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.35rem .7rem;text-align:right;border-bottom:1px solid #8886}th:first-child,td:first-child{text-align:left}
svg{max-width:100%;height:auto}text{fill:currentColor;font:13px system-ui,sans-serif}.bar{stroke:currentColor;stroke-width:2}
.dot{fill:#0a7d5a;stroke:none}.grid{stroke:#8886}ul{color:#777;padding-left:1.2rem}@media print{body{margin:0}}
"""


def report_html(comparison: Comparison, name: str) -> str:
    """Write the page.

    Args:
        comparison: What was measured.
        name: Name of the run.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in comparison_cells(comparison))
    notes = "".join(f"<li>{escape(note)}</li>" for note in footnotes(comparison))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Affineur: {escape(name)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>Affineur: {escape(name)}</h1>\n<p><strong>{escape(verdict(comparison))}</strong></p>\n"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'
        f"<h2>F1 with 95 % interval</h2>\n{_intervals(comparison.rows)}\n"
        f"<h2>How this was measured</h2>\n<ul>{notes}</ul>\n</body></html>\n"
    )


def verdict(comparison: Comparison) -> str:
    """Say in one sentence what the smallest change cost, with the word the interval allows."""
    if len(comparison.rows) < 2:
        return f"{comparison.rows[0].model}: F1 {comparison.rows[0].f1:.2%}."
    first = comparison.rows[0]
    students = [row for row in comparison.rows[1:] if row.sparsity > first.sparsity or row.layers < first.layers]
    last = next((row for row in reversed(students) if not row.model.startswith("torch-int8")), comparison.rows[-1])
    points = -last.drop * 100
    sure = "" if last.drop_low > 0 or last.drop_high < 0 else ", which the test set cannot tell from no change"
    return (
        f"{last.model} scores F1 {last.f1:.2%} against {first.f1:.2%} for {first.model}: {points:+.2f} points "
        f"(95 %: {-last.drop_high * 100:+.2f} to {-last.drop_low * 100:+.2f}){sure}; "
        f"{last.layers} layers instead of {first.layers}, {last.sparsity:.1%} of the weights in scope zero, {last.speedup:.2f}× the speed."
    )


def _intervals(rows: tuple[Row, ...]) -> str:
    """Draw one line a row: the interval as a bar, the estimate as a dot."""
    low, high = min(r.f1_low for r in rows) - 0.01, max(r.f1_high for r in rows) + 0.01
    left, width, step = 260, 460, 30

    def x(f1: float) -> float:
        return left + (f1 - low) / (high - low) * width

    lines = []
    for place, row in enumerate(rows):
        y = 20 + place * step
        lines.append(
            f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y}" y2="{y}"/>'
            f'<text x="0" y="{y + 4}">{escape(row.model[:38])}</text>'
            f'<line class="bar" x1="{x(row.f1_low):.1f}" x2="{x(row.f1_high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="dot" cx="{x(row.f1):.1f}" cy="{y}" r="5"/><text x="{left + width + 12}" y="{y + 4}">{row.f1:.2%}</text>'
        )
    height = 20 + len(rows) * step
    alt = "; ".join(f"{r.model} {r.f1:.2%} ({r.f1_low:.2%} to {r.f1_high:.2%})" for r in rows)
    return f'<svg viewBox="0 0 800 {height}" role="img" aria-label="{escape(alt)}">{"".join(lines)}</svg>'
