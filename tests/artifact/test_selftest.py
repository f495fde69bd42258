"""The self-test: what agreement means, when it passes, and that a damaged one is never taken for none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from affineur.artifact.selftest import SELF_TEST, Agreement, SelfTest, read_self_test, write_self_test
from affineur.errors import ModelError

RNG = np.random.default_rng(3)
PARENT = RNG.normal(size=(50, 5)).astype(np.float32)
ABOUT = {"made": '{"same_tags": 1.0, "error": 0.0}', "scheme": "u8s8", "target": "vnni"}


@pytest.fixture
def self_test() -> SelfTest:
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
def test_what_is_not_a_number_agrees_with_nothing(number: float, self_test: SelfTest) -> None:
    logits = PARENT.copy()
    logits[7, 2] = number
    assert Agreement.between(logits, PARENT) == Agreement(0.0, np.inf)
    assert not self_test.passes(Agreement(0.0, np.inf))


def test_padding_does_not_count(self_test: SelfTest) -> None:
    padded = self_test.logits + np.where(self_test.mask[..., None] == 0, np.float32(np.nan), 0)
    assert self_test.agreement(padded.astype(np.float32)) == Agreement(1.0, 0.0)
    wrong = self_test.logits.copy()
    wrong[1, 1] += 1
    assert self_test.agreement(wrong).error > 0


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
def test_as_good_as_where_it_was_made(found: Agreement, passes: bool, self_test: SelfTest) -> None:
    assert self_test.passes(found) is passes


def test_round_trip(self_test: SelfTest, tmp_path: Path) -> None:
    assert read_self_test(tmp_path) is None
    write_self_test(tmp_path, self_test)
    read = read_self_test(tmp_path)
    assert read is not None
    for name in ("ids", "mask", "logits"):
        assert np.array_equal(getattr(read, name), getattr(self_test, name))
    assert (
        replace(read, ids=self_test.ids, mask=self_test.mask, logits=self_test.logits).made == self_test.made
    )
    assert (read.scheme, read.target) == ("u8s8", "vnni")


def test_what_is_nothing_like_its_parent_never_passes(self_test: SelfTest) -> None:
    hopeless = replace(self_test, made=Agreement(0.2, 0.9))
    assert not hopeless.passes(Agreement(0.2, 0.9))
    assert replace(self_test, made=Agreement(0.9, 0.3)).passes(Agreement(0.9, 0.3))


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_one_that_is_cut_is_damaged(length: int, self_test: SelfTest, tmp_path: Path) -> None:
    write_self_test(tmp_path, self_test)
    (tmp_path / SELF_TEST).write_bytes((tmp_path / SELF_TEST).read_bytes()[:length])
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
    about: dict[str, str] | None, self_test: SelfTest, tmp_path: Path
) -> None:
    write_self_test(tmp_path, self_test)
    save_file(
        load_file(tmp_path / SELF_TEST),
        tmp_path / SELF_TEST,
        about if about is None else {**ABOUT, **about} if about else {"scheme": "u8s8"},
    )
    refused(tmp_path)


@pytest.mark.parametrize("change", ["missing", "flat", "long", "nan", "nothing seen"])
def test_one_whose_arrays_do_not_fit_is_damaged(change: str, self_test: SelfTest, tmp_path: Path) -> None:
    write_self_test(tmp_path, self_test)
    arrays = load_file(tmp_path / SELF_TEST)
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
    save_file(arrays, tmp_path / SELF_TEST, ABOUT)
    refused(tmp_path)


def refused(folder: Path) -> None:
    """One line that names the file."""
    with pytest.raises(
        ModelError, match=r"probe\.safetensors is damaged \(.*fetch or make the artifact again"
    ) as error:
        read_self_test(folder)
    assert len(str(error.value).splitlines()) == 1
