"""``pack`` and ``unpack`` on folders, and what transformers makes of a packed one, with us and without."""

from __future__ import annotations

import importlib
import json
import logging
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers.quantizers.auto as auto
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification

import affineur
from affineur.artifact import describe, open_folder, read_manifest
from affineur.artifact.packed import PACKED
from affineur.engines.support.checkpoints import load_model
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus
from affineur.errors import ModelError, ParameterError
from affineur.steps.core.step import STEPS, Shape

from .conftest import FAMILIES, ONE_STEP, run_step, same_bits, zero_set


@pytest.fixture
def pruned(shared_model, tmp_path: Path) -> Path:
    run_step("prune", shared_model(), tmp_path / "pruned", sparsity=0.5)
    return tmp_path / "pruned"


@pytest.fixture
def packed(pruned: Path, tmp_path: Path) -> Path:
    return run_step("pack", pruned, tmp_path / "packed")


def logits(folder: Path, **options: object) -> torch.Tensor:
    model = AutoModelForTokenClassification.from_pretrained(folder, **options)
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_loads_as_the_same_model_and_unpacks_to_the_same_file(
    family: str, shared_model, tmp_path: Path
) -> None:
    pruned, packed, dense = (tmp_path / name for name in ("pruned", "packed", "dense"))
    run_step("prune", shared_model(family), pruned, sparsity=0.3)
    assert run_step("pack", pruned, packed) == packed
    assert run_step("unpack", packed, dense) == dense
    assert (dense / "model.safetensors").read_bytes() == (pruned / "model.safetensors").read_bytes()
    assert open_folder(dense).digest() == open_folder(pruned).digest()
    assert open_folder(packed).size_bytes < open_folder(pruned).size_bytes
    assert json.loads((packed / "config.json").read_text())["quantization_config"]["tensors"] > 0
    loaded, loading = AutoModelForTokenClassification.from_pretrained(packed, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert same_bits(
        loaded.state_dict(), AutoModelForTokenClassification.from_pretrained(pruned).state_dict()
    )
    assert torch.equal(logits(packed), logits(pruned))


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("asked", ["auto", torch.float32, torch.bfloat16], ids=str)
def test_every_dtype(stored: str, asked: torch.dtype | str, pruned: Path, tmp_path: Path) -> None:
    run_step("cast", pruned, tmp_path / "half", dtype=stored)
    run_step("pack", tmp_path / "half", tmp_path / "packed")
    run_step("unpack", tmp_path / "packed", tmp_path / "dense")
    assert (tmp_path / "dense" / "model.safetensors").read_bytes() == (
        tmp_path / "half" / "model.safetensors"
    ).read_bytes()
    found, wanted = (
        AutoModelForTokenClassification.from_pretrained(tmp_path / name, dtype=asked)
        for name in ("packed", "half")
    )
    assert same_bits(found.state_dict(), wanted.state_dict())
    assert found.dtype == (getattr(torch, stored) if asked == "auto" else asked)


def test_the_artifact_says_what_it_is(pruned: Path, packed: Path, tmp_path: Path) -> None:
    before, after = describe(pruned).as_dict(), describe(packed).as_dict()
    assert (packed / "pruning_info.json").read_bytes() == (pruned / "pruning_info.json").read_bytes()
    assert open_folder(packed).kind == "packed"
    manifest = read_manifest(packed)
    assert manifest is not None
    assert (manifest.kind, manifest.stage, [p.stage for p in manifest.parents]) == (
        "packed",
        "pack",
        ["prune", "given"],
    )
    same = (
        "parameters",
        "nonzero_parameters",
        "sparsity",
        "sparsity_of_model",
        "zeros_in_scope",
        "sparsity_by_layer",
        "dtypes",
        "labels",
        "layers",
    )
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert after["size_bytes"] == (packed / "model.safetensors").stat().st_size < before["size_bytes"]
    assert (before["kind"], after["kind"]) == ("transformers", "packed")
    again = read_manifest(run_step("unpack", packed, tmp_path / "dense"))
    assert again is not None
    assert (again.kind, [p.stage for p in again.parents]) == ("transformers", ["pack", "prune", "given"])
    assert (tmp_path / "dense" / "pruning_info.json").is_file()


def test_a_loaded_model_is_plain_and_trainable(packed: Path, pruned: Path, tmp_path: Path) -> None:
    model = AutoModelForTokenClassification.from_pretrained(packed)
    assert not hasattr(model.config, "quantization_config")
    assert not getattr(model, "is_quantized", False)
    assert all(p.requires_grad and p.is_floating_point() for p in model.parameters())
    model.train()
    model(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([[0, 1, 0]])).loss.backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert sum(not torch.equal(before[name], p) for name, p in model.named_parameters()) > 10
    model.save_pretrained(tmp_path / "saved")
    assert "quantization_config" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    assert same_bits(load_file(tmp_path / "saved" / "model.safetensors"), model.state_dict())
    fresh = AutoModelForTokenClassification.from_pretrained(packed)
    fresh.save_pretrained(tmp_path / "again")
    assert same_bits(
        load_file(tmp_path / "again" / "model.safetensors"), load_file(pruned / "model.safetensors")
    )
    assert same_bits(pickle.loads(pickle.dumps(fresh)).state_dict(), fresh.state_dict())


def test_stages_take_a_packed_model(packed: Path, pruned: Path, short: Corpus, tmp_path: Path) -> None:
    words = [["Marie", "habite", "à", "Paris"]]
    assert list(load_tagger(packed).tag(words)) == list(load_tagger(pruned).tag(words))
    assert same_bits(load_model(packed).state_dict(), load_model(pruned).state_dict())
    for model, name in ((packed, "a"), (pruned, "b")):
        run_step("prune", model, tmp_path / name, sparsity=0.7)
    for file in ("pruning_info.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    out = run_step("recover", packed, tmp_path / "recovered", train=short, **ONE_STEP)
    assert open_folder(out).kind == "transformers"
    zeros, tuned = zero_set(pruned), zero_set(out)
    assert all(bool(tuned[name][mask].all()) for name, mask in zeros.items())


def test_the_same_result_is_not_made_twice(packed: Path, pruned: Path) -> None:
    stamp = (packed / "model.safetensors").stat().st_mtime_ns
    run_step("pack", pruned, packed)
    assert (packed / "model.safetensors").stat().st_mtime_ns == stamp


def test_a_model_without_zeros_is_as_large_packed_and_loads(shared_model, tmp_path: Path) -> None:
    source = shared_model()
    packed = run_step("pack", source, tmp_path / "packed")
    assert open_folder(packed).size_bytes == open_folder(source).size_bytes
    assert torch.equal(logits(packed), logits(source))


def refused(make, *words: object) -> str:
    with pytest.raises((ModelError, ParameterError)) as error:
        make(*words)
    said = str(error.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("pack", Shape("packed", 2), "the model is packed already; use it as it is, or unpack it"),
        ("pack", Shape("onnx", 2), "pack cannot start from a model of the kind onnx, expected transformers"),
        ("unpack", Shape("transformers", 2), "the model is not packed, so there is nothing to unpack"),
        ("unpack", Shape("onnx", 2), "the model is not packed"),
    ],
)
def test_what_does_not_fit_is_known_before_a_model_is_made(name: str, shape: Shape, said: str) -> None:
    assert refused(STEPS.get(name)().after, shape).startswith(said)


def test_a_recipe_knows_what_comes_out() -> None:
    pack, unpack = STEPS.get("pack")(), STEPS.get("unpack")()
    packed = pack.after(Shape("transformers", 2, pruned=True))
    assert packed == Shape("packed", 2, pruned=True)
    assert unpack.after(packed) == Shape("transformers", 2, pruned=True)
    assert pack.label("student_pruned_finetuned", "student") == "student_packed"


def without_manifest(folder: Path) -> Path:
    (folder / "affineur.json").unlink()
    return folder


def test_what_cannot_be_packed(packed: Path, pruned: Path, tmp_path: Path) -> None:
    assert "is packed already" in refused(run_step, "pack", packed, tmp_path / "out")
    assert "is not packed" in refused(run_step, "unpack", pruned, tmp_path / "out")
    config = json.loads((pruned / "config.json").read_text())
    (without_manifest(pruned) / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "gptq"}})
    )
    assert "is quantized already (gptq)" in refused(run_step, "pack", pruned, tmp_path / "out")
    onnx = tmp_path / "onnx"
    shutil.copytree(pruned, onnx)
    (onnx / "model.safetensors").rename(onnx / "model.onnx")
    assert "onnx" in refused(run_step, "pack", onnx, tmp_path / "out").lower()
    assert not (tmp_path / "out").exists()


def test_damage_is_said_in_one_line(packed: Path, tmp_path: Path) -> None:
    file = packed / "model.safetensors"
    whole = file.read_bytes()
    mask_at = whole.index(b"AFPACK") + 48
    flipped = bytearray(whole)
    flipped[mask_at] ^= 1

    file.write_bytes(flipped)
    assert "sha256 differs" in refused(load_model, packed)
    without_manifest(packed)
    for make in (load_model, describe, lambda folder: run_step("unpack", folder, tmp_path / "out")):
        assert "its mask names" in refused(make, packed)
    with pytest.raises(ModelError, match="its mask names"):
        AutoModelForTokenClassification.from_pretrained(packed)

    file.write_bytes(whole[:-100])
    for make in (load_model, describe, lambda folder: run_step("unpack", folder, tmp_path / "out")):
        assert "is not a readable safetensors file" in refused(make, packed)
    assert not (tmp_path / "out").exists()


def test_no_model_is_handed_out_whose_digests_differ(packed: Path) -> None:
    """Whatever the change is: seen by nothing else, by the mask's count, or by transformers, which would
    speak of sizes.
    """
    file = packed / "model.safetensors"
    whole = file.read_bytes()
    start = whole.index(b"AFPACK")
    rows, columns = struct.unpack_from("<2Q", whole, start + 32)
    values_at = start + 48 + (rows * columns + 63) // 64 * 8
    for at, change in (
        (values_at, bytes([whole[values_at] ^ 1])),
        (start + 48, bytes([whole[start + 48] ^ 1])),
    ):
        file.write_bytes(whole[:at] + change + whole[at + len(change) :])
        assert "sha256 differs" in refused(AutoModelForTokenClassification.from_pretrained, packed)
    file.write_bytes(whole[: start + 32] + struct.pack("<2Q", rows // 2, columns * 2) + whole[start + 48 :])
    assert "sha256 differs" in refused(AutoModelForTokenClassification.from_pretrained, packed)
    assert "sha256 differs" in refused(AutoModel.from_pretrained, packed), "whose names lack the prefix"
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForTokenClassification.from_pretrained(without_manifest(packed))


def test_configuration_and_weights_must_belong_together(packed: Path, pruned: Path, tmp_path: Path) -> None:
    config = json.loads((without_manifest(packed) / "config.json").read_text())
    for change, said in (
        ({"format": 2}, "packed format 2, this Affineur reads 1"),
        ({"tensors": 3}, "but its config.json speaks of 3"),
        ({"tensors": "many"}, "does not say in quantization_config how many tensors"),
    ):
        (packed / "config.json").write_text(
            json.dumps(config | {"quantization_config": config["quantization_config"] | change})
        )
        assert said in refused(load_model, packed)
        with pytest.raises(ModelError):
            AutoModelForTokenClassification.from_pretrained(packed)
    (packed / "config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k != "quantization_config"})
    )
    assert "its config.json speaks of 0" in refused(load_model, packed)
    (without_manifest(pruned) / "config.json").write_text(json.dumps(config))
    assert "has 0 packed tensors" in refused(load_model, pruned)
    assert "has 0 packed tensors" in refused(AutoModelForTokenClassification.from_pretrained, pruned)


def test_a_dense_model_is_not_packed_by_loading_it(pruned: Path) -> None:
    from affineur.engines.support.packed_checkpoint import PackedConfig

    with pytest.raises(ValueError, match="require the model to be pre-quantized"):
        AutoModelForTokenClassification.from_pretrained(
            pruned, quantization_config=PackedConfig(format=1, tensors=0)
        )


LOAD = "AutoModelForTokenClassification.from_pretrained(sys.argv[1])"
COMPARE = f"a = {LOAD}.state_dict(); print(sum(int((w == 0).sum()) for w in a.values()))"


def python(code: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys\n" + code, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "imports",
    [
        "import affineur\nfrom transformers import AutoModel, AutoModelForTokenClassification",
        "from transformers import AutoModelForTokenClassification\nimport affineur",
        pytest.param(
            "import transformers.quantizers.auto, affineur\n"
            "from transformers import AutoModelForTokenClassification",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "import transformers\nimport affineur\nfrom transformers import AutoModelForTokenClassification",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "import affineur, importlib\nimportlib.reload(affineur)\n"
            "from transformers import AutoModelForTokenClassification",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_loads_in_a_fresh_process_whichever_is_imported_first(
    imports: str, packed: Path, pruned: Path
) -> None:
    done = python(f"{imports}\n{COMPARE}\nprint('affineur.steps' in sys.modules)", packed)
    wanted = sum(int((w == 0).sum()) for w in load_file(pruned / "model.safetensors").values())
    assert (done.returncode, done.stdout.split()) == (0, [str(wanted), "False"]), done.stderr


def test_without_affineur_it_fails_and_never_makes_up_weights(packed: Path) -> None:
    done = python(
        f"from transformers import AutoModelForTokenClassification\n{LOAD}\nprint('loaded')", packed
    )
    assert done.returncode != 0
    assert "loaded" not in done.stdout
    assert "RuntimeError" in done.stderr
    assert "ignore_mismatched_sizes" in done.stderr


def test_import_affineur_imports_neither_torch_nor_transformers_nor_numpy() -> None:
    done = python("import affineur\nprint({'torch', 'transformers', 'numpy'} & set(sys.modules))")
    assert done.stdout.strip() == "set()"


def test_packing_and_unpacking_need_no_torch(pruned: Path, tmp_path: Path) -> None:
    code = """
sys.modules["torch"] = sys.modules["transformers"] = None
from pathlib import Path
from affineur.artifact import open_folder
from affineur.steps.core.context import Context
from affineur.steps.pack import Pack
from affineur.steps.unpack import Unpack
pruned, packed, dense = map(Path, sys.argv[1:])
Pack().run(open_folder(pruned), packed, Context())
Unpack().run(open_folder(packed), dense, Context())
"""
    done = python(code, pruned, tmp_path / "packed", tmp_path / "dense")
    assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "config.json", "pruning_info.json", "tokenizer.json"):
        assert (tmp_path / "dense" / name).read_bytes() == (pruned / name).read_bytes()
    run_step("pack", pruned, tmp_path / "again")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "packed" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_no_step_imports_torch_before_it_runs() -> None:
    code = """
from affineur.steps.core.step import STEPS
from affineur.steps.pruning.core.method import METHODS
METHODS.all()
STEPS.all()
print(sorted({"torch", "transformers", "onnxruntime", "onnx"} & set(sys.modules)))
"""
    done = python(code)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_entry_survives_a_reload_and_is_made_once() -> None:
    assert PACKED in auto.AUTO_QUANTIZER_MAPPING
    watchers = [f for f in sys.meta_path if type(f).__name__ == "_Watcher"]
    importlib.reload(affineur)
    assert [f for f in sys.meta_path if type(f).__name__ == "_Watcher"] == watchers
    assert len(watchers) == 1
    done = python(
        "import affineur, importlib, transformers.quantizers.auto as auto\nimportlib.reload(auto)\n"
        "both = auto.AUTO_QUANTIZER_MAPPING, auto.AUTO_QUANTIZATION_CONFIG_MAPPING\n"
        "print(*('affineur_packed' in mapping for mapping in both))"
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_many_threads_load_at_once(packed: Path, pruned: Path) -> None:
    """In a process of its own: loading in several threads leaves transformers' own global state behind, which
    others would trip over.
    """
    code = """
from concurrent.futures import ThreadPoolExecutor
import torch, affineur
from transformers import AutoModelForTokenClassification as Auto
wanted = Auto.from_pretrained(sys.argv[2]).state_dict()
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda _: Auto.from_pretrained(sys.argv[1]).state_dict(), range(4)))
print(all(torch.equal(one[name], tensor) for one in found for name, tensor in wanted.items()), len(found))
"""
    done = python(code, packed, pruned)
    assert done.stdout.split() == ["True", "4"], done.stderr


def test_loading_says_nothing(packed: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        AutoModelForTokenClassification.from_pretrained(packed)
    assert not caplog.records
    assert AutoConfig.from_pretrained(packed).num_labels == 5


def test_a_model_with_a_prefix_more_or_less_loads(packed: Path, pruned: Path, tmp_path: Path) -> None:
    """The encoder alone takes its part of the file, as of a dense one."""
    from transformers import AutoModel

    found, wanted = (
        AutoModel.from_pretrained(folder, add_pooling_layer=False).state_dict() for folder in (packed, pruned)
    )
    assert same_bits(found, wanted)
    save_file(
        {n.removeprefix("roberta."): w for n, w in load_file(packed / "model.safetensors").items()},
        tmp_path / "m",
        metadata={"format": "pt"},
    )
    (without_manifest(packed) / "model.safetensors").write_bytes((tmp_path / "m").read_bytes())
    assert same_bits(load_model(packed).state_dict(), load_model(pruned).state_dict())
