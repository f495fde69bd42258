"""A curve as a file of its own: the report's picture with its caption, colors and font inside."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from importlib.resources import files

from affineur.measure.budget import Curve
from affineur.measure.report.curve import Drawing, draw
from affineur.measure.report.markup import Html, el, said

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
_MARGIN, _LINE, _COLUMNS, _SCALE = 16.0, 16.0, 72, 1.5


def picture(curves: Sequence[Curve]) -> str:
    """Draw curves of one model on one split as an SVG file that needs nothing else.

    Args:
        curves: The curves, one per method.
    """
    return standalone(draw(curves))


def standalone(drawing: Drawing) -> str:
    """Write a drawing as an SVG file: its caption, colors and font inside."""
    lines = textwrap.wrap(drawing.caption, _COLUMNS)
    caption = [said(0, drawing.height + 20 + _LINE * place, line, "tick") for place, line in enumerate(lines)]
    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN + _LINE * len(lines)
    whole = el(
        "svg",
        el("style", Html(_style())),
        el("rect", class_="card", x=-_MARGIN, y=-_MARGIN, width=width, height=height),
        *drawing.parts,
        *caption,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"{-_MARGIN:g} {-_MARGIN:g} {width:g} {height:g}",
        width=width * _SCALE,
        height=height * _SCALE,
        role="img",
        aria_label=drawing.label,
        font_family=_FONT,
    )
    return f"{whole}\n"


def _style() -> str:
    """Take the rules of pictures from the style sheet, without its variables, which few programs know."""
    sheet = files("affineur.measure.report").joinpath("style.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): ([^;]+);", block))
        for block in re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[:2]
    )
    rules = [
        (".card", "fill: var(--card)"),
        *re.findall(r"^svg ([.\w][^{]*?) \{ ?(.*?);? ?\}", sheet, re.MULTILINE),
    ]
    series = sorted(name for name in light if re.fullmatch(r"s\d", name))

    def themed(colors: dict[str, str]) -> str:
        written = []
        for selector, body in rules:
            for name in series if "var(--series)" in body else [""]:
                colored = body.replace("var(--series)", f"var(--{name})")
                filled = re.sub(r"var\(--([\w-]+)\)", lambda found: colors[found[1]], colored)
                written.append(f"{selector}{f'.{name}' if name else ''}{{{filled}}}")
        return "".join(written)

    return f"{themed(light)}@media (prefers-color-scheme: dark){{{themed(dark)}}}"
