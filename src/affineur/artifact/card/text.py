"""The whole text of a card."""

from __future__ import annotations

import hashlib

import yaml

from affineur.artifact.card.contents import NOTHING, Carried, Measured
from affineur.artifact.card.front import base_model, front_matter
from affineur.artifact.card.markdown import code_span, folded
from affineur.artifact.card.sections import (
    environment,
    license_terms,
    limits,
    lineage,
    reproduce,
    scores,
    summary,
    use,
)
from affineur.artifact.info import ModelInfo
from affineur.artifact.manifest import Manifest
from affineur.entities import encodable


def card_text(
    info: ModelInfo,
    manifest: Manifest,
    measured: Measured | None = None,
    carried: Carried = NOTHING,
    name: str | None = None,
) -> str:
    """Write the text of a card.

    Args:
        info: What the folder holds.
        manifest: Where it comes from.
        measured: What it scored, or ``None`` where nobody measured.
        carried: What is taken over from another card.
        name: What to call the model; the folder's name by default.
    """
    name = folded(name or info.folder.path.name or "model")
    base = base_model(manifest, carried)
    front = yaml.safe_dump(
        front_matter(manifest, measured, carried, name, base),
        sort_keys=False,
        allow_unicode=True,
        width=10**9,
    )
    sections = [
        summary(info, name),
        lineage(info, manifest, name, base),
        f"## Labels\n\n{', '.join(map(code_span, info.folder.labels))}\n\nThe label of a word is that of "
        "its first piece.",
        use(info, name),
        scores(manifest, measured, name),
        limits(info, manifest, measured, carried),
        reproduce(manifest, measured, name),
        license_terms(carried),
        environment(manifest),
    ]
    body = "\n" + encodable("\n\n".join(section for section in sections if section)) + "\n"
    mark = " limits" if carried.limits else ""  # so that cards made from this one need not read its text
    return f"---\n{encodable(front)}---\n{body}\n<!-- affineur card {body_digest(body)}{mark} -->\n"


def body_digest(body: str) -> str:
    """Digest the text below the front matter: by it an edited card is told from ours."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]
