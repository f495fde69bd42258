"""The picture beside the model that a sweep writes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from affineur.measure import Budget, Curve, Sweep
from affineur.measure.report.picture import picture
from affineur.pipeline import Plan
from affineur.transfer import Splits

from .sweeping import (
    GRID,
    swept,
)


@pytest.fixture
def found(trained: Path, data: Splits, tmp_path: Path) -> Iterator[Sweep]:
    return swept(trained, tmp_path / "out", data, Plan(Budget(max_drop=0.1), ("magnitude", "wanda"), GRID))


def test_the_picture_stands_alone(found: Sweep) -> None:
    text = (found.out / "sweep.svg").read_text()
    assert text == picture(found.curves)
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"var\(|url\(|@import|href|<script", text)
    style = next(node for node in root.iter() if node.tag.endswith("style")).text
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    assert light.count("{") == dark.count("{") - 1
    assert dark.endswith("}}")
    # Every class that the report's style sheet knows has its rule here too, or the picture would be black on
    # black.
    sheet = files("affineur.measure.report").joinpath("style.css").read_text()
    used = {name for node in root.iter() for name in (node.get("class") or "").split()}
    assert {"curve", "point", "band", "ring", "budget", "level"} <= used
    said = " ".join(node.text or "" for node in root.iter() if node.get("class") == "tick")
    assert "interval of the difference to" in said
    assert "pruned in attention+ffn, not fine-tuned afterwards" in said
    for name in used - {"card", "s0", "s1"}:
        assert not re.search(rf"svg \.{name}\b", sheet) or re.search(rf"\.{name}\b", light), name
    for series in ("s0", "s1"):
        assert f".curve.{series}{{" in light
    said = " ".join(node.text for node in root.iter() if node.tag.endswith("text"))
    assert "magnitude" in said
    assert "wanda" in said
    assert "10 points" in said
    assert len([node for node in root.iter() if node.get("class") == "ring"]) == 1
    box = [float(n) for n in root.get("viewBox").split()]
    card = next(node for node in root.iter() if node.get("class") == "card")
    assert [float(card.get(key)) for key in ("x", "y", "width", "height")] == box


def test_the_picture_without_a_winner_and_with_strange_names(found: Sweep) -> None:
    curve: Curve = replace(found.curves[0], model='<&"é>', data="]]>", baseline="a" * 200)
    bare = replace(curve, points=tuple(replace(point, inside=False) for point in curve.points))
    root = ET.fromstring(picture([bare]))
    assert not [node for node in root.iter() if node.get("class") == "ring"]
    assert '<&"é>' in " ".join(node.text or "" for node in root.iter())
