"""``watch fit`` and ``watch estimate`` on a tiny model, and what its files may look like."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import affineur
from affineur.artifact import open_folder
from affineur.cli.main import main
from affineur.watch import watching


@pytest.fixture(autouse=True)
def _few_mentions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that nobody trained finds few mentions."""
    monkeypatch.setattr("affineur.watch.fitting.FEWEST", 1)
    monkeypatch.setattr("affineur.watch.fitting.SPOILED", 10)


@pytest.fixture(scope="module")
def watched(shared_onnx: Path, shared_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a reference file beside it."""
    folder = Path(shutil.copytree(shared_onnx, tmp_path_factory.mktemp("watched") / "model"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("affineur.watch.fitting.FEWEST", 1)
        patched.setattr("affineur.watch.fitting.SPOILED", 10)
        affineur.watch.fit(folder, shared_corpus / "train.conll")
    return folder


def run(*words: object) -> int:
    return main([*map(str, words), "-q"])


def test_the_commands(watched: Path, shared_corpus: Path, tmp_path: Path, capsys) -> None:
    digest = open_folder(watched).digest()
    out = tmp_path / "ours.json"
    said = tmp_path / "said.json"
    assert run("watch", "fit", watched, "--data", shared_corpus, "-o", out, "--json", said) == 0
    fitted = json.loads(said.read_text("utf-8"))
    assert fitted["model_sha256"] == digest
    assert fitted["data"].endswith("dev.conll")
    assert f"F1 {fitted['f1']:.2%}" in capsys.readouterr().out
    file = shared_corpus / "test.conll"
    assert run("watch", "estimate", watched, file, "--reference", out, "--json", said) == 0
    guess = json.loads(said.read_text("utf-8"))
    assert guess["abstained"] == (guess["f1_estimated"] is None)
    assert set(guess["per_type"]) == set(fitted["types"])


def test_labels_in_the_file_are_not_looked_at(watched: Path, shared_corpus: Path, tmp_path: Path) -> None:
    lines = (shared_corpus / "test.conll").read_text("utf-8").splitlines()
    other, none = tmp_path / "other.conll", tmp_path / "none.conll"
    other.write_text("\n".join(f"{line.split()[0]}\tB-DRAGON" if line else "" for line in lines), "utf-8")
    none.write_text("\n".join(line.split()[0] if line else "" for line in lines), "utf-8")
    first, *rest = (
        affineur.watch.estimate(watched, path).as_dict() | {"text": ""}
        for path in (shared_corpus / "test.conll", other, none)
    )
    assert all(each == first for each in rest)


def test_texts_lines_and_records_are_read_alike(watched: Path, tmp_path: Path) -> None:
    texts = [
        "Marie vit à Lyon. Elle part.",
        "«\u202fÉté\u202f» 🦊 à Ῥόδος",
        "e\u0301te\u0301 \u200b\ufeff",
    ] * 20
    (tmp_path / "a.txt").write_text("\n".join(texts), "utf-8")
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "entities": []}) for text in texts), "utf-8"
    )
    found = [
        affineur.watch.estimate(watched, each).as_dict() | {"text": ""}
        for each in (texts, tmp_path / "a.txt", tmp_path / "a.jsonl")
    ]
    assert found[0] == found[1] == found[2]
    assert found[0]["documents"] == 60
    assert found[0]["sentences"] == 80


@pytest.mark.parametrize("name", ["empty.txt", "empty.conll", "empty.jsonl"])
def test_an_empty_file(watched: Path, tmp_path: Path, name: str, capsys) -> None:
    (tmp_path / name).touch()
    status = run("watch", "estimate", watched, tmp_path / name)
    told = capsys.readouterr()
    assert "there is no text" in told.out if status == 0 else (tmp_path / name).name in told.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("watch", "estimate", "{model}", "nothing.txt"), "no such file"),
        (("watch", "estimate", "{bare}", "{text}"), "watch.json: no such file; make it from labeled text"),
        (("watch", "estimate", "{model}", "{text}", "--types", "ORK"), "no type ORK"),
        (
            ("watch", "estimate", "{model}", "{text}", "--reference", "{text}"),
            "is damaged here",
        ),
        (("watch", "fit", "{model}", "--data", "{data}", "--types", "ORK"), "no type ORK"),
        (("watch", "fit", "{model}", "--data", "{data}", "-o", "{folder}"), "is a folder, expected a file"),
        (("watch", "fit", "sample", "--data", "{data}"), "name a file to write (-o)"),
    ],
)
def test_what_is_refused(
    watched: Path, shared_onnx: Path, shared_corpus: Path, tmp_path: Path, capsys, words, message: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Marie vit à Lyon.\n", "utf-8")
    places = {"model": watched, "bare": shared_onnx, "text": text, "data": shared_corpus, "folder": tmp_path}
    assert run(*(word.format(**places) for word in words)) == 1
    assert message in capsys.readouterr().err


def test_a_reference_of_another_model(watched: Path, shared_int8: Path, shared_corpus: Path) -> None:
    with pytest.raises(affineur.AffineurError, match="was made of another model"):
        watching.estimate(shared_int8, shared_corpus / "test.conll", reference=watched / "watch.json")


def test_the_file_is_no_part_of_the_model(watched: Path, shared_onnx: Path) -> None:
    assert open_folder(watched).digest() == open_folder(shared_onnx).digest()
    affineur.verify(watched)


def test_a_step_says_that_the_reference_is_stale(
    watched: Path, shared_corpus: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "int8"
    words = ["quantize", str(watched), "-o", str(out), "--min-agreement", "0"]
    assert main([*words, "--calibration", str(shared_corpus)]) == 0
    assert f"{watched / 'watch.json'} is of the model before" in " ".join(capsys.readouterr().err.split())
    assert not (out / "watch.json").exists()
    shutil.copyfile(watched / "watch.json", out / "watch.json")
    assert main([*words, "--calibration", str(shared_corpus / "test.conll")]) == 0
    assert (out / "watch.json").read_bytes() == (watched / "watch.json").read_bytes()
    with pytest.raises(affineur.AffineurError, match="another model"):
        affineur.watch.estimate(out, shared_corpus / "test.conll")
