"""Which word is the model and which the text, where a model need not be named."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from affineur.cli.main import build_parser, main
from affineur.cli.words import model_and_texts, take_more
from affineur.errors import ModelError

TEXT = "Marie travaille à l'hôpital de Paris."


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "my model").mkdir()
    (tmp_path / "letter.txt").write_text(f"{TEXT}\n", "utf-8")
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "model"),
    [
        ([], "sample-int8"),
        ([TEXT], "sample-int8"),
        ([TEXT, "Paul"], "sample-int8"),
        ([" "], "sample-int8"),
        (["guide: Marie"], "sample-int8"),
        (["https://exemple.fr est le site de Marie"], "sample-int8"),
        (["Marie vit ici. " * 1000], "sample-int8"),
        (["Marie\nPaul"], "sample-int8"),
    ],
)
def test_all_are_texts(words: list[str], model: str) -> None:
    assert model_and_texts(words) == (model, words)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "model",
    [
        "sample",
        "sample-int8",
        "torch-int8:sample",
        "guide:my model",
        "model",
        "./model",
        "my model",
        "./nowhere",
        "owner/name",
        "hub:name",
        "s3://bucket/my model",
        "https://host/model",
        "spacy:fr_core_news_md",
    ],
)
def test_the_first_is_the_model(model: str) -> None:
    assert model_and_texts([model]) == (model, [])
    assert model_and_texts([model, TEXT, "Paul"]) == (model, [TEXT, "Paul"])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("Marie", "to tag a text of one word, name the model: affineur predict sample-int8 Marie"),
        ("L'hôpital", "affineur predict sample-int8 'L'\"'\"'hôpital'"),
        ("studnet_11L", "studnet_11L is not there, expected a model folder or a Hub id such as owner/name"),
        ("letter.txt", "letter.txt is a file, expected a model; to read texts from it, type: affineur"),
        ("./letter.txt", "affineur predict --file ./letter.txt"),
    ],
)
def test_a_word_that_could_be_either_is_refused(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No hub is asked for it, though it has the form of an id: it may be somebody's name."""
    with pytest.raises(ModelError):
        model_and_texts([word, TEXT])
    assert main(["predict", word, "-q"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def parsed(*words: str) -> argparse.Namespace:
    args, more = build_parser().parse_known_args(words)
    assert take_more(args, more)
    return args


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (["in.txt", "-o", "out"], None),
        (["-o", "out", "in.txt"], None),
        (["m", "in.txt", "-o", "out"], "m"),
        (["-o", "out", "m", "in.txt"], "m"),
        (["m", "-o", "out", "in.txt"], "m"),
        (["--format", "text", "m", "-o", "out", "in.txt"], "m"),
    ],
)
def test_annotate_takes_the_last_word_for_the_text(words: list[str], model: str | None) -> None:
    args = parsed("annotate", *words)
    assert (args.model, args.source, str(args.out)) == (model, "in.txt", "out")


@pytest.mark.parametrize(
    ("words", "model"), [([], None), (["m"], "m"), (["--port", "0", "m", "--drain", "1"], "m")]
)
def test_serve_takes_a_model_or_none(words: list[str], model: str | None) -> None:
    assert parsed("serve", *words).model == model


@pytest.mark.parametrize(
    "words",
    [
        ["annotate", "m", "in", "more", "-o", "x"],
        ["annotate", "-o", "x"],
        ["serve", "m", "n"],
        ["info", "a", "b"],
    ],
)
def test_words_too_many_and_too_few_are_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("word", ["model", "sample", "sample-int8"])
def test_a_model_alone_is_no_text_to_annotate(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["annotate", word, "-o", "out", "-q"]) == 1
    assert f"type: affineur annotate {word} IN -o OUT" in capsys.readouterr().err


def test_where_no_model_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", TEXT, "--json", "found.json", "-q"]) == 0
    assert "'Marie'" in capsys.readouterr().out
    (row,) = json.loads(Path("found.json").read_text("utf-8"))
    assert row["entities"][0]["word"] == "Marie"
    assert main(["annotate", "letter.txt", "-o", "out.jsonl", "-q"]) == 0
    entities = json.loads(Path("out.jsonl").read_text("utf-8"))["entities"]
    assert [entity["word"] for entity in entities] == ["Marie", "hôpital de Paris"]
