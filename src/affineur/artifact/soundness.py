"""Whether the parts of a model folder belong together: configuration, weights, tokenizer, labels; no torch.

Asked once when a folder is opened, of names, shapes and sizes alone. Whether weights are numbers is seen
where they are read anyway (:func:`refuse_strange_numbers`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from affineur.artifact.architecture import (
    Architecture,
    architecture_of,
    is_constant,
    is_unused,
    shown,
    size_of,
)
from affineur.artifact.reading import WRONG, read_within
from affineur.artifact.scope import layer_of
from affineur.artifact.tensors import Tensor
from affineur.errors import ModelError, brief, counted, one_line
from affineur.progress import report

#: Sizes in ``config.json`` that cannot be zero …
_COUNTS = (
    "dim",
    "embedding_size",
    "hidden_dim",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "n_heads",
    "n_layers",
    "num_attention_heads",
    "num_hidden_layers",
    "vocab_size",
)
#: … and whole numbers that can.
_NUMBERS = ("conv_kernel_size", "pad_token_id", "type_vocab_size")
#: What is added before a root is taken.
_SMALL = ("layer_norm_eps", "norm_eps")
_FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
#: Families that number positions from ``pad_token_id + 1``.
_FROM_PADDING = ("camembert", "roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "mpnet")
#: Layers that a configuration may name beyond those there are, so that what is missing is named.
_DEEPER = 100
#: Fewest pieces that a model must take at once: two special ones, and two of a word.
_FEWEST = 4
#: Bytes of a ``tokenizer.json``; those of 250,000 pieces have 17 million.
_LONGEST = 1 << 26
#: What makes a file that transformers reads of one that has more in it.
_SAVE = "AutoModelForTokenClassification.from_pretrained(…).save_pretrained(…)"


def check_sizes(config: Mapping[str, Any], path: Path) -> None:
    """Refuse numbers of a configuration that are none or cannot be, before anybody computes with them.

    Args:
        config: Its ``config.json``.
        path: The folder, for messages.

    Raises:
        ModelError: Naming the first one, what it is and what was expected.
    """
    if not isinstance(kind := config.get("model_type", ""), str):
        raise ModelError(f"{path}/config.json has model_type={brief(kind)}, expected a word")
    for name in (*_COUNTS, *_NUMBERS):
        value, least = config.get(name), int(name in _COUNTS)
        if value is not None and not (type(value) is int and least <= value < 1 << 31):
            wanted = f"a whole number of at least {least}"
            raise ModelError(f"{path}/config.json has {name}={brief(value)}, expected {wanted}")
    for name in _SMALL:
        value = config.get(name)
        if value is not None and not (type(value) in (int, float) and 0 < value < 1):
            raise ModelError(
                f"{path}/config.json has {name}={brief(value)}, expected a small number such as 1e-05"
            )
    hidden, heads = size_of(config, "hidden_size"), size_of(config, "num_attention_heads")
    if hidden and heads and hidden % heads:
        raise ModelError(
            f"{path}/config.json has a hidden size of {hidden} and {heads} attention heads, expected a "
            "number of heads that divides it"
        )
    pad, rows = config.get("pad_token_id"), size_of(config, "vocab_size")
    if pad is not None and rows is not None and pad >= rows:
        raise ModelError(
            f"{path}/config.json has pad_token_id={pad}, expected less than its vocab_size={rows:,}"
        )
    positions = size_of(config, "max_position_embeddings")
    skipped = (1 if pad is None else pad) + 1 if kind in _FROM_PADDING else 0
    if positions is not None and positions - skipped < _FEWEST:
        raise ModelError(
            f"{path}/config.json has max_position_embeddings={positions}"
            + (f", of which {skipped} are never used" if skipped else "")
            + f"; expected room for at least {_FEWEST} pieces"
        )


def check_tensors(
    config: Mapping[str, Any],
    labels: Sequence[str],
    tensors: Sequence[Tensor],
    path: Path,
    base: bool = False,
) -> None:
    """Refuse weights that are not those the configuration asks for; what is left over harmlessly is said.

    Args:
        config: The configuration, whose sizes are numbers.
        labels: The labels, in the order of the outputs.
        tensors: The tensors of the weights.
        path: The folder, for messages.
        base: Whether training starts from it, so that it may have another head, or none.

    Raises:
        ModelError: If tensors are missing, unknown, twice there, of another shape, or no numbers to compute
            with; with the names, and the shapes found and expected.
    """
    if not tensors:
        raise ModelError(f"{path} has no tensor in its weights; the model is incomplete: fetch it again")
    found = {tensor.name: tensor for tensor in tensors}
    if twice := [t.name for t in tensors if found[t.name] is not t]:
        raise ModelError(f"{path} has {twice[0]} in two files of its weights; fetch or write them again")
    quantized = config.get("quantization_config")
    if isinstance(quantized, dict) and not any(tensor.packed for tensor in tensors):
        return  # by another library, which has tensors of its own
    _check_head(tensors, labels, path, base)
    if strange := [t for t in tensors if t.dtype not in _FLOATS and not is_unused(t.name)]:
        raise ModelError(
            f"{path}: {strange[0].name} is stored as {strange[0].dtype}, expected floating-point numbers; "
            "give the model as it was trained"
        )
    _check_depth(config, tensors, path)
    built = architecture_of(config, len(labels))
    if built is None:
        _check_unknown_family(config, tensors, path)
        return
    shapes = {built.known_as(tensor.name): tensor.shape for tensor in tensors}
    wanted = built.encoder if base else built.tensors
    _check_names(built, wanted, shapes, path, base)
    for name, shape in wanted.items():
        if shapes[name] != shape:
            more = sum(shapes[each] != wanted[each] for each in wanted) - 1
            raise ModelError(another_shape(name, shapes[name], shape, path, more))


def another_shape(
    name: str, found: tuple[int, ...], expected: tuple[int, ...], path: Path, more: int = 0
) -> str:
    """Say that a tensor has another shape than the configuration asks for, and how many more have."""
    others = f", as {counted(more, 'tensor')} more" if more else ""
    return (
        f"{path}: {name} {found} in the weights, expected {expected} by config.json{others}; they do not "
        "belong together: fetch the model again"
    )


def _check_head(tensors: Sequence[Tensor], labels: Sequence[str], path: Path, base: bool) -> None:
    heads = [t for t in tensors if t.name in ("classifier.weight", "classifier.out_proj.weight")]
    if heads and not base and (outputs := sum(heads[0].shape[:1])) != len(labels):
        raise ModelError(
            f"{path}: the classifier has {outputs} outputs but config.json names {len(labels)} labels"
        )


def _check_depth(config: Mapping[str, Any], tensors: Sequence[Tensor], path: Path) -> None:
    """Refuse a depth far beyond the weights before all the layers are named, or made."""
    there = len({layer_of(tensor.name) for tensor in tensors} - {None})
    depth = size_of(config, "num_hidden_layers")
    if depth is not None and depth > there + _DEEPER:
        raise ModelError(
            f"{path}/config.json has num_hidden_layers={depth:,}, and the weights have "
            f"{counted(there, 'layer')}; correct it"
        )


def _check_unknown_family(config: Mapping[str, Any], tensors: Sequence[Tensor], path: Path) -> None:
    """Check what can be told of any family: that these are weights of such a model at all."""
    rows = config.get("vocab_size")
    if rows and not any(tensor.shape[:1] == (rows,) for tensor in tensors):
        raise ModelError(
            f"{path} has no tensor with the {rows:,} rows of config.json's vocab_size; the weights are not "
            "those of this model"
        )


def _check_names(
    built: Architecture,
    wanted: Collection[str],
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
    base: bool,
) -> None:
    if missing := [name for name in wanted if name not in shapes]:
        raise ModelError(lacking({name: built.tensors[name] for name in missing}, path))
    unknown = [name for name in shapes if name not in built.tensors]
    counts = {name: shapes[name] for name in unknown if not base or layer_of(name) is not None}
    refuse_unknown(counts, path, said=not base)


def lacking(missing: Mapping[str, tuple[int, ...]], path: Path) -> str:
    """Say which tensors are missing, with the shapes expected."""
    return (
        f"{path} lacks {counted(len(missing), 'tensor')} of its architecture: "
        f"{shown(missing, missing)} expected; they would be random, so it is refused"
    )


def refuse_unknown(unknown: Mapping[str, tuple[int, ...]], path: Path, *, said: bool = True) -> None:
    """Refuse tensors that the architecture does not have, unless no token classifier reads them.

    Args:
        unknown: Their shapes, by name.
        path: The folder, for messages.
        said: Whether those that may be left out are spoken of.

    Raises:
        ModelError: If leaving them out would make another model of it.
    """
    if inside := sorted(name for name in unknown if layer_of(name) is not None):
        raise ModelError(
            f"{path} has {counted(len(inside), 'tensor')} in its layers that its config.json does not know: "
            f"{shown(unknown, inside)}; they would be left out, so it is refused"
        )
    if strange := sorted(name for name in unknown if not is_unused(name)):
        raise ModelError(
            f"{path} has {counted(len(strange), 'tensor')} that its architecture does not know: "
            f"{shown(unknown, strange)}; without them it would be another model, so it is refused. Where "
            f"they decide nothing, save it without them: {_SAVE}"
        )
    spare = sorted(name for name in unknown if not is_constant(name))
    if spare and said:
        report(
            f"{path} has {counted(len(spare), 'tensor')} that a token classifier does not use "
            f"({shown(unknown, spare, 1)}): nothing is computed with them, and a new model is written without"
        )


def check_pieces(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a tokenizer with pieces that the embedding has no row for.

    Args:
        config: The configuration, whose sizes are numbers.
        path: The folder.

    Raises:
        ModelError: With the piece and both numbers, or if ``tokenizer.json`` is damaged.
    """
    rows = size_of(config, "vocab_size")
    if rows is None:
        return
    for name, read in (("tokenizer.json", _pieces), ("vocab.txt", _lines), ("added_tokens.json", _table)):
        file = path / name
        if not file.is_file():
            continue
        try:
            refuse_pieces(read(read_within(file, _LONGEST)), rows, file)
        except (OSError, *WRONG) as error:
            raise ModelError(f"{file} cannot be read ({one_line(error)})") from None
        if name == "tokenizer.json":
            return  # whatever lies beside it is in it


def refuse_pieces(pieces: Iterable[tuple[str, int]], rows: int, where: Path) -> None:
    """Refuse pieces beyond the rows of an embedding.

    Args:
        pieces: Pieces and their ids.
        rows: Rows of the embedding.
        where: Where the pieces come from, for messages.

    Raises:
        ModelError: If there is one.
    """
    piece, last = max(pieces, key=lambda each: each[1], default=("", -1))
    if last >= rows:
        raise ModelError(
            f"{where} has the piece {brief(piece)} with id {last:,}, but the model's embedding has {rows:,} "
            f"rows (vocab_size), expected ids below {rows:,}; give the tokenizer it was trained with, or "
            "enlarge the embedding first: model.resize_token_embeddings(len(tokenizer))"
        )


def _pieces(text: bytes) -> list[tuple[str, int]]:
    read = json.loads(text)
    vocabulary = read["model"]["vocab"]
    listed = isinstance(vocabulary, list)  # a Unigram's, by id
    last = len(vocabulary) - 1
    found = [(str(vocabulary[last][0]), last)] if listed and last >= 0 else []
    if not listed:
        found += [max(vocabulary.items(), key=lambda each: each[1])] if vocabulary else []
    return found + [(str(added["content"]), int(added["id"])) for added in read.get("added_tokens") or ()]


def _lines(text: bytes) -> list[tuple[str, int]]:
    lines = text.decode().rstrip("\n").split("\n")
    return [(lines[-1], len(lines) - 1)]


def _table(text: bytes) -> list[tuple[str, int]]:
    return [(str(piece), int(number)) for piece, number in json.loads(text).items()]


def refuse_strange_numbers(strange: Mapping[str, int], path: Path) -> None:
    """Refuse weights that are NaN or infinite.

    Args:
        strange: How many there are, by the name of their tensor.
        path: The folder, for messages.

    Raises:
        ModelError: If there is one.
    """
    if strange:
        name = min(strange)
        more = f", as {counted(len(strange) - 1, 'tensor')} more do" if len(strange) > 1 else ""
        raise ModelError(
            f"{path}: {name} holds {counted(strange[name], 'weight')} that {_is(strange[name])} NaN or "
            f"infinite{more}; the model is damaged, or its training failed: fetch or train it again"
        )


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def check_numbers(tensors: Iterable[Tensor], path: Path) -> None:
    """Read all weights and refuse those that are no finite numbers.

    Raises:
        ModelError: If one is NaN or infinite, naming its tensor.
    """
    refuse_strange_numbers({t.name: count for t in tensors if (count := t.counts()[1])}, path)
