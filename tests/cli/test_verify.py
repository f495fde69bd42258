"""``affineur verify``: every file at fault is named, and so is whoever signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import affineur
from affineur.artifact import CARD, MANIFEST, SIGNATURE, Manifest, write_manifest
from affineur.cli.main import main
from affineur.errors import ModelError
from affineur.transfer.signing import sign
from keys import write_certificate, write_key


def build_model(folder: Path) -> Path:
    """Write files under the names of a model's; nothing here looks inside them."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text(f"content of {name}", "utf-8")
    return folder


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = build_model(tmp_path / "model")
    (folder / CARD).write_text("a card", "utf-8")
    write_manifest(folder, Manifest("transformers", "prune"))
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    write_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def outcome(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    """Run it; return its status, its JSON and what it says to people on standard error."""
    status = main(["verify", *map(str, words), "--json", "-"])
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out else {}, said.err


def fault(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    status, _, said = outcome(capsys, *words)
    assert status == 1
    lines = [line for line in said.splitlines() if line.startswith("affineur: ")]
    assert len(lines) == 1
    return lines[0]


def test_an_artifact_as_it_was_made(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (artifact / ".gitattributes").touch()
    assert main(["verify", str(artifact)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert f"{artifact} is what was written (4 files); not signed" in said.out
    assert "model.safetensors" in said.out
    status, found, _ = outcome(capsys, artifact)
    assert status == 0
    assert found == {
        "folder": str(artifact),
        "passed": True,
        "kind": "transformers",
        "stage": "prune",
        "files": dict.fromkeys([CARD, "config.json", "model.safetensors", "tokenizer.json"], "good"),
        "faults": [],
        "signature": {"state": "none", "by": None, "problem": None},
    }


def test_every_file_at_fault_is_named(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (artifact / "config.json").write_text("{}")
    (artifact / "tokenizer.json").unlink()
    (artifact / "pytorch_model.bin").touch()
    (artifact / CARD).write_text("edited")
    status, found, said = outcome(capsys, artifact)
    assert status == 1
    assert found["faults"] == ["config.json", "pytorch_model.bin", "tokenizer.json"]
    assert found["files"] == {
        CARD: "edited",
        "config.json": "differs",
        "model.safetensors": "good",
        "pytorch_model.bin": "unlisted",
        "tokenizer.json": "missing",
    }
    expected = "config.json differs, pytorch_model.bin is there and is not listed, tokenizer.json is missing"
    assert f"affineur: {artifact} is not as it was made: {expected}\n" in said


def test_an_edited_card_is_no_fault(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (artifact / CARD).write_text("edited")
    assert outcome(capsys, artifact)[0] == 0
    (artifact / CARD).unlink()
    assert outcome(capsys, artifact)[0] == 0


def test_folders_that_are_no_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = build_model(tmp_path / "plain")
    assert "plain has no affineur.json, expected a folder with" in fault(capsys, plain)
    assert "nowhere is not there, expected a folder with" in fault(capsys, tmp_path / "nowhere")
    assert "config.json is a file, expected a folder with" in fault(capsys, plain / "config.json")
    (plain / MANIFEST).write_text("{")
    assert "affineur.json is damaged" in fault(capsys, plain)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["../secret"], "names '../secret', which lies outside the folder"),
        (["/etc/passwd"], "names '/etc/passwd', which lies outside the folder"),
        (["..\\secret"], "which lies outside the folder"),
        (
            ["config.json", "Config.json"],
            "names 'Config.json', which differs from 'config.json' only by case",
        ),
    ],
)
def test_tricks_with_names(
    names: list[str], what: str, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = json.loads((artifact / MANIFEST).read_text("utf-8"))
    raw["files"] = dict.fromkeys(names, "0" * 64)
    (artifact / MANIFEST).write_text(json.dumps(raw), "utf-8")
    assert what in fault(capsys, artifact)


def test_a_link_out_of_the_folder(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (artifact / "config.json").rename(artifact.parent / "config.json")
    (artifact / "config.json").symlink_to("../config.json")
    assert "config.json is a link out of the folder" in fault(capsys, artifact)


# ---- signatures ----


def test_a_signature_that_holds(artifact: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sign(artifact, key)
    assert main(["verify", str(artifact)]) == 0
    assert "which was not checked: give --verify-key or --certificates" in capsys.readouterr().out
    assert outcome(capsys, artifact)[1]["signature"]["state"] == "not checked"
    status, found, _ = outcome(capsys, artifact, "--verify-key", key.with_suffix(".pub"))
    assert status == 0
    assert found["signature"]["state"] == "holds"
    assert found["signature"]["by"].startswith("the key ")
    assert found["signature"]["problem"] is None


def test_certificates(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = tmp_path / "team.pem"
    write_certificate(certificate, "The Team", write_key(tmp_path / "key.pem"))
    sign(artifact, tmp_path / "key.pem", certificate=certificate)
    status, found, _ = outcome(capsys, artifact, "--certificates", certificate)
    assert status == 0
    assert found["signature"]["by"].startswith("CN=The Team, issued by CN=The Team (")


def test_another_key(artifact: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sign(artifact, key)
    write_key(tmp_path / "other.pem")
    line = fault(capsys, artifact, "--verify-key", tmp_path / "other.pub")
    assert f"{artifact / SIGNATURE} was made with another key" in line


def test_no_signature_where_a_key_is_given(
    artifact: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fault(capsys, artifact, "--verify-key", key.with_suffix(".pub"))
    assert f"{artifact} is not signed (it has no model.sig)" in line


def test_a_key_that_cannot_be_read(
    artifact: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        line = fault(capsys, artifact, "--verify-key", tmp_path / "nowhere")
        assert f"--verify-key '{tmp_path / 'nowhere'}' cannot be read (No such file or directory)" in line
        sign(artifact, key)


def _whole_other_manifest(folder: Path) -> None:
    """Change a file, and the manifest with it: digests alone cannot tell."""
    (folder / "config.json").write_text("{}")
    write_manifest(folder, Manifest("transformers", "prune"))


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize(
    ("change", "names"),
    [
        (_whole_other_manifest, ["affineur.json", "config.json"]),
        (lambda folder: (folder / "sbom.json").touch(), ["sbom.json"]),
        (lambda folder: (folder / "tokenizer.json").unlink(), ["tokenizer.json"]),
    ],
)
def test_what_is_not_what_was_signed(
    change: Callable[[Path], Any],
    names: list[str],
    checked: bool,
    artifact: Path,
    key: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sign(artifact, key)
    change(artifact)
    more = ("--verify-key", key.with_suffix(".pub")) if checked else ()
    status, found, said = outcome(capsys, artifact, *more)
    assert status == 1
    assert found["signature"]["state"] == "does not hold"
    assert found["faults"] == names
    assert all(name in said for name in names)


def test_a_damaged_signature(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (artifact / SIGNATURE).write_text("{}")
    assert "model.sig is not a signature of OpenSSF model signing" in fault(capsys, artifact)


# ---- Python ----


def test_the_same_in_python(artifact: Path, key: Path) -> None:
    sign(artifact, key)
    found = affineur.verify(artifact, key=key.with_suffix(".pub"))
    assert found.passed
    assert found.faults == {}
    assert dict(found) == found.as_dict()
    assert repr(found).startswith("<Verification: ")
    assert "signed by the key" in str(found)
    assert "<table" in found._repr_html_()
    (artifact / "config.json").unlink()
    found = affineur.verify(str(artifact))
    assert not found.passed
    assert list(found.faults) == ["config.json"]
    with pytest.raises(ModelError, match=r"has no affineur.json"):
        affineur.verify(artifact.parent)
