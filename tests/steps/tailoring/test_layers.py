"""Which layers a student keeps, and that it is a model like any other afterwards."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForTokenClassification, PreTrainedModel

from affineur.entities import Corpus
from affineur.errors import ModelError, ParameterError
from affineur.steps.tailoring.layers import choose_layers, encoder_layers, keep_layers
from affineur.steps.tailoring.limits import check_layers

from ..conftest import FAMILIES, run_step, same_bits

IDS = torch.tensor(
    [[0, 7, 9, 30, 31, 32, 8, 8, 11, 17, 23, 42, 55, 2], [0, 20, 21, 22, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1]]
)


class Stack(nn.Module):
    """As much of a model as choosing needs; its layers are numbers."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(nn.Linear(1, 1) for _ in range(count))
        for i, layer in enumerate(self.layer):
            layer.number = i  # type: ignore[assignment]
        self.config = SimpleNamespace(num_hidden_layers=count)

    @property
    def shown(self) -> list[int]:
        return [layer.number for layer in self.layer]  # type: ignore[misc]


def load(path: Path) -> PreTrainedModel:
    return AutoModelForTokenClassification.from_pretrained(path).eval()


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, attention_mask=(IDS != 1).long()).logits


def test_top_keeps_the_lowest() -> None:
    assert choose_layers(Stack(12), 11, "top") == (list(range(11)), [])  # type: ignore[arg-type]
    assert choose_layers(Stack(12), 1, "top")[0] == [0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("have", "wanted", "kept"),
    [
        (12, 6, [0, 2, 4, 7, 9, 11]),
        (12, 2, [0, 11]),
        (12, 1, [0]),
        (12, 12, list(range(12))),
        (3, 2, [0, 2]),
        (1, 1, [0]),
    ],
)
def test_uniform(have: int, wanted: int, kept: list[int]) -> None:
    assert choose_layers(Stack(have), wanted, "uniform") == (kept, [])  # type: ignore[arg-type]


@given(st.integers(1, 48).flatmap(lambda have: st.tuples(st.just(have), st.integers(1, have))))
def test_uniform_spreads_evenly(numbers: tuple[int, int]) -> None:
    have, wanted = numbers
    kept, _ = choose_layers(Stack(have), wanted, "uniform")  # type: ignore[arg-type]
    assert len(set(kept)) == wanted
    assert kept == sorted(kept)
    assert kept[0] == 0
    if wanted > 1:
        assert kept[-1] == have - 1
        gaps = {b - a for a, b in itertools.pairwise(kept)}
        assert max(gaps) - min(gaps) <= 1


def test_search_drops_what_is_missed_least() -> None:
    worth = {0: 9, 1: 1, 2: 5, 3: 2, 4: 7}
    model = Stack(5)

    def score(shown: Any) -> float:
        assert shown.config.num_hidden_layers == len(shown.shown)
        return sum(worth[i] for i in shown.shown) / 24

    kept, trials = choose_layers(model, 2, "search", score)  # type: ignore[arg-type]
    assert kept == [0, 4]
    assert [t["dropped"] for t in trials] == [
        [1],
        [2],
        [3],
        [4],
        [1, 2],
        [1, 3],
        [1, 4],
        [1, 2, 3],
        [1, 3, 4],
    ]
    assert [t["f1"] for t in trials][:2] == [23 / 24, 19 / 24]
    assert model.shown == [0, 1, 2, 3, 4]
    assert model.config.num_hidden_layers == 5


def test_search_among_equals_drops_the_highest_and_never_the_first() -> None:
    assert choose_layers(Stack(5), 3, "search", lambda _: 0.0)[0] == [0, 1, 2]  # type: ignore[arg-type]
    model = Stack(4)
    assert choose_layers(model, 1, "search", lambda _: float(0 not in model.shown))[0] == [0]  # type: ignore[arg-type]
    assert choose_layers(Stack(4), 4, "search", lambda _: 0.0) == ([0, 1, 2, 3], [])  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_search_leaves_the_teacher_as_it_was(family: str, shared_model) -> None:
    teacher = load(shared_model(family))
    before, config, wanted = (
        {k: v.clone() for k, v in teacher.state_dict().items()},
        teacher.config.to_dict(),
        logits(teacher),
    )
    seen = []

    def score(model: PreTrainedModel) -> float:
        seen.append(logits(model))
        return len(seen) / 10

    kept, trials = choose_layers(teacher, 1, "search", score)
    assert (kept, len(trials)) == ([0], 3)
    assert same_bits(before, teacher.state_dict())
    assert teacher.config.to_dict() == config
    assert torch.equal(logits(teacher), wanted)
    # and what was scored is what the student would be
    for trial, output in zip(trials, seen, strict=True):
        student = keep_layers(load(shared_model(family)), [i for i in range(3) if i not in trial["dropped"]])
        assert torch.equal(logits(student), output), trial


def test_search_puts_the_layers_back_when_scoring_fails() -> None:
    model = Stack(4)

    def score(_: Any) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose_layers(model, 2, "search", score)  # type: ignore[arg-type]
    assert model.shown == [0, 1, 2, 3]


@pytest.mark.parametrize("kept", [[0], [0, 1], [0, 2], [0, 1, 2]])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_saved_and_reloaded_gives_the_same_logits(
    family: str, kept: list[int], shared_model, tmp_path: Path
) -> None:
    teacher, student = load(shared_model(family)), keep_layers(load(shared_model(family)), kept)
    student.save_pretrained(tmp_path)
    again, loading = AutoModelForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), loading
    assert again.config.num_hidden_layers == len(kept)
    assert torch.equal(logits(again.eval()), logits(student))
    for mine, number in zip(encoder_layers(again), kept, strict=True):
        assert same_bits(dict(mine.state_dict()), dict(encoder_layers(teacher)[number].state_dict()))
    layered = f"{next(n for n, m in teacher.named_modules() if m is encoder_layers(teacher))}."
    outside = [
        {k: v for k, v in m.state_dict().items() if not k.startswith(layered)} for m in (teacher, again)
    ]
    assert same_bits(*outside)
    assert torch.equal(logits(again), logits(teacher)) == (len(kept) == 3)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "modernbert"])
def test_the_first_layer_may_go(family: str, shared_model, tmp_path: Path) -> None:
    student = keep_layers(load(shared_model(family)), [1, 2])
    student.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path)), logits(student))


def test_modernberts_first_layer_has_to_stay(shared_model) -> None:
    """Its layer 0 has no norm before attention: another first layer would lose its own on reload."""
    model = load(shared_model("modernbert"))
    with pytest.raises(
        ParameterError, match="layer 0 of ModernBertForTokenClassification is built differently from layer 1"
    ):
        keep_layers(model, [1, 2])
    assert len(encoder_layers(model)) == 3


@pytest.mark.parametrize("wanted", [0, -1, 13])
@pytest.mark.parametrize("how", ["top", "uniform", "search"])
def test_impossible_numbers(wanted: int, how: str) -> None:
    said = f"layers={wanted} is impossible: the model has 12 encoder layers, so give a number from 1 to 12"
    with pytest.raises(ParameterError, match=said):
        choose_layers(Stack(12), wanted, how, lambda _: 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "said"), [(0, "layers=0 is impossible: "), (4, "layers=4 is impossible: the model has 3")]
)
def test_distilling_to_an_impossible_number_writes_nothing(
    wanted: int, said: str, shared_model, train_corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=said):
        run_step("distill", shared_model(), tmp_path / "out", train=train_corpus, layers=wanted)
    assert list(tmp_path.iterdir()) == []


def test_fewer_layers_are_asked_for_before_any_model_is_read() -> None:
    check_layers(3, 3)
    check_layers(2, 3, fewer=True)
    with pytest.raises(
        ParameterError, match=r"layers=3 is impossible: .* 3 encoder layers, .* 1 to 2$"
    ) as error:
        check_layers(3, 3, fewer=True)
    assert error.value.parameter == "layers"


def test_impossible_ways() -> None:
    with pytest.raises(ParameterError, match=r"no way 'serch' to choose layers, .*did you mean 'search'\?"):
        choose_layers(Stack(3), 2, "serch")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"needs dev data.*keep='top'") as error:
        choose_layers(Stack(3), 2, "search")  # type: ignore[arg-type]
    assert error.value.parameter == "keep"


def test_a_model_without_a_list_of_layers() -> None:
    model = Stack(3)
    model.config.num_hidden_layers = 4
    with pytest.raises(ModelError, match="no list of 4 encoder layers"):
        encoder_layers(model)  # type: ignore[arg-type]
