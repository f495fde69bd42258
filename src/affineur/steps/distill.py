"""``distill``: a student with fewer encoder layers learns from its teacher."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, set_seed

from affineur.artifact import open_folder, write_json
from affineur.engines.support.checkpoints import load_encoder, load_model
from affineur.engines.support.torch_tagger import TorchTagger
from affineur.entities import Corpus
from affineur.steps.core.work import Stage, corpora, dev_scorer
from affineur.steps.tailoring.layers import check_layers, choose_layers, keep_layers
from affineur.steps.training.encoded import encode_corpus
from affineur.steps.training.loop import SoftTargets, TrainSettings, fit
from affineur.steps.training.teacher_logits import teacher_logits

#: Dev sentences each trial of ``--keep search`` is scored on.
_SEARCH_SENTENCES = 500


def distill(
    teacher: Path | str,
    out: Path | str,
    layers: int,
    train: Corpus,
    dev: Corpus | None = None,
    keep: str = "search",
    settings: TrainSettings | None = None,
    soft: SoftTargets | None = None,
    device: str = "cpu",
    cache: Path | None = None,
) -> Path:
    """Make a student of some of the teacher's layers and train it on the teacher's soft labels.

    Embeddings and classifier are copied with the layers. Does nothing where ``out`` already holds the result;
    goes on where an interrupted run stopped.

    Args:
        teacher: Folder of the teacher.
        out: Folder to write the student to.
        layers: Encoder layers the student has.
        train: Training sentences.
        dev: Sentences to choose layers on and to score epochs on.
        keep: ``top``, ``uniform`` or ``search`` (see :func:`~affineur.steps.tailoring.layers.choose_layers`);
            without dev data ``search`` is refused.
        settings: How to train; by default one epoch at 5e-5.
        soft: What to learn from the teacher.
        device: A torch device.
        cache: Where teacher logits are kept.

    Returns:
        ``out``.

    Raises:
        ParameterError: If the number of layers or another value is impossible.
        ModelError: If the teacher cannot be used.
        DataError: If the data cannot be used.
    """
    folder = open_folder(teacher)
    settings = settings or TrainSettings(epochs=1.0)
    soft = soft or SoftTargets()
    check_layers(layers, folder.layers)
    stage = Stage(
        "distill",
        Path(out),
        folder,
        {
            "layers": layers,
            "keep": keep,
            **asdict(settings),
            **soft.parameters,
        },
        corpora(folder.labels, train, dev),
    )
    if stage.finished():
        return stage.out
    set_seed(settings.seed)
    model = load_model(folder, device)
    encoder = load_encoder(folder)
    score = dev_scorer(dev, encoder, folder.labels) if dev else None
    with stage.workplace() as place:
        kept, trials = _choose(
            model,
            layers,
            keep,
            dev_scorer(dev.head(_SEARCH_SENTENCES), encoder, folder.labels) if dev else None,
            place,
        )
        data = encode_corpus(train, encoder, folder.labels, place)
        if soft.weight and settings.epochs:
            tagger = TorchTagger(model, encoder, folder.labels)
            data.with_teacher(teacher_logits(tagger, folder.digest(), train, folder.labels, cache))
        if soft.hidden_weight:
            soft = SoftTargets(soft.weight, soft.temperature, soft.hidden_weight, copy.deepcopy(model))
        student = keep_layers(model, kept)
        before = score(student) if score else None
        log = fit(
            student,
            data,
            settings,
            place / "checkpoints",
            f"distill to {layers} layers",
            encoder.pad_id,
            soft,
            score,
        )
        scores = {"layers_kept": kept, "layer_search": trials, "dev_f1_untrained": before, **log}
        return stage.write(student, scores)


def _choose(
    model: PreTrainedModel, layers: int, keep: str, score: Any, place: Path
) -> tuple[list[int], list[dict[str, Any]]]:
    """Choose layers, once: an interrupted run finds the choice it made."""
    file = place / "layers.json"
    if not file.exists():
        kept, trials = choose_layers(model, layers, keep, score)
        write_json(file, {"kept": kept, "trials": trials})
    made = json.loads(file.read_text("utf-8"))
    return made["kept"], made["trials"]
