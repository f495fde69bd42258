"""Surgery on exported ONNX graphs: undo fusions that are slow on a CPU, find and name the matrices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from affineur.artifact.scope import PARTS, part_of

MICROSOFT = "com.microsoft"
#: Between a constant and what was made of it.
MARK = "@"
_JOIN = "+"  # between matrices side by side
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
    """Drop what only debugging needs, undo slow fusions, join the biases of packed matrices; in place.

    ONNX Runtime's fused ``SkipLayerNormalization`` took four times as long on a CPU as the additions and the
    ``LayerNormalization`` it stands for, and ``BiasGelu`` keeps the bias out of the matrix multiplication
    before it.
    """
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        undo = _UNDO.get(node.op_type) if node.domain == MICROSOFT else None
        nodes.extend(undo(node) if undo else [node])
    replace_nodes(model, nodes)
    _join_biases(model)
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
    _drop_unused(model)


def name_matrices(model: ModelProto, weights: Mapping[str, Array]) -> None:
    """Give each constant matrix the name of the tensor it holds; several side by side are joined by ``+``.

    A matrix is recognized by its numbers, whatever an exporter calls it.

    Args:
        model: The graph, changed in place.
        weights: The parent's matrices by name, shape ``(outputs, inputs)``.
    """
    known = {_digest(array.T): name for name, array in weights.items()}
    constants, readers = constants_of(model), readers_of(model)
    for node in [n for n in model.graph.node if n.op_type == "MatMul"]:
        constant = constants.get(node.input[1])
        if constant is None:  # no constant, or one that several share and that has its name already
            continue
        names = [
            known.get(_digest(part), "")
            for part in _parts(node, numpy_helper.to_array(constant), readers, constants)
        ]
        if all(names) and _JOIN.join(names) not in constants:
            for reader in readers[constant.name]:
                reader.input[:] = [
                    _JOIN.join(names) if name == constant.name else name for name in reader.input
                ]
            constant.name = _JOIN.join(names)


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


def _unfuse_norm(node: NodeProto) -> list[NodeProto]:
    x, skip, gamma, beta, bias = (*node.input, "", "", "")[:5]
    outputs = (*node.output, "", "", "")[:4]
    total = outputs[3] or f"{outputs[0]}_sum"
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    nodes = []
    if bias:
        nodes.append(new_node("Add", [skip, bias], f"{outputs[0]}_biased"))
        skip = f"{outputs[0]}_biased"
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


_UNDO: Mapping[str, Callable[[NodeProto], list[NodeProto]]] = {
    "SkipLayerNormalization": _unfuse_norm,
    "BiasGelu": _unfuse_gelu,
}


def _join_biases(model: ModelProto) -> None:
    """Add the biases of matrices that are multiplied side by side before their product is split."""
    readers = readers_of(model)
    constants = constants_of(model)
    gone: set[str] = set()
    after: dict[str, list[NodeProto]] = {}
    for split in [n for n in model.graph.node if n.op_type == "Split"]:
        adds = [readers.get(part, []) for part in split.output]
        if not all(len(read) == 1 and read[0].op_type == "Add" for read in adds):
            continue
        biases = [next((i for i in read[0].input if i in constants), None) for read in adds]
        if None in biases or any(len(constants[str(b)].dims) != 1 for b in biases):
            continue
        joined = f"{split.input[0]}_bias"
        model.graph.initializer.append(
            numpy_helper.from_array(
                np.concatenate([numpy_helper.to_array(constants[str(b)]) for b in biases]), joined
            ),
        )
        after[split.name] = [
            new_node("Add", [split.input[0], joined], f"{split.input[0]}_biased"),
            helper.make_node(
                "Split",
                [f"{split.input[0]}_biased", *split.input[1:]],
                [read[0].output[0] for read in adds],
                split.name,
                **_attributes(split),
            ),
        ]
        gone |= {split.name, *(read[0].name for read in adds)}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.extend(after.get(node.name, []) if node.name in gone else [node])
    replace_nodes(model, nodes)


def _part(name: str) -> str:
    """Return the part of the model a constant belongs to; shapes and masks serve the encoder."""
    return part_of(name) if "." in name else "encoder"


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _is_table(tensor: TensorProto) -> bool:
    return (
        tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) == 2
        and tensor.dims[0] >= _FEWEST_ROWS
        and MARK not in tensor.name
    )


def _parts(
    node: NodeProto,
    weight: Array,
    readers: Mapping[str, list[NodeProto]],
    constants: Mapping[str, TensorProto],
) -> list[Array]:
    """Cut a matrix where its product, with the bias added, is split."""
    after = readers.get(node.output[0], [])
    after = readers.get(after[0].output[0], []) if len(after) == 1 and after[0].op_type == "Add" else after
    for split in after:
        if split.op_type == "Split" and len(split.input) > 1 and split.input[1] in constants:
            sizes = numpy_helper.to_array(constants[split.input[1]])
            if sizes.sum() == weight.shape[1]:
                return np.split(weight, np.cumsum(sizes)[:-1], axis=1)
    return [weight]


def _digest(array: Array) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array, dtype=np.float32).tobytes()).digest()


def _drop_unused(model: ModelProto) -> None:
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
