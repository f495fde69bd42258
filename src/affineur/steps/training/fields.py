"""Parameters that the steps which train have in common; no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from affineur.steps.core.step import DATA, Input, Step

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
    seed: int = Field(13, ge=0, lt=2**32, description="seed of data order, dropout and augmentation")

    def settings(self, **more: Any) -> TrainSettings:
        """Return how the training loop is to train.

        Args:
            more: Settings that are no parameters of every step.
        """
        from affineur.steps.training.loop import TrainSettings

        return TrainSettings(
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

    def soft(self, teacher: PreTrainedModel | None) -> SoftTargets:
        """Return what the training loop is to learn from the teacher.

        Args:
            teacher: The teacher, where hidden states are to be learned too; its logits come with the data.
        """
        from affineur.steps.training.loop import SoftTargets

        return SoftTargets(self.soft_weight, self.temperature, self.hidden_weight, teacher)


#: Names of what :class:`Learning` adds: they say nothing where there is no teacher.
SOFT = tuple(name for name in Learning.model_fields if name not in Training.model_fields)
