"""The training loop: transformers' Trainer, made exactly resumable and told what to learn from.

A killed training goes on from its last complete checkpoint and ends with the very same weights: data order is
a pure function of seed and epoch, and the Trainer restores optimizer, schedule and random states.
"""

from __future__ import annotations

import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import Sampler
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from affineur.artifact.reading import read_json
from affineur.engines.support.checkpoints import quiet
from affineur.errors import ModelError
from affineur.progress import report
from affineur.steps.training.encoded import IGNORED, EncodedCorpus, collate

_COMPLETE = "affineur-complete"
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train; the fields of the steps say which values are possible.

    Args:
        epochs: Passes over the data; a fraction stops inside one.
        learning_rate: Peak learning rate of AdamW.
        batch_size: Sentences (windows) in a step.
        weight_decay: AdamW's decoupled weight decay.
        warmup: Share of the steps spent warming up; the rate then falls linearly to zero.
        seed: Seed of data order, dropout and augmentation.
        label_smoothing: Mass spread over the wrong labels.
        patience: Evaluations without a better dev F1 before training stops; ``None`` never stops early.
        keep_best: End with the weights of the best dev F1 rather than the last ones (needs dev data).
        precision: ``bf16`` multiplies matrices under autocast; weights, norms and losses stay in fp32.
        dropout: Share of values dropped in every dropout of the model; ``None`` for the model's own.
        freeze_embeddings: Whether the vectors of pieces stay as they are.
    """

    epochs: float = 3.0
    learning_rate: float = 5e-5
    batch_size: int = 8
    weight_decay: float = 0.01
    warmup: float = 0.0
    seed: int = 13
    label_smoothing: float = 0.0
    patience: int | None = None
    keep_best: bool = False
    precision: str = "fp32"
    dropout: float | None = None
    freeze_embeddings: bool = False


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """What is learned from a teacher beside the labels.

    Args:
        weight: Weight of the soft labels; the hard labels get one minus it.
        temperature: Softens both distributions (Hinton et al. 2015).
        hidden_weight: Weight of the cosine distance between last hidden states at the first pieces of words
            (Sanh et al. 2019), or 0.
    """

    weight: float = 0.5
    temperature: float = 2.0
    hidden_weight: float = 0.0


def fit(
    model: PreTrainedModel,
    data: EncodedCorpus,
    settings: TrainSettings,
    checkpoints: Path,
    what: str,
    pad_id: int,
    soft: SoftTargets | None = None,
    score: Callable[[PreTrainedModel], float] | None = None,
    callbacks: list[TrainerCallback] | None = None,
) -> dict[str, Any]:
    """Train a model in place.

    Args:
        model: The model, on the device to train on.
        data: Encoded training data, with what the teacher makes of it if ``soft`` is given.
        settings: How to train.
        checkpoints: Folder for checkpoints, for the caller to remove; complete ones found there are resumed
            from.
        what: What to call this in progress reports.
        pad_id: Id of the padding piece.
        soft: What to learn from a teacher.
        score: Gives a dev F1 after each epoch.
        callbacks: More Trainer callbacks, such as :class:`~affineur.steps.training.mask.KeepZeros`.

    Returns:
        ``steps`` taken, the last training ``loss`` and the dev ``f1`` after each evaluation.

    Raises:
        ModelError: If the loss is no longer a number.
    """
    if settings.epochs == 0:
        return {"steps": 0, "loss": None, "dev_f1": []}
    steps = max(1, round(settings.epochs * math.ceil(len(data) / settings.batch_size)))
    evaluate = score is not None
    extra: list[TrainerCallback] = [_Reporter(what), *(callbacks or []), _Checkpoints(_CHECKPOINT_SECONDS)]
    if evaluate and settings.patience is not None:
        extra.append(EarlyStoppingCallback(early_stopping_patience=settings.patience))
    device = next(model.parameters()).device.type
    with warnings.catch_warnings(), quiet():
        # The Trainer warns of choices made here on purpose, such as pinned memory without a GPU.
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            output_dir=str(checkpoints),
            max_steps=steps,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_steps=round(settings.warmup * steps),
            seed=settings.seed,
            label_smoothing_factor=0.0,  # the loss below does it, on labeled words only
            use_cpu=device == "cpu",
            eval_strategy="epoch" if evaluate else "no",
            save_strategy="epoch" if evaluate else "no",
            load_best_model_at_end=evaluate and settings.keep_best,
            metric_for_best_model="f1" if evaluate else None,
            greater_is_better=True if evaluate else None,
            save_total_limit=2,
            restore_callback_states_from_checkpoint=True,  # how long early stopping has waited already
            logging_steps=10,
            report_to="none",
            disable_tqdm=True,
            log_level="error",
            remove_unused_columns=False,
            dataloader_pin_memory=device == "cuda",
        )
        trainer = _Trainer(
            settings=settings,
            soft=soft,
            score=score,
            model=model,
            args=arguments,
            train_dataset=data,
            eval_dataset=data if evaluate else None,  # only its presence matters: `score` brings its own data
            data_collator=partial(collate, pad_id=pad_id),
            callbacks=extra,
        )
        trainer.remove_callback(PrinterCallback)
        resume = _last_complete(checkpoints)
        if resume is not None:
            report(f"{what}: going on from step {resume.name.rpartition('-')[2]} of {steps}")
        if resume is not None and _is_last(resume):
            # Killed between the last step and the written artifact: the Trainer would take one step more.
            trainer.state = TrainerState.load_from_json(str(resume / "trainer_state.json"))
            best = trainer.state.best_model_checkpoint if arguments.load_best_model_at_end else None
            model.load_state_dict(
                load_file((checkpoints / Path(best).name if best else resume) / "model.safetensors")
            )
        else:
            with _dropout(model, settings.dropout), _frozen(model, settings.freeze_embeddings):
                trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    model.eval()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "steps": trainer.state.global_step,
        "loss": losses[-1] if losses else None,
        "dev_f1": [entry["eval_f1"] for entry in trainer.state.log_history if "eval_f1" in entry],
    }


class _Trainer(Trainer):
    """A Trainer with our loss, our data order and our score."""

    def __init__(
        self,
        settings: TrainSettings,
        soft: SoftTargets | None,
        score: Callable[[PreTrainedModel], float] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settings, self._soft, self._score = settings, soft, score
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mix hard labels, soft labels and hidden states; only first pieces of words count."""
        teacher, wanted = inputs.pop("teacher", None), inputs.pop("hidden", None)
        labels = inputs.pop("labels")
        device, bf16 = inputs["input_ids"].device.type, self._settings.precision == "bf16"
        # On a CPU torch's fused attention takes a quarter of a step in bf16 backwards, this a twentieth.
        plain = sdpa_kernel(SDPBackend.MATH) if bf16 and device == "cpu" else nullcontext()
        # Here and not in the Trainer, whose dev scores stay in fp32.
        with torch.autocast(device, torch.bfloat16, enabled=bf16), plain:
            output = model(**inputs, output_hidden_states=wanted is not None)
        labeled = labels != IGNORED
        logits = output.logits[labeled].float()
        loss = functional.cross_entropy(
            logits, labels[labeled], label_smoothing=self._settings.label_smoothing
        )
        if self._soft is not None and teacher is not None:
            known = ~teacher.isnan().any(dim=-1)  # one with another tokenizer may not have seen every word
            if known.any():
                soft = soft_label_loss(logits[known], teacher[known], self._soft.temperature)
                loss = (1 - self._soft.weight) * loss + self._soft.weight * soft
        if self._soft is not None and wanted is not None:
            known = ~wanted.isnan().any(dim=-1)
            if known.any():
                ours, theirs = output.hidden_states[-1][labeled][known].float(), wanted[known].float()
                distance = 1 - functional.cosine_similarity(ours, theirs, dim=-1)
                loss = loss + self._soft.hidden_weight * distance.mean()
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss is {float(loss)} at step {self.state.global_step}; "
                "lower the learning rate or check the weights"
            )
        return (loss, output) if return_outputs else loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score on the dev data that ``score`` knows."""
        model = cast("PreTrainedModel", self.model)
        was_training = model.training
        model.eval()
        metrics = {"eval_f1": self._score(model) if self._score else 0.0}
        model.train(was_training)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return _LengthSampler(
            cast("EncodedCorpus", self.train_dataset), self._settings.batch_size, self._settings.seed
        )


@contextmanager
def _dropout(model: PreTrainedModel, share: float | None) -> Iterator[None]:
    """Drop this share of values in every dropout of a model; the model's own shares come back afterwards.

    Without any, attention on a CPU takes torch's fused kernel, which cannot drop.
    """
    if share is None:
        yield
        return
    # ModernBERT and others keep the share of attention as a number.
    names = {"p": torch.nn.Dropout, "attention_dropout": torch.nn.Module}
    held = [
        (module, name, getattr(module, name))
        for name, kind in names.items()
        for module in model.modules()
        if isinstance(module, kind) and isinstance(getattr(module, name, None), float)
    ]
    try:
        for module, name, _ in held:
            setattr(module, name, share)
        yield
    finally:
        for module, name, own in held:
            setattr(module, name, own)


@contextmanager
def _frozen(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """Keep the vectors of pieces from being trained.

    A small corpus moves the vectors of its own pieces only, away from those of words it does not have.
    """
    held = [p for p in model.get_input_embeddings().parameters() if p.requires_grad] if wanted else []
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def soft_label_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence from the teacher's softened distribution, times T² (Hinton et al. 2015).

    Args:
        student: Logits, shape ``(words, labels)``.
        teacher: Logits, the same shape.
        temperature: Divides both.
    """
    wanted = functional.log_softmax(teacher / temperature, dim=-1)
    given = functional.log_softmax(student / temperature, dim=-1)
    return functional.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2


class _LengthSampler(Sampler[int]):
    """Shuffles, then sorts by length inside pools of 32 batches: little padding.

    The order is a pure function of seed and epoch.
    """

    def __init__(self, data: EncodedCorpus, batch_size: int, seed: int) -> None:
        self._data, self._batch, self._seed, self._epoch = data, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._data.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self._seed, self._epoch))
        order = random.permutation(len(self._data))
        lengths = np.asarray(self._data.lengths)
        pool = 32 * self._batch
        batches: list[list[int]] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            part = part[np.argsort(-lengths[part], kind="stable")]
            batches += [part[i : i + self._batch].tolist() for i in range(0, len(part), self._batch)]
        full = [b for b in batches if len(b) == self._batch]
        rest = [b for b in batches if len(b) < self._batch]  # at most one, and it must come last
        for i in random.permutation(len(full)):
            yield from full[i]
        for batch in rest:
            yield from batch


class _Reporter(TrainerCallback):
    def __init__(self, what: str) -> None:
        self._what = what

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        losses = [entry["loss"] for entry in state.log_history[-2:] if "loss" in entry]
        report(
            self._what + (f", loss {losses[-1]:.4f}" if losses else ""), state.global_step, state.max_steps
        )

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        report(f"{self._what}: dev F1 {metrics['eval_f1']:.4f} at step {state.global_step}")


class _Checkpoints(TrainerCallback):
    """Asks for a checkpoint every so many seconds, and marks each when the last of its files is written."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Where epochs are scored, the Trainer saves after the score: a checkpoint before would lose it.
        scored_next = args.eval_strategy != "no" and float(state.epoch).is_integer()
        if (
            time.monotonic() - self._last > self._seconds
            and state.global_step < state.max_steps
            and not scored_next
        ):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()
        self._last = time.monotonic()


def _last_complete(checkpoints: Path) -> Path | None:
    """Find the newest complete checkpoint and remove half-written ones."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    for path in found:
        if not (path / _COMPLETE).exists():
            shutil.rmtree(path)
    return next((path for path in reversed(found) if path.exists()), None)


def _is_last(checkpoint: Path) -> bool:
    """Say whether training was over when a checkpoint was written: all steps taken, or stopped early."""
    state = read_json(checkpoint / "trainer_state.json")
    return bool(state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"])
