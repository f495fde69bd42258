"""What an artifact was made of: a bill of materials as CycloneDX 1.6 has it.

It says of the model what ``affineur.json`` and the card say, in words that other tools read: its files and
their sha256, the models it was made from up to the teacher, the data, the libraries, the license and the
scores. The same artifact gives the same bytes: there is no time in it, and its number is made of its content.
Command lines and parameters stay out, for they may name folders of whoever made it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from affineur.artifact import (
    BILL,
    CARD,
    MANIFEST,
    Manifest,
    Measured,
    ModelInfo,
    describe,
    file_digest,
    read_card,
    read_manifest,
    to_json,
    write_text,
)
from affineur.errors import ModelError
from affineur.transfer.hub import need

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCORES = {"f1": "F1", "precision": "precision", "recall": "recall", "accuracy": "accuracy of words"}


def write_sbom(folder: Path | str) -> Path:
    """Write the bill of materials of an artifact, ``sbom.json``, beside its files.

    A signature covers it: write it first, then sign.

    Args:
        folder: The artifact.

    Returns:
        The file.

    Raises:
        ModelError: If the folder is no artifact, or a file differs from its manifest.
        MissingExtraError: If the library is not installed.
    """
    folder = Path(folder)
    need("cyclonedx", "a bill of materials")
    info, manifest = describe(folder), read_manifest(folder)
    if manifest is None:
        raise ModelError(
            f"{folder} has no {MANIFEST}, and only of what Affineur made it is known what it was made of"
        )
    if (folder / MANIFEST).is_symlink():
        raise ModelError(f"{folder} lies in the Hub's cache, which is not ours to change; give a copy of it")
    text = to_json(_bill(folder, info, manifest)) + "\n"
    path = folder / BILL
    if not (path.is_file() and path.read_bytes() == text.encode()):
        write_text(path, text)
    return path


def _bill(folder: Path, info: ModelInfo, manifest: Manifest) -> dict[str, Any]:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.output.json import JsonV1Dot6

    model = _model(folder, info, manifest)
    data, libraries = _data(manifest), _libraries(manifest)
    bom = Bom(metadata=BomMetaData(component=model), components=[*data, *libraries])
    bom.register_dependency(model, [*data, *libraries])
    found: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    found["metadata"].pop("timestamp", None)  # when this was written says nothing of the artifact
    found.pop("serialNumber", None)
    written = found["metadata"]["component"]
    if ancestors := written.get("pedigree", {}).get("ancestors"):
        ancestors.sort(key=lambda each: int(each["bom-ref"].partition(":")[2]))
    # The library has no words for this part of the format yet.
    written["modelCard"] = _model_card(info, manifest, [str(each.bom_ref) for each in data])
    return _numbered(found)


def _numbered(found: dict[str, Any]) -> dict[str, Any]:
    """Give it a number that is made of its content."""
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).digest()
    head = {key: found.pop(key) for key in ("$schema", "bomFormat", "specVersion") if key in found}
    return head | {"serialNumber": UUID(bytes=digest[:16], version=4).urn, **found}


def _model(folder: Path, info: ModelInfo, manifest: Manifest) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType, Pedigree

    def sha256(digest: str) -> list[HashType]:
        plain = _SHA256.fullmatch(digest)
        return [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if plain else []

    facts = info.as_dict()
    digests = {name: digest for name, digest in manifest.files.items() if name != CARD}
    digests[MANIFEST] = file_digest(folder / MANIFEST)
    weights = [file.name for file in info.folder.weight_files()]
    told = {
        "kind": manifest.kind,
        "stage": manifest.stage,
        "digest": facts["digest"],
        "layers": facts["layers"],
        "parameters": facts["parameters"],
        "nonzero parameters": facts["nonzero_parameters"],
        "sparsity": f"{info.sparsity:.6f}",
        "sparsity of the whole model": f"{facts['sparsity_of_model']:.6f}",
        "labels": " ".join(info.folder.labels),
        "precision": info.precision or ", ".join(info.dtypes),
    }
    ancestors = [
        Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=public_name(parent.name),
            bom_ref=f"ancestor:{place}",
            hashes=sha256(parent.digest),
            description="The sha256 is over the digests of its weights, configuration and tokenizer.",
            properties=[
                Property(name="affineur:stage", value=parent.stage),
                Property(name="affineur:generation", value=str(place)),
            ],
        )
        for place, parent in enumerate(manifest.parents, 1)
    ]
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=folder.resolve().name,
        bom_ref="model",
        hashes=sha256(digests[weights[0]]) if len(weights) == 1 and weights[0] in digests else [],
        description=f"A token classifier ({facts['architecture']}), made by the stage {manifest.stage}.",
        licenses=_licenses(folder),
        pedigree=Pedigree(ancestors=ancestors) if ancestors else None,
        components=[
            Component(type=ComponentType.FILE, name=name, bom_ref=f"file:{name}", hashes=sha256(digest))
            for name, digest in digests.items()
        ],
        properties=[
            Property(name=f"affineur:{key}", value=str(value)) for key, value in told.items() if value
        ],
    )


def _model_card(info: ModelInfo, manifest: Manifest, data: list[str]) -> dict[str, Any]:
    architecture = info.as_dict()["architecture"]
    found: dict[str, Any] = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "token-classification",
            "architectureFamily": str(info.folder.config.get("model_type") or "transformer"),
            "modelArchitecture": str(architecture),
            **({"datasets": [{"ref": each} for each in data]} if data else {}),
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "labels of tokens"}],
        }
    }
    if metrics := _metrics(manifest.scores.get("measured")):
        found["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    return found


def _metrics(scores: Any) -> list[dict[str, Any]]:
    """Write the scores of a manifest as metrics, those of each type too."""
    if not isinstance(scores, Mapping):
        return []
    try:
        measured = Measured.of(scores)
    except TypeError:  # by another version, or by hand
        return []
    where = f"{public_name(measured.data)}, {measured.split}, {measured.sentences} sentences"
    found = []
    for key, name in _SCORES.items():
        metric: dict[str, Any] = {"type": name, "value": _figure(getattr(measured, key)), "slice": where}
        if key == "f1":
            metric["confidenceInterval"] = _interval(measured.f1_low, measured.f1_high)
        found.append(metric)
    for kind, one in sorted(measured.per_type.items()):
        if "f1" in one:
            metric = {"type": "F1", "value": _figure(one["f1"]), "slice": f"{where}, {kind}"}
            if "f1_low" in one and "f1_high" in one:
                metric["confidenceInterval"] = _interval(one["f1_low"], one["f1_high"])
            found.append(metric)
    return found


def _interval(low: float, high: float) -> dict[str, str]:
    return {"lowerBound": _figure(low), "upperBound": _figure(high)}


def _figure(share: float) -> str:
    return f"{float(share):.6f}"


def _data(manifest: Manifest) -> list[Any]:
    """Name the data an artifact and its ancestors were made and measured with, each once."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    roles: dict[tuple[str, str], list[str]] = {}
    tables: list[tuple[str, Mapping[str, Any]]] = [(manifest.stage, manifest.data)]
    tables += [(parent.stage, parent.data) for parent in manifest.parents]
    for stage, table in tables:
        for role, given in table.items():
            if isinstance(given, Mapping) and given.get("name"):
                key = (public_name(str(given["name"])), str(given.get("digest", "")))
                roles.setdefault(key, []).append(f"{stage}: {role}")
    measured = manifest.scores.get("measured")
    if isinstance(measured, Mapping) and measured.get("data"):
        key = (public_name(str(measured["data"])), str(measured.get("data_digest", "")))
        roles.setdefault(key, []).append("measured")
    return [
        Component(
            type=ComponentType.DATA,
            name=name,
            bom_ref=f"data:{place}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if _SHA256.fullmatch(digest) else [],
            description="The sha256 is over its words and tags.",
            properties=[Property(name="affineur:role", value=role) for role in dict.fromkeys(used)],
        )
        for place, ((name, digest), used) in enumerate(sorted(roles.items()), 1)
    ]


def _libraries(manifest: Manifest) -> list[Any]:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    found = manifest.environment.get("libraries")
    return [
        Component(
            type=ComponentType.LIBRARY,
            name=str(name),
            version=str(version),
            bom_ref=f"library:{name}",
            purl=PackageURL("pypi", name=str(name), version=str(version)),
        )
        for name, version in sorted((found if isinstance(found, Mapping) else {}).items())
    ]


def _licenses(folder: Path) -> list[Any]:
    """Read the license off the card, by its SPDX id where it has one."""
    from cyclonedx.model import XsUri
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.spdx import fixup_id

    said = read_card(folder).metadata
    named = said.get("license")
    found = []
    for name in [named] if isinstance(named, str) else named or []:
        if spdx := fixup_id(name):
            found.append(DisjunctiveLicense(id=spdx))
            continue
        own, link = said.get("license_name"), said.get("license_link")
        address = XsUri(link) if isinstance(link, str) and link.startswith("https://") else None
        known = own if name == "other" and isinstance(own, str) else name
        found.append(DisjunctiveLicense(name=known, url=address))
    return found


def public_name(name: str) -> str:
    """Shorten a name to what says nothing of whoever's machine it is on.

    An id of the Hub stays, and an address without what may be a secret in it; of a path the last part.
    """
    if "://" in name:
        parts = urlsplit(name)
        if parts.scheme == "file":
            return public_name(parts.path)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"
    plain = name.replace("\\", "/").rstrip("/")
    path = re.match(r"[/~.]|[A-Za-z]:/", plain) or plain.count("/") > 1
    return (plain.rpartition("/")[2] or name) if path else name
