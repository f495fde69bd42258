"""Which tensors a model has by its configuration: names and shapes, for families that are known; no torch.

As transformers 5 builds them (``modeling_*.py`` of each family); a test compares the two. Of a family that is
not among them nothing is told here, and transformers says it when it loads one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]
Named = Iterator[tuple[str, Shape]]

#: Tensors that others leave in a file and that a token classifier never reads: poolers, heads of language
#: models and of other tasks, weights of a loss.
_UNUSED = re.compile(
    r"(?:^|\.)(?:pooler|lm_head|cls|seq_relationship|qa_outputs|vocab_(?:transform|layer_norm|projector)|"
    r"(?:lm|mask|discriminator|generator)_predictions|generator_lm_head|loss_fct|loss|criterion)\."
)
#: Constants that older versions of transformers saved with the weights.
_CONSTANTS = re.compile(r"(?:^|\.)(?:position_ids|token_type_ids|inv_freq)$")
_OLD_NAMES = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a configuration asks for.

    Args:
        prefix: What the names of the encoder's tensors begin with, with its dot.
        tensors: Shape of each tensor, by name.
    """

    prefix: str
    tensors: Mapping[str, Shape]

    @property
    def encoder(self) -> dict[str, Shape]:
        """The tensors below the head."""
        return {name: shape for name, shape in self.tensors.items() if name.startswith(self.prefix)}

    def known_as(self, name: str) -> str:
        """Return the name a tensor has here: in files it may lack the prefix, or be called as it once was."""
        for old, new in _OLD_NAMES:
            name = name[: -len(old)] + new if name.endswith(old) else name
        return self.prefix + name if self.prefix + name in self.tensors else name


class _Sizes:
    """Numbers of a configuration, with the family's own where one is not named."""

    def __init__(self, config: Mapping[str, Any], family: _Family) -> None:
        self._config, self._family = config, family

    def __getitem__(self, name: str) -> int:
        for spelled in (self._family.spelled.get(name, name), name):
            if (value := self._config.get(spelled)) is not None:
                return int(value)
        return self._family.defaults[name]

    def get(self, name: str, otherwise: Any) -> Any:
        """Return anything else it says."""
        return self._config.get(name, otherwise)


@dataclass(frozen=True, slots=True)
class _Family:
    """How one family is built.

    Args:
        prefix: What the names of the encoder's tensors begin with.
        build: Lists the encoder's tensors, without that prefix.
        defaults: Sizes where the configuration names none.
        spelled: What the family calls a size, where that is not what others call it.
        head: Lists what is between encoder and classifier.
    """

    prefix: str
    build: Callable[[_Sizes], Named]
    defaults: Mapping[str, int]
    spelled: Mapping[str, str]
    head: Callable[[_Sizes], Named] = lambda _: iter(())


def architecture_of(config: Mapping[str, Any], outputs: int) -> Architecture | None:
    """Say which tensors a token classifier has; ``None`` for a family that is not known here.

    Args:
        config: Its ``config.json``, whose sizes are numbers.
        outputs: Number of its labels.
    """
    family = _FAMILIES.get(str(config.get("model_type")))
    if family is None or any(config.get(name) for name in _UNLIKE):
        return None
    sizes = _Sizes(config, family)
    tensors = {family.prefix + name: shape for name, shape in family.build(sizes)}
    tensors |= dict(family.head(sizes))
    tensors |= _dense("classifier", sizes["hidden_size"], outputs)
    return Architecture(family.prefix, tensors)


def size_of(config: Mapping[str, Any], name: str) -> int | None:
    """Return a size as transformers takes it; ``None`` if it is not known.

    Args:
        config: A ``config.json`` whose sizes are numbers.
        name: What most families call it, such as ``hidden_size``.
    """
    family = _FAMILIES.get(str(config.get("model_type")))
    if family is not None and name in family.defaults:
        return _Sizes(config, family)[name]
    value = config.get(name)
    return value if isinstance(value, int) else None


def is_unused(name: str) -> bool:
    """Say whether a tensor is one that no token classifier reads, whatever its family."""
    return bool(_UNUSED.search(name)) or is_constant(name)


def is_constant(name: str) -> bool:
    """Say whether a tensor holds what can be computed, such as the numbers of positions."""
    return bool(_CONSTANTS.search(name))


def shown(shapes: Mapping[str, Shape], names: Iterable[str], most: int = 3) -> str:
    """List tensors with their shapes, for people: the first ones, and how many more there are."""
    names = list(names)
    listed = ", ".join(f"{name} {tuple(shapes[name])}" for name in names[:most])
    return listed + (f" and {len(names) - most} more" if len(names) > most else "")


def _dense(name: str, inside: int, outside: int, bias: bool = True) -> dict[str, Shape]:
    return _parameters(name, (outside, inside), (outside,), bias)


def _norm(name: str, size: int, bias: bool = True) -> dict[str, Shape]:
    return _parameters(name, (size,), (size,), bias)


def _parameters(name: str, weight: Shape, bias: Shape, has_bias: bool) -> dict[str, Shape]:
    return {f"{name}.weight": weight, f"{name}.bias": bias} if has_bias else {f"{name}.weight": weight}


def _embeddings(sizes: _Sizes, width: int, norm: int) -> Named:
    yield "embeddings.word_embeddings.weight", (sizes["vocab_size"], width)
    if sizes.get("position_biased_input", True):
        yield "embeddings.position_embeddings.weight", (sizes["max_position_embeddings"], width)
    if sizes["type_vocab_size"]:
        yield "embeddings.token_type_embeddings.weight", (sizes["type_vocab_size"], width)
    yield from _norm("embeddings.LayerNorm", norm).items()


def _block(sizes: _Sizes, place: str, attention: Mapping[str, Shape]) -> Named:
    """List a layer as BERT has it, around the matrices of its attention."""
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    for name, shape in attention.items():
        yield f"{place}.attention.self.{name}", shape
    yield from _dense(f"{place}.attention.output.dense", hidden, hidden).items()
    yield from _norm(f"{place}.attention.output.LayerNorm", hidden).items()
    yield from _dense(f"{place}.intermediate.dense", hidden, inner).items()
    yield from _dense(f"{place}.output.dense", inner, hidden).items()
    yield from _norm(f"{place}.output.LayerNorm", hidden).items()


def _bert(sizes: _Sizes) -> Named:
    hidden = sizes["hidden_size"]
    yield from _embeddings(sizes, hidden, hidden)
    yield from _bert_layers(sizes)


def _bert_layers(sizes: _Sizes) -> Named:
    hidden = sizes["hidden_size"]
    attention = {k: v for name in ("query", "key", "value") for k, v in _dense(name, hidden, hidden).items()}
    for layer in range(sizes["num_hidden_layers"]):
        yield from _block(sizes, f"encoder.layer.{layer}", attention)


def _electra(sizes: _Sizes) -> Named:
    narrow, hidden = sizes["embedding_size"], sizes["hidden_size"]
    yield from _embeddings(sizes, narrow, narrow)
    if narrow != hidden:
        yield from _dense("embeddings_project", narrow, hidden).items()
    yield from _bert_layers(sizes)


def _distilbert(sizes: _Sizes) -> Named:
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    yield "embeddings.word_embeddings.weight", (sizes["vocab_size"], hidden)
    yield "embeddings.position_embeddings.weight", (sizes["max_position_embeddings"], hidden)
    yield from _norm("embeddings.LayerNorm", hidden).items()
    for layer in range(sizes["num_hidden_layers"]):
        place = f"transformer.layer.{layer}"
        for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
            yield from _dense(f"{place}.attention.{name}", hidden, hidden).items()
        yield from _norm(f"{place}.sa_layer_norm", hidden).items()
        yield from _dense(f"{place}.ffn.lin1", hidden, inner).items()
        yield from _dense(f"{place}.ffn.lin2", inner, hidden).items()
        yield from _norm(f"{place}.output_layer_norm", hidden).items()


def _kinds_of_positions(sizes: _Sizes) -> tuple[str, ...]:
    named = sizes.get("pos_att_type", None) or ()
    return tuple(named.lower().split("|")) if isinstance(named, str) else tuple(map(str, named))


def _farthest(sizes: _Sizes) -> int:
    most = sizes.get("max_relative_positions", -1)
    return int(most) if most and most > 0 else sizes["max_position_embeddings"]


def _deberta_embeddings(sizes: _Sizes) -> Named:
    hidden = sizes["hidden_size"]
    narrow = int(sizes.get("embedding_size", hidden))
    yield from _embeddings(sizes, narrow, hidden)
    if narrow != hidden:
        yield "embeddings.embed_proj.weight", (hidden, narrow)


def _deberta(sizes: _Sizes) -> Named:
    hidden, kinds = sizes["hidden_size"], _kinds_of_positions(sizes)
    yield from _deberta_embeddings(sizes)
    attention: dict[str, Shape] = {"in_proj.weight": (3 * hidden, hidden)}
    attention |= {"q_bias": (hidden,), "v_bias": (hidden,)}
    if sizes.get("relative_attention", False):
        attention |= _dense("pos_proj", hidden, hidden, bias=False) if "c2p" in kinds else {}
        attention |= _dense("pos_q_proj", hidden, hidden) if "p2c" in kinds else {}
        yield "encoder.rel_embeddings.weight", (2 * _farthest(sizes), hidden)
    for layer in range(sizes["num_hidden_layers"]):
        yield from _block(sizes, f"encoder.layer.{layer}", attention)


def _deberta_v2(sizes: _Sizes) -> Named:
    hidden, kinds = sizes["hidden_size"], _kinds_of_positions(sizes)
    yield from _deberta_embeddings(sizes)
    attention: dict[str, Shape] = {}
    for name in ("query_proj", "key_proj", "value_proj"):
        attention |= _dense(name, hidden, hidden)
    if sizes.get("relative_attention", False):
        if not sizes.get("share_att_key", False):
            attention |= _dense("pos_key_proj", hidden, hidden) if "c2p" in kinds else {}
            attention |= _dense("pos_query_proj", hidden, hidden) if "p2c" in kinds else {}
        buckets = sizes.get("position_buckets", -1)
        yield "encoder.rel_embeddings.weight", (2 * (buckets if buckets > 0 else _farthest(sizes)), hidden)
    if "layer_norm" in [each.strip() for each in str(sizes.get("norm_rel_ebd", "")).lower().split("|")]:
        yield from _norm("encoder.LayerNorm", hidden).items()
    if (kernel := sizes.get("conv_kernel_size", 0)) > 0:
        yield "encoder.conv.conv.weight", (hidden, hidden // sizes.get("conv_groups", 1), kernel)
        yield "encoder.conv.conv.bias", (hidden,)
        yield from _norm("encoder.conv.LayerNorm", hidden).items()
    for layer in range(sizes["num_hidden_layers"]):
        yield from _block(sizes, f"encoder.layer.{layer}", attention)


def _modernbert(sizes: _Sizes) -> Named:
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    norms, attention, mlp = (bool(sizes.get(f"{n}_bias", False)) for n in ("norm", "attention", "mlp"))
    yield "embeddings.tok_embeddings.weight", (sizes["vocab_size"], hidden)
    yield from _norm("embeddings.norm", hidden, norms).items()
    for layer in range(sizes["num_hidden_layers"]):
        place = f"layers.{layer}"
        if layer:
            yield from _norm(f"{place}.attn_norm", hidden, norms).items()
        yield from _dense(f"{place}.attn.Wqkv", hidden, 3 * hidden, attention).items()
        yield from _dense(f"{place}.attn.Wo", hidden, hidden, attention).items()
        yield from _norm(f"{place}.mlp_norm", hidden, norms).items()
        yield from _dense(f"{place}.mlp.Wi", hidden, 2 * inner, mlp).items()
        yield from _dense(f"{place}.mlp.Wo", inner, hidden, mlp).items()
    yield from _norm("final_norm", hidden, norms).items()


def _modernbert_head(sizes: _Sizes) -> Named:
    hidden = sizes["hidden_size"]
    yield from _dense("head.dense", hidden, hidden, bool(sizes.get("classifier_bias", False))).items()
    yield from _norm("head.norm", hidden, bool(sizes.get("norm_bias", False))).items()


def _defaults(
    vocabulary: int, hidden: int, layers: int, heads: int, inner: int, **more: int
) -> dict[str, int]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    } | more


_BASE = _defaults(30522, 768, 12, 12, 3072)
_DISTILLED = {
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
}
_FAMILIES = {
    "bert": _Family("bert.", _bert, _BASE, {}),
    "roberta": _Family("roberta.", _bert, _BASE | {"vocab_size": 50265}, {}),
    "camembert": _Family("roberta.", _bert, _BASE, {}),
    "xlm-roberta": _Family("roberta.", _bert, _BASE, {}),
    "electra": _Family("electra.", _electra, _defaults(30522, 256, 12, 4, 1024, embedding_size=128), {}),
    "distilbert": _Family(
        "distilbert.", _distilbert, _defaults(30522, 768, 6, 12, 3072, type_vocab_size=0), _DISTILLED
    ),
    "deberta": _Family("deberta.", _deberta, _defaults(50265, 768, 12, 12, 3072, type_vocab_size=0), {}),
    "deberta-v2": _Family(
        "deberta.", _deberta_v2, _defaults(128100, 1536, 24, 24, 6144, type_vocab_size=0), {}
    ),
    "modernbert": _Family(
        "model.",
        _modernbert,
        _defaults(50368, 768, 22, 12, 1152, max_position_embeddings=8192),
        {},
        _modernbert_head,
    ),
}
#: What changes the tensors in ways that are not followed here.
_UNLIKE = ("add_cross_attention", "talking_head", "attention_head_size", "pruned_heads")
