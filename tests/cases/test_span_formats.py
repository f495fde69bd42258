"""Data as character spans, as tools for annotation and other libraries write it (wished for in issue 15)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from affineur.cli.main import main
from affineur.errors import DataError
from affineur.steps.core.context import CALIBRATION
from affineur.transfer import load_corpus
from affineur.transfer.formats.core.format import find_format

TEXT = "😀 Marie Dupont vit à Paris.\nElle dort."
WANTED = [
    ["😀/O", "Marie/B-PER", "Dupont/I-PER", "vit/O", "à/O", "Paris/B-LOC", "./O"],
    ["Elle/O", "dort/O", "./O"],
]


def task(start: int, end: int, label: str, words: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": words, "labels": [label]}
    return {"id": "a", "from_name": "label", "to_name": "text", "type": "labels", "value": value}


RECORDS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "annotated": (
        "annotated",
        [
            {
                "text": TEXT,
                "entities": [
                    {"entity_group": "PER", "word": "Marie Dupont", "start": 2, "end": 14},
                    {"entity_group": "LOC", "word": "Paris", "start": 21, "end": 26},
                ],
            }
        ],
    ),
    "entities with label": (
        "annotated",
        [
            {
                "text": TEXT,
                "entities": [
                    {"label": "PER", "start": 2, "end": 14},
                    {"label": "LOC", "start": 21, "end": 26},
                ],
            }
        ],
    ),
    "doccano label": ("doccano", [{"id": 1, "text": TEXT, "label": [[2, 14, "PER"], [21, 26, "LOC"]]}]),
    "doccano data": ("doccano", [{"id": 1, "data": TEXT, "label": [[21, 26, "LOC"], [2, 14, "PER"]]}]),
    "doccano labels": ("doccano", [{"text": TEXT, "labels": [[21, 26, "LOC"], [2, 14, "PER"]]}]),
    "doccano relations": (
        "doccano",
        [
            {
                "id": 1,
                "text": TEXT,
                "relations": [],
                "entities": [
                    {"id": 1, "label": "PER", "start_offset": 2, "end_offset": 14},
                    {"id": 2, "label": "LOC", "start_offset": 21, "end_offset": 26},
                ],
            }
        ],
    ),
    "prodigy": (
        "prodigy",
        [
            {
                "text": TEXT,
                "spans": [{"start": 2, "end": 14, "label": "PER"}, {"start": 21, "end": 26, "label": "LOC"}],
                "answer": "accept",
            }
        ],
    ),
    "label studio, offsets of JavaScript": (
        "label-studio",
        [
            {
                "id": 1,
                "data": {"text": TEXT},
                "annotations": [
                    {
                        "result": [task(3, 15, "PER", "Marie Dupont"), task(22, 27, "LOC", "Paris")],
                        "was_cancelled": False,
                    }
                ],
            }
        ],
    ),
    "label studio, code points": (
        "label-studio",
        [
            {
                "id": 1,
                "data": {"text": TEXT},
                "annotations": [
                    {"result": [task(2, 14, "PER", "Marie Dupont"), task(21, 26, "LOC", "Paris")]}
                ],
                "predictions": [],
            }
        ],
    ),
    "label studio, JSON-MIN": (
        "label-studio",
        [
            {
                "text": TEXT,
                "id": 1,
                "annotator": 1,
                "annotation_id": 3,
                "lead_time": 2.5,
                "label": [
                    {"start": 3, "end": 15, "text": "Marie Dupont", "labels": ["PER"]},
                    {"start": 22, "end": 27, "text": "Paris", "labels": ["LOC"]},
                ],
            }
        ],
    ),
    "spacy 3": (
        "spacy-json",
        [
            {
                "text": TEXT,
                "ents": [{"start": 2, "end": 14, "label": "PER"}, {"start": 21, "end": 26, "label": "LOC"}],
                "tokens": [{"id": 0, "start": 0, "end": 1}],
            }
        ],
    ),
}


def read(path: Path) -> list[list[str]]:
    return [[f"{w}/{t}" for w, t in zip(s.words, s.tags, strict=True)] for s in load_corpus(path)]


@pytest.mark.parametrize("array", [False, True], ids=["lines", "array"])
@pytest.mark.parametrize("name", RECORDS)
def test_a_record(name: str, array: bool, tmp_path: Path) -> None:
    form, records = RECORDS[name]
    path = tmp_path / ("a.json" if array else "a.jsonl")
    path.write_text(json.dumps(records) if array else "\n".join(map(json.dumps, records)), encoding="utf-8")
    assert find_format(path)[0] == form
    assert read(path) == WANTED


def test_what_annotate_writes_is_data(shared_int8: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Marie Duval vit à Paris.\n\nElle dort à Lyon.\n", encoding="utf-8")
    assert (
        main(["annotate", str(shared_int8), str(tmp_path / "a.txt"), "-o", str(tmp_path / "b.jsonl"), "-q"])
        == 0
    )
    assert find_format(tmp_path / "b.jsonl")[0] == "annotated"
    words = [word for sentence in load_corpus(tmp_path / "b.jsonl") for word in sentence.words]
    assert words == ["Marie", "Duval", "vit", "à", "Paris", ".", "Elle", "dort", "à", "Lyon", "."]


@pytest.mark.parametrize(
    "mark", [[0, 1, "PER"], [0, 1, "person", 0.9], {"start": 0, "end": 1, "label": "PER"}]
)
def test_gliner(mark: Any, tmp_path: Path) -> None:
    """GLiNER's last word is inside (urchade/GLiNER, data/process_pilener.py)."""
    (tmp_path / "a.json").write_text(
        json.dumps([{"tokenized_text": ["Marie", "Dupont", "dort"], "ner": [mark]}])
    )
    kind = mark[2] if isinstance(mark, list) else "PER"
    assert read(tmp_path / "a.json") == [[f"Marie/B-{kind}", f"Dupont/I-{kind}", "dort/O"]]


def test_spacy_2(tmp_path: Path) -> None:
    tokens = [
        {"orth": "Marie", "ner": "B-PER"},
        {"orth": "Dupont", "ner": "L-PER"},
        {"orth": "rit", "ner": "O"},
    ]
    record = {
        "id": 0,
        "paragraphs": [{"raw": "Marie Dupont rit", "sentences": [{"tokens": tokens, "brackets": []}]}],
    }
    (tmp_path / "a.json").write_text(json.dumps([record]))
    assert read(tmp_path / "a.json") == [["Marie/B-PER", "Dupont/L-PER", "rit/O"]]
    tokens[2]["ner"] = "-"
    (tmp_path / "a.json").write_text(json.dumps([record]))
    with pytest.raises(DataError, match="row 1: the entity of 'rit' is - "):
        read(tmp_path / "a.json")


def test_spacy_binary(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin

    document = spacy.blank("fr")(TEXT)
    document.ents = [document.char_span(2, 14, label="PER"), document.char_span(21, 26, label="LOC")]
    DocBin(docs=[document]).to_disk(tmp_path / "a.spacy")
    assert read(tmp_path / "a.spacy") == WANTED
    DocBin(docs=[spacy.blank("fr")("Rien n'est dit.")]).to_disk(tmp_path / "a.spacy")
    with pytest.raises(DataError, match="nobody has said which entities"):
        read(tmp_path / "a.spacy")
    (tmp_path / "a.spacy").write_bytes(b"\x78\x9cno")
    with pytest.raises(DataError, match="not a file of spaCy's documents"):
        read(tmp_path / "a.spacy")


def brat(folder: Path, text: str, marks: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_bytes(text.encode())
    (folder / "a.ann").write_text(marks, encoding="utf-8")
    return folder


def test_brat(tmp_path: Path) -> None:
    marks = "T1\tPER 2 14\tMarie Dupont\nT2\tLOC 21 26\tParis\n"
    marks += "R1\tlives Arg1:T1 Arg2:T2\n#1\tAnnotatorNotes T1\tok\n"
    folder = brat(tmp_path / "corpus", TEXT, marks)
    (folder / "b.txt").write_text("Personne n'a lu ceci.", encoding="utf-8")
    corpus = load_corpus(folder)
    assert [[f"{w}/{t}" for w, t in zip(s.words, s.tags, strict=True)] for s in corpus] == WANTED
    assert "1 text passed over: each has no .ann file beside it" in corpus.notes


def test_brat_counts_both_characters_of_a_line_end(tmp_path: Path) -> None:
    folder = brat(tmp_path / "corpus", "Bonjour.\r\nMarie dort.", "T1\tPER 10 15\tMarie\n")
    assert read(folder) == [["Bonjour/O", "./O"], ["Marie/B-PER", "dort/O", "./O"]]


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ("T1\tPER 0 5;9 12\tMarie xxx\n", r"has gaps \(0 5;9 12\)"),
        ("T1\tPER 1 6\tMarie\n", "is said to be 'Marie', but the text has"),
        ("T1 PER 0 5 Marie\n", "expected a mark as in"),
        ("hello\n", "expected a mark as in"),
        ("T1\tPER 0 99\n", "lies outside the text"),
    ],
)
def test_brat_refuses(marks: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        load_corpus(brat(tmp_path / "corpus", "Marie dort.", marks))


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            [{"text": "Marie", "entities": [{"entity_group": "PER", "start": 0, "end": 9}]}],
            "lies outside the text",
        ),
        ([{"text": "Marie", "entities": [{"entity_group": "PER", "start": 0}]}], "expected start, end and"),
        (
            [{"text": "Marie", "entities": [{"entity": "I-PER", "index": 1, "start": 0, "end": 5}]}],
            "pieces of words",
        ),
        ([{"text": "Marie", "label": [[0, 5, "PER"], [2, 5, "LOC"]]}], "overlap"),
        ([{"text": "Marie", "label": [[0, 5]]}], "expected .start, end, type"),
        ([{"text": "Marie", "label": [["0", "5", "PER"]]}], "expected two whole numbers"),
        ([{"text": "Marie", "label": [[0, 5, "PER"]]}, {"text": "Luc"}], "row 2: has no label"),
        ([{"data": {"text": "Marie"}, "annotations": [{"result": []}, {"result": []}]}], "has 2 annotations"),
        (
            [{"data": {"text": "Marie"}, "annotations": [{"result": [task(0, 5, "PER", "Lucie")]}]}],
            "is said to be",
        ),
        ([{"tokenized_text": ["a", "b"], "ner": [[0, 2, "PER"]]}], "the words go from 0 to 1"),
        ([{"tokenized_text": ["a", "b"], "ner": [[0, 1, "PER"], [1, 1, "LOC"]]}], "overlaps|say only one"),
    ],
)
def test_what_cannot_be_right_is_refused(records: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    with pytest.raises(DataError, match=said) as caught:
        load_corpus(tmp_path / "a.jsonl")
    assert "row" in str(caught.value)


def test_what_nobody_annotated_is_no_gold(tmp_path: Path) -> None:
    open_task = {"id": 2, "data": {"text": "Luc rit."}, "annotations": [], "predictions": [{"result": []}]}
    skipped = {"id": 3, "data": {"text": "Luc rit."}, "annotations": [{"result": [], "was_cancelled": True}]}
    records = [*RECORDS["label studio, code points"][1], open_task, skipped]
    (tmp_path / "a.json").write_text(json.dumps(records), encoding="utf-8")
    corpus = load_corpus(tmp_path / "a.json")
    assert len(corpus) == 2
    assert any(note.startswith("2 texts passed over") for note in corpus.notes)
    rejected = {"text": "Luc rit.", "spans": [], "answer": "reject"}
    (tmp_path / "a.jsonl").write_text(json.dumps(RECORDS["prodigy"][1][0]) + "\n" + json.dumps(rejected))
    assert any("was rejected or ignored" in note for note in load_corpus(tmp_path / "a.jsonl").notes)


def test_brat_in_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        brat(tmp_path / split, f"Marie dort au {split}.", "T1\tPER 0 5\tMarie\n")
    assert next(iter(load_corpus(tmp_path, "dev"))).words == ("Marie", "dort", "au", "dev", ".")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "Marie dort.\nLuc rit.\n", 6),
        ("a.txt", "Lucie Faure\nHugo Blanc\n", 4),
        ("a.txt", "Marie\tB-PER\ndort\tO\n", 2),
        ("a.txt", "Marie O\ndort O\n", 2),
        ("a.conll", "Marie B-PER\ndort O\n", 2),
        ("a.jsonl", '{"text": "Marie dort.\\nLuc rit."}\n{"text": "Oui"}\n', 7),
        ("a.jsonl", '{"tokens": ["Marie", "dort"], "ner_tags": ["B-PER", "O"]}\n', 2),
        ("note", "Marie dort.\n", 3),
    ],
)
def test_calibration_text_needs_no_labels(name: str, text: str, words: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert load_corpus(tmp_path / name, "train", CALIBRATION).words == words


def test_labels_are_wanted_where_they_are_needed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Marie dort.\nLuc rit.\n", encoding="utf-8")
    with pytest.raises(DataError):
        load_corpus(tmp_path / "a.txt")


def test_what_is_passed_over_is_counted_anew_by_each_reading(tmp_path: Path) -> None:
    rejected = {"text": "Luc rit.", "spans": [], "answer": "reject"}
    (tmp_path / "a.jsonl").write_text(
        "\n" + json.dumps(rejected) + "\n" + json.dumps(RECORDS["prodigy"][1][0]), encoding="utf-8"
    )
    corpus = load_corpus(tmp_path / "a.jsonl")
    assert [len(list(corpus)) for _ in range(2)] == [2, 2]
    assert [note for note in load_corpus(tmp_path / "a.jsonl").notes if "passed over" in note] == [
        "1 text passed over: each was rejected or ignored"
    ]
