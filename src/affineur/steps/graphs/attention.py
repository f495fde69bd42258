"""Attention without copies: a graph whose sequences run along the first axis.

ONNX Runtime multiplies matrices whose rows lie apart in memory (``FusedMatMul`` with ``transBatchA``), but
only where a row is a step along the tensor's first axis. So the encoder's values are turned once, from
``(batch, sequence, hidden)`` to ``(sequence, batch, hidden)``, and the logits back: then the heads' queries,
keys and values are multiplied where they lie, instead of being copied by a ``Transpose`` each in every layer.
ONNX Runtime's ``MultiHeadAttention`` copies them, too: on a CPU it is no faster than the single operators.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from affineur.engines.support.graph_files import graph_bytes
from affineur.engines.support.session_pool import open_session
from affineur.steps.graphs.graph import (
    MARK,
    MICROSOFT,
    constants_of,
    drop_unused,
    new_node,
    readers_of,
    replace_nodes,
    without_constants,
)

_TURNED = f"{MARK}sequence_first"
_FLAT, _ONE, _AXES, _LEAST = (f"{MARK}attention_{name}" for name in ("flat", "one", "axes", "least"))
_STAND_IN = "Attention"  # for all nodes of a layer's attention, while the graph is looked at
#: Operators that compute each token of ``(…, hidden)`` by itself, as long as their constants have one axis.
_BY_TOKEN = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Abs", "Sqrt", "Identity", "QuantizeLinear"),
        *("Erf", "Tanh", "Relu", "Sigmoid", "Gelu"),
    }
)
#: The same, as long as they take the last axis.
_BY_LAST_AXIS = frozenset({"LayerNormalization", "Split"})
#: The same, as long as all but their first input is constant.
_BY_MATRIX = frozenset({"MatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"})
_LOWEST = np.finfo(np.float32).min
_LONG = 1024  # pieces of the text that a mask is tried on


class _UnlikeError(Exception):
    """The graph has another pattern."""


@dataclass(frozen=True, slots=True)
class _Attention:
    """The attention of one layer.

    Args:
        parts: Its queries, keys and values, each of shape ``(batch, sequence, hidden)``.
        mask: What is added to the scores.
        out: What comes of it, of the same shape.
        heads: Number of heads.
        scale: What the scores are multiplied by.
    """

    parts: tuple[str, ...]
    mask: str
    out: str
    heads: int
    scale: float


def sequence_first(model: ModelProto) -> bool:
    """Let the sequences of a graph run along the first axis between embeddings and logits, in place.

    What it takes and gives stays the same. (Only the attention of a sequence that is masked altogether, which
    no text is, is no longer set to zero.)

    Returns:
        Whether it was done; a graph of another pattern is left alone.
    """
    graph, outputs = _Graph(model), [output.name for output in model.graph.output]
    try:
        layers = {layer.out: layer for layer in graph.layers()}
        nodes = _alive(
            [
                helper.make_node(_STAND_IN, [*layer.parts, layer.mask], [layer.out], layer.out)
                if (layer := layers.get(node.output[0]))
                else node
                for node in model.graph.node
            ],
            outputs,
        )
        start = graph.start(next(iter(layers.values())).parts[0])
        turned = graph.turned(start, nodes)
    except _UnlikeError:
        return False
    made: list[NodeProto] = []
    for mask in {layer.mask: None for layer in layers.values()}:
        if _hides_padding_alone(model, mask):
            made += _simple_mask(mask)
    renamed = {name: name + _TURNED for name in (start, *outputs) if name in turned}
    simple = {node.output[0] for node in made}
    for node in nodes:
        if simple.intersection(node.output):
            continue
        if start in node.output:
            made += [node, new_node("Transpose", [start], renamed[start], perm=[1, 0, 2])]
            continue
        new = list(_nodes(layers[node.output[0]])) if node.op_type == _STAND_IN else [node]
        for one in new:
            copy = NodeProto()
            copy.CopyFrom(one)
            copy.input[:] = [renamed.get(name, name) for name in one.input]
            copy.output[:] = [renamed.get(name, name) for name in one.output]
            made.append(copy)
    made += [new_node("Transpose", [renamed[n]], n, perm=[1, 0, 2]) for n in renamed if n != start]
    replace_nodes(model, _alive(made, outputs))
    heads = {layer.heads for layer in layers.values()}
    values: dict[str, Any] = {_cut_into(n): [0, 0, n, -1] for n in heads}
    values |= {_FLAT: [0, 0, -1], _ONE: [1], _AXES: [1, 2], _LEAST: _LOWEST}
    model.graph.initializer.extend(numpy_helper.from_array(np.array(v), n) for n, v in values.items())
    if not any(opset.domain == MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    drop_unused(model)
    return True


def _nodes(layer: _Attention) -> Iterator[NodeProto]:
    """Compute the attention of values of shape ``(sequence, batch, hidden)``."""
    out = layer.out
    query, key, value = (f"{out}{MARK}{part}" for part in ("query", "key", "value"))
    scores, masked, shares, context, merged = (
        f"{out}{MARK}{name}" for name in ("scores", "masked", "shares", "context", "merged")
    )
    for name, part in zip((query, key, value), layer.parts, strict=True):
        yield new_node("Reshape", [part, _cut_into(layer.heads)], name)  # (sequence, batch, heads, …)
    yield helper.make_node(
        "FusedMatMul",
        [query, key],
        [scores],
        f"{scores}/FusedMatMul",
        domain=MICROSOFT,
        transBatchA=1,
        transBatchB=1,
        transB=1,
        alpha=layer.scale,
    )  # (batch, heads, sequence, sequence)
    yield new_node("Add", [scores, layer.mask], masked)
    yield new_node("Softmax", [masked], shares, axis=-1)
    yield helper.make_node(
        "FusedMatMul", [shares, value], [context], f"{context}/FusedMatMul", domain=MICROSOFT, transBatchB=1
    )  # (batch, heads, sequence, …)
    yield new_node("Transpose", [context], merged, perm=[2, 0, 1, 3])
    yield new_node("Reshape", [merged, _FLAT], out)


def _cut_into(heads: int) -> str:
    """Name the shape that cuts values into heads."""
    return f"{MARK}attention_{heads}_heads"


def _simple_mask(mask: str) -> list[NodeProto]:
    """Compute in a few nodes what hides padding: the exporter takes some thirty, for masks of any kind.

    As many rows as the scores have: to add one row to each of them is slower.
    """
    return [
        new_node("Cast", ["attention_mask"], f"{mask}_seen", to=TensorProto.BOOL),
        new_node("Not", [f"{mask}_seen"], f"{mask}_not"),
        new_node("Cast", [f"{mask}_not"], f"{mask}_hidden", to=TensorProto.FLOAT),
        new_node("Mul", [f"{mask}_hidden", _LEAST], f"{mask}_flat"),
        new_node("Unsqueeze", [f"{mask}_flat", _AXES], f"{mask}_row"),
        new_node("Shape", ["attention_mask"], f"{mask}_length", start=1, end=2),
        new_node("Concat", [_ONE, _ONE, f"{mask}_length", _ONE], f"{mask}_shape", axis=0),
        new_node("Expand", [f"{mask}_row", f"{mask}_shape"], mask),
    ]


def _hides_padding_alone(model: ModelProto, mask: str) -> bool:
    """Try a mask on a short and a long text: does each token see all that is no padding, however far away?"""
    nodes = _alive(model.graph.node, [mask])
    used = {name for node in nodes for name in node.input}
    small = without_constants(model)
    replace_nodes(small, nodes)
    small.graph.initializer.extend(t for t in model.graph.initializer if t.name in used)
    del small.graph.output[:]
    small.graph.output.append(helper.make_tensor_value_info(mask, TensorProto.FLOAT, None))
    seen = (np.arange(_LONG) < np.array([[_LONG], [3]])).astype(np.int64)
    feed = {i.name: seen for i in small.graph.input}
    (found,) = open_session(graph_bytes(small), 1).run(None, feed)
    expected = np.where(seen[:, None, None, :] == 1, 0, _LOWEST)
    return found.ndim == 4 and bool((found == expected).all())


def _alive(nodes: Collection[NodeProto], outputs: Collection[str]) -> list[NodeProto]:
    """Return the nodes that some output depends on."""
    wanted, kept = set(outputs), list[NodeProto]()
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


class _Graph:
    """A graph, looked at.

    Args:
        model: The graph; it is not changed.
    """

    def __init__(self, model: ModelProto) -> None:
        self._nodes = list(model.graph.node)
        self._constants = constants_of(model)
        self._makers: dict[str, NodeProto] = {output: node for node in self._nodes for output in node.output}
        self._readers = readers_of(model)

    def layers(self) -> list[_Attention]:
        """Find the attention of each layer, in order.

        Raises:
            _UnlikeError: If there is none, or one of another pattern.
        """
        found = [self._attention(node) for node in self._nodes if node.op_type == "Softmax"]
        if not found:
            raise _UnlikeError
        return found

    def start(self, name: str) -> str:
        """Go back from a value to the normalization it is computed from, token by token.

        Raises:
            _UnlikeError: If it is computed in another way.
        """
        while (node := self._made_by(name)).op_type != "LayerNormalization":
            if not self._is_by_token(node):
                raise _UnlikeError
            name = next(i for i in node.input if i and i not in self._constants)
        return name

    def turned(self, start: str, nodes: Collection[NodeProto]) -> set[str]:
        """Name all values that follow from one, which must be computed token by token or be attention.

        Raises:
            _UnlikeError: If one is computed in another way.
        """
        turned = {start}
        for node in nodes:
            variable = {i for i in node.input if i and i not in self._constants}
            if not variable & turned:
                continue
            mask = {node.input[3]} if node.op_type == _STAND_IN else set[str]()
            if variable - turned != mask or not (mask or self._is_by_token(node)):
                raise _UnlikeError
            turned.update(node.output)
        return turned

    def _attention(self, softmax: NodeProto) -> _Attention:
        """Recognize ``softmax(scale · query · keyᵀ + mask) · value`` of heads that lie side by side."""
        masked = self._made_by(softmax.input[0], "Add")
        scaled = self._made_by(masked.input[0], "Mul")
        scores = self._made_by(scaled.input[0], "MatMul")
        context = self._read_by(softmax.output[0], "MatMul")
        scale = self._constant(scaled.input[1])
        cut = [
            self._before_heads(scores.input[0], [0, 2, 1, 3]),
            self._before_heads(scores.input[1], [0, 2, 3, 1]),
            self._before_heads(context.input[1], [0, 2, 1, 3]),
        ]
        heads = {number for _, number in cut}
        if len(heads) != 1 or scale.size != 1:
            raise _UnlikeError
        parts = tuple(name for name, _ in cut)
        return _Attention(
            parts, masked.input[1], self._merged(context.output[0]), heads.pop(), float(scale.flat[0])
        )

    def _before_heads(self, name: str, permutation: list[int]) -> tuple[str, int]:
        """Return the value that is cut into heads, and their number."""
        turn = self._made_by(name, "Transpose")
        cut = self._made_by(turn.input[0], "Reshape")
        sizes = self._constant(cut.input[1]).tolist()
        if (
            list(turn.attribute[0].ints) != permutation
            or len(sizes) != 4
            or [*sizes[:2], sizes[3]] != [0, 0, -1]
        ):
            raise _UnlikeError
        name = cut.input[0]
        while (node := self._made_by(name)).op_type == "Reshape":  # cut and put together again before
            name = node.input[0]
        return name, sizes[2]

    def _merged(self, name: str) -> str:
        """Return what the heads are put together to; where nothing is seen, exporters set zeros."""
        turn = self._read_by(name, "Transpose")
        if list(turn.attribute[0].ints) != [0, 2, 1, 3]:
            raise _UnlikeError
        name = turn.output[0]
        while len(readers := self._readers.get(name, [])) == 1 and (
            readers[0].op_type == "Reshape"
            or (readers[0].op_type == "Where" and not self._constant(readers[0].input[1]).any())
        ):
            name = readers[0].output[0]
        return name

    def _is_by_token(self, node: NodeProto) -> bool:
        """Say whether a node computes each token by itself, wherever it stands."""
        known = [self._constants[i] for i in node.input if i in self._constants]
        if node.op_type in _BY_MATRIX:
            return len(known) == sum(map(bool, node.input)) - 1 and len(known[0].dims) == 2
        if node.op_type == "ReduceMax":
            return len(known) == 1 and numpy_helper.to_array(known[0]).tolist() == [-1]
        if node.op_type in _BY_LAST_AXIS:
            return [a.i for a in node.attribute if a.name == "axis"] == [-1]
        return node.op_type in _BY_TOKEN and all(len(t.dims) <= 1 for t in known)

    def _made_by(self, name: str, kind: str = "") -> NodeProto:
        node = self._makers.get(name)
        if node is None or (kind and node.op_type != kind):
            raise _UnlikeError
        return node

    def _read_by(self, name: str, kind: str) -> NodeProto:
        readers = self._readers.get(name, [])
        if len(readers) != 1 or readers[0].op_type != kind:
            raise _UnlikeError
        return readers[0]

    def _constant(self, name: str) -> npt.NDArray[Any]:
        if name not in self._constants:
            raise _UnlikeError
        return numpy_helper.to_array(self._constants[name])
