"""Wanda against an oracle in numpy loops; the norms of inputs without padding; text to calibrate on."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from affineur.artifact import in_scope, read_manifest
from affineur.cli.main import build_parser, main
from affineur.entities import Corpus, open_corpus
from affineur.errors import DataError, ModelError, ParameterError
from affineur.pipeline import read_recipe, run
from affineur.pipeline.recipe import PruneSection
from affineur.steps import (
    METHODS,
    PruningInfo,
    TorchTagger,
    TrainSettings,
    input_norms,
    load_encoder,
    load_tagger,
    prune,
    prune_model,
    recover,
    wanda,
)

from ..conftest import FAMILIES, corpus_of, same_bits, zero_set
from ..test_prune import state

LONG = [
    "Marie",
    "Duval",
    "quitte",
    "Laiterie",
    "Durand",
    "pour",
    "rejoindre",
    "Télévox",
    "à",
    "Nîmes",
    ".",
] * 8  # more than a window of 64


def sentences_of(corpus: Corpus) -> list[tuple[str, ...]]:
    return [s.words for s in corpus]


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


# What becomes zero
# -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.15, 0.5])
@pytest.mark.parametrize("family", ["camembert", "bert", "distilbert", "deberta-v2", "modernbert"])
def test_real_families_against_loops(
    family: str, sparsity: float, shared_model, train_corpus: Corpus
) -> None:
    tagger = load_tagger(shared_model(family))
    sentences = [*sentences_of(train_corpus.head(6)), tuple(LONG)]
    norms = input_norms(tagger, sentences)
    wanted_norms = naive_norms(tagger, sentences)
    assert norms.keys() == wanted_norms.keys()
    for name, found in norms.items():
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), wanted_norms[name], rtol=1e-5, err_msg=name)
    before = {name: tagger.model.get_parameter(name).detach().numpy().copy() for name in norms}
    others = {n: p.detach().clone() for n, p in tagger.model.named_parameters() if n not in norms}
    info = prune_model(tagger.model, sparsity, "wanda", activations=norms)
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
    with mock.patch.object(wanda, "_BLOCK", block):
        info = prune_model(model, sparsity, "wanda", activations=norms)
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
        model, sparsity, "wanda", activations={n: torch.ones(w.shape[1]) for n, w in model.weights.items()}
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
        model, 0.25, "wanda", activations=dict.fromkeys(model.weights, torch.tensor([0.1, 1.0, 10.0, 5.0]))
    )
    assert all(w.tolist() == [[0.0, 3.0, 2.0, 1.0]] for w in model.weights.values())


def test_zeros_that_are_there_go_before_weights_whose_input_is_always_zero() -> None:
    """Else the row would lose its first weight and have two zeros."""
    model = Matrices((1, 4), (1, 4), (1, 4))
    for weight in model.weights.values():
        weight.copy_(torch.tensor([[5.0, 1.0, -0.0, 2.0]]))
    info = prune_model(
        model, 0.25, "wanda", activations=dict.fromkeys(model.weights, torch.tensor([0.0, 1, 1, 1]))
    )
    assert (info.zeros, info.zeros_before) == (3, 3)
    assert all(w.tolist() == [[5.0, 1.0, 0.0, 2.0]] for w in model.weights.values())


def test_a_row_with_more_zeros_keeps_them() -> None:
    model = Matrices((2, 4), (2, 4), (2, 4))
    for weight in model.weights.values():
        weight.copy_(torch.tensor([[0.0, 0.0, 0.0, 1.0], [4.0, 3.0, 2.0, 1.0]]))
    info = prune_model(model, 0.25, "wanda", activations={n: torch.ones(4) for n in model.weights})
    assert [(w == 0).sum(1).tolist() for w in model.weights.values()] == [[3, 1]] * 3
    assert info.zeros == 12


def test_scores_too_small_for_float32_are_still_told_apart() -> None:
    model = Matrices((1, 2), (1, 2), (1, 2))
    for weight in model.weights.values():
        weight.copy_(torch.tensor([[2e-30, 1e-30]]))
    prune_model(model, 0.5, "wanda", activations={n: torch.full((2,), 1e-30) for n in model.weights})
    assert all((w == 0).tolist() == [[False, True]] for w in model.weights.values())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused_before_any_is_touched(value: float) -> None:
    model = Matrices((3, 3), (3, 3), (3, 3))
    list(model.weights.values())[-1][2, 2] = value
    before = {n: w.clone() for n, w in model.weights.items()}
    with pytest.raises(ModelError, match="not finite numbers, so they cannot be ranked"):
        prune_model(model, 0.5, "wanda", activations={n: torch.ones(3) for n in before})
    assert same_bits(before, model.weights)


def test_activations_must_fit() -> None:
    model = Matrices((3, 4), (3, 4), (3, 4))
    fitting = {n: torch.ones(4) for n in model.weights}
    name = next(iter(fitting))
    bad: list[tuple[dict[str, torch.Tensor] | None, str]] = [
        (None, "needs activations"),
        ({n: x for n, x in fitting.items() if n != name}, f"lack {name}"),
        (fitting | {name: torch.ones(3)}, r"have the shape \(3,\), expected \(4,\)"),
        (fitting | {name: torch.ones(1, 4)}, r"have the shape \(1, 4\), expected \(4,\)"),
        (fitting | {name: -torch.ones(4)}, "not negative"),
        (fitting | {name: torch.full((4,), math.nan)}, "finite"),
    ]
    before = {n: w.clone() for n, w in model.weights.items()}
    for activations, message in bad:
        with pytest.raises(ParameterError, match=message):
            prune_model(model, 0.5, "wanda", activations=activations)
    with pytest.raises(
        ParameterError, match="activations are for method 'wanda', but the method is 'layerwise'"
    ):
        prune_model(model, 0.5, "layerwise", activations=fitting)
    assert same_bits(before, model.weights)


# Norms of inputs
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_does_not_count(family: str, shared_model, train_corpus: Corpus) -> None:
    """In one batch with a long sentence all others are mostly padding; alone they have none."""
    tagger = load_tagger(shared_model(family))
    sentences = [("Paris",), ("Il", "fait", "beau"), tuple(LONG[:20]), *sentences_of(train_corpus.head(8))]
    padded = input_norms(TorchTagger(tagger.model, tagger.encoder, tagger.labels, budget=1 << 20), sentences)
    alone = input_norms(TorchTagger(tagger.model, tagger.encoder, tagger.labels, budget=1), sentences)
    for name, found in padded.items():
        torch.testing.assert_close(found, alone[name], rtol=1e-5, atol=1e-6, msg=name)


def test_the_same_text_twice_gives_the_same_bits(shared_model, train_corpus: Corpus) -> None:
    tagger = load_tagger(shared_model())
    first, second = (input_norms(tagger, sentences_of(train_corpus)) for _ in range(2))
    assert same_bits(first, second)


@pytest.mark.parametrize("family", ["camembert", "distilbert"])
def test_feed_forward_in_chunks_is_counted_whole(family: str, shared_model, short: Corpus) -> None:
    tagger = load_tagger(shared_model(family))
    window = [("Paris", "Lyon")]  # one window: transformers wants its length to be a multiple of the chunk
    length = len(next(iter(tagger.encoder.windows(window))))
    whole = input_norms(tagger, window)
    for module in tagger.model.modules():
        if hasattr(module, "chunk_size_feed_forward"):
            module.chunk_size_feed_forward = 1
    calls = []
    handle = next(
        m for n, m in tagger.model.named_modules() if n.endswith(("intermediate.dense", "lin1"))
    ).register_forward_hook(lambda *_: calls.append(1))
    chunked = input_norms(tagger, window)
    handle.remove()
    assert len(calls) == length
    for name, found in chunked.items():
        torch.testing.assert_close(found, whole[name], rtol=1e-5, atol=1e-6)


class Unpadding(nn.Module):
    """Takes padding out before its matrices, as ModernBERT with flash attention does."""

    def __init__(self, unpads: bool, shaped: str = "2-D") -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = nn.Embedding(1000, 6)
        self.layers = nn.ModuleList([nn.ModuleDict({"attn": nn.ModuleDict({"Wo": nn.Linear(6, 6)})})])
        self.unpads, self.shaped = unpads, shaped

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        inputs = self.embed(input_ids)
        if self.unpads:
            inputs = inputs[attention_mask.bool()]
        if self.shaped == "3-D":
            inputs = inputs[None]
        if self.shaped == "odd":
            inputs = inputs[:-1]
        return SimpleNamespace(logits=self.layers[0]["attn"]["Wo"](inputs))


@pytest.mark.parametrize("shaped", ["2-D", "3-D"])
def test_inputs_without_padding_count_whole(shaped: str, shared_model) -> None:
    encoder = load_encoder(shared_model())
    sentences = [("Paris",), tuple(LONG[:12]), ("Marie", "Duval")]
    padded, unpadded = (
        input_norms(TorchTagger(m, encoder, ("O",)), sentences)
        for m in (Unpadding(False), Unpadding(True, shaped))
    )
    name = "layers.0.attn.Wo.weight"
    torch.testing.assert_close(unpadded[name], padded[name], rtol=1e-12, atol=0)


def test_shapes_that_hide_the_padding_are_refused_and_hooks_are_gone(shared_model) -> None:
    model = Unpadding(True, "odd")
    tagger = TorchTagger(model, load_encoder(shared_model()), ("O",))
    with pytest.raises(
        ModelError,
        match=r"the inputs of layers.0.attn.Wo.weight have the shape \(\d+, 6\), .* prune with --method magnitude",
    ):
        input_norms(tagger, [("Paris",), ("Marie", "Duval", "habite")])
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_hooks_are_gone_after_success_too(shared_model) -> None:
    tagger = load_tagger(shared_model())
    input_norms(tagger, [("Paris",)])
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in tagger.model.modules())


def test_a_matrix_that_is_never_used_is_refused(shared_model) -> None:
    model = Unpadding(True)
    model.layers.append(nn.ModuleDict({"attn": nn.ModuleDict({"Wo": nn.Linear(6, 6)})}))
    with pytest.raises(ModelError, match=r"never used layers\.1\.attn\.Wo\.weight"):
        input_norms(TorchTagger(model, load_encoder(shared_model()), ("O",)), [("Paris",)])


def test_damaged_weights_are_named(shared_model) -> None:
    tagger = load_tagger(shared_model())
    with torch.no_grad():
        tagger.model.get_input_embeddings().weight[:] = math.nan
    with pytest.raises(ModelError, match="are not all finite numbers"):
        input_norms(tagger, [("Paris",)])


def test_scopes_and_text_without_pieces(shared_model) -> None:
    tagger = load_tagger(shared_model())
    assert len(input_norms(tagger, [("Paris",)], "ffn")) == 2 * 3
    with pytest.raises(ParameterError, match="no scope 'all'"):
        input_norms(tagger, [("Paris",)], "all")
    with pytest.raises(DataError, match="no piece of any word"):
        input_norms(tagger, [])


# Folders
# -----------------------------------------------------------------------------------------------------------------


def test_writes_what_it_was_calibrated_on_and_knows_it_again(
    tiny_model, train_corpus: Corpus, tmp_path: Path
) -> None:
    source, out = tiny_model(), tmp_path / "out"
    info = prune(source, out, 0.3, "wanda", calibration=train_corpus)
    assert isinstance(info, PruningInfo)
    assert info.zeros == round(0.3 * info.weights) == sum(int(z.sum()) for z in zero_set(out).values())
    said = json.loads((out / "pruning_info.json").read_text("utf-8"))
    assert said == json.loads(json.dumps(info.as_dict()))
    wanted = {"name": train_corpus.name, "digest": train_corpus.digest, "sentences": len(train_corpus)}
    assert (said["method"], said["calibration"]) == ("wanda", wanted)
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.data == {"calibration": wanted}
    before = state(out)
    assert prune(source, out, 0.3, "wanda", calibration=train_corpus) is None
    assert state(out) == before
    assert prune(source, out, 0.3, "wanda", calibration=train_corpus.head(7)) is not None
    assert prune(source, out, 0.3) is not None
    assert json.loads((out / "pruning_info.json").read_text("utf-8"))["calibration"] is None
    assert prune(source, out, 0.3, "wanda", calibration=train_corpus) is not None
    assert (out / "model.safetensors").read_bytes() == before["model.safetensors"][1]


def test_only_the_first_sentences_are_read(
    tiny_model, train_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wanda.CALIBRATION_SENTENCES <= 512
    monkeypatch.setattr("affineur.steps.prune.CALIBRATION_SENTENCES", 5)
    source = tiny_model()
    info = prune(source, tmp_path / "out", 0.3, "wanda", calibration=train_corpus)
    assert info is not None
    assert info.calibration is not None
    assert info.calibration["sentences"] == 5
    assert prune(source, tmp_path / "out", 0.3, "wanda", calibration=train_corpus.head(5)) is None


def test_labels_are_never_read(tiny_model, short: Corpus, tmp_path: Path) -> None:
    """Types the model has never heard of change nothing."""
    source = tiny_model()
    strange = corpus_of(*((" ".join(s.words), " ".join(["B-VIRUS"] * len(s.words))) for s in short))
    prune(source, tmp_path / "a", 0.3, "wanda", calibration=short)
    prune(source, tmp_path / "b", 0.3, "wanda", calibration=strange)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        tmp_path / "b" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays(dtype: str, tiny_model, short: Corpus, tmp_path: Path) -> None:
    info = prune(tiny_model(dtype=dtype), tmp_path / "out", 0.3, "wanda", calibration=short)
    assert info is not None
    assert info.zeros == max(round(0.3 * info.weights), info.zeros_before)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype


def test_calibration_and_method_go_together(tiny_model, short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="'wanda' needs text to calibrate on"):
        prune(tiny_model(), tmp_path / "out", 0.3, "wanda")
    with pytest.raises(
        ParameterError, match="calibration text is for method 'wanda', but the method is 'magnitude'"
    ):
        prune(tiny_model(), tmp_path / "out", 0.3, calibration=short)
    with pytest.raises(DataError, match="no piece of any word"):
        prune(tiny_model("bert"), tmp_path / "out", 0.3, "wanda", calibration=corpus_of(("\u200b", "O")))
    assert list(tmp_path.iterdir()) == []


def test_recover_keeps_the_zeros(tiny_model, short: Corpus, tmp_path: Path, one_step: TrainSettings) -> None:
    prune(tiny_model(), tmp_path / "pruned", 0.4, "wanda", calibration=short)
    recover(tmp_path / "pruned", tmp_path / "tuned", short, None, settings=one_step)
    before, after = zero_set(tmp_path / "pruned"), zero_set(tmp_path / "tuned")
    assert all(bool((after[name] | ~zeros).all()) for name, zeros in before.items())


# The command and the recipe
# ----------------------------------------------------------------------------------------------


def test_the_command(tiny_model, corpus: Path, tmp_path: Path) -> None:
    words = ["prune", str(tiny_model()), "--method", "wanda", "-q", "--json", str(tmp_path / "p.json"), "-o"]
    assert main([*words, str(tmp_path / "a"), "--calibration", str(corpus)]) == 0
    said = json.loads((tmp_path / "p.json").read_text())
    train = open_corpus(corpus / "train.conll")  # all of it: no dev part is held out where nothing is decided
    assert said["calibration"] == {"name": train.name, "digest": train.digest, "sentences": 60}
    assert main([*words, str(tmp_path / "b"), "--calibration", str(corpus / "test.conll")]) == 0
    assert json.loads((tmp_path / "p.json").read_text())["calibration"]["sentences"] == 20
    (corpus / "dev.conll").unlink()
    assert main([*words, str(tmp_path / "c"), "--calibration", str(corpus)]) == 0
    assert json.loads((tmp_path / "p.json").read_text())["calibration"] == said["calibration"]


def test_the_samples_text_is_used_where_none_is_named(tiny_model, tmp_path: Path) -> None:
    assert (
        main(
            [
                "prune",
                str(tiny_model()),
                "--method",
                "wanda",
                "-o",
                str(tmp_path / "out"),
                "--json",
                str(tmp_path / "p.json"),
                "-q",
            ]
        )
        == 0
    )
    said = json.loads((tmp_path / "p.json").read_text())["calibration"]
    assert said["sentences"] == wanda.CALIBRATION_SENTENCES
    assert said["name"].startswith("sample/train")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--calibration", "DATA"], "--calibration is for --method wanda, but the method is 'magnitude'"),
        (["--calibration", "DATA", "--method", "layerwise"], "the method is 'layerwise'"),
        (["--calibration", "DATA/nothing.conll", "--method", "wanda"], "no such file"),
        (["--calibration", "DATA/raw.txt", "--method", "wanda"], "raw.txt:1: "),
        (["--method", "wandb"], "did you mean 'wanda'?"),
    ],
    ids=str,
)
def test_errors_of_the_command(
    more: list[str],
    message: str,
    tiny_model,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (corpus / "raw.txt").write_text("Marie habite à Lyon.\nIl pleut.\n")
    words = [word.replace("DATA", str(corpus)) for word in more]
    assert main(["prune", str(tiny_model()), "-o", str(tmp_path / "out"), "-q", *words]) == 1
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "out").exists()


def test_every_method_is_in_the_help_and_in_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert get_args(PruneSection.model_fields["method"].annotation) == METHODS
    with pytest.raises(SystemExit):
        build_parser().parse_args(["prune", "--help"])
    said = capsys.readouterr().out
    assert all(method in said for method in METHODS)


def test_a_recipe_calibrates_on_its_train(tiny_model, corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"name: x\nteacher: {tiny_model()}\ndata: {corpus}\nprune: {{method: wanda}}\ncompare: {{rows: [pruned], rounds: 1, memory: false}}\n"
    )
    made = run(read_recipe(path), tmp_path / "runs")
    manifest = read_manifest(made.models["pruned"])
    assert manifest is not None
    assert manifest.parameters["method"] == "wanda"
    assert manifest.data["calibration"]["digest"] == open_corpus(corpus / "train.conll").digest
