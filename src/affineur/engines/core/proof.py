"""A graph is used only once it has proved on the CPU at hand that it computes what its parent did."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from affineur.artifact import ModelFolder, environment, verify
from affineur.artifact.selftest import VNNI, Agreement, SelfTest, read_self_test
from affineur.errors import ModelError
from affineur.progress import report
from affineur.runtime.tagger import EngineTagger

T = TypeVar("T", bound=EngineTagger)


def proved(folder: ModelFolder, load: Callable[[], T], hides: Callable[[], str | None] = lambda: None) -> T:
    """Load a graph and prove it: its files by the manifest, what it computes by its self-test.

    A graph that others exported has neither; it is used as it is, unless something in it may compute
    something else elsewhere.

    Args:
        folder: The artifact.
        load: Loads it, once its files are known to be the ones that were written.
        hides: Asked where there is no self-test: names what may compute something else on another CPU.

    Raises:
        ModelError: If a file is not what the manifest says, there should be a self-test and is none, or it
            disagrees.
    """
    manifest = verify(folder.path)
    test = read_self_test(folder.path)
    # what was fetched from others has a manifest of ours that says where from
    ours = manifest is not None and manifest.stage != "download"
    if test is None and ours:
        raise ModelError(
            f"{folder.path} has no self-test, so nothing proves it on this CPU; export or quantize it again"
        )
    if test is None and (hidden := hides()):
        raise ModelError(
            f"{folder.path} {hidden} and has no self-test, so nothing proves it on this CPU; "
            "make one that has: affineur quantize PARENT -o OUT"
        )
    tagger = load()
    if test is None:
        _say_unproved(folder.path)
    else:
        prove(tagger, test, folder.path)
    return tagger


@lru_cache(maxsize=64)  # once is enough
def _say_unproved(path: Path) -> None:
    report(
        f"{path} has no self-test, since others exported it: nothing proves it on this CPU; measure it: "
        "affineur evaluate"
    )


def prove(tagger: EngineTagger, test: SelfTest, path: Path) -> Agreement:
    """Run a self-test on the CPU at hand.

    Returns:
        How near the model came to its parent.

    Raises:
        ModelError: If it is further away than where it was made.
    """
    if test.labels and test.labels != tuple(tagger.labels):
        raise ModelError(
            f"{path}: config.json names the labels {', '.join(tagger.labels)}, the self-test "
            f"{', '.join(test.labels)}; export it again"
        )
    if test.logits.shape[2] != len(tagger.labels):
        raise ModelError(
            f"{path}: the self-test has {test.logits.shape[2]} labels, config.json {len(tagger.labels)}; "
            "export it again"
        )
    found = test.agreement(tagger.forward(test.ids, test.mask))
    if not test.passes(found):
        here = environment()
        flags = " ".join(here["cpu_flags"]) or "none we know"
        raise ModelError(
            f"{path} ({test.scheme}, made for {test.target}) gives other results on this CPU ({here['cpu']}; "
            f"{flags}): on its self-test {1 - found.same_tags:.1%} of the tags differ from its parent's "
            f"(where it was made: {1 - test.made.same_tags:.1%}), logits are off by {found.error:.2f} "
            f"(there: {test.made.error:.2f}). {_cause(test.scheme, here['cpu_flags'])}; it is refused. "
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
