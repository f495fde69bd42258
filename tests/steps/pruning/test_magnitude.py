"""Pruning by magnitude, global and layerwise, against oracles: torch's own, and a stable sort."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as oracle
from transformers import AutoModelForTokenClassification, PreTrainedModel

from affineur.artifact import in_scope
from affineur.errors import ModelError, ParameterError
from affineur.steps.pruning.core import ranking
from affineur.steps.pruning.core.info import PruningInfo
from affineur.steps.pruning.core.zeroing import prune_model

from ..conftest import FAMILIES, same_bits

HALF = (torch.float16, torch.bfloat16)


class Fake(nn.Module):
    """An encoder's names over matrices of any size: one column of weights a matrix."""

    def __init__(self, *layers: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()

        def dense(size: int) -> nn.Linear:
            return nn.Linear(size, 1, dtype=dtype)

        self.layer = nn.ModuleList(
            nn.ModuleDict(
                {
                    "attention": nn.ModuleDict({"q_lin": dense(query)}),
                    "intermediate": nn.ModuleDict({"dense": dense(first)}),
                    "output": nn.ModuleDict({"dense": dense(second)}),
                }
            )
            for query, first, second in layers
        )
        self.classifier = nn.Linear(3, 2, dtype=dtype)

    @property
    def matrices(self) -> list[nn.Parameter]:
        """The matrices in scope, in the order in which ties are broken."""
        parts = (("attention", "q_lin"), ("intermediate", "dense"), ("output", "dense"))
        return [layer[a][b].weight for layer in self.layer for a, b in parts]

    def fill(self, values: torch.Tensor) -> Fake:
        """Set all weights in scope, in that order."""
        with torch.no_grad():
            for weight, part in zip(
                self.matrices, values.split([w.numel() for w in self.matrices]), strict=True
            ):
                weight.copy_(part.view_as(weight))
        return self

    @property
    def flat(self) -> torch.Tensor:
        """All weights in scope, in that order."""
        return torch.cat([w.detach().flatten() for w in self.matrices]).clone()


def stable_oracle(values: torch.Tensor, k: int) -> torch.Tensor:
    """What must remain: the k smallest by a stable sort are zero."""
    order = np.argsort(values.double().abs().numpy(), kind="stable")
    wanted = values.clone()
    wanted[torch.from_numpy(order[:k].copy())] = 0
    return wanted


def equal(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Same numbers, and the same bits where they are not zero."""
    return bool((found == wanted).all()) and same_bits({"": found[wanted != 0]}, {"": wanted[wanted != 0]})


def load(path: Path, dtype: str = "auto") -> PreTrainedModel:
    return AutoModelForTokenClassification.from_pretrained(path, dtype=dtype)


@pytest.mark.parametrize("sparsity", [0.15, 0.5, 0.9])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_zeros_as_torchs_global_unstructured(family: str, sparsity: float, shared_model) -> None:
    ours, theirs = load(shared_model(family)), load(shared_model(family))
    info = prune_model(ours, sparsity=sparsity)
    names = [m.name for m in in_scope([name for name, _ in theirs.named_parameters()])]
    modules = [(theirs.get_submodule(name.removesuffix(".weight")), "weight") for name in names]
    k = round(sparsity * sum(m.weight.numel() for m, _ in modules))
    oracle.global_unstructured(modules, oracle.L1Unstructured, amount=k)
    for (module, _), name in zip(modules, names, strict=True):
        assert torch.equal(ours.get_parameter(name) == 0, module.weight_mask == 0), name
    assert info.zeros == k


@pytest.mark.parametrize("method", ["magnitude", "layerwise"])
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_else_is_touched(family: str, method: str, shared_model) -> None:
    model = load(shared_model(family))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    info = prune_model(model, sparsity=0.4, method=method)
    pruned = {m.matrix.name for m in info.matrices}
    after = {name: p.detach() for name, p in model.named_parameters()}
    assert same_bits(
        {n: p for n, p in before.items() if n not in pruned},
        {n: p for n, p in after.items() if n not in pruned},
    )
    for name in pruned:
        assert equal(after[name].flatten(), torch.where(after[name] == 0, 0, before[name]).flatten()), name


@given(
    layers=st.lists(st.tuples(*[st.integers(1, 40)] * 3), min_size=1, max_size=3),
    sparsity=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([torch.float32, *HALF]),
    chunk=st.sampled_from([1, 3, 1 << 20]),
    coarse=st.booleans(),
)
def test_exactly_the_k_smallest(
    layers: list[tuple[int, int, int]],
    sparsity: float,
    seed: int,
    dtype: torch.dtype,
    chunk: int,
    coarse: bool,
) -> None:
    model = Fake(*layers, dtype=dtype)
    values = torch.randn(len(model.flat), generator=torch.Generator().manual_seed(seed))
    values = (torch.round(values * 2) / 2 if coarse else values).to(
        dtype
    )  # coarse values tie, and have both zeros
    model.fill(values)
    k = round(sparsity * len(values))
    with mock.patch.object(ranking, "_CHUNK", chunk):
        info = prune_model(model, sparsity=sparsity)
    already = int((values == 0).sum())
    assert equal(model.flat, stable_oracle(values, k))
    assert info.zeros == max(k, already) == int((model.flat == 0).sum())
    assert info.zeros_before == already
    assert info.weights == len(values)
    assert {p.dtype for p in model.parameters()} == {dtype}
    lost = values[(model.flat == 0) & (values != 0)]
    assert max(m.threshold for m in info.matrices) == (float(lost.abs().max()) if len(lost) else 0.0)


@given(
    sizes=st.tuples(*[st.integers(1, 50)] * 3),
    sparsity=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_layerwise_is_exact_in_each_matrix_and_in_total(
    sizes: tuple[int, int, int], sparsity: float, seed: int
) -> None:
    model = Fake(sizes, sizes[::-1])
    model.fill(torch.randn(len(model.flat), generator=torch.Generator().manual_seed(seed)))
    before = [w.detach().flatten().clone() for w in model.matrices]
    info = prune_model(model, sparsity=sparsity, method="layerwise")
    assert info.zeros == round(sparsity * info.weights)
    for weight, old, done in zip(model.matrices, before, info.matrices, strict=True):
        assert abs(done.zeros - sparsity * len(old)) < 1 + 0.5  # its share, and the rounding of the total
        assert equal(weight.detach().flatten(), stable_oracle(old, done.zeros))


@given(
    layers=st.lists(st.tuples(*[st.integers(1, 30)] * 3), min_size=1, max_size=4),
    cap=st.fractions(Fraction(1, 100), 1, max_denominator=100),
    part=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_cap_is_respected_and_the_total_exact(
    layers: list[tuple[int, int, int]], cap: Fraction, part: float, seed: int
) -> None:
    sparsity = min(float(cap) * part, 0.999)
    model = Fake(*layers)
    random = torch.Generator().manual_seed(seed)
    # So that global ranking prefers low layers.
    scale = [torch.full((sum(sizes),), float(i + 1)) for i, sizes in enumerate(layers)]
    values = torch.randn(len(model.flat), generator=random) * torch.cat(scale)
    model.fill(values)
    info = prune_model(model, sparsity=sparsity, max_layer_sparsity=float(cap))
    sizes = [sum(layer) for layer in layers]
    zeros = [sum(m.zeros for m in info.matrices if m.matrix.layer == i) for i in range(len(layers))]
    assert sum(zeros) == round(sparsity * sum(sizes)) == int((model.flat == 0).sum())
    room = [math.floor(cap * size) for size in sizes]
    spare = 0 if sum(room) >= sum(zeros) else 1  # whole weights may leave no other way
    assert all(found <= most + spare for found, most in zip(zeros, room, strict=True))
    for i, part_of in enumerate(values.split(sizes)):  # and each layer loses its smallest
        assert equal(model.flat.split(sizes)[i], stable_oracle(part_of, zeros[i]))


def test_a_cap_that_binds_moves_zeros_to_the_other_layers() -> None:
    model = Fake((10, 10, 10), (10, 10, 10)).fill(
        torch.cat([torch.full((30,), 0.1), torch.arange(1.0, 31.0)])
    )
    info = prune_model(model, sparsity=0.4, max_layer_sparsity=0.5)
    assert [layer["zeros"] for layer in info.as_dict()["layers"]] == [15, 9]
    assert (
        prune_model(
            Fake((10, 10, 10), (10, 10, 10)).fill(
                torch.cat([torch.full((30,), 0.1), torch.arange(1.0, 31.0)])
            ),
            sparsity=0.4,
        ).zeros
        == 24
    )


def test_a_cap_equal_to_the_sparsity_is_reached() -> None:
    info = prune_model(Fake(*[(64, 100, 35)] * 3), sparsity=0.15, max_layer_sparsity=0.15)
    assert info.zeros == round(0.15 * 597)


def test_zeros_beyond_the_cap_stay_and_count() -> None:
    values = torch.cat([torch.zeros(20), torch.arange(1.0, 11.0), torch.arange(1.0, 31.0)])
    info = prune_model(Fake((10, 10, 10), (10, 10, 10)).fill(values), sparsity=0.5, max_layer_sparsity=0.5)
    assert [layer["zeros"] for layer in info.as_dict()["layers"]] == [20, 10]
    assert info.zeros == 30


@pytest.mark.parametrize("value", [0.5, -0.5, 0.0, -0.0])
@pytest.mark.parametrize("method", ["magnitude", "layerwise"])
def test_constant_weights_go_by_position(value: float, method: str) -> None:
    model = Fake((8, 4, 4), (8, 4, 4)).fill(torch.full((32,), value))
    info = prune_model(model, sparsity=0.25, method=method)
    assert int((model.flat == 0).sum()) == (8 if value else 32)
    assert info.zeros_before == (0 if value else 32)
    if method == "magnitude" and value:
        assert (model.flat == 0).tolist() == [True] * 8 + [False] * 24
    if method == "layerwise" and value:
        assert [m.zeros for m in info.matrices] == [2, 1, 1, 2, 1, 1]


def test_twice_is_once() -> None:
    first, second = Fake((40, 30, 20)), Fake((40, 30, 20))
    second.load_state_dict(first.state_dict())
    prune_model(first, sparsity=0.3)
    prune_model(second, sparsity=0.2)
    again = prune_model(second, sparsity=0.3)
    assert again.zeros_before == 18
    assert torch.equal(first.flat, second.flat)
    less = prune_model(second, sparsity=0.1)
    assert (less.zeros, less.zeros_before) == (27, 27)
    assert torch.equal(first.flat, second.flat)


@pytest.mark.parametrize("method", ["magnitude", "layerwise", "wanda"])
@pytest.mark.parametrize("cap", [None, 0.6])
def test_weights_that_were_transposed_in_memory(method: str, cap: float | None, shared_model) -> None:
    """Issue 15, case 26 (torch): the same weights go, and the layout in memory stays."""
    one, other = load(shared_model()), load(shared_model())
    names = [m.name for m in in_scope([name for name, _ in one.named_parameters()])]
    for name in names:
        weight = other.get_parameter(name)
        weight.data = weight.data.t().contiguous().t()
        assert not weight.is_contiguous()
    known = {name: torch.arange(1.0, one.get_parameter(name).shape[1] + 1).double() for name in names}
    options: dict[str, Any] = {"statistics": known} if method == "wanda" else {}
    if method == "magnitude":
        options = {"max_layer_sparsity": cap}
    infos = [prune_model(model, sparsity=0.5, method=method, **options) for model in (one, other)]
    assert infos[0] == infos[1]
    assert same_bits(one.state_dict(), {k: v.contiguous() for k, v in other.state_dict().items()})
    assert not other.get_parameter(names[0]).is_contiguous()


def test_minus_zero_is_a_zero() -> None:
    values = torch.tensor([-0.0, 1e-45, -1e-45, 3.0, -0.0, 2.0, 5.0, 4.0, 0.0, 1.0])
    model = Fake((4, 3, 3)).fill(values)
    info = prune_model(model, sparsity=0.4)
    assert info.zeros_before == 3
    assert (model.flat == 0).tolist() == [True, True, False, False, True, False, False, False, True, False]


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_is_ranked_exactly(dtype: torch.dtype) -> None:
    """Every finite bit pattern once: neighbors, subnormals and both signs."""
    patterns = torch.arange(0, 1 << 16, dtype=torch.int32).to(torch.uint16).view(dtype)
    values = patterns[torch.isfinite(patterns)]
    values = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(1))]
    for sparsity in (0.001, 0.37, 0.999):
        model = Fake((len(values) - 20, 10, 10), dtype=dtype).fill(values)
        prune_model(model, sparsity=sparsity)
        assert equal(model.flat, stable_oracle(values, round(sparsity * len(values))))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_models_keep_their_dtype(dtype: str, shared_model) -> None:
    model = load(shared_model(dtype=dtype))
    info = prune_model(model, sparsity=0.3)
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    assert info.zeros == max(info.zeros_before, round(0.3 * info.weights))
    assert info.matrices[0].size_bytes == 2 * info.matrices[0].weights


@pytest.mark.parametrize("sparsity", [0.0, 0.999, 0.9999999])
def test_the_ends(sparsity: float, shared_model) -> None:
    model = load(shared_model())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    info = prune_model(model, sparsity=sparsity)
    assert info.zeros == round(sparsity * info.weights)
    assert info.as_dict()["achieved_sparsity"] == info.zeros / info.weights
    if not sparsity:
        assert same_bits(before, {name: p.detach() for name, p in model.named_parameters()})
        assert info.as_dict()["threshold"] == 0


@pytest.mark.parametrize("sparsity", [1.0, -0.1, 1.5, 15, math.nan, math.inf, -math.inf])
def test_impossible_sparsities(sparsity: float) -> None:
    model = Fake((3, 3, 3))
    before = model.flat
    with pytest.raises(ParameterError, match=r"outside \[0, 1\)"):
        prune_model(model, sparsity=sparsity)
    assert torch.equal(model.flat, before)


@pytest.mark.parametrize("cap", [0.0, -1.0, 1.1, math.nan])
def test_impossible_caps(cap: float) -> None:
    with pytest.raises(ParameterError, match=r"max_layer_sparsity must be in \(0, 1\], got"):
        prune_model(Fake((3, 3, 3)), sparsity=0.1, max_layer_sparsity=cap)
    with pytest.raises(ParameterError, match=r"sparsity 0.3 cannot be reached when no layer may exceed 0.2"):
        prune_model(Fake((3, 3, 3)), sparsity=0.3, max_layer_sparsity=0.2)


def test_unknown_methods_and_scopes() -> None:
    with pytest.raises(ParameterError, match=r"no pruning method 'magnitud', .*did you mean 'magnitude'\?"):
        prune_model(Fake((3, 3, 3)), sparsity=0.1, method="magnitud")
    with pytest.raises(ParameterError, match="no scope 'all'"):
        prune_model(Fake((3, 3, 3)), sparsity=0.1, scope="all")
    with pytest.raises(ParameterError, match="no matrix in scope"):
        prune_model(nn.Linear(3, 3), sparsity=0.1)


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("options", [{}, {"method": "layerwise"}, {"max_layer_sparsity": 0.5}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
def test_numbers_that_are_none_are_refused(value: float, options: dict[str, Any], dtype: torch.dtype) -> None:
    model = Fake((30, 30, 30), (30, 30, 30), dtype=dtype)
    with torch.no_grad():
        model.matrices[-1][0, -1] = value
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with pytest.raises(ModelError, match="not finite"):
        prune_model(model, sparsity=0.5, **options)
    assert same_bits(before, {name: p.detach() for name, p in model.named_parameters()})


@pytest.mark.parametrize(
    ("scope", "kinds"),
    [("attention", {"attention"}), ("ffn", {"ffn"}), ("attention+ffn", {"attention", "ffn"})],
)
def test_scopes(scope: str, kinds: set[str], shared_model) -> None:
    model = load(shared_model())
    info = prune_model(model, sparsity=0.5, scope=scope)
    assert {m.matrix.kind.partition(".")[0] for m in info.matrices} == kinds
    assert info.zeros == round(0.5 * info.weights)
    with_zeros = {
        name.split(".layer.")[1].split(".", 1)[1]
        for name, p in model.named_parameters()
        if ".layer." in name and bool((p == 0).any())
    }
    assert with_zeros == {m.matrix.name.split(".layer.")[1].split(".", 1)[1] for m in info.matrices}


def test_the_numbers_add_up(shared_model) -> None:
    model = load(shared_model())
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 0
    info: PruningInfo = prune_model(model, sparsity=0.15)
    said = info.as_dict()
    assert said["parameters"] == sum(p.numel() for p in model.parameters())
    assert (
        said["sparsity_of_model"] == sum(int((p == 0).sum()) for p in model.parameters()) / said["parameters"]
    )
    assert (
        said["zeros_in_scope"]
        == sum(layer["zeros"] for layer in said["layers"])
        == round(0.15 * said["weights_in_scope"])
    )
    assert said["weights_in_scope"] == sum(layer["weights"] for layer in said["layers"])
    for layer in said["layers"]:
        assert layer["weights"] == sum(m["weights"] for m in layer["matrices"].values())
        assert layer["zeros"] == sum(m["zeros"] for m in layer["matrices"].values())
        assert layer["sparsity"] == layer["zeros"] / layer["weights"]
        for matrix in layer["matrices"].values():
            assert matrix["zeros"] == int((model.get_parameter(matrix["name"]) == 0).sum())


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


@pytest.fixture
def _peak_memory() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
        _memory("VmHWM")
    except (OSError, StopIteration):
        pytest.skip("this system does not tell a peak that can be reset")


@pytest.mark.parametrize("cap", [None, 0.4])
@pytest.mark.usefixtures("_peak_memory")
def test_no_temporary_as_large_as_the_model(cap: float | None) -> None:
    model = Fake(*[(2_000_000, 1_000_000, 2_000_000)] * 4)  # 80 MB
    prune_model(model, sparsity=0.1)  # so that what torch loads once is not counted
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmHWM")
    prune_model(model, sparsity=0.3, max_layer_sparsity=cap)
    assert _memory("VmHWM") - before < 40_000_000
