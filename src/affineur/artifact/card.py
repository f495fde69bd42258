"""``README.md``: what an artifact says of itself, to readers and to the Hub.

The front matter follows the Hub's specification (huggingface/hub-docs, ``modelcard.md``); whatever is not known is left
out of it and said to be unknown in the text. The card ends with a digest of its own text, by which a card that somebody
edited is told from one that may be written anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from affineur.artifact.folder import file_digest
from affineur.artifact.info import ModelInfo, describe
from affineur.artifact.manifest import CARD, Manifest, Parent, read_manifest, seal
from affineur.artifact.writing import MANIFEST, write_text
from affineur.errors import ModelError, ParameterError
from affineur.progress import report

# What a model inherits from the card of the model it was made from.
_INHERITED = ("license", "license_name", "license_link", "language", "base_model", "datasets")
# What is worked out anew each time.
_COMPUTED = ("pipeline_tag", "library_name", "base_model_relation", "tags", "metrics", "model-index")
_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_SEAL = re.compile(r"\n<!-- affineur card ([0-9a-f]{16}) -->\n\Z")
_LIMITS = re.compile(r"^(?:#+|\*\*|__)[^\n]{0,80}\b(?:limit|limits|limitations?|bias|biases|out-of-scope)\b", re.IGNORECASE | re.MULTILINE)
_PARENT_LIMITS = "names limits of its own; they hold here too, so see that card."
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
# transfer.hub has the same rule, but this room may not import it.
_HUB_ID = re.compile(r"(?:\b[\w\-.]{1,96}\b/)?\b[\w\-.]{1,96}\b", re.ASCII)
_TAGS = {"distill": "distilled", "prune": "pruned", "quantize": "quantized", "pack": "packed"}
_TRAINED = ("train", "distill", "recover")
_TRAINING = ("epochs", "learning_rate", "batch_size", "weight_decay", "warmup", "seed")
_SOFT = ("soft_weight", "temperature", "hidden_weight")
# Parameters of each command of the command line; every one is an option of the same name.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "train": (*_TRAINING, "label_smoothing", "patience", "replace_mentions"),
    "distill": ("layers", "keep", *_TRAINING, *_SOFT),
    "prune": ("sparsity", "method", "scope", "max_layer_sparsity"),
    "recover": (*_TRAINING, *_SOFT),
}
_NOT_OPTIONS = ("labels", "from_weights", "teacher", "teacher_digest")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model scored on a corpus, as its card tells it. Scores are shares in [0, 1].

    Args:
        data: Name of the corpus; of an absolute path the card shows the last part only.
        data_digest: sha256 over its words and tags.
        sentences: How many sentences were scored.
        words: How many words.
        f1: Mention-level F1, micro, exact span and type.
        f1_low: Lower end of its 95 % interval.
        f1_high: Upper end.
        precision: Mention-level precision.
        recall: Mention-level recall.
        accuracy: Words with the right tag ÷ words.
        per_type: By type ``f1``, ``f1_low``, ``f1_high``, ``precision``, ``recall`` and ``support`` (gold mentions).
        split: Which part of the data it is, such as ``test``.
        dataset_id: The data set's id on the Hub, where it is known to be one.
        baseline: Name of the model that ``drop`` is counted from.
        drop: F1 lost against it; negative where F1 was won.
        drop_low: Lower end of its paired 95 % interval.
        drop_high: Upper end.
        columns: Heads of a table of several models, as they are to be read.
        cells: Its rows.
        footnotes: Lines below it.
        commands: Command lines that give these figures again.
        notes: Anything else that ought to be known of them.
    """

    data: str
    data_digest: str
    sentences: int
    words: int
    f1: float
    f1_low: float
    f1_high: float
    precision: float
    recall: float
    accuracy: float
    per_type: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    split: str = "test"
    dataset_id: str | None = None
    baseline: str | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    columns: Sequence[str] = ()
    cells: Sequence[Sequence[str]] = ()
    footnotes: Sequence[str] = ()
    commands: Sequence[str] = ()
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, scores: Mapping[str, Any], **more: Any) -> Measured:
        """Build one from the keys of ``evaluate --json``; those a card has no place for are left out.

        Args:
            scores: The scores.
            more: Other arguments of this class.

        Raises:
            TypeError: If a score is missing.
        """
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in {**scores, **more}.items() if key in known})


@dataclass(frozen=True, slots=True)
class Carried:
    """What a card takes over from another, or from what it said before.

    Args:
        metadata: Front matter to keep.
        limits: Whether a model this one comes from has a card that names limits.
        ours: Whether it was read from a card that Affineur wrote.
    """

    metadata: Mapping[str, Any] = field(default_factory=dict)
    limits: bool = False
    ours: bool = False


_NOTHING = Carried()


def read_card(folder: Path, own: bool = False) -> Carried:
    """Read what a new card takes over from the ``README.md`` of a folder; a missing or damaged one gives nothing.

    Args:
        folder: The model folder.
        own: Whether the new card will replace this one: then all metadata is kept that is not worked out anew.
    """
    try:
        text = (folder / CARD).read_text("utf-8-sig")
    except (OSError, ValueError):
        return _NOTHING
    front = _FRONT.match(text)
    body = text[front.end() :] if front else text
    ours = _SEAL.search(text) is not None
    # Of our own cards only this sentence counts: each has a section on limits.
    limits = _PARENT_LIMITS in body if ours else bool(_LIMITS.search(body))
    try:
        found = yaml.safe_load(front[1]) if front else {}
    except Exception:  # YAML written by hand fails in many ways, not all of them a YAMLError
        found = {}
    found = found if isinstance(found, dict) else {}
    if found.get("language") is False:  # YAML 1.1 reads Norwegian, no, as a truth value
        found["language"] = "no"
    kept: dict[str, Any] = {key: names for key in _INHERITED if (names := _names(found.get(key)))}
    if own:
        kept |= {key: value for key, value in found.items() if isinstance(key, str) and key not in (*_INHERITED, *_COMPUTED)}
        kept["tags"] = _names(found.get("tags"))
    return Carried(kept, limits, ours)


def write_card(folder: Path | str, measured: Measured | None = None) -> bool:
    """Write the ``README.md`` of a finished artifact, and the scores into its manifest. Where both say so already, nothing is written.

    The manifest comes first, with the digest of the card to be, and the card second, each atomically: between the two
    every file is listed, and :func:`~affineur.artifact.verify` lets a card that differs pass. License, language and
    whatever else somebody added to the front matter stay. A card whose text somebody edited is left alone, and only
    the manifest learns the scores.

    Args:
        folder: The artifact.
        measured: What was measured; ``None`` for what the manifest has from before, if anything.

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
        raise ModelError(f"{folder} has no {MANIFEST}, and only what Affineur made gets a card; write its {CARD} by hand")
    if (folder / MANIFEST).is_symlink():
        raise ParameterError(f"{folder} lies in the Hub's cache, which is not ours to change; give a copy of it")
    folder = folder.resolve()
    info = describe(folder)
    stored = manifest.scores.get("measured")
    if measured is not None:
        manifest = replace(manifest, scores={**manifest.scores, "measured": asdict(measured)})
    elif isinstance(stored, dict):
        measured = _stored(stored)
    if not _is_free(folder / CARD):
        seal(folder, manifest)
        report(f"{folder / CARD} was written or edited by hand and is left as it is; move it away to have one written")
        return False
    text = card_text(info, manifest, measured, read_card(folder, own=True))
    digest = hashlib.sha256(text.encode()).hexdigest()
    seal(folder, replace(manifest, files=dict(sorted({**manifest.files, CARD: digest}.items()))))
    if not ((folder / CARD).is_file() and file_digest(folder / CARD) == digest):
        write_text(folder / CARD, text)
    return True


def _stored(scores: dict[str, Any]) -> Measured | None:
    try:
        return Measured.of(scores)
    except TypeError:  # by another version, or by hand
        return None


def _is_free(card: Path) -> bool:
    """Say whether a card is absent or its text is as Affineur wrote it, whatever was done to the front matter."""
    if not card.exists():
        return True
    try:
        text = card.read_text("utf-8")
    except (OSError, ValueError):
        return False
    front, found = _FRONT.match(text), _SEAL.search(text)
    return bool(front and found and found[1] == _digest(text[front.end() : found.start()]))


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def card_text(info: ModelInfo, manifest: Manifest, measured: Measured | None = None, carried: Carried = _NOTHING, name: str | None = None) -> str:
    """Write the text of a card.

    Args:
        info: What the folder holds.
        manifest: Where it comes from.
        measured: What it scored, or ``None`` where nobody measured.
        carried: What is taken over from another card.
        name: What to call the model; the folder's name by default.
    """
    name = _line(name or info.folder.path.name or "model")
    base = _base_model(manifest, carried)
    front = yaml.safe_dump(_front_matter(manifest, measured, carried, name, base), sort_keys=False, allow_unicode=True, width=10**9)
    sections = [
        _summary(info, name),
        _lineage(info, manifest, name, base),
        f"## Labels\n\n{', '.join(map(_code, info.folder.labels))}\n\nThe label of a word is that of its first piece.",
        _use(info, name),
        _scores(manifest, measured, name),
        _limits(info, manifest, measured, carried),
        _reproduce(manifest, measured, name),
        _license(carried),
        _environment(manifest),
    ]
    body = "\n" + _encodable("\n\n".join(section for section in sections if section)) + "\n"
    return f"---\n{_encodable(front)}---\n{body}\n<!-- affineur card {_digest(body)} -->\n"


# ---- front matter


def _front_matter(manifest: Manifest, measured: Measured | None, carried: Carried, name: str, base: str | list[str] | None) -> dict[str, Any]:
    given = dict(carried.metadata)
    tags = ["affineur", "token-classification", "ner", *(tag for stage, tag in _TAGS.items() if stage in _stages(manifest))]
    found = {key: given.pop(key, None) for key in ("license", "license_name", "license_link", "language")}
    found |= {"pipeline_tag": "token-classification", "library_name": "transformers", "base_model": base}
    found |= {"base_model_relation": _relation(manifest, base), "tags": list(dict.fromkeys([*tags, *_listed(given.pop("tags", None))]))}
    found |= {"datasets": given.pop("datasets", None)}
    if measured:
        found |= {"metrics": ["f1", "precision", "recall", "accuracy"], "model-index": _model_index(measured, name)}
    given.pop("base_model", None)
    # A copy of each value: shared ones would be written as YAML anchors.
    return {key: list(value) if isinstance(value, list) else value for key, value in {**found, **given}.items() if value is not None}


def _model_index(measured: Measured, name: str) -> list[dict[str, Any]]:
    interval = f"95 % interval {measured.f1_low:.3f} to {measured.f1_high:.3f}"
    metrics = [
        ("f1", measured.f1, f"F1 (mentions, micro, exact span and type; {interval})"),
        ("precision", measured.precision, "Precision (mentions, micro)"),
        ("recall", measured.recall, "Recall (mentions, micro)"),
        ("accuracy", measured.accuracy, "Accuracy (words)"),
    ]
    listed: list[dict[str, Any]] = [
        {"type": kind, "value": round(float(value), 6), "name": said} for kind, value, said in metrics if math.isfinite(value)
    ]
    if listed and listed[0]["type"] == "f1":
        listed[0]["args"] = {"f1_low": round(float(measured.f1_low), 6), "f1_high": round(float(measured.f1_high), 6), "confidence": 0.95}
    shown = _line(_short(measured.data)) or "data"
    # The Hub refuses a type that could not be the id of a data set.
    kind = measured.dataset_id if measured.dataset_id and _is_id(measured.dataset_id) else re.sub(r"[^A-Za-z0-9_-]+", "-", shown).strip("-") or "data"
    dataset = {"name": shown, "type": kind, "split": _line(measured.split) or "test", "args": {"sha256": _line(measured.data_digest)}}
    return [{"name": name, "results": [{"task": {"type": "token-classification", "name": "NER"}, "dataset": dataset, "metrics": listed}]}]


def _base_model(manifest: Manifest, carried: Carried) -> str | list[str] | None:
    """Name the topmost known ancestor that lent its weights.

    A Hub id comes before what that model's card names as its own base (the Hub shows the rest of the chain), and
    this before the name of a folder. What a card of ours says was found that way when the chain began.
    """
    named = _names(carried.metadata.get("base_model"))
    named = [n for n in named if _is_id(n)] if isinstance(named, list) else named if named and _is_id(named) else None
    if carried.ours and named:
        return named
    if not manifest.parents:
        source = str(manifest.parameters.get("source", "")) if manifest.stage == "download" else ""
        found = source.removeprefix("hub:") if source.startswith("hub:") else ""
        return found if _is_id(found) else named or None
    top = manifest.parents[-1]
    if top.stage == "configuration":  # nothing but its shape was used
        return None
    if "/" in top.name and _is_id(top.name):
        return top.name
    return named or (top.name if _is_id(top.name) else None)


def _relation(manifest: Manifest, base: str | list[str] | None) -> str | None:
    """Say how a model relates to its base in the Hub's words, or ``None`` where they have none for it: pruning is none of them."""
    if not isinstance(base, str):
        return None
    if manifest.stage == "quantize":
        return "quantized"
    return "finetune" if any(stage in _TRAINED for stage in _stages(manifest)) else None


def _stages(manifest: Manifest) -> list[str]:
    return [manifest.stage, *(parent.stage for parent in manifest.parents)]


# ---- sections


def _summary(info: ModelInfo, name: str) -> str:
    architecture = (info.folder.config.get("architectures") or ["unknown architecture"])[0]
    whole = 1 - info.nonzero / info.parameters if info.parameters else 0.0
    return (
        f"# {_text(name)}\n\nA token classifier for named entities: {_text(architecture)}, {info.folder.layers} encoder layers, "
        f"{info.parameters:,} parameters, {_megabytes(info.folder.size_bytes)} of weights ({', '.join(info.dtypes)}). "
        f"Sparsity: {info.sparsity:.2%} of the attention and feed-forward weights are zero, {whole:.2%} of the whole model. "
        f"Made with Affineur; `{MANIFEST}` beside this card has every parameter and digest."
    )


def _lineage(info: ModelInfo, manifest: Manifest, name: str, base: str | list[str] | None) -> str:
    lines = [f"{_code(name)}: {_text(manifest.stage)}, digest `{info.folder.digest()[:12]}`"]
    lines += [f"from {_code(p.name)}: {_text(p.stage)}, digest {_code(p.digest[:12])}" for p in manifest.parents]
    text = "## Lineage\n\n" + "\n".join(f"{place}. {line}" for place, line in enumerate(lines, 1))
    if manifest.recipe:
        text += f"\n\nMade by a recipe with the digest {_code(manifest.recipe[:12])}."
    if isinstance(base, str) and "/" not in base and manifest.parents and base == manifest.parents[-1].name:
        text += f"\n\n`base_model` above is the name of a folder: put the id of {_code(base)} on the Hub there, if it has one."
    return text


def _use(info: ModelInfo, name: str) -> str:
    literal = json.dumps(name)
    # Byte-level tokenizers cut a word as after a space only if told so; ModernBERT's has no option for it.
    kind = info.folder.config.get("model_type")
    prefix = ", add_prefix_space=True" if kind in ("roberta", "deberta") else ""
    given = '[" " + word for word in words]' if kind == "modernbert" else "words"
    plain = f"""import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

name = {literal}  # this folder, or its id on the Hub
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
    ours = f"""import affineur  # pip install 'affineur[compress]'

for entity in affineur.load({literal}).predict("Marie Curie, Paris"):
    print(entity.entity_group, entity.word, entity.start, entity.end, round(entity.score, 2))"""
    return "\n\n".join(
        ["## Use", "With transformers alone:", _fence(plain, "python"), "With Affineur, on running text of any length:", _fence(ours, "python")]
    )


def _scores(manifest: Manifest, measured: Measured | None, name: str) -> str:
    parts = ["## Scores"]
    if measured is None:
        parts.append(f"Not measured yet: {_code(f'affineur evaluate {shlex.quote(name)} --data DATA --card')}")
    else:
        parts.append(
            f"**F1 {measured.f1:.2%}** (95 % interval {_interval(measured.f1_low, measured.f1_high)}), precision {measured.precision:.2%}, "
            f"recall {measured.recall:.2%}, word accuracy {measured.accuracy:.2%}, on {measured.sentences:,} sentences, {measured.words:,} words of "
            f"{_code(_short(measured.data))} ({_text(measured.split)}; digest over words and tags {_code(measured.data_digest[:12])}). "
            "F1 counts mentions, micro, exact span and type; the interval is a bootstrap over sentences, or documents where the data has them."
        )
        if measured.drop is not None:
            interval = ""
            if measured.drop_low is not None and measured.drop_high is not None:
                interval = f" (95 % interval {measured.drop_low * 100:+.2f} to {measured.drop_high * 100:+.2f}, paired over the same sentences)"
            parts.append(f"F1 lost against {_code(measured.baseline or 'the baseline')}: {measured.drop * 100:+.2f} points{interval}.")
        if measured.per_type:
            columns = ("Type", "F1", "95 %", "Precision", "Recall", "Gold mentions")
            parts.append(_table(columns, [_type_row(kind, scores) for kind, scores in measured.per_type.items()]))
        if measured.columns and measured.cells:
            parts.append("Compared with others, in one run on one machine:")
            parts.append(_table(measured.columns, measured.cells))
        parts.append(_bullets(map(_text, [*measured.footnotes, *measured.notes])))
    dev = manifest.scores.get("dev_f1")
    dev = [f1 for f1 in dev if isinstance(f1, float)] if isinstance(dev, list) else []
    if dev:
        last = max(dev) if manifest.parameters.get("keep_best") else dev[-1]
        parts.append(f"On dev data, while it was made: F1 {last:.2%}. Decisions may have been made on that data: it is no test score.")
    return "\n\n".join(part for part in parts if part)


def _type_row(kind: str, scores: Mapping[str, Any]) -> list[str]:
    support = scores.get("support")
    if support == 0:
        return [kind, "no gold mention", "–", "–", "–", "0"]
    low, high = scores.get("f1_low"), scores.get("f1_high")
    percents = [f"{scores[key]:.2%}" if isinstance(scores.get(key), float | int) else "–" for key in ("f1", "precision", "recall")]
    interval = _interval(low, high) if low is not None and high is not None else "–"
    return [kind, percents[0], interval, *percents[1:], "–" if support is None else f"{support:,}"]


def _limits(info: ModelInfo, manifest: Manifest, measured: Measured | None, carried: Carried) -> str:
    corpora = [data["train"] for data in (manifest.data, *(parent.data for parent in manifest.parents)) if isinstance(data.get("train"), dict)]
    trained = list(dict.fromkeys(_code(_short(str(corpus.get("name", "data")))) for corpus in corpora))
    unknown = "What it learned from is not recorded here; see the cards of the models it comes from"
    domain = f"It learned from {', '.join(trained)}" if trained else unknown
    if trained and manifest.parents and manifest.parents[-1].stage != "configuration":
        domain += f", after whatever {_code(_top(manifest))} had learned from"
    lines = [f"{domain}. Text of another language, period or kind may score far lower: measure it on yours."]
    lines.append(
        f"The scores above are those of {_code(_short(measured.data))} alone." if measured else "Nobody has measured it on held-out text yet."
    )
    lines.append(f"It knows {len(info.folder.labels)} labels, flat and without nesting; everything else is `O`.")
    if info.sparsity >= 0.001:  # half precision alone rounds a few weights to zero
        lines.append("Zeros are stored like any weight: in this dense file they make the model neither smaller nor faster.")
    if {"F16", "BF16"} & set(info.dtypes):
        lines.append("Weights are stored in half precision; use them in float32, as the code above does.")
    if carried.limits:
        lines.append(f"The card of {_code(_top(manifest))} {_PARENT_LIMITS}")
    return "## Limits\n\n" + _bullets(lines)


def _top(manifest: Manifest) -> str:
    return manifest.parents[-1].name if manifest.parents else "the model it comes from"


def _reproduce(manifest: Manifest, measured: Measured | None, name: str) -> str:
    commands: list[str] = []
    remarks: list[str] = []
    chain = [Parent(manifest.stage, "", name, manifest.parameters, manifest.data), *manifest.parents]
    for step, source in reversed(list(pairwise(chain))):
        commands.append(_command(step, source.name))
        if roles := [_corpus(role, entry) for role, entry in step.data.items() if isinstance(entry, dict)]:
            remarks.append(f"`DATA` of {_text(step.stage)}: {', '.join(roles)}.")
        if "teacher" in step.parameters:
            teacher = step.parameters
            remarks.append(f"Teacher: {_code(str(teacher['teacher']))}, digest {_code(str(teacher.get('teacher_digest', ''))[:12])}.")
    if not commands:
        commands.append(f"# {_line(manifest.stage)}: how the model was made before is not recorded here")
    if measured:
        commands += measured.commands
    return "\n\n".join(["## Reproduce", _fence("\n".join(map(_line, commands)), "bash"), _bullets(dict.fromkeys(remarks))]).rstrip()


def _corpus(role: str, entry: Mapping[str, Any]) -> str:
    sentences = f"{entry['sentences']:,} sentences, " if isinstance(entry.get("sentences"), int) else ""
    return f"{_text(role)} {_code(_short(str(entry.get('name', 'data'))))} ({sentences}digest {_code(str(entry.get('digest', ''))[:12])})"


def _command(step: Parent, source: str) -> str:
    """Write the command line of a stage, with what it has no option for in a comment."""
    parameters = dict(step.parameters)
    if step.stage == "cast":
        call = f"from affineur import cast; cast({source!r}, {step.name!r}, {str(parameters.get('dtype'))!r})"
        return f"python -c {shlex.quote(call)}"
    if step.stage not in _OPTIONS:
        return f"# {step.stage}: {source} → {step.name}, parameters {json.dumps(parameters, ensure_ascii=False, default=str)}"
    words = ["affineur", step.stage, source]
    for key in _OPTIONS[step.stage]:
        if (value := parameters.pop(key, None)) is not None:
            words += [f"--{key.replace('_', '-')}", str(value)]
    if "teacher" in parameters:
        words += ["--teacher", str(parameters["teacher"])]
    prefixes = {str(label)[:2] for label in parameters.get("labels") or ()}
    if step.stage == "train" and "B-" in prefixes:
        words += ["--tags", "BIOES" if "S-" in prefixes else "BIO"]
    if step.data:
        words += ["--calibration" if "calibration" in step.data else "--data", "DATA"]
    # train keeps the best epoch by itself wherever it has dev data
    best = bool(parameters.pop("keep_best", False))
    more = {key: value for key, value in parameters.items() if value and key not in _NOT_OPTIONS}
    more |= {"keep_best": best} if best != (step.stage == "train" and "dev" in step.data) else {}
    said = ", ".join(f"{key}={value}" for key, value in more.items())
    return shlex.join([*words, "-o", step.name]) + (f" # in Python or a recipe, also: {said}" if said else "")


def _license(carried: Carried) -> str:
    known = _listed(carried.metadata.get("license"))
    if not known:
        return (
            "## License\n\nNot known: no card of a model this one comes from names a license. Their terms hold all the same, and those of the data: "
            "find them, and add `license` to the metadata above before you share this model."
        )
    text = f"## License\n\n{', '.join(map(_code, known))}"
    if name := carried.metadata.get("license_name"):
        text += f" ({', '.join(map(_text, _listed(name)))})"
    text += ", as the card of the model it comes from says. Whether the data it learned from since allows this was not checked."
    links = _listed(carried.metadata.get("license_link"))
    if any("://" not in link for link in links):
        text += f" `license_link` names a file beside that card ({', '.join(map(_code, links))}), which is not copied here: add it."
    return text


def _environment(manifest: Manifest) -> str:
    found = manifest.environment
    libraries = found.get("libraries")
    listed = ", ".join(f"{name} {number}" for name, number in libraries.items()) if isinstance(libraries, dict) else ""
    flags = " ".join(map(str, found.get("cpu_flags") or ()))
    machine = ", ".join(
        str(part)
        for part in (found.get("cpu"), f"{found['cores']} cores" if "cores" in found else None, flags, found.get("system"))
        if part is not None and part != ""
    )
    python = f"Python {found['python']}" if "python" in found else ""
    said = "; ".join(part for part in (python, listed, machine) if part)
    return f"## Environment\n\n{_text(said)}." if said else ""


# ---- Markdown that odd names cannot break


def _line(text: str) -> str:
    """Fold a text into one line without control characters or lone surrogates."""
    return " ".join(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text)).split())


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _text(text: str) -> str:
    """Escape what Markdown would read as more than text; an underscore inside a word is none of that."""
    return re.sub(r"[\\`*{}\[\]<>#|~&$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", _line(text))


def _code(text: str) -> str:
    """Write a code span that may hold backticks (CommonMark 6.1)."""
    inside = _line(text) or "?"
    ticks = "`" * (1 + max(map(len, re.findall("`+", inside)), default=0))
    space = " " if inside.startswith("`") or inside.endswith("`") else ""
    return f"{ticks}{space}{inside}{space}{ticks}"


def _fence(code: str, language: str) -> str:
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{ticks}{language}\n{code}\n{ticks}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    rows = [["---", *["---:"] * (len(columns) - 1)], *([*map(_text, row[: len(columns)])] for row in cells)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [[*map(_text, columns)], *rows])


def _short(name: str) -> str:
    """Shorten an absolute path to its last part: a card is for others, who do not have it."""
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] if re.match(r"[\\/~]|[A-Za-z]:[\\/]", name) else name


def _interval(low: float, high: float) -> str:
    return f"{low * 100:.1f}–{high * 100:.1f}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB"


def _is_id(name: str) -> bool:
    return bool(_HUB_ID.fullmatch(name)) and "--" not in name and ".." not in name and not name.endswith(".git")


def _names(value: Any) -> str | list[str] | None:
    """Return a name or a list of names, or ``None`` for anything else."""
    if isinstance(value, str):
        return _line(value) or None
    if isinstance(value, list):
        return [_line(name) for name in value if isinstance(name, str) and name.strip()] or None
    return None


def _listed(value: Any) -> list[str]:
    found = _names(value)
    return [] if found is None else [found] if isinstance(found, str) else found
