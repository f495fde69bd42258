"""Model cards: what they say, and how to make the model again."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from affineur.artifact import (
    CARD,
    Carried,
    Manifest,
    Parent,
    card_text,
    describe,
    open_folder,
    write_card,
    write_manifest,
)
from affineur.artifact.card import licensed_card

from .cards import DATA, DISTILL, GIVEN, PRUNED, SCORED, front, state, text_of

# ---- what it says


def test_the_hubs_library_reads_the_scores(artifact: Path) -> None:
    assert write_card(artifact, SCORED)
    card = ModelCard.load(artifact / CARD)
    results = {result.metric_type: result for result in card.data.eval_results}
    assert {kind: result.metric_value for kind, result in results.items()} == pytest.approx(
        {"f1": SCORED.f1, "precision": 0.85, "recall": 0.84, "accuracy": 0.97}, abs=1e-6
    )
    f1 = results["f1"]
    assert (f1.task_type, f1.dataset_name, f1.dataset_type, f1.dataset_split) == (
        "token-classification",
        "test.conll",
        "test-conll",
        "test",
    )
    assert f1.dataset_args == {"sha256": SCORED.data_digest}
    assert f1.metric_args == {"f1_low": 0.8312, "f1_high": 0.8599, "confidence": 0.95}
    assert "95 % interval 0.831 to 0.860" in f1.metric_name
    assert card.data.model_name == artifact.name
    assert card.data.metrics == ["f1", "precision", "recall", "accuracy"]
    assert (card.data.pipeline_tag, card.data.library_name) == ("token-classification", "transformers")
    assert (card.data.base_model, card.data.base_model_relation) == ("teacher", "finetune")
    assert card.data.tags == ["affineur", "token-classification", "ner", "distilled", "pruned"]
    assert card.data.to_dict().get("datasets") is None
    assert card.data.to_dict()["widget"] == [
        {"text": "Marie Curie a reçu le prix Nobel de physique à Stockholm en 1903."}
    ]


def test_the_hubs_library_writes_it_back_unchanged(artifact: Path) -> None:
    write_card(artifact, SCORED)
    card = ModelCard.load(artifact / CARD)
    assert yaml.safe_load(card.data.to_yaml()) == yaml.safe_load(text_of(artifact).split("---\n")[1])


def test_no_french_sentence_is_shown_to_a_model_of_another_language(artifact: Path) -> None:
    info = describe(artifact)
    for language, shown in (("de", False), (["fr", "de"], True), (None, True)):
        text = card_text(info, PRUNED, None, Carried({"language": language} if language else {}))
        assert ("widget" in text) is shown


def test_a_license_chosen_by_who_publishes_comes_before_the_one_carried(artifact: Path) -> None:
    (artifact / CARD).unlink(missing_ok=True)
    write_card(artifact)
    text = text_of(artifact).replace("---\n", "---\nlicense: cc-by-nc-4.0\nlicense_link: LICENSE\n", 1)
    (artifact / CARD).write_text(text, "utf-8")
    before = state(artifact)
    published = licensed_card(artifact, "mit")
    assert state(artifact) == before
    assert metadata_of(published)["license"] == "mit"
    assert "license_link" not in metadata_of(published)
    assert (
        "`mit`, as whoever published this model chose. The card of the model it comes from says" in published
    )
    assert "`cc-by-nc-4.0`" in published


@pytest.mark.parametrize(
    "text", ["# Mine\n", "---\nlicense: other\nlicense_name: x\ntags: [a]\n---\n# Mine\n"]
)
def test_a_card_written_by_hand_gets_the_license_alone(text: str, artifact: Path) -> None:
    (artifact / CARD).write_text(text, "utf-8")
    published = licensed_card(artifact, "mit")
    assert metadata_of(published) == {"license": "mit"} | ({"tags": ["a"]} if "tags" in text else {})
    assert published.endswith("# Mine\n")


def metadata_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_what_a_reader_sees(artifact: Path) -> None:
    write_card(artifact, SCORED)
    text = text_of(artifact)
    info = describe(artifact)
    assert f"{info.parameters:,} parameters" in text
    assert "3 encoder layers" in text
    assert f"{info.sparsity:.2%} of the attention and feed-forward weights" in text
    assert "of the whole model" in text
    assert f"digest `{open_folder(artifact).digest()[:12]}`" in text
    assert (
        "2. from `student_11L`: distill, digest `d1d1d1d1d1d1`\n"
        "3. from `teacher`: given, digest `d2d2d2d2d2d2`" in text
    )
    assert "`O`, `I-LOC`, `I-PER`, `I-MISC`, `I-ORG`" in text
    assert "**F1 84.51%** (95 % interval 83.1–86.0)" in text
    assert "| PER | 90.00% | 88.0–92.0 | 91.00% | 89.00% | 1,200 |" in text
    assert "| MISC | no gold mention | – | – | – | 0 |" in text
    assert "F1 lost against `teacher`: +0.42 points (95 % interval -0.10 to +0.94" in text
    assert "| a\\|b | 84.51% |" in text
    assert "- 541 sentences of student_data.\n- Measured on a Monday." in text
    assert "affineur evaluate student_11L_pruned --data DIR" in text
    assert "recipe with the digest `0a0a0a0a0a0a`" in text
    assert "train `train.conll` (2,400 sentences, digest `abababababab`)" in text
    assert "It learned from `train.conll`, after whatever `teacher` had learned from." in text
    assert "The scores above are those of `test.conll` alone" in text
    assert "Not measured" not in text
    assert "secret" not in text.replace(
        str(artifact), ""
    )  # where things lay on this machine is nobody's business
    assert re.search(r"## Environment\n\nPython 3", text)


def test_without_scores_it_says_how_to_get_them(artifact: Path) -> None:
    write_card(artifact)
    text = text_of(artifact)
    assert f"Not measured yet: `affineur evaluate {artifact.name} --data DATA --card`" in text
    assert "model-index" not in front(artifact)
    assert "metrics" not in front(artifact)


def test_dev_scores_are_told_for_what_they_are(artifact: Path) -> None:
    info = describe(artifact)
    last = card_text(info, replace(PRUNED, scores={"dev_f1": [0.5, 0.9, 0.7]}))
    assert (
        "On dev data, while it was made: F1 70.00%. "
        "Decisions may have been made on that data: it is no test score." in last
    )
    assert "F1 90.00%" in card_text(
        info, replace(PRUNED, parameters={"keep_best": True}, scores={"dev_f1": [0.5, 0.9, 0.7]})
    )
    for odd in ([], None, "x", {"a": 1}, ["x"]):
        assert "On dev data" not in card_text(info, replace(PRUNED, scores={"dev_f1": odd}))


def test_zeros_and_half_precision_are_limits(tiny_model) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tiny_model(dtype="float16")
    assert "half precision" in card_text(describe(folder), PRUNED)
    assert "neither smaller nor faster" not in card_text(describe(folder), PRUNED)
    weights = load_file(folder / "model.safetensors")
    name = next(n for n in weights if n.endswith("query.weight"))
    save_file(
        {**weights, name: torch.zeros_like(weights[name])}, folder / "model.safetensors", {"format": "pt"}
    )
    assert "neither smaller nor faster" in card_text(describe(folder), PRUNED)


@pytest.mark.parametrize(
    "family",
    ["camembert", "roberta", "bert", "distilbert", "xlm-roberta", "electra", "deberta-v2", "modernbert"],
)
def test_the_code_runs_as_printed(
    family: str, tiny_model, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import affineur

    folder = tiny_model(family)
    write_manifest(folder, PRUNED)
    write_card(folder)
    blocks = re.findall(r"```python\n(.*?)```", text_of(folder), re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(folder.parent)
    exec(compile(blocks[0], CARD, "exec"), {})
    printed = eval(capsys.readouterr().out)
    assert [word for word, _ in printed] == ["Marie", "Curie", ",", "Paris"]
    tagger = affineur.load(folder)
    assert [label for _, label in printed] == tagger.tag([["Marie", "Curie", ",", "Paris"]])[0]
    exec(compile(blocks[1], CARD, "exec"), {})


# ---- how to reproduce


def commands(text: str) -> list[str]:
    (block,) = re.findall(r"```bash\n(.*?)\n```", text, re.DOTALL)
    return str(block).split("\n")


def test_commands_are_those_that_the_steps_stored(artifact: Path) -> None:
    taught = {"teacher": "it's a model", "teacher_digest": "77" * 32}
    made = [
        Parent("recover", "r", "tuned", taught, DATA, "affineur recover pruned --teacher X -o tuned"),
        Parent("prune", "p", "pruned", {"sparsity": 0.5}, {"calibration": {}}, "affineur prune\ta -o pruned"),
        replace(DISTILL, name="a"),
        replace(GIVEN, name="owner/base"),
    ]
    manifest = replace(PRUNED, parents=made, command="affineur prune tuned --sparsity 0.15 -o here")
    text = card_text(describe(artifact), manifest, SCORED)
    first, *stored = commands(text)
    assert first.startswith("# distill: owner/base → a, parameters {")
    assert stored == [
        "affineur prune a -o pruned",
        "affineur recover pruned --teacher X -o tuned",
        "affineur prune tuned --sparsity 0.15 -o here",
        "affineur evaluate student_11L_pruned --data DIR",
    ]
    assert "Teacher: `it's a model`, digest `777777777777`" in text
    assert "- Data of recover: train `train.conll` (2,400 sentences, digest `abababababab`), dev " in text


def test_steps_that_stored_no_command_are_told_with_their_parameters(artifact: Path) -> None:
    line = commands(card_text(describe(artifact), replace(PRUNED, stage="fold", parameters={"é": [1]})))[-1]
    assert line == f'# fold: student_11L → {artifact.name}, parameters {{"é": [1]}}'
    assert commands(card_text(describe(artifact), Manifest("transformers", "download")))[0].startswith(
        "# download: how the model was made before"
    )
