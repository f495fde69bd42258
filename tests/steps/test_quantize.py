"""``quantize``: the bar is met by keeping what costs most, the result proves itself, and nothing is half
done.
"""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from affineur.artifact import MANIFEST, open_folder, verify
from affineur.artifact.exported import EXPORT_INFO, ExportInfo, read_export_info
from affineur.artifact.selftest import SELF_TEST, Agreement, SelfTest, read_self_test, write_self_test
from affineur.engines.support.graph_files import graph_bytes
from affineur.engines.support.onnx_tagger import load_onnx
from affineur.engines.support.session_pool import open_session
from affineur.entities import Corpus, Sentence
from affineur.errors import AffineurError, DataError, ModelError, ParameterError
from affineur.runtime import Encoder
from affineur.steps import quantize as module
from affineur.steps.graphs import exporting
from affineur.steps.graphs.eight_bits import SCHEMES
from affineur.steps.graphs.graph import linears, tables
from affineur.steps.graphs.trial import Trial
from affineur.steps.quantize import TARGETS, this_cpu

from .conftest import run_step, state

AVX2 = {"target": "avx2", "min_agreement": 0.0}
HOSTILE = "roberta.encoder.layer.1.output.dense.weight"


def rewrite(source: Path, folder: Path, change: Any) -> Path:
    """Copy an exported artifact with other weights, their own logits in its self-test, and no manifest."""
    shutil.copytree(source, folder)
    (folder / MANIFEST).unlink()
    selftest = read_self_test(folder)
    assert selftest is not None
    (folder / SELF_TEST).unlink()
    model = onnx.load(folder / "model.onnx")
    stored = {t.name: t for t in model.graph.initializer}
    for name, array in change({n: numpy_helper.to_array(t).copy() for n, t in stored.items()}).items():
        stored[name].CopyFrom(numpy_helper.from_array(array, name))
    (folder / "model.onnx").write_bytes(graph_bytes(model))
    logits = load_onnx(folder).forward(selftest.ids, selftest.mask)
    write_self_test(folder, SelfTest(selftest.ids, selftest.mask, logits, Agreement(1.0, 0.0), "fp32", "any"))
    return folder


def quantize(model: Path, out: Path, text: Corpus | None, **parameters: Any) -> ExportInfo:
    """Run the step; return what it says of its result."""
    found = read_export_info(run_step("quantize", model, out, calibration=text, **parameters))
    assert found is not None
    assert found.parity is not None
    return found


@pytest.fixture(scope="session")
def hostile(shared_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One weight of each output of one matrix is huge, on an input that is nearly never there: its scale
    drowns the others.
    """

    def change(weights: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        wide, first = weights[HOSTILE], "roberta.encoder.layer.1.intermediate.dense"
        wide[0] = 60
        before = weights[f"{first}.weight"]
        before[:, 0] = 0
        bias = weights[f"{first}.bias"]
        bias[0] = -30  # GELU makes 0 of it
        return {HOSTILE: wide, f"{first}.weight": before, f"{first}.bias": bias}

    return rewrite(shared_onnx, tmp_path_factory.mktemp("hostile") / "onnx", change)


def test_exactly_the_hostile_matrix_is_kept(hostile: Path, train_corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    how: dict[str, Any] = {"target": "avx2", "scheme": "u8u8", "activations": "token"}
    found = quantize(hostile, out, train_corpus, min_agreement=0.99, **how)
    assert found.kept == (HOSTILE,)
    assert found.parity is not None
    assert found.parity["same_tags"] >= 0.99
    manifest = verify(out)
    assert manifest is not None
    assert manifest.scores["kept"] == [HOSTILE]
    model = onnx.load(out / "model.onnx")
    assert [linear.name for linear in linears(model)] == [HOSTILE, "classifier.weight"]
    assert tables(model) == []
    # What it says is true: the words' tags, counted here anew.
    words = [s.words for s in train_corpus]
    ours, theirs = load_onnx(out).tag(words), load_onnx(hostile).tag(words)
    same = [a == b for one, two in zip(ours, theirs, strict=True) for a, b in zip(one, two, strict=True)]
    assert len(same) == found.parity["words"]
    assert np.mean(same) == pytest.approx(found.parity["same_tags"], abs=2 / len(same))
    all_small = quantize(hostile, tmp_path / "all", train_corpus, min_agreement=0.0, **how)
    assert all_small.kept == ()
    assert all_small.parity is not None
    assert all_small.parity["same_tags"] < 0.99, "it was hostile"
    larger = open_folder(out).size_bytes - open_folder(tmp_path / "all").size_bytes
    assert larger == pytest.approx(3 * 32 * 48, abs=1500)


def test_the_fewest_that_meet_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number is needed, the search finds it, and asks for no bar but the given one."""
    names = [f"m{i}" for i in range(37)]
    monkeypatch.setattr(Trial, "_ranking", lambda _: names)
    for needed in range(38):
        asked: list[int] = []

        def meets(
            self: Any, kept: list[str], bar: float, needed: int = needed, asked: list[int] = asked
        ) -> bool:
            assert kept == names[: len(kept)]
            assert bar == 0.995
            asked.append(len(kept))
            return len(kept) >= needed

        monkeypatch.setattr(Trial, "meets", meets)
        trial = object.__new__(Trial)
        assert len(trial.fewest_kept(0.995)) == needed
        assert len(asked) == len(set(asked)) <= 13
        asked.clear()
        assert trial.fewest_kept(0) == []
        assert asked == []


def test_tokens_get_scales_where_that_pays(shared_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of matrix is chosen in all its layers, and only if its scales take away more than a tenth of the
    squared error.
    """
    squared = {"query": 0.5, "intermediate": 0.895, "attention.output": 0.905}

    def judge(self: Any, kept: list[str]) -> tuple[None, Agreement]:
        assert kept == []
        kind = next(
            (
                squared[kind]
                for kind in squared
                if self.by_token and all(kind in name for name in self.by_token)
            ),
            1.0,
        )
        return None, Agreement(1.0, 0.02 * kind**0.5)

    monkeypatch.setattr(Trial, "judge", judge)
    trial = object.__new__(Trial)
    trial.graph, trial.by_token = onnx.load(shared_onnx / "model.onnx"), ()
    layers = [f"roberta.encoder.layer.{i}" for i in range(2)]
    expected = {
        f"{layer}.{kind}.weight"
        for layer in layers
        for kind in ("attention.self.query", "intermediate.dense")
    }
    assert set(trial.worth_a_token()) == expected


def test_a_thin_calibration_text_does_not_clip_ordinary_text(
    shared_onnx: Path, train_corpus: Corpus, tmp_path: Path
) -> None:
    """One word says nothing of the ranges that other words need; the sample's text is measured beside it."""
    one = Corpus.scan("one", lambda: iter([Sentence(("Paris",), ("O",))]))
    parent, theirs = load_onnx(shared_onnx), [s.words for s in train_corpus]
    expected = np.concatenate(parent.logits(theirs))
    errors = {}
    for name, text in (("thin", one), ("whole", train_corpus)):
        quantize(shared_onnx, tmp_path / name, text, scheme="u8u8", activations="static", **AVX2)
        errors[name] = Agreement.between(
            np.concatenate(load_onnx(tmp_path / name).logits(theirs)), expected
        ).error
    assert errors["thin"] < 1.5 * errors["whole"]


def test_all_tokens_get_scales_before_a_bar_is_missed(
    shared_onnx: Path, train_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = Trial.judge

    def judge(self: Any, *words: Any) -> tuple[Any, Agreement]:
        tagger, agreement = real(self, *words)
        return tagger, agreement if self.activations == "token" else Agreement(0.9, agreement.error)

    monkeypatch.setattr(Trial, "judge", judge)
    how = {"target": "avx2", "scheme": "u8u8", "min_agreement": 0.99}
    found = quantize(shared_onnx, tmp_path / "out", train_corpus, **how)
    assert (found.activations, found.by_token, found.kept) == ("token", (), ())
    assert "QuantizeLinear" in {
        node.op_type for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node
    }


def test_a_bar_that_cannot_be_met_is_one_line(
    shared_onnx: Path, train_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = Trial.judge
    monkeypatch.setattr(Trial, "judge", lambda self, *words: (real(self, *words)[0], Agreement(0.5, 0.9)))
    with pytest.raises(
        ModelError,
        match=r"keeps only 50\.00% of the parent's tags on this CPU .*expected 99\.50%; nothing was written",
    ) as error:
        quantize(shared_onnx, tmp_path / "out", train_corpus, target="vnni", scheme="u8u8")
    assert len(str(error.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes(scheme: str, shared_onnx: Path, train_corpus: Corpus, tmp_path: Path) -> None:
    if scheme == "u8s8" and this_cpu() in ("avx2", "avx512"):
        pytest.skip("this CPU has no VNNI")
    found = quantize(shared_onnx, tmp_path / "out", train_corpus, scheme=scheme, **AVX2)
    assert (found.scheme, found.target) == (scheme, "avx2")
    assert open_folder(tmp_path / "out").size_bytes == (tmp_path / "out" / "model.onnx").stat().st_size
    selftest, parents = read_self_test(tmp_path / "out"), read_self_test(shared_onnx)
    assert selftest is not None
    assert parents is not None
    assert (selftest.scheme, selftest.target) == (scheme, "avx2")
    assert np.array_equal(selftest.logits, parents.logits), "the word of the parent in full precision"
    assert selftest.made == selftest.agreement(
        load_onnx(tmp_path / "out").forward(selftest.ids, selftest.mask)
    )
    assert 0 < selftest.made.error < 0.1


@pytest.mark.parametrize("flags", [["avx2"], ["avx2", "avx512f"]])
def test_what_this_cpu_cannot_prove_is_refused(
    flags: list[str], shared_onnx: Path, train_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "environment", lambda: {"cpu_flags": flags})
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    with pytest.raises(ModelError, match=r"u8s8 needs VNNI, which this CPU lacks.*for avx2"):
        quantize(shared_onnx, tmp_path / "out", train_corpus, target="vnni", min_agreement=0)
    assert not (tmp_path / "out").exists()


def test_a_second_run_does_nothing(shared_onnx: Path, train_corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quantize(shared_onnx, out, train_corpus, **AVX2)
    before = state(out)
    quantize(shared_onnx, out, train_corpus, scheme="u8s8-reduced", **AVX2)
    assert state(out) == before, "the target's own scheme, named"
    quantize(shared_onnx, out, train_corpus, scheme="u8u8", **AVX2)
    assert state(out) != before


def test_lineage(shared_int8: Path) -> None:
    manifest = verify(shared_int8)
    assert manifest is not None
    assert (manifest.kind, manifest.stage) == ("onnx", "quantize")
    assert manifest.parameters == {
        "for": "avx2",
        "scheme": "u8s8-reduced",
        "activations": "auto",
        "min_agreement": 0.0,
    }
    assert [p.stage for p in manifest.parents] == ["export", "given"]
    assert {"model.onnx", SELF_TEST, EXPORT_INFO, "config.json", "tokenizer.json"} <= set(manifest.files)


def test_what_cannot_be_done_is_one_line(
    shared_onnx: Path, shared_int8: Path, train_corpus: Corpus, tmp_path: Path
) -> None:
    foreign = Path(shutil.copytree(shared_onnx, tmp_path / "foreign"))
    for name in (MANIFEST, EXPORT_INFO, SELF_TEST):
        (foreign / name).unlink()
    out = tmp_path / "out"
    for error, said, options in (
        (
            ParameterError,
            "target='vnn' is impossible: expected 'auto', 'vnni', 'avx512', 'avx2' or 'arm'.*vnni",
            {"target": "vnn"},
        ),
        (
            ParameterError,
            "scheme='u8' is impossible: expected 'u8s8', 'u8s8-reduced' or 'u8u8'",
            {"scheme": "u8"},
        ),
        (
            ParameterError,
            "activations='tokens' is impossible: expected 'auto', 'static', 'token' or 'batch'.*token",
            {"activations": "tokens"},
        ),
        (ParameterError, r"min_agreement=1\.5 is impossible", {"min_agreement": 1.5}),
        (ParameterError, "min_agreement=-1 is impossible", {"min_agreement": -1}),
        (ParameterError, "min_agreement=nan is impossible", {"min_agreement": float("nan")}),
        (ModelError, r"is quantized already \(u8s8-reduced\)", {"model": shared_int8}),
        (ModelError, "was not exported by Affineur", {"model": foreign}),
        (ParameterError, "is the model itself", {"out": shared_onnx}),
        (ModelError, "is not there", {"model": tmp_path / "nothing"}),
    ):
        given: dict[str, Any] = {"model": shared_onnx, "out": out, "text": train_corpus, **options}
        with pytest.raises(error, match=said) as raised:
            quantize(**given)
        assert len(str(raised.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]


def test_text_without_a_piece_is_one_line(
    shared_onnx: Path, train_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Encoder, "windows", lambda *_: iter(()))
    with pytest.raises(DataError, match="no piece of any word"):
        quantize(shared_onnx, tmp_path / "out", train_corpus)


@pytest.mark.parametrize("fault", ["full", "interrupted"])
def test_all_or_nothing(
    fault: str, shared_onnx: Path, train_corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device") if fault == "full" else KeyboardInterrupt

    monkeypatch.setattr(exporting, "finish", fail)
    with pytest.raises(AffineurError if fault == "full" else KeyboardInterrupt) as error:
        quantize(shared_onnx, tmp_path / "out", train_corpus, **AVX2)
    assert len(str(error.value).splitlines()) <= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("machine", "flags", "kind"),
    [
        ("x86_64", ["avx2", "avx512f", "avx512_vnni"], "vnni"),
        ("x86_64", ["avx2", "avx_vnni"], "vnni"),
        ("AMD64", ["avx2", "avx512f"], "avx512"),
        ("x86_64", ["avx2"], "avx2"),
        ("x86_64", [], "avx2"),
        ("aarch64", ["asimddp"], "arm"),
        ("arm64", [], "arm"),
    ],
)
def test_the_cpu_at_hand(machine: str, flags: list[str], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.platform, "machine", lambda: machine)
    monkeypatch.setattr(module, "environment", lambda: {"cpu_flags": flags})
    assert this_cpu() == kind
    assert kind in TARGETS


def test_a_saturating_sum_cannot_happen_in_seven_bits() -> None:
    """Two products of the largest numbers stay within 16 bits signed; with eight bits they do not."""
    assert 2 * 255 * 64 < 2**15 <= 2 * 255 * 127


def test_the_graph_alone_runs(shared_int8: Path) -> None:
    info = json.loads((shared_int8 / EXPORT_INFO).read_text())
    assert info["scheme"] == "u8s8-reduced"
    session = open_session(shared_int8 / "model.onnx")
    logits = session.run(None, {name.name: np.ones((2, 9), np.int64) for name in session.get_inputs()})[0]
    assert logits.shape == (2, 9, 5)
