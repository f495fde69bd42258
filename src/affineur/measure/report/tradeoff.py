"""Size against F1 and speed against F1, with the Pareto line."""

from __future__ import annotations

from collections.abc import Callable

from affineur.display import megabytes
from affineur.measure.comparison import Row
from affineur.measure.pareto import best_line
from affineur.measure.report.contents import Report
from affineur.measure.report.frame import frame
from affineur.measure.report.intervals import marker
from affineur.measure.report.markup import Html, breakable, el, figure, said, svg
from affineur.measure.report.scales import Axis, Box, axis, label_places
from affineur.measure.report.words import columns_of, listed, percent, shortened

_WIDTH, _HEIGHT = 440, 352
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 412.0, 60.0, 306.0
_LETTER, _LINE = 8.0, 16.0
_NAME = 26
_FAR = 14


def tradeoff(report: Report) -> Html:
    """Draw both pictures. Models are named where all names find room, else numbered, with a key below."""
    rows = report.comparison.rows
    views = [
        ("Size against F1", "size of the weights, MB", [row.size_bytes / 1e6 for row in rows], -1),
        (
            "Speed against F1",
            f"speed, times that of {shortened(report.baseline.model, 24)}",
            [row.speedup for row in rows],
            1,
        ),
    ]
    names = [shortened(row.model, _NAME) for row in rows]
    numbered = [str(place) for place in range(1, len(rows) + 1)]
    made = [_Picture(report, *view) for view in views]
    labels = names if len(set(names)) == len(names) and all(one.room(names) for one in made) else numbered
    known = any(row.speedup_high is not None for row in rows[1:])
    across = ", the horizontal ones 99 % intervals of the speed" * known
    caption = (
        "Higher is better; in the first picture further left is smaller, in the second further right is "
        "faster. The vertical lines are "
        f"95 % intervals of F1{across}. Diamond: baseline; large dot: the model of this report; rings: the "
        "others. "
        f"By their estimates, {_winners(*made)}."
    )
    key = (
        [el("ol", *(el("li", breakable(row.model)) for row in rows), class_="key")]
        if labels is numbered
        else []
    )
    return figure([one.draw(labels) for one in made], caption, below=key)


class _Picture:
    """One scatter: where its points are, which are best, and whether labels find room."""

    def __init__(self, report: Report, title: str, unit: str, values: list[float], sense: int) -> None:
        self.report, self.title, self.unit, self.values, self.sense = report, title, unit, values, sense
        self.rows = report.comparison.rows
        # The ends of the interval of each speed; the baseline's is its own measure.
        self.ends = [
            (row.speedup_low, row.speedup_high) if sense > 0 and row is not report.baseline else (0.0, None)
            for row in self.rows
        ]
        most = [*values, *(high for _, high in self.ends if high is not None)]
        self.across = axis(most, _LEFT, _RIGHT, least=max(most) or 1.0, zero=True)
        self.up = axis(
            [end for row in self.rows for end in (row.f1_low, row.f1_high)],
            _BOTTOM,
            _TOP,
            least=0.02,
            most=1.0,
        )
        self.x = [self.across(value) for value in values]
        self.y = [self.up(row.f1) for row in self.rows]
        self.best = best_line([(sense * value, row.f1) for value, row in zip(values, self.rows, strict=True)])

    @property
    def winner(self) -> str | None:
        """The one model that beats all others on both counts, where there is one."""
        best, *more = self.best
        value, f1 = self.sense * self.values[best], self.rows[best].f1
        others = ((self.sense * self.values[i], row.f1) for i, row in enumerate(self.rows) if i != best)
        return (
            self.rows[best].model
            if not more and all(value > other and f1 > lower for other, lower in others)
            else None
        )

    def winners(self, count: str) -> str:
        """Say which models no other beats on both counts."""
        names = [self.rows[i].model for i in self.best]
        if len(names) > 1:
            return (
                f"the stepped line for {count} joins the models that no other beats on both: {listed(names)}"
            )
        return (
            f"{names[0]} beats all others on both {count} and F1"
            if self.winner
            else f"no other beats {names[0]} on {count} or F1"
        )

    def room(self, labels: list[str]) -> list[Box]:
        """Return where labels go, over the lines of speeds if need be, or nothing where one finds no room."""
        points = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in zip(self.x, self.y, strict=True)]
        points += [
            Box(x - 1, self.up(row.f1_high), x + 1, self.up(row.f1_low))
            for x, row in zip(self.x, self.rows, strict=True)
        ]
        ends = zip(self.ends, self.y, strict=True)
        lines = [
            Box(self.across(low), y - 1, self.across(high), y + 1)
            for (low, high), y in ends
            if high is not None
        ]
        sizes = [(columns_of(label) * _LETTER, _LINE) for label in labels]
        within = Box(_LEFT, _TOP - 8, _RIGHT + 24, _BOTTOM)
        anchors = list(zip(self.x, self.y, strict=True))
        return (
            label_places(anchors, sizes, [*points, *lines], within)
            or label_places(anchors, sizes, points, within)
            or []
        )

    def draw(self, labels: list[str]) -> Html:
        """Draw it."""
        parts = [
            said(0, 14, self.title, "title"),
            *frame(self.across, self.up, self.unit, _number(self.across)),
        ]
        if len(self.best) > 1:
            parts.append(el("path", class_="front", d=self._front()))
        for x, y, row, (low, high) in zip(self.x, self.y, self.rows, self.ends, strict=True):
            parts.append(
                el("line", class_="whisker thin", x1=x, x2=x, y1=self.up(row.f1_low), y2=self.up(row.f1_high))
            )
            if high is not None:
                parts.append(
                    el("line", class_="whisker thin", x1=self.across(low), x2=self.across(high), y1=y, y2=y)
                )
        # The one of the report first: the others are rings, through which it is seen where they lie on it.
        ordered = sorted(
            zip(self.rows, self.x, self.y, strict=True), key=lambda one: one[0] is not self.report.row
        )
        parts += [marker(self.report, row, x, y, ring=True) for row, x, y in ordered]
        boxes = self.room(labels) or [
            Box(x + 8, y - 8, x + 40, y + 8) for x, y in zip(self.x, self.y, strict=True)
        ]
        for x, y, row, label, box in zip(self.x, self.y, self.rows, labels, boxes, strict=True):
            near = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
            if (
                abs(near[0] - x) + abs(near[1] - y) > _FAR
            ):  # a thin line leads from a label that had to move away
                parts.append(el("line", class_="leader", x1=x, x2=near[0], y1=y, y2=near[1]))
            parts.append(
                said(
                    (box.left + box.right) / 2,
                    box.bottom - 4,
                    label,
                    "halo strong" if row is self.report.row else "halo",
                    "middle",
                )
            )
        return svg(
            _WIDTH, _HEIGHT, f"{self.title}: " + "; ".join(self._said(row) for row in self.rows), *parts
        )

    def _front(self) -> str:
        """Walk from the smallest or slowest of the best to the other end, as the best F1 in reach changes."""
        corners = [(self.x[i], self.y[i]) for i in sorted(self.best, key=lambda i: self.x[i])]
        turn = "H{0:.1f}V{1:.1f}" if self.sense < 0 else "V{1:.1f}H{0:.1f}"
        return f"M{corners[0][0]:.1f} {corners[0][1]:.1f}" + "".join(
            turn.format(*corner) for corner in corners[1:]
        )

    def _said(self, row: Row) -> str:
        where = megabytes(row.size_bytes) if self.sense < 0 else f"{row.speedup:.2f} times the speed"
        return f"{row.model}: {where}, F1 {percent(row.f1)}"


def _winners(size: _Picture, speed: _Picture) -> str:
    if size.winner is not None and size.winner == speed.winner:
        return f"{size.winner} beats all others on size, on speed and on F1"
    return f"{size.winners('size')}; {speed.winners('speed')}"


def _number(across: Axis) -> Callable[[float], str]:
    return lambda tick: f"{tick:,.0f}" if across.step >= 1 else f"{round(tick, 9):g}"
