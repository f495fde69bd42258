"""``affineur pack`` and ``unpack``: what they do and say, and that other commands take a packed folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affineur.cli.main import main

from .test_commands import line_of


@pytest.fixture
def pruned(shared_model, tmp_path: Path) -> Path:
    assert (
        main(["prune", str(shared_model()), "--sparsity", "0.5", "-o", str(tmp_path / "pruned"), "-q"]) == 0
    )
    return tmp_path / "pruned"


def test_pack_info_and_unpack(pruned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed, dense = tmp_path / "packed", tmp_path / "dense"
    assert main(["pack", str(pruned), "-o", str(packed), "--json", str(tmp_path / "p.json"), "-q"]) == 0
    said = json.loads((tmp_path / "p.json").read_text())
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (packed, pruned)]
    assert [said["size_bytes"], said["size_bytes_before"]] == sizes
    assert said["ratio"] == sizes[0] / sizes[1] < 0.8
    assert (
        said["packed_tensors"]
        == json.loads((packed / "config.json").read_text())["quantization_config"]["tensors"]
    )
    assert f"({said['ratio']:.3f} of it)" in capsys.readouterr().out
    assert main(["info", str(packed), "--json", str(tmp_path / "i.json"), "-q"]) == 0
    info = json.loads((tmp_path / "i.json").read_text())
    assert info["size_bytes"] == sizes[0]
    assert info["sparsity"] == pytest.approx(0.5, abs=1e-3)
    assert info["lineage"][0]["stage"] == "prune"
    assert main(["unpack", str(packed), "-o", str(dense), "--json", str(tmp_path / "u.json"), "-q"]) == 0
    assert (dense / "model.safetensors").read_bytes() == (pruned / "model.safetensors").read_bytes()
    assert json.loads((tmp_path / "u.json").read_text())["packed_tensors"] == 0


def test_scores_of_packed_and_dense_are_the_same(
    pruned: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "packed"
    assert main(["pack", str(pruned), "-o", str(packed), "-q"]) == 0
    for name, model in (("dense", pruned), ("packed", packed)):
        assert (
            main(
                [
                    "evaluate",
                    str(model),
                    "--data",
                    str(corpus),
                    "--json",
                    str(tmp_path / f"{name}.json"),
                    "-q",
                ]
            )
            == 0
        )
        capsys.readouterr()
        assert main(["predict", str(model), "Marie habite à Paris.", "-q"]) == 0
        (tmp_path / f"{name}.txt").write_text(capsys.readouterr().out)
    dense_scores, packed_scores = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("dense", "packed")
    )
    assert {k: v for k, v in packed_scores.items() if k != "model"} == {
        k: v for k, v in dense_scores.items() if k != "model"
    }
    assert (tmp_path / "dense.txt").read_text() == (tmp_path / "packed.txt").read_text()
    words = [
        "compare",
        str(pruned),
        str(packed),
        "--data",
        str(corpus),
        "--rounds",
        "2",
        "-q",
        "--json",
        str(tmp_path / "c.json"),
    ]
    assert main(words) == 0
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert rows[0]["f1"] == rows[1]["f1"]
    assert rows[1]["size_bytes"] == (packed / "model.safetensors").stat().st_size < rows[0]["size_bytes"]
    assert rows[0]["sparsity"] == rows[1]["sparsity"]


def test_nothing_to_gain_is_said(shared_model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(shared_model()), "-o", str(tmp_path / "packed"), "-q"]) == 0
    assert "nothing was saved; prune first" in capsys.readouterr().out


def test_what_cannot_be_done_is_one_line(
    pruned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "packed"
    assert main(["pack", str(pruned), "-o", str(packed), "-q"]) == 0
    capsys.readouterr()
    assert main(["pack", str(packed), "-o", str(tmp_path / "out"), "-q"]) == 1
    assert "is packed already" in line_of(capsys)
    assert main(["unpack", str(pruned), "-o", str(tmp_path / "out"), "-q"]) == 1
    assert "is not packed" in line_of(capsys)
    assert main(["pack", str(pruned), "-o", str(pruned), "-q"]) == 1
    assert "is the model itself" in line_of(capsys)
    assert not (tmp_path / "out").exists()
