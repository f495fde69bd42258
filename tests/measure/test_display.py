"""Results show themselves: in one line, as a table in a terminal and in a notebook, as a dict."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from affineur.artifact import describe
from affineur.display import Shown, Table, megabytes, millions
from affineur.entities import Scheme
from affineur.measure import Budget, Curve, Evaluation, Gate, Sweep, TypeScore, Verdict, evaluate

from .conftest import corpus_of, labels_of, tagger_of
from .report_samples import benchmarked, comparison, point


class Cells(HTMLParser):
    """Collects what stands in cells, and every tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1] in ("td", "th"):
            self.cells[-1] += data


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    gold = [["I-PER", "O"], ["I-LOC", "O"]] * 10
    found = [["I-PER", "O"], ["O", "O"]] * 10
    return evaluate(tagger_of(found, labels_of(Scheme.IO, ("LOC", "PER"))), corpus_of(gold))


def results() -> list[Shown]:
    curve = Curve("m", "dev", 60, "t", 0.9, Budget(max_drop=0.05), (point("magnitude", 0.1, 0.9),))
    bare = point("none", 0.0, 0.9)
    verdicts = (Verdict("min_f1", 0.8, 0.9, True, "9 gold mentions"), Verdict("max_p95_ms", 9, None, False))
    return [
        comparison(),
        benchmarked("teacher", "<student>"),
        Gate("student", "gold", "teacher", verdicts),
        Sweep((curve,), ("magnitude",), Budget(max_drop=0.05), None, "d", bare),
    ]


def test_short_names_of_an_evaluation(evaluation: Evaluation) -> None:
    interval = evaluation.interval()
    assert (evaluation.f1, evaluation.low, evaluation.high) == (interval.value, interval.low, interval.high)
    assert (evaluation.precision, evaluation.recall, evaluation.accuracy) == (1.0, 0.5, 0.75)
    person = evaluation.per_type["PER"]
    assert (person.f1, person.precision, person.recall, person.support) == (1.0, 1.0, 1.0, 10)
    assert isinstance(person, TypeScore)
    assert (person["f1"], person["f1_low"], len(person)) == (1.0, person.low, 6)
    assert dict(person) == evaluation.as_dict()["per_type"]["PER"]


@pytest.mark.parametrize("result", results(), ids=lambda result: type(result).__name__)
def test_a_result_is_a_line_a_table_and_a_dict(result: Shown) -> None:
    assert dict(result) == result.as_dict()
    assert repr(result) == f"<{type(result).__name__}: {result.summary}>"
    assert len(repr(result).splitlines()) == 1
    page = Cells(result._repr_html_())
    assert page.cells == [
        cell for table in result.tables() for row in (table.columns, *table.rows) for cell in row
    ]
    assert set(page.tags) <= {"div", "strong", "small", "table", "thead", "tbody", "tr", "th", "td"}
    for table in result.tables():
        assert str(table) in str(result)


def test_an_evaluation_shows_its_types(evaluation: Evaluation) -> None:
    assert str(evaluation).splitlines()[:2] == [
        "Type  Precision   Recall       F1        95 %  Gold mentions",
        "LOC       0.00%    0.00%    0.00%    0.0–30.8             10",
    ]
    assert dict(evaluation) == evaluation.as_dict()
    assert "F1 66.67%" in repr(evaluation)


def test_a_model_shows_what_it_is(tiny_model) -> None:
    folder: Path = tiny_model()
    found = describe(folder)
    assert ["Layers", "3 encoder layers"] in found.rows()
    assert str(found).startswith("Aspect ")
    assert "<td" in found._repr_html_()
    assert folder.name in repr(found)
    assert dict(found) == found.as_dict()


def test_tables_of_text() -> None:
    table = Table(("a", "b"), [("x", "1"), ("yy", "22")], "Title", ["note"])
    assert str(table) == "Title\na    b\nx    1\nyy  22\nnote"
    assert str(Table(("a", "b"), [("x", "one")], words=("b",))) == "a  b\nx  one"
    assert "&lt;b&gt;" in Table(("a",), [("<b>",)]).html()
    assert "text-align: right" not in Table(("a", "b"), [("x", "one")], words=("b",)).html()


def test_bytes_in_millions() -> None:
    assert (megabytes(None), megabytes(5_250_000), megabytes(250_000_000)) == ("–", "5.2 MB", "250 MB")
    assert millions(99_999_999) == "100.0"
