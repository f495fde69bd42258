"""HTML and SVG built from text that is escaped unless it is markup already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

# What neither UTF-8 can carry (lone surrogates) nor XML may hold (most control characters).
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"meta", "wbr"})
_SHAPES = frozenset({"line", "circle", "rect", "path"})


class Html(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tell a template that it is markup."""
        return self


class Cell(Html):
    """A whole cell of a table, with whatever attributes it has."""

    __slots__ = ()


def clean(text: str) -> str:
    """Replace what cannot be written to a page by the replacement character."""
    return _UNPRINTABLE.sub("\ufffd", text)


def markup(text: str) -> Html:
    """Escape a text, unless it is markup."""
    return text if isinstance(text, Html) else Html(escape(clean(text)))


def join(parts: Iterable[str], between: str = "") -> Html:
    """Put parts behind each other, escaping those that are text."""
    return Html(markup(between).join(markup(part) for part in parts))


def el(name: str, /, *children: str, **attributes: object) -> Html:
    """Build an element.

    Args:
        name: Its name.
        children: Its contents; text is escaped, markup is not.
        attributes: ``None`` leaves one out; a trailing underscore is dropped, any other becomes a hyphen.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    if name in _SHAPES and not children:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def _attribute(value: object) -> str:
    # A tenth of a pixel is finer than anyone sees, and keeps the page small.
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(clean(str(value)))


def cell(*children: str, **attributes: object) -> Cell:
    """Build a whole cell of a table.

    Args:
        children: Its contents.
        attributes: As :func:`el` takes them.
    """
    return Cell(el("td", *children, **attributes))


def breakable(text: str) -> Html:
    """Let a long name break where its parts meet, instead of anywhere."""
    return Html(re.sub("(?<=[_/:.-])(?=[^_/:.-])", "<wbr>", markup(text)))


def hidden(text: str) -> Html:
    """Say to a screen reader what the eye takes from position or shade."""
    return el("span", text, class_="hidden")


def scrolling(content: str, label: str) -> Html:
    """Let something wide scroll inside its own box, by keyboard too."""
    return el("div", content, class_="scroll", role="region", aria_label=label, tabindex="0")


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    foot: Sequence[str] | None = None,
    class_: str | None = None,
    words: Sequence[str] = (),
) -> Html:
    """Build a table whose first column heads its rows.

    Args:
        caption: What it shows.
        columns: Heads of the columns.
        rows: Cells, the head of the row first; a :class:`Cell` stays as it is.
        foot: A last row set apart.
        class_: Its class.
        words: The columns that hold words, not figures.
    """
    left = frozenset(place for place, column in enumerate(columns) if column in words)
    heads = (
        el("th", _head(column), scope="col", class_="words" if place in left else None)
        for place, column in enumerate(columns)
    )
    head = el("thead", el("tr", *heads))
    body = el("tbody", *(_row(row, left) for row in rows))
    last = [el("tfoot", _row(foot, left))] if foot else []
    whole = el("table", el("caption", el("span", caption)), head, body, *last, class_=class_)
    return scrolling(whole, caption)


def _head(column: str) -> Html:
    """Let the name of a model break in a head, but no unit such as ``Sentences/s``."""
    return column if isinstance(column, Html) else Html(re.sub("(?<=[_-])(?=[^_-])", "<wbr>", markup(column)))


def _row(cells: Sequence[str], left: frozenset[int] = frozenset()) -> Html:
    first, *others = cells
    return el(
        "tr",
        el("th", first if isinstance(first, Html) else breakable(first), scope="row"),
        *(
            c if isinstance(c, Cell) else el("td", c, class_="words" if place in left else None)
            for place, c in enumerate(others, 1)
        ),
    )


def figure(pictures: Sequence[str], caption: str, class_: str = "panels", below: Sequence[str] = ()) -> Html:
    """Put pictures side by side where there is room, over a caption that says how to read them."""
    return el("figure", el("div", *pictures, class_=class_), *below, el("figcaption", caption))


def svg(width: float, height: float, label: str, *children: str) -> Html:
    """Build a picture. ``label`` says what it shows to who cannot see it."""
    ratio = f"--ratio:{height / width:.3f}"  # a lone last panel takes the whole row, but not twice the height
    view = f"0 0 {width:g} {height:g}"
    return el(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=view,
        role="img",
        aria_label=label,
        style=ratio,
    )


def said(x: float, y: float, text: str, class_: str = "", anchor: str | None = None) -> Html:
    """Write into a picture."""
    return el("text", text, x=x, y=y, class_=class_ or None, text_anchor=anchor)
