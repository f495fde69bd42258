"""Each bar passes, and is missed for its own reason."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.entities import Scheme
from affineur.errors import ParameterError, RecipeError
from affineur.measure import (
    Bars,
    Evaluation,
    Gate,
    Measures,
    Verdict,
    evaluate,
    gate_lines,
    junit_xml,
    parse_bars,
    summary_markdown,
)
from affineur.measure.bar_table import spellings
from affineur.measure.gate import judge, judge_bar

from .conftest import corpus_of, labels_of, tagger_of

KINDS = ("LOC", "ORG", "PER")  # ORG is known to the model, and has no gold mention


def scores(per: int, loc: int, each: int = 100, kinds: Sequence[str] = KINDS) -> Evaluation:
    """So many of ``each`` mentions found, the others in the wrong place: F1 is found ÷ each."""
    gold = [[f"I-{kind}", "O", "O"] for kind in ("PER", "LOC") for _ in range(each)]
    wrong = [["O", f"I-{kind}", "O"] for kind in ("PER", "LOC") for _ in range(each)]
    found = [gold[i] if i % each < (per if i < each else loc) else wrong[i] for i in range(2 * each)]
    return evaluate(
        tagger_of(found, labels_of(Scheme.IO, kinds)),
        corpus_of(gold),
        types=[kind for kind in KINDS if kind in kinds],
    )


OURS, THEIRS = scores(86, 82), scores(90, 82)  # F1 .84, .86


MEASURED = Measures(OURS, THEIRS, 200_000_000, 10.0, 20.0, 30.0, 1_500_000_000, 50.0, 0.99, "parent")


def one(bar: str, limit: float, measures: Measures = MEASURED) -> Verdict:
    gate = judge(Bars(((bar, limit),)), measures, model="model", data="gold", baseline="teacher")
    assert gate.passed is gate.verdicts[0].passed
    return gate.verdicts[0]


#: Bar, the figure, a limit just beyond it, and what the line says.
FIGURES = [
    ("min_f1", 0.84, 0.8401, "200 gold mentions in IO"),
    ("min_f1_PER", 0.86, 0.8601, "100 gold mentions in IO"),
    ("min_f1_LOC", 0.82, 0.8201, "100 gold mentions in IO"),
    ("min_f1_low", OURS.interval().low, 0.84, "F1 84.00%"),
    ("min_accuracy", 1 - 2 * 32 / 600, 0.9, "536 of 600 words, tags as they are"),
    ("max_drop", -OURS.minus(THEIRS).low, 0.02, "drop 2.00 points"),
    ("max_drop_PER", -OURS.minus(THEIRS, "PER").low, 0.04, "drop 4.00 points"),
    (
        "max_drop_LOC",
        1 - 0.025 ** (1 / 100),
        0.036,
        "drop 0.00 points",
    ),  # the 100 that show none do not show that there is none
    ("max_size_bytes", 200_000_000, 199_999_999, "weights"),
    ("max_p50_ms", 10.0, 9.99, "fresh process"),
    ("max_p95_ms", 20.0, 19.99, "fresh process"),
    ("max_p99_ms", 30.0, 29.99, "fresh process"),
    ("max_peak_rss_bytes", 1_500_000_000, 1_499_999_999, "fresh process"),
    ("min_sentences_per_second", 50.0, 50.01, "fresh process"),
    ("min_agreement", 0.99, 0.991, "parent"),
]


@pytest.mark.parametrize(("bar", "figure", "beyond", "detail"), FIGURES, ids=[bar for bar, *_ in FIGURES])
def test_a_limit_reached_exactly_passes_and_one_beyond_is_missed(
    bar: str, figure: float, beyond: float, detail: str
) -> None:
    reached = one(bar, figure)
    assert reached.passed
    assert reached.measured == pytest.approx(figure, abs=1e-12)
    assert detail in reached.detail
    missed = one(bar, beyond)
    assert not missed.passed
    assert missed.measured == reached.measured
    shown, sign, asked = missed.figures()
    shown_only = bar.startswith("max_drop") or bar == "min_f1_low"  # what was seen is inside
    assert (missed.state, missed.bar, sign) == (
        "open" if shown_only else "MISS",
        bar,
        "<" if bar.startswith("min_") else ">",
    )
    assert shown != asked, "the comparison can be seen to be true"


def test_every_bar_is_tested() -> None:
    tested = {bar.replace("_PER", "_TYPE").replace("_LOC", "_TYPE") for bar, *_ in FIGURES}
    assert tested == set(spellings())


def test_one_missed_bar_misses_the_gate_and_the_others_still_pass() -> None:
    for place, (_, _, beyond, _) in enumerate(FIGURES):
        limits = [(name, beyond if i == place else figure) for i, (name, figure, _, _) in enumerate(FIGURES)]
        gate = judge(Bars(tuple(limits)), MEASURED, model="model", data="gold", baseline="teacher")
        assert [verdict.bar for verdict in gate.verdicts if not verdict.passed] == [FIGURES[place][0]]
        said = "missed" if gate.verdict == "failed" else "not provable"
        assert gate.summary == f"{said}: 1 of {len(FIGURES)} bars ({FIGURES[place][0]})"


def test_a_drop_of_exactly_the_limit_passes_whatever_floating_point_makes_of_it() -> None:
    lost = 0.8 - 0.5  # a little more than 0.3 in binary
    assert lost > 0.3
    assert judge_bar("max_drop", 0.3, lost).passed
    assert not judge_bar("max_drop", 0.3 - 1e-9, lost).passed


def test_max_drop_looks_at_the_end_of_the_interval_and_confidence_moves_it() -> None:
    estimate = 0.02
    ends = []
    for confidence in (0.5, 0.95, 0.999):
        verdict = judge(
            Bars((("max_drop", estimate),), confidence), MEASURED, model="m", data="d", baseline="t"
        ).verdicts[0]
        assert verdict.measured is not None
        assert f"{confidence * 100:g} %" in verdict.detail
        ends.append(verdict.measured)
    assert estimate < ends[0] < ends[1] < ends[2]
    low = [
        judge(Bars((("min_f1_low", 0.5),), c), MEASURED, model="m", data="d").verdicts[0].measured
        for c in (0.5, 0.999)
    ]
    assert low[0] > low[1]


def test_min_f1_is_the_estimate_with_its_interval_beside_it() -> None:
    verdict, interval = one("min_f1", 0.84), OURS.interval()
    assert interval.low < 0.84 < interval.high
    assert verdict.passed
    assert f"95 %: {interval.low:.2%} to {interval.high:.2%}" in verdict.detail


#: A bar that cannot be measured, what is left of the measurements, and the reason.
UNKNOWN = [
    ("min_f1_ORG", MEASURED, "no gold mention of ORG in gold"),
    ("max_drop_ORG", MEASURED, "no gold mention of ORG in gold"),
    (
        "max_drop_ORG",
        replace(MEASURED, baseline=scores(90, 82, kinds=("LOC", "PER"))),
        "teacher does not know ORG",
    ),
    ("max_drop", replace(MEASURED, baseline=None), "no baseline"),
    ("min_f1", Measures(), "not scored"),
    (
        "min_f1_low",
        replace(MEASURED, evaluation=scores(3, 2, 4)),
        "too few sentences for an interval (8, needs 10)",
    ),
    (
        "max_drop",
        Measures(scores(4, 4, 4), scores(4, 4, 4)),
        "too few sentences for an interval (8, needs 10)",
    ),
    (
        "max_peak_rss_bytes",
        replace(MEASURED, peak_rss_bytes=None),
        "this system does not tell the peak memory",
    ),
    ("max_peak_rss_bytes", Measures(), "not measured"),
    ("max_p95_ms", Measures(), "not measured"),
    ("max_p95_ms", replace(MEASURED, p95_ms=float("nan")), "not a number"),
    ("max_size_bytes", Measures(), "not measured"),
    ("min_agreement", Measures(), "not measured"),
    ("min_sentences_per_second", Measures(), "not measured"),
]


@pytest.mark.parametrize(
    ("bar", "measures", "reason"), UNKNOWN, ids=[f"{bar}-{reason}" for bar, _, reason in UNKNOWN]
)
def test_what_cannot_be_measured_is_missed_with_its_reason(bar: str, measures: Measures, reason: str) -> None:
    for limit in (0, 0.49 if bar.startswith("max_drop") else 1):
        verdict = one(bar, limit, measures)
        assert (verdict.measured, verdict.passed) == (None, False)
        assert reason in verdict.detail
        assert reason in gate_lines(Gate("m", "d", None, (verdict,)))[1]


def test_data_without_any_mention_give_no_f1() -> None:
    gold = [["O", "O"]] * 20
    for predicted in (gold, [["I-PER", "O"]] * 20):
        empty = evaluate(tagger_of(predicted, labels_of(Scheme.IO, KINDS)), corpus_of(gold))
        for bar in ("min_f1", "min_f1_low", "max_drop"):
            assert one(bar, 0, Measures(empty, empty)).measured is None
        assert one("min_accuracy", 0.5, Measures(empty)).passed


def test_perfect_sentences_prove_no_perfect_model() -> None:
    perfect = Measures(scores(5, 5, 5), scores(5, 5, 5))  # ten sentences
    assert one("min_f1", 1, perfect).passed, "the estimate"
    room = 1 - 0.025 ** (1 / 10)
    assert one("min_f1_low", 0.9, perfect).measured == pytest.approx(1 - room)
    assert not one("min_f1_low", 0.9, perfect).passed
    assert one("max_drop", 0.3, perfect).measured == pytest.approx(room)
    assert not one("max_drop", 0.3, perfect).passed
    assert one("max_drop", 0.31, perfect).passed


def test_few_sentences_still_have_an_f1() -> None:
    verdict = one("min_f1", 0.5, Measures(scores(4, 4, 4)))
    assert verdict.passed
    assert "too few sentences for an interval" in verdict.detail


def test_a_drop_is_measured_over_the_types_both_know() -> None:
    # Words and mentions are the same, so that scoring the two on different types is no other corpus.
    narrow = scores(90, 82, kinds=("LOC", "PER"))
    verdict = one("max_drop", 0.49, replace(MEASURED, baseline=narrow))
    assert verdict.measured == one("max_drop", 0.49).measured
    assert "over LOC, PER" in verdict.detail
    alone = replace(THEIRS, types=("DATE",), counts=THEIRS.counts[:, :1])
    assert "no type in common with teacher" in one("max_drop", 0.49, replace(MEASURED, baseline=alone)).detail


def test_scores_of_other_sentences_do_not_pair() -> None:
    with pytest.raises(ParameterError, match="not the same sentences"):
        one("max_drop", 0.49, replace(MEASURED, baseline=scores(45, 40, 50)))


@pytest.mark.parametrize(
    ("bar", "wanted"),
    [
        (
            "min_f1_PERS",
            "'min_f1_PERS' names a type 'PERS', but the types scored are LOC, ORG, PER; did you mean "
            "'min_f1_PER'?",
        ),
        ("min_f1_per", "did you mean 'min_f1_PER'?"),
        ("max_drop_loc", "did you mean 'max_drop_LOC'?"),
        ("min_f1_lo", "did you mean 'min_f1_low'?"),
        ("min_f1_DATE", "the types scored are LOC, ORG, PER"),
    ],
)
def test_unknown_types_are_refused_by_name(bar: str, wanted: str) -> None:
    with pytest.raises(RecipeError) as caught:
        one(bar, 0.4)
    assert wanted in str(caught.value)


@pytest.fixture
def gate() -> Gate:
    return judge(
        parse_bars({"min_f1": 0.84, "min_f1_ORG": 0.5, "max_size_bytes": 150e6}, "bars"),
        MEASURED,
        model="student",
        data="gold",
        baseline="teacher",
    )


def test_as_dict_has_stable_keys(gate: Gate) -> None:
    found = json.loads(json.dumps(gate.as_dict(), allow_nan=False))
    assert list(found) == ["model", "data", "baseline", "passed", "verdict", "bars"]
    assert (found["model"], found["data"], found["baseline"], found["passed"]) == (
        "student",
        "gold",
        "teacher",
        False,
    )
    assert [list(bar) for bar in found["bars"]] == [
        ["bar", "limit", "measured", "passed", "verdict", "detail"]
    ] * 3
    assert [(bar["bar"], bar["limit"], bar["measured"], bar["passed"]) for bar in found["bars"]] == [
        ("min_f1", 0.84, 0.84, True),
        ("min_f1_ORG", 0.5, None, False),
        ("max_size_bytes", 150e6, 200_000_000, False),
    ]


def test_lines_for_the_terminal(gate: Gate) -> None:
    interval = OURS.interval()
    assert gate_lines(gate) == [
        "student on gold, against teacher",
        f"pass  min_f1            84.00% ≥ 84.00%    95 %: {interval.low:.2%} to {interval.high:.2%}; 200 "
        "gold mentions in IO",
        "MISS  min_f1_ORG             – ≥ 50.00%    no gold mention of ORG in gold",
        "MISS  max_size_bytes  200.0 MB > 150.0 MB  weights",
        "missed: 2 of 3 bars (min_f1_ORG, max_size_bytes)",
    ]
    passed = judge(parse_bars({"min_f1": 0.84}, "bars"), MEASURED, model="student", data="gold")
    assert gate_lines(passed)[0] == "student on gold"
    assert gate_lines(passed)[-1] == "passed: 1 of 1 bar"


@pytest.mark.parametrize(
    ("bar", "measured", "limit", "passed", "shown"),
    [
        ("min_f1", 0.839996, 0.84, False, ("83.9996%", "<", "84.0000%")),
        ("min_f1", 0.84, 0.84, True, ("84.00%", "≥", "84.00%")),
        ("min_f1", 0.9, 0.84125, True, ("90.000%", "≥", "84.125%")),
        ("max_drop", 0.0100001, 0.01, False, ("1.00001 points", ">", "1.00000 points")),
        ("max_size_bytes", 200_000_001, 200_000_000, False, ("200.000001 MB", ">", "200.000000 MB")),
        ("max_p95_ms", 12.25, 20, True, ("12.2 ms", "≤", "20.0 ms")),
        ("min_sentences_per_second", 19.96, 20, False, ("19.96 sentences/s", "<", "20.00 sentences/s")),
        ("min_agreement", None, 0.99, False, ("–", "≥", "99.00%")),
        ("max_p50_ms", None, 5, False, ("–", "≤", "5.0 ms")),
    ],
)
def test_figures_have_as_many_digits_as_the_comparison_needs(
    bar: str, measured: float | None, limit: float, passed: bool, shown: tuple[str, str, str]
) -> None:
    assert Verdict(bar, limit, measured, passed).figures() == shown


def test_junit_xml_has_a_case_a_bar_and_a_failure_a_miss(gate: Gate) -> None:
    text = junit_xml(gate)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(text.encode())
    suite = root.find("testsuite")
    assert root.tag == "testsuites"
    assert suite is not None
    for element in (root, suite):
        assert (
            element.get("tests"),
            element.get("failures"),
            element.get("errors"),
            element.get("skipped"),
        ) == ("3", "2", "0", "0")
    cases = suite.findall("testcase")
    assert [(case.get("classname"), case.get("name")) for case in cases] == [
        ("student", bar) for bar in ("min_f1", "min_f1_ORG", "max_size_bytes")
    ]
    failures = [case.find("failure") for case in cases]
    assert failures[0] is None
    assert [f.get("message") for f in failures[1:] if f is not None] == [
        "min_f1_ORG: not measured, expected ≥ 50.00%",
        "max_size_bytes: 200.0 MB > 150.0 MB",
    ]
    assert failures[1] is not None
    assert "no gold mention of ORG" in str(failures[1].text)
    assert {p.get("name"): p.get("value") for p in suite.iter("property")} == {
        "model": "student",
        "data": "gold",
        "baseline": "teacher",
    }


def test_summary_is_a_github_table(gate: Gate) -> None:
    lines = summary_markdown(gate).splitlines()
    assert lines[0] == "### affineur check: missed: 2 of 3 bars (min_f1_ORG, max_size_bytes)"
    assert lines[2] == "student on gold, against teacher"
    assert lines[4:6] == ["| Bar |  | Measured | Behind it |", "| --- | ---: | ---: | ---: |"]
    assert lines[6].startswith("| min_f1 | pass | 84.00% ≥ 84.00% | 95 %: ")
    assert lines[7:] == [
        "| min_f1_ORG | **MISS** | – ≥ 50.00% | no gold mention of ORG in gold |",
        "| max_size_bytes | **MISS** | 200.0 MB > 150.0 MB | weights |",
    ]


@given(
    name=st.text(st.characters(), max_size=30),
    other=st.sampled_from(["a|b\\|c", "\x00\x1b[31m\r\n]]>&<\"'", "\udcff\ufffe", "`x` *y* <b> [z](u)"]),
)
def test_hostile_names_break_no_format(name: str, other: str) -> None:
    verdicts = (
        Verdict(f"min_f1_{name}x", 0.5, None, False, other),
        Verdict("max_p95_ms", 1, 0.5, True, name),
    )
    hostile = Gate(name, other, name, verdicts)
    root = ElementTree.fromstring(junit_xml(hostile).encode("utf-8"))
    assert len(root.findall("testsuite/testcase")) == 2
    assert len(root.findall("testsuite/testcase/failure")) == 1
    lines = gate_lines(hostile)
    assert [len(line.splitlines()) for line in lines] == [1] * 4
    assert all(line.isprintable() for line in lines)
    table = summary_markdown(hostile).encode("utf-8").decode().split("\n")[4:-1]
    assert len(table) == 4
    for row in table:
        # A backslash takes the character after it along; what is left are the borders of the cells.
        assert re.sub(r"\\.", "", row).count("|") == 5
