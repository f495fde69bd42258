"""Surgery on exported ONNX graphs: undo fusions that are slow on a CPU, find and name the matrices."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from affineur.artifact.scope import PARTS, part_of

MICROSOFT = "com.microsoft"
#: Between a constant and what was made of it.
MARK = "@"
_JOIN = "+"  # between matrices side by side, as earlier exports kept them
_FEWEST_ROWS = 16  # of a table worth storing in eight bits

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """A multiplication with a constant matrix.

    Args:
        node: Name of the node.
        weight: Name of its constant, shape ``(inputs, outputs)``.
    """

    node: str
    weight: str

    @property
    def name(self) -> str:
        """What to call it: the parent's tensor it holds, or the first of several that stand side by side."""
        return self.weight.partition(_JOIN)[0]

    @property
    def quantizable(self) -> bool:
        """Whether it may be stored in eight bits: the classifier never is, for it is tiny and decides."""
        return _part(self.name) != "head"


def tidy(model: ModelProto) -> None:
    """Drop what only debugging needs and undo slow fusions, in place.

    ONNX Runtime's fused ``SkipLayerNormalization`` took four times as long on a CPU as the additions and the
    ``LayerNormalization`` it stands for, and both it and ``BiasGelu`` keep the bias out of the matrix
    multiplication before it.
    """
    nodes: list[NodeProto] = []
    products = {node.output[0] for node in model.graph.node if node.op_type == "MatMul"}
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        if node.domain == MICROSOFT and node.op_type == "SkipLayerNormalization":
            nodes.extend(_unfuse_norm(node, products))
        elif node.domain == MICROSOFT and node.op_type == "BiasGelu":
            nodes.extend(_unfuse_gelu(node))
        else:
            nodes.append(node)
    replace_nodes(model, nodes)
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
    drop_unused(model)


def name_matrices(model: ModelProto, weights: Mapping[str, Array]) -> None:
    """Give each constant matrix the name of the tensor it holds; those packed side by side are taken apart.

    A matrix is recognized by its numbers, whatever an exporter calls it. One multiplication for a layer's
    queries, keys and values is no faster on a CPU than three, and its product would be copied to be split.

    Args:
        model: The graph, changed in place.
        weights: The parent's matrices by name, shape ``(outputs, inputs)``.
    """
    known = {_digest(array.T): name for name, array in weights.items()}
    constants, readers = constants_of(model), readers_of(model)
    nodes: dict[str, list[NodeProto]] = {}  # instead of others, by their names
    for node in [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]:
        whole = numpy_helper.to_array(constants[node.input[1]])
        split = _split_of(node, whole, readers, constants)
        parts = _parts(whole, split, constants)
        names = [known.get(_digest(part), "") for part in parts]
        if not all(names):
            continue
        for name, part in zip(names, parts, strict=True):
            if name not in constants:
                constants[name] = numpy_helper.from_array(np.ascontiguousarray(part), name)
                model.graph.initializer.append(constants[name])
        if split is None:
            node.input[1] = names[0]
        else:
            nodes[node.name] = []
            nodes[split.name] = [
                new_node("MatMul", [node.input[0], name], output)
                for name, output in zip(names, split.output, strict=True)
            ]
    replace_nodes(model, [new for node in model.graph.node for new in nodes.get(node.name, [node])])
    drop_unused(model)


def linears(model: ModelProto) -> list[Linear]:
    """Find the multiplications with constant matrices, in order."""
    constants = {
        name
        for name, tensor in constants_of(model).items()
        if len(tensor.dims) == 2 and tensor.data_type == TensorProto.FLOAT
    }
    return [
        Linear(node.name, node.input[1])
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in constants
    ]


def tables(model: ModelProto) -> list[str]:
    """Name the embedding tables that are worth storing in eight bits."""
    constants = constants_of(model)
    found = [
        n.input[0]
        for n in model.graph.node
        if n.op_type == "Gather" and n.input[0] in constants and _is_table(constants[n.input[0]])
    ]
    return list(dict.fromkeys(found))


def bytes_by_part(model: ModelProto) -> dict[str, int]:
    """Return the bytes of embeddings, encoder and head among a graph's constants."""
    sizes = dict.fromkeys(PARTS, 0)
    for tensor in model.graph.initializer:
        sizes[_part(tensor.name.partition(MARK)[0].partition(_JOIN)[0])] += len(tensor.raw_data)
    return sizes


def opset(model: ModelProto) -> int:
    """Return the version of the standard operators."""
    return next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


def new_node(kind: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    """Make a node of one output, named after it."""
    return helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes)


def constants_of(model: ModelProto) -> dict[str, TensorProto]:
    """Return the constants of a graph by name."""
    return {t.name: t for t in model.graph.initializer}


def readers_of(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Return the nodes that read each value; an output of the graph is read by a node without a name."""
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for output in model.graph.output:
        readers.setdefault(output.name, []).append(NodeProto())
    return readers


def without_constants(model: ModelProto) -> ModelProto:
    """Copy a model without its constants and nodes."""
    bare = ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
    )
    bare.opset_import.extend(model.opset_import)
    bare.graph.name = model.graph.name
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(model.graph.output)
    return bare


def replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    """Give a graph copies of other nodes, in place."""
    kept = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        kept.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(kept)


# ---- tidying
# ----------------------------------------------------------------------------------------------------------


def _unfuse_norm(node: NodeProto, products: Collection[str]) -> list[NodeProto]:
    x, skip, gamma, beta, bias = (*node.input, "", "", "")[:5]
    if skip in products:
        x, skip = skip, x
    outputs = (*node.output, "", "", "")[:4]
    total = outputs[3] or f"{outputs[0]}_sum"
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    nodes = []
    if bias:  # to the product, whose multiplication can add it
        nodes.append(new_node("Add", [x, bias], f"{outputs[0]}_biased"))
        x = f"{outputs[0]}_biased"
    nodes.append(new_node("Add", [x, skip], total))
    nodes.append(
        new_node(
            "LayerNormalization",
            [total, gamma, *([beta] if beta else [])],
            outputs[0],
            axis=-1,
            epsilon=epsilon,
        )
    )
    return nodes


def _unfuse_gelu(node: NodeProto) -> list[NodeProto]:
    biased = f"{node.output[0]}_biased"
    return [
        new_node("Add", list(node.input), biased),
        new_node("Gelu", [biased], node.output[0], approximate="none"),
    ]


def _part(name: str) -> str:
    """Return the part of the model a constant belongs to; shapes and masks serve the encoder."""
    return part_of(name) if "." in name else "encoder"


def _is_table(tensor: TensorProto) -> bool:
    return (
        tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) == 2
        and tensor.dims[0] >= _FEWEST_ROWS
        and MARK not in tensor.name
    )


def _split_of(
    node: NodeProto,
    weight: Array,
    readers: Mapping[str, list[NodeProto]],
    constants: Mapping[str, TensorProto],
) -> NodeProto | None:
    """Find the node that splits the product of a matrix, if nothing else reads it."""
    after = readers.get(node.output[0], [])
    if len(after) != 1 or after[0].op_type != "Split" or len(after[0].input) < 2:
        return None
    sizes = constants.get(after[0].input[1])
    return after[0] if sizes and numpy_helper.to_array(sizes).sum() == weight.shape[1] else None


def _parts(weight: Array, split: NodeProto | None, constants: Mapping[str, TensorProto]) -> list[Array]:
    """Cut a matrix where its product is split."""
    if split is None:
        return [weight]
    sizes = numpy_helper.to_array(constants[split.input[1]])
    return np.split(weight, np.cumsum(sizes)[:-1], axis=1)


def _digest(array: Array) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array, dtype=np.float32).tobytes()).digest()


def drop_unused(model: ModelProto) -> None:
    """Drop the constants that no node reads, and the import of operators that no node is."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    if len(kept) < len(model.graph.initializer):
        for index in reversed(range(len(model.graph.initializer))):
            if model.graph.initializer[index].name not in used:
                del model.graph.initializer[index]
    if not any(node.domain == MICROSOFT for node in model.graph.node):
        for index in reversed(range(len(model.opset_import))):
            if model.opset_import[index].domain == MICROSOFT:
                del model.opset_import[index]
