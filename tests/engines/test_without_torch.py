"""What needs no torch runs where there is none: graphs are looked at, run and checked, models are packed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import json, sys
blocked = dict.fromkeys(("torch", "transformers", "accelerate", "onnx"))
sys.modules.update(blocked)
from affineur.cli.main import main
statuses = [main([*words, "-q"]) for words in json.loads(sys.argv[1])]
assert not any(statuses), statuses
assert all(sys.modules[name] is None for name in blocked)
"""


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    file = tmp_path / "bars.yaml"
    file.write_text("min_f1: 0\nmax_size_bytes: 100000000\nmin_agreement: 0.5\nmax_p95_ms: 100000\n")
    return file


def test_graphs_and_packed_folders(
    shared_model, shared_onnx: Path, shared_int8: Path, shared_corpus: Path, bars: Path, tmp_path: Path
) -> None:
    data, packed, dense = str(shared_corpus / "test.conll"), tmp_path / "packed", tmp_path / "dense"
    commands = [
        ["pack", str(shared_model("camembert")), "-o", str(packed)],
        ["unpack", str(packed), "-o", str(dense)],
        ["info", str(packed)],
        ["info", str(shared_onnx)],
        ["evaluate", str(shared_int8), "--data", data],
        ["check", str(shared_int8), "--parent", str(shared_onnx), "--bars", str(bars), "--data", data],
    ]
    done = subprocess.run(
        [sys.executable, "-c", _CODE, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    weights = "model.safetensors"
    assert (dense / weights).read_bytes() == (shared_model("camembert") / weights).read_bytes()
