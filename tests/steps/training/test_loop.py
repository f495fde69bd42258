"""The training loop: the right number of steps, the right loss, and killed runs end as they would have."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments, set_seed

from affineur.engines.support.checkpoints import load_encoder, load_model
from affineur.entities import Corpus
from affineur.errors import ModelError
from affineur.progress import listening
from affineur.steps.training import loop
from affineur.steps.training.encoded import IGNORED, EncodedCorpus, MentionReplacement, collate, encode_corpus
from affineur.steps.training.loop import (
    SoftTargets,
    TrainSettings,
    _LengthSampler,
    _Trainer,
    fit,
    soft_label_loss,
)

from ..conftest import InterruptedTrainingError, same_bits

LABELS = ("O", "I-LOC", "I-PER", "I-MISC", "I-ORG")
SETTINGS = TrainSettings(epochs=2, learning_rate=1e-3, batch_size=16, warmup=0.1)


@pytest.fixture
def data(shared_model, train_corpus: Corpus, tmp_path: Path) -> EncodedCorpus:
    (tmp_path / "data").mkdir()
    return encode_corpus(
        train_corpus, load_encoder(shared_model(num_hidden_layers=2)), LABELS, tmp_path / "data"
    )


@pytest.fixture
def fresh(shared_model) -> Callable[[], PreTrainedModel]:
    def load() -> PreTrainedModel:
        set_seed(1)
        return load_model(shared_model(num_hidden_layers=2))

    return load


@pytest.fixture
def _checkpoint_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


class Scores:
    """A dev score that depends on the weights alone: the n-th weights ever seen get the n-th score."""

    def __init__(self, scores: Iterable[float]) -> None:
        self.scores = list(scores)
        self.seen: dict[str, dict[str, torch.Tensor]] = {}

    def __call__(self, model: PreTrainedModel) -> float:
        assert not model.training
        digest = hashlib.sha256(
            b"".join(p.detach().numpy().tobytes() for p in model.parameters())
        ).hexdigest()
        self.seen.setdefault(digest, weights(model))
        return self.scores[list(self.seen).index(digest)]


class Die(TrainerCallback):
    """Raises when a step begins after this many: all that was written by then stays."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.after:
            raise InterruptedTrainingError


@pytest.mark.parametrize(
    ("epochs", "batch", "steps"),
    [
        (0.5, 8, 4),
        (1, 8, 8),
        (1.5, 8, 12),
        (2, 16, 8),
        (0.01, 8, 1),
        (1, 7, 9),
        (0.5, 7, 4),
        (1, 100, 1),
        (0.3, 100, 1),
    ],
)
def test_the_right_number_of_steps(
    epochs: float, batch: int, steps: int, data: EncodedCorpus, fresh, tmp_path: Path
) -> None:
    heard: list[tuple[str, int | None, int | None]] = []
    with listening(lambda *what: heard.append(what)):
        log = fit(fresh(), data, TrainSettings(epochs=epochs, batch_size=batch), tmp_path / "c", "train", 1)
    assert log["steps"] == steps
    assert [(done, total) for _, done, total in heard] == [(i, steps) for i in range(1, steps + 1)]
    assert log["dev_f1"] == []


def test_no_epochs_no_change(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    model = fresh()
    before = weights(model)
    assert fit(model, data, TrainSettings(epochs=0), tmp_path / "c", "train", 1) == {
        "steps": 0,
        "loss": None,
        "dev_f1": [],
    }
    assert same_bits(before, weights(model))
    assert not (tmp_path / "c").exists()


def test_it_learns(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    log = fit(
        fresh(), data, TrainSettings(epochs=12, learning_rate=3e-3, batch_size=8), tmp_path / "c", "train", 1
    )
    assert log["steps"] == 96
    assert log["loss"] < 0.7


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    data: EncodedCorpus, fresh, tmp_path: Path
) -> None:
    models = [fresh() for _ in range(3)]
    for i, model in enumerate(models):
        fit(
            model,
            data,
            TrainSettings(epochs=1, learning_rate=1e-3, seed=13 + i // 2),
            tmp_path / str(i),
            "train",
            1,
        )
    assert same_bits(weights(models[0]), weights(models[1]))
    assert not same_bits(weights(models[0]), weights(models[2]))


def undisturbed(
    fresh, data: EncodedCorpus, settings: TrainSettings, folder: Path, **options: Any
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    model = fresh()
    log = fit(model, data, settings, folder / "undisturbed", "train", 1, **options)
    return weights(model), log


@pytest.mark.usefixtures("_checkpoint_each_step")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("after", "replace"), [(1, 0.0), (4, 0.0), (4, 0.7), (5, 0.7), (7, 0.0)])
def test_interrupted_once_it_ends_with_the_same_weights(
    after: int, replace: float, precision: str, data: EncodedCorpus, fresh, tmp_path: Path
) -> None:
    """Epochs have four steps: inside the first, at its end, inside the second. The model has dropout."""
    settings = dataclasses.replace(SETTINGS, precision=precision)
    data.with_mention_replacement(replace, 5, 64)
    wanted, _ = undisturbed(fresh, data, settings, tmp_path)
    with pytest.raises(InterruptedTrainingError):
        fit(fresh(), data, settings, tmp_path / "c", "train", 1, callbacks=[Die(after)])
    model = fresh()
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        log = fit(model, data, settings, tmp_path / "c", "train", 1)
    assert heard[0] == f"train: going on from step {after} of 8"
    assert len(heard) == 1 + 8 - after
    assert log["steps"] == 8
    assert same_bits(weights(model), wanted)


@pytest.mark.usefixtures("_checkpoint_each_step")
@pytest.mark.parametrize(
    ("settings", "scores"),
    [
        (TrainSettings(epochs=2, learning_rate=1e-3, batch_size=20), None),
        (TrainSettings(epochs=1.5, learning_rate=1e-3, batch_size=15), [0.3, 0.2]),
        (TrainSettings(epochs=3, learning_rate=1e-3, batch_size=30, keep_best=True), [0.3, 0.9, 0.2]),
        (
            TrainSettings(epochs=6, learning_rate=1e-3, batch_size=30, patience=2),
            [0.3, 0.9, 0.2, 0.1, 1.0, 1.0],
        ),
        (
            TrainSettings(epochs=6, learning_rate=1e-3, batch_size=30, patience=2, keep_best=True),
            [0.3, 0.9, 0.2, 0.9, 1.0, 1.0],
        ),
    ],
    ids=["plain", "scored", "best", "patience", "patience and best"],
)
def test_killed_at_every_checkpoint_it_ends_the_same(
    settings: TrainSettings,
    scores: list[float] | None,
    data: EncodedCorpus,
    fresh,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each run dies as soon as it has written one checkpoint more, the last one included."""
    wanted, log = undisturbed(fresh, data, settings, tmp_path, score=Scores(scores) if scores else None)
    score = Scores(scores) if scores else None
    real = loop._Checkpoints.on_save
    known: set[int] = set()

    def on_save(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        real(self, args, state, control, **kwargs)
        if state.global_step not in known:
            known.add(state.global_step)
            raise InterruptedTrainingError

    monkeypatch.setattr(loop._Checkpoints, "on_save", on_save)
    found: dict[str, Any] = {}
    while not found:
        model = fresh()
        with contextlib.suppress(InterruptedTrainingError):
            found = fit(model, data, settings, tmp_path / "c", "train", 1, score=score)
    assert len(known) >= 5
    assert found["steps"] == log["steps"]
    assert found["dev_f1"] == log["dev_f1"]
    assert same_bits(weights(model), wanted)
    assert not model.training


@pytest.mark.usefixtures("_checkpoint_each_step")
def test_a_half_written_checkpoint_is_ignored_and_removed(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    wanted, _ = undisturbed(fresh, data, SETTINGS, tmp_path)
    with pytest.raises(InterruptedTrainingError):
        fit(fresh(), data, SETTINGS, tmp_path / "c", "train", 1, callbacks=[Die(5)])
    newest = tmp_path / "c" / "checkpoint-5"
    (newest / "affineur-complete").unlink()
    (newest / "model.safetensors").write_bytes(b"half")
    (tmp_path / "c" / "checkpoint-6").mkdir()
    heard: list[str] = []
    model = fresh()
    with listening(lambda what, *_: heard.append(what)):
        fit(model, data, SETTINGS, tmp_path / "c", "train", 1)
    assert heard[0] == "train: going on from step 4 of 8"
    assert same_bits(weights(model), wanted)


def test_only_two_checkpoints_are_kept(
    data: EncodedCorpus, fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", -1.0)
    fit(fresh(), data, SETTINGS, tmp_path / "c", "train", 1)
    assert {p.name for p in (tmp_path / "c").glob("checkpoint-*")} == {"checkpoint-6", "checkpoint-7"}


def test_checkpoints_are_not_written_before_their_time(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    fit(fresh(), data, SETTINGS, tmp_path / "c", "train", 1)
    assert list((tmp_path / "c").glob("checkpoint-*")) == []


def test_early_stopping(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    score = Scores([0.5, 0.6, 0.6, 0.1, 0.9])
    log = fit(
        fresh(),
        data,
        TrainSettings(epochs=5, batch_size=16, patience=2),
        tmp_path / "c",
        "train",
        1,
        score=score,
    )
    assert log["dev_f1"] == [0.5, 0.6, 0.6, 0.1]
    assert log["steps"] == 16


@pytest.mark.parametrize(("keep_best", "which"), [(True, 1), (False, 2)])
def test_the_best_or_the_last_weights(
    keep_best: bool, which: int, data: EncodedCorpus, fresh, tmp_path: Path
) -> None:
    score, model = Scores([0.2, 0.9, 0.1]), fresh()
    log = fit(
        model,
        data,
        TrainSettings(epochs=3, learning_rate=1e-3, batch_size=16, keep_best=keep_best),
        tmp_path / "c",
        "train",
        1,
        score=score,
    )
    assert log["dev_f1"] == [0.2, 0.9, 0.1]
    assert same_bits(weights(model), list(score.seen.values())[which])


def test_each_epoch_has_its_own_order_and_its_own_replacements(
    data: EncodedCorpus, fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.with_mention_replacement(0.5, 5, 64)
    asked: list[tuple[int, int]] = []
    real = MentionReplacement.apply

    def apply(self: MentionReplacement, index: int, epoch: int) -> Any:
        asked.append((epoch, index))
        return real(self, index, epoch)

    monkeypatch.setattr(MentionReplacement, "apply", apply)
    fit(fresh(), data, TrainSettings(epochs=3, batch_size=8), tmp_path / "c", "train", 1)
    orders = [[index for epoch, index in asked if epoch == e] for e in range(3)]
    assert asked == [(e, index) for e in range(3) for index in orders[e]]
    assert all(sorted(order) == list(range(len(data))) for order in orders)
    assert orders[0] != orders[1] != orders[2]


class Lengths:
    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        pass


@given(
    st.lists(st.integers(3, 64), min_size=1, max_size=300),
    st.integers(1, 9),
    st.integers(0, 2**31),
    st.integers(0, 3),
)
def test_the_order_is_a_pure_function_of_seed_and_epoch(
    lengths: list[int], batch: int, seed: int, epoch: int
) -> None:
    def order() -> list[int]:
        sampler = _LengthSampler(Lengths(lengths), batch, seed)  # type: ignore[arg-type]
        sampler.set_epoch(epoch)
        return list(sampler)

    found = order()
    assert found == order()
    assert sorted(found) == list(range(len(lengths)))
    if len(lengths) <= 32 * batch:  # one pool: batches are neighbors in length
        batches = [[lengths[i] for i in found[k : k + batch]] for k in range(0, len(found), batch)]
        spans = sorted((min(b), max(b)) for b in batches)
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))


# The loss, told again plainly.


def trainer_of(
    model: PreTrainedModel, settings: TrainSettings, soft: SoftTargets | None, folder: Path
) -> _Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to="none", disable_tqdm=True, dataloader_pin_memory=False
    )
    return _Trainer(settings=settings, soft=soft, score=None, model=model, args=arguments)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def plain_loss(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], settings: TrainSettings, soft: SoftTargets | None
) -> float:
    with torch.no_grad():
        output = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        )
    labels, teacher = batch["labels"].numpy(), batch.get("teacher")
    logits = output.logits.double().numpy()[labels != IGNORED]
    gold, smoothing = labels[labels != IGNORED], settings.label_smoothing
    log_p = np.log(softmax(logits))
    loss = np.mean(
        [-(1 - smoothing) * row[g] - smoothing * row.mean() for row, g in zip(log_p, gold, strict=True)]
    )
    if soft and teacher is not None:
        rows = [
            (s, t) for s, t in zip(logits, teacher.double().numpy(), strict=True) if not np.isnan(t).any()
        ]
        if rows:
            T = soft.temperature  # noqa: N806
            divergence = [
                float((softmax(t / T) * (np.log(softmax(t / T)) - np.log(softmax(s / T)))).sum())
                for s, t in rows
            ]
            loss = (1 - soft.weight) * loss + soft.weight * T**2 * np.mean(divergence)
    if soft and "hidden" in batch:
        mine = output.hidden_states[-1].double().numpy()[labels != IGNORED]
        distances = [
            1 - float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
            for a, b in zip(mine, batch["hidden"].double().numpy(), strict=True)
            if not np.isnan(b).any()
        ]
        loss += soft.hidden_weight * np.mean(distances)
    return float(loss)


def test_bf16_multiplies_in_bf16_and_keeps_weights_in_fp32(
    data: EncodedCorpus, fresh, tmp_path: Path
) -> None:
    results = {}
    for precision in ("fp32", "bf16"):
        model = fresh()
        kinds: set[torch.dtype] = set()
        linear = next(m for m in model.modules() if isinstance(m, torch.nn.Linear))
        linear.register_forward_hook(lambda *seen, kinds=kinds: kinds.add(seen[-1].dtype))
        settings = dataclasses.replace(SETTINGS, precision=precision, dropout=0.0)
        fit(model, data, settings, tmp_path / precision, "train", 1)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert kinds == {torch.float32 if precision == "fp32" else torch.bfloat16}
        results[precision] = weights(model)
    first, last = (torch.cat([p.flatten() for p in w.values()]) for w in results.values())
    assert 0 < (first - last).abs().max() < 5e-3  # eight steps of 1e-3 at most


@pytest.mark.parametrize("family", ["camembert", "modernbert"])
def test_dropout_is_the_models_own_or_what_is_asked_for(
    family: str, shared_model, train_corpus: Corpus, tmp_path: Path
) -> None:
    """Without dropout the seed of the random states decides nothing; the configuration stays."""
    folder = (
        shared_model(family, num_hidden_layers=2, attention_dropout=0.2, mlp_dropout=0.2)
        if family == "modernbert"
        else shared_model(family, num_hidden_layers=2)
    )
    corpus = encode_corpus(train_corpus, load_encoder(folder), LABELS, tmp_path)

    def trained(share: float | None, seed: int) -> dict[str, torch.Tensor]:
        model = load_model(folder)
        own = {id(m): m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
        place = tmp_path / f"{share} {seed}"
        callbacks = [Reseed(seed)]
        fit(
            model, corpus, TrainSettings(0.5, 1e-3, 16, dropout=share), place, "train", 1, callbacks=callbacks
        )
        assert own == {id(m): m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
        return weights(model)

    assert same_bits(trained(0.0, 1), trained(0.0, 2))
    assert not same_bits(trained(None, 1), trained(None, 2))
    assert not same_bits(trained(0.5, 1), trained(None, 1))


class Reseed(TrainerCallback):
    """Gives dropout other random numbers, and the data the same order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch.manual_seed(self.seed)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("soft", [None, (0.5, 2.0, 0.0), (1.0, 1.0, 0.0), (0.0, 3.0, 0.0), (0.3, 4.0, 0.7)])
def test_the_loss_is_the_plain_formula(
    smoothing: float,
    soft: tuple[float, float, float] | None,
    data: EncodedCorpus,
    fresh,
    tmp_path,
) -> None:
    random = np.random.default_rng(1)
    model, settings = fresh(), TrainSettings(label_smoothing=smoothing)
    if soft:
        teacher_logits = random.normal(0, 3, (1000, 5)).astype(np.float32)
        teacher_logits[::7] = np.nan  # words the teacher never saw
        data.with_teacher(teacher_logits)
    if soft and soft[2]:
        states = random.normal(0, 3, (1000, model.config.hidden_size)).astype(np.float16)
        states[::7] = np.nan
        data.with_hidden(states)
    targets = SoftTargets(*soft) if soft else None
    batch = collate([data[i] for i in (0, 7, 11, 30)], 1)
    found = trainer_of(model, settings, targets, tmp_path).compute_loss(model, dict(batch)).detach()
    assert float(found) == pytest.approx(plain_loss(model, batch, settings, targets), rel=1e-4)


def test_later_pieces_and_padding_do_not_count(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    """The gradient of the loss with respect to the logits is zero everywhere but on first pieces."""
    model = fresh()
    batch = collate([data[i] for i in (0, 7, 11)], 1)
    seen: list[torch.Tensor] = []
    model.classifier.register_forward_hook(
        lambda *words: (words[-1].retain_grad(), seen.append(words[-1]))[1]
    )
    trainer_of(model, TrainSettings(), None, tmp_path).compute_loss(model, dict(batch)).backward()
    moved = (seen[0].grad != 0).any(dim=-1)
    assert torch.equal(moved, batch["labels"] != IGNORED)


def test_a_batch_of_which_the_teacher_saw_nothing(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    data.with_teacher(np.full((1000, 5), np.nan, np.float32))
    model, batch = fresh(), collate([data[0]], 1)
    found = (
        trainer_of(model, TrainSettings(), SoftTargets(), tmp_path).compute_loss(model, dict(batch)).detach()
    )
    assert float(found) == pytest.approx(plain_loss(model, batch, TrainSettings(), None), rel=1e-5)


@given(st.integers(1, 6), st.integers(2, 6), st.floats(0.5, 10), st.integers(0, 2**31))
def test_soft_labels_are_hintons_formula(words: int, labels: int, temperature: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    student, teacher = random.normal(0, 4, (2, words, labels))
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    wanted = temperature**2 * (p * np.log(p / q)).sum() / words
    found = soft_label_loss(torch.from_numpy(student), torch.from_numpy(teacher), temperature)
    assert float(found) == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    assert float(
        soft_label_loss(torch.from_numpy(teacher), torch.from_numpy(teacher), temperature)
    ) == pytest.approx(0, abs=1e-12)


def test_a_loss_that_is_no_number(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    model = fresh()
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"the loss is nan at step 0; lower the learning rate"):
        fit(model, data, SETTINGS, tmp_path / "c", "train", 1)


def test_a_rate_that_is_far_too_high(data: EncodedCorpus, fresh, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the loss is"):
        fit(
            fresh(),
            data,
            TrainSettings(epochs=6, learning_rate=1e3, weight_decay=1e3),
            tmp_path / "c",
            "train",
            1,
        )
