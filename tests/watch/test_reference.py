"""The reference file: what is written is read again, and what is not a reference is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from affineur.errors import AffineurError, DataError, ModelError
from affineur.watch.calibration import METHODS
from affineur.watch.estimating import estimate
from affineur.watch.fitting import _covariance
from affineur.watch.reference import Reference, read_reference

from .worlds import WORDS, fitted, world


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fitted(world(300, 1))


@pytest.fixture
def file(reference: Reference, tmp_path: Path) -> Path:
    reference.write(tmp_path / "watch.json")
    return tmp_path / "watch.json"


def test_what_is_read_says_the_same(reference: Reference, file: Path) -> None:
    again, of = read_reference(file, "0" * 64), world(200, 2)
    ours, theirs = (estimate(each, of.signals, of.words).as_dict() for each in (reference, again))
    assert ours == theirs
    assert again.f1 == reference.f1


def test_no_word_of_the_data_is_in_it(file: Path) -> None:
    said = file.read_text("utf-8")
    assert not [word for word in WORDS if len(word) > 3 and f'"{word}' in said]


def test_another_model_is_refused_with_both_digests(file: Path) -> None:
    with pytest.raises(
        ModelError, match=r"another model \(model, sha256 000000000000…; this one is abcdefabcdef"
    ):
        read_reference(file, "abcdef" * 10)


def test_a_newer_version_is_refused(file: Path) -> None:
    said = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**said, "version": 2}))
    with pytest.raises(DataError, match=r"version 2, this Affineur reads up to 1; upgrade"):
        read_reference(file)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="affineur watch fit MODEL --data DATA"):
        read_reference(tmp_path / "watch.json")


@pytest.mark.parametrize("cut", [0, 1, 100, 5000])
def test_half_a_file(file: Path, cut: int) -> None:
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(DataError, match="is damaged"):
        read_reference(file)


@pytest.mark.parametrize("text", ["[]", "{}", '"a"', '{"format": "label studio"}', "null", "3"])
def test_what_is_no_reference(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError, match="not what affineur watch fit writes"):
        read_reference(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("types", ["LOC"]),
        ("types", 3),
        ("covariance", [[1.0]]),
        ("counts", [[1, 2], [3, 4]]),
        ("scheme", "XYZ"),
        ("mentions", {"design": "joint", "weights": [1.0], "types": 2}),
        ("mentions", {"design": "isotonic", "starts": [[0.0]], "values": [[0.5, 0.6]]}),
        ("mentions", {"design": "spline"}),
        ("begins", {"design": "isotonic", "starts": [[0.0]], "values": [[0.5]]}),
        ("dispersion", None),
        ("elsewhere", [float("nan"), 0.0]),
        ("style", {"words": ["a"]}),
        ("features", {"sentences": 3, "figures": {"words": {"mean": 1, "edges": [1], "shares": [1]}}}),
        ("shifts", {"worse": {}}),
    ],
)
def test_what_was_written_by_hand(file: Path, key: str, value: object) -> None:
    said = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**said, key: value}))
    with pytest.raises(DataError, match="is damaged"):
        read_reference(file)


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    reference: Reference, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AffineurError, match="no space left"):
        reference.write(file)
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_set_with_hardly_a_mention_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected at least 50 of each; label more"):
        fitted(world(20, 3))


def test_documents_are_what_errors_are_added_up_over() -> None:
    """Each sentence ten times in one document: as sure of the parameters as of one of each."""
    of = world(150, 4)
    rows, kinds, right = of.signals.mentions, of.signals.mention_type, of.truth.right
    made = METHODS["beta"](rows, kinds, right, 2)
    influence = made.influence(rows, kinds, right)
    once = _covariance([(influence, of.signals.mention_sentence)], 150)
    ten = _covariance(
        [(np.concatenate([influence / 10] * 10), np.tile(of.signals.mention_sentence, 10))], 150
    )
    assert np.allclose(once, ten)
    apart = _covariance([(influence, np.arange(len(rows)))], len(rows))
    assert not np.allclose(once, apart)
