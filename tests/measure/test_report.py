"""The page as a whole: a strict tree, no request, every text escaped, sections only where there is something
to show.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from affineur.artifact import Manifest, Matrix, ModelInfo, Parent
from affineur.artifact.folder import ModelFolder
from affineur.artifact.info import MatrixInfo
from affineur.entities import Scheme
from affineur.errors import ParameterError
from affineur.measure.analysis import analyze
from affineur.measure.budget import Budget, Curve, Point
from affineur.measure.comparison import Candidate, Comparison, compare
from affineur.measure.gate import Gate, Verdict
from affineur.measure.report import Report, report_html, verdict
from affineur.measure.report.curve import draw
from affineur.measure.tables import comparison_cells

from .conftest import TYPES, corpus_of, labels_of, noisy, random_gold, tagger_of

GOLD = random_gold(random.Random(0), 60, Scheme.BIO)
LABELS = labels_of(Scheme.BIO)
CORPUS = corpus_of(GOLD, Scheme.BIO)
TAGGERS = {
    name: tagger_of(noisy(random.Random(1), GOLD, LABELS, share), LABELS)
    for name, share in (("teacher", 0.05), ("student", 0.3))
}
HOSTILE = "<script>alert(1)</script>\"'&\udcff\x00]]>-->"
VOID = {"meta", "wbr"}
OPTIONAL = ("gate", "analysis", "curves", "models", "benchmark", "recipe", "commands", "notes")


class Tree(HTMLParser):
    """Parses strictly: every element is closed, in order, and no attribute is there twice."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


@pytest.fixture(scope="module")
def compared() -> Comparison:
    found = [
        Candidate("teacher", TAGGERS["teacher"], 12, 0.0, 440_000_000),
        Candidate("student", TAGGERS["student"], 11, 0.15, 400_000_000),
    ]
    return compare(found, CORPUS, rounds=1)


def point(method: str, sparsity: float, f1: float, recovered: bool = False, inside: bool = False) -> Point:
    given: dict[str, Any] = {
        "method": method,
        "asked": sparsity,
        "sparsity": sparsity,
        "recovered": recovered,
        "p_value": 0.5,
        "inside": inside,
    }
    return Point(
        **given,
        f1=f1,
        f1_low=f1 - 0.01,
        f1_high=f1 + 0.01,
        drop=0.9 - f1,
        drop_low=0.89 - f1,
        drop_high=0.91 - f1,
    )


def info(sparsity: float = 0.15, kind: str = "transformers", name: str = "teacher") -> ModelInfo:
    manifest = Manifest(
        kind,
        "prune",
        {"sparsity": sparsity},
        [Parent("given", "abc" * 20, name)],
        {"train": {"name": name, "digest": "d"}},
    )
    kinds = ("attention.query", "attention.key", "ffn.output")
    found = tuple(
        MatrixInfo(Matrix(i, one, f"{i}.{one}"), 100, round(100 * sparsity) + i, 400)
        for i in range(3)
        for one in kinds
    )
    return ModelInfo(ModelFolder(Path("x"), {}, ()), manifest, 2000, 1900, ("F32",), found, {"encoder": 3600})


def everything(compared: Comparison) -> dict[str, Any]:
    return {
        "gate": Gate(
            "student",
            "gold",
            "teacher",
            (
                Verdict("min_f1", 0.9, 0.8, False, "95 %"),
                Verdict("max_size_bytes", 5e8, 4e8, True, "weights"),
            ),
        ),
        "analysis": analyze(
            ("student", TAGGERS["student"]),
            ("teacher", TAGGERS["teacher"]),
            CORPUS,
            compared.types,
            Scheme.BIO,
        ),
        "curves": (
            Curve(
                "student",
                "dev",
                60,
                "teacher",
                0.9,
                Budget(max_drop=0.05),
                (point("magnitude", 0.1, 0.9, inside=True), point("magnitude", 0.5, 0.7)),
            ),
            Curve(
                "student",
                "dev",
                60,
                "teacher",
                0.9,
                None,
                (point("wanda", 0.3, 0.8), point("wanda", 0.3, 0.85, recovered=True)),
            ),
        ),
        "models": {"student": info(), "teacher": info(0.0)},
        "benchmark": (("Model", "p50"), [["teacher", "9 ms"], ["student", "8 ms"]], ["timed in turn"]),
        "recipe": "name: demo\nseed: 13\n",
        "commands": (("The run", "affineur demo"),),
        "notes": ("kept layers 0–10",),
    }


def check(page: str) -> Tree:
    """What holds of every page."""
    page.encode("utf-8")
    tree = Tree(page)
    ids = [one["id"] for _, one in tree.elements if one.get("id")]
    assert len(set(ids)) == len(ids)
    links = [one["href"] for _, one in tree.elements if "href" in one]
    assert links
    assert all(link and link.startswith("#") and link[1:] in ids for link in links)
    assert not [
        tag
        for tag, one in tree.elements
        if "src" in one or tag in ("script", "link", "img", "iframe", "object", "form")
    ]
    assert not re.search(r"url\(|@import|\son\w+=", re.sub(r">[^<]*<", "><", page))
    assert {one["lang"] for _, one in tree.elements if "lang" in one} == {"en"}
    levels = [int(tag[1]) for tag, _ in tree.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
    assert all(one.get("scope") in ("row", "col") for one in tree.all("th"))
    assert len(tree.all("caption")) == len(tree.all("table"))
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert "nan" not in picture
        assert "inf" not in re.sub("[^>]*<", "<", picture).split("aria-label")[0]
    return tree


def sections(tree: Tree) -> list[str]:
    found = [str(one["id"]) for one in tree.all("h2") if "id" in one]
    links = [str(one["href"])[1:] for one in tree.all("a")]
    assert [link for link in links if link in found][-len(found) :] == found
    return found


def test_a_full_report_has_every_section_in_order(compared: Comparison) -> None:
    tree = check(report_html(Report("demo", compared, **everything(compared))))
    wanted = [
        "comparison",
        "types",
        "tradeoff",
        "benchmark",
        "curve",
        "layers",
        "confusion",
        "sentences",
        "lineage",
        "notes",
    ]
    assert sections(tree) == [*wanted, "recipe", "environment", "commands"]
    for cell in (cell for row in comparison_cells(compared) for cell in row):
        assert cell in tree.words
    assert (
        tree.words.index("Is it good enough?")
        < tree.words.index("What did it cost")
        < tree.words.index("Where does it fail?")
    )
    assert tree.words.index("Where does it fail?") < tree.words.index("All models side by side")
    assert len(tree.all("figure")) == 3
    assert "zeros alone made it neither smaller nor faster" in tree.words
    assert "affineur demo" in tree.words


@pytest.mark.parametrize("count", [0, 1, len(OPTIONAL) - 1])
def test_what_is_absent_leaves_no_hole(compared: Comparison, count: int) -> None:
    given = everything(compared)
    for chosen in combinations(OPTIONAL, count):
        tree = check(report_html(Report("demo", compared, **{name: given[name] for name in chosen})))
        found = sections(tree)
        assert [one for one in ("comparison", "types", "tradeoff") if one in found] == [
            "comparison",
            "types",
            "tradeoff",
        ]
        assert ("confusion" in found) == ("analysis" in chosen)
        assert ("layers" in found) == ("lineage" in found) == ("models" in chosen)
        assert ("curve" in found) == ("curves" in chosen)
        for name in ("benchmark", "recipe", "commands", "notes"):
            assert (name in found) == (name in chosen)


def test_hostile_names_are_text(compared: Comparison) -> None:
    given = everything(compared)
    bad = replace(
        compared,
        data=HOSTILE,
        rows=tuple(
            replace(row, model=f"{HOSTILE}{i}", verdict=HOSTILE) for i, row in enumerate(compared.rows)
        ),
    )
    bad = replace(bad, machine=compared.machine | {"cpu": HOSTILE, "libraries": {HOSTILE: HOSTILE}})
    name = f"{HOSTILE}1"
    analysis = given["analysis"]
    hurt = replace(
        analysis,
        model=name,
        baseline=HOSTILE,
        disagreements=tuple(replace(d, words=(HOSTILE,) * len(d.words)) for d in analysis.disagreements),
    )
    curves = tuple(
        replace(
            c,
            model=HOSTILE,
            data=HOSTILE,
            baseline=HOSTILE,
            points=tuple(replace(p, method=HOSTILE) for p in c.points),
        )
        for c in given["curves"]
    )
    report = Report(
        HOSTILE,
        bad,
        chosen=name,
        gate=Gate(name, HOSTILE, HOSTILE, (Verdict(f"min_f1_{HOSTILE}", 0.9, 0.8, False, HOSTILE),)),
        analysis=hurt,
        curves=curves,
        models={name: info(name=HOSTILE)},
        benchmark=((HOSTILE, HOSTILE), [[HOSTILE, HOSTILE]], [HOSTILE]),
        recipe=HOSTILE,
        commands=((HOSTILE, HOSTILE),),
        notes=(HOSTILE,),
    )
    page = report_html(report)
    tree = check(page)
    assert "<script" not in page
    assert "alert(1)" in tree.words
    assert "\ufffd" in page


def test_hostile_types_are_text() -> None:
    kinds = ("<b>", "\"&'")
    gold = random_gold(random.Random(2), 30, Scheme.BIO, kinds)
    labels, corpus = labels_of(Scheme.BIO, kinds), corpus_of(gold, Scheme.BIO)
    models = [tagger_of(noisy(random.Random(seed), gold, labels, 0.3), labels) for seed in (1, 2)]
    compared = compare(
        [Candidate(str(i), one, 12, 0.0, 100) for i, one in enumerate(models)], corpus, rounds=1
    )
    page = report_html(
        Report("x", compared, analysis=analyze(("1", models[1]), ("0", models[0]), corpus, kinds, Scheme.BIO))
    )
    check(page)
    assert "<b>" not in page


def test_a_type_without_gold_mention_has_no_score(compared: Comparison) -> None:
    none: dict[str, Any] = {
        "f1": 0.0,
        "f1_low": 0.0,
        "f1_high": 0.0,
        "precision": 0.0,
        "recall": 0.0,
        "support": 0,
    }
    rows = tuple(
        replace(row, per_type=row.per_type | {"DATE": replace(row.per_type["PER"], **none)})
        for row in compared.rows
    )
    tree = check(report_html(Report("x", replace(compared, rows=rows, types=(*TYPES, "DATE")))))
    assert "DATE: no gold mention in this data, so nothing can be said." in tree.words
    assert "DATE0no gold mention" in tree.words
    assert not [one for one in tree.all("svg") if "DATE" in str(one["aria-label"])]


def odd(compared: Comparison) -> Iterator[Comparison]:
    first, last = compared.rows
    yield replace(compared, rows=(first,))
    flat: dict[str, Any] = {
        "f1": 0.5,
        "f1_low": 0.5,
        "f1_high": 0.5,
        "size_bytes": 1000,
        "speedup": 1.0,
        "drop": 0.0,
        "drop_low": 0.0,
        "drop_high": 0.0,
    }
    yield replace(compared, rows=tuple(replace(row, **flat, per_type={}) for row in compared.rows), types=())
    yield replace(
        compared,
        rows=tuple(replace(row, size_bytes=0, f1=0.0, f1_low=0.0, f1_high=0.0) for row in compared.rows),
    )
    yield replace(
        compared, rows=tuple(replace(row, f1=1.0, f1_low=1.0, f1_high=1.0) for row in compared.rows)
    )
    yield replace(
        compared,
        rows=(
            first,
            *(
                replace(last, model=f"a-very-long-name-of-a-model-{i}-" + "x" * 60, speedup=1 + i)
                for i in range(14)
            ),
        ),
    )
    many = {f"T{i}": last.per_type["PER"] for i in range(40)}
    yield replace(
        compared, rows=tuple(replace(row, per_type=many) for row in compared.rows), types=tuple(many)
    )


def test_odd_comparisons_still_make_a_page(compared: Comparison) -> None:
    for found in odd(compared):
        check(report_html(Report("odd", found)))
        assert verdict(Report("odd", found))


def test_one_row_is_compared_with_nothing(compared: Comparison) -> None:
    report = Report("x", replace(compared, rows=compared.rows[:1]))
    tree = check(report_html(report))
    assert "tradeoff" not in sections(tree)
    assert "What did it cost" not in tree.words
    assert "it is compared with nothing" in tree.words
    assert verdict(report).startswith("teacher scores F1 ")


def test_the_row_a_report_is_about(compared: Comparison) -> None:
    assert Report("x", compared).row.model == "student"
    assert Report("x", compared, chosen="teacher").alone
    assert Report("x", compared, gate=Gate("teacher", "d", None, ())).row.model == "teacher"
    assert Report("x", compared, gate=Gate("elsewhere", "d", None, ())).row.model == "student"
    same = replace(compared, rows=tuple(replace(row, size_bytes=5) for row in compared.rows))
    assert Report("x", same).row.model == "student"
    with pytest.raises(ParameterError, match="no row 'none'"):
        Report("x", compared, chosen="none")
    with pytest.raises(ParameterError, match="at least one model"):
        Report("x", replace(compared, rows=()))


def test_disagreements_say_how_many_more_there_are(compared: Comparison) -> None:
    analysis = everything(compared)["analysis"]
    tree = check(
        report_html(
            Report(
                "x",
                compared,
                analysis=replace(analysis, disagreements=analysis.disagreements[:3], sentences_apart=50),
            )
        )
    )
    assert "Of the 50 sentences tagged differently, student is better in" in tree.words
    assert "Shown are the 3 where most words differ, 47 more are not." in tree.words
    assert tree.all("mark")
    alike = replace(analysis, disagreements=(), sentences_apart=0)
    assert "tag every sentence alike" in check(report_html(Report("x", compared, analysis=alike))).words
    counts = replace(analysis, disagreements=(), sentences_apart=340, better=134, worse=139)
    lead = "Of the 340 sentences tagged differently, student is better in 134, worse in 139 and level in 67, by the number of errors."
    assert lead in check(report_html(Report("x", compared, analysis=counts))).words
    itself = replace(analysis, model="teacher", baseline="teacher")
    assert "sentences" not in sections(check(report_html(Report("x", compared, analysis=itself))))


def test_most_disagreements_are_folded_away(compared: Comparison) -> None:
    analysis = everything(compared)["analysis"]
    assert len(analysis.disagreements) > 6
    page = report_html(Report("x", compared, analysis=analysis))
    shown, folded = page.split(f"<summary>The other {len(analysis.disagreements) - 5} sentences</summary>")
    assert shown[shown.index('class="sentences"') :].count("Sentence ") == 5
    assert folded.count("Sentence ") == len(analysis.disagreements) - 5
    assert '<ol class="sentences" start="6">' in folded
    few = replace(analysis, disagreements=analysis.disagreements[:5])
    assert "The other" not in check(report_html(Report("x", compared, analysis=few))).words


def test_the_head_says_when_on_what_and_what_it_finds(compared: Comparison) -> None:
    dated = replace(compared, machine=compared.machine | {"date": "2026-11-23"})
    tree = check(report_html(Report("x", dated)))
    assert (
        f"Finds {', '.join(TYPES)}; 11 layers. Measured on 2026-11-23, on 60 sentences and {compared.words} words of {compared.data}."
        in tree.words
    )
    assert tree.words.count("2026-11-23") == 1
    bare = replace(compared, machine={key: value for key, value in compared.machine.items() if key != "date"})
    assert "Measured on 60 sentences" in check(report_html(Report("x", bare))).words


def test_the_machine_is_described_once_and_no_jargon_is_left(compared: Comparison) -> None:
    given = everything(compared)
    gate = Gate(
        "student",
        "gold",
        "teacher",
        (
            Verdict("min_f1", 0.9, 0.8, False, "95 %: 1% to 2%; 9 gold mentions in BIO"),
            Verdict(
                "max_drop_LOC",
                0.1,
                0.05,
                True,
                "upper end; drop 2.00 points, 95 %: 1.00 to 5.00, in IO; over LOC",
            ),
            Verdict("max_peak_rss_bytes", 1e9, 5e8, True, "resident set of a fresh process under load"),
        ),
    )
    words = check(report_html(Report("x", compared, **given | {"gate": gate}))).words
    assert str(compared.machine["description"]) not in words
    for jargon in ("in BIO", "in IO", "upper end", "resident set"):
        assert jargon not in words
    assert "9 gold mentions" in words
    assert "peak of a fresh process under load" in words


def test_a_type_stays_beside_its_last_word(compared: Comparison) -> None:
    page = report_html(Report("x", compared, analysis=everything(compared)["analysis"]))
    inside = re.findall("<mark[^>]*>(.*?)</mark>", page)
    assert inside
    assert all(re.fullmatch('[^<]*<span class="kept">[^ <]+ <small>.*</small></span>', one) for one in inside)


def test_the_two_pictures_show_true_positions(compared: Comparison) -> None:
    first, last = compared.rows
    twin = replace(last, model="twin")
    rows = (
        first,
        replace(last, speedup_low=0.9, speedup_high=2.0),
        replace(twin, speedup_low=0.9, speedup_high=2.0),
    )
    size, speed = _scatters(report_html(Report("x", replace(compared, rows=rows))))
    for picture in (size, speed):
        rings = re.findall('<circle class="(?:hollow|mark chosen)" cx="([^"]*)" cy="([^"]*)"', picture)
        assert len(rings) == 2
        assert len(set(rings)) == 1
    assert len(re.findall('<line class="whisker thin"', size)) == 3
    flat = re.findall('<line class="whisker thin" x1="([^"]*)" x2="([^"]*)" y1="([^"]*)" y2="([^"]*)"', speed)
    assert len([one for one in flat if one[2] == one[3] and one[0] != one[1]]) == 2


def _scatters(page: str) -> list[str]:
    return [one for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if " against F1: " in one]


def test_a_stepped_line_needs_two_models(compared: Comparison) -> None:
    first, last = compared.rows
    scores: dict[str, Any] = {"f1_low": 0.1, "f1_high": 0.9}
    none: dict[str, Any] = {"speedup_low": 0.0, "speedup_high": None}

    def caption(*rows: Any) -> tuple[str, int]:
        page = report_html(Report("x", replace(compared, rows=rows)))
        check(page)
        return page[page.index("By their estimates") :].split("</figcaption>")[0], sum(
            'class="front"' in one for one in _scatters(page)
        )

    worse, better = (
        replace(first, f1=0.5, **scores),
        replace(last, f1=0.6, size_bytes=1000, speedup=2.0, **scores, **none),
    )
    assert caption(worse, better) == (
        "By their estimates, student beats all others on size, on speed and on F1.",
        0,
    )
    assert caption(worse, replace(better, speedup=1.0)) == (
        "By their estimates, student beats all others on both size and F1; no other beats student on speed or F1.",
        0,
    )
    said, lines = caption(replace(worse, f1=0.7), better)
    assert lines == 2
    assert said.count("the stepped line for") == 2


def test_those_that_score_alike_share_a_line(compared: Comparison) -> None:
    first, last = compared.rows
    half = replace(first, model="half", size_bytes=5)
    page = report_html(Report("x", replace(compared, rows=(first, half, last)), chosen="student"))
    check(page)
    panels = [one for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if 'aria-label="F1 of' in one]
    assert len(panels) == 1 + len(TYPES)
    assert all(">teacher, half</text>" in one and ">half</text>" not in one for one in panels)
    assert "Models with exactly the scores of the baseline share its line." in page
    kind = next(iter(TYPES))
    other = replace(half, per_type=half.per_type | {kind: replace(half.per_type[kind], f1_low=0.0)})
    assert "share its line" not in report_html(
        Report("x", replace(compared, rows=(first, other, last)), chosen="student")
    )
    assert "share its line" not in report_html(
        Report("x", replace(compared, rows=(first, half, last)), chosen="half")
    )


def test_the_curve_says_its_split_and_what_its_budget_is_judged_by(compared: Comparison) -> None:
    given = everything(compared)["curves"]
    one = replace(given[0], budget=Budget(max_drop=0.01))
    words = check(report_html(Report("x", compared, curves=(one,)))).words
    assert "F1 over sparsity, on dev" in words
    assert "budget: 1 point below teacher" in words
    assert "magnitude: smallest weights first" in words
    assert (
        "Shaded: 95 % interval of the difference to teacher on the same sentences, drawn around F1" in words
    )
    assert "chosen among 2, so that its interval flatters it" in words
    both = check(report_html(Report("x", compared, curves=(replace(one, budget=Budget(0.8, 0.01)),)))).words
    assert (
        "For a drop that is the interval of the difference to teacher on the same sentences, not the shaded one"
        in both
    )
    assert "Difference to teacher, points (95\u00a0%)" in "".join(
        Tree(report_html(Report("x", compared, curves=(one,)))).text
    )
    floor = replace(given[0], budget=Budget(min_f1=0.8))
    assert "not the shaded one" not in check(report_html(Report("x", compared, curves=(floor,)))).words
    page = report_html(
        Report("x", compared, curves=(replace(one, points=(point("magnitude", 1.0, 0.5), *one.points)),))
    )
    picture = next(
        svg for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "F1 over sparsity on dev" in svg
    )
    width = float(re.findall(r'viewBox="0 0 (\S+)', picture)[0])
    assert (
        float(re.findall(r'<text x="([^"]*)"[^>]*>100%</text>', picture.split("sparsity: zeros")[0])[-1])
        <= width - 20
    )


def test_the_band_of_a_drop_lies_above_the_budget_exactly_where_the_points_are_inside() -> None:
    """Drawn around F1 the interval that decides ends where the budget's line is, however wide the interval of
    F1 itself may be.
    """
    wide = [
        replace(
            point("magnitude", 0.1 * i, 0.9 - 0.01 * i), f1_low=0.3, f1_high=1.0, drop_high=0.01 * i + 0.02
        )
        for i in range(1, 5)
    ]
    for allowed, inside in ((0.06, True), (0.059, False)):
        drawing = draw([Curve("student", "dev", 60, "teacher", 0.9, Budget(max_drop=allowed), tuple(wide))])
        drawn = "".join(drawing.parts)
        floor = float(re.findall('class="budget"[^>]* y1="([^"]*)"', drawn)[0])
        numbers = [float(number) for number in re.findall('class="band s0" d="M([^z]*)z"', drawn)[0].split()]
        assert (max(numbers[1::2]) <= floor + 0.06) is inside
    either = draw([Curve("student", "dev", 60, "teacher", 0.9, Budget(0.5, 0.06), tuple(wide))])
    numbers = [
        float(number)
        for number in re.findall('class="band s0" d="M([^z]*)z"', "".join(either.parts))[0].split()
    ]
    assert (
        max(numbers[1::2])
        > float(re.findall('class="budget"[^>]* y1="([^"]*)"', "".join(either.parts))[1]) + 1
    )


def test_columns_of_words_are_aligned_like_words(compared: Comparison) -> None:
    page = report_html(Report("x", compared, models={"student": info()}))
    for head in ("Made by", "From", "Numbers stored as"):
        assert f'<th scope="col" class="words">{head}</th>' in page
    assert page.count('<td class="words">') == 3
    assert '<th scope="col">Sentences/s</th>' in page


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        (part / 12.92) if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_text_stands_out_in_both_themes() -> None:
    style = files("affineur.measure.report").joinpath("style.css").read_text("utf-8")
    light, dark, paper = (
        dict(re.findall(r"--([\w-]+): ([^;]+);", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    )
    assert light.keys() == dark.keys() == paper.keys()
    for theme in (light, dark, paper):
        for ground in ("page", "card"):
            for ink in ("ink", "soft", "good", "bad", "link"):
                assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
            for line in ("strong-line", *(f"s{i}" for i in range(6))):
                assert contrast(theme[line], theme[ground]) >= 3, (line, ground)
        for i in range(6):
            assert contrast(theme["ink"], theme[f"t{i}"]) >= 4.5
        shade, card = (
            [int(part) for part in theme["shade"].split()],
            [int(theme["card"][i : i + 2], 16) for i in (1, 3, 5)],
        )
        deepest = "#" + "".join(f"{round((a + b) / 2):02x}" for a, b in zip(shade, card, strict=True))
        assert contrast(theme["ink"], deepest) >= 4.5
        assert contrast(theme["card"], theme["bad"]) >= 4.5
