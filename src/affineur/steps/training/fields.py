"""Parameters that the steps which train have in common; no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from affineur.steps.core.context import Context
from affineur.steps.core.step import DATA, Input, Step
from affineur.steps.training.precision import Precision, precision_on

if TYPE_CHECKING:
    from affineur.engines.support.torch_tagger import TorchTagger
    from affineur.entities import Corpus
    from affineur.runtime import Encoder
    from affineur.steps.training.encoded import EncodedCorpus
    from affineur.steps.training.loop import SoftTargets, TrainSettings


class Training(Step):
    """A step that trains."""

    on_device: ClassVar[bool] = True
    inputs: ClassVar[tuple[Input, ...]] = (DATA,)

    epochs: float = Field(1.0, ge=0, le=1e6, description="passes over the data, fractions allowed")
    learning_rate: float = Field(5e-5, ge=0, le=1e3, description="peak learning rate of AdamW")
    batch_size: int = Field(8, ge=1, description="sentences in a training step")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay")
    warmup: float = Field(0.0, ge=0, le=1, description="share of the training steps spent warming up")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="share of values dropped while training; the model's own if left out"
    )
    replace_mentions: float = Field(
        0.0, ge=0, le=1, description="augmentation: share of mentions replaced by others of their type"
    )
    freeze_embeddings: bool = Field(
        False,
        description="leave the vectors of pieces as they are, those that the data lacks beside the others",
    )
    precision: Precision = Field(
        "auto", description="multiply in fp32, or in bf16 where device and CPU have instructions for it"
    )
    seed: int = Field(13, ge=0, lt=2**32, description="seed of data order, dropout and augmentation")

    def check(self, context: Context) -> None:
        """Check that there is data, and that the device can compute in the precision asked for.

        Raises:
            DataError: If there is no train part.
            ParameterError: If the device has no instructions for it.
        """
        super().check(context)
        self.precision_in(context)

    def precision_in(self, context: Context) -> str:
        """Return what matrices are multiplied in, ``fp32`` or ``bf16``: part of what decides the result.

        Raises:
            ParameterError: If the device has no instructions for what is asked for.
        """
        from affineur.engines.support.checkpoints import pick_device

        cpu = context.device == "cpu"  # torch is imported for others alone
        return precision_on(self.precision, "cpu" if cpu else pick_device(context.device))

    def augment(self, data: EncodedCorpus, encoder: Encoder) -> None:
        """Let each epoch see other mentions, where that is asked for."""
        if self.replace_mentions:
            data.with_mention_replacement(self.replace_mentions, self.seed, encoder.max_length)

    def settings(self, precision: str, **more: Any) -> TrainSettings:
        """Return how the training loop is to train.

        Args:
            precision: What :meth:`precision_in` says.
            more: Settings that are no parameters of every step.
        """
        from affineur.steps.training.loop import TrainSettings

        return TrainSettings(
            precision=precision,
            dropout=self.dropout,
            freeze_embeddings=self.freeze_embeddings,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            seed=self.seed,
            **more,
        )


class Learning(Training):
    """A step that trains on what a teacher says, too."""

    soft_weight: float = Field(
        0.5, ge=0, le=1, description="weight of the teacher's soft labels, the rest is the data's"
    )
    temperature: float = Field(2.0, gt=0, description="softens the predictions of teacher and student alike")
    hidden_weight: float = Field(
        0.0, ge=0, description="weight of the cosine distance between last hidden states"
    )

    def soft(self) -> SoftTargets:
        """Return what the training loop is to learn from the teacher."""
        from affineur.steps.training.loop import SoftTargets

        return SoftTargets(self.soft_weight, self.temperature, self.hidden_weight)

    def ask(
        self, teacher: TorchTagger, digest: str, corpus: Corpus, data: EncodedCorpus, context: Context
    ) -> None:
        """Attach to the data what a teacher makes of its words, as far as it has any weight.

        Args:
            teacher: The teacher.
            digest: Digest of its folder.
            corpus: The training data.
            data: The same, encoded for the student.
            context: Where to keep it.

        Raises:
            ModelError: If the teacher has other labels.
        """
        from affineur.steps.training.teacher_logits import teacher_hidden, teacher_logits

        precision = self.precision_in(context)
        if self.soft_weight:
            logits = teacher_logits(teacher, digest, corpus, data.labels, context.cache, precision)
            data.with_teacher(logits)
        if self.hidden_weight:
            data.with_hidden(teacher_hidden(teacher, digest, corpus, context.cache, precision))


#: Names of what :class:`Learning` adds: they say nothing where there is no teacher.
SOFT = tuple(name for name in Learning.model_fields if name not in Training.model_fields)
