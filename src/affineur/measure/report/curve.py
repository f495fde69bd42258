"""F1 over sparsity, one picture per model that was searched; lines and markers tell methods apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from affineur.measure.budget import Curve, Point, sparsest
from affineur.measure.report.frame import frame, tick_percent
from affineur.measure.report.markup import Html, el, figure, join, said, svg, table
from affineur.measure.report.scales import Axis, axis
from affineur.measure.report.words import counted, percent, points, shortened

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 440, 52.0, 412.0, 60.0, 306.0
#: Gives the lower and the upper end of the band at a point.
_Ends = Callable[[Point], tuple[float, float]]
_DASHES = ("none", "7 4", "2 4", "10 3 2 3", "4 2", "1 3")


@dataclass(frozen=True, slots=True)
class _Series:
    """Points of one method, fine-tuned after pruning or not, by rising sparsity."""

    name: str
    recovered: bool
    place: int
    points: tuple[Point, ...]

    def __str__(self) -> str:
        return self.name + ", recovered" * self.recovered


def _method_name(method: str, known: Mapping[str, str]) -> str:
    """Name a method of pruning, and say what it takes away where that is known."""
    return f"{method}: {known[method]}" if method in known else method


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture, and what is said below it.

    Args:
        width: Of the picture, in the units of its view box.
        height: Likewise.
        label: What it shows, to who cannot see it.
        parts: What is drawn.
        caption: How to read it.
    """

    width: float
    height: float
    label: str
    parts: tuple[Html, ...]
    caption: str


def curves(found: Sequence[Curve]) -> Html:
    """Draw all curves, those of one model and one split together, with a table of their figures."""
    return join(join([_figure(draw(group)), _table(group, _series(group))]) for group in _groups(found))


def _groups(found: Sequence[Curve]) -> list[list[Curve]]:
    groups: dict[tuple[str, str, str, str], list[Curve]] = {}
    for curve in found:
        if curve.points:
            groups.setdefault((curve.model, curve.data, curve.baseline, curve.scope), []).append(curve)
    return list(groups.values())


def _figure(drawing: Drawing) -> Html:
    return figure(
        [svg(drawing.width, drawing.height, drawing.label, *drawing.parts)], drawing.caption, "panels single"
    )


def draw(group: Sequence[Curve]) -> Drawing:
    """Draw curves of one model, split, baseline and scope in one picture."""
    best = sparsest(point for curve in group for point in [curve.best] if point is not None)
    listed = _series(group)
    width, height, label, parts = _picture(group, listed, best)
    return Drawing(width, height, label, tuple(parts), "".join(_caption(group, listed, best)))


def _caption(group: Sequence[Curve], listed: Sequence[_Series], best: Point | None) -> list[str]:
    """Say how to read it: what was pruned, which interval is shaded, and what the budget is judged by."""
    first, budgets = group[0], _budgets(group)
    recovered = {one.recovered for one in listed}
    parts = [
        f"{first.model} on {first.data} ({counted(first.sentences, 'sentence')}), pruned in {first.scope}"
        f"{', not fine-tuned afterwards' if recovered == {False} else ''}. ",
        "Further right is sparser, higher is better. ",
        f"Shaded: {_level(group)} interval of the difference to {first.baseline} on the same sentences, "
        "drawn around F1. "
        if _paired(group)
        else f"Shaded: {_level(group)} interval of F1. ",
        "Each method has its own line and marker; a filled marker was fine-tuned after pruning, a hollow "
        "one was not. "
        if True in recovered
        else "Each method has its own line and marker. " * (len(listed) > 1),
    ]
    if not budgets:
        return parts
    parts.append(f"The budget is {'; '.join(budgets)}: a point is inside only where its whole interval is. ")
    if not _paired(group) and any(
        curve.budget and curve.budget.max_drop is not None for curve in budgets.values()
    ):
        parts.append(
            f"For a drop that is the interval of the difference to {first.baseline} on the same sentences, "
            "not the shaded one; "
            "it is listed with the figures of each point. "
        )
    tried = sum(len(curve.points) for curve in group if curve.budget)
    among = f", chosen among {tried:,}, so that its interval flatters it" if tried > 1 else ""
    parts.append(
        f"Ringed: the sparsest point inside it{among}: {percent(best.sparsity)} by "
        f"{best.method}{' and recovery' if best.recovered else ''}, "
        f"F1 {percent(best.f1, 2)}, {points(-best.drop)} points."
        if best
        else "No point is inside it."
    )
    return parts


def _budgets(group: Sequence[Curve]) -> dict[str, Curve]:
    return {str(curve.budget): curve for curve in group if curve.budget}


def _paired(group: Sequence[Curve]) -> bool:
    """Say whether the band is that of the drop: it decides where a budget allows a drop alone."""
    return all(
        curve.budget is not None and curve.budget.max_drop is not None and curve.budget.min_f1 is None
        for curve in group
    )


def _level(group: Sequence[Curve]) -> str:
    """Name the mass inside the intervals, which a budget may set."""
    budget = next((curve.budget for curve in group if curve.budget), None)
    return f"{(budget.confidence if budget else 0.95) * 100:g}\u00a0%"


def _series(group: Sequence[Curve]) -> list[_Series]:
    methods: dict[str, dict[bool, list[Point]]] = {}
    known: dict[str, str] = {}
    for curve in group:
        known |= curve.methods
        for point in curve.points:
            methods.setdefault(point.method, {}).setdefault(point.recovered, []).append(point)
    return [
        _Series(
            _method_name(method, known),
            recovered,
            place,
            tuple(sorted(some, key=lambda point: point.sparsity)),
        )
        for place, (method, by_recovery) in enumerate(methods.items())
        for recovered, some in sorted(by_recovery.items())
    ]


def _picture(
    group: Sequence[Curve], listed: Sequence[_Series], best: Point | None
) -> tuple[float, float, str, list[Html]]:
    """Return width, height, label and parts of the picture."""
    first, known = group[0], [point for one in listed for point in one.points]
    band = _drop_band(first.baseline_f1) if _paired(group) else _f1_band
    floors = sorted({floor for curve in _budgets(group).values() for floor in _floors(curve)})
    across = axis([point.sparsity for point in known], _LEFT, _RIGHT, least=0.05, zero=True, most=1.0)
    heights = [end for point in known for end in band(point)] + [
        first.baseline_f1,
        *(value for value, _ in floors),
    ]
    up = axis(heights, _BOTTOM, _TOP, least=0.02, most=1.0)
    title = f"F1 over sparsity, on {shortened(first.data, 30)}"
    parts = [
        said(0, 14, title, "title"),
        *frame(across, up, "sparsity: zeros ÷ weights in scope", lambda tick: tick_percent(across, tick)),
    ]
    parts += [_band(one, across, up, band) for one in listed if len(one.points) > 1]
    levels = [
        ("level", "none", first.baseline_f1, f"{shortened(first.baseline, 30)}, {percent(first.baseline_f1)}")
    ]
    levels += [
        ("budget", _DASHES[2 - place % 2], value, words) for place, (value, words) in enumerate(floors)
    ]
    parts += [
        el("line", class_=kind, stroke_dasharray=dash, x1=across.start, x2=across.end, y1=up(v), y2=up(v))
        for kind, dash, v, _ in levels
    ]
    for one in listed:
        parts += _drawn(one, across, up, band)
    if best is not None:
        parts.append(el("circle", class_="ring", cx=across(best.sparsity), cy=up(best.f1), r=11))
    # Beneath the picture nothing can cover a curve.
    top = _BOTTOM + 58
    for place, one in enumerate(listed):
        y = top + place * 20
        parts += [
            _path(one, f"M{_LEFT:g} {y:g}h40"),
            _mark(one, _LEFT + 20, y),
            said(_LEFT + 50, y + 4, shortened(str(one), 40)),
        ]
    for place, (kind, dash, _, words) in enumerate(levels, len(listed)):
        y = top + place * 20
        parts += [
            el("line", class_=kind, stroke_dasharray=dash, x1=_LEFT, x2=_LEFT + 40, y1=y, y2=y),
            said(_LEFT + 50, y + 4, words),
        ]
    label = f"F1 over sparsity on {first.data}: " + "; ".join(
        f"{one}: " + ", ".join(f"{percent(p.sparsity, 0)} {percent(p.f1)}" for p in one.points)
        for one in listed
    )
    return _WIDTH, top + (len(listed) + len(levels)) * 20 - 8, label, parts


def _floors(curve: Curve) -> list[tuple[float, str]]:
    """Return the F1 below which a budget is spent, with its name."""
    budget, found = curve.budget, []
    if budget is not None and budget.min_f1 is not None:
        found.append((budget.min_f1, f"budget: F1 of at least {budget.min_f1 * 100:g}%"))
    if budget is not None and budget.max_drop is not None:
        lost = f"{budget.max_drop * 100:g}"
        words = f"budget: {lost} point{'' if lost == '1' else 's'} below {shortened(curve.baseline, 16)}"
        found.append((curve.baseline_f1 - budget.max_drop, words))
    return found


def _f1_band(point: Point) -> tuple[float, float]:
    return point.f1_low, point.f1_high


def _drop_band(baseline_f1: float) -> _Ends:
    """Turn the interval of the drop into one of F1: what is inside the budget lies above its line."""
    return lambda point: (max(0.0, baseline_f1 - point.drop_high), min(1.0, baseline_f1 - point.drop_low))


def _band(one: _Series, across: Axis, up: Axis, band: _Ends) -> Html:
    upper = " ".join(f"{across(p.sparsity):.1f} {up(band(p)[1]):.1f}" for p in one.points)
    lower = " ".join(f"{across(p.sparsity):.1f} {up(band(p)[0]):.1f}" for p in reversed(one.points))
    return el("path", class_=f"band {_color(one)}", d=f"M{upper} {lower}z")


def _drawn(one: _Series, across: Axis, up: Axis, band: _Ends) -> list[Html]:
    places = [(across(point.sparsity), up(point.f1)) for point in one.points]
    parts = [_path(one, "M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in places))] if len(places) > 1 else []
    if len(places) == 1:  # a band needs two points
        low, high = band(one.points[0])
        parts.append(el("line", class_="whisker", x1=places[0][0], x2=places[0][0], y1=up(low), y2=up(high)))
    return [*parts, *(_mark(one, x, y) for x, y in places)]


def _path(one: _Series, d: str) -> Html:
    return el("path", class_=f"curve {_color(one)}", stroke_dasharray=_DASHES[one.place % len(_DASHES)], d=d)


def _color(one: _Series) -> str:
    return f"s{one.place % len(_DASHES)}"


def _mark(one: _Series, x: float, y: float) -> Html:
    """Draw a marker of the method's shape, filled where the point was recovered."""
    class_ = f"point {_color(one)}{' filled' if one.recovered else ''}"
    shape = (
        "",
        "M{l} {t}h9v9h-9z",
        "M{x} {t}l5.5 9.5h-11z",
        "M{x} {t}l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
        "M{l} {t}h9l-4.5 9.5z",
    )[one.place % 5]
    if not shape:
        return el("circle", class_=class_, cx=x, cy=y, r=4.5)
    return el("path", class_=class_, d=shape.format(x=f"{x:.1f}", l=f"{x - 4.5:.1f}", t=f"{y - 5:.1f}"))


def _table(group: Sequence[Curve], listed: Sequence[_Series]) -> Html:
    first, level, judged = group[0], _level(group), bool(_budgets(group))
    columns = [
        "Method",
        "Recovered",
        "Sparsity",
        "F1",
        level,
        f"Difference to {first.baseline}, points ({level})",
        *(["Inside the budget"] if judged else []),
    ]
    rows = [
        [
            one.name,
            "yes" if one.recovered else "no",
            percent(point.sparsity, 2),
            percent(point.f1, 2),
            f"{point.f1_low * 100:.1f}–{point.f1_high * 100:.1f}",
            f"{points(-point.drop)} ({points(-point.drop_high)} … {points(-point.drop_low)})",
            *([("yes" if point.inside else "no")] if judged else []),
        ]
        for one in listed
        for point in one.points
    ]
    caption = f"Every point of the curve of {first.model} on {first.data}"
    if judged:
        caption += "; a drop is judged by the interval of the difference"
    inner = table(caption, columns, rows, words=("Recovered", "Inside the budget"))
    return el(
        "details",
        el("summary", f"The figures of the curve of {first.model}, with the intervals that decide"),
        inner,
    )
