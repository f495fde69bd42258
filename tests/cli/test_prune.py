"""``prune`` on the command line and in recipes, by methods that look at text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from affineur.artifact import read_manifest
from affineur.cli.main import build_parser, main
from affineur.entities import open_corpus
from affineur.pipeline import read_recipe, run
from affineur.steps.prune import CALIBRATION_SENTENCES, Prune
from affineur.steps.pruning.core.method import METHODS


def test_the_command(tiny_model, corpus: Path, tmp_path: Path) -> None:
    words = ["prune", str(tiny_model()), "--method", "wanda", "-q", "--json", str(tmp_path / "p.json"), "-o"]
    assert main([*words, str(tmp_path / "a"), "--calibration", str(corpus)]) == 0
    said = json.loads((tmp_path / "p.json").read_text())
    train = open_corpus(corpus / "train.conll")  # all of it: no dev part is held out where nothing is decided
    assert said["calibration"] == {"name": train.name, "digest": train.digest, "sentences": 60}
    assert main([*words, str(tmp_path / "b"), "--calibration", str(corpus / "test.conll")]) == 0
    assert json.loads((tmp_path / "p.json").read_text())["calibration"]["sentences"] == 20
    (corpus / "dev.conll").unlink()
    assert main([*words, str(tmp_path / "c"), "--calibration", str(corpus)]) == 0
    assert json.loads((tmp_path / "p.json").read_text())["calibration"] == said["calibration"]


def test_the_samples_text_is_used_where_none_is_named(tiny_model, tmp_path: Path) -> None:
    words = ["prune", str(tiny_model()), "--method", "wanda", "-o", str(tmp_path / "out"), "-q"]
    assert main([*words, "--json", str(tmp_path / "p.json")]) == 0
    said = json.loads((tmp_path / "p.json").read_text())["calibration"]
    assert said["sentences"] == CALIBRATION_SENTENCES
    assert said["name"].startswith("sample/train")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--calibration", "DATA"],
            "--calibration is for methods that look at text (wanda), but the method is 'magnitude'",
        ),
        (["--calibration", "DATA", "--method", "layerwise"], "the method is 'layerwise'"),
        (["--calibration", "DATA/nothing.conll", "--method", "wanda"], "no such file"),
        (["--calibration", "DATA/latin.txt", "--method", "wanda"], "latin.txt:1: not UTF-8"),
        (["--method", "wandb"], "did you mean 'wanda'?"),
    ],
    ids=str,
)
def test_errors_of_the_command(
    more: list[str],
    message: str,
    tiny_model,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (corpus / "latin.txt").write_bytes("Marie habite à Lyon.\nIl pleut.\n".encode("latin-1"))
    words = [word.replace("DATA", str(corpus)) for word in more]
    assert main(["prune", str(tiny_model()), "-o", str(tmp_path / "out"), "-q", *words]) == 1
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "out").exists()


def test_every_method_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["prune", "--help"])
    said = capsys.readouterr().out
    assert all(method in said for method in METHODS)
    assert {"magnitude", "layerwise", "wanda"} <= set(METHODS)
    assert all(method in str(Prune.model_fields["method"].description) for method in METHODS)


def test_a_recipe_calibrates_on_its_train(tiny_model, corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"name: x\nteacher: {tiny_model()}\ndata: {corpus}\nsteps:\n"
        "  - prune: {method: wanda, name: pruned}\ncompare: {rows: [pruned], rounds: 1, memory: false}\n"
    )
    made = run(read_recipe(path), runs=tmp_path / "runs")
    manifest = read_manifest(made.models["pruned"])
    assert manifest is not None
    assert manifest.parameters["method"] == "wanda"
    assert manifest.data["calibration"]["digest"] == open_corpus(corpus / "train.conll").digest
