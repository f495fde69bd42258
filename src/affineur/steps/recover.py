"""``recover``: fine-tune a pruned model under its mask (guide §5)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from transformers import set_seed

from affineur.artifact import open_folder
from affineur.engines.support.checkpoints import load_encoder, load_model
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus
from affineur.errors import ParameterError
from affineur.progress import report
from affineur.steps.core.work import Stage, corpora, dev_scorer
from affineur.steps.training.encoded import encode_corpus
from affineur.steps.training.loop import SoftTargets, TrainSettings, fit
from affineur.steps.training.mask import KeepZeros
from affineur.steps.training.teacher_logits import teacher_logits

#: The guide's §5: half an epoch at a low rate.
GUIDE = TrainSettings(epochs=0.5, learning_rate=1e-5, batch_size=8, weight_decay=0.01)


def recover(
    model: Path | str,
    out: Path | str,
    train: Corpus,
    dev: Corpus | None = None,
    teacher: Path | str | None = None,
    settings: TrainSettings = GUIDE,
    soft: SoftTargets | None = None,
    device: str = "cpu",
    cache: Path | None = None,
) -> Path:
    """Fine-tune a model while every weight in scope that is zero stays zero, whoever pruned it.

    The mask is applied after every optimizer step, and the zeros are checked again in the written file. Does
    nothing where ``out`` already holds the result; goes on where an interrupted run stopped.

    Args:
        model: Folder of the pruned model.
        out: Folder to write to.
        train: Training sentences.
        dev: Sentences to score epochs on.
        teacher: Folder of a teacher to learn soft labels from; without one only the labels of the data count.
        settings: How to train; the guide's by default.
        soft: What to learn from the teacher.
        device: A torch device.
        cache: Where teacher logits are kept.

    Returns:
        ``out``.

    Raises:
        ModelError: If a model cannot be used, or a zero was lost.
        DataError: If the data cannot be used.
    """
    folder = open_folder(model)
    guide = open_folder(teacher) if teacher is not None else None
    soft = (soft or SoftTargets()) if guide else None
    parameters = asdict(settings) | (soft.parameters if soft else {})
    stage = Stage("recover", Path(out), folder, parameters, corpora(folder.labels, train, dev), guide)
    if stage.finished():
        return stage.out
    set_seed(settings.seed)
    network = load_model(folder, device)
    encoder = load_encoder(folder)
    score = dev_scorer(dev, encoder, folder.labels) if dev else None
    keep = KeepZeros(network)
    report(
        f"recover: {len(keep.mask):,} weights stay zero"
        if len(keep.mask)
        else "recover: no zeros in scope, so this is plain fine-tuning"
    )
    with stage.workplace() as place:
        data = encode_corpus(train, encoder, folder.labels, place)
        if guide is not None and soft is not None:
            tagger = load_tagger(guide.path, device)
            data.with_teacher(teacher_logits(tagger, guide.digest(), train, folder.labels, cache))
            if soft.hidden_weight:
                master = load_model(guide, device)
                if (
                    tagger.encoder.tokenizer.to_str() != encoder.tokenizer.to_str()
                    or master.config.hidden_size != network.config.hidden_size
                ):
                    raise ParameterError(
                        "hidden states can be learned only from a teacher with the same tokenizer and hidden size"
                    )
                soft = SoftTargets(soft.weight, soft.temperature, soft.hidden_weight, master)
        before = score(network) if score else None
        log = fit(
            network, data, settings, place / "checkpoints", "recover", encoder.pad_id, soft, score, [keep]
        )
        keep.mask.check(network)

        def zeros_survived(written: Path) -> None:
            keep.mask.check(load_model(written))

        scores = {"dev_f1_before": before, "zeros_kept": len(keep.mask), "torch": torch.__version__, **log}
        return stage.write(network, scores, check=zeros_survived)
