"""Graphs in eight bits against numpy, ONNX Runtime's own quantizers, and the graph in full precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    create_calibrator,
    quantize_dynamic,
)

from affineur.artifact.scope import part_of
from affineur.artifact.selftest import Agreement
from affineur.engines.support.graph_files import graph_bytes
from affineur.engines.support.onnx_tagger import load_onnx
from affineur.engines.support.session_pool import open_session
from affineur.entities import Corpus
from affineur.steps.graphs.eight_bits import ACTIVATIONS, SCHEMES, Ranges, quantized
from affineur.steps.graphs.graph import linears, tables
from affineur.steps.graphs.trial import activation_ranges

from .models import IDS, MASK, MATRIX, Array, logits, one_matrix, run

RNG = np.random.default_rng(11)
STEP = {"u8s8": 127, "u8s8-reduced": 64, "u8u8": 127}


@pytest.fixture(scope="module")
def graph(shared_onnx: Path) -> ModelProto:
    return onnx.load(shared_onnx / "model.onnx")


@pytest.fixture(scope="module")
def ranges(shared_onnx: Path, graph: ModelProto) -> Ranges:
    tagger = load_onnx(shared_onnx)
    return activation_ranges(
        graph,
        tagger,
        list(tagger.encoder.windows([["Marie", "vit", "à", "Paris", "."] * n for n in range(1, 30)])),
    )


def between(x: Array, low: float, high: float) -> Array:
    """Round to eight bits between two ends, as DynamicQuantizeLinear does (ONNX operators, 11); what is
    outside is clipped.
    """
    scale = np.float32((high - low) / 255)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale, np.float32)


def rounded(x: Array, activations: str) -> Array:
    """What is left of activations; static ones were measured to lie between −1 and 2."""
    if activations == "static":
        return between(x, -1, 2)
    if activations == "batch":
        return between(x, min(float(x.min()), 0.0), max(float(x.max()), 0.0))
    step = np.abs(x).max(axis=1, keepdims=True) / 127
    return np.asarray(np.rint(x / np.where(step > 0, step, 1)) * step, np.float32)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("biased", [False, True])
def test_matrices_are_numpys(scheme: str, activations: str, biased: bool) -> None:
    weight = (RNG.normal(size=(40, 24)) * np.geomspace(0.01, 10, 24)).astype(np.float32)
    weight[:, 3] = 0
    bias = RNG.normal(size=24).astype(np.float32) if biased else None
    small = quantized(one_matrix(weight, bias), scheme, (), activations, {"x": (-1.0, 2.0)})
    x = (RNG.normal(size=(7, 40)) * np.geomspace(0.1, 3, 7)[:, None]).astype(np.float32)
    x[4] = 0
    scale = np.abs(weight).max(axis=0) / STEP[scheme]
    kept = np.where(scale > 0, np.rint(weight / np.where(scale > 0, scale, 1)) * scale, 0).astype(np.float32)
    expected = rounded(x, activations) @ kept + (0 if bias is None else bias)
    found = run(small, x=x)
    if scheme != "u8s8":  # whose sums may overflow on this CPU
        # A number halfway between two steps may go either way: that is one step of one activation.
        assert np.abs(found - expected).max() <= 1.01 * 3 / 127 * np.abs(kept).max()
        assert np.mean(np.isclose(found, expected, rtol=1e-3, atol=1e-3)) > 0.9
    stored = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    whole = stored.get(f"{MATRIX}@s8", stored.get(f"{MATRIX}@u8", np.zeros(1)).astype(np.int32) - 128)
    assert np.allclose(whole * stored[f"{MATRIX}@scale"], kept, rtol=1e-5)
    assert np.abs(whole).max() == STEP[scheme]
    assert MATRIX not in stored
    onnx.checker.check_model(small)


@pytest.mark.parametrize(
    ("activations", "kinds"),
    [("static", ["QuantizeLinear", "MatMulIntegerToFloat"]), ("batch", ["DynamicQuantizeMatMul"])],
)
def test_the_multiplication_adds_the_bias(activations: str, kinds: list[str]) -> None:
    weight, bias = RNG.normal(size=(40, 24)).astype(np.float32), RNG.normal(size=24).astype(np.float32)
    small = quantized(one_matrix(weight, bias), "u8u8", (), activations, {"x": (-1.0, 2.0)})
    assert [node.op_type for node in small.graph.node] == kinds


@pytest.mark.parametrize("activations", ["static", "token"])
def test_a_token_does_not_depend_on_its_neighbors(
    activations: str, graph: ModelProto, ranges: Ranges
) -> None:
    """To the bit, whatever is beside it: another text, padding, or numbers a thousand times as large."""
    small = quantized(graph, "u8s8-reduced", (), activations, ranges)
    together = run(small, input_ids=IDS, attention_mask=MASK)
    for row, length in enumerate(MASK.sum(axis=1)):
        alone = run(small, input_ids=IDS[row : row + 1, :length], attention_mask=MASK[row : row + 1, :length])
        assert np.array_equal(alone[0], together[row, :length])
    one = quantized(
        one_matrix(RNG.normal(size=(40, 24)).astype(np.float32)),
        "u8s8-reduced",
        (),
        activations,
        {"x": (-1.0, 2.0)},
    )
    x = RNG.normal(size=(5, 40)).astype(np.float32)
    loud = np.concatenate([x[:1], 1000 * x[1:]])
    assert np.array_equal(run(one, x=x)[0], run(one, x=loud)[0])
    dynamic = quantized(graph, "u8s8-reduced")
    alone = run(dynamic, input_ids=IDS[3:, :3], attention_mask=MASK[3:, :3])
    assert not np.array_equal(alone[0], run(dynamic, input_ids=IDS, attention_mask=MASK)[3, :3]), (
        "with a scale a batch it does"
    )


def test_what_several_matrices_read_is_quantized_once() -> None:
    model = one_matrix(RNG.normal(size=(8, 4)).astype(np.float32))
    model.graph.node.append(helper.make_node("MatMul", ["x", "encoder.other.weight"], ["z"], "again"))
    model.graph.initializer.append(
        numpy_helper.from_array(RNG.normal(size=(8, 4)).astype(np.float32), "encoder.other.weight")
    )
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["rows", 4]))
    for activations in ("static", "token"):
        small = quantized(model, "u8u8", (), activations, {"x": (-1.0, 2.0)})
        kinds = [node.op_type for node in small.graph.node]
        assert (kinds.count("QuantizeLinear"), kinds.count("MatMulIntegerToFloat")) == (1, 2)
        assert run(small, x=np.ones((2, 8), np.float32)).shape == (2, 4)
    mixed = quantized(model, "u8u8", (), "static", {"x": (-1.0, 2.0)}, ["encoder.other.weight"])
    x = RNG.normal(size=(3, 8)).astype(np.float32)
    whole = {
        activations: quantized(model, "u8u8", (), activations, {"x": (-1.0, 2.0)})
        for activations in ("static", "token")
    }
    first, second = open_session(graph_bytes(mixed)).run(None, {"x": x})
    assert np.array_equal(first, open_session(graph_bytes(whole["static"])).run(None, {"x": x})[0])
    assert np.array_equal(second, open_session(graph_bytes(whole["token"])).run(None, {"x": x})[1])


def test_rows_of_a_table_are_numpys() -> None:
    table = (RNG.normal(size=(20, 8)) * np.geomspace(1e-3, 100, 20)[:, None]).astype(np.float32)
    table[4] = 0
    node = helper.make_node("Gather", ["emb.weight", "ids"], ["y"], "look", axis=0)
    inputs, outputs = (
        helper.make_tensor_value_info(n, t, s)
        for n, t, s in (("ids", TensorProto.INT64, ["n"]), ("y", TensorProto.FLOAT, ["n", 8]))
    )
    body = helper.make_graph([node], "g", [inputs], [outputs], [numpy_helper.from_array(table, "emb.weight")])
    small = quantized(
        helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "u8s8"
    )
    found = run(small, ids=np.arange(20))
    scale = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - table) <= scale * 0.5001).all()
    assert (found[4] == 0).all()
    assert run(quantized(small, "u8s8"), ids=np.arange(20)).tolist() == found.tolist(), (
        "there is nothing left to do"
    )


def test_what_is_looked_up_may_be_multiplied_at_once() -> None:
    table, weight = RNG.normal(size=(20, 8)).astype(np.float32), RNG.normal(size=(8, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["emb.weight", "ids"], ["x"], "look"),
        helper.make_node("MatMul", ["x", MATRIX], ["y"], "multiply"),
    ]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])]
    body = helper.make_graph(
        nodes,
        "g",
        inputs,
        outputs,
        [numpy_helper.from_array(table, "emb.weight"), numpy_helper.from_array(weight, MATRIX)],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    for activations in ACTIVATIONS:
        found = run(quantized(model, "u8u8", (), activations, {"x": (-4.0, 4.0)}), ids=np.arange(20))
        assert Agreement.between(found, table @ weight).error < 0.03


def test_ranges_are_the_oracles(
    shared_onnx: Path, graph: ModelProto, train_corpus: Corpus, tmp_path: Path
) -> None:
    """ONNX Runtime's own calibrator, which knows nothing of padding, on one text at a time; ours in padded
    batches.
    """
    tagger = load_onnx(shared_onnx)
    windows = list(tagger.encoder.windows([s.words for s in train_corpus.head(40)]))
    ours = activation_ranges(graph, tagger, windows)
    assert len(ours) == 2 * 4, "four activations a layer meet a matrix"

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(windows)

        def get_next(self) -> dict[str, npt.NDArray[np.int64]] | None:
            window = next(self.left, None)
            if window is None:
                return None
            ids = np.array([window.ids])
            return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    onnx.save(graph, tmp_path / "fp32.onnx")
    calibrator = create_calibrator(
        tmp_path / "fp32.onnx", ["MatMul"], str(tmp_path / "more.onnx"), CalibrationMethod.MinMax
    )
    calibrator.collect_data(Reader())
    theirs = calibrator.compute_data()
    for name, (low, high) in ours.items():
        lowest, highest = (float(np.min(end)) for end in theirs[name].range_value)
        assert (low, high) == pytest.approx((min(lowest, 0), max(highest, 0)), rel=1e-4, abs=1e-5)


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


@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_stays_near(scheme: str, activations: str, graph: ModelProto, ranges: Ranges) -> None:
    before = graph.SerializeToString()
    small = quantized(graph, scheme, (), activations, ranges)
    assert graph.SerializeToString() == before, "its parent is left alone"
    onnx.checker.check_model(graph)
    assert Agreement.between(logits(small), logits(graph)).error < 0.05
    assert [linear.name for linear in linears(small)] == ["classifier.weight"]
    assert len(graph_bytes(small)) < 0.5 * len(before)
    every = [linear.name for linear in linears(graph)] + tables(graph)
    assert np.array_equal(logits(quantized(graph, scheme, every, activations, ranges)), logits(graph)), (
        "kept is kept"
    )
    one = quantized(graph, scheme, ["roberta.encoder.layer.1.output.dense.weight"], activations, ranges)
    assert [linear.name for linear in linears(one)] == [
        "roberta.encoder.layer.1.output.dense.weight",
        "classifier.weight",
    ]
