"""The demo is the guide on the sample: its first sentence, its bars, one story from row to row."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from affineur import sample
from affineur.entities import open_corpus
from affineur.pipeline import read_recipe, run

GUIDE = Path(__file__).parents[1] / "guide" / "guide.md"


def test_the_example_is_the_first_sentence_of_the_guide_and_nobody_was_taught_it() -> None:
    example = read_recipe(sample.recipe()).compare.example
    assert example is not None
    assert f'text = "{example}"' in GUIDE.read_text("utf-8")
    folded = example.replace("'", "' ").replace(".", " .")
    for split in ("train", "dev"):
        sentences = {
            " ".join(s.words).replace("’", "'") for s in open_corpus(sample.data() / f"{split}.conll")
        }
        assert folded not in sentences, split


def test_a_first_name_alone_begins_a_fair_share_of_the_text() -> None:
    train = list(open_corpus(sample.data() / "train.conll"))
    alone = [s for s in train if len(s.words) > 1 and s.tags[0] == "I-PER" and s.tags[1] != "I-PER"]
    assert 0.05 <= len(alone) / len(train) <= 0.15
    assert len({s.words[0].casefold() for s in alone}) >= 100


@pytest.mark.slow
def test_every_row_of_the_demo_finds_marie_and_the_bars_are_reached(tmp_path: Path) -> None:
    made = run(read_recipe(sample.recipe()), runs=tmp_path, quick=True)
    rows = made.table["rows"]
    for row in rows:
        people = [
            e["word"] for e in made.table["example"]["found"][row["model"]] if e["entity_group"] == "PER"
        ]
        assert people == ["Marie"], row["model"]
    for above, below in itertools.pairwise(rows):
        assert abs(below["f1"] - above["f1"]) < 0.02, f"{below['model']} is far from {above['model']}"
    missed = {bar["bar"] for bar in made.gate["bars"] if not bar["passed"]}
    assert missed <= {"max_p95_ms"}, made.gate["lines"]  # a busy machine may be slow, and no worse than that
