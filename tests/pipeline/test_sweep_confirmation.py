"""The chosen model on text the search never saw, and sentences that were seen before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affineur.artifact import read_manifest
from affineur.entities import Corpus, Scheme, Sentence
from affineur.errors import DataError
from affineur.measure import Budget, Evaluation
from affineur.pipeline import Plan, Points
from affineur.progress import listening
from affineur.transfer import Splits

from .sweeping import (
    PLAN,
    QUICK,
    beside,
    content,
    corpus_of,
    refused,
    swept,
)


def scored(lost: int, of: int) -> Evaluation:
    counts = np.array([[[int(i >= lost), 1, 1]] for i in range(of)])
    outcomes = np.zeros((2, 4, 5), np.int64)
    schemes = (Scheme.IO, Scheme.IO)
    return Evaluation(
        ("PER",), counts, None, of, of, Scheme.IO, 0, 0, "test", "digest", of, outcomes, schemes
    )


@pytest.mark.parametrize(
    ("lost", "of", "state"),
    [
        (0, 500, "confirmed"),
        (2, 500, "confirmed"),
        (9, 500, "agrees"),
        (11, 500, "disagrees"),
        (0, 9, "agrees"),
        (1, 9, "disagrees"),
    ],
)
def test_confirmation(
    lost: int,
    of: int,
    state: str,
    trained: Path,
    data: Splits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fake(self: Points, reference: str | Path, corpus: Corpus) -> Evaluation:
        made = str(reference) != str(trained)
        return scored(lost if made else 0, of) if corpus.name == "test" else scored(0, 500)

    monkeypatch.setattr(Points, "scored", fake)
    monkeypatch.setattr(Points, "_scored", lambda *_: (scored(0, 500), 0.0))
    found = swept(trained, tmp_path / "out", data, Plan(Budget(max_drop=0.02), points=(0.0,)))
    assert found.confirmation.state == state
    assert found.confirmation.sentences == of
    assert read_manifest(tmp_path / "out").scores["sweep"]["confirmation"]["state"] == state
    assert {"confirmed": "confirmed", "agrees": "agrees", "disagrees": "DISAGREES"}[state] in str(
        found.confirmation
    )


def test_an_earlier_model_stays_where_test_disagrees(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "out", Points.scored
    assert swept(trained, out, data, Plan(Budget(max_drop=0.49), points=(0.1,))).out == out
    before = content(out)

    def fake(self: Points, reference: str | Path, corpus: Corpus) -> Evaluation:
        return (
            scored(400 * (str(reference) != str(trained)), 500)
            if corpus.name == "test"
            else real(self, reference, corpus)
        )

    monkeypatch.setattr(Points, "scored", fake)
    found = swept(trained, out, data, Plan(Budget(max_drop=0.49), points=(0.2,)))
    assert (found.confirmation.state, found.out, found.kept) == ("disagrees", None, out)
    assert content(out) == before
    assert "stays as it is; nothing was written" in found.lines()[-1]
    assert (found.as_dict()["out"], found.as_dict()["kept"]) == (None, str(out))
    assert beside(out) == []


def test_only_a_confirmation_shows_anything(trained: Path, data: Splits, tmp_path: Path) -> None:
    found = swept(trained, tmp_path / "out", data, Plan(Budget(max_drop=0.49), points=(0.0, 0.1)))
    assert found.confirmation.state == "confirmed"
    chosen, confirmed = found.lines()[1:3]
    assert "shown" not in chosen
    assert "Chosen among 2 points, so that interval flatters it" in chosen
    assert "drop" in chosen
    assert "loses nothing" not in "".join(found.lines())
    assert "confirmed: shown to be inside the budget" in confirmed
    for state in ("agrees", "disagrees"):
        assert "confirmed" not in str(replace(found.confirmation, state=state))
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "among 2 points on 100 other sentences" in card
    assert "On the sentences scored here it is shown to be inside it." in card


def test_sentences_of_test_that_were_seen_before_are_counted(
    trained: Path, data: Splits, tmp_path: Path
) -> None:
    dev, test, train = (
        [s.words for s in corpus] for corpus in (data.get("dev"), data.get("test"), data.get("train"))
    )
    in_dev, in_both = (sum(words in seen for words in test) for seen in (dev, dev + train))
    assert 0 < in_dev < in_both < 50, "or nothing is shown"
    bare = Plan(Budget(max_drop=0.49), points=(0.1,))
    lines: list[str] = []
    for plan, shared in ((bare, in_dev), (replace(bare, recovery=QUICK), in_both)):
        lines.clear()
        with listening(lambda what, *_: lines.append(what)):
            found = swept(trained, tmp_path / "out", data, plan)
        assert found.confirmation.shared == found.as_dict()["confirmation"]["shared"] == shared
        assert f"(100 sentences, {shared} of them seen before)" in str(found.confirmation)
        assert (
            len(
                [
                    line
                    for line in lines
                    if line.startswith(f"warning: {in_dev} of the 100 sentences of test stand in dev too")
                ]
            )
            == 1
        )
        assert f"{shared} of these were among what it was chosen or trained on" in (
            tmp_path / "out" / "README.md"
        ).read_text("utf-8")
    fresh = corpus_of([Sentence((*s.words, "!"), (*s.tags, "O")) for s in data.get("test")], "test")
    found = swept(
        trained, tmp_path / "out", replace(data, test=fresh), Plan(Budget(max_drop=0.49), points=(0.1,))
    )
    assert found.confirmation.shared == 0
    assert "none of them seen before" in str(found.confirmation)


def test_half_of_the_same_text_is_the_same_text(trained: Path, data: Splits, tmp_path: Path) -> None:
    known = [
        Sentence(s.words, ("O",) * len(s.tags)) for s in list(data.get("dev"))[:10]
    ]  # other tags, the same text
    new = [Sentence(("neuf", str(i)), ("O", "O")) for i in range(11)]
    half, less = corpus_of(known + new[:10], "test"), corpus_of(known + new, "test")
    refused(
        DataError,
        "10 of the 20 sentences of test stand in dev too.*take them out",
        tmp_path,
        trained,
        replace(data, test=half),
        PLAN,
    )
    assert swept(trained, tmp_path / "out", replace(data, test=less), PLAN).confirmation.shared == 10
    recovered, other = replace(PLAN, recovery=QUICK), corpus_of(list(data.get("dev"))[:10] + new, "train")
    refused(
        DataError,
        "sentences of dev stand in train too|the same sentences",
        tmp_path,
        trained,
        replace(data, train=other),
        recovered,
        out=tmp_path / "o",
    )
