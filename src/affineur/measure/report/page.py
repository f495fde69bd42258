"""The page: the answers first, then the sections that have something to show, all in one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from affineur.measure.report.answers import SPARSE, Answer, answers, verdict
from affineur.measure.report.bars import in_plain_words
from affineur.measure.report.confusion import confusion
from affineur.measure.report.contents import Report
from affineur.measure.report.curve import curves
from affineur.measure.report.intervals import intervals
from affineur.measure.report.layers import layers
from affineur.measure.report.markup import Html, breakable, el, join, table
from affineur.measure.report.origin import commands, environment, has_lineage, lineage, recipe
from affineur.measure.report.sentences import disagreements
from affineur.measure.report.tradeoff import tradeoff
from affineur.measure.report.words import counted, shortened
from affineur.measure.tables import COLUMNS, comparison_cells, footnotes

# Nothing may be loaded, whatever a name or a sentence may hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SIGNS = {"good": "✓", "bad": "✗", "open": "?"}


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
    found = list(_sections(report))
    links = [el("li", el("a", one.title, href=f"#{one.id}")) for one in found]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width,initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="description", content=verdict(report)),
        el("title", f"{report.name}: {report.row.model}"),
        el("style", Html(_style())),
    )
    body = el(
        "body",
        el("a", "Skip to the sections", href=f"#{found[0].id}", class_="skip"),
        _header(report),
        el(
            "main",
            _top(answers(report)),
            el("nav", el("h2", "Contents"), el("ol", *links), aria_label="Contents"),
            *map(_written, found),
        ),
        el("footer", el("p", "Written by Affineur. This page holds all it shows and loads nothing.")),
    )
    return "<!doctype html>\n" + el("html", head, "\n", body, lang="en") + "\n"


def _style() -> str:
    return files("affineur.measure.report").joinpath("style.css").read_text("utf-8")


def _header(report: Report) -> Html:
    against = "" if report.alone else f", compared with {report.baseline.model}"
    compared, row = report.comparison, report.row
    about = (
        f"{counted(compared.sentences, 'sentence')} and {counted(compared.words, 'word')} of {compared.data}"
    )
    finds = f"Finds {', '.join(compared.types)}; " if compared.types else "It has "
    when = compared.machine.get("date")
    measured = f"Measured{f' on {when},' if when else ''} on {about}."
    lead = el(
        "p",
        "About ",
        el("strong", row.model),
        f"{against}. {finds}{counted(row.layers, 'layer')}. {measured}",
    )
    return el("header", el("h1", f"Report: {report.name}"), lead)


def _top(found: list[Answer]) -> Html:
    def one(place: int, answer: Answer) -> Html:
        sign = [el("span", _SIGNS[answer.tone], class_="sign", aria_hidden="true")] if place == 0 else []
        plain = (
            [el("p", answer.plain, class_="plain"), el("p", answer.basis, class_="note")]
            if answer.plain
            else []
        )
        headline = el(
            "div", el("h2", answer.question), el("p", *sign, el("span", answer.short), class_="short"), *plain
        )
        return el(
            "section", headline, el("div", answer.detail, class_="detail"), class_=f"answer {answer.tone}"
        )

    return el("div", *(one(place, answer) for place, answer in enumerate(found)), class_="answers")


def _written(section: Section) -> Html:
    return el("section", el("h2", section.title, id=section.id, tabindex="-1"), section.body, class_="part")


def _sections(report: Report) -> Iterator[Section]:
    """Yield what there is to show, in order."""
    compared, analysis = report.comparison, report.analysis
    yield Section("comparison", "All models side by side", _comparison(report))
    yield Section("types", "F1 by type", intervals(report))
    if len(compared.rows) > 1:
        yield Section("tradeoff", "Size and speed against F1", tradeoff(report))
    if report.benchmark is not None:
        columns, cells, notes = report.benchmark
        notes = [in_plain_words(note) for note in notes if note != f"{compared.machine.get('description')}."]
        body = join(
            [table("Each model in a process of its own, timed in turn", columns, cells), _notes(notes)]
        )
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
    elsewhere = [f"{report.comparison.machine.get('description')}.", *said]
    steps = "Each against the row above it" if not report.alone else None
    kept = [
        note
        for note in footnotes(report.comparison)
        if note not in elsewhere and not (steps and note.startswith(steps))
    ]
    notes = [in_plain_words(note) for note in kept]
    verdicts = (
        [el("h3", "What the intervals allow to say"), el("ul", *(el("li", line) for line in said))]
        if said
        else []
    )
    return join(
        [table(f"Measured together on {report.comparison.data}", COLUMNS, cells), *verdicts, _notes(notes)]
    )


def _notes(notes: list[str] | tuple[str, ...]) -> Html:
    return el("ul", *(el("li", note) for note in notes), class_="notes")
