"""A trimmed vocabulary is read as it was trimmed, also where the class expects a piece at one place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from affineur.entities import Corpus
from affineur.runtime import Encoder
from affineur.steps.core.context import Context
from cases.tokenizer_files import CLASSES
from conftest import FAMILIES
from steps.conftest import run_step, train_corpus

__all__ = ["train_corpus"]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_settings_say_stays_true(
    family: str, tiny_model: Any, train_corpus: Corpus, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    folder = tiny_model(family)
    settings = {"tokenizer_class": CLASSES[family], "do_lower_case": True}
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **settings}), "utf-8")
    context = Context(texts=(train_corpus,))
    out = run_step("trim-vocab", folder, tmp_path / "out", context=context, keep=80)
    config = json.loads((out / "config.json").read_text("utf-8"))
    encoder = Encoder.from_folder(out, config)
    assert encoder.pieces <= config["vocab_size"]
    oracle = AutoTokenizer.from_pretrained(out)
    alone = Tokenizer.from_file(str(out / "tokenizer.json"))
    byte_level = hasattr(oracle.backend_tokenizer.pre_tokenizer, "add_prefix_space")
    for tokenizer in (oracle.backend_tokenizer, alone):
        if byte_level:
            tokenizer.pre_tokenizer.add_prefix_space = True
    for sentence in list(train_corpus)[:20]:
        words = list(sentence.words)
        (ours,) = encoder.encode([words])
        assert ours.ids == oracle(words, is_split_into_words=True, add_special_tokens=False)["input_ids"]
        assert ours.ids == alone.encode(words, is_pretokenized=True, add_special_tokens=False).ids
