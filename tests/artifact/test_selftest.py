"""The self-test: what agreement means, when it passes, and that a damaged one is never taken for none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from affineur.artifact.selftest import SELFTEST, Agreement, SelfTest, read_selftest, write_selftest
from affineur.errors import ModelError

RNG = np.random.default_rng(3)
PARENT = RNG.normal(size=(50, 5)).astype(np.float32)
ABOUT = {"made": '{"same_tags": 1.0, "error": 0.0}', "scheme": "u8s8", "target": "vnni"}


@pytest.fixture
def selftest() -> SelfTest:
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    logits = RNG.normal(size=(2, 4, 5)).astype(np.float32) * mask[..., None]
    return SelfTest(
        np.arange(8).reshape(2, 4) * mask,
        mask,
        logits.astype(np.float32),
        Agreement(0.98, 0.05),
        "u8s8",
        "vnni",
    )


def test_agreement_by_hand() -> None:
    parent = np.array([[1, -1], [1, -1]], np.float32)  # around its mean 0 its root mean square is 1
    assert Agreement.between(parent, parent) == Agreement(1.0, 0.0)
    assert Agreement.between(np.array([[-1, 1], [1, -1]], np.float32), parent) == Agreement(
        0.5, pytest.approx(np.sqrt((4 + 4 + 0 + 0) / 4))
    )
    assert Agreement.between(np.zeros_like(PARENT) + PARENT.mean(), PARENT).error == pytest.approx(1), (
        "a constant is wrong by 1"
    )
    assert Agreement.between(PARENT * 10 + 3, PARENT * 10).error == pytest.approx(
        Agreement.between(PARENT + 0.3, PARENT).error, rel=1e-5
    ), "no unit"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_agrees_with_nothing(number: float, selftest: SelfTest) -> None:
    logits = PARENT.copy()
    logits[7, 2] = number
    assert Agreement.between(logits, PARENT) == Agreement(0.0, np.inf)
    assert not selftest.passes(Agreement(0.0, np.inf))


def test_padding_does_not_count(selftest: SelfTest) -> None:
    padded = selftest.logits + np.where(selftest.mask[..., None] == 0, np.float32(np.nan), 0)
    assert selftest.agreement(padded.astype(np.float32)) == Agreement(1.0, 0.0)
    wrong = selftest.logits.copy()
    wrong[1, 1] += 1
    assert selftest.agreement(wrong).error > 0


@pytest.mark.parametrize(
    ("found", "passes"),
    [
        (Agreement(0.98, 0.05), True),
        (Agreement(1.0, 0.0), True),
        (Agreement(0.971, 0.084), True),
        (Agreement(0.969, 0.05), False),
        (Agreement(0.98, 0.086), False),
        (Agreement(1.0, float("nan")), False),
    ],
)
def test_as_good_as_where_it_was_made(found: Agreement, passes: bool, selftest: SelfTest) -> None:
    assert selftest.passes(found) is passes


def test_round_trip(selftest: SelfTest, tmp_path: Path) -> None:
    assert read_selftest(tmp_path) is None
    write_selftest(tmp_path, selftest)
    read = read_selftest(tmp_path)
    assert read is not None
    for name in ("ids", "mask", "logits"):
        assert np.array_equal(getattr(read, name), getattr(selftest, name))
    assert replace(read, ids=selftest.ids, mask=selftest.mask, logits=selftest.logits).made == selftest.made
    assert (read.scheme, read.target) == ("u8s8", "vnni")


def test_what_is_nothing_like_its_parent_never_passes(selftest: SelfTest) -> None:
    hopeless = replace(selftest, made=Agreement(0.2, 0.9))
    assert not hopeless.passes(Agreement(0.2, 0.9))
    assert replace(selftest, made=Agreement(0.9, 0.3)).passes(Agreement(0.9, 0.3))


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_one_that_is_cut_is_damaged(length: int, selftest: SelfTest, tmp_path: Path) -> None:
    write_selftest(tmp_path, selftest)
    (tmp_path / SELFTEST).write_bytes((tmp_path / SELFTEST).read_bytes()[:length])
    refused(tmp_path)


@pytest.mark.parametrize(
    "about",
    [
        None,
        {},
        {"made": "{"},
        {"made": "[]"},
        {"made": '{"same_tags": 1}'},
        {"made": '{"same_tags": "x", "error": []}'},
    ],
)
def test_one_that_says_nothing_of_itself_is_damaged(
    about: dict[str, str] | None, selftest: SelfTest, tmp_path: Path
) -> None:
    write_selftest(tmp_path, selftest)
    save_file(
        load_file(tmp_path / SELFTEST),
        tmp_path / SELFTEST,
        about if about is None else {**ABOUT, **about} if about else {"scheme": "u8s8"},
    )
    refused(tmp_path)


@pytest.mark.parametrize("change", ["missing", "flat", "long", "nan", "nothing seen"])
def test_one_whose_arrays_do_not_fit_is_damaged(change: str, selftest: SelfTest, tmp_path: Path) -> None:
    write_selftest(tmp_path, selftest)
    arrays = load_file(tmp_path / SELFTEST)
    if change == "missing":
        del arrays["attention_mask"]
    elif change == "flat":
        arrays = {name: array.reshape(-1)[:8].copy() for name, array in arrays.items()}
    elif change == "long":
        arrays["input_ids"] = np.zeros((2, 5), np.int32)
    elif change == "nan":
        arrays["logits"][0, 0, 0] = np.nan
    else:
        arrays["attention_mask"][:] = 0
    save_file(arrays, tmp_path / SELFTEST, ABOUT)
    refused(tmp_path)


def refused(folder: Path) -> None:
    """One line that names the file."""
    with pytest.raises(
        ModelError, match=r"probe\.safetensors is damaged \(.*fetch or make the artifact again"
    ) as error:
        read_selftest(folder)
    assert len(str(error.value).splitlines()) == 1
