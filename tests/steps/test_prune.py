"""``prune`` and ``cast`` on folders: what is written, and when nothing is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification

from affineur.artifact import MANIFEST, describe, file_digest, open_folder, read_manifest, verify
from affineur.errors import ModelError, ParameterError

from .conftest import FAMILIES, run_step, same_bits, state


def prune(source: Path, out: Path, **parameters: object) -> dict[str, Any]:
    """Prune; return ``pruning_info.json``."""
    return info_of(run_step("prune", source, out, **parameters))


def info_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "pruning_info.json").read_text("utf-8"))


def matrices_of(info: dict[str, Any]) -> list[dict[str, Any]]:
    return [matrix for layer in info["layers"] for matrix in layer["matrices"].values()]


def builds(source: Path, out: Path, **parameters: object) -> bool:
    """Prune again; say whether anything was written."""
    before = (out / MANIFEST).stat().st_mtime_ns
    assert run_step("prune", source, out, **parameters) == out
    return (out / MANIFEST).stat().st_mtime_ns != before


@pytest.mark.parametrize("family", FAMILIES)
def test_writes_a_model_anyone_can_load(family: str, tiny_model, tmp_path: Path) -> None:
    source, out = tiny_model(family), tmp_path / "out"
    before = state(source)
    info = prune(source, out, sparsity=0.3)
    assert state(source) == before
    assert {"config.json", "model.safetensors", "tokenizer.json", "pruning_info.json", MANIFEST} <= {
        p.name for p in out.iterdir()
    }
    old, new = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    pruned = {matrix["name"] for matrix in matrices_of(info)}
    assert same_bits(
        {n: w for n, w in old.items() if n not in pruned}, {n: w for n, w in new.items() if n not in pruned}
    )
    assert sum(int((new[name] == 0).sum()) for name in pruned) == round(
        0.3 * sum(new[name].numel() for name in pruned)
    )
    for name in pruned:
        assert torch.equal(new[name], torch.where(new[name] == 0, 0, old[name]))
    plain, loading = AutoModelForTokenClassification.from_pretrained(out, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert same_bits(
        {n: p.detach() for n, p in plain.named_parameters()}, {n: new[n] for n, _ in plain.named_parameters()}
    )
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert describe(out).zeros_in_scope == info["zeros_in_scope"]


def test_pruning_info_has_what_the_design_names(tiny_model, tmp_path: Path) -> None:
    said = prune(tiny_model(), tmp_path / "out", max_layer_sparsity=0.5)
    assert said["method"] == "magnitude"
    assert said["scope"] == "attention+ffn"
    assert said["excluded_modules"] == ["embeddings", "LayerNorm", "biases", "classifier"]
    assert said["requested_sparsity"] == 0.15
    assert said["achieved_sparsity"] == said["zeros_in_scope"] / said["weights_in_scope"]
    assert said["max_layer_sparsity"] == 0.5
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert (
        said["sparsity_of_model"] == sum(int((w == 0).sum()) for w in weights.values()) / said["parameters"]
    )
    assert 0 < said["threshold"] < 0.1
    assert [layer["layer"] for layer in said["layers"]] == [0, 1, 2]
    kinds = {
        "attention.query",
        "attention.key",
        "attention.value",
        "attention.output",
        "ffn.intermediate",
        "ffn.output",
    }
    for layer in said["layers"]:
        assert layer["matrices"].keys() == kinds
        assert {"weights", "zeros", "sparsity", "size_bytes"} <= layer.keys()
        for matrix in layer["matrices"].values():
            weight = weights[matrix["name"]]
            assert matrix["weights"] == weight.numel()
            assert matrix["zeros"] == int((weight == 0).sum())
            assert matrix["size_bytes"] == weight.numel() * 4
            assert matrix["threshold"] <= said["threshold"]


def test_the_manifest_tells_how_it_was_made(tiny_model, tmp_path: Path) -> None:
    source = tiny_model()
    prune(source, tmp_path / "out", sparsity=0.15, method="layerwise", scope="ffn")
    manifest = verify(tmp_path / "out")
    assert manifest is not None
    assert manifest.kind == "transformers"
    assert manifest.stage == "prune"
    assert manifest.parameters == {
        "sparsity": 0.15,
        "method": "layerwise",
        "scope": "ffn",
        "max_layer_sparsity": None,
    }
    assert [(p.stage, p.digest, p.name) for p in manifest.parents] == [
        ("given", open_folder(source).digest(), "camembert")
    ]
    assert "torch" in manifest.environment["libraries"]
    assert manifest.files["model.safetensors"] == file_digest(tmp_path / "out" / "model.safetensors")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_is_kept(dtype: str, tiny_model, tmp_path: Path) -> None:
    source = tiny_model(dtype=dtype)
    prune(source, tmp_path / "out", sparsity=0.5)
    assert {w.dtype for w in load_file(tmp_path / "out" / "model.safetensors").values()} == {
        getattr(torch, dtype)
    }
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype
    assert describe(tmp_path / "out").sparsity == pytest.approx(0.5, abs=0.001)


def test_a_second_call_does_nothing_and_a_changed_one_builds_again(tiny_model, tmp_path: Path) -> None:
    source, out = tiny_model(), tmp_path / "out"
    prune(source, out, sparsity=0.15)
    before = state(out)
    assert not builds(source, out, sparsity=0.15)
    assert state(out) == before
    for changes in (
        {"sparsity": 0.2},
        {"method": "layerwise"},
        {"scope": "ffn"},
        {"max_layer_sparsity": 0.9},
    ):
        assert builds(source, out, **{"sparsity": 0.15, **changes}), changes
        assert not builds(source, out, **{"sparsity": 0.15, **changes})
    assert builds(source, out, sparsity=0.15)
    assert (out / "model.safetensors").read_bytes() == before["model.safetensors"][1]


def test_another_source_builds_again(tiny_model, tmp_path: Path) -> None:
    prune(tiny_model(), tmp_path / "out", sparsity=0.15)
    assert not builds(tiny_model(), tmp_path / "out", sparsity=0.15)  # a copy is the same model
    assert builds(tiny_model(seed=8), tmp_path / "out", sparsity=0.15)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "pruning_info.json", MANIFEST])
@pytest.mark.parametrize("how", ["changed", "lost"])
def test_a_tampered_output_is_built_again(name: str, how: str, tiny_model, tmp_path: Path) -> None:
    source, out = tiny_model(), tmp_path / "out"
    prune(source, out, sparsity=0.15)
    before = {k: v[1] for k, v in state(out).items()}
    file = out / name
    if how == "lost":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        os.utime(file, ns=(0, 0))
    if name == MANIFEST and how == "lost":  # then nothing says that the files are ours
        with pytest.raises(ParameterError, match="did not write"):
            prune(source, out, sparsity=0.15)
        return
    try:
        again = builds(source, out, sparsity=0.15)
    except ParameterError:  # a bit of the manifest that hides what is ours
        assert name == MANIFEST
        return
    assert again or name == MANIFEST
    after = {k: v[1] for k, v in state(out).items()}
    assert {k: v for k, v in after.items() if k != MANIFEST} == {
        k: v for k, v in before.items() if k != MANIFEST
    }
    verify(out)


def test_a_folder_with_other_files_is_refused(tiny_model, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    with pytest.raises(ParameterError, match=r"did not write \(thesis.tex\)"):
        prune(tiny_model(), tmp_path, sparsity=0.15)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_writing_over_the_source_is_refused(tiny_model, tmp_path: Path) -> None:
    plain, ours, link = tiny_model(), tmp_path / "ours", tmp_path / "link"
    prune(plain, ours, sparsity=0.1)
    link.symlink_to(ours)
    for source, out in ((plain, plain), (ours, ours), (ours, link), (link, ours)):
        before = state(source)
        with pytest.raises(ParameterError, match="is the model itself, which would be lost"):
            prune(source, out, sparsity=0.15)
        assert state(source) == before


@pytest.mark.parametrize(
    "options",
    [
        {"sparsity": 1.0},
        {"sparsity": -0.1},
        {"method": "x"},
        {"scope": "x"},
        {"sparsity": 0.5, "max_layer_sparsity": 0.4},
    ],
)
def test_impossible_values_write_nothing(options: dict[str, object], tiny_model, tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        prune(tiny_model(), tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_damaged_sources_write_nothing(tiny_model, tmp_path: Path) -> None:
    source = tiny_model()
    weights = source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ModelError):
        prune(source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_pruning_what_is_pruned_counts_its_zeros(tiny_model, tmp_path: Path) -> None:
    prune(tiny_model(), tmp_path / "a", sparsity=0.1)
    info = prune(tmp_path / "a", tmp_path / "b", sparsity=0.2)
    assert info["zeros_before"] == round(0.1 * info["weights_in_scope"])
    assert info["zeros_in_scope"] == round(0.2 * info["weights_in_scope"])
    manifest = read_manifest(tmp_path / "b")
    assert manifest is not None
    assert [p.stage for p in manifest.parents] == ["prune", "given"]


@pytest.mark.parametrize(
    ("name", "dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16), ("float32", torch.float32)]
)
def test_cast(name: str, dtype: torch.dtype, tiny_model, tmp_path: Path) -> None:
    source = tiny_model()
    prune(source, tmp_path / "pruned", sparsity=0.5)
    assert run_step("cast", tmp_path / "pruned", tmp_path / "out", dtype=name) == tmp_path / "out"
    old, new = (
        load_file(tmp_path / "pruned" / "model.safetensors"),
        load_file(tmp_path / "out" / "model.safetensors"),
    )
    assert same_bits({k: w.to(dtype) for k, w in old.items()}, new)
    assert (tmp_path / "out" / "pruning_info.json").is_file()
    before = state(tmp_path / "out")
    run_step("cast", tmp_path / "pruned", tmp_path / "out", dtype=name)
    assert state(tmp_path / "out") == before


def test_cast_to_nothing_known(tiny_model, tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match="dtype='int8' is impossible: expected 'float32', 'float16' or 'bfloat16'"
    ):
        run_step("cast", tiny_model(), tmp_path / "out", dtype="int8")
    with pytest.raises(ParameterError, match="dtype is missing"):
        run_step("cast", tiny_model(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
