"""Issue 15: ONNX folders that others made, as optimum or transformers.js lay them out, are opened and run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from affineur.artifact import open_folder
from affineur.artifact.formats.core.outputs import output_width
from affineur.engines.core.references import Reference
from affineur.engines.support.onnx_tagger import load_onnx, multiplies_faithfully
from affineur.entities import open_corpus
from affineur.errors import ModelError
from affineur.measure import evaluate
from engines.test_onnx import WORDS, foreign

LAYOUTS = (
    "model.onnx",
    "onnx/model.onnx",
    "model_quantized.onnx",
    "onnx/model_quantized.onnx",
    "model_optimized.onnx",
    "onnx/model_fp16.onnx",
    "onnx/model_int8.onnx",
)


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign(tmp_path_factory.mktemp("others") / "flat")


def laid_out(flat: Path, folder: Path, name: str) -> Path:
    shutil.copytree(flat, folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / "model.onnx").rename(folder / name)
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_wherever_the_graph_lies(name: str, flat: Path, tmp_path: Path) -> None:
    folder = laid_out(flat, tmp_path / "m", name)
    found = Reference.parse(folder).load()
    assert found.tag(WORDS) == load_onnx(flat).tag(WORDS)
    assert open_folder(folder).kind == "onnx"
    assert open_folder(folder).digest() == open_folder(flat).digest()
    (tmp_path / "a.conll").write_text("Marie I-PER\nà O\nParis I-LOC\n")
    assert evaluate(found, open_corpus(tmp_path / "a.conll")).words == 3


def test_of_two_graphs_the_one_in_full_precision(flat: Path, tmp_path: Path) -> None:
    folder = laid_out(flat, tmp_path / "m", "onnx/model.onnx")
    for name in ("model_quantized.onnx", "onnx/model_quantized.onnx", "onnx/model_fp16.onnx"):
        (folder / name).write_bytes(b"another")
    assert load_onnx(folder).tag(WORDS) == load_onnx(flat).tag(WORDS)


def test_a_folder_of_graphs_below_the_configuration(flat: Path, tmp_path: Path) -> None:
    folder = laid_out(flat, tmp_path / "m", "onnx/model_quantized.onnx")
    assert load_onnx(folder / "onnx").tag(WORDS) == load_onnx(flat).tag(WORDS)
    (folder / "model.safetensors").write_bytes(b"of the same model")
    with pytest.raises(ModelError, match="the safetensors are used and not the graphs") as caught:
        open_folder(folder / "onnx")
    assert "\n" not in str(caught.value)


def test_a_configuration_beside_the_graph_below(flat: Path, tmp_path: Path) -> None:
    shutil.copytree(flat, tmp_path / "m" / "onnx")
    assert load_onnx(tmp_path / "m").tag(WORDS) == load_onnx(flat).tag(WORDS)
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_folder(tmp_path)


def test_outputs_in_half_precision(flat: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(flat, tmp_path / "m")
    model = onnx.load(folder / "model.onnx")
    logits = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["wide" if name == logits else name for name in node.output]
    model.graph.node.append(helper.make_node("Cast", ["wide"], [logits], to=TensorProto.FLOAT16))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, folder / "model.onnx")
    found = load_onnx(folder)
    assert found.tag(WORDS) == load_onnx(flat).tag(WORDS)
    assert {rows.dtype for rows in found.logits(WORDS)} == {np.dtype(np.float32)}


def test_labels_that_do_not_fit_are_said(flat: Path, tmp_path: Path) -> None:
    folder = laid_out(flat, tmp_path / "m", "onnx/model.onnx")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "O", "1": "I-PER"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="2 labels"):
        load_onnx(folder).tag(WORDS)


@pytest.mark.parametrize("declared", [3, 4])
def test_the_width_of_a_graph_is_read_when_it_is_opened(declared: int, tmp_path: Path) -> None:
    folder = foreign(tmp_path / "m", declared=declared)
    assert output_width(folder / "model.onnx") == declared
    if declared == 3:
        assert open_folder(folder).kind == "onnx"
    else:
        with pytest.raises(ModelError, match=r"pieces, 4\), but config.json names 3 labels"):
            open_folder(folder)


def test_eight_bits_are_tried_on_this_cpu() -> None:
    assert multiplies_faithfully() in (True, False)


def test_graphs_that_do_not_say_their_width(flat: Path, tmp_path: Path) -> None:
    assert output_width(flat / "model.onnx") is None
    for content in (b"", b"garbage", (flat / "model.onnx").read_bytes()[:100]):
        (tmp_path / "a.onnx").write_bytes(content)
        assert output_width(tmp_path / "a.onnx") is None
