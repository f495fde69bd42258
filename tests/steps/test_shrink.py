"""``shrink`` by layers: those the tags depend on least go; and what it has in common with ``ffn_width``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.special import rel_entr, softmax
from transformers import AutoConfig, AutoModelForTokenClassification

from affineur.artifact import in_scope, layer_of, verify
from affineur.engines.support.checkpoints import load_encoder, load_model
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus
from affineur.errors import DataError, ParameterError
from affineur.steps.core.context import Context
from affineur.steps.core.step import STEPS, Shape
from affineur.steps.shrink import Shrink
from affineur.steps.tailoring.layers import keep_layers
from affineur.transfer import Splits

from .conftest import FAMILIES, corpus_of, run_step, same_bits, scores_of


def by_layer(folder: Path) -> dict[int | None, dict[str, torch.Tensor]]:
    """Tensors of each layer, without its number in their names; those outside under ``None``."""
    found: dict[int | None, dict[str, torch.Tensor]] = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        layer = layer_of(name)
        found.setdefault(layer, {})[name if layer is None else name.split(f".{layer}.", 1)[1]] = weight
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_anyone_can_load(
    family: str, tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    source, out = tiny_model(family), tmp_path / "out"
    assert run_step("shrink", source, out, calibration=short, layers=2) == out
    plain, loading = AutoModelForTokenClassification.from_pretrained(out, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert plain.config.num_hidden_layers == 2
    scores = scores_of(out)
    kept = scores["layers_kept"]
    assert (scores["layers_before"], kept[0], len(kept)) == (3, 0, 2)
    assert "width" not in scores
    before, after = by_layer(source), by_layer(out)
    assert same_bits(before[None], after[None])  # embeddings and classifier
    assert after.keys() == {None, 0, 1}
    assert all(same_bits(before[old], after[new]) for new, old in enumerate(kept))
    assert load_tagger(out).tag([s.words for s in short])
    assert "--layers 2 --calibration DATA" in (out / "README.md").read_text("utf-8")


def test_the_layers_are_those_the_tags_depend_on(
    tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    """The oracle: a model really without the layers, a sentence at a time, and scipy's relative entropy."""
    source, out = tiny_model(num_hidden_layers=5, initializer_range=0.3), tmp_path / "out"
    encoder = load_encoder(source)
    windows = list(encoder.windows([s.words for s in short]))

    def probabilities(kept: list[int]) -> np.ndarray:
        network = keep_layers(load_model(source), kept)
        with torch.inference_mode():
            rows = [
                network(torch.tensor([w.ids])).logits[0, list(w.positions)].double().numpy() for w in windows
            ]
        return softmax(np.concatenate(rows), axis=1)

    whole, kept, wanted = probabilities([0, 1, 2, 3, 4]), [0, 1, 2, 3, 4], []
    while len(kept) > 2:
        tried = {
            layer: rel_entr(whole, probabilities([i for i in kept if i != layer])).sum(1).mean()
            for layer in kept[1:]
        }
        wanted += [(sorted({0, 1, 2, 3, 4} - set(kept) | {layer}), found) for layer, found in tried.items()]
        kept.remove(min(tried, key=lambda layer: tried[layer]))
    run_step("shrink", source, out, calibration=short, layers=2)
    scores = scores_of(out)
    assert scores["layers_kept"] == kept
    assert [trial["dropped"] for trial in scores["layer_search"]] == [dropped for dropped, _ in wanted]
    assert [trial["divergence"] for trial in scores["layer_search"]] == pytest.approx(
        [found for _, found in wanted], rel=1e-3
    )
    assert scores["divergence"] == min(
        trial["divergence"] for trial in scores["layer_search"] if len(trial["dropped"]) == 3
    )
    assert scores["divergence"] == pytest.approx(rel_entr(whole, probabilities(kept)).sum(1).mean(), rel=1e-3)


@pytest.mark.parametrize("family", ["camembert", "modernbert", "deberta-v2"])
def test_a_layer_that_does_nothing_goes_first(
    family: str, tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    """Layer 1 adds nothing to what it is given; its norms only repeat the one before. Without it the answers
    are as before.
    """
    source, out = tiny_model(family, num_hidden_layers=4, initializer_range=0.3), tmp_path / "out"
    weights = load_file(source / "model.safetensors")
    for name, weight in weights.items():
        if layer_of(name) in (0, 1) and "norm" in name.lower():
            weight.fill_(
                1.0 if name.endswith("weight") else 0.0
            )  # so that a norm of what is normed changes nothing
    for matrix in in_scope(list(weights)):
        if matrix.layer == 1 and matrix.kind in ("attention.output", "ffn.output"):
            for name in {matrix.name, matrix.name.removesuffix("weight") + "bias"} & weights.keys():
                weights[name].zero_()
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    run_step("shrink", source, out, calibration=short, layers=3)
    scores = scores_of(out)
    assert scores["layers_kept"] == [0, 2, 3]
    assert scores["divergence"] == pytest.approx(0, abs=1e-6)
    assert min(t["divergence"] for t in scores["layer_search"] if t["dropped"] != [1]) > 1e-4
    words = [s.words for s in short]
    for old, new in zip(load_tagger(source).logits(words), load_tagger(out).logits(words), strict=True):
        np.testing.assert_allclose(old, new, atol=1e-4)


@pytest.mark.parametrize("family", ["camembert", "modernbert"])
def test_layers_go_first_then_neurons(
    family: str, tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    source = tiny_model(family)
    run_step("shrink", source, tmp_path / "both", calibration=short, ffn_width=20, layers=2)
    run_step("shrink", source, tmp_path / "layers", calibration=short, layers=2)
    run_step("shrink", tmp_path / "layers", tmp_path / "then", calibration=short, ffn_width=20)
    assert same_bits(*(load_file(tmp_path / name / "model.safetensors") for name in ("both", "then")))
    assert scores_of(tmp_path / "both") == scores_of(tmp_path / "layers") | scores_of(tmp_path / "then")
    assert [layer["layer"] for layer in scores_of(tmp_path / "both")["layers"]] == [0, 1]
    assert "--layers 2 --ffn-width 20" in (tmp_path / "both" / "README.md").read_text("utf-8")


def test_the_dtype_and_a_second_call(tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path) -> None:
    source, out = tiny_model(dtype="float16"), tmp_path / "out"
    run_step("shrink", source, out, calibration=short, layers=1)
    assert {w.dtype for w in load_file(out / "model.safetensors").values()} == {torch.float16}
    before = (out / "affineur.json").stat().st_mtime_ns
    run_step("shrink", source, out, calibration=short, layers=1)
    assert (out / "affineur.json").stat().st_mtime_ns == before
    run_step("shrink", source, out, calibration=short, layers=2)
    assert json.loads((out / "config.json").read_text())["num_hidden_layers"] == 2


def test_words_without_pieces_do_not_count(
    tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    source, sentence = tiny_model("bert"), next(iter(short))
    words = " ".join(sentence.words)
    run_step(
        "shrink",
        source,
        tmp_path / "plain",
        calibration=corpus_of((words, " ".join(sentence.tags))),
        layers=1,
    )
    strange = corpus_of((f"\u0001 {words}", " ".join(["O", *sentence.tags])), ("\u0001", "O"))
    run_step("shrink", source, tmp_path / "strange", calibration=strange, layers=1)
    plain, found = scores_of(tmp_path / "plain"), scores_of(tmp_path / "strange")
    assert found["layers_kept"] == plain["layers_kept"]
    assert found["divergence"] == pytest.approx(plain["divergence"], rel=1e-3)
    with pytest.raises(DataError, match="no piece of any word"):
        run_step("shrink", source, tmp_path / "none", calibration=corpus_of(("\u0001", "O")), layers=1)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        (0, "layers=0 is impossible: expected greater than or equal to 1"),
        (-1, "layers=-1 is impossible: expected greater than or equal to 1"),
        (3, "layers=3 is impossible: the model has 3 encoder layers, so give a number from 1 to 2"),
        (4, "layers=4 is impossible: the model has 3 encoder layers, so give a number from 1 to 2"),
    ],
)
@pytest.mark.parametrize("width", [None, 20])
def test_impossible_numbers_write_nothing(
    layers: int,
    wanted: str,
    width: int | None,
    tiny_model: Callable[..., Path],
    short: Corpus,
    tmp_path: Path,
) -> None:
    with pytest.raises(ParameterError, match=wanted) as error:
        run_step("shrink", tiny_model(), tmp_path / "out", calibration=short, ffn_width=width, layers=layers)
    assert error.value.parameter == "layers"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_shrunk(tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"nothing to shrink; .*layers.*ffn_width"):
        run_step("shrink", tiny_model(), tmp_path / "out", calibration=short)
    with pytest.raises(ParameterError, match="has 1 encoder layer, so none of them can go"):
        run_step("shrink", tiny_model(num_hidden_layers=1), tmp_path / "out", calibration=short, layers=1)
    with pytest.raises(ParameterError, match="48 neurons, expected 2 to 47"):
        run_step("shrink", tiny_model(), tmp_path / "out", calibration=short, ffn_width=48, layers=2)
    run_step("prune", tiny_model(), tmp_path / "pruned", sparsity=0.3)
    with pytest.raises(ParameterError, match="its zeros would be lost; shrink the model it was made from"):
        run_step("shrink", tmp_path / "pruned", tmp_path / "out", calibration=short, layers=2)
    assert not (tmp_path / "out").exists()


def test_reconstruct_is_for_neurons(tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match="reconstruct=False is for ffn_width, which is not given"
    ) as error:
        run_step("shrink", tiny_model(), tmp_path / "out", calibration=short, layers=2, reconstruct=False)
    assert error.value.parameter == "reconstruct"
    assert not (tmp_path / "out").exists()


def test_a_recipe_is_refused_before_a_model_is_made() -> None:
    step = Shrink(layers=2)
    assert step.after(Shape("transformers", 3)) == Shape("transformers", 2)
    assert Shrink(ffn_width=0.5).after(Shape("transformers", 3)) == Shape("transformers", 3)
    with pytest.raises(ParameterError, match="layers=2 is impossible: the model has 2 encoder layers"):
        step.after(Shape("transformers", 2))
    with pytest.raises(ParameterError, match="a pruned model cannot be shrunk, its zeros would be lost"):
        step.after(Shape("transformers", 3, pruned=True))
    with pytest.raises(ParameterError, match="shrink cannot start from a model of the kind onnx"):
        step.after(Shape("onnx", 3))
    assert step.after(Shape("packed", 3)) == Shape("transformers", 2)


def test_what_is_not_shrunk_is_no_parameter(
    tiny_model: Callable[..., Path], short: Corpus, tmp_path: Path
) -> None:
    for name, given, wanted in (
        ("layers", {"layers": 2}, {"layers": 2}),
        ("width", {"ffn_width": 0.5}, {"ffn_width": 24, "reconstruct": True}),
        ("both", {"ffn_width": 20, "layers": 2}, {"ffn_width": 20, "layers": 2, "reconstruct": True}),
    ):
        manifest = verify(run_step("shrink", tiny_model(), tmp_path / name, calibration=short, **given))
        assert manifest is not None
        assert manifest.parameters == wanted
        assert manifest.data["text"]["digest"] == short.digest
        assert STEPS.get("shrink").given(manifest.parameters).parameters == wanted


def test_train_of_the_data_is_calibrated_on_where_no_text_is_named(
    tiny_model: Callable[..., Path], short: Corpus, train_corpus: Corpus, tmp_path: Path
) -> None:
    context = Context(data=Splits(short, train_corpus, None))
    manifest = verify(run_step("shrink", tiny_model(), tmp_path / "out", context=context, layers=2))
    assert manifest is not None
    assert manifest.data["text"]["digest"] == short.digest


@pytest.mark.parametrize("family", FAMILIES)
def test_no_configuration_has_fewer_heads_of_the_same_size(
    family: str, shared_model: Callable[..., Path]
) -> None:
    """Why there is no parameter ``heads``: where this fails, transformers has learned to say it."""
    config = AutoConfig.from_pretrained(shared_model(family))
    hidden, heads = config.hidden_size, config.num_attention_heads
    for name, value in {
        "num_attention_heads": heads // 2,
        "attention_head_size": hidden // heads,
        "head_dim": hidden // heads,
    }.items():
        setattr(config, name, value)
    config.pruned_heads = {0: [0]}
    weights = AutoModelForTokenClassification.from_config(config).state_dict()
    outputs = [m.name for m in in_scope(list(weights), "attention") if m.kind == "attention.output"]
    assert {tuple(weights[name].shape) for name in outputs} == {(hidden, hidden)}
