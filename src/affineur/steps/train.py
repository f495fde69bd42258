"""``train``: fine-tune a token classifier from a checkpoint, or train one from a configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from affineur.artifact import ModelFolder, verify
from affineur.artifact.folder import is_token_classifier, labels_of, read_config, require_tokenizer
from affineur.artifact.tensors import pickled_weights
from affineur.entities import Mention, Scheme, to_tags
from affineur.entities.texts import joined
from affineur.errors import ModelError, ParameterError, one_line
from affineur.progress import report
from affineur.steps.core.context import Context
from affineur.steps.core.work import Work
from affineur.steps.training.fields import Training

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Train(Training):
    """Fine-tune a token classifier.

    The base may be a token classifier (its labels stay, and have to cover the data), any encoder checkpoint
    (a new classifier is added), or a configuration with a tokenizer and no weights (everything starts at
    random). An interrupted run goes on where it stopped. Where there is dev data, the weights of the best
    epoch are written.
    """

    name = "train"
    summary = "fine-tune or train a teacher on labeled data"
    suffix = "teacher"
    renames = False
    examples = ("affineur train camembert-base --data my_corpus --epochs 3 -o my_teacher",)

    epochs: float = Field(3.0, ge=0, le=1e6, description="passes over the data, fractions allowed")
    tags: Literal["IO", "BIO", "BIOES"] = Field("IO", description="scheme of a new classifier's labels")
    replace_mentions: float = Field(
        0.0, ge=0, le=1, description="augmentation: share of mentions replaced by others of their type"
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
        labels = labels_of(config, path) if named else ()
        # Said here: after hours of training nothing could open the result.
        if named and "O" not in labels:
            raise ModelError(
                f"{path} is a token classifier with the labels {', '.join(labels)}, none of them O, and "
                "training would keep them; name them in its config.json's id2label, as in O, I-PER, I-LOC, "
                "or take the model it was made from"
            )
        folder = ModelFolder(path, config, labels)
        if folder.is_graph:
            raise ModelError(
                f"{path} is an exported graph ({folder.kind}), which cannot be trained; "
                "give the model it was made from"
            )
        require_tokenizer(path)
        if _has_weights(path) or pickled_weights(path):
            folder.tensors()  # says that pickles are refused or that a file is damaged, and what to do
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
        labels = model.labels or labels_for(train.types, Scheme(self.tags))
        unused = ("tags",) if model.labels else ()
        model, weights = replace(model, labels=labels), _has_weights(model.path)
        resolved = {"labels": list(labels), "from_weights": weights, "keep_best": dev is not None}
        known = corpora(labels, train, dev)
        work = Work(self, out, model, context, known, resolved=resolved, unused=unused)
        if work.finished():
            return out
        from transformers import set_seed

        from affineur.engines.support.checkpoints import load_encoder, pick_device
        from affineur.steps.training.encoded import encode_corpus
        from affineur.steps.training.loop import fit

        set_seed(self.seed)
        network: Any = _load_base(model, weights).to(pick_device(context.device))  # type: ignore[arg-type]
        encoder = load_encoder(model)
        score = dev_scorer(dev, encoder, labels) if dev else None
        settings = self.settings(
            label_smoothing=self.label_smoothing, patience=self.patience, keep_best=dev is not None
        )
        with work.workplace() as place:
            shown = joined(train, self.join_sentences, self.seed) if self.join_sentences else train
            data = encode_corpus(shown, encoder, labels, place)
            if self.replace_mentions:
                data.with_mention_replacement(self.replace_mentions, self.seed, encoder.max_length)
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


def _has_weights(path: Path) -> bool:
    return any(file.suffix == ".safetensors" for file in path.iterdir())


def _load_base(folder: ModelFolder, has_weights: bool) -> PreTrainedModel:
    from transformers import AutoConfig, AutoModelForTokenClassification

    from affineur.engines.support.checkpoints import quiet

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
            f"{folder.path} lacks {len(missing)} tensors of its architecture (such as {missing[0]}); "
            "is it an encoder of this type?"
        )
    return model  # type: ignore[no-any-return]


STEP = Train
