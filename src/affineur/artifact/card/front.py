"""The front matter of a card, which the Hub reads.

Scores are in ``model-index``. The newer ``.eval_results/*.yaml`` is for benchmarks on the Hub's allow-list
(https://huggingface.co/docs/hub/eval-results), none of which is a corpus of named entities: none is written.
"""

from __future__ import annotations

import math
import re
from typing import Any

from affineur.artifact.card.contents import Carried, Measured
from affineur.artifact.card.markdown import folded, short_name
from affineur.artifact.card.names import is_id, listed, names_in
from affineur.artifact.formats.core.format import library_of
from affineur.artifact.manifest import Manifest

_TAGS = {"distill": "distilled", "prune": "pruned", "quantize": "quantized", "pack": "packed"}
_PACKAGED = ("sample", "sample-int8")  # models of affineur-fr, as they are typed: on no hub
_WIDGET = [{"text": "Marie Curie a reçu le prix Nobel de physique à Stockholm en 1903."}]
_TRAINED = ("train", "distill", "recover")


def front_matter(
    manifest: Manifest, measured: Measured | None, carried: Carried, name: str, base: str | list[str] | None
) -> dict[str, Any]:
    """Build the front matter, in the order it is written; what is not known is left out."""
    given = dict(carried.metadata)
    tags = [
        "affineur",
        "token-classification",
        "ner",
        *(tag for stage, tag in _TAGS.items() if stage in stages(manifest)),
    ]
    found = {key: given.pop(key, None) for key in ("license", "license_name", "license_link", "language")}
    if carried.license:
        found |= {"license": carried.license, "license_name": None, "license_link": None}
    found |= {
        "pipeline_tag": "token-classification",
        "library_name": library_of(manifest.kind),
        "base_model": base,
    }
    found |= {
        "base_model_relation": _relation(manifest, base),
        "tags": list(dict.fromkeys([*tags, *listed(given.pop("tags", None))])),
    }
    found |= {"datasets": given.pop("datasets", None)}
    widget = given.pop("widget", None)
    found |= {"widget": _widget(listed(found["language"])) if widget in (None, _WIDGET) else widget}
    if measured:
        found |= {
            "metrics": ["f1", "precision", "recall", "accuracy"],
            "model-index": _model_index(measured, name),
        }
    given.pop("base_model", None)
    # A copy of each value: shared ones would be written as YAML anchors.
    return {
        key: list(value) if isinstance(value, list) else value
        for key, value in {**found, **given}.items()
        if value is not None
    }


def _widget(languages: list[str]) -> list[dict[str, str]] | None:
    """Give the Hub a sentence to try the model on; none where it is known to read no French."""
    return None if languages and "fr" not in languages else [*map(dict, _WIDGET)]


def _model_index(measured: Measured, name: str) -> list[dict[str, Any]]:
    interval = f"95 % interval {measured.f1_low:.3f} to {measured.f1_high:.3f}"
    metrics = [
        ("f1", measured.f1, f"F1 (mentions, micro, exact span and type; {interval})"),
        ("precision", measured.precision, "Precision (mentions, micro)"),
        ("recall", measured.recall, "Recall (mentions, micro)"),
        ("accuracy", measured.accuracy, "Accuracy (words)"),
    ]
    figures: list[dict[str, Any]] = [
        {"type": kind, "value": round(float(value), 6), "name": said}
        for kind, value, said in metrics
        if math.isfinite(value)
    ]
    if figures and figures[0]["type"] == "f1":
        figures[0]["args"] = {
            "f1_low": round(float(measured.f1_low), 6),
            "f1_high": round(float(measured.f1_high), 6),
            "confidence": 0.95,
        }
    shown = folded(short_name(measured.data)) or "data"
    # The Hub refuses a type that could not be the id of a data set.
    kind = (
        measured.dataset_id
        if measured.dataset_id and is_id(measured.dataset_id)
        else re.sub(r"[^A-Za-z0-9_-]+", "-", shown).strip("-") or "data"
    )
    dataset = {
        "name": shown,
        "type": kind,
        "split": folded(measured.split) or "test",
        "args": {"sha256": folded(measured.data_digest)},
    }
    return [
        {
            "name": name,
            "results": [
                {
                    "task": {"type": "token-classification", "name": "NER"},
                    "dataset": dataset,
                    "metrics": figures,
                }
            ],
        }
    ]


def base_model(manifest: Manifest, carried: Carried) -> str | list[str] | None:
    """Name the topmost known ancestor that lent its weights.

    A Hub id comes before what that model's card names as its own base (the Hub shows the rest of the chain),
    and this before the name of a folder. What a card of ours says was found that way when the chain began.
    """
    named = names_in(carried.metadata.get("base_model"))
    named = (
        [n for n in named if is_id(n)]
        if isinstance(named, list)
        else named
        if named and is_id(named)
        else None
    )
    if carried.ours and named:
        return named
    if not manifest.parents:
        source = str(manifest.parameters.get("source", "")) if manifest.stage == "download" else ""
        found = source.removeprefix("hub:").partition("@")[0] if source.startswith("hub:") else ""
        return found if is_id(found) else named or None
    top = manifest.parents[-1]
    if top.stage == "configuration":  # nothing but its shape was used
        return None
    if "/" in top.name and is_id(top.name):
        return top.name
    return named or (top.name if is_id(top.name) and top.name not in _PACKAGED else None)


def _relation(manifest: Manifest, base: str | list[str] | None) -> str | None:
    """Say how a model relates to its base in the Hub's words, or ``None`` where they have none for it.

    Pruning is none of them.
    """
    if not isinstance(base, str):
        return None
    if manifest.stage == "quantize":
        return "quantized"
    return "finetune" if any(stage in _TRAINED for stage in stages(manifest)) else None


def stages(manifest: Manifest) -> list[str]:
    """Name the stages of a model and its ancestors, its own first."""
    return [manifest.stage, *(parent.stage for parent in manifest.parents)]
