"""Ways to scale the activations of an INT8 graph: bytes, nearness to full precision, dependence on the batch,
speed.

The graph is quantized once for each way (``affineur quantize --activations …``, nothing kept in full
precision). *Tags* and *logits* are compared with the graph in full precision, word by word. *In a batch*
compares the mentions of each text computed alone with those of the same text in its batch of about 256 padded
tokens: share of both sets in common, and how far the score of a common mention moves at most. Speeds are
taken in turn, batches side by side on a thread each; the ratio is the median of the rounds with its 99 %
interval.

    python benchmarks/int8.py FP32 [--data DATA] [--rounds 15]    # made by affineur export MODEL -o FP32
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import affineur
from affineur.artifact import describe_machine
from affineur.artifact.exported import read_export_info
from affineur.artifact.selftest import Agreement
from affineur.cli.main import guarded
from affineur.engines.support.onnx_tagger import OnnxTagger, load_onnx
from affineur.measure import throughput
from affineur.steps.graphs.eight_bits import ACTIVATIONS
from affineur.transfer import load_corpus

WAYS = ("batch", "static", "token", "auto")  # the first is what ONNX Runtime's own quantizer makes


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fp32", type=Path)
    parser.add_argument(
        "--data",
        default="sample",
        help="text to compare on, at most 600 sentences (default: the sample's test part)",
    )
    parser.add_argument("--scheme", help="of the matrices (default: this CPU's own)")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()

    def command() -> int:
        print(describe_machine())
        sentences = [s.words for s in load_corpus(args.data).head(600)]
        texts = [" ".join(words) for words in sentences]
        theirs = np.concatenate(load_onnx(args.fp32).logits(sentences))
        read = ~np.isnan(theirs).any(axis=1)
        calibration = load_corpus("sample", "train")
        assert set(WAYS) == {"auto", *ACTIVATIONS}
        with tempfile.TemporaryDirectory() as place:
            taggers = {}
            print(f"{read.sum():,} words of {args.data}; {args.fp32.name} in eight bits:")
            for way in WAYS:
                folder = Path(place, way)
                how = {"scheme": args.scheme, "min_agreement": 0, "activations": way}
                made = affineur.quantize(args.fp32, out=folder, calibration=calibration, **how)
                found = read_export_info(made.path)
                assert found is not None
                tagger = taggers[way] = load_onnx(folder)
                near = Agreement.between(np.concatenate(tagger.logits(sentences))[read], theirs[read])
                same, furthest = alone_and_together(tagger, texts)
                print(
                    f"  {way:<7} {made.info.folder.size_bytes / 1e6:6.1f} MB, {len(found.by_token):2}"
                    f" matrices by token beside static ones; tags {near.same_tags:.3%}, logits off by"
                    f" {near.error:.2%}; in a batch {same:.2%} of the mentions, scores within {furthest:.3f}",
                    flush=True,
                )
            for tagger in taggers.values():
                tagger.beside_from = 2
            speeds = throughput(list(taggers.values()), sentences[:256], rounds=args.rounds)
            for way, speed in zip(taggers, speeds, strict=True):
                ratio = speed.ratio(speeds[0])
                print(
                    f"  {way:<7} {speed.median:7.1f} sentences/s, {ratio.value:.3f}× {WAYS[0]}"
                    f" ({ratio.low:.3f}–{ratio.high:.3f})"
                )
        return 0

    return guarded(command, "int8.py", quiet=True)


def alone_and_together(tagger: OnnxTagger, texts: Sequence[str]) -> tuple[float, float]:
    """Compare the mentions of texts computed one by one with those computed in batches: share in common,
    furthest score.
    """
    reading = tagger.read(texts)
    alone, together = (
        {(i, e.type, e.start, e.end): e.score for i, found in enumerate(reading.results(rows)) for e in found}
        for rows in (
            [tagger.window_logits([window])[0] for window in reading.windows],
            tagger._computed(reading.windows, None),
        )
    )
    common = alone.keys() & together.keys()
    return 2 * len(common) / (len(alone) + len(together)), max(
        abs(alone[key] - together[key]) for key in common
    )


if __name__ == "__main__":
    sys.exit(main())
