"""What a sweep refuses, before any work and without leaving anything behind."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affineur.artifact import alone
from affineur.entities import Sentence
from affineur.errors import AffineurError, DataError, ModelError, ParameterError
from affineur.measure import Budget
from affineur.pipeline import Plan
from affineur.transfer import Splits, load_corpus
from steps.conftest import run_step

from .sweeping import (
    PLAN,
    QUICK,
    KilledError,
    beside,
    content,
    corpus_of,
    refused,
    swept,
)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"methods": ()}, "methods names no pruning method"),
        ({"methods": ("wanda", "wanda")}, "twice"),
        ({"methods": ("wnda",)}, "did you mean 'wanda'"),
        ({"points": ()}, "points names no sparsity"),
        ({"points": (0.1, 1.0)}, r"1 is outside \[0, 1\)"),
        ({"points": (float("nan"),)}, "nan"),
        ({"tolerance": 0.0}, "tolerance 0"),
        ({"tolerance": float("nan")}, "tolerance nan"),
    ],
)
def test_impossible_plans(values: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ParameterError, match=wanted):
        Plan(**{"budget": Budget(max_drop=0.1), **values})


def test_splits_that_will_not_do(trained: Path, data: Splits, tmp_path: Path) -> None:
    dev, test = data.get("dev"), data.get("test")
    wanda = replace(PLAN, methods=("wanda",))
    for splits, plan, wanted in (
        (replace(data, test=dev), PLAN, "dev and test are the same sentences"),
        (replace(data, test=None), PLAN, "no test split"),
        (replace(data, dev=None), PLAN, "no dev split"),
        (replace(data, train=test), replace(PLAN, recovery=QUICK), "train and test are the same"),
        (replace(data, train=dev), replace(PLAN, recovery=QUICK), "train and dev are the same"),
        (replace(data, train=test), wanda, "calibration text and test are the same"),
        (replace(data, dev=corpus_of(list(dev)[:1])), PLAN, "found 1 sentence to search on.*fewer than 10"),
        (replace(data, dev=corpus_of(list(dev)[:9])), PLAN, "found 9 sentences"),
        (replace(data, dev=corpus_of([Sentence(("a",), ("I-DATE",))] * 10)), PLAN, "DATE.*label_map"),
        (replace(data, test=corpus_of([Sentence(("a",), ("I-DATE",))])), PLAN, "DATE.*label_map"),
        (
            replace(data, train=corpus_of([Sentence(("a",), ("I-DATE",))])),
            replace(PLAN, recovery=QUICK),
            "DATE.*label_map",
        ),
    ):
        refused(DataError, wanted, tmp_path, trained, splits, plan)
    refused(DataError, "calibration text and test", tmp_path, trained, data, wanda, calibration=test)
    refused(
        ParameterError,
        "needs a train split",
        tmp_path,
        trained,
        replace(data, train=None),
        replace(PLAN, recovery=QUICK),
    )


def test_ten_sentences_are_enough_to_begin_with(trained: Path, data: Splits, tmp_path: Path) -> None:
    few = replace(
        data, dev=corpus_of(list(data.get("dev"))[:10]), train=data.get("test")
    )  # train plays no part here
    assert (
        swept(trained, tmp_path / "out", few, replace(PLAN, budget=Budget(max_drop=0.49))).chosen is not None
    )


def test_wanda_without_train_reads_the_sample(trained: Path, data: Splits, tmp_path: Path) -> None:
    swept(trained, tmp_path / "out", replace(data, train=None), replace(PLAN, methods=("wanda",)))
    said = json.loads((tmp_path / "out" / "pruning_info.json").read_text())["calibration"]
    assert "sample" in said["name"]
    assert said["digest"] == load_corpus("sample", "train").head(256).digest


def test_models_that_will_not_do(trained: Path, data: Splits, tmp_path: Path) -> None:
    refused(
        ParameterError,
        "run in another way, and only its folder can be pruned",
        tmp_path,
        f"torch-int8:{trained}",
        data,
        PLAN,
    )
    refused(
        ParameterError,
        "run in another way, and only its folder can be pruned",
        tmp_path,
        f"guide:{trained}",
        data,
        PLAN,
    )
    refused(ModelError, "is a spaCy pipeline", tmp_path, "spacy:fr_core_news_md", data, PLAN)
    refused(ParameterError, "no scope", tmp_path, trained, data, replace(PLAN, scope="atention"))
    refused(ParameterError, "no CUDA|no device", tmp_path, trained, data, PLAN, device="cuda:99")
    refused(ParameterError, "no type DATE", tmp_path, trained, data, PLAN, types=["DATE"])


def test_baselines(trained: Path, data: Splits, shared_model, tmp_path: Path) -> None:
    bio = shared_model(
        "camembert", labels=("O", *(f"{p}-{k}" for k in ("LOC", "MISC", "ORG", "PER") for p in "BI"))
    )
    found = swept(trained, tmp_path / "out", data, PLAN, baseline=str(bio))
    assert found.curves[0].baseline == bio.name
    assert found.chosen.drop == found.curves[0].baseline_f1 - found.chosen.f1 < 0

    narrow = shared_model("camembert", labels=("O", "I-PER"))
    refused(
        DataError, r"\(types\)", tmp_path, trained, data, PLAN, baseline=str(narrow), out=tmp_path / "other"
    )
    assert (
        swept(trained, tmp_path / "out", data, PLAN, baseline=str(narrow), types=["PER"]).chosen is not None
    )
    wide = shared_model("camembert", labels=("O", "I-LOC", "I-PER", "I-MISC", "I-ORG", "I-DATE"))
    refused(
        ParameterError,
        r"\(types\)",
        tmp_path,
        trained,
        data,
        PLAN,
        baseline=str(wide),
        out=tmp_path / "other",
    )


def test_output_that_would_be_lost(trained: Path, data: Splits, tmp_path: Path) -> None:
    for name in ("teacher", "baseline", "model"):
        run_step("prune", trained, tmp_path / name, sparsity=0.01)
    model, teacher, baseline = tmp_path / "model", tmp_path / "teacher", tmp_path / "baseline"
    plan = replace(PLAN, recovery=QUICK)
    for out in (model, teacher, baseline, tmp_path / "x" / ".." / "teacher"):
        refused(
            ParameterError,
            "would be lost",
            tmp_path,
            model,
            data,
            plan,
            baseline=str(baseline),
            teacher=teacher,
            out=out,
        )
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years")
    refused(ParameterError, "chapter1.tex", tmp_path, model, data, PLAN, out=tmp_path / "thesis")
    refused(
        ParameterError,
        "cannot be written",
        tmp_path,
        model,
        data,
        PLAN,
        out=tmp_path / "thesis" / "chapter1.tex" / "out",
    )


def test_two_at_once(trained: Path, data: Splits, tmp_path: Path) -> None:
    with (
        alone(tmp_path / "out", "wait"),
        pytest.raises(ParameterError, match=r"another process .*name another folder as out"),
    ):
        swept(trained, tmp_path / "out", data, PLAN)
    assert swept(trained, tmp_path / "out", data, PLAN).chosen is not None


def test_full_disk(trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    swept(trained, out, data, PLAN)
    before = content(out)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        with pytest.raises(AffineurError, match="no space left"):
            swept(trained, out, data, replace(PLAN, points=(0.2,)))
    assert content(out) == before
    assert swept(trained, out, data, replace(PLAN, points=(0.2,))).chosen.asked == 0.2
    assert beside(out) == []


def test_what_goes_on_nowhere_is_not_left_behind(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KilledError

    monkeypatch.setattr(import_module("affineur.pipeline.sweep"), "_write", dies)
    with pytest.raises(KilledError):
        swept(trained, tmp_path / "out", data, PLAN)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_below_the_scores_is_not_blamed_on_the_model(
    trained: Path, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Any, **_: object) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path / "kept"))
    with pytest.raises(
        AffineurError, match=rf"no space left on the disk of {tmp_path}/kept .* while writing scores"
    ):
        swept(trained, tmp_path / "out", data, PLAN)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert beside(tmp_path / "out") == ["kept"]
