"""U8S8 on a CPU without VNNI: how wrong it is there, and that its self-test refuses it.

A model whose activations are large and of one sign makes the sums of two products overflow 16 bits. Such a
model is made of the sample's teacher without changing what it computes: every value projection's bias is
raised by 32, which the attention's weights, whose sum is one, carry through unchanged, and what the output
projection makes of it is taken off that one's bias. It is quantized here and run again under `qemu-x86_64
-cpu Haswell`, a CPU with AVX2 and without VNNI.

    python benchmarks/saturation.py [--sentences N]

Needs x86 with VNNI, and qemu-x86_64 (Debian: qemu-user); what is missing is said and skipped. Three minutes
of computing."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import affineur
from affineur import sample
from affineur.artifact import describe_machine, open_folder
from affineur.artifact.exported import read_export_info
from affineur.artifact.selftest import Agreement
from affineur.cli.main import guarded
from affineur.engines.support.checkpoints import load_model, save_model
from affineur.entities import Corpus
from affineur.measure import evaluate
from affineur.pipeline import load
from affineur.runtime import EngineTagger
from affineur.steps.quantize import this_cpu
from affineur.transfer import load_splits
from emulated import EMULATOR, computed_there, missing

_SHIFT = 32.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sentences", type=int, default=100, help="of the sample's test part (default: 100)")
    args = parser.parse_args()

    def command() -> int:
        with tempfile.TemporaryDirectory() as folder:
            saturate(load_splits("sample").get("test").head(args.sentences), Path(folder))
        return 0

    return guarded(command, "saturation.py", quiet=True)


def saturate(test: Corpus, work: Path) -> None:
    """Shift, quantize, score here and there, and print."""
    print(f"{describe_machine()}\n{len(test):,} sentences of {test.name}\n")
    teacher, shifted = load(sample.model(sample.TEACHER)), load(_shifted(work / "shifted"))
    before, after = (_logits(tagger, test) for tagger in (teacher, shifted))
    print(
        f"fp32: F1 {evaluate(teacher, test).total.f1:.3f}, with values raised by {_SHIFT:g}"
        f" {evaluate(shifted, test).total.f1:.3f}; ",
        end="",
    )
    print(
        f"logits differ by at most {np.abs(before - after).max():.1e},"
        f" {Agreement.between(after, before).same_tags:.2%} of the tags are equal\n"
    )
    if this_cpu() != "vnni":
        print("This CPU has no VNNI, so U8S8 cannot be made faithfully here: the rest is skipped")
        return
    text = load_splits("sample").get("train")
    for target in ("vnni", "avx2"):
        how = {"target": target, "min_agreement": 0.0, "calibration": text}
        affineur.quantize(work / "shifted", out=work / target, **how)
        made = read_export_info(work / target)
        assert made is not None
        print(
            f"quantize --for {target} ({made.scheme}):\n  F1 here:"
            f" {evaluate(load(work / target), test).total.f1:.3f}"
        )
        if lacks := missing():
            print(f"  {lacks}")
            continue
        there = computed_there(str(work / target), [s.words for s in test], work)
        print(
            f" there ({' '.join(EMULATOR)}; CPU and flags named below are the host's, which /proc shows"
            f" through):\n  load_onnx: {there.said or 'loads'}\n"
            f"  F1 with the self-test bypassed: {evaluate(there, test).total.f1:.3f}"
        )


def _shifted(folder: Path) -> Path:
    """Raise the values by a constant that the output projection takes off again: the same function."""
    model = load_model(open_folder(sample.model(sample.TEACHER)))
    with torch.no_grad():
        for layer in model.base_model.encoder.layer:
            layer.attention.self.value.bias += _SHIFT
            output = layer.attention.output.dense
            output.bias -= _SHIFT * output.weight.sum(dim=1)
    folder.mkdir()
    save_model(model, folder, sample.model(sample.TEACHER))
    return folder


def _logits(tagger: EngineTagger, corpus: Corpus) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return the logits of all words."""
    found = np.concatenate(tagger.logits([s.words for s in corpus]))
    return found[~np.isnan(found).any(axis=1)]


if __name__ == "__main__":
    sys.exit(main())
