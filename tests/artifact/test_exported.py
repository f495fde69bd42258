"""``export_info.json``: round trip, and one line where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from affineur.artifact import describe
from affineur.artifact.exported import EXPORT_INFO, ExportInfo, read_export_info, write_export_info
from affineur.errors import ModelError

MATRIX = {"layer": 0, "kind": "attention.query", "name": "a.weight", "weights": 16, "zeros": 4}
INFO = ExportInfo(
    "onnx",
    20,
    "u8s8",
    "vnni",
    100,
    90,
    {"embeddings": 1, "encoder": 2, "head": 3},
    (MATRIX,),
    ("a.weight",),
    {"same_tags": 1.0},
)


def test_round_trip(tmp_path: Path) -> None:
    assert read_export_info(tmp_path) is None
    write_export_info(tmp_path, INFO)
    assert read_export_info(tmp_path) == INFO
    ((matrix, weights, zeros),) = INFO.scope()
    assert (matrix.layer, matrix.kind, matrix.name, weights, zeros) == (
        0,
        "attention.query",
        "a.weight",
        16,
        4,
    )


@pytest.mark.parametrize(
    ("scheme", "dtypes"), [("fp32", ("F32",)), ("u8s8", ("F32", "I8")), ("u8u8", ("F32", "U8"))]
)
def test_dtypes(scheme: str, dtypes: tuple[str, ...]) -> None:
    assert ExportInfo("onnx", 20, scheme, "any", 1, 1, {}, ()).dtypes == dtypes


@pytest.mark.parametrize(
    "change",
    [
        {"matrices": None},
        {"matrices": [1]},
        {"matrices": [{"layer": 0}]},
        {"matrices": [{**MATRIX, "zeros": "many"}]},
        {"parts": [1]},
        {"parts": {"head": "small"}},
        {"parameters": "many"},
        {"opset": None},
        {"strange": 1},
        {"kept": 3},
    ],
)
def test_damage_is_one_line(change: dict[str, Any], tmp_path: Path) -> None:
    write_export_info(tmp_path, INFO)
    file = tmp_path / EXPORT_INFO
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    refused(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{", '{"engine": "onnx"}', "\ud800".encode("utf-16", "surrogatepass")]
)
def test_what_is_no_such_file_is_one_line(text: str | bytes, tmp_path: Path) -> None:
    (tmp_path / EXPORT_INFO).write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(tmp_path)


def test_what_is_known_of_a_graph(shared_model, shared_onnx: Path, shared_int8: Path) -> None:
    parent, graph, small = (
        describe(folder)
        for folder in (shared_model("camembert", num_hidden_layers=2), shared_onnx, shared_int8)
    )
    assert [info.folder.kind for info in (parent, graph, small)] == ["transformers", "onnx", "onnx"]
    for info in (graph, small):
        assert (info.parameters, info.nonzero, info.sparsity, info.weights_in_scope) == (
            parent.parameters,
            parent.nonzero,
            0,
            parent.weights_in_scope,
        )
        assert [m.matrix for m in info.matrices] == [m.matrix for m in parent.matrices]
        assert info.folder.size_bytes == (info.folder.path / "model.onnx").stat().st_size
    assert (graph.dtypes, small.dtypes) == (("F32",), ("F32", "I8"))
    assert sum(small.parts.values()) < 0.4 * sum(graph.parts.values())


def refused(folder: Path) -> None:
    """One line that names the file."""
    with pytest.raises(
        ModelError, match=r"export_info\.json is damaged \(.*fetch or make the artifact again"
    ) as error:
        read_export_info(folder)
    assert len(str(error.value).splitlines()) == 1
