"""Models on ONNX Runtime: foreign graphs, damage, and the self-test that refuses what is not what it was."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic
from safetensors.numpy import load_file, save_file

from affineur.artifact import MANIFEST, Manifest, ModelFolder, open_folder, write_manifest
from affineur.artifact.selftest import SELF_TEST, Agreement
from affineur.engines.core import proof
from affineur.engines.core.references import load_exported
from affineur.engines.core.threads import usable_threads
from affineur.engines.support import onnx_tagger
from affineur.engines.support.onnx_tagger import BUDGET_PER_THREAD, OnnxTagger, load_onnx
from affineur.engines.support.session_pool import GraphFile, open_session
from affineur.engines.support.torch_tagger import load_tagger
from affineur.errors import ModelError
from affineur.progress import listening
from affineur.runtime.batches import plan_batches
from affineur.runtime.windows import Encoder
from runtime.conftest import unigram

LABELS = ("O", "I-PER", "I-LOC")
WORDS = [["Marie", "à", "Paris", "."], ["Paris"], [], ["Mar"] * 90]
RNG = np.random.default_rng(5)


def foreign(
    folder: Path,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
    kind: int = TensorProto.INT64,
    **changes: Any,
) -> Path:
    """Write a folder as others write it: a graph that looks logits up by piece, no manifest, no self-test."""
    tokenizer = unigram()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "architectures": ["CamembertForTokenClassification"],
        "model_type": "camembert",
        "id2label": {str(i): label for i, label in enumerate(LABELS)},
        "max_position_embeddings": 34,
        "pad_token_id": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    table = RNG.normal(size=(tokenizer.get_vocab_size(), changes.get("outputs", len(LABELS)))).astype(
        np.float32
    )
    nodes = [helper.make_node("Gather", ["table", inputs[0]], ["seen"])]
    total = "seen"
    for name in inputs[1:]:  # all used: none may be dropped
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{name}_f", "last"], [f"{name}_u"]),
        ]
        nodes.append(helper.make_node("Add", [total, f"{name}_u"], [f"{name}_sum"]))
        total = f"{name}_sum"
    nodes.append(helper.make_node("Identity", [total], ["logits"]))
    size = changes.get("size", ("batch", "sequence"))
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(name, kind, size) for name in inputs],
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, [*size, changes.get("declared", "labels")]
            )
        ],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([-1]), "last")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(
        model,
        folder / "model.onnx",
        save_as_external_data=changes.get("external", False),
        location="model.onnx.data",
        size_threshold=256,
    )
    return folder


def one_line(error: pytest.ExceptionInfo[ModelError]) -> str:
    said = str(error.value)
    assert len(said.splitlines()) == 1
    return said


@pytest.fixture
def copy(shared_onnx: Path, tmp_path: Path) -> Path:
    """An exported artifact of ours without its manifest, so that only the self-test stands guard."""
    folder = Path(shutil.copytree(shared_onnx, tmp_path / "copy"))
    (folder / MANIFEST).unlink()
    return folder


# ---- what others exported
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize(
    "inputs",
    [
        ("input_ids",),
        ("input_ids", "attention_mask"),
        ("input_ids", "attention_mask", "token_type_ids"),
        ("input_ids", "token_type_ids"),
    ],
)
def test_foreign_graphs(inputs: tuple[str, ...], kind: int, tmp_path: Path) -> None:
    folder = foreign(tmp_path / "m", inputs, kind)
    tagger = load_onnx(folder)
    table = next(
        numpy_helper.to_array(t)
        for t in onnx.load(folder / "model.onnx").graph.initializer
        if t.name == "table"
    )
    logits = tagger.logits(WORDS)
    assert [len(rows) for rows in logits] == [len(words) for words in WORDS]
    ids = tagger.encoder.tokenizer.encode(WORDS[1], is_pretokenized=True).ids
    # A mask adds one where there is a piece; segments are zero.
    assert np.allclose(logits[1][0], table[ids[1]] + ("attention_mask" in inputs), atol=1e-6)
    assert isinstance(load_exported(folder), OnnxTagger)


def test_external_data(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "m", external=True)
    assert (folder / "model.onnx.data").is_file()
    assert open_folder(folder).size_bytes == sum(
        (folder / name).stat().st_size for name in ("model.onnx", "model.onnx.data")
    )
    assert len(load_onnx(folder).tag(WORDS)[0]) == 4
    digest = open_folder(folder).digest()
    data = bytearray((folder / "model.onnx.data").read_bytes())
    data[0] ^= 255
    (folder / "model.onnx.data").write_bytes(data)
    assert open_folder(folder).digest() != digest
    (folder / "model.onnx.data").unlink()
    with pytest.raises(ModelError, match="cannot be loaded by ONNX Runtime") as error:
        load_onnx(folder)
    one_line(error)


@pytest.mark.parametrize(
    ("inputs", "changes", "said"),
    [
        (("input_ids", "pixels"), {}, "wants pixels"),
        (("input_ids", "attention_mask"), {"kind": TensorProto.FLOAT}, "cannot be loaded|wants input_ids"),
        (("input_ids",), {"outputs": 4, "declared": 4}, r"gives logits of shape .* names 3 labels"),
        (("input_ids",), {"size": (1, 8)}, "fails on 6 × 32 pieces"),
    ],
)
def test_what_does_not_fit_is_one_line(
    inputs: tuple[str, ...], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = foreign(tmp_path / "m", inputs, **changes)
    with pytest.raises(ModelError, match=said) as error:
        load_onnx(folder).whole().tag(WORDS)
    one_line(error)


def test_logits_that_are_no_numbers(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "m")
    model = onnx.load(folder / "model.onnx")
    table = next(t for t in model.graph.initializer if t.name == "table")
    table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table) * np.float32(np.nan), "table"))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(ModelError, match="not numbers") as error:
        load_onnx(folder).tag(WORDS)
    one_line(error)


def test_what_is_not_exported_is_said(shared_model) -> None:
    with pytest.raises(ModelError, match=r"is not exported \(transformers\); type: affineur export"):
        load_exported(shared_model("camembert"))


# ---- ours, damaged
# -----------------------------------------------------------------------------------------------------


def test_it_is_its_parent(shared_model, shared_onnx: Path) -> None:
    ours, parent = load_onnx(shared_onnx), load_tagger(shared_model("camembert", num_hidden_layers=2))
    for one, other in zip(ours.logits(WORDS), parent.logits(WORDS), strict=True):
        assert np.allclose(one, other, atol=1e-4)
    assert ours.labels == parent.labels


@pytest.mark.parametrize("length", [0, 10, 50_000, -1])
def test_a_graph_that_is_cut(length: int, copy: Path) -> None:
    (copy / "model.onnx").write_bytes((copy / "model.onnx").read_bytes()[:length])
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded by ONNX Runtime") as error:
        load_onnx(copy)
    one_line(error)


@pytest.mark.parametrize("file", ["model.onnx", SELF_TEST, "config.json", "export_info.json"])
def test_a_file_that_is_not_what_the_manifest_says(file: str, shared_onnx: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shared_onnx, tmp_path / "copy"))
    with (folder / file).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(ModelError, match=file) as error:
        load_onnx(folder)
    one_line(error)


def test_without_its_self_test_it_is_refused(shared_onnx: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shared_onnx, tmp_path / "copy"))
    (folder / SELF_TEST).unlink()
    with pytest.raises(ModelError, match=r"probe\.safetensors is missing") as error:
        load_onnx(folder)
    one_line(error)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"][SELF_TEST]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(
        ModelError, match="has no self-test, so nothing proves it on this CPU; export or quantize it again"
    ):
        load_onnx(folder)


@pytest.mark.parametrize("fill", [0.0, 7.0, float("nan")])
def test_tampered_weights_are_refused_by_the_self_test(fill: float, copy: Path) -> None:
    load_onnx(copy)
    model = onnx.load(copy / "model.onnx")
    tensor = next(t for t in model.graph.initializer if t.name.endswith("layer.1.output.dense.weight"))
    array = numpy_helper.to_array(tensor).copy()
    array[:, :8] = fill
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, copy / "model.onnx")
    with pytest.raises(
        ModelError,
        match=r"\(fp32, made for any\) gives other results on this CPU .*A file may be damaged; it is "
        "refused",
    ) as error:
        load_onnx(copy)
    one_line(error)


def test_a_self_test_of_other_labels(copy: Path) -> None:
    from safetensors import safe_open

    with safe_open(copy / SELF_TEST, "np") as file:
        about = file.metadata()
    arrays = load_file(copy / SELF_TEST)
    arrays["logits"] = np.ascontiguousarray(arrays["logits"][..., :3])
    save_file(arrays, copy / SELF_TEST, about)
    with pytest.raises(ModelError, match=r"the self-test has 3 labels, config\.json 5"):
        load_onnx(copy)


def test_labels_that_do_not_fit_the_graph(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["id2label"]["5"] = "I-NEW"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ModelError,
        match=r"config\.json names 6 labels|6 labels are named in config\.json|the self-test has 5 labels",
    ) as error:
        load_onnx(copy)
    one_line(error)


def test_what_is_nothing_like_its_parent_is_refused_however_it_was_made(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        OnnxTagger, "forward", lambda _self, ids, _mask: np.zeros((*ids.shape, 5), np.float32)
    )
    with pytest.raises(
        ModelError,
        match=r"on its self-test \d+\.\d% of the tags differ .*logits are off by 1\.\d\d \(there: 0\.00\)",
    ):
        load_onnx(copy)
    found = Agreement(0.0, 1.2)
    arrays, about = (
        load_file(copy / SELF_TEST),
        {
            "made": json.dumps({"same_tags": found.same_tags, "error": found.error}),
            "scheme": "u8u8",
            "target": "x",
        },
    )
    save_file(arrays, copy / SELF_TEST, about)
    with pytest.raises(ModelError, match=r"logits are off by 1\.\d\d \(there: 1\.20\)"):
        load_onnx(copy)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "This CPU lacks VNNI, without which"),
        (["avx2", "avx_vnni"], "says it has VNNI.*it is emulated, or a file is damaged"),
    ],
)
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="about CPUs of x86")
def test_the_missing_instructions_are_named(
    flags: list[str], said: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "environment", lambda: {"cpu": "A CPU", "cpu_flags": flags})
    monkeypatch.setattr(
        OnnxTagger, "forward", lambda _self, ids, _mask: np.zeros((*ids.shape, 5), np.float32)
    )
    save_file(
        load_file(copy / SELF_TEST),
        copy / SELF_TEST,
        {"made": '{"same_tags": 0.99, "error": 0.02}', "scheme": "u8s8", "target": "vnni"},
    )
    with pytest.raises(
        ModelError, match=said + r".*Make one for this CPU: affineur quantize PARENT --for avx2 -o OUT"
    ):
        load_onnx(copy)


# ---- sessions


def test_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for told, threads in (("1", 1), ("3", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert usable_threads() == threads
    for told in ("", "0", "many", "2,1"):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert usable_threads() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert load_onnx(foreign(tmp_path / "m")).threads == 1
    with pytest.raises(ModelError, match="the graph cannot be loaded"):
        open_session(b"nothing")


def test_no_torch_is_needed(shared_onnx: Path) -> None:
    code = f"""
import sys
for name in ("torch", "transformers", "onnx"):
    sys.modules[name] = None
from affineur.pipeline import load
assert len(load({str(shared_onnx)!r}).predict_batch(["Marie Duval habite à Paris."])) == 1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_batches_side_by_side_give_what_one_by_one_do(shared_onnx: Path) -> None:
    folder = open_folder(shared_onnx)
    opened: list[int] = []

    class Watched(GraphFile):
        def open(self, threads: int) -> ort.InferenceSession:
            opened.append(threads)
            return super().open(threads)

    one, many = (
        OnnxTagger(
            open_session(shared_onnx / "model.onnx", 2),
            Encoder.from_folder(shared_onnx, folder.config),
            folder.labels,
            32,
            more,
        )
        for more in (None, Watched(shared_onnx / "model.onnx"))
    )
    many.beside_from = 3
    sentences = [["Marie", "vit", "à", "Paris"][: 1 + i % 4] * (1 + i % 3) for i in range(40)]
    assert opened == []
    assert many.tag(sentences[:1]) == one.tag(sentences[:1])
    assert len(plan_batches([len(w) for w in many.encoder.windows(sentences[:3])], 32)) == 2
    assert many.tag(sentences[:3]) == one.tag(sentences[:3])
    assert opened == [], "so few batches need no second session"
    for ours, theirs in zip(
        many.logits(sentences) + many.logits(sentences), one.logits(sentences) * 2, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert opened == [1], "loaded once"
    assert many.tag(sentences[:1]) == one.tag(sentences[:1])
    assert many.tag(sentences) == one.tag(sentences)
    assert opened == [1, 2], "the first gave its memory to the second; once both were wanted, both stay"
    assert many.whole().tag(sentences) == one.tag(sentences)
    assert opened == [1, 2], "a copy has the same"


def test_the_budget_follows_the_threads(shared_onnx: Path) -> None:
    folder = open_folder(shared_onnx)
    for threads in (1, 2):
        tagger = OnnxTagger(
            open_session(shared_onnx / "model.onnx", threads),
            Encoder.from_folder(shared_onnx, folder.config),
            folder.labels,
        )
        assert tagger.budget == BUDGET_PER_THREAD * threads


def test_a_graph_of_others_lies_in_a_folder_of_its_own_and_is_told_to_be_unproved(tmp_path: Path) -> None:
    flat = foreign(tmp_path / "flat")
    expected, digest = load_onnx(flat).tag(WORDS), open_folder(flat).digest()
    heard: list[str] = []
    for name in ("model.onnx", "model_quantized.onnx"):
        folder = shutil.copytree(flat, tmp_path / name.removesuffix(".onnx"))
        (folder / "onnx").mkdir()
        (folder / "model.onnx").rename(folder / "onnx" / name)
        with listening(lambda what, *_: heard.append(what)):
            found = [load_onnx(folder).tag(WORDS) for _ in range(2)]
        assert found == [expected, expected]
        assert heard.pop().startswith(f"{folder} has no self-test, since others exported it")
        assert heard == []
        assert open_folder(folder).digest() == digest
        assert open_folder(folder).size_bytes == open_folder(flat).size_bytes
    # a pull of such a folder writes down where it came from, and proves nothing by that
    write_manifest(flat, Manifest("onnx", "download", {"source": "hub:other/graph"}))
    assert load_onnx(flat).tag(WORDS) == expected
    (folder / "onnx" / "model.onnx").write_bytes(b"another")
    assert open_folder(folder).digest() != digest, "a folder below is looked at, too"


def test_our_graph_is_proved_where_the_hub_has_it(shared_int8: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shared_int8, tmp_path / "published")
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx" / "model_quantized.onnx")
    (folder / "onnx" / "model.onnx").write_bytes(b"somebody's in full precision")
    assert load_onnx(folder).tag(WORDS) == load_onnx(shared_int8).tag(WORDS)
    assert open_folder(folder).digest() == open_folder(shared_int8).digest()
    with (folder / "onnx" / "model_quantized.onnx").open("ab") as stream:
        stream.write(b"!")
    with pytest.raises(ModelError, match=r"model_quantized\.onnx is not the file that was written"):
        load_onnx(folder)


def test_eight_bits_without_a_self_test_are_refused_where_sums_overflow(
    shared_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_tagger, "multiplies_faithfully", lambda: False)
    shutil.copytree(shared_int8, tmp_path / "bare")
    for name in (MANIFEST, SELF_TEST, "export_info.json"):
        (tmp_path / "bare" / name).unlink()
    with pytest.raises(
        ModelError,
        match=r"multiplies in eight bits \(MatMulIntegerToFloat\) and has no self-test.*affineur quantize",
    ):
        load_onnx(tmp_path / "bare")


def test_a_strangers_eight_bits_are_run_where_no_sum_overflows(
    shared_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shared_onnx, tmp_path / "bare")
    for name in (MANIFEST, SELF_TEST, "export_info.json", "model.onnx"):
        (tmp_path / "bare" / name).unlink()
    quantize_dynamic(shared_onnx / "model.onnx", tmp_path / "bare" / "model_quantized.onnx")
    monkeypatch.setattr(onnx_tagger, "multiplies_faithfully", lambda: True)
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        load_onnx(tmp_path / "bare")
    assert "nothing proves it on this CPU" in heard[0]
    monkeypatch.setattr(onnx_tagger, "multiplies_faithfully", lambda: False)
    with pytest.raises(ModelError, match="multiplies in eight bits"):
        load_onnx(tmp_path / "bare")


def test_labels_that_changed_places_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    names = config["id2label"]
    names["1"], names["2"] = names["2"], names["1"]
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match=r"config\.json names the labels .*, the self-test "):
        load_onnx(copy)


@pytest.mark.parametrize(
    ("size", "batches"), [(16_000_000, 2), (16_000_001, 8), (160_000_000, 8), (160_000_001, None)]
)
def test_heavier_models_go_side_by_side_with_more_batches_or_never(
    shared_onnx: Path, monkeypatch: pytest.MonkeyPatch, size: int, batches: int | None
) -> None:
    monkeypatch.setattr(ModelFolder, "size_bytes", property(lambda _: size))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert load_onnx(shared_onnx).beside_from == batches


def test_a_graph_that_was_replaced_is_not_loaded_beside_the_one_that_was_proved(
    shared_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    folder, sentences = tmp_path / "m", [["Marie", "vit", "à", "Paris"] * 30] * 40
    graph = shutil.copytree(shared_onnx, folder) / "model.onnx"
    early, late = load_onnx(folder), load_onnx(folder)
    wanted = late.tag(sentences)  # the one on all threads has made room
    shutil.copy(graph, tmp_path / "other")
    (tmp_path / "other").replace(graph)
    assert early.tag(sentences) == wanted, "one by one"
    assert late.tag(sentences) == wanted
    with pytest.raises(
        ModelError,
        match=r"model\.onnx is not the file any more that was loaded and proved before; load the model again",
    ):
        late.tag([["Paris"]])
    graph.unlink()
    assert early.tag(sentences) == wanted


def test_the_end_of_a_stream_does_not_load_the_graph_again(
    shared_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    tagger = load_onnx(shared_onnx)
    tagger.beside_from = 8
    many, few = ([["Marie", "vit", "à", "Paris"] * 20] * number for number in (40, 3))
    assert 2 <= len(plan_batches([len(w) for w in tagger.encoder.windows(few)], tagger.budget)) < 8
    tagger.tag(many)
    assert tagger._sessions.made_room
    tagger.tag(few)
    assert tagger._sessions.made_room
    assert tagger.tag([["Marie"]])
    assert not tagger._sessions.made_room
    tagger.tag(many)
    assert not tagger._sessions.made_room, "both were wanted"
