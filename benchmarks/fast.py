"""The pipeline against the guide's recipe on full-size models: sentences a second and bytes, in one
interleaved run.

A CamemBERT of 12 layers × 768 with 32,005 pieces, run as the guide runs it (torch, unsorted batches of 32),
against what Affineur makes of its shape: ONNX in full precision, INT8 with 11 layers, INT8 with 6 layers,
vocabulary trimmed and feed-forward layers narrowed. The weights are random, so they prove speed and bytes,
not F1; what the same steps cost in F1 is measured on a small real model (docs/results).
``--min-agreement`` is off: random weights have no tags to agree on. The sentences are the sample's.

    python benchmarks/fast.py [--rounds 15] [--work DIR]
"""

from __future__ import annotations

import argparse
import itertools
import json
import string
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import affineur
import winner
from affineur.artifact import describe_machine, open_folder
from affineur.cli.main import guarded
from affineur.measure import BENCHMARK_COLUMNS, benchmark_cells, benchmark_notes
from affineur.pipeline import benchmark_models
from affineur.transfer import load_corpus

_PIECES, _KEEP, _WIDTH = 32_005, 13_500, 768
#: Bytes of the model file each may have at most.
_MOST = {"int8_11L": 105e6, "int8_6L_trimmed": 90e6}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--work", type=Path, help="keep the models here (default: a temporary folder)")
    args = parser.parse_args()

    def command() -> int:
        print(describe_machine(), flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            models = make(args.work or Path(temporary))
            found = benchmark_models(
                ["guide:" + str(models.pop("teacher_12L")), *map(str, models.values())],
                load_corpus("sample"),
                args.rounds,
            )
            for cells in (BENCHMARK_COLUMNS, *benchmark_cells(found)):
                print(" | ".join(cells))
            print(*benchmark_notes(found), sep="\n")
            small = True
            for name, most in _MOST.items():
                size = open_folder(models[name]).size_bytes
                small &= size <= most
                print(f"{name}: {size / 1e6:.1f} MB, at most {most / 1e6:.0f} MB wanted")
            best = max(model.timings[0].ratio.value for model in found.models[1:])
            print(f"the fastest runs at {best:.1f} × the guide's recipe, at least 10 × wanted")
            return 0 if small and best >= 10 else 1

    return guarded(command, "fast.py")


def make(work: Path) -> dict[str, Path]:
    """Make the models, the first the guide's."""
    text = load_corpus("sample", "train")
    teacher, eleven, six = (
        wide_vocabulary(winner.random_camembert(work / f"random_{layers}L", layers)) for layers in (12, 11, 6)
    )
    made = {"teacher_12L": teacher, "fp32_11L": work / "fp32_11L"}
    affineur.export(eleven, out=made["fp32_11L"], calibration=text)
    affineur.quantize(made["fp32_11L"], out=work / "int8_11L", min_agreement=0, calibration=text)
    # The sample alone uses some 3,000 pieces: the rest of those to keep are used by words made up for it.
    rare = work / "rare.conll"
    rare.write_text("".join(f"{word}\tO\n\n" for word in itertools.islice(_made_up(), _KEEP)), "utf-8")
    texts = [text, load_corpus(str(rare))]
    trimmed = affineur.trim_vocab(six, out=work / "trimmed_6L", data=texts, keep=_KEEP)
    # Random weights have no neurons to tell apart, so little text does.
    narrow = affineur.shrink(trimmed, out=work / "narrow_6L", ffn_width=_WIDTH, calibration=text.head(64))
    affineur.quantize(six, out=work / "int8_6L", min_agreement=0, calibration=text)
    affineur.quantize(trimmed, out=work / "int8_6L_trimmed", min_agreement=0, calibration=text)
    affineur.quantize(narrow, out=work / "int8_6L_trimmed_narrow", min_agreement=0, calibration=text)
    return made | {
        name: work / name for name in ("int8_11L", "int8_6L", "int8_6L_trimmed", "int8_6L_trimmed_narrow")
    }


def wide_vocabulary(folder: Path) -> Path:
    """Give a model's tokenizer as many pieces as its embedding table has rows; the new ones are in no text,
    so nothing is cut otherwise.
    """
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    pieces = tokenizer["model"]["vocab"]
    lowest = min(score for _, score in pieces)
    pieces += [[f"▁{word}", lowest - 1.0] for word in itertools.islice(_made_up(), _PIECES - len(pieces))]
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    return folder


def _made_up() -> Iterator[str]:
    """Give words that are in no text."""
    return ("zqx" + "".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=4))


if __name__ == "__main__":
    sys.exit(main())
