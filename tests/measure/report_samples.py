"""A comparison and whatever else a report may hold, and what is true of every page."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from affineur.artifact import Manifest, Matrix, ModelInfo, Parent
from affineur.artifact.folder import ModelFolder
from affineur.artifact.info import MatrixInfo
from affineur.entities import Entity, Scheme
from affineur.measure.analysis import analyze
from affineur.measure.benchmark_result import Batching, Benchmark, BenchmarkRow, Birth, Facts, Timing
from affineur.measure.budget import Budget, Curve, Point
from affineur.measure.comparison import Candidate, Comparison, Row, compare
from affineur.measure.example import Example
from affineur.measure.gate import Gate, Verdict
from affineur.measure.report import Report
from affineur.measure.speed import Ratio

from .conftest import corpus_of, labels_of, noisy, random_gold, tagger_of

GOLD = random_gold(random.Random(0), 60, Scheme.BIO)


LABELS = labels_of(Scheme.BIO)


CORPUS = corpus_of(GOLD, Scheme.BIO)


TAGGERS = {
    name: tagger_of(noisy(random.Random(1), GOLD, LABELS, share), LABELS)
    for name, share in (("teacher", 0.05), ("student", 0.3))
}


HOSTILE = "<script>alert(1)</script>\"'&\udcff\x00]]>-->"


VOID = {"meta", "wbr"}


OPTIONAL = ("gate", "analysis", "example", "curves", "models", "benchmark", "recipe", "commands", "notes")


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


def comparison() -> Comparison:
    found = [
        Candidate("teacher", TAGGERS["teacher"], 12, 0.0, 440_000_000),
        Candidate("student", TAGGERS["student"], 11, 0.15, 400_000_000),
    ]
    return compare(found, CORPUS, rounds=1)


def benchmarked(*names: str) -> Benchmark:
    """Speed and memory of models of these names."""
    ratio = Ratio(1.1, 1.05, 1.15)
    facts = Facts("transformers", 12, 0.0, 440_000_000)
    timings = (Timing(Batching(), 20.0, 400.0, ratio),)
    rows = [
        BenchmarkRow(name, facts, Birth(3.0, 0.5, 900_000_000, 2), 9.0, 10.0, 11.0, ratio, timings, 0.01)
        for name in names
    ]
    return Benchmark(tuple(rows), "gold", 60, 900, 60, 600, 15, (0, 1), {"description": "a machine"})


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
            types=compared.types,
            scheme=Scheme.BIO,
        ),
        "example": Example(HOSTILE, {"teacher": (Entity("PER", "Ada", 0, 3, 0.9),), "student": ()}),
        "curves": (
            Curve(
                "student",
                "dev",
                60,
                "teacher",
                0.9,
                Budget(max_drop=0.05),
                (point("magnitude", 0.1, 0.9, inside=True), point("magnitude", 0.5, 0.7)),
                methods={"magnitude": "smallest weights first"},
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
        "benchmark": benchmarked("teacher", "student"),
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


def drops(row: Row, low: float, drop: float, high: float) -> Row:
    return replace(row, drop=drop, drop_low=low, drop_high=high)


def with_row(compared: Comparison, row: Row) -> Report:
    return Report("x", replace(compared, rows=(compared.rows[0], row)))
