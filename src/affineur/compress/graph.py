"""Surgery on exported ONNX graphs: undo fusions that are slow on a CPU, find the matrices, store them in eight bits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from affineur.artifact.scope import PARTS, part_of

MICROSOFT = "com.microsoft"
#: How matrices can be stored; ``fp32`` leaves them alone.
SCHEMES = ("u8s8", "u8s8-reduced", "u8u8", "rowwise")
_BLOCKS = (256, 128, 64, 32)
_JOIN, _MARK = "+", "@"  # between matrices side by side; between a constant and what was made of it
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
    """Drop what only debugging needs, undo slow fusions, and add the biases of packed matrices in one go; in place.

    ONNX Runtime's fused ``SkipLayerNormalization`` took four times as long on a CPU as the additions and the
    ``LayerNormalization`` it stands for, and ``BiasGelu`` keeps the bias out of the matrix multiplication before it.
    """
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        undo = _UNDO.get(node.op_type) if node.domain == MICROSOFT else None
        nodes.extend(undo(node) if undo else [node])
    _replace_nodes(model, nodes)
    _join_biases(model)
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
    _drop_unused(model)


def name_matrices(model: ModelProto, weights: Mapping[str, Array]) -> None:
    """Give each constant matrix the name of the parent's tensor it holds; several side by side are joined by ``+``.

    A matrix is recognized by its numbers, whatever an exporter calls it.

    Args:
        model: The graph, changed in place.
        weights: The parent's matrices by name, shape ``(outputs, inputs)``.
    """
    known = {_digest(array.T): name for name, array in weights.items()}
    constants, readers = _constants(model), _readers(model)
    for node in [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]:
        constant = constants[node.input[1]]
        names = [known.get(_digest(part), "") for part in _parts(node, numpy_helper.to_array(constant), readers, constants)]
        if all(names) and _JOIN.join(names) not in constants:
            for reader in readers[constant.name]:
                reader.input[:] = [_JOIN.join(names) if name == constant.name else name for name in reader.input]
            constant.name = _JOIN.join(names)


def linears(model: ModelProto) -> list[Linear]:
    """Find the multiplications with constant matrices, in order."""
    constants = {name for name, tensor in _constants(model).items() if len(tensor.dims) == 2 and tensor.data_type == TensorProto.FLOAT}
    return [Linear(node.name, node.input[1]) for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in constants]


def tables(model: ModelProto) -> list[str]:
    """Name the embedding tables that are worth storing in eight bits."""
    constants = _constants(model)
    found = [n.input[0] for n in model.graph.node if n.op_type == "Gather" and n.input[0] in constants and _is_table(constants[n.input[0]])]
    return list(dict.fromkeys(found))


def quantized(model: ModelProto, scheme: str, keep: Collection[str] = ()) -> ModelProto:
    """Return a copy with matrices and embedding tables in eight bits.

    Args:
        model: A tidy graph in full precision; it is not changed.
        scheme: ``u8s8`` (signed weights, for VNNI and ARM), ``u8s8-reduced`` (seven bits, whose sums cannot overflow 16),
            ``u8u8`` (unsigned weights, which take a slower kernel that cannot either), or ``rowwise`` (activations are scaled
            row by row and block by block, so that a text's result does not depend on its neighbors in the batch but for
            rounding: on the sample no tag of 8,652 words changed and no logit by more than 0.008, with ``u8s8`` 11 tags and 0.22).
        keep: Names of matrices to leave in full precision. The classifier always is: it is tiny and decides.
    """
    chosen = {m.node for m in linears(model) if m.name not in keep and m.quantizable}
    chosen_tables = set(tables(model)).difference(keep)
    constants = _constants(model)
    made: dict[str, list[TensorProto]] = {}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.name in chosen:
            nodes.append(_quantize_matmul(node, numpy_helper.to_array(constants[node.input[1]]), scheme, made))
        elif node.op_type == "Gather" and node.input[0] in chosen_tables:
            nodes.extend(_quantize_gather(node, numpy_helper.to_array(constants[node.input[0]]), made))
        else:
            nodes.append(node)
    copy = ModelProto()
    # Everything but the constants first: those that are replaced are never copied.
    copy.CopyFrom(_without_constants(model))
    _replace_nodes(copy, nodes)
    used = {name for node in nodes for name in node.input}
    copy.graph.initializer.extend([t for t in model.graph.initializer if t.name in used] + [t for new in made.values() for t in new])
    if not any(opset.domain == MICROSOFT for opset in copy.opset_import):
        copy.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    _fuse_biases(copy)
    return copy


def bytes_by_part(model: ModelProto) -> dict[str, int]:
    """Return the bytes of embeddings, encoder and head among a graph's constants."""
    sizes = dict.fromkeys(PARTS, 0)
    for tensor in model.graph.initializer:
        sizes[_part(tensor.name.partition(_MARK)[0].partition(_JOIN)[0])] += len(tensor.raw_data)
    return sizes


def opset(model: ModelProto) -> int:
    """Return the version of the standard operators."""
    return next(int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx"))


# ---- tidying ----------------------------------------------------------------------------------------------------------


def _unfuse_norm(node: NodeProto) -> list[NodeProto]:
    x, skip, gamma, beta, bias = (*node.input, "", "", "")[:5]
    outputs = (*node.output, "", "", "")[:4]
    total = outputs[3] or f"{outputs[0]}_sum"
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    nodes = []
    if bias:
        nodes.append(_node("Add", [skip, bias], f"{outputs[0]}_biased"))
        skip = f"{outputs[0]}_biased"
    nodes.append(_node("Add", [x, skip], total))
    nodes.append(_node("LayerNormalization", [total, gamma, *([beta] if beta else [])], outputs[0], axis=-1, epsilon=epsilon))
    return nodes


def _unfuse_gelu(node: NodeProto) -> list[NodeProto]:
    biased = f"{node.output[0]}_biased"
    return [_node("Add", list(node.input), biased), _node("Gelu", [biased], node.output[0], approximate="none")]


_UNDO: Mapping[str, Callable[[NodeProto], list[NodeProto]]] = {"SkipLayerNormalization": _unfuse_norm, "BiasGelu": _unfuse_gelu}


def _join_biases(model: ModelProto) -> None:
    """Add the biases of matrices that are multiplied side by side before their product is split, not after."""
    readers = _readers(model)
    constants = _constants(model)
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
            numpy_helper.from_array(np.concatenate([numpy_helper.to_array(constants[str(b)]) for b in biases]), joined),
        )
        after[split.name] = [
            _node("Add", [split.input[0], joined], f"{split.input[0]}_biased"),
            helper.make_node(
                "Split", [f"{split.input[0]}_biased", *split.input[1:]], [read[0].output[0] for read in adds], split.name, **_attributes(split)
            ),
        ]
        gone |= {split.name, *(read[0].name for read in adds)}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.extend(after.get(node.name, []) if node.name in gone else [node])
    _replace_nodes(model, nodes)


# ---- eight bits ---------------------------------------------------------------------------------------------------------


def _quantize_matmul(node: NodeProto, weight: Array, scheme: str, made: dict[str, list[TensorProto]]) -> NodeProto:
    name = node.input[1]
    if scheme == "rowwise":
        rows, columns = weight.shape
        block = next((b for b in _BLOCKS if rows % b == 0), _BLOCKS[-1])
        made.setdefault(name, _constants_of(name, _blocks(weight, block)))
        sizes = {"K": rows, "N": columns, "bits": 8, "block_size": block, "accuracy_level": 4}
        inputs = [node.input[0], *(t.name for t in made[name])]
        return helper.make_node("MatMulNBits", inputs, list(node.output), node.name, domain=MICROSOFT, **sizes)
    made.setdefault(name, _constants_of(name, _columns(weight, scheme)))
    return helper.make_node("DynamicQuantizeMatMul", [node.input[0], *(t.name for t in made[name])], list(node.output), node.name, domain=MICROSOFT)


def _columns(weight: Array, scheme: str) -> dict[str, npt.NDArray[np.generic]]:
    """Quantize each output (column) by its largest weight, symmetrically."""
    most = {"u8s8": 127, "u8s8-reduced": 64, "u8u8": 127}[scheme]  # 2 · 255 · 64 < 2¹⁵, so a pair of products never overflows
    scale = np.maximum(np.abs(weight).max(axis=0), np.finfo(np.float32).tiny) / most
    whole = np.rint(weight / scale)
    if scheme == "u8u8":
        return {"u8": (whole + 128).astype(np.uint8), "scale": scale, "zero": np.full(weight.shape[1], 128, np.uint8)}
    return {"s8": whole.astype(np.int8), "scale": scale}


def _blocks(weight: Array, block: int) -> dict[str, npt.NDArray[np.generic]]:
    """Quantize each block of inputs of each output by its largest weight, as ``MatMulNBits`` stores it."""
    rows, columns = weight.shape
    padded = np.zeros((columns, -(-rows // block) * block), np.float32)
    padded[:, :rows] = weight.T
    parts = padded.reshape(columns, -1, block)
    scale = np.maximum(np.abs(parts).max(axis=2), np.finfo(np.float32).tiny) / 127
    return {"u8": (np.rint(parts / scale[..., None]) + 128).astype(np.uint8), "scale": scale.reshape(-1)}


def _quantize_gather(node: NodeProto, table: Array, made: dict[str, list[TensorProto]]) -> list[NodeProto]:
    """Store a table in eight bits with a scale a row: its rows differ widely in size, and one scale for all would drown the small ones."""
    name, out = node.input[0], node.output[0]
    if name not in made:
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
        made[name] = _constants_of(name, {"s8": np.rint(table / scale).astype(np.int8), "scale": scale})
    values, scales = (t.name for t in made[name])
    return [
        _node("Gather", [values, node.input[1]], f"{out}_s8", axis=0),
        _node("Cast", [f"{out}_s8"], f"{out}_whole", to=TensorProto.FLOAT),
        _node("Gather", [scales, node.input[1]], f"{out}_scale", axis=0),
        _node("Mul", [f"{out}_whole", f"{out}_scale"], out),
    ]


def _fuse_biases(model: ModelProto) -> None:
    """Let the multiplication add the bias that follows it."""
    readers, constants = _readers(model), _constants(model)
    gone: set[str] = set()
    for node in model.graph.node:
        read = readers.get(node.output[0], [])
        if node.op_type not in ("DynamicQuantizeMatMul", "MatMulNBits") or len(read) != 1 or read[0].op_type != "Add":
            continue
        bias = next((i for i in read[0].input if i in constants and len(constants[i].dims) == 1), None)
        if bias is None:
            continue
        place = 4 if node.op_type == "DynamicQuantizeMatMul" else 5
        node.input.extend([""] * (place - len(node.input)) + [bias])
        node.output[0] = read[0].output[0]
        gone.add(read[0].name)
    _replace_nodes(model, [node for node in model.graph.node if node.name not in gone])


# ---- helpers --------------------------------------------------------------------------------------------------------------


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes)


def _part(name: str) -> str:
    """Return the part of the model a constant belongs to; what an exporter made up (shapes, masks) serves the encoder."""
    return part_of(name) if "." in name else "encoder"


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _constants(model: ModelProto) -> dict[str, TensorProto]:
    return {t.name: t for t in model.graph.initializer}


def _constants_of(name: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> list[TensorProto]:
    return [numpy_helper.from_array(np.ascontiguousarray(array), f"{name}{_MARK}{role}") for role, array in arrays.items()]


def _is_table(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and tensor.dims[0] >= _FEWEST_ROWS and _MARK not in tensor.name


def _readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for output in model.graph.output:
        readers.setdefault(output.name, []).append(NodeProto())
    return readers


def _parts(node: NodeProto, weight: Array, readers: Mapping[str, list[NodeProto]], constants: Mapping[str, TensorProto]) -> list[Array]:
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


def _without_constants(model: ModelProto) -> ModelProto:
    """Copy a model without its constants and nodes."""
    bare = ModelProto(ir_version=model.ir_version, producer_name=model.producer_name, producer_version=model.producer_version)
    bare.opset_import.extend(model.opset_import)
    bare.graph.name = model.graph.name
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(model.graph.output)
    return bare


def _replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    kept = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        kept.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(kept)


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
