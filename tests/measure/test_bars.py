"""Bars as people write them: read in order, refused in one line where nobody can mean them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from affineur.errors import RecipeError
from affineur.measure import (
    Bars,
    parse_bars,
    read_bars,
)
from affineur.measure.bar_table import ENDPOINT, MODEL, bars_markdown, spellings

GUIDE = Path(__file__).parents[2] / "bars" / "guide.yaml"
FORMATS = GUIDE.parents[1] / "docs" / "formats.md"


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
        bars = Bars(((bar, 0.4),))
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
            "max_p95_ms: 60\nmin_f1_PER: .9 # of one type\nmin_f1: 0.84\nconfidence: 0.9\nmax_size_bytes: "
            "200_000_000\n",
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
    assert known == set(spellings())


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
        (
            "min_f1: 0.84\nmax_drop: 0.1\nmin_f1: 0.1\n",
            "bars.yaml is not YAML (line 3, column 1: the key 'min_f1' is there twice)",
        ),
        (
            "min_f: 0.84",
            "unknown bar 'min_f'; did you mean 'min_f1'? (known: min_f1, min_f1_TYPE, min_f1_low",
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
            "'max_drop' is 1.5, expected a share below 0.5 (0.01 is one point of F1), or points, such as "
            "'1 point'; write 0.015",
        ),
        ("max_drop: -0.01", "'max_drop' is -0.01"),
        ("max_size_bytes: 200 MB", "'max_size_bytes' is '200 MB', expected a number of bytes, 0 or more"),
        ("max_size_bytes: -1", "'max_size_bytes' is -1"),
        (f"max_size_bytes: {10**300}", "'max_size_bytes' is beyond any bar"),
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
    with pytest.raises(RecipeError, match="its aliases stand for more than"):
        read_bars(write(tmp_path, text))


def test_bars_of_a_recipe_name_their_place() -> None:
    assert parse_bars({"min_f1": 0.84}, "r.yaml: bars").limits == (("min_f1", 0.84),)
    with pytest.raises(RecipeError, match=r"^r\.yaml: bars: unknown bar 'min_g1'; did you mean 'min_f1'"):
        parse_bars({"min_g1": 0.84}, "r.yaml: bars")


def test_the_documentation_says_what_each_bar_is_checked_against() -> None:
    assert bars_markdown() in FORMATS.read_text("utf-8")


def test_every_bar_says_by_its_name_whether_it_is_a_floor_or_a_ceiling() -> None:
    for bar in (*MODEL.values(), *ENDPOINT.values()):
        assert bar.reach == {"min": "at least", "max": "at most"}[bar.name[:3]]
    for name in MODEL.keys() & ENDPOINT.keys():
        assert (MODEL[name].unit, MODEL[name].reach) == (ENDPOINT[name].unit, ENDPOINT[name].reach)
