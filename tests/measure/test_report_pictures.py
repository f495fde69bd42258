"""The pictures of a report: true positions, what is said of them, and colors that can be read."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from typing import Any

from affineur.measure.budget import Budget, Curve
from affineur.measure.comparison import Comparison
from affineur.measure.report import Report, report_html
from affineur.measure.report.curve import draw

from .conftest import TYPES
from .report_samples import (
    Tree,
    check,
    everything,
    point,
)


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
        "By their estimates, student beats all others on both size and F1; no other beats student on "
        "speed or F1.",
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
        "For a drop that is the interval of the difference to teacher on the same sentences, not the "
        "shaded one" in both
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
