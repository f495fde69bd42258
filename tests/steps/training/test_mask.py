"""What is zero stays zero, whatever AdamW's momentum would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForTokenClassification,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from affineur.artifact import in_scope
from affineur.errors import ModelError
from affineur.steps.pruning.core.zeroing import prune_model
from affineur.steps.training.mask import KeepZeros, Mask


@pytest.fixture
def pruned(shared_model) -> PreTrainedModel:
    model = AutoModelForTokenClassification.from_pretrained(shared_model(num_hidden_layers=2))
    prune_model(model, sparsity=0.5)
    return model


@pytest.fixture
def data() -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(5)
    ids = torch.randint(5, 100, (32, 12), generator=random)
    return [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": row % 5} for row in ids]


def train(
    model: PreTrainedModel,
    data: Any,
    folder: Path,
    steps: int,
    callbacks: list[TrainerCallback],
    resume: bool = False,
) -> None:
    """The guide's §5: a plain Trainer, and one argument more."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        weight_decay=0.01,
        save_strategy="steps",
        save_steps=10,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        logging_strategy="no",
    )
    Trainer(model=model, args=arguments, train_dataset=data, callbacks=callbacks).train(
        resume_from_checkpoint=resume
    )


def zeros(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    weights = dict(model.named_parameters())
    return {m.name: weights[m.name].detach() == 0 for m in in_scope(list(weights))}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_two_hundred_steps_keep_exactly_the_same_zeros(
    pruned: PreTrainedModel, data: Any, tmp_path: Path
) -> None:
    before, weights = zeros(pruned), {name: p.detach().clone() for name, p in pruned.named_parameters()}
    keep = KeepZeros(pruned)
    train(pruned, data, tmp_path, 200, [keep])
    assert same(before, zeros(pruned))
    keep.mask.check(pruned)
    for name, parameter in pruned.named_parameters():  # and everything else has learned
        free = ~before[name] if name in before else torch.ones_like(parameter, dtype=torch.bool)
        moved = (parameter.detach() != weights[name])[free].float().mean()
        assert moved > 0.9 or "key.bias" in name or "embeddings" in name, name


def test_without_the_callback_the_zeros_are_gone(pruned: PreTrainedModel, data: Any, tmp_path: Path) -> None:
    before, keep = zeros(pruned), KeepZeros(pruned)
    train(pruned, data, tmp_path, 20, [])
    after = zeros(pruned)
    assert sum(int(z.sum()) for z in after.values()) < 0.1 * sum(int(z.sum()) for z in before.values())
    with pytest.raises(
        ModelError, match=r"\d+ pruned weights of roberta.encoder.layer.0.* are no longer zero"
    ):
        keep.mask.check(pruned)


def test_resuming_from_a_checkpoint_keeps_them(pruned: PreTrainedModel, data: Any, tmp_path: Path) -> None:
    before, keep = zeros(pruned), KeepZeros(pruned)

    class Stop(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = True

    train(pruned, data, tmp_path, 30, [keep, Stop()])
    assert same(before, zeros(pruned))
    (checkpoint,) = tmp_path.glob("checkpoint-10")
    resumed = AutoModelForTokenClassification.from_pretrained(checkpoint)
    train(resumed, data, tmp_path, 30, [KeepZeros(resumed)], resume=True)
    assert (tmp_path / "checkpoint-30").is_dir()
    assert same(before, zeros(resumed))


def test_a_mask_counts_and_applies(pruned: PreTrainedModel) -> None:
    mask = Mask(pruned)
    assert len(mask) == sum(int(z.sum()) for z in zeros(pruned).values()) == 7168
    before = zeros(pruned)
    with torch.no_grad():
        for parameter in pruned.parameters():
            parameter += 1e-3
    mask.apply(pruned)
    assert same(before, zeros(pruned))
    mask.check(pruned)


def test_a_mask_of_one_half_leaves_the_other(pruned: PreTrainedModel) -> None:
    mask = Mask(pruned, "ffn")
    with torch.no_grad():
        for parameter in pruned.parameters():
            parameter.fill_(1)
    mask.apply(pruned)
    assert all(
        bool(z.any()) == (".intermediate." in name or (".output." in name and ".attention." not in name))
        for name, z in zeros(pruned).items()
    )


def test_minus_zero_is_kept_too(pruned: PreTrainedModel) -> None:
    with torch.no_grad():
        for parameter in pruned.parameters():
            parameter.mul_(-1)
    assert len(Mask(pruned)) == 7168
