"""F1 with its interval, by type and model: a picture for the eye and a table for the figures."""

from __future__ import annotations

from affineur.measure.comparison import Row, TypeRow
from affineur.measure.report.contents import Report
from affineur.measure.report.frame import tick_percent
from affineur.measure.report.markup import Html, cell, el, figure, join, said, svg, table
from affineur.measure.report.scales import Axis, axis
from affineur.measure.report.words import counted, listed, percent, points, shortened

_WIDTH, _STEP, _TOP = 440, 34, 30
_MARGIN = 20.0  # half a tick's figures
#: With more lines than this only baseline and model are drawn; the rest is in the table.
_MOST = 90


def intervals(report: Report) -> Html:
    """Draw F1 of all types and of each, with intervals, and list the figures."""
    rows, types = report.comparison.rows, report.comparison.types
    drawn = rows
    if len(rows) * (len(types) + 1) > _MOST:
        drawn = (report.baseline,) if report.alone else (report.baseline, report.row)
    known = [(row.f1_low, row.f1_high) for row in drawn]
    known += [(one.f1_low, one.f1_high) for row in drawn for one in row.per_type.values() if one.support]
    lines = _lines(report, drawn)
    scale = axis([end for pair in known for end in pair], _MARGIN, _WIDTH - _MARGIN, least=0.02, most=1.0)
    unseen = [kind for kind in types if not report.row.per_type[kind].support]
    panels = [_panel(report, lines, kind, scale) for kind in (None, *types) if kind not in unseen]
    left_out = (
        f" Of {len(rows)} models only the baseline and the one reported are drawn."
        if len(drawn) < len(rows)
        else ""
    )
    together = (
        " Models with exactly the scores of the baseline share its line." if len(lines) < len(drawn) else ""
    )
    caption = (
        "Further right is better. The line is the 95 % interval, where F1 over all text of this kind may "
        "be expected. "
        "Diamond: baseline; large dot: the model of this report; small dots: the others. All panels share "
        "one scale." + together + left_out
    )
    silent = [el("p", f"{listed(unseen)}: no gold mention in this data, hence no picture.")] if unseen else []
    return join([figure(panels, caption), *silent, *([_table(report)] if types else [])])


def _lines(report: Report, rows: tuple[Row, ...]) -> list[tuple[Row, str]]:
    """Give each model a line and what it is called there.

    Those that score exactly as the baseline share its line.
    """
    first = report.baseline
    same = [
        row
        for row in rows
        if row is not report.row and row is not first and _all_scores(row) == _all_scores(first)
    ]
    return [
        (row, ", ".join([row.model, *(o.model for o in same if row is first)]))
        for row in rows
        if row not in same
    ]


def _all_scores(row: Row) -> list[tuple[float, float, float]]:
    scores: list[Row | TypeRow] = [row, *row.per_type.values()]
    return [(one.f1, one.f1_low, one.f1_high) for one in scores]


def _panel(report: Report, rows: list[tuple[Row, str]], kind: str | None, scale: Axis) -> Html:
    scored = [(row, name, _scores(row, kind)) for row, name in rows]
    support = 0 if kind is None else report.row.per_type[kind].support
    title = "All types" if kind is None else f"{shortened(kind, 30)}, {counted(support, 'gold mention')}"
    height = _TOP + len(scored) * _STEP + 24
    # The grid shows behind the marks only: through the names it would be in the way.
    grid = "".join(
        f"M{scale(tick):.1f} {_TOP + place * _STEP + 18}v12"
        for place in range(len(scored))
        for tick in scale.ticks
    )
    parts = [said(0, 16, title, "title"), el("path", class_="grid", d=grid)]
    parts += [
        said(scale(tick), height - 8, tick_percent(scale, tick), "tick", "middle") for tick in scale.ticks
    ]
    for place, (row, name, one) in enumerate(scored):
        parts += _line(report, row, name, one, scale, _TOP + place * _STEP)
    figures = (
        f"{name} {percent(one.f1)} ({percent(one.f1_low)} to {percent(one.f1_high)})"
        for _, name, one in scored
    )
    label = f"F1 of {title}: " + "; ".join(figures)
    return svg(_WIDTH, height, label, *parts)


def _scores(row: Row, kind: str | None) -> Row | TypeRow:
    return row if kind is None else row.per_type[kind]


def _line(report: Report, row: Row, name: str, one: Row | TypeRow, scale: Axis, top: float) -> list[Html]:
    y = top + 24
    strong = "strong" if row is report.row else ""
    return [
        said(0, top + 14, shortened(name, 36), strong),
        said(
            _WIDTH,
            top + 14,
            f"{percent(one.f1)} ({one.f1_low * 100:.1f}–{one.f1_high * 100:.1f})",
            strong,
            "end",
        ),
        el("line", class_="whisker", x1=scale(one.f1_low), x2=scale(one.f1_high), y1=y, y2=y),
        marker(report, row, scale(one.f1), y),
    ]


def marker(report: Report, row: Row, x: float, y: float, ring: bool = False) -> Html:
    """Draw a model: the baseline as a diamond, the one reported as a large dot, any other as a small one.

    Or as a ring.
    """
    if row is report.baseline:
        return el("path", class_="mark base", d=f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z")
    if ring and row is not report.row:
        return el("circle", class_="hollow", cx=x, cy=y, r=4.5)
    return el(
        "circle",
        class_="mark chosen" if row is report.row else "mark other",
        cx=x,
        cy=y,
        r=6 if row is report.row else 4,
    )


def _table(report: Report) -> Html:
    row, first, alone = report.row, report.baseline, report.alone
    columns = ["Type", "Gold mentions", f"F1 of {row.model}", "95 %", "Precision", "Recall"]
    columns += [] if alone else [f"F1 of {first.model}", "Difference in points (95\u00a0%)"]
    lines = []
    for kind in report.comparison.types:
        ours, theirs = row.per_type[kind], first.per_type[kind]
        if not ours.support:
            lines.append([kind, "0", cell("no gold mention", colspan=len(columns) - 2, class_="none")])
            continue
        line = [
            kind,
            f"{ours.support:,}",
            percent(ours.f1, 2),
            f"{ours.f1_low * 100:.1f}–{ours.f1_high * 100:.1f}",
        ]
        line += [percent(ours.precision), percent(ours.recall)]
        line += (
            []
            if alone
            else [
                percent(theirs.f1, 2),
                f"{points(-ours.drop)} ({points(-ours.drop_high)} … {points(-ours.drop_low)})",
            ]
        )
        lines.append(line)
    caption = (
        f"F1 of {row.model} by type. Precision: share of its marks that are right. Recall: share of gold "
        "mentions it finds."
    )
    return table(caption, columns, lines)
