"""The guide's folders: ``./student_11L`` → ``./student_11L_pruned`` → ``./student_11L_pruned_finetuned``."""

from __future__ import annotations

from pathlib import Path

from affineur import sample
from affineur.artifact import open_folder
from affineur.progress import report
from affineur.steps.core.context import Context
from affineur.steps.core.step import STEPS
from affineur.transfer import load_splits

STUDENT, PRUNED, FINETUNED = (
    Path("student_11L"),
    Path("student_11L_pruned"),
    Path("student_11L_pruned_finetuned"),
)


def student() -> Path:
    """Return ``./student_11L``; where it is not there, make it from ``sample``.

    That one is this teacher less the layer whose loss costs least on the sample's dev set, without training.
    """
    if not STUDENT.exists():
        report(
            f"no ./{STUDENT} here, so the teacher of affineur-fr less one layer stands in, untrained"
            " (affineur distill trains one)"
        )
        context = Context(data=load_splits("sample"))
        distill = STEPS.get("distill").given({"layers": 11, "epochs": 0})
        distill.run(open_folder(sample.model(sample.TEACHER)), STUDENT, context)
    return STUDENT


def pruned() -> Path:
    """Return ``./student_11L_pruned``; where it is not there, prune :func:`student` by 15 %."""
    if not PRUNED.exists():
        STEPS.get("prune").given({"sparsity": 0.15}).run(open_folder(student()), PRUNED, Context())
    return PRUNED


def latest() -> Path:
    """Return the last of the guide's folders that is there."""
    return FINETUNED if FINETUNED.exists() else pruned()
