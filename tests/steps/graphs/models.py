"""Graphs that tests make, and what they compute."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper

from affineur.engines.support.graph_files import graph_bytes
from affineur.engines.support.session_pool import open_session

Array = npt.NDArray[np.float32]
MATRIX = "encoder.layer.0.intermediate.dense.weight"
IDS = np.random.default_rng(11).integers(5, 150, size=(4, 17))
MASK = (np.arange(17) < np.array([17, 9, 12, 3])[:, None]).astype(np.int64)


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
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
