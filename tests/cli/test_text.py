"""Predict and annotate: texts from arguments, a stream and files."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from affineur.cli.main import main
from affineur.cli.text import with_style
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import open_corpus
from affineur.runtime.redaction import Replacement, redact, restore

TEXTS = ["Marie Duval habite à Paris, près de l'Hôtel-Dieu.", "", "👩‍👩‍👧 Élodie et M. Morvan !"]


@pytest.fixture
def model(shared_model) -> Path:
    return shared_model()


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    return said[0]


@pytest.mark.parametrize("strategy", ["word", "none", "average"])
def test_a_stream_gives_what_arguments_give(
    strategy: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--aggregation-strategy", strategy, "-q"]
    assert main(["predict", str(model), *TEXTS, *words, "--json", str(tmp_path / "p.json")]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(TEXTS) + "\n"))
    capsys.readouterr()
    assert main(["predict", str(model), *words, "--json", "-"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == json.loads((tmp_path / "p.json").read_text("utf-8"))
    found = json.loads(out)
    assert [each["text"] for each in found] == TEXTS
    assert any(each["entities"] for each in found)
    kind = "entity" if strategy == "none" else "entity_group"
    assert all(
        {kind, "score", "word", "start", "end"} <= set(entity)
        for each in found
        for entity in each["entities"]
    )


def test_who_types_is_answered_line_by_line(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Typed(io.StringIO):
        seen: list[int] = []

        def isatty(self) -> bool:
            return True

        def __next__(self) -> str:
            self.seen.append(capsys.readouterr().out.count("Bonjour"))
            return super().__next__()

    monkeypatch.setattr("sys.stdin", Typed("Bonjour\nBonjour\n"))
    assert main(["predict", str(model), "-q"]) == 0
    assert Typed.seen[0] == 0
    assert Typed.seen[1] >= 1  # the first answer was printed before the second line was read


def test_nothing_on_standard_input(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["predict", str(model), "--json", "-", "-q"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_annotated_text(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "new" / "out.jsonl"
    source.write_text("\n".join(TEXTS) + "\n", "utf-8")
    assert main(["annotate", str(model), str(source), "-o", str(out), "-q"]) == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    assert any(row["entities"] for row in rows)
    assert all(e["word"] == row["text"][e["start"] : e["end"]] for row in rows for e in row["entities"])
    assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"]


def test_annotated_json_lines_keep_what_they_hold(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given = [{"id": 7, "text": "Marie \ud83d à Paris", "meta": {"a": [1]}}, {"text": "é\u2028"}]
    source.write_text(json.dumps(given[0]) + "\n\n" + json.dumps(given[1], ensure_ascii=False), "utf-8")
    assert main(["annotate", str(model), str(source), "-o", str(out), "-q"]) == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").split("\n") if line]
    assert [{key: row[key] for key in row if key != "entities"} for row in rows] == given


def test_annotated_conll(
    model: Path, shared_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.conll"
    assert (
        main(["annotate", str(model), str(shared_corpus / "test.conll"), "-o", str(out), "--json", "-", "-q"])
        == 0
    )
    gold, found = list(open_corpus(shared_corpus / "test.conll")), list(open_corpus(out))
    assert [s.words for s in found] == [s.words for s in gold]
    assert [list(s.tags) for s in found] == load_tagger(model).tag([s.words for s in gold])
    assert json.loads(capsys.readouterr().out)["annotated"] == len(gold)


def test_words_alone_are_enough_and_documents_stay(model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in.conll", tmp_path / "out.conll"
    source.write_text("-DOCSTART- O\n\nMarie\nCurie\n\n\n-DOCSTART- O\n\nParis\n", "utf-8")
    assert main(["annotate", str(model), str(source), "-o", str(out), "-q"]) == 0
    assert [(s.words, s.document) for s in open_corpus(out)] == [(("Marie", "Curie"), 0), (("Paris",), 1)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.jsonl", b'{"text": "a"}\n{"txt": "b"}\n', "in.jsonl:2: expected an object whose"),
        ("in.jsonl", b'{"text": "a"}\nnope\n', "in.jsonl:2: not JSON"),
        ("in.txt", b"Marie\n\xff\n", "in.txt:2: not UTF-8"),
        ("in.conll", b"Marie O\n\tO\n", "in.conll:2: the word is empty"),
        ("in.conll", b"\n\n", "the file is empty, expected sentences"),
        ("in.txt", b"", "the file is empty, expected texts"),
    ],
)
def test_bad_input_is_one_line_and_loses_nothing(
    name: str, content: bytes, said: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / name, tmp_path / "out"
    source.write_bytes(content)
    out.write_text("old")
    assert main(["annotate", str(model), str(source), "-o", str(out), "-q"]) == 1
    assert said in line_of(capsys)
    assert out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {name, "out"}


def test_wrong_files_and_names_are_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.txt"
    source.write_text("Marie\n")
    words = (tmp_path / "in.conll", tmp_path / "out")
    words[0].write_text("Marie\n")
    for arguments, said in (
        ([tmp_path / "nope.txt", "-o", words[1]], "no such file"),
        ([tmp_path, "-o", words[1]], "this is a folder"),
        ([source, "-o", tmp_path], "is a folder, expected a file to write"),
        ([source, "-o", source], "is the file that is read"),
        ([words[0], "-o", words[1], "--aggregation-strategy", "max"], "is for raw text"),
        ([source, "-o", words[1], "--aggregation-strategy", "maxx"], "did you mean 'max'"),
    ):
        assert main(["annotate", "no/such/model/at/all", *map(str, arguments), "-q"]) == 1
        assert said in line_of(capsys)
    assert source.read_text() == "Marie\n"
    assert main(["predict", "no/such/model/at/all", "Marie", "--aggregation-strategy", "frist", "-q"]) == 1
    assert "did you mean 'first'" in line_of(capsys)


WAYS = (
    ["{texts}", "--redact"],
    ["--redact", "{texts}"],
    ["--redact=type", "{texts}"],
    ["--redact", "-q", "--threads", "1", "<"],
)


@pytest.mark.parametrize("way", WAYS)
def test_redacted_texts_however_they_are_given(
    way: list[str],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = [TEXTS[0], "Aujourd'hui, Élodie et Léa.", TEXTS[2]]
    found = load_tagger(model).predict_batch(texts)
    expected = [redact(text, entities) for text, entities in zip(texts, found, strict=True)]
    assert all(each.replacements for each in expected)
    words = [word for part in way if part != "<" for word in (texts if part == "{texts}" else [part])]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts)))
    assert main(["predict", str(model), *words, "--json", str(tmp_path / "p.json")]) == 0
    assert capsys.readouterr().out.splitlines() == [each.text for each in expected]
    results = json.loads((tmp_path / "p.json").read_text("utf-8"))
    assert [each["text"] for each in results] == [each.text for each in expected]
    for given, each in zip(results, expected, strict=True):
        assert [(e["word"], e["start"], e["end"]) for e in given["entities"]] == [
            (e.word, e.start, e.end) for e in each.entities
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]  # no map unless asked for


@pytest.mark.parametrize("style", ["type", "pseudonym"])
def test_the_map_leads_back_and_is_the_owners_alone(
    style: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    map_file = tmp_path / "new" / "map.jsonl"
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(TEXTS) + "\n"))
    before = os.umask(0)
    try:
        assert (
            main(
                [
                    "predict",
                    str(model),
                    f"--redact={style}",
                    "--redact-map",
                    str(map_file),
                    "--json",
                    "-",
                    "-q",
                ]
            )
            == 0
        )
    finally:
        os.umask(before)
    said = capsys.readouterr()
    redacted = [each["text"] for each in json.loads(said.out)]
    assert said.err.splitlines() == redacted != TEXTS
    assert map_file.stat().st_mode & 0o777 == 0o600
    rows = [json.loads(line) for line in map_file.read_text("utf-8").splitlines()]
    assert [
        restore(text, [Replacement(**each) for each in row["map"]])
        for text, row in zip(redacted, rows, strict=True)
    ] == TEXTS
    assert main(["predict", str(model), "Marie", "--redact", "--redact-map", str(map_file), "-q"]) == 1
    assert "is there already and would be lost" in line_of(capsys)
    assert len(map_file.read_text("utf-8").splitlines()) == len(TEXTS)


def test_a_document_is_one_text_with_the_same_pseudonyms_throughout(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = "Aujourd'hui, Élodie et Léa.\n\n  Léa habite à Paris.\n\nMarie Duval a vu Élodie.\n"
    words, map_file = [str(model), "--document", "--redact=pseudonym", "-q"], tmp_path / "map.jsonl"
    monkeypatch.setattr("sys.stdin", io.StringIO(document))
    assert main(["predict", *words, "--redact-map", str(map_file), "--json", str(tmp_path / "p.json")]) == 0
    out = capsys.readouterr().out
    expected = redact(document[:-1], load_tagger(model).predict(document[:-1]), style="pseudonym")
    assert len({each.word for each in expected.replacements}) > 1
    assert out == expected.text + "\n"
    [result] = json.loads((tmp_path / "p.json").read_text("utf-8"))
    [row] = map(json.loads, map_file.read_text("utf-8").splitlines())
    assert restore(result["text"], [Replacement(**each) for each in row["map"]]) + "\n" == document


def test_a_redacted_stream_is_answered_before_it_ends(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Counted(io.StringIO):
        read, answered, most_ahead = 0, 0, 0

        def __next__(self) -> str:
            line = super().__next__()
            Counted.read += 1
            Counted.answered += capsys.readouterr().out.count("\n")
            Counted.most_ahead = max(Counted.most_ahead, Counted.read - Counted.answered)
            return line

    monkeypatch.setattr("sys.stdin", Counted("Bonjour Léa\n" * 2500))
    assert main(["predict", str(model), "--redact", "-q"]) == 0
    assert Counted.read == 2500
    assert Counted.most_ahead <= 1025  # what is read ahead for sorting by length, however long the stream


@pytest.mark.parametrize(
    ("words", "style"),
    [
        (["--redact", "pseudonym", "Marie"], ["--redact=pseudonym", "Marie"]),
        (["--redact", "type"], ["--redact=type"]),
        (["--redact", "Marie"], ["--redact=type", "Marie"]),
        (["Marie", "--redact"], ["Marie", "--redact=type"]),
        (["type"], ["type"]),
    ],
)
def test_redact_takes_a_style_and_no_text(words: list[str], style: list[str]) -> None:
    assert with_style(["predict", "m", *words]) == ["predict", "m", *style]


def test_wrong_redactions_are_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, file = "Marie vit à Paris.", tmp_path / "map.jsonl"
    for arguments, said in (
        (
            [text, "--redact=pseudonim"],
            "no redaction style 'pseudonim', expected one of type, pseudonym; did you mean 'pseudonym'?",
        ),
        ([text, "--redact", "--aggregation-strategy", "none"], "strategy none gives pieces"),
        ([text, "--redact", "--redact-map", tmp_path], "is a folder, expected a file"),
        (
            [text, "--document"],
            "--document reads standard input as one text, but 1 TEXT came too; type: --document < FILE",
        ),
        (["--document", "--redact=type", text, text], "but 2 TEXTs came too"),
        (
            [text, "--redact-map", file],
            "--redact-map is for what --redact replaces; say --redact=pseudonym too",
        ),
        (
            [text, "--redact", "--redact-map", file, "--json", tmp_path / "x" / ".." / "map.jsonl"],
            "both name",
        ),
    ):
        assert main(["predict", "no/such/model/at/all", *map(str, arguments), "-q"]) == 1
        assert said in line_of(capsys)
    assert not list(tmp_path.iterdir())
