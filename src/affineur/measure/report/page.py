"""The page: the answers first, then the sections that have something to show, all in one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from affineur.errors import counted
from affineur.measure.example import Example
from affineur.measure.report.answers import SPARSE, answers, verdict
from affineur.measure.report.confusion import confusion
from affineur.measure.report.contents import Report
from affineur.measure.report.curve import curves
from affineur.measure.report.intervals import intervals
from affineur.measure.report.layers import layers
from affineur.measure.report.markup import Html, breakable, el, join, markup, table
from affineur.measure.report.origin import commands, environment, has_lineage, lineage, recipe
from affineur.measure.report.sentences import disagreements
from affineur.measure.report.tradeoff import tradeoff
from affineur.measure.report.words import shortened
from affineur.measure.tables import (
    BENCHMARK_COLUMNS,
    COLUMNS,
    Footnote,
    benchmark_cells,
    benchmark_notes,
    comparison_cells,
    footnotes,
)

if TYPE_CHECKING:
    from jinja2 import Template

# Nothing may be loaded, whatever a name or a sentence may hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page, and its entry in the table of contents."""

    id: str
    title: str
    body: Html


def report_html(report: Report) -> str:
    """Write the whole report as one page that asks for nothing else.

    Pictures are inline, there is no script, and every text is escaped; what UTF-8 cannot carry is replaced.

    Args:
        report: Its contents.
    """
    types = ", ".join(report.comparison.types)
    return _template().render(
        report=report,
        row=report.row,
        compared=report.comparison,
        finds=f"Finds {types}; " if types else "It has ",
        verdict=verdict(report),
        findings=answers(report),
        sections=list(_sections(report)),
        signs={"good": "✓", "bad": "✗", "open": "?"},
        style=Html(files("affineur.measure.report").joinpath("style.css").read_text("utf-8")),
        policy=_POLICY,
    )


def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Every text goes through our own escaping, which also replaces what no page may hold.
    environment = Environment(
        loader=PackageLoader("affineur.measure.report"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=lambda value: markup(str(value)) if not isinstance(value, Html) else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["counted"] = counted
    return environment.get_template("page.html")


def _sections(report: Report) -> Iterator[Section]:
    """Yield what there is to show, in order."""
    compared, analysis = report.comparison, report.analysis
    yield Section("comparison", "All models side by side", _comparison(report))
    if report.example is not None and report.example.found:
        yield Section("example", "One text, every model", _example(report.example))
    yield Section("types", "F1 by type", intervals(report))
    if len(compared.rows) > 1:
        yield Section("tradeoff", "Size and speed against F1", tradeoff(report))
    if report.benchmark is not None:
        cells = table(
            "Each model in a process of its own, timed in turn",
            BENCHMARK_COLUMNS,
            benchmark_cells(report.benchmark),
        )
        notes = benchmark_notes(report.benchmark, without={"machine"}, brief=True)
        body = join([cells, _notes(notes)])
        yield Section("benchmark", "Speed and memory in detail", body)
    if any(curve.points for curve in report.curves):
        yield Section("curve", "F1 over sparsity", curves(report.curves))
    info = report.models.get(report.row.model)
    if info is not None and info.matrices and info.sparsity >= SPARSE:
        yield Section("layers", "Sparsity by layer and matrix", layers(report.row.model, info))
    if analysis is not None and analysis.confusion.types:
        yield Section("confusion", "Errors by type", confusion(analysis))
    if analysis is not None and analysis.model != analysis.baseline:
        yield Section(
            "sentences",
            f"Where it differs most from {shortened(analysis.baseline, 30)}",
            disagreements(analysis, analysis.confusion.types),
        )
    if has_lineage(report):
        yield Section("lineage", "Where the models come from", lineage(report))
    if report.notes:
        yield Section("notes", "Decided on the way", _notes(report.notes))
    if report.recipe:
        yield Section("recipe", "Recipe", recipe(report.recipe))
    if compared.machine:
        yield Section("environment", "Environment", environment(compared.machine))
    if report.commands:
        yield Section("commands", "Commands that reproduce the figures", commands(report.commands))


def _comparison(report: Report) -> Html:
    rows = report.comparison.rows
    cells = []
    for row, (name, *others) in zip(rows, comparison_cells(report.comparison), strict=True):
        roles = [
            role
            for role, here in (
                ("baseline", row is report.baseline),
                ("this report", row is report.row and len(rows) > 1),
            )
            if here
        ]
        cells.append(
            [join([breakable(name), *(el("span", role, class_="role") for role in roles)], " "), *others]
        )
    said = [f"{row.verdict}." for row in rows if row.verdict]
    # The machine has a section of its own, and the second answer the steps.
    elsewhere: list[Footnote] = ["machine", "verdicts", *(() if report.alone else ("steps",))]
    notes = footnotes(report.comparison, without=elsewhere, brief=True)
    verdicts = (
        [el("h3", "What the intervals allow to say"), el("ul", *(el("li", line) for line in said))]
        if said
        else []
    )
    return join(
        [table(f"Measured together on {report.comparison.data}", COLUMNS, cells), *verdicts, _notes(notes)]
    )


def _example(example: Example) -> Html:
    rows = [[breakable(model), example.mentions(model)] for model in example.found]
    return join([el("p", example.text), table("What each finds in it", ("Model", "Finds"), rows)])


def _notes(notes: list[str] | tuple[str, ...]) -> Html:
    return el("ul", *(el("li", note) for note in notes), class_="notes")
