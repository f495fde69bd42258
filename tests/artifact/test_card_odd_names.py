"""Model cards: odd names break nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from affineur.artifact import (
    MANIFEST,
    Carried,
    card_text,
    describe,
    verify,
    write_card,
)

from .cards import DISTILL, GIVEN, PRUNED, SCORED, state

# ---- odd names

ODD = st.one_of(
    st.text(alphabet=st.characters(), max_size=20),
    st.text(alphabet="|`*_<>[]()#\\\n\r\t'\"\x00\x85\u2028\ud800-:!&~$", max_size=20),
    st.sampled_from(
        [
            "---",
            "\n---\n",
            "no",
            "`",
            "``",
            "a|b",
            "\\|",
            "<script>",
            "[x](y)",
            "- a",
            "# a",
            "&lt;",
            "null",
            "'",
            '"',
            "\udcff",
            "{{x}}",
        ]
    ),
)


@pytest.fixture(scope="session")
def info(shared_model):
    return describe(shared_model())


def folded(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]", "\ufffd", text).split())


@given(
    model=ODD,
    data=ODD,
    parent=ODD,
    kinds=st.lists(ODD, max_size=3, unique=True),
    cell=ODD,
    note=ODD,
    split=ODD,
)
def test_odd_names_break_nothing(
    info, model: str, data: str, parent: str, kinds: list[str], cell: str, note: str, split: str
) -> None:
    per_type = dict.fromkeys(kinds, SCORED.per_type["PER"])
    measured = replace(
        SCORED,
        data=data,
        split=split,
        baseline=parent,
        per_type=per_type,
        cells=((cell, "1"),),
        columns=("Model", note),
        footnotes=(note,),
        commands={"x": note},
        data_digest=cell,
        dataset_id=data,
    )
    manifest = replace(
        PRUNED,
        parents=[replace(DISTILL, name=parent), replace(GIVEN, name=parent)],
        parameters={"teacher": parent, note: cell},
        data={"train": {"name": data, "digest": cell, "sentences": note}},
        recipe=cell or None,
    )
    text = card_text(
        info,
        manifest,
        measured,
        Carried({"license": note, "x": {"y": [data]}, "tags": [cell]}, limits=True),
        model,
    )
    text.encode()
    card = ModelCard(text)
    result = card.data.eval_results[0]
    assert result.metric_value == pytest.approx(SCORED.f1, abs=1e-6)
    assert re.fullmatch(r"(?:[\w-]+/)?[\w.-]+", result.dataset_type, re.ASCII)
    assert "\n" not in result.dataset_name + card.data.model_name
    parsed = MarkdownIt("commonmark").enable("table").parse(card.text)
    headings = [after.content for token, after in pairwise(parsed) if token.type == "heading_open"]
    assert headings[1:] == [
        "Lineage",
        "Labels",
        "Use",
        "Scores",
        "Limits",
        "Reproduce",
        "License",
        "Environment",
    ]
    cells = [
        "".join(child.content for child in after.children or ())
        for token, after in pairwise(parsed)
        if token.type in ("td_open", "th_open")
    ]
    first = [folded(kind) for kind in kinds]
    assert cells[6 if kinds else 0 :: 6][: len(kinds)] == first
    assert [c.strip() for c in cells[-4:]] == ["Model", folded(note), folded(cell), "1"]
    assert sum(token.type == "tr_open" for token in parsed) == (len(kinds) + 1 if kinds else 0) + 2
    assert not any(token.type == "html_block" and "affineur card" not in token.content for token in parsed)


def test_odd_names_in_a_folder(artifact: Path) -> None:
    odd = replace(SCORED, data='a"b\n|`\udcff', per_type={"\ud800": {"support": 0}, "x|y": {"f1": 0.5}})
    assert write_card(artifact, odd)
    before = state(artifact)
    assert write_card(artifact, odd)
    assert write_card(artifact)
    assert state(artifact) == before
    assert verify(artifact) is not None
    assert json.loads((artifact / MANIFEST).read_text("utf-8"))["scores"]["measured"]["data"] == odd.data
