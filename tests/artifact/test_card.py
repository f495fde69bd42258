"""Model cards: what the Hub's own library reads in them, what readers see, and what happens to what people
wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from affineur.artifact import (
    CARD,
    MANIFEST,
    Carried,
    Manifest,
    Measured,
    Parent,
    card_text,
    describe,
    open_folder,
    read_card,
    read_manifest,
    refuse_to_lose,
    verify,
    write_card,
    write_manifest,
)
from affineur.artifact.card import files as module
from affineur.errors import ModelError, ParameterError
from affineur.progress import listening

TRAINING = {
    "epochs": 1.0,
    "learning_rate": 2e-4,
    "batch_size": 16,
    "weight_decay": 0.01,
    "warmup": 0.1,
    "seed": 13,
}
UNUSED = {"label_smoothing": 0.0, "patience": None, "keep_best": False}
SOFT = {"soft_weight": 0.3, "temperature": 2.0, "hidden_weight": 0.0}
DATA = {
    "train": {"name": "/home/me/secret/train.conll", "digest": "ab" * 32, "sentences": 2400},
    "dev": {"name": "dev.conll", "digest": "cd" * 32, "sentences": 400},
}
DISTILL = Parent(
    "distill", "d1" * 32, "student_11L", {"layers": 11, "keep": "search", **TRAINING, **UNUSED, **SOFT}, DATA
)
GIVEN = Parent("given", "d2" * 32, "teacher")
PRUNED = Manifest(
    "transformers",
    "prune",
    {"sparsity": 0.15, "method": "magnitude", "scope": "attention+ffn", "max_layer_sparsity": None},
    [DISTILL, GIVEN],
    key="ef" * 32,
    recipe="0a" * 32,
)
SCORED = Measured(
    data="/home/me/secret/test.conll",
    data_digest="12" * 32,
    sentences=541,
    words=12345,
    f1=0.84512345,
    f1_low=0.8312,
    f1_high=0.8599,
    precision=0.85,
    recall=0.84,
    accuracy=0.97,
    per_type={
        "PER": {
            "f1": 0.9,
            "f1_low": 0.88,
            "f1_high": 0.92,
            "precision": 0.91,
            "recall": 0.89,
            "support": 1200,
        },
        "MISC": {"f1": 0.0, "f1_low": 0.0, "f1_high": 0.0, "precision": 0.0, "recall": 0.0, "support": 0},
    },
    baseline="teacher",
    drop=0.0042,
    drop_low=-0.001,
    drop_high=0.0094,
    columns=("Model", "F1"),
    cells=(("teacher", "84.93%"), ("a|b", "84.51%")),
    footnotes=("541 sentences of student_data.",),
    commands=("affineur evaluate student_11L_pruned --data DIR",),
    notes=("Measured on a Monday.",),
)
PARENT = "---\nlicense: cc-by-nc-sa-4.0\nlanguage: fr\n---\n\n# A teacher\n\n**Limits.** It knows Wikipedia alone.\n"


@pytest.fixture
def artifact(tiny_model) -> Path:
    folder: Path = tiny_model()
    write_manifest(folder, PRUNED)
    return folder


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes()) for p in sorted(folder.iterdir())}


def front(folder: Path) -> dict[str, Any]:
    found = ModelCard.load(folder / CARD).data.to_dict()
    raw = yaml.safe_load((folder / CARD).read_text("utf-8").split("---\n")[1])
    assert {**raw, "model-index": None} == {**found, "model-index": None}
    return found


def text_of(folder: Path) -> str:
    return (folder / CARD).read_text("utf-8")


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


def test_the_hubs_library_writes_it_back_unchanged(artifact: Path) -> None:
    write_card(artifact, SCORED)
    card = ModelCard.load(artifact / CARD)
    assert yaml.safe_load(card.data.to_yaml()) == yaml.safe_load(text_of(artifact).split("---\n")[1])


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
        "2. from `student_11L`: distill, digest `d1d1d1d1d1d1`\n3. from `teacher`: given, digest `d2d2d2d2d2d2`"
        in text
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
        "On dev data, while it was made: F1 70.00%. Decisions may have been made on that data: it is no test score."
        in last
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


# ---- what it takes over from another card


def carried(folder: Path, card: str | bytes, **options: Any) -> Carried:
    (folder / CARD).write_bytes(card if isinstance(card, bytes) else card.encode())
    return read_card(folder, **options)


def test_license_and_language_of_the_parent(tmp_path: Path, artifact: Path) -> None:
    found = carried(tmp_path, PARENT)
    assert found == Carried({"license": "cc-by-nc-sa-4.0", "language": "fr"}, limits=True, ours=False)
    text = card_text(describe(artifact), PRUNED, None, found)
    assert text.startswith("---\nlicense: cc-by-nc-sa-4.0\nlanguage: fr\n")
    assert "The card of `teacher` names limits of its own" in text
    assert "`cc-by-nc-sa-4.0`, as the card of the model it comes from says" in text
    assert "Wikipedia" not in text


def test_a_card_of_ours_hands_everything_on(tmp_path: Path, artifact: Path) -> None:
    first = carried(tmp_path, PARENT)
    second = carried(tmp_path, card_text(describe(artifact), PRUNED, SCORED, first))
    assert second == Carried({**first.metadata, "base_model": "teacher"}, limits=True, ours=True)
    without = carried(tmp_path, card_text(describe(artifact), PRUNED))
    assert not without.limits  # its own section on limits is not the parent's
    assert without.metadata == {"base_model": "teacher"}


def test_nothing_known_is_said_and_left_out(artifact: Path) -> None:
    write_card(artifact)
    assert "license" not in front(artifact)
    assert "language" not in front(artifact)
    assert "## License\n\nNot known" in text_of(artifact)


def test_another_license_keeps_its_name_and_link(tmp_path: Path, artifact: Path) -> None:
    found = carried(
        tmp_path,
        "---\nlicense: other\nlicense_name: my-license\nlicense_link: LICENSE\nlanguage: [fr, oc]\n---\n",
    )
    text = card_text(describe(artifact), PRUNED, None, found)
    assert yaml.safe_load(text.split("---\n")[1])["license_name"] == "my-license"
    assert yaml.safe_load(text.split("---\n")[1])["license_link"] == "LICENSE"
    assert yaml.safe_load(text.split("---\n")[1])["language"] == ["fr", "oc"]
    assert "`other` (my-license), as" in text
    assert "names a file beside that card (`LICENSE`), which is not copied here" in text


def test_norwegian_is_a_language(tmp_path: Path, artifact: Path) -> None:
    text = card_text(describe(artifact), PRUNED, None, carried(tmp_path, "---\nlanguage: no\n---\n"))
    assert yaml.safe_load(text.split("---\n")[1])["language"] == "no"


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"---\n",
        b"---\nlicense: [\n---\n",
        b"---\nlicense: mit",
        b"# no front matter\nlicense: mit\n",
        "---\nlicense: mit\n---\né".encode("latin-1"),
        b"\xff\xfe---",
        b"---\n- license\n- mit\n---\n",
        b"---\nlicense: 2024-99-99\n---\n",
        b"---\nlicense: {a: 1}\nlanguage: 3\nbase_model: [1, null]\n---\n",
        b"---\nlicense: '   '\n---\n",
        b"---\n!!python/object/apply:os.system ['true']\n---\n",
        b"---\n" + b"[" * 5000 + b"\n---\n",
        b'---\nlicense: !!int ""\n---\n',
        b"---\n? [a, b]\n: c\n---\n",
    ],
)
def test_damaged_cards_give_nothing(damaged: bytes, tmp_path: Path) -> None:
    assert carried(tmp_path, damaged) == Carried()


def test_a_card_that_is_no_file(tmp_path: Path) -> None:
    assert read_card(tmp_path) == Carried()
    (tmp_path / CARD).mkdir()
    assert read_card(tmp_path) == Carried()


@pytest.mark.parametrize(
    "card",
    ["## Limitations\n", "# Bias, Risks, and Limitations\n", "**Limits.** x", "x\n\n### Out-of-scope use\n"],
)
def test_sections_on_limits_are_seen(card: str, tmp_path: Path) -> None:
    assert carried(tmp_path, card).limits
    assert not carried(tmp_path, "It has no limits.\n").limits


# ---- base_model


@pytest.mark.parametrize(
    ("parents", "named", "wanted"),
    [
        ([GIVEN], None, "teacher"),
        ([GIVEN], "almanach/camembert-base", "almanach/camembert-base"),
        ([replace(GIVEN, name="owner/ner")], "almanach/camembert-base", "owner/ner"),
        ([replace(GIVEN, name="a b")], None, None),
        ([replace(GIVEN, name="sample")], None, None),
        ([replace(GIVEN, name="my--model")], "not an id", None),
        ([replace(GIVEN, stage="configuration")], "almanach/camembert-base", None),
        ([GIVEN], ["a/b", "not an id", "c/d"], ["a/b", "c/d"]),
    ],
)
def test_the_base_is_the_topmost_known(
    parents: list[Parent], named: Any, wanted: Any, artifact: Path
) -> None:
    text = card_text(
        describe(artifact), replace(PRUNED, parents=parents), None, Carried({"base_model": named})
    )
    assert yaml.safe_load(text.split("---\n")[1]).get("base_model") == wanted


def test_what_our_own_card_says_of_the_base_holds(artifact: Path) -> None:
    manifest = replace(PRUNED, parents=[replace(GIVEN, name="owner/ner")])
    text = card_text(describe(artifact), manifest, None, Carried({"base_model": "me/mine"}, ours=True))
    assert "base_model: me/mine\n" in text


def test_a_download_names_its_source(artifact: Path) -> None:
    for source, wanted in (("hub:owner/ner", "owner/ner"), ("https://example.org/x", None), ("/here", None)):
        text = card_text(describe(artifact), Manifest("transformers", "download", {"source": source}))
        assert yaml.safe_load(text.split("---\n")[1]).get("base_model") == wanted


@pytest.mark.parametrize(
    ("stage", "parents", "wanted"),
    [
        ("prune", [GIVEN], None),
        ("cast", [GIVEN], None),
        ("train", [GIVEN], "finetune"),
        ("recover", [GIVEN], "finetune"),
        ("prune", [DISTILL, GIVEN], "finetune"),
        ("quantize", [DISTILL, GIVEN], "quantized"),
    ],
)
def test_relations_in_the_hubs_words(
    stage: str, parents: list[Parent], wanted: str | None, artifact: Path
) -> None:
    text = card_text(describe(artifact), replace(PRUNED, stage=stage, parents=parents))
    assert yaml.safe_load(text.split("---\n")[1]).get("base_model_relation") == wanted


# ---- how to reproduce


def commands(text: str) -> list[str]:
    (block,) = re.findall(r"```bash\n(.*?)\n```", text, re.DOTALL)
    return str(block).split("\n")


def test_commands_are_those_that_made_it(artifact: Path) -> None:
    from affineur.cli.main import build_parser

    odd = "it's a\tmodel"
    made = [
        Parent(
            "recover",
            "r",
            "tuned",
            {**TRAINING, **UNUSED, **SOFT, "teacher": odd, "teacher_digest": "77" * 32},
            DATA,
        ),
        Parent(
            "prune",
            "p",
            "pruned",
            {"sparsity": 0.5, "method": "wanda", "scope": "ffn", "max_layer_sparsity": 0.7},
            {"calibration": {}},
        ),
        DISTILL,
        Parent(
            "train",
            "t",
            odd,
            {**TRAINING, **UNUSED, "keep_best": True, "labels": ["O", "B-A", "I-A"], "replace_mentions": 0.5},
            DATA,
        ),
        replace(GIVEN, name="owner/base"),
    ]
    text = card_text(describe(artifact), replace(PRUNED, parents=made))
    parser = build_parser()
    parsed = [vars(parser.parse_args(shlex.split(line)[1:])) for line in commands(text)]
    assert [p["command"] for p in parsed] == ["train", "distill", "prune", "recover", "prune"]
    assert [str(p["output"]) for p in parsed] == [
        "it's a model",
        "student_11L",
        "pruned",
        "tuned",
        artifact.name,
    ]
    train, distill, prune, recover, last = parsed
    assert (train["base"], train["tags"], train["replace_mentions"], train["label_smoothing"]) == (
        "owner/base",
        "BIO",
        0.5,
        0.0,
    )
    assert {key: distill[key] for key in (*TRAINING, *SOFT)} == {**TRAINING, **SOFT}
    assert (distill["teacher"], distill["layers"], distill["keep"], distill["data"]) == (
        "it's a model",
        11,
        "search",
        "DATA",
    )
    assert (prune["sparsity"], prune["method"], prune["scope"], prune["max_layer_sparsity"]) == (
        0.5,
        "wanda",
        "ffn",
        0.7,
    )
    assert {key: recover[key] for key in (*TRAINING, *SOFT)} == {**TRAINING, **SOFT}
    assert recover["teacher"] == "it's a model"
    assert (last["model"], last["sparsity"]) == ("tuned", 0.15)
    assert "Teacher: `it's a model`, digest `777777777777`" in text
    assert not any("#" in line for line in commands(text))


def test_what_the_command_line_cannot_say_is_said(artifact: Path) -> None:
    parents = [
        replace(DISTILL, parameters={**DISTILL.parameters, "label_smoothing": 0.1, "keep_best": True}),
        GIVEN,
    ]
    first, second = commands(card_text(describe(artifact), replace(PRUNED, parents=parents)))
    assert first.endswith(" # in Python or a recipe, also: label_smoothing=0.1, keep_best=True")
    assert "#" not in second


def test_stages_without_a_command(artifact: Path) -> None:
    cast = replace(PRUNED, stage="cast", parameters={"dtype": "float16"})
    line = commands(card_text(describe(artifact), cast))[-1]
    code = shlex.split(line)
    assert code[:2] == ["python", "-c"]
    assert code[2] == f"from affineur import cast; cast('student_11L', '{artifact.name}', 'float16')"
    unknown = commands(card_text(describe(artifact), replace(PRUNED, stage="fold", parameters={"é": [1]})))[
        -1
    ]
    assert unknown == f'# fold: student_11L → {artifact.name}, parameters {{"é": [1]}}'
    assert commands(card_text(describe(artifact), Manifest("transformers", "download")))[0].startswith(
        "# download: how the model was made before"
    )


# ---- writing it into an artifact


def test_scores_and_card_go_into_the_manifest_and_nothing_else_changes(artifact: Path) -> None:
    before, digest = read_manifest(artifact), open_folder(artifact).digest()
    assert before is not None
    assert write_card(artifact, SCORED) is True
    after = verify(artifact)
    assert after is not None
    assert after.scores["measured"]["f1"] == SCORED.f1
    assert after.files == {**before.files, CARD: hashlib.sha256((artifact / CARD).read_bytes()).hexdigest()}
    assert replace(after, scores={}, files={}) == replace(before, scores={}, files={})
    assert open_folder(artifact).digest() == digest
    refuse_to_lose(artifact)


def test_the_same_card_again_writes_nothing(artifact: Path) -> None:
    write_card(artifact, SCORED)
    before = state(artifact)
    assert write_card(artifact, SCORED)
    assert write_card(str(artifact))  # what was measured is remembered
    assert state(artifact) == before


def test_other_scores_replace_the_old(artifact: Path) -> None:
    write_card(artifact, SCORED)
    write_card(artifact, replace(SCORED, f1=0.5))
    assert "**F1 50.00%**" in text_of(artifact)
    assert "84.51%** " not in text_of(artifact)
    manifest = verify(artifact)
    assert manifest is not None
    assert manifest.scores["measured"]["f1"] == 0.5


def test_from_the_keys_of_evaluate() -> None:
    scores = {
        "f1": 0.5,
        "f1_low": 0.4,
        "f1_high": 0.6,
        "precision": 0.5,
        "recall": 0.5,
        "accuracy": 0.9,
        "per_type": {},
        "sentences": 2,
        "words": 9,
    }
    found = Measured.of(
        {**scores, "data": "x", "data_digest": "d", "scheme": "IO", "repaired_tags": 0},
        split="dev",
        notes=["a"],
    )
    assert (found.f1, found.split, found.data, found.notes) == (0.5, "dev", "x", ["a"])
    with pytest.raises(TypeError):
        Measured.of(scores)


def test_scores_of_another_version_are_not_trusted(artifact: Path) -> None:
    write_manifest(artifact, replace(PRUNED, scores={"measured": {"f1": 0.5}}))
    write_card(artifact)
    assert "Not measured yet" in text_of(artifact)


@pytest.mark.parametrize("when", ["before the manifest", "between the two"])
@pytest.mark.parametrize("first", [True, False])
def test_a_crash_leaves_an_artifact_that_verifies_and_can_be_replaced(
    when: str, first: bool, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not first:
        write_card(artifact, replace(SCORED, f1=0.5))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "seal" if when == "before the manifest" else "write_text", die)
        with pytest.raises(KeyboardInterrupt):
            write_card(artifact, SCORED)
    assert verify(artifact) is not None
    refuse_to_lose(artifact)
    assert write_card(artifact, SCORED)
    assert "**F1 84.51%**" in text_of(artifact)
    manifest = read_manifest(artifact)
    assert manifest is not None
    assert set(manifest.files) == {p.name for p in artifact.iterdir()} - {MANIFEST}


def test_a_full_disk_leaves_the_old_card(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from affineur.errors import AffineurError

    write_card(artifact)
    before = state(artifact)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AffineurError, match="no space left"):
        write_card(artifact, SCORED)
    assert state(artifact) == before


# ---- what people wrote


def test_a_card_may_be_edited_or_deleted_and_the_artifact_stays_whole(artifact: Path) -> None:
    write_card(artifact)
    (artifact / CARD).write_text("mine")
    os.utime(artifact / CARD, ns=(0, 0))
    assert verify(artifact) is not None
    (artifact / CARD).unlink()
    assert verify(artifact) is not None


def test_added_metadata_stays(artifact: Path) -> None:
    write_card(artifact)
    added = "license: mit\nlanguage: br\nwidget:\n- text: Brest\ndate: 2024-01-02\n"
    text = (
        text_of(artifact)
        .replace("---\n", f"---\n{added}", 1)
        .replace("- ner\n", "- ner\n- breton\n")
        .replace("\n", "\r\n")
    )
    (artifact / CARD).write_bytes(text.replace("base_model: teacher", "base_model: me/teacher").encode())
    assert write_card(artifact, SCORED)
    found = front(artifact)
    assert (found["license"], found["language"], found["widget"]) == ("mit", "br", [{"text": "Brest"}])
    assert found["base_model"] == "me/teacher"
    assert found["tags"][-1] == "breton"
    assert "## License\n\n`mit`" in text_of(artifact)
    before = state(artifact)
    write_card(artifact)
    assert state(artifact) == before


@pytest.mark.parametrize("card", [b"# My own words\n", b"", b"\xff", None])
def test_text_that_somebody_wrote_is_left_alone(card: bytes | None, artifact: Path) -> None:
    write_card(artifact)
    mine = text_of(artifact).replace("## Limits", "## What I think of it").encode() if card is None else card
    (artifact / CARD).write_bytes(mine)
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        assert write_card(artifact, SCORED) is False
    assert (artifact / CARD).read_bytes() == mine
    assert any("left as it is; move it away" in line for line in heard)
    manifest = verify(artifact)
    assert manifest is not None
    assert manifest.scores["measured"]["f1"] == SCORED.f1


# ---- what gets no card


def test_a_plain_folder_gets_none(tiny_model) -> None:
    folder = tiny_model()
    before = state(folder)
    with pytest.raises(ModelError, match=r"has no affineur.json, and only what Affineur made gets a card"):
        write_card(folder, SCORED)
    assert state(folder) == before


def _spoil_weights(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    os.utime(folder / "model.safetensors", ns=(0, 0))


def _spoil_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")


@pytest.mark.parametrize("spoil", [_spoil_weights, _spoil_manifest])
def test_a_damaged_artifact_gets_none(spoil: Callable[[Path], None], artifact: Path) -> None:
    spoil(artifact)
    before = state(artifact)
    with pytest.raises(ModelError):
        write_card(artifact, SCORED)
    assert state(artifact) == before


def test_the_hubs_cache_is_not_ours(artifact: Path, tmp_path: Path) -> None:
    cached = tmp_path / "snapshots" / "0123"
    cached.mkdir(parents=True)
    for file in artifact.iterdir():
        (cached / file.name).symlink_to(file)
    before = state(artifact)
    with pytest.raises(ParameterError, match="lies in the Hub's cache"):
        write_card(cached, SCORED)
    assert state(artifact) == before
    assert not (cached / CARD).exists()


def test_by_a_relative_path_it_has_its_own_name(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(artifact)
    write_card(Path())
    assert text_of(artifact).split("---\n")[2].startswith(f"\n# {artifact.name}\n")


# ---- odd names

ODD = st.one_of(
    st.text(alphabet=st.characters(), max_size=20),
    st.text(alphabet="|`*_<>[]()#\\\n\r\t'\"\x00\x85\u2028\ud800-:!&~$", max_size=20),
    st.sampled_from(
        [
            "---",
            "\n---\n",
            "no",
            "`",
            "``",
            "a|b",
            "\\|",
            "<script>",
            "[x](y)",
            "- a",
            "# a",
            "&lt;",
            "null",
            "'",
            '"',
            "\udcff",
            "{{x}}",
        ]
    ),
)


@pytest.fixture(scope="session")
def info(shared_model):
    return describe(shared_model())


def folded(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]", "\ufffd", text).split())


@given(
    model=ODD,
    data=ODD,
    parent=ODD,
    kinds=st.lists(ODD, max_size=3, unique=True),
    cell=ODD,
    note=ODD,
    split=ODD,
)
def test_odd_names_break_nothing(
    info, model: str, data: str, parent: str, kinds: list[str], cell: str, note: str, split: str
) -> None:
    per_type = dict.fromkeys(kinds, SCORED.per_type["PER"])
    measured = replace(
        SCORED,
        data=data,
        split=split,
        baseline=parent,
        per_type=per_type,
        cells=((cell, "1"),),
        columns=("Model", note),
        footnotes=(note,),
        commands=(note,),
        data_digest=cell,
        dataset_id=data,
    )
    manifest = replace(
        PRUNED,
        parents=[replace(DISTILL, name=parent), replace(GIVEN, name=parent)],
        parameters={"teacher": parent, note: cell},
        data={"train": {"name": data, "digest": cell, "sentences": note}},
        recipe=cell or None,
    )
    text = card_text(
        info,
        manifest,
        measured,
        Carried({"license": note, "x": {"y": [data]}, "tags": [cell]}, limits=True),
        model,
    )
    text.encode()
    card = ModelCard(text)
    result = card.data.eval_results[0]
    assert result.metric_value == pytest.approx(SCORED.f1, abs=1e-6)
    assert re.fullmatch(r"(?:[\w-]+/)?[\w.-]+", result.dataset_type, re.ASCII)
    assert "\n" not in result.dataset_name + card.data.model_name
    parsed = MarkdownIt("commonmark").enable("table").parse(card.text)
    headings = [after.content for token, after in pairwise(parsed) if token.type == "heading_open"]
    assert headings[1:] == [
        "Lineage",
        "Labels",
        "Use",
        "Scores",
        "Limits",
        "Reproduce",
        "License",
        "Environment",
    ]
    cells = [
        "".join(child.content for child in after.children or ())
        for token, after in pairwise(parsed)
        if token.type in ("td_open", "th_open")
    ]
    first = [folded(kind) for kind in kinds]
    assert cells[6 if kinds else 0 :: 6][: len(kinds)] == first
    assert [c.strip() for c in cells[-4:]] == ["Model", folded(note), folded(cell), "1"]
    assert sum(token.type == "tr_open" for token in parsed) == (len(kinds) + 1 if kinds else 0) + 2
    assert not any(token.type == "html_block" and "affineur card" not in token.content for token in parsed)


def test_odd_names_in_a_folder(artifact: Path) -> None:
    odd = replace(SCORED, data='a"b\n|`\udcff', per_type={"\ud800": {"support": 0}, "x|y": {"f1": 0.5}})
    assert write_card(artifact, odd)
    before = state(artifact)
    assert write_card(artifact, odd)
    assert write_card(artifact)
    assert state(artifact) == before
    assert verify(artifact) is not None
    assert json.loads((artifact / MANIFEST).read_text("utf-8"))["scores"]["measured"]["data"] == odd.data
