"""What the steps that train check and score on labeled data."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel

from affineur.engines.support.torch_tagger import TorchTagger
from affineur.entities import Corpus
from affineur.measure import evaluate
from affineur.runtime import Encoder
from affineur.steps.training.encoded import check_types


def corpora(labels: tuple[str, ...], train: Corpus, dev: Corpus | None) -> dict[str, Corpus]:
    """Name corpora by role, after checking that the model has a label for each of their types.

    Args:
        labels: Labels of the model.
        train: What is trained on.
        dev: What epochs are scored on.

    Raises:
        DataError: If a label is missing; it is called before any work is done.
    """
    found = {"train": train} | ({"dev": dev} if dev else {})
    for corpus in found.values():
        check_types(corpus, labels)
    return found


def dev_scorer(
    corpus: Corpus, encoder: Encoder, labels: tuple[str, ...]
) -> Callable[[PreTrainedModel], float]:
    """Return a function that gives a model's F1 on a corpus."""

    def score(model: PreTrainedModel) -> float:
        return evaluate(TorchTagger(model, encoder, labels), corpus).total.f1

    return score
