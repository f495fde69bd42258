"""What every engine says of itself, and what looking at it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from affineur.artifact import open_folder
from affineur.engines.core.engine import ENGINES, on_cpu
from affineur.errors import ModelError, ParameterError


def test_each_says_what_it_is() -> None:
    for name, engine in ENGINES.all().items():
        assert engine.name == name
        assert engine.summary
        assert "\n" not in engine.summary
        assert engine.prefix == (f"{name}:" if engine.prefixed else "")
        assert engine.kinds or engine.peer, "it runs artifacts, or models of somebody else's"
        assert not (engine.exports and engine.peer)


def test_looking_at_all_of_them_imports_no_library() -> None:
    code = """
import sys
from affineur.engines.core.engine import ENGINES
assert len(ENGINES.all()) >= 6
heavy = {"torch", "transformers", "onnxruntime", "onnx", "openvino", "spacy"}
assert not heavy.intersection(sys.modules), heavy.intersection(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_model_of_another_kind_is_refused(shared_model, shared_onnx: Path) -> None:
    for engine, folder, said in (
        (
            "torch-int8",
            shared_onnx,
            f"torch-int8:{shared_onnx}: .* is of the kind onnx.*leave torch-int8: out",
        ),
        ("guide", shared_onnx, "is of the kind onnx, which is run as it is; leave guide: out"),
        ("onnx", shared_model("camembert"), "is of the kind transformers"),
        ("openvino", shared_onnx, "is of the kind onnx"),
    ):
        with pytest.raises(ModelError, match=said):
            ENGINES.get(engine).load(str(folder))


def test_graphs_run_on_the_cpu(shared_onnx: Path) -> None:
    folder = open_folder(shared_onnx)
    for device in ("cpu", "auto"):
        on_cpu(device, folder)
    with pytest.raises(ParameterError, match=r"device=cuda: .* is an exported graph \(onnx\)") as error:
        ENGINES.get("onnx").load(str(shared_onnx), device="cuda")
    assert error.value.parameter == "device"


def test_facts_are_the_folders_but_for_models_built_in_memory(shared_model) -> None:
    model = str(shared_model("camembert"))
    plain, guide, small = (ENGINES.get(name).facts(model) for name in ("torch", "guide", "torch-int8"))
    assert (plain.kind, guide.kind, small.kind) == ("transformers", "guide", "torch-int8")
    assert plain.size_bytes == guide.size_bytes == open_folder(model).size_bytes
    assert (small.size_bytes, small.parts) == (0, {}), "its size is known once it is built"
    engine = ENGINES.get("torch-int8")
    built = engine.facts(model, engine.load(model))
    assert 0 < built.size_bytes < plain.size_bytes
    assert built.parameters == plain.parameters
    assert len({ENGINES.get(name).digest(model) for name in ("torch", "guide", "torch-int8")}) == 3


def test_threads_reach_the_engine(shared_onnx: Path) -> None:
    for threads in (1, 2):
        assert ENGINES.get("onnx").load(str(shared_onnx), threads=threads).threads == threads


def test_only_engines_that_models_are_exported_for_write(tmp_path: Path) -> None:
    for name, engine in ENGINES.all().items():
        if not engine.exports:
            with pytest.raises(NotImplementedError, match=f"models are not exported for {name}"):
                engine.write(None, tmp_path)  # type: ignore[arg-type]
