"""A tokenizer as the JSON it is written as, and back."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

#: A parsed ``tokenizer.json``.
Spec = dict[str, Any]


def parsed(tokenizer: Tokenizer) -> Spec:
    """Return a tokenizer as parsed JSON."""
    return dict(json.loads(tokenizer.to_str()))


def from_spec(spec: Spec) -> Tokenizer:
    """Make the tokenizer of parsed JSON."""
    return Tokenizer.from_str(json.dumps(spec))


def with_prefix_space(tokenizer: Tokenizer, begins: bool) -> Tokenizer:
    """Return a byte-level tokenizer that begins a text as after a space, or not; any other as it is."""
    spec = parsed(tokenizer)
    levels = [part for part in _cutters(spec) if part.get("type") == "ByteLevel"]
    if all(level["add_prefix_space"] == begins for level in levels):
        return tokenizer
    for level in levels:
        level["add_prefix_space"] = begins
    return from_spec(spec)


def _cutters(spec: Spec) -> list[Spec]:
    pre = spec.get("pre_tokenizer") or {}
    return [pre, *pre.get("pretokenizers", [])]
