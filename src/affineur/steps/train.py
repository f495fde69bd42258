"""``train``: fine-tune a token classifier from a checkpoint, or train one from a configuration."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedModel, set_seed

from affineur.artifact import ModelFolder, verify
from affineur.artifact.folder import is_token_classifier, labels_of, read_config, require_tokenizer
from affineur.artifact.tensors import pickled_weights
from affineur.engines.support.checkpoints import load_encoder, pick_device, quiet
from affineur.entities import Corpus, Mention, Scheme, to_tags
from affineur.errors import ModelError, ParameterError, one_line
from affineur.progress import report
from affineur.steps.core.work import Stage, corpora, dev_scorer
from affineur.steps.training.encoded import encode_corpus
from affineur.steps.training.loop import TrainSettings, fit


def train(
    base: Path | str,
    out: Path | str,
    train: Corpus,
    dev: Corpus | None = None,
    settings: TrainSettings | None = None,
    scheme: Scheme = Scheme.IO,
    replace_mentions: float = 0.0,
    device: str = "cpu",
) -> Path:
    """Fine-tune a token classifier.

    The base may be a token classifier (its labels stay when they cover the data), any encoder checkpoint (a
    new classifier is added), or a configuration with a tokenizer and no weights (everything starts at
    random). Does nothing where ``out`` already holds the result; goes on where an interrupted run stopped.

    Args:
        base: Folder of the checkpoint or configuration.
        out: Folder to write to.
        train: Training sentences.
        dev: Sentences for early stopping and for keeping the best epoch.
        settings: How to train; by default 3 epochs at 5e-5.
        scheme: Scheme of the labels where the base brings none.
        replace_mentions: Share of mentions swapped, in each epoch anew, for others of their type.
        device: A torch device.

    Returns:
        ``out``.

    Raises:
        ParameterError: If a value is impossible.
        ModelError: If the base cannot be used.
        DataError: If the data cannot be used.
    """
    if not 0 <= replace_mentions <= 1:
        raise ParameterError(f"the share of mentions replaced must lie in [0, 1], got {replace_mentions:g}")
    settings = settings or TrainSettings(keep_best=dev is not None)
    if settings.patience is not None and dev is None:
        raise ParameterError("early stopping needs dev data; give --data a folder with dev.conll")
    folder, has_weights = _open_base(Path(base), train.types, scheme)
    stage = Stage(
        "train",
        Path(out),
        folder,
        {
            **asdict(settings),
            "labels": list(folder.labels),
            "replace_mentions": replace_mentions,
            "from_weights": has_weights,
        },
        corpora(folder.labels, train, dev),
    )
    if stage.finished():
        return stage.out
    set_seed(settings.seed)
    model: PreTrainedModel = _load_base(folder, has_weights).to(pick_device(device))  # type: ignore[arg-type]
    encoder = load_encoder(folder)
    score = dev_scorer(dev, encoder, folder.labels) if dev else None
    with stage.workplace() as place:
        data = encode_corpus(train, encoder, folder.labels, place)
        if replace_mentions:
            data.with_mention_replacement(replace_mentions, settings.seed, encoder.max_length)
        log = fit(model, data, settings, place / "checkpoints", "train", encoder.pad_id, None, score)
        return stage.write(model, log)


def _open_base(path: Path, types: tuple[str, ...], scheme: Scheme) -> tuple[ModelFolder, bool]:
    """Look at a base: its configuration with the labels it will have, and whether it has weights."""
    config = read_config(path)
    labels = (
        labels_of(config, path)
        if is_token_classifier(config) and "id2label" in config
        else labels_for(types, scheme)
    )
    if "O" not in labels:  # said here: after hours of training nothing could open the result
        raise ModelError(
            f"{path} is a token classifier with the labels {', '.join(labels)}, none of them O, and training would keep them; "
            "name them in its config.json's id2label, as in O, I-PER, I-LOC, or take the model it was made from"
        )
    has_weights = any(p.suffix == ".safetensors" for p in path.iterdir())
    folder = ModelFolder(path, config, labels)
    if folder.is_graph:
        raise ModelError(
            f"{path} is an exported graph ({folder.kind}), which cannot be trained; give the model it was made from"
        )
    require_tokenizer(path)
    if has_weights or pickled_weights(path):
        folder.tensors()  # says that pickles are refused or that a file is damaged, and what to do
    return folder, has_weights


def labels_for(types: tuple[str, ...], scheme: Scheme) -> tuple[str, ...]:
    """List the labels of a new classifier: ``O`` and, for each type, every tag the scheme has.

    Args:
        types: The types.
        scheme: The scheme.
    """
    tags = {"O": None}
    for kind in types:
        # A mention of three words and one of a single word show every prefix a scheme has.
        tags |= dict.fromkeys(to_tags([Mention(0, 3, kind), Mention(3, 4, kind)], 4, scheme))
    return tuple(tags)


def _load_base(folder: ModelFolder, has_weights: bool) -> PreTrainedModel:
    verify(folder.path)
    named = dict(enumerate(folder.labels))
    options: dict[str, Any] = {
        "id2label": named,
        "label2id": {v: k for k, v in named.items()},
        "num_labels": len(named),
    }
    with quiet():
        try:
            if not has_weights:
                report("train: the base has no weights, so all of them start at random")
                config = AutoConfig.from_pretrained(folder.path, dtype="float32", **options)
                return AutoModelForTokenClassification.from_config(config)  # type: ignore[no-any-return]
            model, loading = AutoModelForTokenClassification.from_pretrained(
                folder.path,
                use_safetensors=True,
                local_files_only=True,
                dtype="float32",
                output_loading_info=True,
                **options,
            )
        except Exception as error:  # a damaged configuration makes transformers fail in many ways
            raise ModelError(f"{folder.path} cannot be loaded ({one_line(error)})") from None
    # The encoder has to be whole; a head (ModernBERT's has a layer before the classifier) may be new.
    if missing := [
        name for name in sorted(loading["missing_keys"]) if name.startswith(f"{model.base_model_prefix}.")
    ]:
        raise ModelError(
            f"{folder.path} lacks {len(missing)} tensors of its architecture (such as {missing[0]}); is it an encoder of this type?"
        )
    return model  # type: ignore[no-any-return]
