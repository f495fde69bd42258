"""What is known of families without torch is what transformers builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForTokenClassification

from affineur.artifact.architecture import architecture_of, size_of
from affineur.engines.support.checkpoints import quiet
from conftest import FAMILIES, LABELS, tiny_config

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in FAMILIES),
    ("electra", {"embedding_size": 32}),
    ("bert", {"type_vocab_size": 3}),
    ("deberta-v2", {"share_att_key": False, "position_buckets": -1, "norm_rel_ebd": "none"}),
    ("deberta-v2", {"share_att_key": False, "pos_att_type": "c2p", "max_relative_positions": 7}),
    ("deberta-v2", {"relative_attention": False, "position_biased_input": True, "type_vocab_size": 2}),
    ("deberta-v2", {"conv_kernel_size": 3, "conv_groups": 2}),
    ("modernbert", {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True}),
]


def built(config: Any) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    with torch.device("meta"), quiet():
        model = AutoModelForTokenClassification.from_config(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return json.loads(config.to_json_string()), shapes


@pytest.mark.parametrize(("family", "changes"), VARIANTS, ids=str)
def test_the_tensors_are_those_of_transformers(family: str, changes: dict[str, Any]) -> None:
    written, shapes = built(tiny_config(family, 200, 1, **changes))
    found = architecture_of(written, len(LABELS))
    assert found is not None
    assert found.tensors == shapes


@pytest.mark.parametrize("family", [*FAMILIES, "deberta"])
def test_a_configuration_that_names_no_sizes_has_the_familys_own(family: str) -> None:
    config = AutoConfig.for_model(family)
    _, shapes = built(config)
    said = {"model_type": family}
    found = architecture_of(said, config.num_labels)
    assert found is not None
    assert found.tensors == shapes
    assert size_of(said, "num_attention_heads") == config.num_attention_heads
    assert size_of(said, "max_position_embeddings") == config.max_position_embeddings


def test_deberta_of_the_first_version() -> None:
    options = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = AutoConfig.for_model(
        "deberta", **options, vocab_size=90, relative_attention=True, pos_att_type=["c2p", "p2c"]
    )
    written, shapes = built(config)
    found = architecture_of(written, 2)
    assert found is not None
    assert found.tensors == shapes


def test_other_families_are_left_to_transformers(tmp_path: Path) -> None:
    assert architecture_of({"model_type": "mpnet"}, 3) is None
    assert architecture_of({"model_type": "bert", "add_cross_attention": True}, 3) is None
    assert size_of({"model_type": "mpnet", "hidden_size": 8}, "hidden_size") == 8
