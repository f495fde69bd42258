"""Each bar passes, and is missed for its own reason; bars nobody can mean are refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
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
    read_bars,
    summary_markdown,
)
from affineur.measure.bars import BARS
from affineur.measure.gate import gate_cells, judge

from .conftest import corpus_of, labels_of, tagger_of

KINDS = ("LOC", "ORG", "PER")  # ORG is known to the model, and has no gold mention
GUIDE = Path(__file__).parents[2] / "bars" / "guide.yaml"


def scores(per: int, loc: int, each: int = 100, kinds: Sequence[str] = KINDS) -> Evaluation:
    """So many of ``each`` mentions found, the others in the wrong place: F1 is found ÷ each."""
    gold = [[f"I-{kind}", "O", "O"] for kind in ("PER", "LOC") for _ in range(each)]
    wrong = [["O", f"I-{kind}", "O"] for kind in ("PER", "LOC") for _ in range(each)]
    found = [gold[i] if i % each < (per if i < each else loc) else wrong[i] for i in range(2 * each)]
    return evaluate(
        tagger_of(found, labels_of(Scheme.IO, kinds)),
        corpus_of(gold),
        [kind for kind in KINDS if kind in kinds],
    )


OURS, THEIRS = scores(86, 82), scores(90, 82)  # F1 .84, .86
MEASURED = Measures(OURS, THEIRS, 200_000_000, 10.0, 20.0, 30.0, 1_500_000_000, 50.0, 0.99, "parent")


def one(bar: str, limit: float, measures: Measures = MEASURED) -> Verdict:
    gate = judge(Bars(((bar, limit),)), measures, "model", "gold", "teacher")
    assert gate.passed is gate.verdicts[0].passed
    return gate.verdicts[0]


#: Bar, the figure, a limit just beyond it, and what the line says.
FIGURES = [
    ("min_f1", 0.84, 0.8401, "200 gold mentions in IO"),
    ("min_f1_PER", 0.86, 0.8601, "100 gold mentions in IO"),
    ("min_f1_LOC", 0.82, 0.8201, "100 gold mentions in IO"),
    ("min_f1_low", OURS.interval().low, 0.84, "F1 84.00%"),
    ("min_accuracy", 1 - 2 * 32 / 600, 0.9, "536 of 600 words in IO"),
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
    cells = gate_cells(Gate("m", "d", None, (missed,)))[0]
    assert (cells[0], cells[1], cells[3]) == ("MISS", bar, "<" if bar.startswith("min_") else ">")
    assert cells[2] != cells[4], "the comparison can be seen to be true"


def test_every_bar_is_tested() -> None:
    tested = {bar.replace("_PER", "_TYPE").replace("_LOC", "_TYPE") for bar, *_ in FIGURES}
    assert tested == set(BARS)


def test_one_missed_bar_misses_the_gate_and_the_others_still_pass() -> None:
    for place, (_, _, beyond, _) in enumerate(FIGURES):
        limits = [(name, beyond if i == place else figure) for i, (name, figure, _, _) in enumerate(FIGURES)]
        gate = judge(Bars(tuple(limits)), MEASURED, "model", "gold", "teacher")
        assert [verdict.bar for verdict in gate.verdicts if not verdict.passed] == [FIGURES[place][0]]
        assert str(gate) == f"missed: 1 of {len(FIGURES)} bars ({FIGURES[place][0]})"


def test_a_drop_of_exactly_the_limit_passes_whatever_floating_point_makes_of_it() -> None:
    # Every sentence is alike, so the interval has no width; 0.8 - 0.5 is a little more than 0.3 in binary.
    def alike(found: int) -> Evaluation:
        counts = np.tile([[[found, 10, 10]]], (20, 1, 1))
        return replace(OURS, types=("PER",), counts=counts)

    verdict = one("max_drop", 0.3, Measures(alike(5), alike(8)))
    assert verdict.measured is not None
    assert verdict.measured > 0.3
    assert verdict.passed
    assert not one("max_drop", 0.3 - 1e-9, Measures(alike(5), alike(8))).passed


def test_max_drop_looks_at_the_end_of_the_interval_and_confidence_moves_it() -> None:
    estimate = 0.02
    ends = []
    for confidence in (0.5, 0.95, 0.999):
        verdict = judge(Bars((("max_drop", estimate),), confidence), MEASURED, "m", "d", "t").verdicts[0]
        assert verdict.measured is not None
        assert f"{confidence * 100:g} %" in verdict.detail
        ends.append(verdict.measured)
    assert estimate < ends[0] < ends[1] < ends[2]
    low = [
        judge(Bars((("min_f1_low", 0.5),), c), MEASURED, "m", "d").verdicts[0].measured for c in (0.5, 0.999)
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
    for limit in (0, 1):
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
    verdict = one("max_drop", 1, replace(MEASURED, baseline=narrow))
    assert verdict.measured == one("max_drop", 1).measured
    assert "over LOC, PER" in verdict.detail
    alone = replace(THEIRS, types=("DATE",), counts=THEIRS.counts[:, :1])
    assert "no type in common with teacher" in one("max_drop", 1, replace(MEASURED, baseline=alone)).detail


def test_scores_of_other_sentences_do_not_pair() -> None:
    with pytest.raises(ParameterError, match="not the same sentences"):
        one("max_drop", 1, replace(MEASURED, baseline=scores(45, 40, 50)))


@pytest.mark.parametrize(
    ("bar", "wanted"),
    [
        (
            "min_f1_PERS",
            "'min_f1_PERS' names a type 'PERS', but the types scored are LOC, ORG, PER; did you mean 'min_f1_PER'?",
        ),
        ("min_f1_per", "did you mean 'min_f1_PER'?"),
        ("max_drop_loc", "did you mean 'max_drop_LOC'?"),
        ("min_f1_lo", "did you mean 'min_f1_low'?"),
        ("min_f1_DATE", "the types scored are LOC, ORG, PER"),
    ],
)
def test_unknown_types_are_refused_by_name(bar: str, wanted: str) -> None:
    with pytest.raises(RecipeError) as caught:
        one(bar, 0.5)
    assert wanted in str(caught.value)


def test_bars_say_what_they_need() -> None:
    needs = {
        "min_f1": "scores",
        "min_f1_low": "scores",
        "min_f1_PER": "scores",
        "min_accuracy": "scores",
        "max_drop": "scores baseline",
        "max_drop_PER": "scores baseline",
        "max_size_bytes": "",
        "max_p50_ms": "load",
        "max_p95_ms": "load",
        "max_p99_ms": "load",
        "max_peak_rss_bytes": "load",
        "min_sentences_per_second": "load",
        "min_agreement": "agreement",
    }
    for bar, expected in needs.items():
        bars = Bars(((bar, 0.5),))
        found = {
            need for need in ("scores", "baseline", "load", "agreement") if getattr(bars, f"needs_{need}")
        }
        assert found == set(expected.split()), bar


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "bars.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_bars_are_read_in_their_order(tmp_path: Path) -> None:
    bars = read_bars(
        write(
            tmp_path,
            "max_p95_ms: 60\nmin_f1_PER: .9 # of one type\nmin_f1: 0.84\nconfidence: 0.9\nmax_size_bytes: 200_000_000\n",
        )
    )
    assert bars.limits == (
        ("max_p95_ms", 60),
        ("min_f1_PER", 0.9),
        ("min_f1", 0.84),
        ("max_size_bytes", 200_000_000),
    )
    assert (bars.confidence, bars.where) == (0.9, str(tmp_path / "bars.yaml"))
    assert read_bars(write(tmp_path, "min_f1: 1\nmax_drop: 0")).confidence == 0.95


def test_the_guides_own_bars() -> None:
    assert read_bars(GUIDE).limits == (("min_f1", 0.84),)


def test_the_examples_in_the_guides_bars_are_valid_and_complete() -> None:
    text = GUIDE.read_text("utf-8")
    bars = yaml.safe_load(
        "\n".join(
            line.removeprefix("# ")
            for line in text.splitlines()
            if ":" in line and ("_" in line or "confidence:" in line)
        )
    )
    assert isinstance(bars, dict)
    parsed = parse_bars(bars, "guide")
    known = {bar.replace("_PER", "_TYPE").replace("_ORG", "_TYPE") for bar, _ in parsed.limits}
    assert known == set(BARS)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "is empty, expected bars such as min_f1: 0.84"),
        ("# nothing\n", "is empty"),
        ("{}", "no bar is set"),
        ("confidence: 0.9", "no bar is set"),
        ("- min_f1: 0.84", "is not a mapping"),
        ("0.84", "is not a mapping"),
        ("min_f1: [0.84", "is not YAML"),
        ("min_f1: 0.84\n---\nmax_drop: 0.1\n", "is not YAML"),
        ("min_f1: 2024-99-99\n", "is not YAML"),
        ("? [min_f1]\n: 0.84\n", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        (b"min_f1: \xe9", "is not YAML"),
        (b"\x00", "is not YAML"),
        ("min_f1: 0.84\nmax_drop: 0.1\nmin_f1: 0.1\n", "bars.yaml:3: the bar 'min_f1' is there twice"),
        (
            "min_f: 0.84",
            "unknown bar 'min_f'; did you mean 'min_f1'? (known: min_f1, min_f1_low, min_f1_TYPE",
        ),
        ("max_latency_p95_ms: 9", "did you mean 'max_p95_ms'?"),
        ("min_recall: 0.9", "unknown bar 'min_recall'"),
        ("min_f1_: 0.9", "unknown bar 'min_f1_'; did you mean 'min_f1"),
        ("confidense: 0.9", "did you mean 'confidence'?"),
        ("1: 0.9", "unknown bar '1'"),
        ('"a\\nb": 0.9', "unknown bar 'a b'"),
        ("min_f1: yes", "'min_f1' is true or false, expected a share from 0 to 1"),
        ("min_f1:", "'min_f1' is empty, expected a share"),
        ("min_f1: high", "'min_f1' is 'high', expected a share"),
        ("min_f1: 84 %", "'min_f1' is '84 %', expected a share from 0 to 1; write 0.84"),
        ("min_f1: '0,84'", "; write 0.84"),
        ("min_f1: 84", "'min_f1' is 84, expected a share from 0 to 1; write 0.84"),
        ("min_f1: [0.84]", "'min_f1' is a list"),
        ("min_f1: {PER: 0.84}", "'min_f1' is a mapping"),
        ("min_f1: 2024-01-01", "'min_f1' is a date"),
        ("min_f1_PER: -0.1", "'min_f1_PER' is -0.1"),
        ("min_f1: .nan", "'min_f1' is nan"),
        ("max_p95_ms: .inf", "'max_p95_ms' is inf, expected milliseconds, 0 or more"),
        ("max_p95_ms: 1e3", "'max_p95_ms' is '1e3', expected milliseconds, 0 or more; write 1000"),
        (
            "max_drop: 1.5",
            "'max_drop' is 1.5, expected a share from 0 to 1 (0.01 is one point of F1); write 0.015",
        ),
        ("max_drop: -0.01", "'max_drop' is -0.01"),
        ("max_size_bytes: 200 MB", "'max_size_bytes' is '200 MB', expected a number of bytes, 0 or more"),
        ("max_size_bytes: -1", "'max_size_bytes' is -1"),
        (f"max_size_bytes: {10**400}", "'max_size_bytes' is beyond any bar"),
        (f"max_size_bytes: {'9' * 5000}", "is not YAML"),
        ("min_agreement: 1.01", "'min_agreement' is 1.01"),
        (
            "min_f1: 0.8\nconfidence: 95",
            "'confidence' is 95, expected at least 0.5 and less than 1, such as 0.95; write 0.95",
        ),
        ("min_f1: 0.8\nconfidence: 1", "'confidence' is 1, expected"),
        ("min_f1: 0.8\nconfidence: 0.3", "'confidence' is 0.3"),
        ("min_f1: 0.8\nconfidence: .nan", "'confidence' is nan"),
        (f"min_f1: {'x' * 1000}", "xxx…"),
    ],
)
def test_impossible_bars_are_one_line_naming_file_and_key(
    text: str | bytes, wanted: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError) as caught:
        read_bars(write(tmp_path, text))
    said = str(caught.value)
    assert wanted in said
    assert str(tmp_path / "bars.yaml") in said
    assert len(said.splitlines()) == 1
    assert len(said) < 700


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(RecipeError, match="cannot be read") as caught:
            read_bars(path)
        assert str(path) in str(caught.value)


def test_aliases_that_would_grow_without_end_are_no_bar(tmp_path: Path) -> None:
    text = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    with pytest.raises(RecipeError, match="unknown bar 'a0'"):
        read_bars(write(tmp_path, text))


def test_bars_of_a_recipe_name_their_place() -> None:
    assert parse_bars({"min_f1": 0.84}, "r.yaml: bars").limits == (("min_f1", 0.84),)
    with pytest.raises(RecipeError, match=r"^r\.yaml: bars: unknown bar 'min_g1'; did you mean 'min_f1'"):
        parse_bars({"min_g1": 0.84}, "r.yaml: bars")


@pytest.fixture
def gate() -> Gate:
    return judge(
        parse_bars({"min_f1": 0.84, "min_f1_ORG": 0.5, "max_size_bytes": 150e6}, "bars"),
        MEASURED,
        "student",
        "gold",
        "teacher",
    )


def test_as_dict_has_stable_keys(gate: Gate) -> None:
    found = json.loads(json.dumps(gate.as_dict(), allow_nan=False))
    assert list(found) == ["model", "data", "baseline", "passed", "bars"]
    assert (found["model"], found["data"], found["baseline"], found["passed"]) == (
        "student",
        "gold",
        "teacher",
        False,
    )
    assert [list(bar) for bar in found["bars"]] == [["bar", "limit", "measured", "passed", "detail"]] * 3
    assert [(bar["bar"], bar["limit"], bar["measured"], bar["passed"]) for bar in found["bars"]] == [
        ("min_f1", 0.84, 0.84, True),
        ("min_f1_ORG", 0.5, None, False),
        ("max_size_bytes", 150e6, 200_000_000, False),
    ]


def test_lines_for_the_terminal(gate: Gate) -> None:
    interval = OURS.interval()
    assert gate_lines(gate) == [
        "student on gold, against teacher",
        f"pass  min_f1            84.00% ≥ 84.00%    95 %: {interval.low:.2%} to {interval.high:.2%}; 200 gold mentions in IO",
        "MISS  min_f1_ORG             – ≥ 50.00%    no gold mention of ORG in gold",
        "MISS  max_size_bytes  200.0 MB > 150.0 MB  weights",
        "missed: 2 of 3 bars (min_f1_ORG, max_size_bytes)",
    ]
    passed = judge(parse_bars({"min_f1": 0.84}, "bars"), MEASURED, "student", "gold")
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
    assert tuple(gate_cells(Gate("m", "d", None, (Verdict(bar, limit, measured, passed),)))[0][2:5]) == shown


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
