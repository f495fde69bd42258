"""Graphs whose sequences run along the first axis against the graphs they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper

from affineur.steps.graphs.attention import sequence_first
from affineur.steps.graphs.graph import constants_of, linears, new_node, readers_of

from .models import IDS, MASK, logits, run

LAYERS = 2


@pytest.fixture
def graph(shared_onnx: Path) -> ModelProto:
    return onnx.load(shared_onnx / "model.onnx")


def softmax(model: ModelProto) -> NodeProto:
    return next(n for n in model.graph.node if n.op_type == "Softmax")


def made_by(model: ModelProto, name: str) -> NodeProto:
    return next(n for n in model.graph.node if name in n.output)


def insert_after(model: ModelProto, name: str, nodes: list[NodeProto]) -> None:
    """Let what reads a value read the last of some nodes instead."""
    for reader in readers_of(model)[name]:
        reader.input[:] = [nodes[-1].output[0] if i == name else i for i in reader.input]
    place = list(model.graph.node).index(made_by(model, name)) + 1
    for node in reversed(nodes):
        model.graph.node.insert(place, node)


def test_it_computes_the_same_with_fewer_copies(graph: ModelProto) -> None:
    before, nodes, ends = logits(graph), len(graph.graph.node), [graph.graph.input, graph.graph.output]
    ends = [[value.SerializeToString() for value in values] for values in ends]
    names = [linear.weight for linear in linears(graph)]
    assert sequence_first(graph)
    onnx.checker.check_model(graph)
    assert np.allclose(logits(graph), before, atol=1e-5)
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("Transpose") == LAYERS + 2, "one a layer, there and back"
    assert len(kinds) < 0.7 * nodes
    assert [linear.weight for linear in linears(graph)] == names
    after = [graph.graph.input, graph.graph.output]
    assert [[value.SerializeToString() for value in values] for values in after] == ends


def test_a_text_is_alone_what_it_is_in_a_batch(graph: ModelProto) -> None:
    sequence_first(graph)
    together = run(graph, input_ids=IDS, attention_mask=MASK)
    assert together.shape == (*IDS.shape, 5)
    for row, length in enumerate(MASK.sum(axis=1)):
        alone = run(graph, input_ids=IDS[row : row + 1, :length], attention_mask=MASK[row : row + 1, :length])
        assert np.allclose(alone[0], together[row, :length], atol=1e-5)


def test_matrices_side_by_side(graph: ModelProto) -> None:
    """As earlier exports have them: one product, split into queries, keys and values."""
    before, constants = logits(graph), constants_of(graph)
    parts = [n for n in graph.graph.node if n.op_type == "MatMul" and "attention.self" in n.input[1]]
    assert len(parts) == 3 * LAYERS
    for number in range(0, len(parts), 3):
        three = parts[number : number + 3]
        weight = np.concatenate([numpy_helper.to_array(constants[n.input[1]]) for n in three], axis=1)
        name = "+".join(n.input[1] for n in three)
        graph.graph.initializer.append(numpy_helper.from_array(weight, name))
        split = helper.make_node(
            "Split",
            [f"{name}/product"],
            [n.output[0] for n in three],
            f"{name}/Split",
            axis=-1,
            num_outputs=3,
        )
        place = list(graph.graph.node).index(three[0])
        product = new_node("MatMul", [three[0].input[0], name], f"{name}/product")
        for node in three:
            graph.graph.node.remove(node)
        graph.graph.node.insert(place, split)
        graph.graph.node.insert(place, product)
    assert np.allclose(logits(graph), before, atol=1e-5)
    assert sequence_first(graph)
    assert np.allclose(logits(graph), before, atol=1e-5)
    assert linears(graph)[0].name.endswith("layer.0.attention.self.query.weight")


def test_a_mask_that_hides_more_than_padding_stays(graph: ModelProto) -> None:
    """A token of ModernBERT's sees only those near it; here, none that stands 300 pieces before it."""
    mask = made_by(graph, softmax(graph).input[0]).input[1]
    far = numpy_helper.from_array(np.array([-1e4], np.float32))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(-300), "distance"))
    insert_after(
        graph,
        mask,
        [
            new_node("Shape", [mask], "mask_shape"),
            new_node("ConstantOfShape", ["mask_shape"], "mask_all", value=far),
            new_node("Trilu", ["mask_all", "distance"], "mask_far", upper=0),
            new_node("Add", [mask, "mask_far"], "mask_near"),
        ],
    )
    before = logits(graph)
    assert sequence_first(graph)
    assert "Trilu" in {node.op_type for node in graph.graph.node}
    assert np.allclose(logits(graph), before, atol=1e-5)


@pytest.mark.parametrize("unlike", ["neighbors", "positions", "temperature", "order", "nothing"])
def test_another_pattern_is_left_alone(unlike: str, graph: ModelProto) -> None:
    node = softmax(graph)
    if unlike == "neighbors":  # tokens are summed up over the sequence before the classifier
        end = linears(graph)[-1]
        x = next(n for n in graph.graph.node if n.name == end.node).input[0]
        graph.graph.initializer.append(numpy_helper.from_array(np.array(1), "axis"))
        insert_after(graph, x, [new_node("CumSum", [x, "axis"], "summed")])
    elif unlike == "positions":  # something is added that is of the other order
        x = made_by(graph, "logits").input[0]
        ids = new_node("Cast", ["input_ids"], "ids_float", to=1)
        graph.graph.initializer.append(numpy_helper.from_array(np.array([2]), "last_axis"))
        insert_after(
            graph,
            x,
            [
                ids,
                new_node("Unsqueeze", ["ids_float", "last_axis"], "ids_3"),
                new_node("Add", [x, "ids_3"], "more"),
            ],
        )
    elif unlike == "temperature":  # a scale that is computed
        scaled = made_by(graph, made_by(graph, node.input[0]).input[0])
        graph.graph.node.insert(0, new_node("Identity", [scaled.input[1]], "computed"))
        scaled.input[1] = "computed"
    elif unlike == "order":  # heads that lie otherwise
        context = readers_of(graph)[node.output[0]][0]
        made_by(graph, context.input[1]).attribute[0].ints[:] = [0, 2, 3, 1]
    else:
        kept = [n for n in graph.graph.node if n.op_type != "Softmax"]
        del graph.graph.node[:]
        graph.graph.node.extend(kept)
    before = graph.SerializeToString()
    assert not sequence_first(graph)
    assert graph.SerializeToString() == before
