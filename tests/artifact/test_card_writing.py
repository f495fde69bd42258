"""Model cards: written into an artifact, never over what people wrote, and not where they do not belong."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from affineur.artifact import (
    CARD,
    MANIFEST,
    SCORES,
    Measured,
    open_folder,
    read_manifest,
    refuse_to_lose,
    verify,
    write_card,
    write_manifest,
)
from affineur.artifact.card import files as module
from affineur.errors import ModelError, ParameterError
from affineur.progress import listening

from .cards import PRUNED, SCORED, front, state, text_of

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


def test_commands_are_taken_over_but_for_those_of_the_scores(artifact: Path) -> None:
    before = replace(SCORED, commands={"the table": "affineur compare a b", SCORES: "affineur evaluate old"})
    found = replace(SCORED, commands={SCORES: "affineur evaluate new"}).with_table_of(before)
    assert found.commands == {"the table": "affineur compare a b", SCORES: "affineur evaluate new"}
    listed = Measured.of(asdict(SCORED) | {"commands": ["affineur compare a b"]})
    assert list(listed.commands.values()) == ["affineur compare a b"]


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
    added = "license: mit\nlanguage: br\ndate: 2024-01-02\n"
    text = (
        text_of(artifact)
        .replace("---\n", f"---\n{added}", 1)
        .replace("- ner\n", "- ner\n- breton\n")
        .replace("Marie Curie a reçu le prix Nobel de physique à Stockholm en 1903.", "Brest")
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
