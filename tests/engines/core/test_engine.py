"""What every engine says of itself, what looking at it costs, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from affineur.artifact import open_folder
from affineur.engines.core.engine import ENGINES, engine_of, exporting
from affineur.engines.core.references import Reference
from affineur.errors import ModelError, ParameterError


def test_each_says_what_it_is() -> None:
    for name, engine in ENGINES.all().items():
        assert engine.name == name
        assert engine.summary
        assert "\n" not in engine.summary
        assert engine.prefix in (None, f"{name}:")
        assert engine.kinds or engine.prefix, "it runs a kind of artifact, or is asked for"
        assert not (engine.exports and engine.peer)
    assert exporting() == ("onnx", "openvino")


def test_looking_at_all_of_them_imports_no_library() -> None:
    code = """
import sys
from affineur.engines.core.engine import ENGINES
assert len(ENGINES.all()) >= 6
heavy = {"torch", "transformers", "onnxruntime", "onnx", "openvino", "spacy"}
assert not heavy.intersection(sys.modules), heavy.intersection(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_kind_that_nothing_runs() -> None:
    with pytest.raises(ModelError, match="no engine here runs models of the kind tflite"):
        engine_of("tflite")


@pytest.mark.parametrize("prefix", ["torch-int8:", "guide:"])
def test_a_graph_is_run_as_it_is(prefix: str, shared_onnx: Path) -> None:
    with pytest.raises(ModelError, match=rf"is an exported graph \(onnx\), .* leave {prefix} out"):
        Reference.parse(f"{prefix}{shared_onnx}").load()


def test_graphs_run_on_the_cpu(shared_onnx: Path) -> None:
    parsed = Reference.parse(shared_onnx)
    assert parsed.load(device="auto").labels == parsed.load(device="cpu").labels
    with pytest.raises(
        ParameterError, match=r"device=cuda: .* is a model for onnx, which runs on the CPU"
    ) as error:
        parsed.load(device="cuda")
    assert error.value.parameter == "device"


def test_facts_are_the_folders_but_for_models_built_in_memory(shared_model) -> None:
    model = str(shared_model("camembert"))
    found = {}
    for prefix in ("", "guide:", "torch-int8:"):
        parsed = Reference.parse(prefix + model)
        found[prefix] = parsed.engine.facts(parsed)
    plain, guide, small = found.values()
    assert (plain.kind, guide.kind, small.kind) == ("transformers", "guide", "torch-int8")
    assert plain.size_bytes == guide.size_bytes == open_folder(model).size_bytes
    assert (small.size_bytes, small.parts) == (0, {}), "its size is known once it is built"
    parsed = Reference.parse(f"torch-int8:{model}")
    built = parsed.engine.facts(parsed, parsed.load())
    assert 0 < built.size_bytes < plain.size_bytes
    assert built.parameters == plain.parameters


def test_threads_reach_the_engine(shared_onnx: Path) -> None:
    for threads in (1, 2):
        assert Reference.parse(shared_onnx).load(threads=threads).threads == threads


def test_only_engines_that_models_are_exported_for_write(shared_model, tmp_path: Path) -> None:
    folder = open_folder(shared_model("camembert"))
    for name, engine in ENGINES.all().items():
        if not engine.exports:
            with pytest.raises(ModelError, match=f"nothing can be exported for the engine {name}"):
                engine.export(None, folder, tmp_path, None)  # type: ignore[arg-type]
