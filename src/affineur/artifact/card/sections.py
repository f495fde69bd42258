"""The sections of a card, for readers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from affineur.artifact.card.contents import Carried, Measured
from affineur.artifact.card.markdown import (
    bullets,
    code_span,
    ends,
    fenced,
    folded,
    literal,
    short_name,
    table,
)
from affineur.artifact.card.names import listed
from affineur.artifact.info import ModelInfo
from affineur.artifact.manifest import Manifest, Parent
from affineur.artifact.writing import MANIFEST
from affineur.display import megabytes


def summary(info: ModelInfo, name: str) -> str:
    """Say what the model is: the title and a paragraph."""
    architecture = (info.folder.config.get("architectures") or ["unknown architecture"])[0]
    whole = 1 - info.nonzero / info.parameters if info.parameters else 0.0
    return (
        f"# {literal(name)}\n\nA token classifier for named entities: {literal(architecture)}, "
        f"{info.folder.layers} encoder layers, "
        f"{info.parameters:,} parameters, {megabytes(info.folder.size_bytes)} of weights "
        f"({info.precision or ', '.join(info.dtypes)}). "
        f"Sparsity: {info.sparsity:.2%} of the attention and feed-forward weights are zero, {whole:.2%} of "
        "the whole model. "
        f"Made with Affineur; `{MANIFEST}` beside this card has every parameter and digest."
    )


def lineage(info: ModelInfo, manifest: Manifest, name: str, base: str | list[str] | None) -> str:
    """Write the chain up to the teacher."""
    lines = [f"{code_span(name)}: {literal(manifest.stage)}, digest `{info.folder.digest()[:12]}`"]
    lines += [
        f"from {code_span(p.name)}: {literal(p.stage)}, digest {code_span(p.digest[:12])}"
        for p in manifest.parents
    ]
    text = "## Lineage\n\n" + "\n".join(f"{place}. {line}" for place, line in enumerate(lines, 1))
    if manifest.recipe:
        text += f"\n\nMade by a recipe with the digest {code_span(manifest.recipe[:12])}."
    if isinstance(base, str) and "/" not in base and manifest.parents and base == manifest.parents[-1].name:
        text += (
            f"\n\n`base_model` above is the name of a folder: put the id of {code_span(base)} on the Hub "
            "there, if it has one."
        )
    return text


def use(info: ModelInfo, name: str) -> str:
    """Show how it is used, with transformers alone and with Affineur."""
    quoted = json.dumps(name)
    # Byte-level tokenizers cut a word as after a space only if told so; ModernBERT's has no option for it.
    kind = info.folder.config.get("model_type")
    prefix = ", add_prefix_space=True" if kind in ("roberta", "deberta") else ""
    given = '[" " + word for word in words]' if kind == "modernbert" else "words"
    exported, extra = info.folder.is_graph, info.folder.format.extra
    ours = f"""import affineur  # pip install {f"'affineur[{extra}]'" if extra else "affineur"}

for entity in affineur.load({quoted})("Marie Curie, Paris"):
    print(entity)"""
    shown = ["With Affineur, on running text of any length:", fenced(ours, "python")]
    if exported:
        return "\n\n".join(
            [
                "## Use",
                *shown,
                "No torch is needed. The model proves itself on the CPU it is loaded on, or is refused.",
            ]
        )
    packed = (
        "\nimport affineur  # so that transformers can read the packed weights"
        if info.folder.kind == "packed"
        else ""
    )
    plain = f"""import torch{packed}
from transformers import AutoModelForTokenClassification, AutoTokenizer

name = {quoted}  # this folder, or its id on the Hub
tokenizer = AutoTokenizer.from_pretrained(name{prefix})
model = AutoModelForTokenClassification.from_pretrained(name).float().eval()
words = ["Marie", "Curie", ",", "Paris"]
batch = tokenizer({given}, is_split_into_words=True, return_tensors="pt")
with torch.no_grad():
    best = model(**batch).logits[0].argmax(-1).tolist()
labels = {{}}
for piece, word in enumerate(batch.word_ids()):
    if word is not None:  # the first piece of a word decides
        labels.setdefault(word, model.config.id2label[best[piece]])
print([(word, labels.get(i, "O")) for i, word in enumerate(words)])"""
    alone = "With transformers:" if packed else "With transformers alone:"
    return "\n\n".join(["## Use", alone, fenced(plain, "python"), *shown])


def scores(manifest: Manifest, measured: Measured | None, name: str) -> str:
    """Write what was measured, or how to measure it."""
    parts = ["## Scores"]
    if measured is None:
        parts.append(
            f"Not measured yet: {code_span(f'affineur evaluate {shlex.quote(name)} --data DATA --card')}"
        )
    else:
        parts.append(
            f"**F1 {measured.f1:.2%}** (95 % interval {ends(measured.f1_low, measured.f1_high)}), "
            f"precision {measured.precision:.2%}, "
            f"recall {measured.recall:.2%}, word accuracy {measured.accuracy:.2%}, on "
            f"{measured.sentences:,} sentences, {measured.words:,} words of "
            f"{code_span(short_name(measured.data))} ({literal(measured.split)}; digest over words and "
            f"tags {code_span(measured.data_digest[:12])}). "
            "F1 counts mentions, micro, exact span and type; the interval is a bootstrap over sentences, "
            "or documents where the data has them."
        )
        if measured.drop is not None:
            interval = ""
            if measured.drop_low is not None and measured.drop_high is not None:
                interval = (
                    f" (95 % interval {measured.drop_low * 100:+z.2f} to {measured.drop_high * 100:+z.2f}, "
                    "paired over the same sentences)"
                )
            parts.append(
                f"F1 lost against {code_span(measured.baseline or 'the baseline')}: "
                f"{measured.drop * 100:+z.2f} points{interval}."
            )
        if measured.per_type:
            columns = ("Type", "F1", "95 %", "Precision", "Recall", "Gold mentions")
            parts.append(
                table(columns, [_type_row(kind, scores) for kind, scores in measured.per_type.items()])
            )
        if measured.columns and measured.cells:
            parts.append("Compared with others, in one run on one machine:")
            parts.append(table(measured.columns, measured.cells))
        parts.append(bullets(map(literal, [*measured.footnotes, *measured.notes])))
    dev = manifest.scores.get("dev_f1")
    dev = [f1 for f1 in dev if isinstance(f1, float)] if isinstance(dev, list) else []
    if dev:
        last = max(dev) if manifest.parameters.get("keep_best") else dev[-1]
        parts.append(
            f"On dev data, while it was made: F1 {last:.2%}. Decisions may have been made on that data: it "
            "is no test score."
        )
    return "\n\n".join(part for part in parts if part)


def _type_row(kind: str, scores: Mapping[str, Any]) -> list[str]:
    support = scores.get("support")
    if support == 0:
        return [kind, "no gold mention", "–", "–", "–", "0"]
    low, high = scores.get("f1_low"), scores.get("f1_high")
    percents = [
        f"{scores[key]:.2%}" if isinstance(scores.get(key), float | int) else "–"
        for key in ("f1", "precision", "recall")
    ]
    interval = ends(low, high) if low is not None and high is not None else "–"
    return [kind, percents[0], interval, *percents[1:], "–" if support is None else f"{support:,}"]


def limits(info: ModelInfo, manifest: Manifest, measured: Measured | None, carried: Carried) -> str:
    """Say what it cannot do, and what nobody knows of it."""
    corpora = [
        data["train"]
        for data in (manifest.data, *(parent.data for parent in manifest.parents))
        if isinstance(data.get("train"), dict)
    ]
    trained = list(
        dict.fromkeys(code_span(short_name(str(corpus.get("name", "data")))) for corpus in corpora)
    )
    unknown = "What it learned from is not recorded here; see the cards of the models it comes from"
    domain = f"It learned from {', '.join(trained)}" if trained else unknown
    if trained and manifest.parents and manifest.parents[-1].stage != "configuration":
        domain += f", after whatever {code_span(_top(manifest))} had learned from"
    lines = [f"{domain}. Text of another language, period or kind may score far lower: measure it on yours."]
    lines.append(
        f"The scores above are those of {code_span(short_name(measured.data))} alone."
        if measured
        else "Nobody has measured it on held-out text yet."
    )
    lines.append(
        f"It knows {len(info.folder.labels)} labels, flat and without nesting; everything else is `O`."
    )
    if info.sparsity >= 0.001:  # half precision alone rounds a few weights to zero
        lines.append(
            "Zeros are stored like any weight: in this dense file they make the model neither smaller nor "
            "faster."
        )
    if {"F16", "BF16"} & set(info.dtypes):
        lines.append("Weights are stored in half precision; use them in float32, as the code above does.")
    if carried.limits:
        top = code_span(_top(manifest))
        lines.append(f"The card of {top} names limits of its own; they hold here too, so see that card.")
    return "## Limits\n\n" + bullets(lines)


def _top(manifest: Manifest) -> str:
    return manifest.parents[-1].name if manifest.parents else "the model it comes from"


def reproduce(manifest: Manifest, measured: Measured | None, name: str) -> str:
    """Write the commands that made the model, as its steps stored them, and those that give its scores."""
    commands: list[str] = []
    remarks: list[str] = []
    chain = [
        Parent(manifest.stage, "", name, manifest.parameters, manifest.data, manifest.command),
        *manifest.parents,
    ]
    for step, source in reversed(list(pairwise(chain))):
        commands.append(step.command or _made(step, source.name))
        if roles := [_corpus(role, entry) for role, entry in step.data.items() if isinstance(entry, dict)]:
            remarks.append(f"Data of {literal(step.stage)}: {', '.join(roles)}.")
        if "teacher" in step.parameters:
            teacher = step.parameters
            remarks.append(
                f"Teacher: {code_span(str(teacher['teacher']))}, digest "
                f"{code_span(str(teacher.get('teacher_digest', ''))[:12])}."
            )
    if not commands:
        commands.append(f"# {folded(manifest.stage)}: how the model was made before is not recorded here")
    if measured:
        commands += measured.commands.values()
    code = fenced("\n".join(map(folded, commands)), "bash")
    return "\n\n".join(["## Reproduce", code, bullets(dict.fromkeys(remarks))]).rstrip()


def _corpus(role: str, entry: Mapping[str, Any]) -> str:
    known = isinstance(entry.get("sentences"), int)
    sentences = f"{entry['sentences']:,} sentences, " if known else ""
    named = code_span(short_name(str(entry.get("name", "data"))))
    return f"{literal(role)} {named} ({sentences}digest {code_span(str(entry.get('digest', ''))[:12])})"


def _made(step: Parent, source: str) -> str:
    """Say how a model was made whose step stored no command."""
    parameters = json.dumps(step.parameters, ensure_ascii=False, default=str)
    return f"# {step.stage}: {source} → {step.name}, parameters {parameters}"


def license_terms(carried: Carried) -> str:
    """Say under which license it comes, as far as it is known."""
    known = listed(carried.metadata.get("license"))
    if carried.license:
        before = [license for license in known if license != carried.license]
        text = f"## License\n\n{code_span(carried.license)}, as whoever published this model chose."
        if before:
            text += f" The card of the model it comes from says {', '.join(map(code_span, before))}."
        return text
    if not known:
        return (
            "## License\n\nNot known: no card of a model this one comes from names a license. Their terms "
            "hold all the same, and those of the data: "
            "find them, and add `license` to the metadata above before you share this model."
        )
    text = f"## License\n\n{', '.join(map(code_span, known))}"
    if name := carried.metadata.get("license_name"):
        text += f" ({', '.join(map(literal, listed(name)))})"
    text += (
        ", as the card of the model it comes from says. Whether the data it learned from since allows "
        "this was not checked."
    )
    links = listed(carried.metadata.get("license_link"))
    if any("://" not in link for link in links):
        text += (
            f" `license_link` names a file beside that card ({', '.join(map(code_span, links))}), which is "
            "not copied here: add it."
        )
    return text


def environment(manifest: Manifest) -> str:
    """Say on what it was made."""
    found = manifest.environment
    libraries = found.get("libraries")
    listed = (
        ", ".join(f"{name} {number}" for name, number in libraries.items())
        if isinstance(libraries, dict)
        else ""
    )
    flags = " ".join(map(str, found.get("cpu_flags") or ()))
    machine = ", ".join(
        str(part)
        for part in (
            found.get("cpu"),
            f"{found['cores']} cores" if "cores" in found else None,
            flags,
            found.get("system"),
        )
        if part is not None and part != ""
    )
    python = f"Python {found['python']}" if "python" in found else ""
    said = "; ".join(part for part in (python, listed, machine) if part)
    return f"## Environment\n\n{literal(said)}." if said else ""
