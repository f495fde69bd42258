"""The guide's own scripts and Python blocks, run as printed in its own folders.

What is changed before a block runs is listed in ``CHANGES`` and explained in ``docs/guide.md``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GUIDE = (HERE / "guide.md").read_text("utf-8")

#: What newer libraries renamed, and what a machine without CUDA cannot do.
CHANGES = {
    "evaluation_strategy=": "eval_strategy=",
    "model.to('cuda')": "model.to('cpu')",
}


def block(section: str) -> str:
    """Return the first Python block after a heading, with the documented changes made."""
    after = GUIDE[GUIDE.index(section) :]
    match = re.search(r"```python\n(.*?)```", after, re.DOTALL)
    assert match is not None
    code = match[1]
    for old, new in CHANGES.items():
        code = code.replace(old, new)
    return code


def script(name: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small_corpus: Path, shared_model) -> Path:
    """A folder in which the guide's steps were taken, from a tiny student of eleven layers on."""
    folder = tmp_path_factory.mktemp("guide")
    tiny = shared_model("camembert", num_hidden_layers=11, max_position_embeddings=514)
    shutil.copytree(tiny, folder / "student_11L")
    steps = [
        ("download_student.py",),
        ("prune_student.py", "--sparsity", "0.15"),
        (
            "train_distillation.py",
            "--model_path",
            "./student_11L_pruned",
            "--eval_only",
            "--data",
            str(small_corpus),
        ),
        (
            "train_distillation.py",
            "--model_path",
            "./student_11L_pruned",
            "--num_epochs",
            "0.5",
            "--data",
            str(small_corpus),
        ),
        ("test_endpoint.py", "--requests", "5"),
    ]
    for step in steps:
        done = script(*step, cwd=folder)
        assert done.returncode == 0, (step, done.stderr)
        (folder / f"{step[0]}{len(step)}.out").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty sentences of each part of the sample."""
    from affineur import sample
    from affineur.entities import open_corpus, write_conll

    folder = tmp_path_factory.mktemp("corpus")
    for name in ("train", "dev", "test"):
        write_conll(
            [(s.words, s.tags) for s in open_corpus(sample.data() / f"{name}.conll").head(40)],
            folder / f"{name}.conll",
        )
    return folder


def test_where_there_is_no_student_the_teacher_less_a_layer_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_model, small_corpus: Path
) -> None:
    from affineur import sample
    from affineur.pipeline import guide

    monkeypatch.chdir(tmp_path)
    tiny = shared_model("camembert", num_hidden_layers=12, max_position_embeddings=514)
    monkeypatch.setattr(sample, "model", {"sample": tiny}.get)
    monkeypatch.setattr(sample, "data", lambda: small_corpus)
    assert guide.student() == guide.STUDENT
    assert json.loads((guide.STUDENT / "config.json").read_text())["num_hidden_layers"] == 11
    assert guide.student() == guide.STUDENT, "which is not made twice"


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def run_block(code: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a block with the names earlier blocks defined; torch's deprecation warnings are the guide's to
    have.
    """
    scope: dict[str, Any] = names or {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        exec(compile(code, "guide.md", "exec"), scope)
    return scope


def test_the_guide_here_is_the_guide_given() -> None:
    given = ROOT.parent / "shared" / "guide.md"
    if not given.exists():
        pytest.skip("the guide as it was given is not beside this checkout")
    assert given.read_text("utf-8") == GUIDE


def test_the_folder_is_what_the_guide_says(place: Path) -> None:
    names = {p.name for p in (place / "student_11L_pruned").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "pruning_info.json"} <= names
    assert json.loads((place / "student_11L_pruned/config.json").read_text())["num_hidden_layers"] == 11
    info = json.loads((place / "student_11L_pruned/pruning_info.json").read_text())
    assert info["zeros_in_scope"] == round(0.15 * info["weights_in_scope"])
    tuned = json.loads((place / "student_11L_pruned_finetuned/affineur.json").read_text())
    assert tuned["scores"]["zeros_kept"] == info["zeros_in_scope"]


def test_scripts_say_what_they_measured(place: Path) -> None:
    assert re.search(r"^F1 \d+\.\d\d%", (place / "train_distillation.py6.out").read_text(), re.MULTILINE)
    assert "batches and single predictions agree" in (place / "test_endpoint.py3.out").read_text()


def test_section_1_loading(here: Path) -> None:
    found = run_block(block("### Standard Usage"))
    assert found["predictions"].shape == found["inputs"]["input_ids"].shape


def test_section_3b_int8(here: Path) -> None:
    names = run_block(block("### Standard Usage"))
    found = run_block("import torch\n" + block("#### Option B"), names)
    assert "DynamicQuantizedLinear" in repr(found["model_int8"])


def _trainer_data(model: Any, corpus: Path) -> Any:
    """Encode the small corpus as dictionaries of equal length, which the Trainer's default collator can
    batch.
    """
    from affineur.engines.support.checkpoints import load_encoder
    from affineur.entities import open_corpus
    from affineur.steps.training.encoded import IGNORED, encode_corpus

    labels = tuple(model.config.id2label[i] for i in range(model.config.num_labels))
    data = encode_corpus(
        open_corpus(corpus / "train.conll"), load_encoder("student_11L_pruned"), labels, corpus
    )
    longest = max(data.lengths)
    rows = []
    for item in data:
        missing = longest - len(item["input_ids"])
        rows.append(
            {
                "input_ids": [*item["input_ids"].tolist(), *[1] * missing],
                "attention_mask": [1] * (longest - missing) + [0] * missing,
                "labels": [*item["labels"].tolist(), *[IGNORED] * missing],
            }
        )
    return rows


@pytest.mark.parametrize("keep", [True, False])
def test_section_5_trainer_keeps_zeros_with_our_callback_only(
    keep: bool, here: Path, small_corpus: Path
) -> None:
    from affineur.steps.training.mask import KeepZeros, Mask

    names = run_block(block("### Standard Usage"))
    mask = Mask(names["model"])
    names["train_dataset"] = names["eval_dataset"] = _trainer_data(names["model"], small_corpus)[:24]
    code = block("## 5. Fine-Tuning").replace("./student_11L_pruned_finetuned", "./trainer_out")
    if keep:
        names["KeepZeros"] = KeepZeros
        code = code.replace("trainer.train()", "trainer.add_callback(KeepZeros(model))\ntrainer.train()")
    run_block(code, names)
    lost = sum(
        int(dict(names["model"].named_parameters())[name].detach()[zeros].count_nonzero())
        for name, zeros in mask._zeros.items()
    )
    assert (lost == 0) is keep


def test_section_6_production(here: Path) -> None:
    names = run_block(block("### Standard Usage"))
    names |= {"device": "cpu", "torch": __import__("torch")}
    found = run_block(block("### Recommended Configuration"), names)
    assert found["predict_batch"](["Marie habite à Lyon.", "Il pleut."]).shape[0] == 2


def test_section_7_loading_errors(here: Path) -> None:
    names = run_block(block("### Standard Usage"))
    found = run_block(block("### Loading Errors"), names)
    assert str(found["model"].dtype) == "torch.float32"


def test_section_7_too_slow(here: Path) -> None:
    import torch

    names = run_block(block("### Standard Usage"))
    threads = torch.get_num_threads()
    try:
        run_block(block("### Inference Too Slow"), names | {"torch": torch})
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(True)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("prune_student.py", "--sparsity", "1.5"), "outside [0, 1)"),
        (("train_distillation.py", "--model_path", "./nothing", "--eval_only"), "not there"),
        (("download_student.py", "http://127.0.0.1:9/model"), "127.0.0.1:9"),
    ],
)
def test_scripts_say_what_is_wrong_in_one_line(words: tuple[str, ...], wanted: str, tmp_path: Path) -> None:
    done = script(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert wanted in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
