"""Graph surgery against the graph it started from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from affineur.artifact import in_scope
from affineur.steps.graphs.eight_bits import quantized
from affineur.steps.graphs.graph import bytes_by_part, linears, name_matrices, opset, tables, tidy

from .models import one_matrix, run

RNG = np.random.default_rng(11)
STEP = {"u8s8": 127, "u8s8-reduced": 64, "u8u8": 127}


@pytest.fixture(scope="session")
def graph(shared_onnx: Path) -> ModelProto:
    return onnx.load(shared_onnx / "model.onnx")


# ---- names


def test_every_matrix_in_scope_has_its_name(shared_model, graph: ModelProto) -> None:
    weights = load_file(shared_model("camembert", num_hidden_layers=2) / "model.safetensors")
    found = [name for linear in linears(graph) for name in linear.weight.split("+")]
    assert len(found) == len(set(found))
    assert {m.name for m in in_scope(list(weights))} | {"classifier.weight"} == set(found)
    constants = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    for linear in linears(graph):
        assert np.array_equal(
            constants[linear.weight], np.concatenate([weights[n].T for n in linear.weight.split("+")], axis=1)
        )
        assert linear.name == linear.weight.split("+")[0]
    assert tables(graph) == [
        "roberta.embeddings.word_embeddings.weight",
        "roberta.embeddings.position_embeddings.weight",
    ]
    assert opset(graph) >= 18


def test_only_the_parents_own_numbers_are_named() -> None:
    weight = RNG.normal(size=(8, 4)).astype(np.float32)
    model = one_matrix(weight)
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "val_3"
    name_matrices(model, {"b.weight": weight.T + 1e-6, "c.weight": weight.T[:2]})
    assert [linear.weight for linear in linears(model)] == ["val_3"]
    assert linears(model)[0].quantizable, "one without a name is no head"
    name_matrices(model, {"b.weight": weight.T})
    assert [linear.weight for linear in linears(model)] == ["b.weight"]


def test_a_matrix_that_is_multiplied_twice_is_named_once() -> None:
    """As DeBERTa's query and key are, with words and with positions."""
    weight = RNG.normal(size=(8, 4)).astype(np.float32)
    model = one_matrix(weight)
    model.graph.initializer[0].name = "val_3"
    model.graph.node[0].input[1] = "val_3"
    model.graph.node.append(helper.make_node("MatMul", ["x", "val_3"], ["z"], "again"))
    name_matrices(model, {"encoder.query.weight": weight.T})
    assert [linear.weight for linear in linears(model)] == ["encoder.query.weight"] * 2


def test_bytes_by_part_are_the_file(shared_onnx: Path, graph: ModelProto) -> None:
    size = (shared_onnx / "model.onnx").stat().st_size
    assert sum(bytes_by_part(graph).values()) == sum(len(t.raw_data) for t in graph.graph.initializer)
    assert 0 < size - sum(bytes_by_part(graph).values()) < 25_000, "what is no number is the graph itself"
    hidden, labels = 32, 5
    assert bytes_by_part(graph)["head"] == 4 * (hidden * labels + labels)
    # A scale of four bytes a row and a byte a number; LayerNorm and segments in full precision.
    rows = [t.dims[0] for t in graph.graph.initializer if t.name in tables(graph)]
    small = bytes_by_part(quantized(graph, "u8s8"))
    before = bytes_by_part(graph)
    assert before["embeddings"] - small["embeddings"] == sum(rows) * (hidden * 4 - hidden - 4)
    assert small["head"] == before["head"]


# ---- tidying


def fused(kind: str) -> ModelProto:
    """A graph with one of ONNX Runtime's fused nodes."""
    width = 16
    names = {"SkipLayerNormalization": ["skip", "gamma", "beta", "bias"], "BiasGelu": ["bias"]}[kind]
    options = {"epsilon": 1e-3} if kind == "SkipLayerNormalization" else {}
    node = helper.make_node(kind, ["x", *names], ["y"], "fused", domain="com.microsoft", **options)
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", 3, width])
        for n in ("x", *(n for n in names if n == "skip"))
    ]
    constants = [
        numpy_helper.from_array(RNG.normal(size=width).astype(np.float32), n) for n in names if n != "skip"
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3, width])]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(
        helper.make_graph([node], "g", inputs, outputs, constants), opset_imports=opsets, ir_version=10
    )


@pytest.mark.parametrize("kind", ["SkipLayerNormalization", "BiasGelu"])
def test_fusions_are_undone(kind: str) -> None:
    model = fused(kind)
    feed = {i.name: RNG.normal(size=(2, 3, 16)).astype(np.float32) for i in model.graph.input}
    before = run(model, **feed)
    tidy(model)
    assert kind not in {node.op_type for node in model.graph.node}
    assert [o.domain for o in model.opset_import] == [""], "no foreign operators are left"
    assert np.allclose(run(model, **feed), before, atol=1e-5)


def test_the_bias_is_added_to_the_product() -> None:
    """ONNX Runtime's fused node keeps it apart; the multiplication in eight bits can add it."""
    for swapped in (False, True):
        model = fused("SkipLayerNormalization")
        x = RNG.normal(size=(2, 3, 16)).astype(np.float32)
        model.graph.initializer.append(
            numpy_helper.from_array(RNG.normal(size=(16, 16)).astype(np.float32), "encoder.weight")
        )
        model.graph.node.insert(
            0, helper.make_node("MatMul", ["x", "encoder.weight"], ["product"], "multiply")
        )
        model.graph.node[1].input[:2] = ["skip", "product"] if swapped else ["product", "skip"]
        before = run(model, x=x, skip=x)
        tidy(model)
        assert [n.op_type for n in model.graph.node] == ["MatMul", "Add", "Add", "LayerNormalization"]
        assert set(model.graph.node[1].input) == {"product", "bias"}
        assert np.allclose(run(model, x=x, skip=x), before, atol=1e-5)
        kinds = [node.op_type for node in quantized(model, "u8u8").graph.node]
        assert kinds == ["DynamicQuantizeMatMul", "Add", "LayerNormalization"]


def test_packed_matrices_are_taken_apart() -> None:
    """Where each part is one of the parent's; one that the parent has as a whole stays whole."""
    weight, biases = RNG.normal(size=(6, 8)).astype(np.float32), RNG.normal(size=(2, 4)).astype(np.float32)
    model = one_matrix(weight)
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "packed_0"
    model.graph.node[0].output[0] = "product"
    model.graph.node.append(helper.make_node("Split", ["product", "sizes"], ["p", "q"], "split", axis=-1))
    model.graph.node.append(helper.make_node("Add", ["p", "b"], ["pb"], "first"))
    model.graph.node.append(helper.make_node("Add", ["c", "q"], ["qc"], "second"))
    model.graph.node.append(helper.make_node("Sub", ["pb", "qc"], ["y"], "both"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    constants = {"sizes": np.array([4, 4]), "b": biases[0], "c": biases[1]}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    x = RNG.normal(size=(5, 6)).astype(np.float32)
    before = run(model, x=x)
    tidy(model)
    whole = ModelProto.FromString(model.SerializeToString())
    name_matrices(whole, {"encoder.both.weight": weight.T, "encoder.q.weight": weight[:, :4].T})
    assert [linear.weight for linear in linears(whole)] == ["packed_0"], "half of it is nobody's"
    name_matrices(model, {"encoder.q.weight": weight[:, :4].T, "encoder.k.weight": weight[:, 4:].T})
    assert [linear.weight for linear in linears(model)] == ["encoder.q.weight", "encoder.k.weight"]
    assert {t.name for t in model.graph.initializer} == {"encoder.q.weight", "encoder.k.weight", "b", "c"}
    assert np.allclose(run(model, x=x), before, atol=1e-5)
    small = quantized(model, "u8u8")
    assert [node.op_type for node in small.graph.node] == ["DynamicQuantizeMatMul"] * 2 + ["Sub"], (
        "the biases are added by the multiplications"
    )
    assert np.allclose(run(small, x=x), before, atol=0.1)
