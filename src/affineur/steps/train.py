"""``train``: fine-tune a token classifier from a checkpoint, or train one from a configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from affineur.artifact import ModelFolder, verify
from affineur.artifact.folder import is_token_classifier, labels_of, read_config, require_tokenizer
from affineur.artifact.soundness import check_pieces, check_sizes, check_tensors
from affineur.artifact.tensors import pickled_weights
from affineur.entities import Corpus, Mention, Scheme, to_tags, types_of, with_prefix
from affineur.entities.texts import joined
from affineur.errors import DataError, ModelError, ParameterError, one_line
from affineur.progress import report
from affineur.steps.core.context import Context
from affineur.steps.core.work import Work
from affineur.steps.training.fields import Training


class Train(Training):
    """Fine-tune a token classifier.

    The base may be a token classifier (its labels stay, and have to cover the data, unless it gets a new
    head), any encoder checkpoint (a new classifier is added), or a configuration with a tokenizer and no
    weights (everything starts at random). An interrupted run goes on where it stopped. Where there is dev
    data, the weights of the best epoch are written.
    """

    name = "train"
    summary = "fine-tune or train a teacher on labeled data"
    suffix = "teacher"
    renames = False
    examples = (
        "affineur train camembert-base --data my_corpus --epochs 3 -o my_teacher",
        "affineur train my_teacher --data other_types --new-head -o other_teacher",
    )

    epochs: float = Field(3.0, ge=0, le=1e6, description="passes over the data, fractions allowed")
    tags: Literal["IO", "BIO", "BIOES"] = Field("IO", description="scheme of a new classifier's labels")
    new_head: bool = Field(
        False, description="give a token classifier a new classifier, for the types of the data"
    )
    join_sentences: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of sentences that are joined, two to eight, for a model that reads longer text",
    )
    label_smoothing: float = Field(
        0.0, ge=0, le=1, description="probability mass spread over the other labels"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after this many epochs without a better dev F1"
    )

    @classmethod
    def open(cls, path: Path) -> ModelFolder:
        """Look at a base: a token classifier has labels, anything else gets them from the data.

        Returns:
            The base; without labels where it brings none.

        Raises:
            ModelError: If it cannot be trained.
        """
        config = read_config(path)
        named = is_token_classifier(config) and "id2label" in config
        check_sizes(config, path)
        folder = ModelFolder(path, config, labels_of(config, path) if named else ())
        if folder.is_graph:
            raise ModelError(
                f"{path} is an exported graph ({folder.kind}), which cannot be trained; "
                "give the model it was made from"
            )
        require_tokenizer(path)
        if _has_weights(path) or pickled_weights(path):
            listed = (
                folder.tensors()
            )  # says that pickles are refused or that a file is damaged, and what to do
            check_tensors(config, folder.labels, listed, path, base=True)
        check_pieces(config, path)
        return folder

    def label(self, before: str, stem: str) -> str:
        """Take the place of the model that a recipe starts from."""
        return "teacher"

    def check(self, context: Context) -> None:
        """Check that there is data, with a dev part where it decides.

        Raises:
            DataError: If there is no train part.
            ParameterError: If training is to stop early without dev data.
        """
        super().check(context)
        if self.patience is not None and context.splits.dev is None:
            raise ParameterError(
                f"patience={self.patience} asks for early stopping, and early stopping needs dev data; "
                "give data with a dev part",
                "patience",
            )

    def run(self, model: ModelFolder, out: Path, context: Context) -> Path:
        """Train a model.

        Raises:
            ModelError: If the base cannot be used.
            DataError: If the data cannot be used.
        """
        self.check(context)
        from affineur.steps.training.scoring import corpora, dev_scorer

        train, dev = context.splits.get("train"), context.splits.dev
        kept = () if self.new_head else model.labels
        labels = kept or labels_for(train.types, Scheme(self.tags))
        decides = self.new_head and bool(model.labels)
        unused = (*(("tags",) if kept else ()), *(() if decides else ("new_head",)))
        _check_labels(model.path, kept, train)
        model, weights = replace(model, labels=labels), _has_weights(model.path)
        precision = self.precision_in(context)
        resolved = {
            "labels": list(labels),
            "from_weights": weights,
            "keep_best": dev is not None,
            "precision": precision,
        }
        known = corpora(labels, train, dev)
        work = Work(self, out, model, context, known, resolved=resolved, unused=unused)
        if work.finished():
            return out
        from transformers import set_seed

        from affineur.engines.support.checkpoints import load_encoder, pick_device
        from affineur.steps.training.encoded import encode_corpus
        from affineur.steps.training.loop import fit

        set_seed(self.seed)
        network = _load_base(model, weights, keeps_head=bool(kept)).to(pick_device(context.device))
        encoder = load_encoder(model)
        score = dev_scorer(dev, encoder, labels) if dev else None
        settings = self.settings(
            precision, label_smoothing=self.label_smoothing, patience=self.patience, keep_best=dev is not None
        )
        with work.workplace() as place:
            shown = joined(train, self.join_sentences, self.seed) if self.join_sentences else train
            data = encode_corpus(shown, encoder, labels, place)
            self.augment(data, encoder)
            log = fit(network, data, settings, place / "checkpoints", "train", encoder.pad_id, None, score)
            return work.write(network, log)


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


def _check_labels(path: Path, labels: tuple[str, ...], train: Corpus) -> None:
    """Check that labels that stay can be trained and cover the data, before hours of work.

    Raises:
        ModelError: If none of them is ``O``: nothing could open the result.
        DataError: If the data has other types.
    """
    if labels and "O" not in labels:
        raise ModelError(
            f"{path} is a token classifier with the labels {', '.join(labels)}, none of them O, and "
            "training would keep them; name them in its config.json's id2label, as in O, I-PER, I-LOC, "
            "or give it a new classifier by new_head"
        )
    known = types_of(with_prefix(label) for label in labels)
    if labels and not set(train.types) <= set(known):
        raise DataError(
            f"the data has types {', '.join(train.types)}, the model knows {', '.join(known)}; new_head "
            "gives it a new classifier for the types of the data, label_map renames or drops some",
            train.name,
            parameter="new_head",
        )


def _has_weights(path: Path) -> bool:
    return any(file.suffix == ".safetensors" for file in path.iterdir())


def _load_base(folder: ModelFolder, has_weights: bool, keeps_head: bool) -> Any:
    from transformers import AutoConfig, AutoModelForTokenClassification

    from affineur.engines.support.checkpoints import from_pretrained, quiet, refuse_other_shapes

    verify(folder.path)
    named = dict(enumerate(folder.labels))
    options: dict[str, Any] = {
        "id2label": named,
        "label2id": {v: k for k, v in named.items()},
        "num_labels": len(named),
    }
    if not has_weights:
        report("train: the base has no weights, so all of them start at random")
        with quiet():
            try:
                config = AutoConfig.from_pretrained(folder.path, dtype="float32", **options)
                return AutoModelForTokenClassification.from_config(config)
            except Exception as error:  # a damaged configuration makes transformers fail in many ways
                raise ModelError(f"{folder.path} cannot be loaded ({one_line(error)})") from None
    model, loading = from_pretrained(folder, "float32", **options)
    below = f"{model.base_model_prefix}."
    other = [each for each in loading["mismatched_keys"] if each[0].startswith(below) or keeps_head]
    refuse_other_shapes({"mismatched_keys": other}, folder.path)
    # Also where the old one has as many outputs: they mean something else.
    replaced = {*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])}
    if not keeps_head and "classifier.weight" not in replaced:
        new_classifier(model)
    # The encoder has to be whole; a head (ModernBERT's has a layer before the classifier) may be new.
    if missing := [name for name in sorted(loading["missing_keys"]) if name.startswith(below)]:
        raise ModelError(
            f"{folder.path} lacks {len(missing)} tensors of its architecture (such as {missing[0]}); "
            "is it an encoder of this type?"
        )
    return model


def new_classifier(model: Any) -> None:
    """Start the classifier of a model at random, as transformers starts one.

    Raises:
        ModelError: If it is not one matrix.
    """
    import torch

    head = getattr(model, "classifier", None)
    if not isinstance(head, torch.nn.Linear):
        raise ModelError(f"the head of a {model.config.model_type} is not known; train from its encoder")
    with torch.no_grad():
        head.weight.normal_(0.0, float(model.config.initializer_range))
        if head.bias is not None:
            head.bias.zero_()


STEP = Train
