"""What a user types for a model: prefixes, names, digests, and what is known of each kind."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file, save_file

from affineur.cli.main import main
from affineur.errors import AffineurError, ModelError
from affineur.pipeline import candidate, load, load_any, model_digest, model_name
from affineur.pipeline.models import Reference, facts
from affineur.runtime import FixedBatches

WORDS = [["Marie", "vit", "à", "Paris", "."], ["Il", "pleut", "\ud83d"], [], ["long"] * 80] * 12


@pytest.mark.parametrize(
    ("text", "prefix", "rest", "kind"),
    [
        ("sample", "", "sample", "transformers"),
        ("owner/name", "", "owner/name", "transformers"),
        ("torch-int8:sample", "torch-int8:", "sample", "torch-int8"),
        ("guide:./a b", "guide:", "./a b", "guide"),
        ("spacy:fr_core_news_md", "spacy:", "fr_core_news_md", "spacy"),
        ("SPACY:x", "", "SPACY:x", "transformers"),
        ("spacy", "", "spacy", "transformers"),
        ("guide:spacy:x", "guide:", "spacy:x", "guide"),  # only the first is a prefix
        ("", "", "", "transformers"),
        (Path("guide:x"), "guide:", "x", "guide"),
    ],
)
def test_references(text: str | Path, prefix: str, rest: str, kind: str) -> None:
    parsed = Reference.parse(text)
    assert (parsed.prefix, parsed.rest, parsed.kind) == (prefix, rest, kind)
    assert parsed.prefix + parsed.rest == str(text)


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "student").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs")
    for typed in (
        "student",
        "./student",
        "student/",
        str(tmp_path / "runs" / "student"),
        "student/../student",
        "../runs/student/.",
    ):
        assert model_name(typed) == "student"
        for prefix in ("guide:", "torch-int8:", "spacy:"):
            assert model_name(prefix + typed) == prefix + "student"
    assert model_name(Path("student")) == "student"
    assert model_name(".") == "runs"
    assert model_name("owner/name") == "owner/name"
    assert model_name("spacy:fr_core_news_md") == "spacy:fr_core_news_md"


def test_digests_differ_by_how_a_model_is_run_and_by_its_weights(
    tiny_model, shared_model, tmp_path: Path
) -> None:
    model, other = tiny_model(), shared_model("camembert", seed=8)
    digests = [
        model_digest(prefix + str(folder))
        for prefix in ("", "guide:", "torch-int8:")
        for folder in (model, other)
    ]
    assert len(set(digests)) == 6
    copy = shutil.copytree(model, tmp_path / "elsewhere")
    assert model_digest(copy) == digests[0], "a copy is the same model"


def test_digests_of_peers(tmp_path: Path) -> None:
    pytest.importorskip("spacy", reason="spaCy is not installed: pip install 'affineur[peers]'")
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
    one, two = (model_digest(f"spacy:{tmp_path / name}") for name in "ab")
    assert one != two
    (tmp_path / "a" / "weights").write_text("changed")
    assert model_digest(f"spacy:{tmp_path / 'a'}") != one
    with pytest.raises(ModelError, match="no package fr_core_news_nope is installed"):
        model_digest("spacy:fr_core_news_nope")


def test_every_way_to_run_a_model_gives_its_tags(shared_model) -> None:
    model = str(shared_model("camembert"))
    tags = load(model).tag(WORDS)
    assert load_any(model).tag(WORDS) == tags
    assert load_any(model).whole().tag(WORDS) == tags
    assert load_any(f"guide:{model}").whole().tag(WORDS) == tags
    guide = load_any(f"guide:{model}")
    assert isinstance(guide, FixedBatches)
    assert guide.tag(WORDS) == tags
    int8 = load_any(f"torch-int8:{model}")
    assert [len(row) for row in int8.tag(WORDS)] == [len(row) for row in tags]
    assert int8.labels == guide.labels == load(model).labels


def test_the_guide_takes_32_as_they_come(shared_model, monkeypatch: pytest.MonkeyPatch) -> None:
    guide: Any = load_any(f"guide:{shared_model('camembert')}")
    seen: list[list[int]] = []
    behind = guide.whole()
    forward = behind.window_logits
    monkeypatch.setattr(
        behind,
        "window_logits",
        lambda windows: (seen.append(sorted(w.sentence for w in windows)), forward(windows))[1],
    )
    sentences = [["un"] * (1 + i % 7) for i in range(70)]
    guide.tag(sentences)
    assert seen == [list(range(32)), list(range(32)), list(range(6))]


def test_facts_of_each_kind(shared_model) -> None:
    folder = shared_model("camembert")
    weights = load_file(folder / "model.safetensors")
    plain, guide, int8 = (facts(prefix + str(folder)) for prefix in ("", "guide:", "torch-int8:"))
    assert [f.kind for f in (plain, guide, int8)] == ["transformers", "guide", "torch-int8"]
    for found in (plain, guide, int8):
        assert found.layers == 3
        assert found.parameters == sum(w.size for w in weights.values())
        assert found.nonzero == sum(int((w != 0).sum()) for w in weights.values())
        assert found.sparsity == 0
    for found in (plain, guide):
        assert found.size_bytes == (folder / "model.safetensors").stat().st_size
        assert sum(found.parts.values()) == sum(w.nbytes for w in weights.values()) <= found.size_bytes
    assert (int8.size_bytes, int8.parts) == (0, {})
    tagger = load(f"torch-int8:{folder}")
    buffer = io.BytesIO()
    torch.save(tagger.model.state_dict(), buffer)
    reference = Reference.parse(f"torch-int8:{folder}")
    assert reference.engine.facts(reference, tagger).size_bytes == len(buffer.getvalue()) < plain.size_bytes


def test_facts_of_a_pruned_model(tiny_model) -> None:
    folder = tiny_model()
    before = facts(folder).nonzero
    weights = load_file(folder / "model.safetensors")
    weights["roberta.encoder.layer.1.intermediate.dense.weight"][:] = 0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    found = facts(folder)
    in_scope = 3 * (4 * 32 * 32 + 2 * 32 * 48)
    assert found.sparsity == pytest.approx(32 * 48 / in_scope)
    assert before is not None
    assert found.nonzero == before - 32 * 48


def test_candidates(shared_model) -> None:
    model = shared_model("camembert")
    found = candidate(f"guide:{model}")
    assert (found.name, found.layers, found.size_bytes) == (
        "guide:camembert",
        3,
        (model / "model.safetensors").stat().st_size,
    )
    assert candidate(f"torch-int8:{model}", name="mine").name == "mine"
    assert candidate(f"torch-int8:{model}").size_bytes > 0


@pytest.mark.parametrize(
    "text",
    [
        "guide:guide:sample",
        "torch-int8:spacy:x",
        "guide:",
        "",
        "torch-int8:/not/there",
        "a\0b",
        "guide:a b/c d/e",
    ],
)
def test_what_is_no_model_is_one_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AffineurError) as error:
        load_any(text)
    assert len(str(error.value).splitlines()) == 1


PEER = (
    "spacy:fr_core_news_md is a spaCy pipeline: "
    "it can be measured (evaluate, compare, benchmark, check), nothing else"
)


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "spacy:fr_core_news_md", "Marie vit à Paris."],
        ["prune", "spacy:fr_core_news_md", "-o", "out"],
        ["info", "spacy:fr_core_news_md"],
        ["distill", "spacy:fr_core_news_md", "--layers", "2", "--data", "sample", "-o", "out"],
        ["recover", "spacy:fr_core_news_md", "--data", "sample", "-o", "out"],
        ["info", "guide:/not/there"],
        ["info", "torch-int8:/not/there"],
        ["prune", "guide:/not/there", "-o", "out"],
        ["evaluate", "guide:/not/there", "--data", "sample"],
        ["evaluate", "spacy:fr_core_news_nope", "--data", "sample"],
        ["benchmark", "sample", "--rounds", "0"],
    ],
)
def test_what_a_command_cannot_use_is_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "-q"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("affineur: ")
    assert not (tmp_path / "out").exists()


def test_a_peer_says_what_it_is_good_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "spacy:fr_core_news_md", "Marie vit à Paris.", "-q"]) == 1
    assert capsys.readouterr().err == f"affineur: {PEER}\n"


@pytest.mark.parametrize("prefix", ["guide:", "torch-int8:"])
@pytest.mark.parametrize("command", [["info"], ["prune", "--sparsity", "0.1", "-o", "out"]])
def test_a_way_to_run_a_model_is_no_folder(
    prefix: str,
    command: list[str],
    shared_model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    reference = f"{prefix}{shared_model('camembert')}"
    assert main([command[0], reference, *command[1:], "-q"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert prefix in said
    assert not (tmp_path / "out").exists()
