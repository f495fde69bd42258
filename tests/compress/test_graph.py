"""Graph surgery against numpy, ONNX Runtime's own quantizer, and the graph it started from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

from affineur.artifact import in_scope
from affineur.artifact.probe import Agreement
from affineur.artifact.scope import part_of
from affineur.compress.exporting import graph_bytes
from affineur.compress.graph import SCHEMES, bytes_by_part, linears, name_matrices, opset, quantized, tables, tidy
from affineur.runtime.onnx import open_session

Array = npt.NDArray[np.float32]
RNG = np.random.default_rng(11)
IDS = RNG.integers(5, 150, size=(4, 17))
MASK = (np.arange(17) < np.array([17, 9, 12, 3])[:, None]).astype(np.int64)
MATRIX = "encoder.layer.0.intermediate.dense.weight"
STEP = {"u8s8": 127, "u8s8-reduced": 64, "u8u8": 127}


@pytest.fixture(scope="session")
def graph(shared_onnx: Path) -> ModelProto:
    return onnx.load(shared_onnx / "model.onnx")


def run(model: ModelProto, **feed: npt.NDArray[np.generic]) -> Array:
    return np.asarray(open_session(graph_bytes(model)).run(None, feed)[0])


def logits(model: ModelProto) -> Array:
    return run(model, input_ids=IDS, attention_mask=MASK)[MASK.astype(bool)]


def one_matrix(weight: Array, bias: Array | None = None) -> ModelProto:
    """x · weight (+ bias), x of shape ``(rows, inputs)``."""
    nodes = [helper.make_node("MatMul", ["x", MATRIX], ["y" if bias is None else "product"], "multiply")]
    constants = [numpy_helper.from_array(weight, MATRIX)]
    if bias is not None:
        nodes.append(helper.make_node("Add", ["product", "bias"], ["y"], "add"))
        constants.append(numpy_helper.from_array(bias, "bias"))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", len(weight)])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", weight.shape[1]])]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


# ---- names ------------------------------------------------------------------------------------------------------------------


def test_every_matrix_in_scope_has_its_name(shared_model, graph: ModelProto) -> None:
    weights = load_file(shared_model("camembert", num_hidden_layers=2) / "model.safetensors")
    found = [name for linear in linears(graph) for name in linear.weight.split("+")]
    assert len(found) == len(set(found))
    assert {m.name for m in in_scope(list(weights))} | {"classifier.weight"} == set(found)
    constants = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    for linear in linears(graph):
        assert np.array_equal(constants[linear.weight], np.concatenate([weights[n].T for n in linear.weight.split("+")], axis=1))
        assert linear.name == linear.weight.split("+")[0]
    assert tables(graph) == ["roberta.embeddings.word_embeddings.weight", "roberta.embeddings.position_embeddings.weight"]
    assert opset(graph) >= 18


def test_only_the_parents_own_numbers_are_named() -> None:
    weight = RNG.normal(size=(8, 4)).astype(np.float32)
    model = one_matrix(weight)
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "val_3"
    name_matrices(model, {"b.weight": weight.T + 1e-6, "c.weight": weight.T[:2]})
    assert [linear.weight for linear in linears(model)] == ["val_3"]
    assert [n.op_type for n in quantized(model, "u8u8").graph.node] == ["DynamicQuantizeMatMul"], "one without a name is no head"
    name_matrices(model, {"b.weight": weight.T})
    assert [linear.weight for linear in linears(model)] == ["b.weight"]


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


# ---- tidying ------------------------------------------------------------------------------------------------------------------


def fused(kind: str) -> ModelProto:
    """A graph with one of ONNX Runtime's fused nodes."""
    width = 16
    names = {"SkipLayerNormalization": ["skip", "gamma", "beta", "bias"], "BiasGelu": ["bias"]}[kind]
    options = {"epsilon": 1e-3} if kind == "SkipLayerNormalization" else {}
    node = helper.make_node(kind, ["x", *names], ["y"], "fused", domain="com.microsoft", **options)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", 3, width]) for n in ("x", *(n for n in names if n == "skip"))]
    constants = [numpy_helper.from_array(RNG.normal(size=width).astype(np.float32), n) for n in names if n != "skip"]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3, width])]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph([node], "g", inputs, outputs, constants), opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("kind", ["SkipLayerNormalization", "BiasGelu"])
def test_fusions_are_undone(kind: str) -> None:
    model = fused(kind)
    feed = {i.name: RNG.normal(size=(2, 3, 16)).astype(np.float32) for i in model.graph.input}
    before = run(model, **feed)
    tidy(model)
    assert kind not in {node.op_type for node in model.graph.node}
    assert [o.domain for o in model.opset_import] == [""], "no foreign operators are left"
    assert np.allclose(run(model, **feed), before, atol=1e-5)


def test_biases_are_added_before_the_split() -> None:
    weight, biases = RNG.normal(size=(6, 8)).astype(np.float32), RNG.normal(size=(2, 4)).astype(np.float32)
    model = one_matrix(weight)
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
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add", "Split", "Sub"]
    assert np.allclose(run(model, x=x), before, atol=1e-5)
    name_matrices(model, {"encoder.q.weight": weight[:, :4].T, "encoder.k.weight": weight[:, 4:].T})
    assert [linear.weight for linear in linears(model)] == ["encoder.q.weight+encoder.k.weight"]
    small = quantized(model, "u8u8")
    assert [node.op_type for node in small.graph.node] == ["DynamicQuantizeMatMul", "Split", "Sub"], "the bias is added by the multiplication"
    assert np.allclose(run(small, x=x), before, atol=0.1)


# ---- eight bits -------------------------------------------------------------------------------------------------------------------


def dynamic(x: Array) -> Array:
    """Round activations to eight bits between their least and greatest, as DynamicQuantizeLinear does (ONNX operators, 11)."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = np.float32((high - low) / 255)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale, np.float32)


@pytest.mark.parametrize("scheme", ["u8s8", "u8s8-reduced", "u8u8"])
@pytest.mark.parametrize("biased", [False, True])
def test_columns_are_numpys(scheme: str, biased: bool) -> None:
    weight = (RNG.normal(size=(40, 24)) * np.geomspace(0.01, 10, 24)).astype(np.float32)
    weight[:, 3] = 0
    bias = RNG.normal(size=24).astype(np.float32) if biased else None
    small = quantized(one_matrix(weight, bias), scheme)
    assert [node.op_type for node in small.graph.node] == ["DynamicQuantizeMatMul"]
    x = RNG.normal(size=(7, 40)).astype(np.float32)
    scale = np.abs(weight).max(axis=0) / STEP[scheme]
    rounded = np.where(scale > 0, np.rint(weight / np.where(scale > 0, scale, 1)) * scale, 0).astype(np.float32)
    expected = dynamic(x) @ rounded + (0 if bias is None else bias)
    found = run(small, x=x)
    if scheme != "u8s8":  # whose sums may overflow on this CPU
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-4)
    stored = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    whole = stored.get(f"{MATRIX}@s8", stored.get(f"{MATRIX}@u8", np.zeros(1)).astype(np.int32) - 128)
    assert np.allclose(whole * stored[f"{MATRIX}@scale"], rounded, rtol=1e-5)
    assert np.abs(whole).max() == STEP[scheme]
    assert MATRIX not in stored


@pytest.mark.parametrize(("rows", "block"), [(256, 256), (128, 128), (96, 32), (64, 64), (40, 32), (20, 32)])
def test_blocks_are_numpys(rows: int, block: int) -> None:
    weight = (RNG.normal(size=(rows, 24)) * np.geomspace(0.1, 3, rows)[:, None]).astype(np.float32)
    bias = RNG.normal(size=24).astype(np.float32)
    small = quantized(one_matrix(weight, bias), "rowwise")
    (node,) = small.graph.node
    assert (node.op_type, {a.name: a.i for a in node.attribute}["block_size"]) == ("MatMulNBits", block)
    rounded = np.zeros_like(weight)
    for start in range(0, rows, block):
        part = weight[start : start + block]
        scale = np.abs(part).max(axis=0) / 127
        rounded[start : start + block] = np.rint(part / scale) * scale
    x = RNG.normal(size=(7, rows)).astype(np.float32)
    # Each row of activations is rounded by its own largest, block by block: an error of at most half a step a number.
    blocks = [slice(start, min(start + block, rows)) for start in range(0, rows, block)]
    bound = sum(np.abs(x[:, b]).max(axis=1, keepdims=True) / 254 * np.abs(rounded[b]).sum(axis=0) for b in blocks) + 1e-4
    assert (np.abs(run(small, x=x) - (x @ rounded + bias)) <= bound).all()
    alone = np.concatenate([run(small, x=row[None]) for row in x])
    assert np.allclose(alone, run(small, x=x), atol=1e-4), "a row does not depend on its neighbors"
    loud = np.concatenate([x[:1], 1000 * x[1:]])
    assert np.allclose(run(small, x=loud)[0], run(small, x=x)[0], atol=1e-4)


def test_rows_of_a_table_are_numpys() -> None:
    table = (RNG.normal(size=(20, 8)) * np.geomspace(1e-3, 100, 20)[:, None]).astype(np.float32)
    table[4] = 0
    node = helper.make_node("Gather", ["emb.weight", "ids"], ["y"], "look", axis=0)
    inputs, outputs = (helper.make_tensor_value_info(n, t, s) for n, t, s in (("ids", TensorProto.INT64, ["n"]), ("y", TensorProto.FLOAT, ["n", 8])))
    body = helper.make_graph([node], "g", [inputs], [outputs], [numpy_helper.from_array(table, "emb.weight")])
    small = quantized(helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "u8s8")
    found = run(small, ids=np.arange(20))
    scale = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - table) <= scale * 0.5001).all()
    assert (found[4] == 0).all()
    assert run(quantized(small, "u8s8"), ids=np.arange(20)).tolist() == found.tolist(), "there is nothing left to do"


def test_as_near_as_the_oracle(graph: ModelProto, tmp_path: Path) -> None:
    """ONNX Runtime's own quantizer, told to take the same scheme, the same matrices and no tables."""
    onnx.save(graph, tmp_path / "fp32.onnx")
    chosen = [linear.node for linear in linears(graph) if part_of(linear.name) != "head"]
    options = {"MatMulConstBOnly": True, "WeightSymmetric": True}
    quantize_dynamic(
        tmp_path / "fp32.onnx",
        tmp_path / "int8.onnx",
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=chosen,
        extra_options=options,
    )
    before, theirs = logits(graph), logits(onnx.load(tmp_path / "int8.onnx"))
    ours = logits(quantized(graph, "u8s8", keep=tables(graph)))
    error = Agreement.between(theirs, before).error
    assert 0 < error < 0.1
    assert Agreement.between(ours, theirs).error < 0.2 * error, "the same numbers but for rounding"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_stays_near(scheme: str, graph: ModelProto) -> None:
    before = graph.SerializeToString()
    small = quantized(graph, scheme)
    assert graph.SerializeToString() == before, "its parent is left alone"
    onnx.checker.check_model(graph)
    assert Agreement.between(logits(small), logits(graph)).error < 0.05
    assert [linear.name for linear in linears(small)] == ["classifier.weight"]
    assert len(graph_bytes(small)) < 0.5 * len(before)
    every = [linear.name for linear in linears(graph)] + tables(graph)
    assert np.array_equal(logits(quantized(graph, scheme, every)), logits(graph)), "kept is kept"
    one = quantized(graph, scheme, ["roberta.encoder.layer.1.output.dense.weight"])
    assert [linear.name for linear in linears(one)] == ["roberta.encoder.layer.1.output.dense.weight", "classifier.weight"]
