"""A fast tokenizer (``tokenizer.json``) with fewer pieces.

Three kinds are known: Unigram (CamemBERT, XLM-R, DeBERTa v3), WordPiece (BERT, DistilBERT, ELECTRA) and BPE
(RoBERTa, ModernBERT). For each, a text whose pieces all stay is cut as before:

- Unigram takes the likeliest way to cut a word, and the likeliest of all ways is the likeliest of fewer.
- WordPiece takes the longest piece each time, and the longest of all is the longest of fewer.
- BPE joins the pair of lowest rank each time, so the pieces that a kept piece is joined from have to stay
(:func:`with_parts`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from affineur.errors import ModelError, ParameterError

#: A parsed ``tokenizer.json``.
Spec = dict[str, Any]

_KINDS = ("Unigram", "WordPiece", "BPE")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
#: BERT's spare places; its pre-tokenizer cuts at the brackets, so no text reaches them.
_UNUSED = re.compile(r"\[unused\d+\]")


def check_kind(spec: Spec) -> None:
    """Check that a tokenizer is of a kind that can be trimmed.

    Raises:
        ModelError: If it is not.
    """
    kind = spec["model"].get("type")
    if kind not in _KINDS:
        raise ModelError(
            f"the tokenizer is of the kind {kind}, expected one of {', '.join(_KINDS)}; "
            "its vocabulary cannot be trimmed"
        )


def pieces_of(spec: Spec) -> dict[int, str]:
    """Return every piece by its id, added ones too."""
    return own_pieces(spec) | {token["id"]: token["content"] for token in spec["added_tokens"]}


def indispensable(spec: Spec) -> set[int]:
    """Return the ids without which some text could not be cut into pieces, or would be cut in another way.

    These are added and special pieces, the unknown piece, bytes, single characters, and pieces with a
    character that is no piece of its own. Of a Unigram also the least likely piece: its probability sets the
    price of an unknown character.
    """
    model, own = spec["model"], own_pieces(spec)
    ids = {name: i for i, name in own.items()}
    kept = {token["id"] for token in spec["added_tokens"]} | set(_mentioned(spec.get("post_processor")))
    if spec.get("padding"):
        kept.add(spec["padding"]["pad_id"])
    if model["type"] == "Unigram":
        kept.add(min(own, key=lambda i: model["vocab"][i][1]))
        unknown = model.get("unk_id")
    else:
        unknown = ids.get(model.get("unk_token") or "")
    if unknown is not None:
        kept.add(unknown)
    for i, name in own.items():
        atoms = _atoms(name, model)
        if (
            len(atoms) < 2
            or _BYTE.fullmatch(name)
            or (any(atom not in ids for atom in atoms) and not _UNUSED.fullmatch(name))
        ):
            kept.add(i)
    return kept


def with_parts(spec: Spec, kept: Iterable[int]) -> set[int]:
    """Add the pieces that kept pieces are joined from; only BPE joins.

    A piece inside a word is joined in the same order as when it stands alone, since no join across its
    borders happened. So each kept piece is cut alone, and all that comes up on the way stays.
    """
    model = spec["model"]
    found = set(kept)
    if model["type"] != "BPE":
        return found
    own = own_pieces(spec)
    ids = {name: i for i, name in own.items()}
    ranks = {merge: rank for rank, merge in enumerate(merges_of(model))}
    for i in sorted(found & own.keys()):
        found.update(ids[name] for name in _joined(_atoms(own[i], model), ranks, _prefix(model)))
    return found


def new_order(spec: Spec, kept: set[int], pad: int | None) -> list[int]:
    """Put kept pieces in their new order: as they were, but the padding piece keeps its id where it can.

    RoBERTa's kind numbers positions from the id of the padding piece (fairseq's ``padding_idx + 1``): were it
    to move, every position embedding would shift.

    Returns:
        Old ids; the place of each is its new id.
    """
    own = own_pieces(spec)
    order = sorted(kept & own.keys())
    if pad in order:
        order.remove(pad)
        order.insert(pad, pad)
    # Added pieces that the model itself does not have are numbered after all of its own.
    return order + sorted(kept - own.keys())


def trimmed(spec: Spec, order: Sequence[int]) -> Spec:
    """Return a tokenizer of fewer pieces.

    Args:
        spec: The tokenizer; it stays as it is.
        order: Old ids in their new order (:func:`new_order`).

    Raises:
        ParameterError: If a piece is missing that cannot be spared.
    """
    new = {old: i for i, old in enumerate(order)}
    if lost := sorted(indispensable(spec) - new.keys()):
        names = pieces_of(spec)
        raise ParameterError(
            f"{len(lost)} pieces are to go that a tokenizer cannot do without "
            f"(such as {names.get(lost[0], lost[0])!r}); keep them"
        )
    model = dict(spec["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][i] for i in order if i < len(model["vocab"])]
        model["unk_id"] = None if model.get("unk_id") is None else new[model["unk_id"]]
    else:
        vocabulary = {name: new[i] for name, i in model["vocab"].items() if i in new}
        model["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    if model["type"] == "BPE":
        names, prefix = model["vocab"], _prefix(model)
        model["merges"] = [
            [a, b]
            for a, b in merges_of(model)
            if a in names and b in names and _product(a, b, prefix) in names
        ]
    return _with_model(spec, model, new)


def grown(spec: Spec, added: Sequence[tuple[str, float]], merges: Sequence[tuple[str, str]] = ()) -> Spec:
    """Return a tokenizer of more pieces; they come after all of its model's own.

    Args:
        spec: The tokenizer; it stays as it is.
        added: Each new piece and its score, which only Unigram has.
        merges: Pairs that BPE joins when nothing else is left to join, in the order of their rank.
    """
    model, own = dict(spec["model"]), own_pieces(spec)
    new = {old: old if old in own else old + len(added) for old in pieces_of(spec)}
    if model["type"] == "Unigram":
        model["vocab"] = [*model["vocab"], *([name, score] for name, score in added)]
    else:
        model["vocab"] = model["vocab"] | {name: i for i, (name, _) in enumerate(added, len(own))}
    if model["type"] == "BPE":
        model["merges"] = [*model["merges"], *([a, b] for a, b in merges)]
    return _with_model(spec, model, new)


def _with_model(spec: Spec, model: Spec, new: Mapping[int, int]) -> Spec:
    """Put another model in a tokenizer, and renumber all that names a piece by its id."""
    return spec | {
        "model": model,
        "added_tokens": sorted(
            ({**token, "id": new[token["id"]]} for token in spec["added_tokens"]),
            key=lambda token: int(token["id"]),
        ),
        "post_processor": _renumbered(spec.get("post_processor"), new),
        "padding": spec["padding"] | {"pad_id": new[spec["padding"]["pad_id"]]}
        if spec.get("padding")
        else None,
    }


def own_pieces(spec: Spec) -> dict[int, str]:
    """Return the pieces of the tokenizer's model, by id; added ones that it lacks are not among them."""
    vocabulary = spec["model"]["vocab"]
    if spec["model"]["type"] == "Unigram":
        return {i: name for i, (name, _) in enumerate(vocabulary)}
    return {i: name for name, i in vocabulary.items()}


def _prefix(model: Spec) -> str:
    return model.get("continuing_subword_prefix") or ""


def _atoms(name: str, model: Spec) -> list[str]:
    """Cut a piece into characters, each as the piece it would be: ``##ab`` into ``##a`` and ``##b``."""
    prefix, suffix = _prefix(model), model.get("end_of_word_suffix") or ""
    inside = len(name) > len(prefix) > 0 and name.startswith(prefix)
    last = len(name) > len(suffix) > 0 and name.endswith(suffix)
    characters = name.removeprefix(prefix if inside else "").removesuffix(suffix if last else "")
    atoms = [(prefix if inside or place else "") + character for place, character in enumerate(characters)]
    return [*atoms[:-1], atoms[-1] + suffix] if last and atoms else atoms


def merges_of(model: Spec) -> list[tuple[str, str]]:
    """Return the pairs BPE joins, in the order of their rank; older files write a pair as one string."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return [(a, b) for a, b in pairs]


def _product(first: str, second: str, prefix: str) -> str:
    return first + second.removeprefix(prefix)


def _joined(symbols: list[str], ranks: Mapping[tuple[str, str], int], prefix: str) -> Iterable[str]:
    """Join symbols as BPE does, lowest rank first and the leftmost among equals; give each product."""
    while len(symbols) > 1:
        scored = [ranks.get(pair, math.inf) for pair in pairwise(symbols)]
        best = min(scored)
        if best == math.inf:
            return
        place = scored.index(best)
        symbols = [
            *symbols[:place],
            _product(symbols[place], symbols[place + 1], prefix),
            *symbols[place + 2 :],
        ]
        yield symbols[place]


def _mentioned(processor: Spec | None) -> Iterable[int]:
    """List the ids a post-processor adds."""
    if processor is None:
        return
    for part in processor.get("processors", ()):
        yield from _mentioned(part)
    for token in processor.get("special_tokens", {}).values():
        yield from token["ids"]
    for role in ("cls", "sep"):
        if role in processor:
            yield processor[role][1]


def _renumbered(processor: Spec | None, new: Mapping[int, int]) -> Spec | None:
    if processor is None:
        return None
    found = dict(processor)
    if "processors" in processor:
        found["processors"] = [_renumbered(part, new) for part in processor["processors"]]
    if "special_tokens" in processor:
        found["special_tokens"] = {
            name: token | {"ids": [new[i] for i in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    for role in ("cls", "sep"):
        if role in processor:
            found[role] = [processor[role][0], new[processor[role][1]]]
    return found
