"""The answers a report begins with, case by case."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from affineur.measure.analysis import Analysis, Confusion
from affineur.measure.comparison import Comparison, Row, TypeRow
from affineur.measure.gate import Gate, Verdict
from affineur.measure.report import Report, report_html, verdict
from affineur.measure.report.alternatives import (
    errors_moved,
)
from affineur.measure.report.answers import answers, zeros_note

from .report_samples import drops, info, with_row


@pytest.mark.parametrize(
    ("interval", "first", "second"),
    [
        ((-0.03, -0.02, -0.01), "Yes: better by 1.00 to 3.00 points of F1.", "2.00 points of F1 gained"),
        (
            (-0.001, 0.001, 0.004),
            "Yes: not worse by more than 0.5 points of F1.",
            "No change of F1 that the data can show",
        ),
        (
            (0.001, 0.002, 0.004),
            "Yes: not worse by more than 0.5 points of F1, though by 0.10 to 0.40.",
            "0.20 points of F1 lost",
        ),
        ((0.001, 0.01, 0.02), "No: worse by 0.10 to 2.00 points of F1.", "1.00 points of F1 lost"),
        (
            (-0.01, 0.001, 0.02),
            "Not shown: up to 2.00 points of F1 may be lost.",
            "No change of F1 that the data can show",
        ),
    ],
)
def test_what_the_interval_allows_to_say(
    compared: Comparison, interval: tuple[float, float, float], first: str, second: str
) -> None:
    report = with_row(compared, drops(compared.rows[1], *interval))
    found = answers(report)
    assert found[0].question == "Is it as good as teacher?"
    assert found[0].short == first
    assert found[1].short.startswith(second)
    unsure = interval[0] <= 0 <= interval[2] and interval[1] != 0
    assert ("which the data cannot tell from no change" in verdict(report)) == unsure


def test_few_sentences_allow_nothing(compared: Comparison) -> None:
    assert (
        answers(Report("x", replace(compared, sentences=5)))[0].short == "Not shown: 5 sentences cannot tell."
    )


def test_neither_smaller_nor_faster(compared: Comparison) -> None:
    row = replace(
        compared.rows[1],
        size_bytes=compared.rows[0].size_bytes,
        speedup=1.0,
        speedup_low=0.99,
        speedup_high=1.02,
    )
    assert answers(with_row(compared, row))[1].short.endswith("; neither smaller nor faster.")
    unclear = answers(with_row(compared, replace(row, speedup_low=0.6)))[1]
    assert unclear.short.endswith("; the same size, speed not measured well enough to tell.")
    assert (
        '<dd class="change">not measured well enough to tell</dd><dd>1.00× the sentences a second</dd>'
        in unclear.detail
    )
    assert "99 %: 0.60 to 1.02" in unclear.detail


def test_zeros_in_a_dense_file_gain_nothing(compared: Comparison) -> None:
    first, row = compared.rows
    assert zeros_note(with_row(compared, replace(row, sparsity=1e-6))) == ""
    assert zeros_note(with_row(compared, row)) == "15.0% of its attention and feed-forward weights are zero."
    twin = replace(row, model="plain", sparsity=0.0)
    said = zeros_note(Report("x", replace(compared, rows=(first, twin, row))))
    assert "plain, without zeros, is as large. Zeros alone made it neither smaller nor faster." in said
    report = replace(with_row(compared, row), models={"student": info()})
    assert zeros_note(report).startswith(
        "15.0% of its attention and feed-forward weights are zero, 5.0% of the whole model. Its file "
        "stores them"
    )
    packed = replace(with_row(compared, row), models={"student": info(kind="packed")})
    assert zeros_note(packed).endswith("of the whole model.")


def typed(row: Row, **scores: tuple[float, int]) -> Row:
    blank = next(iter(row.per_type.values()))

    def one(f1: float, support: int) -> TypeRow:
        return replace(blank, f1=f1, support=support, drop=0.0, drop_low=0.0, drop_high=0.0)

    return replace(row, per_type={kind: one(*pair) for kind, pair in scores.items()})


def test_where_it_fails(compared: Comparison) -> None:
    row = compared.rows[1]
    assert (
        answers(with_row(compared, typed(row, LOC=(0.9, 50), PER=(0.25, 70), DATE=(0.0, 0))))[2].short
        == "Most on PER: F1 25.0%."
    )
    assert (
        answers(with_row(compared, typed(row, LOC=(0.9, 5), PER=(0.25, 7))))[2].short
        == "Too few mentions of any type to say: fewer than 20 of each."
    )
    assert (
        answers(with_row(compared, typed(row, PER=(0.25, 70))))[2].short == "On PER, the only type: F1 25.0%."
    )
    assert answers(with_row(compared, typed(row, PER=(1.0, 7))))[2].short.startswith("Nowhere in this data")
    assert len(answers(with_row(compared, typed(row)))) == 2
    lost = typed(row, PER=(0.5, 7))
    lost = replace(
        lost, per_type={"PER": replace(lost.per_type["PER"], drop=0.03, drop_low=0.01, drop_high=0.05)}
    )
    assert (
        "Clearly worse than teacher on PER, by 1.00 to 5.00 points of F1."
        in answers(with_row(compared, lost))[2].detail
    )


def test_the_verdict_names_bars_and_other_models(compared: Comparison) -> None:
    missed = Gate(
        "student", "d", None, (Verdict("min_f1", 0.9, 0.8, False), Verdict("max_drop", 0.1, 0.01, True))
    )
    assert verdict(Report("x", compared, gate=missed)).endswith("; misses 1 of 2 bars.")
    assert verdict(
        Report("x", compared, "student", gate=replace(missed, model="other", verdicts=missed.verdicts[1:]))
    ).endswith("; other meets its only bar.")
    assert "9% smaller" in verdict(Report("x", compared))


def confusion_of(
    confused: list[list[int]], boundary: list[int], missed: list[int], invented: list[int]
) -> Confusion:
    return Confusion(
        ("A", "B"), *(np.array(part, np.int64) for part in (confused, boundary, missed, invented))
    )


def test_errors_that_went_up_and_down_are_said(compared: Comparison) -> None:
    ours, theirs = (
        confusion_of([[5, 1], [2, 5]], [3, 3], [1, 0], [9, 0]),
        confusion_of([[5, 1], [2, 5]], [1, 1], [1, 4], [4, 0]),
    )
    analysis = Analysis("student", "teacher", ours, theirs, 0.9, 5, 1, 1, ())
    report = Report("x", compared, analysis=analysis)
    assert errors_moved(report) == [
        "More errors of these kinds than the baseline: invented entities 4 → 9 and wrong boundaries 2 → 6.",
        "Fewer of these: missed entities 5 → 1.",
    ]
    assert "wrong boundaries 2 → 6" in answers(report)[1].detail
    assert errors_moved(replace(report, analysis=replace(analysis, baseline_confusion=ours))) == []
    assert errors_moved(replace(report, analysis=replace(analysis, model="other"))) == []
    assert errors_moved(Report("x", compared)) == []


def test_kinds_are_ranked_by_share_not_by_count(compared: Comparison) -> None:
    # 20 of 200 A are missed, but 6 of 10 B have a wrong boundary.
    found = confusion_of([[175, 0], [1, 3]], [5, 6], [20, 0], [0, 2])
    analysis = Analysis("student", "teacher", found, found, 0.9, 5, 1, 1, ())
    detail = answers(Report("x", compared, analysis=analysis))[2].detail
    wanted = [  # what was missed first, the others by their share
        "Missed: 20</strong> of 210 gold mentions, all of them A (20 of 200 A, 10%)",
        "Wrong boundary: 11</strong> of 210 gold mentions, most of all B (6 of 10 B, 60%)",
        "Invented: 2</strong> marks that touch no gold mention, all of them B (2, beside 10 gold mentions "
        "of it)",
        "Wrong type: 1</strong> of 210 gold mentions, all of them B taken for A (1 of 10 B, 10%)",
    ]
    places = [detail.index(line) for line in wanted]
    assert places == sorted(places)
    nothing = confusion_of([[175, 0], [0, 0]], [0, 0], [0, 0], [0, 2])
    detail = answers(Report("x", compared, analysis=replace(analysis, confusion=nothing)))[2].detail
    assert "all of them B (2, and no gold mention of it)" in detail


def test_what_it_finds_in_plain_words(compared: Comparison) -> None:
    def said(recall: float, precision: float) -> str:
        return answers(with_row(compared, replace(compared.rows[1], recall=recall, precision=precision)))[
            0
        ].plain

    assert (
        said(0.5, 0.44)
        == "It finds 50 of every 100 entities; of every 100 it marks, 44 are right and 56 wrong."
    )
    assert (
        said(0.999, 0.001)
        == "It finds 99 of every 100 entities; of every 100 it marks, 1 is right and 99 wrong."
    )
    assert said(1.0, 1.0) == "It finds every entity; all it marks are right."
    assert said(0.0, 0.0) == "It finds none of the entities."
    page = report_html(
        Report("x", compared, gate=Gate("student", "d", None, (Verdict("min_f1", 0.8, 0.85, True),)))
    )
    assert (
        page.index("It meets the only bar") < page.index('class="plain">It finds') < page.index("F1: 85.00%")
    )


def test_types_stand_beside_those_of_the_baseline(compared: Comparison) -> None:
    row = typed(replace(compared.rows[1], f1=0.6), LOC=(0.9, 5), PER=(0.25, 7), ORG=(0.5, 3), DATE=(0.65, 2))
    near = {
        kind: replace(one, f1_low=one.f1 - 0.2, f1_high=one.f1 + 0.2) for kind, one in row.per_type.items()
    }
    first = replace(
        compared.rows[0],
        per_type=typed(compared.rows[0], LOC=(0.8, 5), PER=(0.7, 7), ORG=(0.4, 3), DATE=(0.5, 2)).per_type,
    )

    def lines(kinds: dict[str, TypeRow]) -> list[str]:
        detail = answers(Report("x", replace(compared, rows=(first, replace(row, per_type=kinds)))))[2].detail
        return re.findall("<li><strong>([A-Z]+): F1", detail)

    assert lines(near) == ["PER"]  # the only one whose interval lies below
    wide = {kind: replace(one, f1_high=1.0) for kind, one in near.items()}
    assert lines(wide) == ["PER", "ORG"]
    detail = answers(Report("x", replace(compared, rows=(first, replace(row, per_type=near)))))[2].detail
    assert "PER: F1 25.0%</strong> (95\u00a0%: 5.0% to 45.0%) on 7 gold mentions; teacher has 70.0%" in detail
