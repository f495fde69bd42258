"""What the benchmark of eight bits counts, and that a model computes elsewhere what it computes here."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from affineur.artifact import MANIFEST
from affineur.artifact.selftest import read_self_test, write_self_test
from affineur.errors import AffineurError
from affineur.pipeline import candidate, load

WORDS = [("Marie", "travaille", "à", "Paris", "."), ("Oui",)]


@pytest.fixture(scope="module")
def outliers() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        yield importlib.import_module("outliers")


@pytest.fixture
def emulated(outliers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The process that an emulator would run, on this CPU."""
    module = importlib.import_module("emulated")
    monkeypatch.setattr(module, "EMULATOR", ())
    return module


def test_matrices_in_full_precision_are_counted_in_what_runs(
    outliers: ModuleType, shared_onnx: Path, shared_int8: Path, tiny_model: Callable[..., Path]
) -> None:
    torch = f"torch-int8:{tiny_model()}"
    found = [outliers.in_full(candidate(path), str(path)) for path in (shared_onnx, shared_int8, torch)]
    counts = [tuple(map(int, words.split(" of "))) for words in found]
    assert counts[0][0] == counts[0][1]
    assert counts[1] == (1, counts[0][1])  # the classifier
    assert counts[2][0] == 0
    assert counts[2][1] > counts[0][1]  # query, key and value are one matrix in a graph


def test_what_is_apart_leaves_words_without_pieces_out(outliers: ModuleType) -> None:
    ours, theirs = (
        outliers.Computed(("O", "I-PER"), WORDS[:1], [np.array(rows, np.float32)])
        for rows in (
            [[1, 0], [0, 1], [1, 0], [np.nan] * 2, [1, 0]],
            [[1, 0], [1, 0], [1, 0], [np.nan] * 2, [1, 0]],
        )
    )
    changed, error = outliers.apart(ours, theirs)
    assert changed == 1
    assert error == pytest.approx(1.0)  # √(2 ÷ 8) ÷ √(1 ÷ 4)
    assert outliers.apart(theirs, theirs) == (0, 0)
    assert ours.tag(WORDS[:1]) == [["O", "I-PER", "O", "O", "O"]]


def test_elsewhere_a_model_computes_the_same_refused_or_not(
    emulated: ModuleType, shared_int8: Path, tmp_path: Path
) -> None:
    here = load(shared_int8, threads=1).logits(WORDS)
    good = emulated.computed_there(str(shared_int8), WORDS, tmp_path)
    other = tmp_path / "other"
    shutil.copytree(shared_int8, other)
    (other / MANIFEST).unlink()  # which knows the self-test's digest
    test = read_self_test(other)
    assert test is not None
    write_self_test(other, replace(test, logits=-test.logits))
    refused = emulated.computed_there(str(other), WORDS, tmp_path)
    assert not good.said
    assert "gives other results on this CPU" in refused.said
    for found in (good, refused):
        assert all(np.array_equal(a, b) for a, b in zip(found.logits, here, strict=True))


def test_what_fails_elsewhere_is_said(emulated: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(AffineurError, match="nowhere fails under"):
        emulated.computed_there(str(tmp_path / "nowhere"), WORDS, tmp_path)


def test_a_missing_emulator_is_named(outliers: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "apt install qemu-user" in outliers.missing()
