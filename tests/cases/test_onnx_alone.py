"""The lines of docs/onnx.md that run a graph without Affineur give its tags, for every family (case 15)."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from affineur.entities import Corpus
from affineur.pipeline import load
from affineur.runtime import Encoder, EngineTagger
from affineur.runtime.tokenization import write_tokenizer
from cases.tokenizer_files import CLASSES, WORDS, write
from conftest import FAMILIES, LABELS
from steps.conftest import dev_corpus, run_step, train_corpus

__all__ = ["dev_corpus", "train_corpus"]

AVX2 = {"target": "avx2", "min_agreement": 0.0}
PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"


def documented(folder: Path, words: list[str], session: Any = None) -> list[str]:
    """Run the lines of the page on a folder and words; return the tags they print."""
    (code,) = (c for c in re.findall(r"```python\n(.+?)```", PAGE.read_text("utf-8"), re.S) if "session" in c)
    code, folders = re.subn(r"(?m)^folder = .*$", "folder = FOLDER", code)
    code, given = re.subn(r"(?m)^words = .*$", "words = WORDS", code)
    code, prints = re.subn(r"(?m)^print\((.+)\)$", r"RESULT = \1", code)
    assert (folders, given, prints) == (1, 1, 1)
    if session is not None:
        code, made = re.subn(r"(?m)^session = .*$", "session = SESSION", code)
        assert made == 1
    space: dict[str, Any] = {"FOLDER": str(folder), "WORDS": words, "SESSION": session}
    exec(compile(code, "onnx.md", "exec"), space)
    return [tag for _, tag in space["RESULT"]]


def logits_of(ids: Any) -> Any:
    """Make up logits that depend on every piece of a window."""
    seen = np.asarray(ids) + np.asarray(ids).sum()
    return np.stack([np.sin(seen * (k + 1)) for k in range(len(LABELS))], axis=-1).astype(np.float32)


class Made(EngineTagger):
    def forward(self, ids: Any, mask: Any) -> Any:
        return np.stack([logits_of(row[: int(real.sum())]) for row, real in zip(ids, mask, strict=True)])


@pytest.mark.parametrize("kind", ["its own class", "as it stands"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_lines_cut_words_as_affineur_does(family: str, kind: str, tmp_path: Path) -> None:
    said = {"tokenizer_class": CLASSES[family] if kind == "its own class" else "TokenizersBackend"}
    labels = {"id2label": dict(enumerate(LABELS))}
    source = write(tmp_path / "parent", family, said | {"do_lower_case": True}, config=labels)
    target = tmp_path / "graph"
    target.mkdir()
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
    config = {"model_type": family, "max_position_embeddings": 512} | labels
    write_tokenizer(source, target, config, is_graph=True)
    session = SimpleNamespace(run=lambda _, given: [logits_of(given["input_ids"][0])[None]])
    tagger = Made(Encoder.from_folder(source, config), LABELS)
    for start in range(0, len(WORDS), 40):
        words = WORDS[start : start + 40]
        assert documented(target, words, session) == tagger.tag([words])[0], words


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_lines_run_on_an_export(
    family: str, shared_model: Any, train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    out = run_step("export", shared_model(family), tmp_path / "onnx", calibration=train_corpus)
    tagger = load(out)
    for sentence in dev_corpus:
        words = list(sentence.words)
        assert documented(out, words) == tagger.tag([words])[0]
    assert contributed(out) == named_on_the_page("full precision", family)
    eight = run_step("quantize", out, tmp_path / "int8", calibration=train_corpus, **AVX2)
    assert contributed(eight) == contributed(out) | {"MatMulIntegerToFloat"}


def contributed(folder: Path) -> set[str]:
    """List the operators of a graph that are not the standard's."""
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    return {node.op_type for node in graph.node if node.domain not in ("", "ai.onnx")}


def named_on_the_page(graph: str, family: str) -> set[str]:
    """List those that the page names for a graph, by family where it does."""
    (row,) = re.findall(rf"(?m)^\| {graph} \| (.+) \|$", PAGE.read_text("utf-8"))
    by_family = re.findall(r"`(\w+)` in ([\w-]+)'s", row)
    return {name for name, of in by_family if of.lower() == family}


def test_the_page_names_every_operator_beside_the_standard(shared_onnx: Path, shared_int8: Path) -> None:
    """onnx.checker knows the standard's alone (case 20)."""
    assert contributed(shared_onnx) == named_on_the_page("full precision", "camembert") == set()
    (row,) = re.findall(r"(?m)^\| INT8 \| (.+) \|$", PAGE.read_text("utf-8"))
    assert contributed(shared_int8) == {"MatMulIntegerToFloat", "FusedMatMul"}
    assert all(f"`{name}`" in row for name in contributed(shared_int8))
