"""Models and data that the tests of ``pipeline`` share."""

from __future__ import annotations

from pathlib import Path

import pytest

from affineur.transfer import Splits, load_splits
from steps.conftest import run_step

from .sweeping import Count, corpus_of


@pytest.fixture(scope="session")
def trained(shared_model, shared_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learned enough to lose something."""
    out = tmp_path_factory.mktemp("trained") / "ner"
    learned = load_splits(str(shared_corpus)).train
    how = {"epochs": 40, "learning_rate": 5e-3, "batch_size": 20}
    return run_step("train", shared_model("camembert"), out, train=learned, **how)


@pytest.fixture(scope="session")
def data(shared_corpus: Path) -> Splits:
    """Enough sentences for narrow intervals: each several times."""
    splits = load_splits(str(shared_corpus))
    dev, test = (corpus_of([s for _ in range(5) for s in splits.get(name)], name) for name in ("dev", "test"))
    return Splits(splits.train, dev, test, "data")


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    return Count(monkeypatch)
