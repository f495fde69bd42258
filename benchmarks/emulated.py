"""What a model computes on an emulated x86 CPU without VNNI, whatever its self-test says of it there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affineur.errors import AffineurError
from affineur.runtime import Logits
from affineur.runtime.prediction import best_labels

#: AVX2 and FMA, neither AVX-512 nor VNNI.
EMULATOR = ("qemu-x86_64", "-cpu", "Haswell")
_THERE = """
import json, sys
import numpy as np
from affineur.engines.core import proof
from affineur.engines.support import onnx_tagger
from affineur.errors import ModelError
from affineur.pipeline import load
reference, sentences, out = sys.argv[1:]
said = ""
try:
    tagger = load(reference, threads=1)
except ModelError as error:
    said = str(error)
    proof.prove, onnx_tagger.multiplies_faithfully = lambda *_: None, lambda: True
    tagger = load(reference, threads=1)
np.savez(out, *tagger.logits(json.load(open(sentences))))
print(json.dumps({"said": said, "labels": tagger.labels}))
"""


@dataclass(frozen=True, slots=True)
class Computed:
    """A tagger that knows the logits of certain sentences, computed elsewhere.

    Args:
        labels: Labels in the order of the logits.
        sentences: Words of each sentence.
        logits: Of each sentence, shape ``(words, labels)``.
        said: Why the model was refused there; empty where it was not.
    """

    labels: tuple[str, ...]
    sentences: Sequence[Sequence[str]]
    logits: Sequence[Logits]
    said: str = ""

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the likeliest label of each word."""
        known = {tuple(words): rows for words, rows in zip(self.sentences, self.logits, strict=True)}
        return [best_labels(known[tuple(words)], self.labels)[0] for words in sentences]


def missing() -> str:
    """Say what is missing for :func:`computed_there`; nothing where it can run."""
    if shutil.which(EMULATOR[0]):
        return ""
    return (
        f"{EMULATOR[0]} is not installed, so a CPU without VNNI is not tried (Debian: apt install qemu-user)"
    )


def computed_there(reference: str, sentences: Sequence[Sequence[str]], work: Path) -> Computed:
    """Load a model on the emulated CPU and compute there; one that is refused is computed all the same.

    Args:
        reference: What ``affineur.load`` takes.
        sentences: Words of each sentence.
        work: A folder for what goes there and comes back.

    Raises:
        AffineurError: If it fails there.
    """
    there, back = work / "there.json", work / "back.npz"
    there.write_text(json.dumps(sentences), encoding="utf-8")
    words = [*EMULATOR, sys.executable, "-c", _THERE, reference, str(there), str(back)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise AffineurError(f"{reference} fails under {' '.join(EMULATOR)}: {last}")
    about = json.loads(done.stdout.splitlines()[-1])
    with np.load(back) as found:
        logits = [found[f"arr_{number}"] for number in range(len(sentences))]
    return Computed(tuple(about["labels"]), sentences, logits, about["said"])
