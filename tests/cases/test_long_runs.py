"""Thousands of characters without a space are read in windows that overlap, as all text is (case 21).

Source: transformers' token-classification pipeline with a ``stride``, which overlaps every window.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from affineur.runtime import AggregationStrategy, Encoder, PredictOptions, Reading, texts
from affineur.runtime.runs import LONGEST_RUN
from conftest import FAMILIES, build_tokenizer

LABELS = ("O", "I-PER", "I-LOC")


def chinese(count: int) -> str:
    rng = random.Random(count)
    return "".join(rng.choice("中国日本東京的一是不了人我在有他这为之大来以个") for _ in range(count))


def names(count: int) -> str:
    rng = random.Random(count)
    made = ""
    while len(made) < count:
        made += rng.choice(("Paris", "Marie", "Élodie", "-", "Noël", "Saint-Étienne", "/", "Duval", "."))
    return made[:count]


def whole_windows(tokenizer: Tokenizer, text: str, length: int, overlap: int) -> list[Any]:
    """Cut a text as the pipeline does: all at once, and windows by the tokenizer's own truncation."""
    alone = Tokenizer.from_str(tokenizer.to_str())
    alone.no_padding()
    alone.enable_truncation(length, stride=overlap)
    encoding = alone.encode(text)
    return [
        (tuple(each.ids), tuple(map(bool, each.special_tokens_mask)), tuple(each.offsets))
        for each in (encoding, *encoding.overflowing)
    ]


CASES = [(family, kind) for family in FAMILIES for kind in ("chinese", "names", "mixed")]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_the_windows_are_those_of_the_text_as_a_whole(family: str, kind: str) -> None:
    run = {
        "chinese": chinese(3 * LONGEST_RUN + 77),
        "names": names(2 * LONGEST_RUN + 300),
        "mixed": chinese(LONGEST_RUN - 3) + names(LONGEST_RUN),
    }[kind]
    text = f"Marie vit à {run} Paris, dit {chinese(LONGEST_RUN + 1)}"
    tokenizer = build_tokenizer(family)
    ours = list(Encoder(tokenizer, 64, 1).texts(stride=20).windows([text, "Marie", run]))
    expected = whole_windows(tokenizer, text, 64, 20)
    found = [window for window in ours if window.text == 0]
    assert [(w.ids, w.special) for w in found] == [(ids, special) for ids, special, _ in expected]
    assert [w.offsets for w in found] == [offsets for _, _, offsets in expected]
    assert [w.first for w in found] == [number * (62 - 20) for number in range(len(found))]
    assert [w.text for w in ours] == sorted(w.text for w in ours)


@pytest.mark.parametrize("strategy", ["simple", "average"])
@pytest.mark.parametrize("family", ["camembert", "bert", "roberta"])
def test_entities_after_a_run_are_those_of_overlapping_windows(
    family: str, strategy: AggregationStrategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label of a piece depends on the window it is seen in, as it does with a model."""
    text = chinese(2 * LONGEST_RUN + 50) + names(100) + " Marie Duval habite à Paris " + names(90) + " Noël"
    tokenizer = build_tokenizer(family)

    def logits(window: Any) -> Any:
        seen = np.array(window.ids) + sum(window.ids)
        return np.stack([np.sin(seen * k) * 3 for k in (1, 2, 3)], axis=1).astype(np.float32)

    def entities() -> list[Any]:
        options = PredictOptions(strategy, stride=20)
        reading = Reading([text], Encoder(tokenizer, 64, 1), LABELS, options)
        return reading.results([logits(window) for window in reading.windows])

    ours = entities()
    monkeypatch.setattr(texts, "has_long_run", lambda _: False)  # all at once, as the pipeline does
    assert ours == entities()
    assert ours[0]
