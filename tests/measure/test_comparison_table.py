"""What the table says: cells, verdicts, notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from affineur.entities import Corpus
from affineur.measure import (
    COLUMNS,
    Candidate,
    Comparison,
    Difference,
    compare,
    comparison_cells,
    evaluate,
    footnotes,
    in_words,
    markdown,
)

from .comparison_samples import GOLD
from .comparison_samples import candidates as candidates
from .comparison_samples import corpus as corpus
from .comparison_samples import found as found


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (0.02, 0.01, 0.03, "new is better than old by 1.00 to 3.00 points (95 %)"),
        (0.001, -0.004, 0.006, "new is not worse than old by more than 0.5 points (95 %)"),
        (0.0, -0.005, 0.005, "new is not worse than old by more than 0.5 points (95 %)"),
        (
            -0.003,
            -0.0045,
            -0.001,
            "new is not worse than old by more than 0.5 points (95 %), though worse by 0.10 to 0.45",
        ),
        (-0.02, -0.03, -0.01, "new is worse than old by 1.00 to 3.00 points (95 %)"),
        (
            0.001,
            -0.0051,
            0.007,
            "new cannot be told from old, nor shown to lose less than 0.5 points: up to 0.51 are possible "
            "(95 %)",
        ),
        (
            -0.02,
            -0.04,
            0.0,
            "new cannot be told from old, nor shown to lose less than 0.5 points: up to 4.00 are possible "
            "(95 %)",
        ),
    ],
)
def test_what_an_interval_allows_to_say(value: float, low: float, high: float, words: str) -> None:
    assert in_words("new", "old", Difference(value, low, high, 0.5), 0.005) == words


def test_two_models_that_are_the_same(
    found: Comparison, candidates: Sequence[Candidate], corpus: Corpus
) -> None:
    with_mention = sum(any(tag != "O" for tag in tags) for tags in GOLD)
    unseen = 1 - 0.025 ** (1 / with_mention)
    assert found.rows[1].drop_high == pytest.approx(unseen)
    said = (
        "same cannot be told from teacher, nor shown to lose less than 0.5 points: up to "
        f"{unseen * 100:.2f} are possible (95 %)"
    )
    assert [row.verdict for row in found.rows[:2]] == [
        "",
        f"{said}; on each of these sentences they score the same",
    ]
    ready = compare(candidates[:2], corpus, rounds=1, margin=unseen + 1e-9).rows[1].verdict
    assert ready.startswith("same is not worse than teacher by more than ")
    assert ready.endswith(" points (95 %); on each of these sentences they score the same")


def test_the_margin_decides_what_is_said(
    found: Comparison, candidates: Sequence[Candidate], corpus: Corpus
) -> None:
    assert found.margin == 0.005
    assert found.rows[2].verdict.startswith("a|b is worse than teacher by ")
    ready = compare(candidates, corpus, rounds=1, margin=0.9)
    assert ready.as_dict()["margin"] == 0.9
    assert ready.rows[2].verdict.startswith(
        "a|b is not worse than teacher by more than 90 points (95 %), though worse by "
    )


def test_cells(found: Comparison) -> None:
    first, _, bad = comparison_cells(found)
    assert len(first) == len(bad) == len(COLUMNS)
    assert dict(zip(COLUMNS, first, strict=True)) | {
        "Sentences/s": "",
        "F1": "",
        "95 %": "",
        "Accuracy": "",
    } == {
        "Model": "teacher",
        "Layers": "12",
        "Sparsity": "0.0%",
        "Size": "440 MB",
        "F1": "",
        "95 %": "",
        "ΔF1 (95 %)": "–",
        "Accuracy": "",
        "Sentences/s": "",
        "Speed": "1.00×",
        "Memory": "2000 MB",
    }
    row = found.rows[2]
    cells = dict(zip(COLUMNS, bad, strict=True))
    assert (cells["Sparsity"], cells["Size"], cells["Memory"]) == ("15.0%", "9.6 MB", "99.0 MB")
    assert cells["F1"] == f"{row.f1 * 100:.2f}%"
    assert cells["ΔF1 (95 %)"].startswith(f"-{row.drop * 100:.2f} (-{row.drop_high * 100:.2f} … -")
    assert cells["Speed"] == f"{row.speedup:.2f}×"
    assert comparison_cells(found)[1][-1] == "–"


def test_no_zero_has_a_minus(found: Comparison) -> None:
    """The teacher again, and losses and gains too small to be seen."""
    place = COLUMNS.index("ΔF1 (95 %)")
    assert comparison_cells(found)[1][place].startswith("+0.00 (-")
    for tiny in (0.0, -0.0, 4e-5, -4e-5, 1e-17):
        row = replace(found.rows[2], drop=tiny, drop_low=tiny, drop_high=tiny)
        assert (
            comparison_cells(replace(found, rows=(found.rows[0], row)))[1][place] == "+0.00 (+0.00 … +0.00)"
        )
    assert "-0.00" not in markdown(found)


def test_markdown_has_a_cell_for_each_column_even_with_a_bar_in_a_name(found: Comparison) -> None:
    lines = markdown(found).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3
    for line in table:
        assert line.replace("\\|", "").count("|") == len(COLUMNS) + 1
    assert table[1].split("|")[1:3] == [" --- ", " ---: "]
    assert "| a\\|b |" in table[4]
    assert [line for line in lines if line.startswith("- ")] == [f"- {note}" for note in footnotes(found)]


def test_steps_are_to_the_row_above(
    candidates: Sequence[Candidate], corpus: Corpus, found: Comparison
) -> None:
    first, second, third = found.rows
    assert (first.step, second.step) == (
        None,
        None,
    )  # the first has none above it, the second's is its difference to the baseline
    oracle = evaluate(candidates[2].tagger, corpus).minus(evaluate(candidates[1].tagger, corpus))
    assert third.step is not None
    assert (third.step.above, third.step.drop, third.step.p_value) == ("same", -oracle.value, oracle.p_value)
    assert (third.step.drop_low, third.step.drop_high) == (-oracle.high, -oracle.low)


def test_footnotes(found: Comparison) -> None:
    notes = footnotes(found)
    assert (
        notes[0]
        == f"60 sentences, {found.words} words of gold; types LOC, MISC, ORG, PER; mentions compared in BIO."
    )
    assert notes[-1] == found.machine["description"] + "."
    assert notes[1:3] == [f"{row.verdict}." for row in found.rows[1:]]
    assert notes[3].startswith("Each against the row above it: a|b -")
    assert "95 % bootstrap interval over sentences." in notes[4]
    assert not [note for note in notes if "Left out" in note]
    assert not [note for note in notes if "merge" in note]
    assert "3 gold mentions touch another of their type and merge with it in IO." in footnotes(
        replace(found, merged=3, scheme="IO")
    )
