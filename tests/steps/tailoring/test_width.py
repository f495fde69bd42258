"""``shrink``: fewer neurons, chosen by Fisher information, made up for by least squares."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification

from affineur.artifact import in_scope, verify
from affineur.engines.support.checkpoints import load_encoder, load_model
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus
from affineur.errors import DataError, ParameterError

from ..conftest import FAMILIES, corpus_of, run_step, same_bits, scores_of

WIDTH = 20


def feedforward(folder: Path, kind: str) -> dict[int, torch.Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {m.layer: weights[m.name] for m in in_scope(list(weights), "ffn") if m.kind == kind}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_anyone_can_load(
    family: str, tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    source, out = tiny_model(family), tmp_path / "out"
    assert run_step("shrink", source, out, calibration=short, ffn_width=WIDTH) == out
    before = load_model(source).config
    plain, loading = AutoModelForTokenClassification.from_pretrained(out, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    name = "hidden_dim" if family == "distilbert" else "intermediate_size"
    assert (getattr(before, name), getattr(plain.config, name)) == (
        feedforward(source, "ffn.output")[0].shape[1],
        WIDTH,
    )
    old, new = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    ffn = {m.name for m in in_scope(list(old), "ffn")}
    ffn |= {name.removesuffix("weight") + "bias" for name in ffn}
    assert same_bits(
        {n: w for n, w in old.items() if n not in ffn}, {n: w for n, w in new.items() if n not in ffn}
    )
    for layer, rows in feedforward(out, "ffn.intermediate").items():
        gates = 2 if family == "modernbert" else 1
        whole = feedforward(source, "ffn.intermediate")[layer].view(gates, -1, rows.shape[1])
        kept = [int((whole[0] == row).all(1).nonzero().item()) for row in rows[:WIDTH]]
        assert kept == sorted(set(kept))
        assert torch.equal(
            rows, whole[:, kept].reshape(-1, rows.shape[1])
        )  # a neuron and its gate go together
    assert load_tagger(out).tag([s.words for s in short])
    scores = scores_of(out)
    assert [layer["layer"] for layer in scores["layers"]] == [0, 1, 2]
    assert all(0 < layer["lost"] < layer["lost_without_least_squares"] for layer in scores["layers"])


@pytest.mark.parametrize("family", ["camembert", "distilbert", "modernbert"])
def test_neurons_that_give_nothing_go_first(
    family: str, tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    """Dead outputs and copies: without them the model answers as before, and least squares has nothing to
    mend.
    """
    source, out = tiny_model(family), tmp_path / "out"
    weights = load_file(source / "model.safetensors")
    dead = [0, 5, 7, 33]
    for matrix in in_scope(list(weights), "ffn"):
        if matrix.kind == "ffn.output":
            weights[matrix.name][:, dead] = 0
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    run_step("shrink", source, out, calibration=short, ffn_width=48 - len(dead))
    words = [s.words for s in short]
    for old, new in zip(load_tagger(source).logits(words), load_tagger(out).logits(words), strict=True):
        np.testing.assert_allclose(old, new, atol=1e-4)
    alive = [i for i in range(48) if i not in dead]
    for layer, rows in feedforward(out, "ffn.intermediate").items():
        assert torch.equal(rows[: len(alive)], feedforward(source, "ffn.intermediate")[layer][alive])


def test_the_importance_is_the_fisher_information_of_a_switch(
    tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    """The oracle: a switch at each neuron and piece of one sentence, and its gradient by torch."""
    source = tiny_model(hidden_dropout_prob=0.0)
    one = short.head(1)
    network, encoder = load_model(source), load_encoder(source)
    (window,) = encoder.windows([s.words for s in one])
    switches = []

    def switched(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        switches.append(torch.ones_like(inputs[0], requires_grad=True))
        return (inputs[0] * switches[-1],)

    for layer in network.roberta.encoder.layer:
        layer.output.dense.register_forward_pre_hook(switched)
    logits = network(torch.tensor([window.ids])).logits[0, list(window.positions)]
    (-torch.log_softmax(logits, -1).max(-1).values.sum()).backward()
    run_step("shrink", source, tmp_path / "out", calibration=one, ffn_width=WIDTH)
    for place, rows in feedforward(tmp_path / "out", "ffn.intermediate").items():
        best = switches[place].grad[0].double().square().sum(0).argsort(descending=True)[:WIDTH].sort().values
        assert torch.equal(rows, feedforward(source, "ffn.intermediate")[place][best])


def test_least_squares_is_the_best_there_is(
    tiny_model: Callable[..., Path], train_corpus: Corpus, tmp_path: Path
) -> None:
    """The oracle: numpy's ``lstsq`` on the activations of the dense model."""
    source = tiny_model()
    run_step("shrink", source, tmp_path / "ls", calibration=train_corpus, ffn_width=WIDTH)
    run_step("shrink", source, tmp_path / "no", calibration=train_corpus, ffn_width=WIDTH, reconstruct=False)
    network, encoder = load_model(source), load_encoder(source)
    layer = network.roberta.encoder.layer[0]
    seen = []
    layer.output.dense.register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0][0].detach().double())
    )
    with torch.inference_mode():
        for window in encoder.windows([s.words for s in train_corpus]):
            network(torch.tensor([window.ids]))
    active = torch.cat(seen).numpy()
    wanted = (
        active @ layer.output.dense.weight.detach().double().numpy().T
        + layer.output.dense.bias.detach().double().numpy()
    )
    rows, whole = (
        feedforward(tmp_path / "no", "ffn.intermediate")[0],
        feedforward(source, "ffn.intermediate")[0],
    )
    kept = [int((whole == row).all(1).nonzero().item()) for row in rows]
    assert torch.equal(
        feedforward(tmp_path / "no", "ffn.output")[0], feedforward(source, "ffn.output")[0][:, kept]
    )
    given = np.hstack([active[:, kept], np.ones((len(active), 1))])
    best = np.linalg.lstsq(given, wanted, rcond=None)[0]
    floor = np.square(given @ best - wanted).sum() / np.square(wanted).sum()
    weights = load_file(tmp_path / "ls" / "model.safetensors")
    name = "roberta.encoder.layer.0.output.dense"
    ours = (
        active[:, kept] @ weights[f"{name}.weight"].double().numpy().T
        + weights[f"{name}.bias"].double().numpy()
    )
    lost = np.square(ours - wanted).sum() / np.square(wanted).sum()
    said = scores_of(tmp_path / "ls")["layers"][0]
    assert said["lost"] == pytest.approx(lost, rel=1e-3)
    assert floor <= lost * (1 + 1e-6)
    assert lost < 1.05 * floor + 1e-4  # the ridge costs little
    plain = scores_of(tmp_path / "no")["layers"][0]
    assert plain["lost"] == plain["lost_without_least_squares"] == said["lost_without_least_squares"]


def test_batches_do_not_matter(
    tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_model()
    run_step("shrink", source, tmp_path / "many", calibration=short, ffn_width=WIDTH)
    monkeypatch.setattr("affineur.steps.tailoring.width.DEFAULT_BUDGET", 1)
    run_step("shrink", source, tmp_path / "one", calibration=short, ffn_width=WIDTH)
    many, one = (load_file(tmp_path / name / "model.safetensors") for name in ("many", "one"))
    for name, weight in many.items():
        torch.testing.assert_close(weight, one[name], atol=1e-4, rtol=1e-3)


def test_a_share_the_dtype_and_a_second_call(
    tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    source, out = tiny_model(dtype="float16"), tmp_path / "out"
    run_step("shrink", source, out, calibration=short, ffn_width=0.5)
    assert json.loads((out / "config.json").read_text())["intermediate_size"] == 24
    assert {w.dtype for w in load_file(out / "model.safetensors").values()} == {torch.float16}
    before = (out / "affineur.json").stat().st_mtime_ns
    run_step("shrink", source, out, calibration=short, ffn_width=24)  # the same
    assert (out / "affineur.json").stat().st_mtime_ns == before
    run_step("shrink", out, tmp_path / "again", calibration=short, ffn_width=12)
    manifest = verify(tmp_path / "again")
    assert manifest is not None
    assert [p.stage for p in manifest.parents] == ["shrink", "given"]


@pytest.mark.parametrize(
    ("width", "wanted"),
    [
        *((width, "48 neurons, expected 2 to 47") for width in (1, 48, 49, 20.5, 0.001)),
        *((width, f"ffn_width={width:g} is impossible: expected") for width in (0, -1, math.nan, math.inf)),
    ],
)
def test_impossible_widths_write_nothing(
    width: float, wanted: str, tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=wanted):
        run_step("shrink", tiny_model(), tmp_path / "out", calibration=short, ffn_width=width)
    assert list(tmp_path.iterdir()) == []


def test_a_pruned_model_is_refused(tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path) -> None:
    run_step("prune", tiny_model(), tmp_path / "pruned", sparsity=0.3)
    with pytest.raises(ParameterError, match="its zeros would be lost; shrink the model it was made from"):
        run_step("shrink", tmp_path / "pruned", tmp_path / "out", calibration=short, ffn_width=WIDTH)
    assert not (tmp_path / "out").exists()


def test_text_without_pieces(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no piece of any word"):
        run_step(
            "shrink",
            tiny_model("bert"),
            tmp_path / "out",
            calibration=corpus_of(("\u0001", "O")),
            ffn_width=WIDTH,
        )
    assert list(tmp_path.iterdir()) == []
