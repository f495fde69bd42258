"""ONNX graphs in eight bits: matrices by output, tables by row, activations by one of three scales."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from affineur.steps.graphs.attention import sequence_first
from affineur.steps.graphs.graph import (
    MARK,
    MICROSOFT,
    Array,
    constants_of,
    linears,
    new_node,
    readers_of,
    replace_nodes,
    tables,
    without_constants,
)

#: How matrices can be stored.
SCHEMES = ("u8s8", "u8s8-reduced", "u8u8")
#: How activations can be scaled.
ACTIVATIONS = ("static", "token", "batch")
#: Least and largest value of each activation that meets a matrix, by its name in the graph.
Ranges = Mapping[str, tuple[float, float]]
_ZERO = 128  # of activations that are scaled symmetrically
_FEWEST = np.finfo(np.float32).tiny


def quantized(
    model: ModelProto,
    scheme: str,
    keep: Collection[str] = (),
    activations: str = "batch",
    ranges: Ranges | None = None,
    by_token: Collection[str] = (),
) -> ModelProto:
    """Return a copy with matrices and embedding tables in eight bits.

    Args:
        model: A tidy graph in full precision; it is not changed.
        scheme: ``u8s8`` (signed weights, for VNNI and ARM), ``u8s8-reduced`` (seven bits, whose sums cannot
            overflow 16), or ``u8u8`` (unsigned weights, which take a slower kernel that cannot either).
        keep: Names of matrices to leave in full precision. The classifier always is: it is tiny and decides.
        activations: ``static``: one constant scale for all that enters a matrix, from ``ranges`` (Jacob et
            al. 2018, arXiv 1712.05877). ``token``: each token has a scale of its own, computed as it comes
            (ZeroQuant, arXiv 2206.01861). With both a text's result does not depend on its neighbors.
            ``batch``: one scale for the whole batch, computed as it comes.
        ranges: What :func:`watched` found of each activation; needed for ``static`` alone.
        by_token: Names of matrices whose activations are scaled by ``token`` whatever ``activations`` says.
    """
    chosen = {
        m.node: "token" if m.name in by_token else activations
        for m in linears(model)
        if m.name not in keep and m.quantizable
    }
    chosen_tables = set(tables(model)).difference(keep)
    work = _Work(constants_of(model), scheme, ranges or {})
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.name in chosen:
            nodes.extend(work.matmul(node, chosen[node.name]))
        elif node.op_type == "Gather" and node.input[0] in chosen_tables:
            nodes.extend(work.gather(node))
        else:
            nodes.append(node)
    # Everything but the constants first: those that are replaced are never copied.
    copy = without_constants(model)
    replace_nodes(copy, nodes)
    used = {name for node in nodes for name in node.input}
    copy.graph.initializer.extend(
        [t for t in model.graph.initializer if t.name in used] + list(work.made.values())
    )
    if not any(opset.domain == MICROSOFT for opset in copy.opset_import):
        copy.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    _fuse_biases(copy)
    sequence_first(copy)
    return copy


def watched(model: ModelProto) -> tuple[bytes, list[str], list[str]]:
    """Make a graph that also gives, by position, the ends of each activation that meets a matrix.

    Returns:
        The graph, serialized; the names of the activations; and two outputs for each of them, least and
        largest values, of the activation's shape without its last axis.
    """
    reads = {node.name: node.input[0] for node in model.graph.node}
    names = list(dict.fromkeys(reads[m.node] for m in linears(model) if m.quantizable))
    ends = [
        new_node(kind, [name, f"{MARK}last"], f"{name}{MARK}{kind}", keepdims=0)
        for name in names
        for kind in ("ReduceMin", "ReduceMax")
    ]
    outputs = [node.output[0] for node in ends]
    more = ModelProto()
    more.graph.node.extend(ends)
    more.graph.output.extend(
        helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in outputs
    )
    more.graph.initializer.append(numpy_helper.from_array(np.array([-1]), f"{MARK}last"))
    # Two messages one after the other are one message with the lists of both (protobuf's encoding guide): no
    # second copy of the weights.
    return bytes(model.SerializeToString()) + bytes(more.SerializeToString()), names, outputs


class _Work:
    """Nodes and constants in eight bits, each constant and each quantized activation made once."""

    def __init__(self, constants: Mapping[str, TensorProto], scheme: str, ranges: Ranges) -> None:
        self.made: dict[str, TensorProto] = {}
        self._constants, self._scheme, self._ranges = constants, scheme, ranges
        self._ready: set[str] = set()

    def matmul(self, node: NodeProto, activations: str) -> Iterator[NodeProto]:
        """Multiply in eight bits."""
        x, name, out = node.input[0], node.input[1], node.output[0]
        values, scale, zero = self._columns(name)
        if activations == "batch":
            inputs = [x, values, scale, *([zero] if zero else [])]
            yield helper.make_node("DynamicQuantizeMatMul", inputs, [out], node.name, domain=MICROSOFT)
        elif activations == "static":
            low, high = self._ranges[x]
            step = max(high - low, float(_FEWEST)) / 255
            x_scale = self._constant(f"{x}{MARK}scale", np.float32(step))
            x_zero = self._constant(f"{x}{MARK}zero", np.uint8(round(-low / step)))
            if self._first(small := f"{x}_u8"):
                yield new_node("QuantizeLinear", [x, x_scale, x_zero], small)
            inputs = [small, values, x_scale, scale, x_zero, zero]
            yield helper.make_node("MatMulIntegerToFloat", inputs, [out], node.name, domain=MICROSOFT)
        else:
            one, x_zero = (
                self._constant(f"{MARK}one", np.float32(1)),
                self._constant(f"{MARK}zero", np.uint8(_ZERO)),
            )
            if self._first(small := f"{x}_token_u8"):
                yield new_node("Abs", [x], f"{x}_token_abs")
                yield new_node(
                    "ReduceMax",
                    [f"{x}_token_abs", self._constant(f"{MARK}last", np.array([-1]))],
                    f"{x}_token_most",
                    keepdims=1,
                )
                # A token of zeros alone would be divided by zero.
                yield new_node(
                    "Max",
                    [f"{x}_token_most", self._constant(f"{MARK}least", np.float32(1e-30))],
                    f"{x}_token_some",
                )
                yield new_node(
                    "Mul",
                    [f"{x}_token_some", self._constant(f"{MARK}step", np.float32(1 / 127))],
                    f"{x}_token_scale",
                )
                yield new_node("Div", [x, f"{x}_token_scale"], f"{x}_token_scaled")
                yield new_node("QuantizeLinear", [f"{x}_token_scaled", one, x_zero], small)
            inputs = [small, values, one, scale, x_zero, zero]
            yield helper.make_node(
                "MatMulIntegerToFloat", inputs, [f"{out}_scaled"], node.name, domain=MICROSOFT
            )
            yield new_node("Mul", [f"{out}_scaled", f"{x}_token_scale"], out)

    def gather(self, node: NodeProto) -> Iterator[NodeProto]:
        """Look up in eight bits, with one scale per row.

        Rows differ widely in size, and one scale for all would drown the small ones.
        """
        name, ids, out = node.input[0], node.input[1], node.output[0]
        values, scales = f"{name}{MARK}rows", f"{name}{MARK}row_scale"
        if values not in self.made:
            table = numpy_helper.to_array(self._constants[name])
            scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), _FEWEST) / 127
            self._constant(values, np.rint(table / scale).astype(np.int8))
            self._constant(scales, scale)
        yield new_node("Gather", [values, ids], f"{out}_s8", axis=0)
        yield new_node("Cast", [f"{out}_s8"], f"{out}_whole", to=TensorProto.FLOAT)
        yield new_node("Gather", [scales, ids], f"{out}_scale", axis=0)
        yield new_node("Mul", [f"{out}_whole", f"{out}_scale"], out)

    def _columns(self, name: str) -> tuple[str, str, str]:
        """Quantize each output (column) of a matrix by its largest weight, symmetrically.

        Returns:
            The names of its values, scales and zeros; no zeros where the values are signed.
        """
        # 2 · 255 · 64 < 2¹⁵, so a pair of products never overflows.
        most = {"u8s8": 127, "u8s8-reduced": 64, "u8u8": 127}[self._scheme]
        unsigned = self._scheme == "u8u8"
        names = (
            f"{name}{MARK}{'u8' if unsigned else 's8'}",
            f"{name}{MARK}scale",
            f"{name}{MARK}zero" if unsigned else "",
        )
        if names[0] not in self.made:
            weight: Array = numpy_helper.to_array(self._constants[name])
            scale = np.maximum(np.abs(weight).max(axis=0), _FEWEST) / most
            whole = np.rint(weight / scale)
            self._constant(names[0], (whole + _ZERO).astype(np.uint8) if unsigned else whole.astype(np.int8))
            self._constant(names[1], scale)
            if unsigned:
                self._constant(names[2], np.full(weight.shape[1], _ZERO, np.uint8))
        return names

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        if name not in self.made:
            self.made[name] = numpy_helper.from_array(
                np.ascontiguousarray(value).reshape(np.shape(value)), name
            )
        return name

    def _first(self, name: str) -> bool:
        """Say once of each activation that it is not quantized yet."""
        new = name not in self._ready
        self._ready.add(name)
        return new


#: Where the multiplications take the bias that is added to their product.
_BIAS = {"DynamicQuantizeMatMul": 4, "MatMulIntegerToFloat": 6}


def _fuse_biases(model: ModelProto) -> None:
    """Let the multiplication add the bias that follows it."""
    readers, constants = readers_of(model), constants_of(model)
    gone: set[str] = set()
    for node in model.graph.node:
        read = readers.get(node.output[0], [])
        if node.op_type not in _BIAS or len(read) != 1 or read[0].op_type != "Add":
            continue
        bias = next((i for i in read[0].input if i in constants and len(constants[i].dims) == 1), None)
        if bias is None:
            continue
        node.input.extend([""] * (_BIAS[node.op_type] - len(node.input)) + [bias])
        node.output[0] = read[0].output[0]
        gone.add(read[0].name)
    replace_nodes(model, [node for node in model.graph.node if node.name not in gone])
