"""Reading cards, and writing them into finished artifacts."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from affineur.artifact.card.contents import NOTHING, Carried, Measured
from affineur.artifact.card.names import names_in
from affineur.artifact.card.text import body_digest, card_text
from affineur.artifact.folder import file_digest
from affineur.artifact.info import describe
from affineur.artifact.manifest import CARD, read_manifest, seal
from affineur.artifact.reading import parse_yaml
from affineur.artifact.writing import MANIFEST, write_text
from affineur.errors import ModelError, ParameterError
from affineur.progress import report

# What a model inherits from the card of the model it was made from.
_INHERITED = ("license", "license_name", "license_link", "language", "base_model", "datasets")
_LICENSE = ("license", "license_name", "license_link")
# What is worked out anew each time.
_COMPUTED = ("pipeline_tag", "library_name", "base_model_relation", "tags", "metrics", "model-index")
_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_SEAL = re.compile(r"\n<!-- affineur card ([0-9a-f]{16})( limits)? -->\n\Z")
_LIMITS = re.compile(
    r"^(?:#+|\*\*|__)[^\n]{0,80}\b(?:limit|limits|limitations?|bias|biases|out-of-scope)\b",
    re.IGNORECASE | re.MULTILINE,
)


def read_card(folder: Path, own: bool = False) -> Carried:
    """Read what a new card takes over from the ``README.md`` of a folder; from a damaged one nothing.

    Args:
        folder: The model folder.
        own: Whether the new card will replace this one: then all metadata is kept that is not worked out
            anew.
    """
    try:
        text = (folder / CARD).read_text("utf-8-sig")
    except (OSError, ValueError):
        return NOTHING
    return carried_by(text, own)


def carried_by(text: str, own: bool = False) -> Carried:
    """Read what a new card takes over from the text of another; from a damaged one nothing.

    Args:
        text: The card.
        own: As for :func:`read_card`.
    """
    front = _FRONT.match(text)
    body = text[front.end() :] if front else text
    ours = _SEAL.search(text)
    # Each of our own cards has a section on limits: only the mark counts that the seal carries.
    limits = bool(ours[2]) if ours else bool(_LIMITS.search(body))
    try:
        found = parse_yaml(front[1], unique_keys=False) if front else {}
    except ValueError:
        found = {}
    found = found if isinstance(found, dict) else {}
    if found.get("language") is False:  # YAML 1.1 reads Norwegian, no, as a truth value
        found["language"] = "no"
    kept: dict[str, Any] = {key: names for key in _INHERITED if (names := names_in(found.get(key)))}
    if own:
        kept |= {
            key: value
            for key, value in found.items()
            if isinstance(key, str) and key not in (*_INHERITED, *_COMPUTED)
        }
        kept["tags"] = names_in(found.get("tags"))
    return Carried(kept, limits, ours is not None)


def write_card(folder: Path | str, measured: Measured | None = None, keep_table: bool = False) -> bool:
    """Write the ``README.md`` of a finished artifact, and the scores into its manifest, if they are new.

    The manifest comes first, with the digest of the card to be, and the card second, each atomically: between
    the two every file is listed, and :func:`~affineur.artifact.verify` lets a card that differs pass.
    License, language and whatever else somebody added to the front matter stay. A card whose text somebody
    edited is left alone, and only the manifest learns the scores.

    Args:
        folder: The artifact.
        measured: What was measured; ``None`` for what the manifest has from before, if anything.
        keep_table: Keep the table of several models that the manifest has from before (see
            :meth:`Measured.with_table_of`).

    Returns:
        Whether the card says this now; ``False`` where it was left alone.

    Raises:
        ModelError: If there is no manifest, a file differs from it, or the model cannot be described.
        ParameterError: If the folder is in the Hub's cache.
        AffineurError: If the disk is full or not writable.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise ModelError(
            f"{folder} has no {MANIFEST}, and only what Affineur made gets a card; write its {CARD} by hand"
        )
    if (folder / MANIFEST).is_symlink():
        raise ParameterError(
            f"{folder} lies in the Hub's cache, which is not ours to change; give a copy of it"
        )
    folder = folder.resolve()
    info = describe(folder)
    stored = manifest.scores.get("measured")
    before = _stored(stored) if isinstance(stored, dict) else None
    if measured is not None:
        measured = measured.with_table_of(before) if keep_table and before else measured
        manifest = replace(manifest, scores={**manifest.scores, "measured": asdict(measured)})
    else:
        measured = before
    if not _is_free(folder / CARD):
        seal(folder, manifest)
        report(
            f"{folder / CARD} was written or edited by hand and is left as it is; move it away to have one "
            "written"
        )
        return False
    text = card_text(info, manifest, measured, read_card(folder, own=True))
    digest = hashlib.sha256(text.encode()).hexdigest()
    seal(folder, replace(manifest, files=dict(sorted({**manifest.files, CARD: digest}.items()))))
    if not ((folder / CARD).is_file() and file_digest(folder / CARD) == digest):
        write_text(folder / CARD, text)
    return True


def licensed_card(folder: Path, license: str) -> str:
    """Write the text of an artifact's card under a license; the card in the folder stays as it is.

    Of a card that somebody edited only the front matter changes.

    Args:
        folder: The artifact.
        license: Its license, as the Hub names it, such as ``cc-by-nc-sa-4.0``.

    Raises:
        ModelError: If the model cannot be described.
    """
    manifest, card = read_manifest(folder), folder / CARD
    if manifest is not None and _is_free(card):
        stored = manifest.scores.get("measured")
        measured = _stored(stored) if isinstance(stored, dict) else None
        carried = replace(read_card(folder, own=True), license=license)
        return card_text(describe(folder), manifest, measured, carried)
    text = card.read_text("utf-8-sig", errors="replace") if card.is_file() else ""
    front = _FRONT.match(text)
    try:
        said = parse_yaml(front[1], unique_keys=False) if front else {}
    except ValueError:
        raise ModelError(
            f"the front matter of {card} is not YAML, so the license has no place in it; repair it, or leave "
            "license out"
        ) from None
    said = {"license": license, **{k: v for k, v in (said or {}).items() if k not in _LICENSE}}
    written = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=10**9)
    return f"---\n{written}---\n{text[front.end() :] if front else text}"


def _stored(scores: dict[str, Any]) -> Measured | None:
    try:
        return Measured.of(scores)
    except TypeError:  # by another version, or by hand
        return None


def _is_free(card: Path) -> bool:
    """Say whether a card is absent or its text below the front matter is as Affineur wrote it."""
    if not card.exists():
        return True
    try:
        return is_written_by_us(card.read_text("utf-8"))
    except (OSError, ValueError):
        return False


def is_written_by_us(text: str) -> bool:
    """Say whether a card below its front matter is as Affineur wrote it."""
    front, found = _FRONT.match(text), _SEAL.search(text)
    return bool(front and found and found[1] == body_digest(text[front.end() : found.start()]))
