"""Models on OpenVINO, where it is installed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from affineur.artifact import MANIFEST, open_folder
from affineur.artifact.selftest import SELF_TEST
from affineur.engines.core.references import load_exported
from affineur.engines.support.onnx_tagger import load_onnx
from affineur.engines.support.openvino_tagger import OpenVinoTagger, load_openvino
from affineur.errors import MissingExtraError, ModelError

from .test_onnx import LABELS, WORDS, foreign

openvino = pytest.importorskip(
    "openvino", reason="OpenVINO is not installed: pip install 'affineur[openvino]'"
)


@pytest.fixture(scope="session")
def shared_openvino(shared_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported CamemBERT as OpenVINO stores it, as ``export`` writes it but for the manifest."""
    folder = Path(shutil.copytree(shared_onnx, tmp_path_factory.mktemp("shared") / "openvino"))
    convert(folder)
    (folder / MANIFEST).unlink()
    return folder


def convert(folder: Path) -> None:
    openvino.save_model(
        openvino.convert_model(folder / "model.onnx"), folder / "openvino_model.xml", compress_to_fp16=False
    )
    (folder / "model.onnx").unlink()


@pytest.fixture
def copy(shared_openvino: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_openvino, tmp_path / "copy"))


def test_the_same_logits_as_onnx(shared_onnx: Path, shared_openvino: Path) -> None:
    ours, other = load_exported(shared_openvino), load_onnx(shared_onnx)
    assert isinstance(ours, OpenVinoTagger)
    assert open_folder(shared_openvino).kind == "openvino"
    assert open_folder(shared_openvino).size_bytes > 100_000
    for one, two in zip(ours.logits(WORDS), other.logits(WORDS), strict=True):
        assert np.allclose(one, two, atol=1e-4)
    assert ours.threads >= 1


@pytest.mark.parametrize("inputs", [("input_ids",), ("input_ids", "attention_mask", "token_type_ids")])
def test_foreign_graphs(inputs: tuple[str, ...], tmp_path: Path) -> None:
    folder = foreign(tmp_path / "m", inputs)
    expected = load_onnx(folder).logits(WORDS)
    convert(folder)
    for one, two in zip(load_openvino(folder).logits(WORDS), expected, strict=True):
        assert np.allclose(one, two, atol=1e-5)


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    for name, inputs, changes, said in (
        ("a", ("input_ids", "pixels"), {}, "wants pixels"),
        ("b", ("input_ids",), {"outputs": 4}, f"{len(LABELS)} labels are named"),
        ("c", ("input_ids",), {"size": (1, 8)}, "fails on 6 × 32 pieces"),
    ):
        folder = foreign(tmp_path / name, inputs, **changes)
        convert(folder)
        with pytest.raises(ModelError, match=said) as error:
            load_openvino(folder).whole().tag(WORDS)
        assert len(str(error.value).splitlines()) == 1


def test_tampered_weights_are_refused(copy: Path) -> None:
    weights = (copy / "openvino_model.xml").with_suffix(".bin")
    values = np.fromfile(weights, np.float32)
    values[np.abs(values) < 1] *= -1
    values.tofile(weights)
    with pytest.raises(ModelError, match=r"gives other results on this CPU|cannot be compiled") as error:
        load_openvino(copy)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("file", ["openvino_model.xml", "openvino_model.bin"])
@pytest.mark.parametrize("length", [0, 200, None])
def test_damage_is_one_line(file: str, length: int | None, copy: Path) -> None:
    if length is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes((copy / file).read_bytes()[:length])
    with pytest.raises(ModelError) as error:
        load_openvino(copy)
    assert len(str(error.value).splitlines()) == 1


def test_a_manifest_without_a_self_test(copy: Path) -> None:
    from affineur.artifact import Manifest, write_manifest

    (copy / SELF_TEST).unlink()
    write_manifest(copy, Manifest("openvino", "export"))
    assert SELF_TEST not in json.loads((copy / MANIFEST).read_text())["files"]
    with pytest.raises(
        ModelError, match="has no self-test, so nothing proves it on this CPU; export or quantize it again"
    ):
        load_openvino(copy)


def test_without_openvino_the_extra_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="openvino"):
        load_openvino(copy)
