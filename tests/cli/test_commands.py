"""The command line: what it does, and what it says when it cannot."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from affineur.cli.main import main


@pytest.fixture
def model(tiny_model) -> Path:
    return tiny_model("camembert")


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line of the error."""
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("affineur: ")
    return said[0]


def test_the_guide_in_five_commands(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = json.loads((model / "config.json").read_text())["num_hidden_layers"]
    student, pruned, tuned = (
        tmp_path / name for name in ("student", "student_pruned", "student_pruned_finetuned")
    )
    assert (
        main(
            [
                "distill",
                str(model),
                "--layers",
                str(layers - 1),
                "--data",
                str(corpus),
                "--epochs",
                "0.1",
                "-o",
                str(student),
                "-q",
            ]
        )
        == 0
    )
    assert (
        main(
            [
                "prune",
                str(student),
                "--sparsity",
                "0.15",
                "-o",
                str(pruned),
                "--json",
                str(tmp_path / "p.json"),
                "-q",
            ]
        )
        == 0
    )
    assert (
        main(
            [
                "recover",
                str(pruned),
                "--epochs",
                "0.1",
                "--data",
                str(corpus),
                "--teacher",
                str(model),
                "-o",
                str(tuned),
                "-q",
            ]
        )
        == 0
    )
    assert (
        main(["evaluate", str(tuned), "--data", str(corpus), "--json", str(tmp_path / "e.json"), "-q"]) == 0
    )
    assert main(["info", str(tuned), "--json", str(tmp_path / "i.json"), "-q"]) == 0
    pruning, scores, info = (json.loads((tmp_path / f"{n}.json").read_text()) for n in "pei")
    assert pruning["zeros_in_scope"] == round(0.15 * pruning["weights_in_scope"])
    assert {
        "f1",
        "precision",
        "recall",
        "accuracy",
        "f1_low",
        "f1_high",
        "per_type",
        "sentences",
        "words",
    } <= set(scores)
    assert all({"precision", "recall", "f1", "support"} <= set(kind) for kind in scores["per_type"].values())
    assert info["layers"] == layers - 1
    assert info["zeros_in_scope"] >= pruning["zeros_in_scope"]
    assert [p["stage"] for p in info["lineage"]] == ["prune", "distill", "given"]
    assert "encoder layers" in capsys.readouterr().out


def test_compare_writes_the_guides_table(model: Path, corpus: Path, tmp_path: Path) -> None:
    out = {name: tmp_path / f"c.{name}" for name in ("json", "md", "html")}
    words = ["compare", str(model), f"torch-int8:{model}", "--data", str(corpus), "--rounds", "2", "-q"]
    assert (
        main([*words, "--json", str(out["json"]), "--markdown", str(out["md"]), "--html", str(out["html"])])
        == 0
    )
    rows = json.loads(out["json"].read_text())["rows"]
    wanted = [
        "model",
        "layers",
        "sparsity",
        "size_bytes",
        "f1",
        "f1_low",
        "f1_high",
        "accuracy",
        "sentences_per_second",
        "speedup",
        "peak_rss_bytes",
    ]
    assert len(rows) == 2
    assert all(set(wanted) <= set(row) for row in rows)
    assert rows[0]["speedup"] == 1.0
    assert rows[1]["model"].startswith("torch-int8:")
    assert rows[1]["size_bytes"] < rows[0]["size_bytes"]
    assert all(row["peak_rss_bytes"] > 50_000_000 for row in rows)
    assert out["md"].read_text().partition("\n")[2].startswith("| Model | Layers | Sparsity | Size | F1 |")
    page = out["html"].read_text()
    for allowed in (
        "http-equiv",
        'xmlns="http://www.w3.org/2000/svg"',
    ):  # the name of a language, not an address
        page = page.replace(allowed, "")
    assert "http" not in page


def test_the_baseline_comes_first_and_the_margin_is_said(
    model: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affineur.pipeline.peak_rss", lambda *_: 10**8)  # no process for each row
    pruned, out = tmp_path / "pruned", tmp_path / "c.json"
    assert main(["prune", str(model), "--sparsity", "0.9", "-o", str(pruned), "-q"]) == 0
    more = ["--data", str(corpus), "--rounds", "1", "--json", str(out), "-q"]
    assert main(["compare", str(pruned), str(model), *more]) == 0
    table = json.loads(out.read_text())
    assert [row["model"] for row in table["rows"]] == ["pruned", "camembert"]
    assert table["margin"] == 0.005
    for models in ([str(pruned), str(model)], [str(pruned)]):  # named twice or once, it is there once
        assert main(["compare", *models, "--baseline", str(model), "--margin", "0.25", *more]) == 0
        table = json.loads(out.read_text())
        assert [row["model"] for row in table["rows"]] == ["camembert", "pruned"]
        assert table["margin"] == 0.25
        assert (table["rows"][0]["speedup"], table["rows"][0]["drop"]) == (1, 0)


@pytest.mark.parametrize("margin", ["-0.1", "1", "nan"])
def test_impossible_margins(
    margin: str, model: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(model), "--data", str(corpus), f"--margin={margin}", "-q"]) == 1
    assert "0.01 is one point of F1" in line_of(capsys)


def test_predict_gives_exact_offsets(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["Marie travaille à l'hôpital de Paris.", "👩‍👩‍👧 Élodie !", ""]
    assert main(["predict", str(model), *texts, "--json", "-", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["text"] for each in found] == texts
    for each in found:
        for entity in each["entities"]:
            assert entity["word"] == each["text"][entity["start"] : entity["end"]]


@pytest.mark.parametrize("value", ["1.5", "-0.1", "1.0", "nan"])
def test_impossible_sparsity_is_one_line(
    value: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", str(model), f"--sparsity={value}", "-o", str(tmp_path / "out")]) == 1
    assert ("a finite number" if value == "nan" else "[0, 1)") in line_of(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [["prune", "m", "--sparsity", "abc", "-o", "x"], ["frobnicate"], ["prune", "m", "-o", "x", "--nope"], []],
)
def test_wrong_usage_exits_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2


def _data(tmp_path: Path, text: str | bytes, name: str = "test.conll") -> str:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "empty"),
        ("Paris\tB-LOC\nbelle\tX\n", ":2: 'X' is not a tag"),
        ("Paris\tB-LOC\nbelle\tO\nLyon\tI-LOC\n", ":3: tag I-LOC follows O"),
        ("Paris B-GPE\n", "--label-map"),
        ("Élodie O\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_bad_data_is_one_line_with_its_place(
    text: str | bytes, wanted: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(model), "--data", _data(tmp_path, text), "-q"]) == 1
    said = line_of(capsys)
    assert wanted in said
    assert "test.conll" in said


def test_missing_data(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(model), "--data", "/nowhere/at/all", "-q"]) == 1
    assert "/nowhere/at/all" in line_of(capsys)


def test_label_map_makes_foreign_types_known(model: Path, tmp_path: Path) -> None:
    data = _data(tmp_path, "Paris B-GPE\nbelle O\n\nhier B-DATE\n")
    assert main(["evaluate", str(model), "--data", data, "--label-map", "GPE=LOC,DATE=O", "-q"]) == 0


def test_train_on_a_type_the_model_lacks(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train", "dev", "test"):
        _data(folder, "Paris B-GPE\nbelle O\n", f"{name}.conll")
    assert main(["recover", str(model), "--data", str(folder), "-o", str(tmp_path / "out"), "-q"]) == 1
    said = line_of(capsys)
    assert "GPE" in said
    assert "PER" in said
    assert "--label-map" in said
    assert not (tmp_path / "out").exists()


def test_more_layers_than_the_teacher_has(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "distill",
                str(model),
                "--layers",
                "99",
                "--data",
                str(corpus),
                "-o",
                str(tmp_path / "out"),
                "-q",
            ]
        )
        == 1
    )
    assert "--layers 99" in line_of(capsys)
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == []


def _spoil_head(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["CamembertForMaskedLM"]}))


def _spoil_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (_spoil_head, "no token-classification head"),
        (_spoil_weights, "not a readable safetensors"),
        (_only_pickles, "pytorch_model.bin"),
    ],
)
@pytest.mark.parametrize("command", ["prune", "info", "evaluate"])
def test_bad_models_are_one_line(
    spoil,
    wanted: str,
    command: str,
    model: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(model, bad)
    spoil(bad)
    more = {"prune": ["-o", str(tmp_path / "out")], "info": [], "evaluate": ["--data", str(corpus)]}[command]
    assert main([command, str(bad), *more, "-q"]) == 1
    assert wanted in line_of(capsys)
    assert not (tmp_path / "out").exists()


def test_full_disk_is_one_line_and_loses_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert main(["prune", str(model), "--sparsity", "0.1", "-o", str(out), "-q"]) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    capsys.readouterr()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main(["prune", str(model), "--sparsity", "0.2", "-o", str(out), "-q"]) == 1
    assert "no space left" in line_of(capsys).lower()
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".out.tmp")] == []


def test_output_that_is_not_ours_is_not_touched(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    assert main(["prune", str(model), "-o", str(tmp_path / "thesis"), "-q"]) == 1
    assert "chapter1.tex" in line_of(capsys)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("name: x\nteacher: sample\ndata: sample\nprun: {sparsity: 0.2}\n", "did you mean 'prune'"),
        (
            "name: x\nteacher: sample\ndata: sample\nsteps: [{prune: {sparsty: 0.2}}]\n",
            "did you mean 'sparsity'",
        ),
        (
            "name: x\nteacher: sample\ndata: sample\nsteps: [{prune: {sparsity: 1.2}}]\n",
            "step 1 (prune): sparsity 1.2",
        ),
        ("name: x\nteacher: sample\n", "'data' is missing"),
        ("- a\n- b\n", "not a recipe"),
        ("a: [1\n", "not YAML"),
        ("name: ../../x\nteacher: sample\ndata: sample\n", "name"),
        ("name: x\nteacher: sample\ndata: {path: sample, colunm: 3}\n", "unknown key"),
        ("name: x\nteacher: sample\ndata: sample\ncompare: {rows: []}\n", "compare.rows"),
        (
            "name: x\nteacher: sample\ndata: sample\ncompare: {rows: [pruned]}\n",
            "name 'pruned', but the rows of this recipe are teacher",
        ),
        ("name: x\nteacher: sample\ndata: sample\nseed: -1\n", "seed"),
        (
            "name: x\nteacher: sample\ndata: sample\nsteps: [{recover: {epochs: .inf}}]\n",
            "step 1 (recover): epochs",
        ),
    ],
)
def test_bad_recipes_are_one_line(
    recipe: str, wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)
    assert main(["run", str(path), "--runs", str(tmp_path / "runs"), "-q"]) == 1
    assert wanted in line_of(capsys)
    assert not (tmp_path / "runs").exists()


def test_hub_id_without_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "nobody/nothing-here", "-o", str(tmp_path / "out"), "-q"]) == 1
    assert "nobody/nothing-here" in line_of(capsys)


@pytest.mark.parametrize("command", ["info", "evaluate", "prune", "compare"])
def test_json_on_standard_output_is_json_alone(
    command: str, model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {
        "info": [],
        "evaluate": ["--data", str(corpus)],
        "prune": ["-o", str(tmp_path / "out")],
        "compare": ["--data", str(corpus), "--rounds", "1"],
    }
    assert main([command, str(model), *more[command], "--json", "-", "-q"]) == 0
    said = capsys.readouterr()
    assert isinstance(json.loads(said.out), dict)
    assert said.err, "what people read goes to standard error"


def test_the_model_itself_is_no_output(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["prune", str(model), "--sparsity", "0.1", "-o", str(out), "-q"]) == 0
    before = (out / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert main(["prune", str(out), "--sparsity", "0.5", "-o", str(out), "-q"]) == 1
    assert "is the model itself" in line_of(capsys)
    assert (out / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["recover", "--seed", "-1"], "seed"),
        (["recover", "--epochs", "inf"], "epochs"),
        (["recover", "--temperature", "3"], "--teacher"),
        (["recover", "--device", "mps"], "no --device 'mps'"),
        (["recover", "--device", "cuda"], "no CUDA device"),
        (["recover", "--threads", "0"], "--threads 0"),
        (["evaluate", "--types", ","], "no type is left"),
        (["evaluate", "--types", "PERS"], "no type PERS"),
        (["evaluate", "--label-map", "PER"], "expected OLD=NEW"),
    ],
    ids=" ".join,
)
def test_impossible_values_are_one_line(
    words: list[str],
    wanted: str,
    model: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import torch

    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    out = ["-o", str(tmp_path / "out")] if words[0] == "recover" else []
    assert main([words[0], str(model), "--data", str(corpus), *out, *words[1:], "-q"]) == 1
    assert wanted in line_of(capsys)
    assert not (tmp_path / "out").exists()


def test_text_that_is_not_text(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "p.json"
    text = "caf\x01 \x00 à Paris"
    assert main(["predict", str(model), text, "--json", str(target), "-q"]) == 0
    assert json.loads(target.read_text())[0]["text"] == text
