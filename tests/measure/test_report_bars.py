"""The bars of a report in plain words."""

from __future__ import annotations

from dataclasses import replace

from affineur.measure.bootstrap import Difference, Interval
from affineur.measure.comparison import Comparison
from affineur.measure.figures import OnDifference, OnMentions, OnWords, basis_words
from affineur.measure.gate import Gate, Verdict
from affineur.measure.report import Report
from affineur.measure.report.bars import bar_list, bar_name, outcome

from .report_samples import drops, with_row


def test_the_bars_in_words(compared: Comparison) -> None:
    good, bad, unknown = (
        Verdict("min_f1", 0.8, 0.85, True),
        Verdict("min_f1_PER", 0.8, 0.75, False),
        Verdict("max_p95_ms", 40, None, False, "why"),
    )
    assert outcome(Gate("m", "d", None, (good, good))) == "It meets all 2 bars set for it."
    assert outcome(Gate("m", "d", None, (good,))) == "It meets the only bar set for it."
    assert outcome(Gate("m", "d", None, (good, bad))) == "It misses 1 of the 2 bars set for it."
    assert outcome(Gate("m", "d", None, (bad,))) == "It misses the only bar set for it."
    assert (
        outcome(Gate("m", "d", None, (good, bad, unknown)))
        == "It misses 1 of the 3 bars set for it, and 1 was not measured."
    )
    assert (
        outcome(Gate("m", "d", None, (good, unknown)))
        == "Not shown: 1 of the 2 bars set for it was not measured."
    )
    assert outcome(Gate("m", "d", None, (unknown,))) == "Not shown: the only bar set for it was not measured."
    assert bar_name("min_f1_PER") == "F1 of PER"
    gate = Gate("student", "d", "t", (bad, unknown))
    shown = bar_list(Report("x", compared), gate)
    assert "F1 of PER: 75.00%</strong>; at least 80.00% was asked" in shown
    assert "not measured</strong>; at most 40.0 ms was asked" in shown
    assert (
        "The bars were set in the bars file, and student was checked against them on d; losses are "
        "measured against t." in shown
    )
    assert 'set <a href="#recipe">in the recipe</a>, and' in bar_list(
        Report("x", compared, recipe="a: 1"), gate
    )
    # On a narrow screen the sign stands for the word.
    assert '<span class="brief" aria-hidden="true">✗</span><span class="word">missed</span>' in shown
    assert '<span class="brief" aria-hidden="true">?</span><span class="word">no figure</span>' in shown


def test_a_drop_is_a_change_of_f1_and_an_allowed_loss(compared: Comparison) -> None:
    row = drops(compared.rows[1], -0.0899, -0.066, -0.0422)
    report, change = with_row(compared, row), Difference(0.066, 0.0422, 0.0899, 0.0)
    verdicts = (Verdict("max_drop", 0.01, -0.0422, True, OnDifference(change, 0.95, "IO")),)
    wanted = (
        "F1 against teacher: +6.60 points (95\u00a0%: +4.22 to +8.99)</strong>; a loss of at most 1.00 "
        "was allowed</span>"
    )
    assert wanted in bar_list(report, Gate("student", "d", "teacher", verdicts))
    # Figures of another model, against another baseline or with another confidence stay what the gate says.
    for model, baseline, upper in (
        ("other", "teacher", -0.0422),
        ("student", "other", -0.0422),
        ("student", "teacher", -0.03),
    ):
        shown = bar_list(report, Gate(model, "d", baseline, (replace(verdicts[0], measured=upper),)))
        assert (
            f"F1 against {baseline}: at least {-upper * 100:.2f} points gained</strong>; a loss of at most "
            "1.00 was allowed" in shown
        )
        assert "<small>drop -6.60 points, 95 %: -8.99 to -4.22</small>" in shown
    lost = bar_list(report, Gate("other", "d", "teacher", (Verdict("max_drop_PER", 0.01, 0.02, False),)))
    assert "F1 of PER against teacher: at most 2.00 points lost</strong>" in lost
    kinds = row.per_type | {"PER": replace(row.per_type["PER"], drop=0.01, drop_low=0.0, drop_high=0.02)}
    own = bar_list(
        with_row(compared, replace(row, per_type=kinds)),
        Gate("student", "d", "teacher", (Verdict("max_drop_PER", 0.01, 0.02, False),)),
    )
    assert "F1 of PER against teacher: -1.00 points (95\u00a0%: -2.00 to +0.00)</strong>" in own
    none = bar_list(
        report,
        Gate(
            "student", "d", "teacher", (Verdict("max_drop", 0.01, None, False, "not measured: no baseline"),)
        ),
    )
    assert "F1 against the baseline: not measured</strong>; at most 1.00 points was asked" in none


def test_details_without_jargon() -> None:
    mentions = OnMentions(9, "IO", 60, Interval(0.5, 0.01, 0.02), 0.95)
    words = OnWords(5, 9, 8 / 9)
    difference = OnDifference(Difference(-0.01, -0.02, -0.005, 0.5), 0.9, "BIOES", ("LOC",))
    for basis, full, brief in (
        (mentions, "95 %: 1.00% to 2.00%; 9 gold mentions in IO", "95 %: 1.00% to 2.00%; 9 gold mentions"),
        (
            replace(mentions, lower_end=True),
            "F1 50.00%, 95 %: 1.00% to 2.00%; 9 gold mentions in IO",
            "F1 50.00%, 95 %: 1.00% to 2.00%; 9 gold mentions",
        ),
        (
            replace(mentions, interval=None, sentences=5),
            "9 gold mentions in IO; too few sentences for an interval (5, needs 10)",
            "9 gold mentions; too few sentences for an interval (5, needs 10)",
        ),
        (words, "5 of 9 words, tags as they are; after repair 88.89%", "5 of 9 words"),
        (
            difference,
            "upper end; drop 1.00 points, 90 %: 0.50 to 2.00, in BIOES; over LOC",
            "drop 1.00 points, 90 %: 0.50 to 2.00; over LOC",
        ),
        ("no gold mention in IOWA", "no gold mention in IOWA", "no gold mention in IOWA"),
    ):
        assert basis_words(basis) == full
        assert basis_words(basis, brief=True) == brief
