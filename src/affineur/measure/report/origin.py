"""Where the figures come from: lineage, recipe, environment, commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from affineur.artifact import Manifest, ModelInfo
from affineur.artifact.formats.core.format import weights_among
from affineur.display import megabytes
from affineur.measure.report.contents import Report
from affineur.measure.report.markup import Html, el, join, table
from affineur.measure.report.words import percent

_STAGES = {
    "given": "as given",
    "cast": "stored at another precision",
    "train": "trained",
    "distill": "distilled",
    "prune": "pruned",
    "recover": "recovered",
    "shrink": "shrunk",
    "trim-vocab": "vocabulary trimmed",
    "pack": "packed",
    "unpack": "made dense again",
    "export": "exported",
    "quantize": "quantized",
}
_SHORT = 12  # letters of a digest that tell it from any other


def has_lineage(report: Report) -> bool:
    """Whether any folder says where it comes from."""
    return any(info.manifest is not None for info in report.models.values())


def lineage(report: Report) -> Html:
    """Show how the model came to be, and what each folder holds."""
    parts = []
    info = report.models.get(report.row.model)
    if info is not None and info.manifest is not None:
        parts += [
            el("p", f"From the first model to {report.row.model}:"),
            _chain(report.row.model, info.manifest),
        ]
    columns = ["Model", "Made by", "From", "Parameters", "Not zero", "Size", "Numbers stored as"]
    rows = [
        _folder(row.model, report.models[row.model])
        for row in report.comparison.rows
        if row.model in report.models
    ]
    if rows:
        words = ("Made by", "From", "Numbers stored as")
        parts.append(table("What the folders of the models say of themselves", columns, rows, words=words))
    return join(parts)


def _chain(name: str, manifest: Manifest) -> Html:
    links = [
        el("li", el("strong", p.name), f" – {_stage(p.stage)}, digest ", el("code", p.digest[:_SHORT]))
        for p in reversed(manifest.parents)
    ]
    settings = "; ".join(
        f"{key} {_plain(value)}" for key, value in manifest.parameters.items() if value is not None
    )
    weights = [manifest.files[file] for file in weights_among(manifest.kind, manifest.files)]
    last = [el("strong", name), f" – {_stage(manifest.stage)}"]
    last += [f" ({settings})"] if settings else []
    last += [", weights ", el("code", weights[0][:_SHORT])] if weights else []
    data = [
        el(
            "p",
            f"Data, {role}: {known.get('name', '?')}, digest ",
            el("code", str(known.get("digest", "?"))[:_SHORT]),
            class_="note",
        )
        for role, known in manifest.data.items()
        if isinstance(known, Mapping)
    ]
    return join([el("ol", *links, el("li", *last), class_="chain"), *data])


def _stage(stage: str) -> str:
    return _STAGES.get(stage, stage)


def _folder(name: str, info: ModelInfo) -> list[str]:
    manifest = info.manifest
    parents = manifest.parents if manifest else []
    return [
        name,
        _stage(manifest.stage) if manifest else "unknown",
        parents[0].name if parents else "–",
        f"{info.parameters:,}",
        percent(info.nonzero / info.parameters, 2) if info.parameters else "–",
        megabytes(sum(info.parts.values())) if info.parts else "–",
        ", ".join(info.dtypes) or "–",
    ]


def recipe(text: str) -> Html:
    """Show the recipe, folded away."""
    return el("details", el("summary", "The recipe as it was run"), _code(text))


def environment(machine: Mapping[str, Any]) -> Html:
    """List what the figures were measured on; the date stands at the head of the page."""
    rows = [
        [_label(key), _plain(value)]
        for key, value in machine.items()
        if key not in ("description", "date") and value not in (None, "", [], {})
    ]
    return table("The machine and the libraries", ["What", "Found"], rows, class_="wrap")


def commands(known: Sequence[tuple[str, str]]) -> Html:
    """Give what to type for each figure."""
    return join(join([el("p", what), _code(command)]) for what, command in known)


def _code(text: str) -> Html:
    return el("pre", el("code", text.rstrip("\n")))


def _label(key: str) -> str:
    return {"cpu": "CPU", "cpu_flags": "CPU instruction sets"}.get(key, key.replace("_", " ").capitalize())


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(inner) for inner in value)
    return str(value)
