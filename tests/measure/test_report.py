"""The page as a whole: a strict tree, no request, every text escaped, no empty section."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from affineur.entities import Scheme
from affineur.errors import ParameterError
from affineur.measure.analysis import analyze
from affineur.measure.bootstrap import Difference, Interval
from affineur.measure.comparison import Candidate, Comparison, compare
from affineur.measure.figures import OnDifference, OnMentions
from affineur.measure.gate import Gate, Verdict, gate_lines
from affineur.measure.report import Report, report_html, verdict
from affineur.measure.tables import comparison_cells

from .conftest import TYPES, corpus_of, labels_of, noisy, random_gold, tagger_of
from .report_samples import (
    HOSTILE,
    OPTIONAL,
    benchmarked,
    check,
    everything,
    info,
    sections,
)


def test_a_full_report_has_every_section_in_order(compared: Comparison) -> None:
    tree = check(report_html(Report("demo", compared, **everything(compared))))
    wanted = [
        "comparison",
        "example",
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
        assert ("example" in found) == ("example" in chosen)
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
        benchmark=benchmarked(HOSTILE, f"{HOSTILE}2"),
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
        Report(
            "x",
            compared,
            analysis=analyze(("1", models[1]), ("0", models[0]), corpus, types=kinds, scheme=Scheme.BIO),
        )
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
    lead = (
        "Of the 340 sentences tagged differently, student is better in 134, worse in 139 and level in 67, "
        "by the number of errors."
    )
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
        f"Finds {', '.join(TYPES)}; 11 layers. Measured on 2026-11-23, on 60 sentences and "
        f"{compared.words} words of {compared.data}." in tree.words
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
            Verdict("min_f1", 0.9, 0.8, False, OnMentions(9, "BIO", 60, Interval(0.8, 0.01, 0.02), 0.95)),
            Verdict(
                "max_drop_LOC",
                0.1,
                0.05,
                True,
                OnDifference(Difference(-0.02, -0.05, -0.01, 0.5), 0.95, "IO", ("LOC",)),
            ),
            Verdict("max_peak_rss_bytes", 1e9, 5e8, True, "peak of a fresh process under load"),
        ),
    )
    words = check(report_html(Report("x", compared, **given | {"gate": gate}))).words
    assert str(compared.machine["description"]) not in words
    for jargon in ("in BIO", "in IO", "upper end", "resident set"):
        assert jargon not in words
    assert "95 %: 1.00% to 2.00%; 9 gold mentions" in words
    assert "in BIO" in gate_lines(gate)[1]
    assert "upper end; drop 2.00 points, 95 %: 1.00 to 5.00, in IO; over LOC" in gate_lines(gate)[2]
    assert "peak of a fresh process under load" in words


def test_a_type_stays_beside_its_last_word(compared: Comparison) -> None:
    page = report_html(Report("x", compared, analysis=everything(compared)["analysis"]))
    inside = re.findall("<mark[^>]*>(.*?)</mark>", page)
    assert inside
    assert all(re.fullmatch('[^<]*<span class="kept">[^ <]+ <small>.*</small></span>', one) for one in inside)


def test_columns_of_words_are_aligned_like_words(compared: Comparison) -> None:
    page = report_html(Report("x", compared, models={"student": info()}))
    for head in ("Made by", "From", "Numbers stored as"):
        assert f'<th scope="col" class="words">{head}</th>' in page
    assert page.count('<td class="words">') == 3
    assert '<th scope="col">Sentences/s</th>' in page
