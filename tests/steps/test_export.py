"""``export``: equal to its parent, whole, with its lineage, and refused in one line where it cannot be."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from affineur.artifact import MANIFEST, describe, open_folder, read_manifest, verify
from affineur.artifact.exported import read_export_info
from affineur.artifact.selftest import read_self_test
from affineur.engines.support import graph_files
from affineur.engines.support.onnx_tagger import load_onnx
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus
from affineur.errors import AffineurError, DataError, MissingExtraError, ModelError, ParameterError
from affineur.pipeline import load
from affineur.runtime import Encoder
from affineur.steps.graphs import exporting
from affineur.steps.graphs.attention import sequence_first
from affineur.steps.graphs.graph import linears
from affineur.transfer import load_corpus

from .conftest import FAMILIES, run_step, zero_set
from .graphs.models import logits

AVX2 = {"target": "avx2", "min_agreement": 0.0}

LONG = [["Marie", "vit", "à", "Paris", "."], ["Aix"], [], ["long"] * 90, ["Jean-Pierre", "Morvan"] * 20]


def near(one: Any, other: Any, tolerance: float) -> bool:
    return all(
        np.allclose(a, b, atol=tolerance, equal_nan=True)
        for a, b in zip(one.logits(LONG), other.logits(LONG), strict=True)
    )


@pytest.fixture
def traced(shared_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take the graph that was traced once for every model that differs only in files; count the calls."""
    calls = [0]

    def trace(*_: Any) -> onnx.ModelProto:
        calls[0] += 1
        return onnx.load(shared_onnx / "model.onnx")

    monkeypatch.setattr(exporting, "_trace", trace)
    return calls


@pytest.fixture
def parent(shared_model) -> Path:
    return Path(shared_model("camembert", num_hidden_layers=2))


def test_an_artifact_with_its_lineage(shared_onnx: Path, parent: Path, train_corpus: Corpus) -> None:
    assert near(load(shared_onnx), load(parent), 1e-4)
    manifest = verify(shared_onnx)
    assert manifest is not None
    assert (manifest.kind, manifest.stage, manifest.parameters) == (
        "onnx",
        "export",
        {"to": "onnx", "plain": False},
    )
    assert [(p.stage, p.digest) for p in manifest.parents] == [("given", open_folder(parent).digest())]
    assert manifest.data["calibration"]["sentences"] == len(train_corpus)
    files = {path.name for path in shared_onnx.iterdir()}
    assert {
        "config.json",
        "tokenizer.json",
        "model.onnx",
        "probe.safetensors",
        "export_info.json",
        "README.md",
        MANIFEST,
    } <= files
    info = read_export_info(shared_onnx)
    assert info is not None
    assert (info.engine, info.scheme, info.target, info.kept) == ("onnx", "fp32", "any", ())
    assert info.parity is not None
    assert info.parity["same_tags"] == 1
    assert info.parity["max_difference"] < 1e-4
    assert not list(shared_onnx.parent.glob(".*")), "nothing is left beside it"


def test_the_selftest_is_the_parents_word(shared_onnx: Path, parent: Path) -> None:
    selftest = read_self_test(shared_onnx)
    assert selftest is not None
    theirs = load_tagger(parent).forward(selftest.ids, selftest.mask)[selftest.mask.astype(bool)]
    assert np.allclose(selftest.logits[selftest.mask.astype(bool)], theirs, atol=1e-5)
    assert (theirs.argmax(1) != 0).any(), "it shows entities: a model that finds none must not pass"
    assert len(selftest.ids) == 8
    # About 64 pieces at most, since it runs at every load.
    assert selftest.mask.sum(axis=1).max() <= 64


def test_a_second_run_does_nothing(
    parent: Path, train_corpus: Corpus, traced: list[int], tmp_path: Path
) -> None:
    first = run_step("export", parent, tmp_path / "out", calibration=train_corpus)
    before = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    assert run_step("export", parent, tmp_path / "out", calibration=train_corpus) == first
    assert {path.name: path.stat().st_mtime_ns for path in first.iterdir()} == before
    assert traced == [1]
    run_step("export", parent, tmp_path / "out", calibration=train_corpus.head(5))
    assert traced == [2]


@pytest.mark.parametrize("dtype", [pytest.param("float16", marks=pytest.mark.slow), "bfloat16"])
def test_half_precision_parents(
    dtype: str, tiny_model: Callable[..., Path], train_corpus: Corpus, tmp_path: Path
) -> None:
    model = tiny_model("camembert", num_hidden_layers=1, dtype=dtype)
    out = run_step("export", model, tmp_path / "out", calibration=train_corpus.head(20))
    assert near(load(out), load(model), 1e-4)
    info = read_export_info(out)
    assert info is not None
    assert (info.dtypes, info.parameters) == (("F32",), describe(model).parameters)
    # The folder and the graph made of it give the same eight bits.
    for name, source in (("a", model), ("b", out)):
        run_step("quantize", source, tmp_path / name, calibration=train_corpus.head(20), **AVX2)
    assert read_export_info(tmp_path / "a") == read_export_info(tmp_path / "b") is not None
    assert (tmp_path / "a" / "model.onnx").read_bytes() == (tmp_path / "b" / "model.onnx").read_bytes()
    assert describe(tmp_path / "a").parts == describe(tmp_path / "b").parts


def test_zeros_survive_and_are_told(
    tiny_model: Callable[..., Path], train_corpus: Corpus, tmp_path: Path
) -> None:
    """prune → pack → export → quantize: sparsity and lineage at every step, and zeros in the graph."""
    text = train_corpus.head(20)
    run_step("prune", tiny_model("camembert", num_hidden_layers=1), tmp_path / "pruned", sparsity=0.4)
    run_step("pack", tmp_path / "pruned", tmp_path / "packed")
    run_step("export", tmp_path / "packed", tmp_path / "onnx", calibration=text)
    run_step("quantize", tmp_path / "onnx", tmp_path / "int8", calibration=text, **AVX2)
    pruned = describe(tmp_path / "pruned")
    for name, stages in (
        ("onnx", ["pack", "prune", "given"]),
        ("int8", ["export", "pack", "prune", "given"]),
    ):
        info = describe(tmp_path / name)
        assert info.sparsity == pruned.sparsity == pytest.approx(0.4, abs=1e-3)
        assert info.by_layer() == pruned.by_layer()
        assert (info.nonzero, info.parameters) == (pruned.nonzero, pruned.parameters)
        assert [step["stage"] for step in info.as_dict()["lineage"]] == stages
        assert "quantization_config" not in info.folder.config
    for name, role in (("onnx", ""), ("int8", "@s8")):
        stored = {
            t.name: onnx.numpy_helper.to_array(t)
            for t in onnx.load(tmp_path / name / "model.onnx").graph.initializer
        }
        found = {
            n: array
            for key, array in stored.items()
            if key.endswith(f"weight{role}")
            for n in [key.removesuffix(role)]
        }
        for matrix, zeros in zero_set(tmp_path / "pruned").items():
            assert (found[matrix][zeros.T.numpy()] == 0).all(), "a zero stays a zero"
    assert near(load(tmp_path / "onnx"), load(tmp_path / "pruned"), 1e-4)


def test_plain_graphs(parent: Path, train_corpus: Corpus, tmp_path: Path) -> None:
    out = run_step("export", parent, tmp_path / "plain", calibration=train_corpus.head(20), plain=True)
    model = onnx.load(out / "model.onnx")
    assert {o.domain for o in model.opset_import} <= {"", "ai.onnx"}, "standard operators only"
    onnx.checker.check_model(model)
    assert near(load(out), load(parent), 1e-4)
    small = run_step("quantize", out, tmp_path / "int8", calibration=train_corpus.head(20), **AVX2)
    assert open_folder(small).size_bytes < open_folder(out).size_bytes - 50_000
    assert [linear.name for linear in linears(onnx.load(tmp_path / "int8" / "model.onnx"))] == [
        "classifier.weight"
    ]


def test_openvino(parent: Path, train_corpus: Corpus, traced: list[int], tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'affineur[openvino]'")
    out = run_step("export", parent, tmp_path / "out", calibration=train_corpus, to="openvino")
    info, manifest = read_export_info(out), verify(out)
    assert info is not None
    assert manifest is not None
    assert (info.engine, info.opset, manifest.kind, open_folder(out).kind) == (
        "openvino",
        0,
        "openvino",
        "openvino",
    )
    assert near(load(out), load(parent), 1e-4)
    for name in ("export", "quantize"):
        with pytest.raises(
            ParameterError,
            match=f"{name} cannot start from a model of the kind openvino, expected transformers",
        ):
            run_step(name, out, tmp_path / "x", calibration=train_corpus)


def test_what_cannot_be_done_is_one_line(
    parent: Path, shared_onnx: Path, train_corpus: Corpus, traced: list[int], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for error, said, call in (
        (
            ParameterError,
            "to='tflite' is impossible, expected one of onnx, openvino",
            lambda: run_step("export", parent, out, calibration=train_corpus, to="tflite"),
        ),
        (
            ParameterError,
            "export cannot start from a model of the kind onnx, expected transformers or packed",
            lambda: run_step("export", shared_onnx, out, calibration=train_corpus),
        ),
        (
            ParameterError,
            "is the model itself",
            lambda: run_step("export", parent, parent, calibration=train_corpus),
        ),
        (
            ModelError,
            "is not there",
            lambda: run_step("export", tmp_path / "no", out, calibration=train_corpus),
        ),
    ):
        with pytest.raises(error, match=said) as raised:
            call()
        assert len(str(raised.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_text_it_is_proved_on_the_samples(parent: Path, traced: list[int], tmp_path: Path) -> None:
    manifest = read_manifest(run_step("export", parent, tmp_path / "out"))
    assert manifest is not None
    sample = load_corpus("sample", "train").head(256)
    assert manifest.data["calibration"]["digest"] == sample.digest


def test_a_graph_that_is_not_its_parent_is_never_written(
    tiny_model: Callable[..., Path], train_corpus: Corpus, traced: list[int], tmp_path: Path
) -> None:
    other = tiny_model("camembert", num_hidden_layers=2, seed=8)  # the traced graph is of another model
    with pytest.raises(ModelError, match=r"does not give its logits .*nothing was written"):
        run_step("export", other, tmp_path / "out", calibration=train_corpus)
    assert list(tmp_path.iterdir()) == []


def test_an_architecture_that_cannot_be_traced_is_one_line(
    parent: Path, train_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from transformers.exporters.exporter_onnx import OnnxExporter

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no\nway")

    monkeypatch.setattr(OnnxExporter, "export", fail)
    with pytest.raises(
        ModelError, match=r"this architecture \(camembert\) cannot be exported to ONNX \(no way\)"
    ):
        run_step("export", parent, tmp_path / "out", calibration=train_corpus)
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    with pytest.raises(MissingExtraError, match="compress"):
        run_step("export", parent, tmp_path / "out", calibration=train_corpus)
    assert list(tmp_path.iterdir()) == []


def test_text_without_a_piece_is_one_line(
    parent: Path, train_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Encoder, "windows", lambda *_: iter(()))
    with pytest.raises(DataError, match="no piece of any word"):
        run_step("export", parent, tmp_path / "out", calibration=train_corpus)


@pytest.mark.parametrize("fault", ["full", "interrupted"])
def test_all_or_nothing(
    fault: str,
    parent: Path,
    train_corpus: Corpus,
    traced: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    out = run_step("export", parent, tmp_path / "out", calibration=train_corpus.head(5))
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device") if fault == "full" else KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(graph_files, "save_graph", fail)
        with pytest.raises(AffineurError if fault == "full" else KeyboardInterrupt) as error:
            run_step("export", parent, out, calibration=train_corpus)
    assert len(str(error.value).splitlines()) <= 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_constants_beside_a_large_graph(
    parent: Path, train_corpus: Corpus, traced: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Protobuf ends at two gigabytes; here at a thousand bytes."""
    monkeypatch.setattr(graph_files, "_INLINE_BYTES", 1000)
    out = run_step("export", parent, tmp_path / "out", calibration=train_corpus)
    manifest = read_manifest(out)
    assert manifest is not None
    assert "model.onnx.data" in manifest.files
    assert near(load_onnx(out), load(parent), 1e-4)
    assert near(load_onnx(Path(shutil.move(out, tmp_path / "moved"))), load(parent), 1e-4)
    monkeypatch.undo()
    run_step("quantize", tmp_path / "moved", tmp_path / "int8", calibration=train_corpus, **AVX2)
    assert not (tmp_path / "int8" / "model.onnx.data").exists()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str, shared_model, train_corpus: Corpus, tmp_path: Path) -> None:
    model = shared_model(family, num_hidden_layers=2)
    out = run_step("export", model, tmp_path / "onnx", calibration=train_corpus)
    assert near(load(out), load(model), 1e-3)
    scope = {m.matrix.name for m in describe(model).matrices}
    assert scope <= {t.name for t in onnx.load(out / "model.onnx").graph.initializer}
    run_step("quantize", out, tmp_path / "int8", calibration=train_corpus, target="avx2", min_agreement=0.99)
    found = read_export_info(tmp_path / "int8")
    assert found is not None
    assert found.parity is not None
    assert found.parity["same_tags"] >= 0.99
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8" / "model.onnx").graph.node}
    assert ("FusedMatMul" in kinds) == (family not in ("deberta-v2", "modernbert")), "heads are not copied"
    graph = onnx.load(out / "model.onnx")
    before = logits(graph)
    assert sequence_first(graph) == ("FusedMatMul" in kinds)
    assert np.allclose(logits(graph), before, atol=1e-5)
    load(tmp_path / "int8")
