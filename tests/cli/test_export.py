"""``affineur export`` and ``quantize``, and every other command on what they make."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from affineur.artifact.selftest import SELF_TEST
from affineur.cli.main import main
from affineur.steps.graphs import exporting

from .test_commands import line_of

EXPORTED = (
    r"is an exported graph \(onnx\).*give the model it was made from|of the kind onnx, expected.*give the"
    r" model it was made from"
)


@pytest.fixture(autouse=True)
def _no_trace(shared_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    monkeypatch.setattr(exporting, "_trace", lambda *_: onnx.load(shared_onnx / "model.onnx"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # --threads sets them; put back afterwards


@pytest.fixture
def model(shared_model) -> Path:
    return Path(shared_model("camembert", num_hidden_layers=2))


def test_export_and_quantize(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, small = tmp_path / "onnx", tmp_path / "int8"
    options = ["--calibration", str(corpus), "-q", "--json"]
    assert main(["export", str(model), "-o", str(graph), *options, str(tmp_path / "e.json")]) == 0
    said = json.loads((tmp_path / "e.json").read_text())
    assert set(said) == {
        "written_by",
        "model",
        "engine",
        "opset",
        "size_bytes",
        "same_tags",
        "error",
        "max_difference",
    }
    assert (said["engine"], said["same_tags"], said["size_bytes"]) == (
        "onnx",
        1.0,
        (graph / "model.onnx").stat().st_size,
    )
    assert "100.00% of the tags are the model's, logits differ by at most" in capsys.readouterr().out
    for _ in range(2):  # the second finds it done, and says the same
        assert (
            main(
                [
                    "quantize",
                    str(graph),
                    "-o",
                    str(small),
                    "--for",
                    "avx2",
                    "--min-agreement",
                    "0.98",
                    *options,
                    str(tmp_path / "q.json"),
                ]
            )
            == 0
        )
        said = json.loads((tmp_path / "q.json").read_text())
        assert set(said) == {
            "written_by",
            "model",
            "size_bytes",
            "scheme",
            "activations",
            "by_token",
            "target",
            "kept",
            "same_tags",
            "error",
            "words",
        }
        assert (said["scheme"], said["target"], said["kept"]) == ("u8s8-reduced", "avx2", [])
        assert said["same_tags"] >= 0.98
        assert "u8s8-reduced for avx2" in (printed := capsys.readouterr().out)
        assert "no matrix stays in full precision" in printed
    kept = tmp_path / "kept"
    assert (
        main(
            [
                "quantize",
                str(graph),
                "-o",
                str(kept),
                "--scheme",
                "u8u8",
                "--min-agreement",
                "1",
                *options,
                str(tmp_path / "q.json"),
            ]
        )
        == 0
    )
    said = json.loads((tmp_path / "q.json").read_text())
    assert said["same_tags"] == 1
    assert said["kept"]
    first = f"{len(said['kept'])} matrices stay in full precision ({said['kept'][0]}"
    assert first in capsys.readouterr().out


def test_scores_and_predictions(
    model: Path, shared_onnx: Path, shared_int8: Path, corpus: Path, tmp_path: Path, capsys
) -> None:
    found = {}
    for name, folder in (("torch", model), ("onnx", shared_onnx), ("int8", shared_int8)):
        assert (
            main(["evaluate", str(folder), "--data", str(corpus), "--json", str(tmp_path / "e.json"), "-q"])
            == 0
        )
        scores = json.loads((tmp_path / "e.json").read_text())
        capsys.readouterr()
        assert main(["predict", str(folder), "Marie Duval habite à Paris.", "-q"]) == 0
        found[name] = {key: value for key, value in scores.items() if key != "model"}, capsys.readouterr().out
    assert found["torch"][0] == found["onnx"][0]
    assert found["int8"][0]["accuracy"] == pytest.approx(found["torch"][0]["accuracy"], abs=0.05)
    strip = [
        [word for word in text.split() if not word.replace(".", "").isdigit()]
        for _, text in (found["torch"], found["onnx"])
    ]
    assert strip[0] == strip[1]


def test_info(shared_int8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(shared_int8), "--json", str(tmp_path / "i.json"), "-q"]) == 0
    info = json.loads((tmp_path / "i.json").read_text())
    assert (info["kind"], info["layers"], info["stage"], info["dtypes"]) == (
        "onnx",
        2,
        "quantize",
        ["F32", "I8"],
    )
    assert [p["stage"] for p in info["lineage"]] == ["export", "given"]
    assert sum(info["size_by_part"].values()) <= info["size_bytes"]
    assert "onnx" in capsys.readouterr().out


def test_compare(model: Path, shared_onnx: Path, shared_int8: Path, corpus: Path, tmp_path: Path) -> None:
    folders = [model, shared_onnx, shared_int8]
    words = [
        "compare",
        *map(str, folders),
        "--data",
        str(corpus),
        "--rounds",
        "2",
        "--json",
        str(tmp_path / "c.json"),
        "-q",
    ]
    assert main(words) == 0
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert rows[0]["f1"] == rows[1]["f1"]
    assert [row["layers"] for row in rows] == [2, 2, 2]
    sizes = [
        (folder / ("model.safetensors" if folder == model else "model.onnx")).stat().st_size
        for folder in folders
    ]
    assert [row["size_bytes"] for row in rows] == sizes
    # Each is measured in a process of its own: without torch it takes less.
    assert rows[2]["peak_rss_bytes"] < 0.6 * rows[0]["peak_rss_bytes"]


def test_benchmark(shared_onnx: Path, shared_int8: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    assert (
        main(
            [
                "benchmark",
                str(shared_onnx),
                str(shared_int8),
                "--data",
                str(corpus),
                "--rounds",
                "1",
                "--json",
                str(out),
                "-q",
            ]
        )
        == 0
    )
    rows = json.loads(out.read_text())["models"]
    assert [row["kind"] for row in rows] == ["onnx", "onnx"]
    assert all(50_000_000 < row["peak_rss_bytes"] < 300_000_000 for row in rows), "no torch in there"


def test_check(shared_onnx: Path, shared_int8: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "bars.yaml").write_text("min_f1: 0\nmin_agreement: 0.9\nmax_size_bytes: 50000\n")
    words = [
        "--data",
        str(corpus),
        "--bars",
        str(tmp_path / "bars.yaml"),
        "--baseline",
        str(shared_onnx),
        "-q",
    ]
    assert main(["check", str(shared_int8), *words]) == 0
    assert main(["check", str(shared_onnx), *words]) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "guide:{}", "--data", "{data}"], "leave guide: out"),
        (["evaluate", "torch-int8:{}", "--data", "{data}"], "leave torch-int8: out"),
        (
            ["evaluate", "{}", "--data", "{data}", "--device", "cuda"],
            "--device cuda: .* runs on the CPU here",
        ),
        (["compare", "{}", "guide:{}", "--data", "{data}"], "leave guide: out"),
        (["benchmark", "torch-int8:{}", "--data", "{data}"], "leave torch-int8: out"),
        (["prune", "{}", "--sparsity", "0.1", "-o", "{out}"], EXPORTED),
        (["recover", "{}", "--data", "{data}", "-o", "{out}"], EXPORTED),
        (["distill", "{}", "--layers", "1", "--data", "{data}", "-o", "{out}"], EXPORTED),
        (["train", "{}", "--data", "{data}", "-o", "{out}"], EXPORTED),
        (["pack", "{}", "-o", "{out}"], EXPORTED),
        (["unpack", "{}", "-o", "{out}"], "not packed"),
        (["shrink", "{}", "--ffn-width", "16", "-o", "{out}"], EXPORTED),
        (["trim-vocab", "{}", "--data", "{data}", "-o", "{out}"], EXPORTED),
        (["sweep", "{}", "--data", "{data}", "--max-drop", "0.01", "-o", "{out}"], EXPORTED),
        (["export", "{}", "-o", "{out}", "--calibration", "{data}"], EXPORTED),
        (
            ["quantize", "{}", "-o", "{out}", "--for", "sse", "--calibration", "{data}"],
            "--for 'sse' is impossible",
        ),
        (
            ["quantize", "{}", "-o", "{out}", "--min-agreement", "2", "--calibration", "{data}"],
            "--min-agreement 2 is impossible",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], said: str, shared_onnx: Path, corpus: Path, tmp_path: Path, capsys
) -> None:
    given = [word.format(shared_onnx, data=corpus, out=tmp_path / "out") for word in words]
    assert main([*given, "-q"]) == 1
    line = line_of(capsys)
    assert re.search(said, line), line
    assert not (tmp_path / "out").exists()


def test_one_without_its_probe_is_refused_by_every_command(
    shared_int8: Path, corpus: Path, tmp_path: Path, capsys
) -> None:
    folder = Path(shutil.copytree(shared_int8, tmp_path / "copy"))
    (folder / SELF_TEST).unlink()
    for words in (
        ["predict", str(folder), "Paris"],
        ["evaluate", str(folder), "--data", str(corpus)],
        ["info", str(folder)],
    ):
        assert main([*words, "-q"]) == 1
        assert SELF_TEST in line_of(capsys)
