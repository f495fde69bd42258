"""Scope and description, against torch's own view of every family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForTokenClassification

from affineur.artifact import (
    SCOPES,
    Manifest,
    Parent,
    describe,
    in_scope,
    layer_of,
    matrix_of,
    open_folder,
    write_manifest,
)
from affineur.artifact.scope import PARTS, part_of
from affineur.errors import ModelError, ParameterError

BERT = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "ffn.intermediate": "intermediate.dense",
    "ffn.output": "output.dense",
}
DISTILBERT = {
    "attention.query": "attention.q_lin",
    "attention.key": "attention.k_lin",
    "attention.value": "attention.v_lin",
    "attention.output": "attention.out_lin",
    "ffn.intermediate": "ffn.lin1",
    "ffn.output": "ffn.lin2",
}
DEBERTA = BERT | {f"attention.{kind}": f"attention.self.{kind}_proj" for kind in ("query", "key", "value")}
MODERNBERT = {
    "attention.query_key_value": "attn.Wqkv",
    "attention.output": "attn.Wo",
    "ffn.intermediate": "mlp.Wi",
    "ffn.output": "mlp.Wo",
}
#: Where the layers are, and which module is which matrix: written by hand, not taken from the code.
EXPECTED = {
    "camembert": ("roberta.encoder.layer", BERT),
    "roberta": ("roberta.encoder.layer", BERT),
    "bert": ("bert.encoder.layer", BERT),
    "distilbert": ("distilbert.transformer.layer", DISTILBERT),
    "xlm-roberta": ("roberta.encoder.layer", BERT),
    "electra": ("electra.encoder.layer", BERT),
    "deberta-v2": ("deberta.encoder.layer", DEBERTA),
    "modernbert": ("model.layers", MODERNBERT),
}


@pytest.mark.parametrize("family", EXPECTED)
def test_exactly_the_right_matrices(family: str, shared_model) -> None:
    where, kinds = EXPECTED[family]
    names = [t.name for t in open_folder(shared_model(family)).tensors()]
    found = in_scope(names)
    assert {(m.layer, m.kind, m.name) for m in found} == {
        (i, kind, f"{where}.{i}.{part}.weight") for i in range(3) for kind, part in kinds.items()
    }
    assert len(found) == 3 * len(kinds)
    assert found == sorted(found)
    assert not [
        m.name
        for m in found
        if any(word in m.name for word in ("embed", "Norm", "norm", "bias", "classifier", "head", "rel_"))
    ]


@pytest.mark.parametrize("family", EXPECTED)
def test_every_linear_layer_of_the_encoder_is_in_scope_and_nothing_else(family: str, shared_model) -> None:
    model = AutoModelForTokenClassification.from_pretrained(shared_model(family))
    layers = model.get_submodule(EXPECTED[family][0])
    linear = {id(module.weight) for module in layers.modules() if isinstance(module, nn.Linear)}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in linear}
    assert {m.name for m in in_scope([name for name, _ in model.named_parameters()])} == names


@pytest.mark.parametrize("family", EXPECTED)
def test_the_two_halves_are_the_whole(family: str, shared_model) -> None:
    names = [t.name for t in open_folder(shared_model(family)).tensors()]
    attention, ffn, both = (set(in_scope(names, scope)) for scope in ("attention", "ffn", "attention+ffn"))
    assert attention | ffn == both
    assert not attention & ffn
    assert {m.kind.partition(".")[0] for m in attention} == {"attention"}
    assert len(ffn) == 6


def test_layers_are_ordered_as_numbers() -> None:
    names = [f"bert.encoder.layer.{i}.output.dense.weight" for i in (10, 2, 0, 11, 1)]
    assert [m.layer for m in in_scope(names)] == [0, 1, 2, 10, 11]


@pytest.mark.parametrize(
    "name",
    [
        "roberta.embeddings.word_embeddings.weight",
        "roberta.encoder.layer.0.attention.self.query.bias",
        "roberta.encoder.layer.0.attention.output.LayerNorm.weight",
        "roberta.encoder.layer.0.output.LayerNorm.weight",
        "roberta.pooler.dense.weight",
        "classifier.weight",
        "classifier.dense.weight",
        "deberta.encoder.rel_embeddings.weight",
        "deberta.encoder.LayerNorm.weight",
        "head.dense.weight",
        "player.0.output.dense.weight",
    ],
)
def test_out_of_scope(name: str) -> None:
    assert matrix_of(name) is None


def test_deberta_v1_has_query_key_and_value_in_one() -> None:
    found = matrix_of("deberta.encoder.layer.4.attention.self.in_proj.weight")
    assert found is not None
    assert (found.layer, found.kind) == (4, "attention.query_key_value")


def test_the_layer_of_any_tensor() -> None:
    assert layer_of("roberta.encoder.layer.11.output.LayerNorm.bias") == 11
    assert layer_of("layers.3.mlp_norm.weight") == 3
    assert layer_of("roberta.embeddings.LayerNorm.weight") is None


def test_an_unknown_scope_or_architecture() -> None:
    with pytest.raises(
        ParameterError,
        match=r"no scope 'atention', expected one of attention\+ffn, attention, ffn; "
        r"did you mean 'attention'\?",
    ):
        in_scope(["layer.0.output.dense.weight"], "atention")
    for scope in SCOPES:
        with pytest.raises(ParameterError, match="no matrix in scope"):
            in_scope(["h.0.mlp.weight", "classifier.weight"], scope)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("family", EXPECTED)
def test_description_against_torch(family: str, dtype: str, tiny_model) -> None:
    folder = tiny_model(family, dtype=dtype)
    weights = load_file(folder / "model.safetensors")
    random = torch.Generator().manual_seed(3)
    for name, weight in weights.items():
        if weight.dim() == 2:
            weight[torch.rand(weight.shape, generator=random) < 0.3] = -0.0 if "key" in name else 0.0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    model = AutoModelForTokenClassification.from_pretrained(folder, dtype="auto")
    info = describe(folder)
    parameters = dict(model.named_parameters())
    assert info.parameters == sum(p.numel() for p in parameters.values())
    assert info.nonzero == sum(int(torch.count_nonzero(p)) for p in parameters.values())
    assert info.dtypes == ({"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype],)
    where, kinds = EXPECTED[family]
    scope = {f"{where}.{i}.{part}.weight": i for i in range(3) for part in kinds.values()}
    assert {m.matrix.name: m.zeros for m in info.matrices} == {
        name: int((parameters[name] == 0).sum()) for name in scope
    }
    assert {m.matrix.name: m.weights for m in info.matrices} == {
        name: parameters[name].numel() for name in scope
    }
    assert sum(m.size_bytes for m in info.matrices) == sum(
        parameters[name].numel() * parameters[name].element_size() for name in scope
    )
    zeros, total = (
        sum(int((parameters[n] == 0).sum()) for n in scope),
        sum(parameters[n].numel() for n in scope),
    )
    assert (info.zeros_in_scope, info.weights_in_scope) == (zeros, total)
    assert info.sparsity == zeros / total
    assert 0.28 < info.sparsity < 0.32
    for layer, sparsity in info.by_layer().items():
        mine = [parameters[name] for name, i in scope.items() if i == layer]
        assert sparsity == sum(int((p == 0).sum()) for p in mine) / sum(p.numel() for p in mine)
    said = info.as_dict()
    assert json.loads(json.dumps(said)) == said
    assert said["layers"] == 3
    assert said["hidden_size"] == 32
    assert said["attention_heads"] == 4
    assert said["sparsity_of_model"] == pytest.approx(1 - info.nonzero / info.parameters)
    assert said["stage"] is None
    assert said["lineage"] == []


def test_description_of_an_artifact_names_its_lineage(tiny_model) -> None:
    folder = tiny_model()
    write_manifest(
        folder,
        Manifest(
            "transformers",
            "prune",
            parents=[Parent("distill", "d1", "student"), Parent("given", "d2", "teacher")],
        ),
    )
    said = describe(folder).as_dict()
    assert said["stage"] == "prune"
    assert said["lineage"] == [
        {"stage": "distill", "name": "student", "digest": "d1"},
        {"stage": "given", "name": "teacher", "digest": "d2"},
    ]


def test_description_of_shards_is_that_of_the_whole(tiny_model, tmp_path: Path) -> None:
    folder = tiny_model()
    whole = describe(folder)
    AutoModelForTokenClassification.from_pretrained(folder).save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    parts = describe(tmp_path)
    assert (parts.parameters, parts.nonzero, parts.matrices) == (
        whole.parameters,
        whole.nonzero,
        whole.matrices,
    )


def test_description_of_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        describe(tmp_path)


#: Which module of each family's model is which part: written by hand, not taken from the code.
PART_MODULES = {
    "camembert": ("roberta.embeddings", "roberta.encoder", "classifier"),
    "roberta": ("roberta.embeddings", "roberta.encoder", "classifier"),
    "bert": ("bert.embeddings", "bert.encoder", "classifier"),
    "distilbert": ("distilbert.embeddings", "distilbert.transformer", "classifier"),
    "xlm-roberta": ("roberta.embeddings", "roberta.encoder", "classifier"),
    "electra": ("electra.embeddings", "electra.encoder", "classifier"),
    "deberta-v2": ("deberta.embeddings", "deberta.encoder", "classifier"),
    "modernbert": ("model.embeddings", "model.layers", "classifier"),
}
#: What stands outside these three: ELECTRA widens its embeddings, ModernBERT has a last norm and a head of
#: two layers.
ELSEWHERE = {
    "electra.embeddings_project": "embeddings",
    "model.final_norm": "encoder",
    "head": "head",
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("family", EXPECTED)
def test_parts_sum_to_the_bytes_of_every_tensor(family: str, dtype: str, shared_model) -> None:
    folder = shared_model(family, dtype=dtype)
    weights = load_file(folder / "model.safetensors")
    where = dict(zip(PART_MODULES[family], PARTS, strict=True)) | ELSEWHERE
    wanted = dict.fromkeys(PARTS, 0)
    for name, weight in weights.items():
        (part,) = {part for module, part in where.items() if name.startswith(f"{module}.")}
        assert part_of(name) == part, name
        wanted[part] += weight.numel() * weight.element_size()
    info = describe(folder)
    assert info.parts == wanted
    assert list(info.parts) == ["embeddings", "encoder", "head"]
    assert all(info.parts.values())
    assert sum(info.parts.values()) == sum(w.numel() * w.element_size() for w in weights.values())
    assert 0 < info.folder.size_bytes - sum(info.parts.values()) < 20_000, "a file also has a header"
    assert info.as_dict()["size_by_part"] == wanted


def test_parts_of_shards_are_those_of_the_whole(tiny_model, tmp_path: Path) -> None:
    folder = tiny_model()
    AutoModelForTokenClassification.from_pretrained(folder).save_pretrained(tmp_path, max_shard_size="50KB")
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    assert describe(tmp_path).parts == describe(folder).parts


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("roberta.embeddings.word_embeddings.weight", "embeddings"),
        ("bert.embeddings.LayerNorm.bias", "embeddings"),
        ("electra.embeddings_project.weight", "embeddings"),
        ("model.embeddings.tok_embeddings.weight", "embeddings"),
        ("roberta.encoder.layer.11.output.LayerNorm.bias", "encoder"),
        ("deberta.encoder.rel_embeddings.weight", "encoder"),
        ("deberta.encoder.LayerNorm.weight", "encoder"),
        ("distilbert.transformer.layer.0.ffn.lin1.weight", "encoder"),
        ("model.layers.3.mlp.Wi.weight", "encoder"),
        ("model.final_norm.weight", "encoder"),
        (
            "model.layers.0.embeddings.weight",
            "encoder",
        ),  # what is in a layer is the encoder's, whatever its name
        ("classifier.bias", "head"),
        ("head.dense.weight", "head"),
        ("roberta.pooler.dense.weight", "head"),
        ("lm_head.layer_norm.weight", "head"),
    ],
)
def test_the_part_of_any_tensor(name: str, part: str) -> None:
    assert part_of(name) == part
