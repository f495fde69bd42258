"""What the tests of ``steps`` share."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from affineur.artifact import in_scope, open_folder, verify
from affineur.entities import Corpus, Scheme, Sentence, open_corpus
from affineur.steps.core.context import Context
from affineur.steps.core.step import STEPS
from affineur.transfer import Splits
from conftest import FAMILIES as FAMILIES

#: Parameters of a step that trains: one pass of few batches, at a rate that moves weights.
ONE_STEP = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}


@pytest.fixture(scope="session", autouse=True)
def _libraries_are_no_garbage() -> None:
    """The Trainer collects garbage whenever it starts: spare it what the libraries loaded, or that takes most
    of the time here.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def train_corpus(shared_corpus: Path) -> Corpus:
    return open_corpus(shared_corpus / "train.conll")


@pytest.fixture
def dev_corpus(shared_corpus: Path) -> Corpus:
    return open_corpus(shared_corpus / "dev.conll")


@pytest.fixture
def short(train_corpus: Corpus) -> Corpus:
    """Eight sentences."""
    return train_corpus.head(8)


def corpus_of(*sentences: tuple[str, str], scheme: Scheme | None = None) -> Corpus:
    """Make a corpus of pairs of words and tags, each separated by spaces."""
    made = [Sentence(tuple(words.split(" ")), tuple(tags.split(" "))) for words, tags in sentences]
    return Corpus.scan("made", lambda: iter(made), scheme)


def zero_set(folder: Path) -> dict[str, torch.Tensor]:
    """Where the matrices in scope are zero."""
    found = weights(folder)
    return {m.name: found[m.name] == 0 for m in in_scope(list(found))}


def same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Compare to the bit: signs of zeros too."""
    return first.keys() == second.keys() and all(
        a.dtype == second[name].dtype
        and a.shape == second[name].shape
        and a.contiguous()
        .view(-1)
        .view(torch.uint8)
        .equal(second[name].contiguous().view(-1).view(torch.uint8))
        for name, a in first.items()
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each file of a folder was written, and its bytes."""
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.iterdir())}


def scores_of(folder: Path) -> dict[str, Any]:
    """The scores in the manifest of a whole artifact."""
    manifest = verify(folder)
    assert manifest is not None
    return manifest.scores


def beside(out: Path) -> list[str]:
    """What else is where a result was written."""
    return sorted(p.name for p in out.parent.iterdir() if p != out)


class InterruptedTrainingError(Exception):
    """Stands for a kill: raised where a process would have died."""


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[int]:
    """Count the calls of a method from now on."""
    calls = [0]
    real: Callable[..., object] = getattr(owner, name)

    def counting(*words: object, **options: object) -> object:
        calls[0] += 1
        return real(*words, **options)

    monkeypatch.setattr(owner, name, counting)
    return calls


def run_step(
    name: str,
    model: Path | str,
    out: Path,
    *,
    train: Corpus | None = None,
    dev: Corpus | None = None,
    teacher: Path | str | None = None,
    context: Context | None = None,
    calibration: Corpus | None = None,
    **parameters: object,
) -> Path:
    """Run a step on a model folder, as recipe, library and command line do; return where the result is."""
    step = STEPS.get(name).given(parameters)
    source = step.open(Path(model))
    context = context or Context()
    if train is not None or dev is not None:
        context = replace(context, data=Splits(train, dev, None, "made"))
    if calibration is not None:
        context = replace(context, calibration=calibration)
    if teacher is not None:
        context = replace(context, teacher=open_folder(teacher))
    return step.run(source, out, context)
