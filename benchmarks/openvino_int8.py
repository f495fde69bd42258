"""Whether OpenVINO in eight bits is worth having beside ONNX Runtime in eight bits: speed, agreement, bytes,
time to open.

NNCF makes OpenVINO models of an export in full precision: weights and activations quantized on 256 sentences
of the sample (static); weights alone, with activations quantized as they come, 32 (the default) or 128
numbers to a scale. Engines get the same batches in turn, blocks begin with sessions just opened, ratios are
of one round. Random weights prove speed and size only.

    pip install nncf openvino    # by hand: no extra of Affineur brings nncf
    affineur export MODEL -o FP32; affineur quantize MODEL -o INT8
    python benchmarks/openvino_int8.py FP32 INT8
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from affineur.artifact import describe_machine, open_folder
from affineur.artifact.formats.onnx import FORMAT
from affineur.artifact.selftest import Agreement
from affineur.cli.main import guarded
from affineur.engines.support.onnx_tagger import OnnxTagger
from affineur.engines.support.openvino_tagger import OpenVinoTagger
from affineur.engines.support.session_pool import open_session
from affineur.errors import AffineurError
from affineur.measure.speed import median_ratio
from affineur.runtime import Encoder, EngineTagger, Window, pad, plan_batches
from affineur.transfer import load_corpus

SHAPES = ((8, 32), (16, 16), (1, 33))
SETTINGS = ((1, 1), (2, 1), (1, 2))  # threads of a stream, streams side by side
BUDGET, BLOCKS, ROUNDS, OURS = 256, 3, 3, "ONNX Runtime INT8"
ENGINES: dict[str, tuple[str, dict[str, int]]] = {  # file, settings
    OURS: ("", {}),
    "OpenVINO fp32": ("fp32", {}),
    "OpenVINO static INT8": ("static", {}),
    "OpenVINO weights INT8, scale for 32": ("weights", {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 32}),
    "OpenVINO weights INT8, scale for 128": ("weights", {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 128}),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fp32", type=Path)
    parser.add_argument("int8", type=Path)
    parser.add_argument("--data", default="sample", help="text to compare tags and logits on (600 sentences)")
    args = parser.parse_args()

    def command() -> int:
        try:
            import nncf
            import openvino
        except ModuleNotFoundError as error:
            raise AffineurError(
                f"{error.name} is not installed, expected nncf and openvino; type: pip install nncf openvino"
            ) from None
        nncf.set_log_level(logging.ERROR)
        print(describe_machine())
        folder = open_folder(args.fp32)
        encoder, labels = Encoder.from_folder(folder.path, folder.config), folder.labels
        windows = list(encoder.windows([s.words for s in load_corpus("sample", "train")]))
        with tempfile.TemporaryDirectory() as place:

            def start(name: str, threads: int = 2, streams: int = 1) -> list[EngineTagger]:
                if name == OURS:
                    return [
                        OnnxTagger(open_session(FORMAT.graph(args.int8), threads), encoder, labels, BUDGET)
                        for _ in range(streams)
                    ]
                hints = {
                    "INFERENCE_PRECISION_HINT": "f32",
                    "INFERENCE_NUM_THREADS": threads * streams,
                    "NUM_STREAMS": streams,
                }
                compiled = openvino.Core().compile_model(
                    f"{place}/{ENGINES[name][0]}.xml", "CPU", hints | ENGINES[name][1]
                )
                return [OpenVinoTagger(compiled, encoder, labels, BUDGET) for _ in range(streams)]

            sizes = make(FORMAT.graph(args.fp32), Path(place), windows[:256], encoder.pad_id) | {
                OURS: (FORMAT.graph(args.int8)).stat().st_size
            }
            sentences = [s.words for s in load_corpus(args.data).head(600)]
            theirs = np.concatenate(
                OnnxTagger(open_session(FORMAT.graph(args.fp32)), encoder, labels).logits(sentences)
            )
            read = ~np.isnan(theirs).any(axis=1)
            print(f"\n{read.sum():,} words beside ONNX Runtime in full precision")
            row("engine", "MB", "tags the same", "rms of the difference", "÷ rms of the logits", head=True)
            for name in ENGINES:
                ours = np.concatenate(start(name)[0].logits(sentences))[read]
                found = Agreement.between(ours, theirs[read])
                rms = np.sqrt(np.mean(np.square(ours - theirs[read])))
                row(
                    name,
                    f"{sizes[name] / 1e6:.1f}",
                    f"{found.same_tags:.3%}",
                    f"{rms:.4f}",
                    f"{found.error:.2%}",
                )
            speeds(start, windows, encoder.pad_id)
        return 0

    return guarded(command, "openvino_int8.py", quiet=True)


def make(graph: Path, place: Path, windows: Sequence[Window], pad_id: int) -> dict[str, int]:
    """Write the OpenVINO models and return their bytes."""
    import nncf
    import openvino

    data = nncf.Dataset(
        windows,
        lambda window: dict(zip(("input_ids", "attention_mask"), pad([window.ids], pad_id), strict=True)),
    )
    static = {
        "preset": nncf.QuantizationPreset.MIXED,
        "model_type": nncf.ModelType.TRANSFORMER,
        "subset_size": len(windows),
    }
    models = [openvino.Core().read_model(graph) for _ in range(3)]
    openvino.save_model(models[0], place / "fp32.xml", compress_to_fp16=False)
    openvino.save_model(
        nncf.quantize(models[1], data, **static), place / "static.xml", compress_to_fp16=False
    )
    openvino.save_model(
        nncf.compress_weights(models[2], mode=nncf.CompressWeightsMode.INT8_SYM),
        place / "weights.xml",
        compress_to_fp16=False,
    )
    return {
        name: sum(f.stat().st_size for f in place.glob(f"{file}.*"))
        for name, (file, _) in ENGINES.items()
        if file
    }


def speeds(
    start: Callable[[str, int, int], list[EngineTagger]], windows: Sequence[Window], pad_id: int
) -> None:
    """Time all engines in turn, and print sentences a second and the ratio to ours."""
    plan, pieces = (
        plan_batches([len(w) for w in windows[:24]], BUDGET),
        np.concatenate([w.ids for w in windows]),
    )
    works = {"24 sentences": [pad([windows[i].ids for i in batch], pad_id) for batch in plan]}
    works |= {f"{a} × {b}": [(pieces[: a * b].reshape(a, b), np.ones((a, b), np.int64))] for a, b in SHAPES}
    print(
        "\n'to open' reads and compiles the model and tags a sentence; the interval is of the median of the"
        " ratios"
    )
    row(
        "threads × streams",
        "batch",
        "engine",
        "sentences/s",
        "speed ÷ ours",
        "99 % interval",
        "to open, s",
        head=True,
    )
    for threads, streams in SETTINGS:
        found: dict[tuple[str, str], list[float]] = {(work, name): [] for work in works for name in ENGINES}
        opening: dict[str, list[float]] = {name: [] for name in ENGINES}
        for number in range(BLOCKS):
            ready = {}
            for name, times in opening.items():
                begun = time.perf_counter()
                ready[name] = start(name, threads, streams)
                ready[name][0].forward(*works["1 × 33"][0])
                times.append(time.perf_counter() - begun)
                for batches in works.values():
                    speed(ready[name], batches)
            for turn in range(ROUNDS):
                for work, batches in works.items():
                    for name in list(ready)[:: 1 if (number + turn) % 2 else -1]:
                        found[work, name].append(speed(ready[name], batches))
        for (work, name), times in found.items():
            ratio = median_ratio(times, found[work, OURS])
            figures = (
                f"{statistics.median(times):.1f}",
                f"{ratio.value:.2f}×",
                f"{ratio.low:.2f} … {ratio.high:.2f}",
            )
            row(f"{threads} × {streams}", work, name, *figures, f"{statistics.median(opening[name]):.1f}")


def speed(taggers: Sequence[EngineTagger], batches: Sequence[Any]) -> float:
    """Return sentences a second of all streams together, each of which computes all batches."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(taggers)) as pool:
        list(pool.map(lambda tagger: [tagger.forward(*batch) for batch in batches], taggers))
    return len(taggers) * sum(len(ids) for ids, _ in batches) / (time.perf_counter() - begun)


def row(*cells: str, head: bool = False) -> None:
    print(f"| {' | '.join(cells)} |" + ("\n|" + " --- |" * len(cells) if head else ""), flush=True)


if __name__ == "__main__":
    sys.exit(main())
