"""Wanda against an oracle in numpy loops."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from affineur.artifact import in_scope
from affineur.engines.support.torch_tagger import TorchTagger, load_tagger
from affineur.entities import Corpus
from affineur.errors import ModelError, ParameterError
from affineur.steps.pruning.core import norms as norms_module
from affineur.steps.pruning.core.norms import input_norms
from affineur.steps.pruning.core.zeroing import prune_model

from ..conftest import same_bits
from .texts import LONG, sentences_of


def quotas(sizes: list[int], total: int) -> list[int]:
    """Largest remainder, as by hand."""
    exact = [Fraction(total * size, sum(sizes)) for size in sizes]
    shares = [math.floor(e) for e in exact]
    for i in sorted(range(len(sizes)), key=lambda i: shares[i] - exact[i])[: total - sum(shares)]:
        shares[i] += 1
    return shares


def oracle(
    weights: dict[str, np.ndarray], norms: dict[str, np.ndarray], sparsity: float
) -> dict[str, np.ndarray]:
    """What must remain: row by row, weight by weight."""
    total = round(sparsity * sum(w.size for w in weights.values()))
    wanted = {}
    for (name, weight), lost in zip(
        weights.items(), quotas([w.size for w in weights.values()], total), strict=True
    ):
        kept = weight.copy()
        for i, k in enumerate(quotas([weight.shape[1]] * len(weight), lost)):
            ranked = sorted(
                (bool(w), abs(float(w)) * float(x), j)
                for j, (w, x) in enumerate(zip(weight[i], norms[name], strict=True))
            )
            for _, _, j in ranked[:k]:
                kept[i, j] = 0
        wanted[name] = kept
    return wanted


def naive_norms(tagger: TorchTagger, sentences: list[tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Sums of squares window by window: nothing is padded where there is but one."""
    names = [m.name for m in in_scope([n for n, _ in tagger.model.named_parameters()])]
    sums: dict[str, Any] = dict.fromkeys(names, 0.0)
    seen: dict[str, np.ndarray] = {}

    def watch(name: str) -> Any:
        def keep_first(_module: nn.Module, args: tuple[torch.Tensor, ...], _output: torch.Tensor) -> None:
            seen.setdefault(name, args[0].double().numpy())

        return tagger.model.get_submodule(name.removesuffix(".weight")).register_forward_hook(keep_first)

    handles = [watch(name) for name in names]
    for window in tagger.encoder.windows(sentences):
        seen.clear()
        with torch.no_grad():
            tagger.model(
                input_ids=torch.tensor([window.ids]),
                attention_mask=torch.ones(1, len(window), dtype=torch.long),
            )
        for name, inputs in seen.items():
            assert inputs.shape[:2] == (1, len(window))
            sums[name] = sums[name] + sum(np.square(piece) for piece in inputs[0])
    for handle in handles:
        handle.remove()
    return {name: np.sqrt(total) for name, total in sums.items()}


class Matrices(nn.Module):
    """Three matrices of any shape under an encoder's names."""

    def __init__(self, *shapes: tuple[int, int], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        query, first, second = (nn.Linear(columns, rows, dtype=dtype) for rows, columns in shapes)
        layer = {"attention": {"q_lin": query}, "ffn": {"lin1": first, "lin2": second}}
        self.layer = nn.ModuleList(
            [nn.ModuleDict({part: nn.ModuleDict(found) for part, found in layer.items()})]
        )

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return {
            m.name: self.get_parameter(m.name).detach()
            for m in in_scope([n for n, _ in self.named_parameters()])
        }


@pytest.mark.parametrize("sparsity", [0.15, 0.5])
@pytest.mark.parametrize("family", ["camembert", "bert", "distilbert", "deberta-v2", "modernbert"])
def test_real_families_against_loops(
    family: str, sparsity: float, shared_model, train_corpus: Corpus
) -> None:
    tagger = load_tagger(shared_model(family))
    sentences = [*sentences_of(train_corpus.head(6)), LONG]
    norms = input_norms(tagger, sentences)
    wanted_norms = naive_norms(tagger, sentences)
    assert norms.keys() == wanted_norms.keys()
    for name, found in norms.items():
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), wanted_norms[name], rtol=1e-5, err_msg=name)
    before = {name: tagger.model.get_parameter(name).detach().numpy().copy() for name in norms}
    others = {n: p.detach().clone() for n, p in tagger.model.named_parameters() if n not in norms}
    info = prune_model(tagger.model, sparsity=sparsity, method="wanda", statistics=norms)
    wanted = oracle(before, {name: found.numpy() for name, found in norms.items()}, sparsity)
    for name, kept in wanted.items():
        np.testing.assert_array_equal(tagger.model.get_parameter(name).detach().numpy(), kept, err_msg=name)
    assert info.zeros == round(sparsity * info.weights)
    assert same_bits(others, {n: p.detach() for n, p in tagger.model.named_parameters() if n not in norms})


@given(
    shapes=st.tuples(*[st.tuples(st.integers(1, 12), st.integers(1, 12))] * 3),
    sparsity=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    block=st.sampled_from([1, 20, 1 << 16]),
    coarse=st.booleans(),
)
def test_any_shape_against_loops(
    shapes: tuple[tuple[int, int], ...],
    sparsity: float,
    seed: int,
    dtype: torch.dtype,
    block: int,
    coarse: bool,
) -> None:
    model = Matrices(*shapes, dtype=dtype)
    chance = torch.Generator().manual_seed(seed)
    norms = {}
    for name, weight in model.weights.items():
        values, norm = (
            torch.randn(weight.shape, generator=chance),
            torch.rand(weight.shape[1], generator=chance),
        )
        # Coarse values tie, are zero already, and meet inputs that always are.
        weight.copy_(values.round() if coarse else values)
        norms[name] = (norm * 2).round() if coarse else norm
    before = {name: w.double().numpy().copy() for name, w in model.weights.items()}
    with mock.patch.object(norms_module, "_BLOCK", block):
        info = prune_model(model, sparsity=sparsity, method="wanda", statistics=norms)
    wanted = oracle(before, {n: x.double().numpy() for n, x in norms.items()}, sparsity)
    for name, weight in model.weights.items():
        assert weight.dtype == dtype
        np.testing.assert_array_equal(weight.double().numpy(), wanted[name])
    assert info.zeros == sum(int((w == 0).sum()) for w in wanted.values()) >= round(sparsity * info.weights)
    if not any((w == 0).any() for w in before.values()):
        assert info.zeros == round(sparsity * info.weights)
    for done in info.matrices:
        lost = before[done.matrix.name][wanted[done.matrix.name] == 0]
        assert done.threshold == (np.abs(lost).max() if len(lost) else 0.0)


@given(
    shapes=st.tuples(*[st.tuples(st.integers(1, 9), st.integers(1, 40))] * 3),
    sparsity=st.floats(0, 1, exclude_max=True),
)
def test_rows_of_a_matrix_lose_alike(shapes: tuple[tuple[int, int], ...], sparsity: float) -> None:
    model = Matrices(*shapes)
    info = prune_model(
        model,
        sparsity=sparsity,
        method="wanda",
        statistics={n: torch.ones(w.shape[1]) for n, w in model.weights.items()},
    )
    assert info.zeros == round(sparsity * info.weights)
    for weight in model.weights.values():
        by_row = (weight == 0).sum(1)
        assert by_row.max() - by_row.min() <= 1
        assert abs(int(by_row.sum()) - sparsity * weight.numel()) < 1 + 0.5


def test_inputs_decide_what_magnitude_would_not() -> None:
    model = Matrices((1, 4), (1, 4), (1, 4))
    for weight in model.weights.values():
        weight.copy_(torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
    prune_model(
        model,
        sparsity=0.25,
        method="wanda",
        statistics=dict.fromkeys(model.weights, torch.tensor([0.1, 1.0, 10.0, 5.0])),
    )
    assert all(w.tolist() == [[0.0, 3.0, 2.0, 1.0]] for w in model.weights.values())


def test_zeros_that_are_there_go_before_weights_whose_input_is_always_zero() -> None:
    """Else the row would lose its first weight and have two zeros."""
    model = Matrices((1, 4), (1, 4), (1, 4))
    for weight in model.weights.values():
        weight.copy_(torch.tensor([[5.0, 1.0, -0.0, 2.0]]))
    info = prune_model(
        model,
        sparsity=0.25,
        method="wanda",
        statistics=dict.fromkeys(model.weights, torch.tensor([0.0, 1, 1, 1])),
    )
    assert (info.zeros, info.zeros_before) == (3, 3)
    assert all(w.tolist() == [[5.0, 1.0, 0.0, 2.0]] for w in model.weights.values())


def test_a_row_with_more_zeros_keeps_them() -> None:
    model = Matrices((2, 4), (2, 4), (2, 4))
    for weight in model.weights.values():
        weight.copy_(torch.tensor([[0.0, 0.0, 0.0, 1.0], [4.0, 3.0, 2.0, 1.0]]))
    info = prune_model(
        model, sparsity=0.25, method="wanda", statistics={n: torch.ones(4) for n in model.weights}
    )
    assert [(w == 0).sum(1).tolist() for w in model.weights.values()] == [[3, 1]] * 3
    assert info.zeros == 12


def test_scores_too_small_for_float32_are_still_told_apart() -> None:
    model = Matrices((1, 2), (1, 2), (1, 2))
    for weight in model.weights.values():
        weight.copy_(torch.tensor([[2e-30, 1e-30]]))
    prune_model(
        model, sparsity=0.5, method="wanda", statistics={n: torch.full((2,), 1e-30) for n in model.weights}
    )
    assert all((w == 0).tolist() == [[False, True]] for w in model.weights.values())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused_before_any_is_touched(value: float) -> None:
    model = Matrices((3, 3), (3, 3), (3, 3))
    list(model.weights.values())[-1][2, 2] = value
    before = {n: w.clone() for n, w in model.weights.items()}
    with pytest.raises(ModelError, match="not finite numbers, so they cannot be ranked"):
        prune_model(model, sparsity=0.5, method="wanda", statistics={n: torch.ones(3) for n in before})
    assert same_bits(before, model.weights)


def test_statistics_must_fit() -> None:
    model = Matrices((3, 4), (3, 4), (3, 4))
    fitting = {n: torch.ones(4) for n in model.weights}
    name = next(iter(fitting))
    bad: list[tuple[dict[str, torch.Tensor] | None, str]] = [
        (None, "needs statistics"),
        ({n: x for n, x in fitting.items() if n != name}, f"the statistics lack {name}"),
        (fitting | {name: torch.ones(3)}, r"have the shape \(3,\), expected \(4,\)"),
        (fitting | {name: torch.ones(1, 4)}, r"have the shape \(1, 4\), expected \(4,\)"),
        (fitting | {name: -torch.ones(4)}, "not negative"),
        (fitting | {name: torch.full((4,), math.nan)}, "finite"),
    ]
    before = {n: w.clone() for n, w in model.weights.items()}
    for statistics, message in bad:
        with pytest.raises(ParameterError, match=message):
            prune_model(model, sparsity=0.5, method="wanda", statistics=statistics)
    with pytest.raises(
        ParameterError, match="statistics are for methods that are calibrated, but the method is 'layerwise'"
    ):
        prune_model(model, sparsity=0.5, method="layerwise", statistics=fitting)
    assert same_bits(before, model.weights)


def test_a_cap_is_met_by_matrices_ranked_alone() -> None:
    """Each matrix loses its own share, so no layer loses more than the others."""
    model = Matrices((3, 4), (3, 4), (3, 4))
    ones = {n: torch.ones(4) for n in model.weights}
    info = prune_model(model, sparsity=0.5, method="wanda", statistics=ones, max_layer_sparsity=0.5)
    assert info.zeros == 18
    assert info.as_dict()["layers"][0]["sparsity"] == 0.5
