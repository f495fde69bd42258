"""What engines of exported graphs share: inputs, threads, the shape of logits, and the self-test."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from affineur.artifact import ModelFolder, environment, open_folder, verify
from affineur.artifact.selftest import VNNI, Agreement, SelfTest, read_selftest
from affineur.errors import ModelError
from affineur.runtime.prediction import Logits
from affineur.runtime.tagger import EngineTagger

#: Inputs that are known; a piece's segment is always the first.
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
T = TypeVar("T", bound=EngineTagger)


def load_proved(
    path: ModelFolder | Path | str,
    build: Callable[[ModelFolder], T],
    again: str,
    unproved: Callable[[ModelFolder], None] | None = None,
) -> T:
    """Load an exported artifact and prove it on this CPU.

    Args:
        path: The artifact.
        build: Loads its graph, once every file is the one that the manifest lists.
        again: How to make it again where it has lost its self-test.
        unproved: Called with a folder of others, which have no self-test; raises to refuse it.

    Raises:
        ModelError: If the folder is not usable, a file is not what its manifest says, or the self-test
            disagrees.
    """
    folder = path if isinstance(path, ModelFolder) else open_folder(path)
    manifest = verify(folder.path)
    selftest = read_selftest(folder.path)
    if selftest is None:
        if manifest is not None:
            raise ModelError(f"{folder.path} has no self-test, so nothing proves it on this CPU; {again}")
        if unproved is not None:
            unproved(folder)
    tagger = build(folder)
    if selftest is not None:
        prove(tagger, selftest, folder.path)
    return tagger


def prove(tagger: EngineTagger, selftest: SelfTest, path: Path) -> Agreement:
    """Run a self-test on the CPU at hand.

    Returns:
        How near the model came to its parent.

    Raises:
        ModelError: If it is further away than where it was made.
    """
    if selftest.labels and selftest.labels != tuple(tagger.labels):
        raise ModelError(
            f"{path}: config.json names the labels {', '.join(tagger.labels)}, the self-test "
            f"{', '.join(selftest.labels)}; export it again"
        )
    if selftest.logits.shape[2] != len(tagger.labels):
        raise ModelError(
            f"{path}: the self-test has {selftest.logits.shape[2]} labels, config.json {len(tagger.labels)}; "
            "export it again"
        )
    found = selftest.agreement(tagger.forward(selftest.ids, selftest.mask))
    if not selftest.passes(found):
        here = environment()
        flags = " ".join(here["cpu_flags"]) or "none we know"
        raise ModelError(
            f"{path} ({selftest.scheme}, made for {selftest.target}) gives other results on this CPU "
            f"({here['cpu']}; {flags}): on its self-test {1 - found.same_tags:.1%} of the tags differ from "
            f"its parent's (where it was made: {1 - selftest.made.same_tags:.1%}), logits are off by "
            f"{found.error:.2f} (there: {selftest.made.error:.2f}). "
            f"{_cause(selftest.scheme, here['cpu_flags'])}; it is refused. "
            "Make one for this CPU: affineur quantize PARENT --for avx2 -o OUT"
        )
    return found


def _cause(scheme: str, flags: Sequence[str]) -> str:
    """Say what may be the matter."""
    if scheme != "u8s8" or platform.machine().lower() not in ("x86_64", "amd64"):
        return "A file may be damaged"
    overflow = "without which sums of U8S8 overflow and entities are lost"
    if VNNI.isdisjoint(flags):
        return f"This CPU lacks VNNI, {overflow}"
    return f"This CPU says it has VNNI, {overflow}: it is emulated, or a file is damaged"


def fitting(logits: Logits, ids: npt.NDArray[np.int64], labels: Sequence[str]) -> Logits:
    """Return logits as they are, after checking their shape: a graph need not say it before it is run.

    Raises:
        ModelError: If it is not ``(sequences, longest, labels)``.
    """
    if logits.shape != (expected := (*ids.shape, len(labels))):
        raise ModelError(
            f"the graph gives logits of shape {logits.shape}, expected {expected}: {len(labels)} labels are "
            "named in config.json"
        )
    return logits


def usable_threads() -> int:
    """Return how many threads an engine takes: what ``OMP_NUM_THREADS`` says, or one per usable processor."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(told) if told.isdigit() and int(told) else usable
