"""Issue 19, numbers 17 and 20 to 21: files that others wrote end in one line, within bounds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from affineur.artifact import open_folder, read_manifest
from affineur.artifact.reading import parse_json, parse_yaml
from affineur.cli.main import main
from affineur.entities import open_corpus
from affineur.errors import AffineurError, DataError, ModelError
from affineur.transfer.tables import open_table, to_corpus

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "name", ["config.json", "affineur.json", "tokenizer_config.json", "added_tokens.json"]
)
@pytest.mark.parametrize("text", [DEEP, '{"a": ' + "9" * 5000 + "}", "[1]"])
def test_damaged_json_is_one_line(
    shared_model: Callable[[], Path], tmp_path: Path, name: str, text: str
) -> None:
    folder = shutil.copytree(shared_model(), tmp_path / "m")
    (folder / name).write_text(text)
    with pytest.raises(ModelError, match=name):
        open_folder(folder) if name != "affineur.json" else read_manifest(folder)


@pytest.mark.parametrize("value", ["1e999", '"abc"', "[1]", "-7"])
def test_sizes_that_are_none(shared_model: Callable[[], Path], tmp_path: Path, value: str) -> None:
    folder = shutil.copytree(shared_model(), tmp_path / "m")
    text = (folder / "config.json").read_text().rstrip()[:-1]
    (folder / "config.json").write_text(f'{text}, "vocab_size": {value}}}')
    with pytest.raises(ModelError, match="vocab_size"):
        open_folder(folder)


def test_depth_and_digits_are_bounded() -> None:
    for text in (DEEP, "9" * 5000, "[" + "{}," * 2_000_000 + "{}]"):
        with pytest.raises(ValueError, match=r"deep|digits|more than 2,000,000 lists"):
            parse_json(text)


def test_sentences_and_lines_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("a O\n" * 100_001)
    with pytest.raises(DataError, match="more than 100,000 words"):
        open_corpus(tmp_path / "a.conll")
    (tmp_path / "a.jsonl").write_text(
        '{"tokens": [' + ",".join(['"a"'] * 1_000_000) + '], "tags": [' + ",".join(["0"] * 1_000_000) + "]}"
    )
    with pytest.raises(DataError, match=r"more than (100,000 words|8,388,608 bytes)"):
        to_corpus("a", [open_table(tmp_path / "a.jsonl")], None, ["O"])


def test_a_small_parquet_file_of_very_many_tokens(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    words = arrow.array([["a"] * 50_000] * 60)
    tags = arrow.array([[0] * 50_000] * 60)
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"tokens": words, "tags": tags}), path, compression="zstd")
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match="as no text does"):
        to_corpus("a", [open_table(path)], None, ["O"])


OTHERS = {
    "words": "word O\n",
    "package.json": '{"name": "page", "version": "1.0.0"}',
    "config.json": '{\n  "architectures": []}',
    "quoted": '{"name": "\\"written_by\\": \\"affineur 0.1.0\\""}',
    "gold": '[\n  {"text": "Marie", "entities": [{"type": "PER", "start": 0, "end": 5}]}\n]\n',
    "page": "<!doctype html><title>written by affineur</title>",
    "table": "| Model | F1 |\n",
    "junit": '<testsuites name="pytest tests"></testsuites>',
    "bytes": "\0\1\2",
}
WRITERS = {
    "--json": ["info", "sample"],
    "--markdown": ["compare", "sample", "sample", "--data", "sample"],
    "--html": ["compare", "sample", "sample", "--data", "sample"],
    "--svg": ["sweep", "sample", "--data", "sample", "-o", "none"],
    "--junit": ["check", "sample", "--data", "sample", "--bars", "none.yaml"],
}


@pytest.mark.parametrize("option", WRITERS)
@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_results_replace_no_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, text: str
) -> None:
    (tmp_path / "a").write_text(text)
    assert main([*WRITERS[option], option, str(tmp_path / "a")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{option} {tmp_path / 'a'} is there already" in said
    assert f"rm {tmp_path / 'a'}" in said
    assert (tmp_path / "a").read_text() == text


@pytest.mark.slow
def test_results_replace_results_of_their_kind(tmp_path: Path, shared_model: Callable[[], Path]) -> None:
    model = str(shared_model())
    copy = str(shutil.copytree(model, tmp_path / "copy"))
    (tmp_path / "a.conll").write_text("Marie B-PER\nvit O\n\n" * 20)
    commands = [
        (["info", "sample"], ["--json"]),
        (["predict", model, "Marie Duval habite à Paris."], ["--json"]),
        (["predict", model, ""], ["--json"]),
        (
            ["compare", model, copy, "--data", str(tmp_path / "a.conll"), "--rounds", "1"],
            ["--json", "--markdown", "--html"],
        ),
    ]
    for words, kinds in commands:
        more = [word for kind in kinds for word in (kind, str(tmp_path / kind))]
        for kind in kinds:
            (tmp_path / kind).write_text("")  # as a temporary file is
        for _ in range(2):
            assert main([*words, *more, "-q"]) == 0
        assert all((tmp_path / kind).stat().st_size for kind in kinds)


def test_a_recipe_of_aliases_and_of_equal_keys() -> None:
    bomb = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    for text, match in (
        (bomb, "aliases stand for"),
        ("a: 1\nb: {c: 1, c: 2}\n", "'c' is there twice"),
        ("a: &a [*a]", "inside"),
        (DEEP, "deep"),
    ):
        with pytest.raises(ValueError, match=match):
            parse_yaml(text)


def test_external_data_by_any_name_counts(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    import numpy as np

    from affineur.artifact.formats.onnx import FORMAT

    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    graph = onnx.helper.make_graph([], "g", [], [], [weight])
    onnx.save(
        onnx.helper.make_model(graph),
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="other.bin",
        size_threshold=0,
    )
    assert [file.name for file in FORMAT.weight_files(tmp_path)] == ["model.onnx", "other.bin"]
    (tmp_path / "other.bin").unlink()
    with pytest.raises(AffineurError, match="incomplete"):
        FORMAT.weight_files(tmp_path)
