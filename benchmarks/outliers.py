"""Eight bits of one model, ours and the field's defaults: F1, tags, bytes, speed; here and without VNNI.

Pretrained encoders have activations far larger than the rest, which a scale for all of them drowns
(Bondarenko et al. 2021, arXiv 2109.12948). The rows, each made of the same model:

``fp32``
    the ONNX export, which all others are compared with, sentence by sentence;
``ours, …``
    ``affineur quantize --for …``;
``ONNX Runtime``
    ``quantize_dynamic(model, out)``, the call of its documentation
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html);
``openmed``
    the call of ``openmed.onnx.quantize_int8`` (PyPI, 3.1.0): signed eight bits, MatMul and Gemm alone,
    neither by channel nor in a reduced range. What optimum's documentation shows,
    ``AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)``, sets the same;
``torch``
    ``torch.quantization.quantize_dynamic`` of every ``nn.Linear``, as the guide calls it.

The field's are made of the graph as torch's exporter writes it, and run by the same code as ours. Then the
first sentences are computed again under ``qemu-x86_64 -cpu Haswell``, a CPU with AVX2 and without VNNI, where
pairs of products of eight bits are summed in 16, and compared with what the same file gives here.

    python benchmarks/outliers.py MODEL [--data DATA] [--rounds 9] [--emulated 50] [--work DIR]

A minute or two for each row, and as much for each under emulation. QEMU (Debian: qemu-user) is said and
skipped where it is missing."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from torch.ao.nn.quantized import dynamic

import affineur
from affineur.artifact import describe_machine, open_folder
from affineur.artifact.formats.onnx import FORMAT
from affineur.artifact.selftest import Agreement
from affineur.engines.support.torch_tagger import TorchTagger
from affineur.entities import Corpus, Scheme, Tagger
from affineur.measure import Candidate, Evaluation, compare, evaluate, markdown_table, megabytes
from affineur.pipeline import candidate, load
from affineur.runtime import EngineTagger
from affineur.steps.graphs.graph import linears
from affineur.steps.graphs.trial import activation_ranges, measured_on, parent_graph
from affineur.steps.quantize import this_cpu
from affineur.transfer import load_corpus, resolve_model
from curve import run
from emulated import EMULATOR, Computed, computed_there, missing

BASELINE = "fp32"
#: What the field calls on a graph: input and output.
DEFAULTS: dict[str, Callable[[str, str], None]] = {
    "ONNX Runtime": quantize_dynamic,
    "openmed": lambda graph, out: quantize_dynamic(
        graph, out, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
    ),
}
_FLOAT = ("MatMul", "Gemm", "FusedMatMul")
_INTEGER = ("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model folder in full precision, or 'sample'")
    parser.add_argument("--data", default="sample", help="labeled text (default: the sample's test part)")
    parser.add_argument("--rounds", type=int, default=9, help="of timing (default: 9)")
    parser.add_argument("--threads", type=int, help="of every engine (default: one per processor)")
    parser.add_argument(
        "--emulated", type=int, default=50, metavar="N", help="sentences to emulate, 0 for none (default: 50)"
    )
    parser.add_argument("--work", type=Path, help="keep the models here (default: a temporary folder)")
    return run(outliers, parser.parse_args(), "outliers.py")


def outliers(args: argparse.Namespace, work: Path) -> None:
    """Make, measure and print."""
    corpus = load_corpus(args.data)
    print(describe_machine())
    made = make(args.model, work)
    print(f"{ends(made[BASELINE], args.threads)}\n")
    table(made, corpus, args.rounds, args.threads)
    few = corpus.head(args.emulated)
    if not len(few):
        return
    if lacks := missing():
        print(f"\n{lacks}")
        return
    emulated(made, few, work)


def make(model: str, work: Path) -> dict[str, str]:
    """Make all rows and return what to load each by; what is kept in ``work`` is not made again."""
    fp32, plain, source = work / "fp32", work / "plain", resolve_model(model)
    affineur.export(source, out=fp32)
    affineur.export(source, out=plain, plain=True)
    made = {BASELINE: str(fp32)}
    for target in dict.fromkeys((this_cpu(), "avx2")):  # u8s8 cannot be proved without VNNI
        affineur.quantize(fp32, out=work / target, target=target)
        made[f"ours, --for {target}"] = str(work / target)
    # The quantizer advises to optimize the graph first, which is for scales that are constant.
    logging.disable(logging.WARNING)
    for name, quantizer in DEFAULTS.items():
        folder = work / name.replace(" ", "_").lower()
        folder.mkdir(exist_ok=True)
        for file in ("config.json", "tokenizer.json"):
            shutil.copy(plain / file, folder)
        quantizer(str(FORMAT.graph(plain)), str(folder / "model.onnx"))
        made[name] = str(folder)
    logging.disable(logging.NOTSET)
    return made | {"torch": f"torch-int8:{source}"}


def ends(fp32: str, threads: int | None) -> str:
    """Say how large the numbers are that enter the matrices, on the text that quantize measures them on."""
    graph, parent, _ = parent_graph(open_folder(fp32), [], threads)
    reads = {node.name: node.input[0] for node in graph.graph.node}
    ranges = activation_ranges(graph, parent, list(parent.encoder.windows(measured_on([]))), threads)
    most = {m.name: max(map(abs, ranges[reads[m.node]])) for m in linears(graph) if m.quantizable}
    name = max(most, key=most.__getitem__)
    return (
        f"Largest activation that enters a matrix: {np.median([*most.values()]):.1f} in the median of"
        f" {len(most)}, {most[name]:.1f} in {name.removesuffix('.weight')}"
    )


def table(made: dict[str, str], corpus: Corpus, rounds: int, threads: int | None) -> None:
    """Print F1 against full precision, tags that differ, bytes, matrices and speed."""
    models = [candidate(reference, name=name, threads=threads) for name, reference in made.items()]
    computed = {model.name: computed_here(model.tagger, corpus) for model in models}

    def scored(model: Candidate, types: Sequence[str] | None, scheme: Scheme) -> Evaluation:
        return evaluate(computed[model.name], corpus, types=types, scheme=scheme)

    found = compare(models, corpus, rounds=rounds, scored=scored)
    cells = []
    for model, row in zip(models, found.rows, strict=True):
        changed, error = apart(computed[model.name], computed[BASELINE])
        ratio = f"{row.speedup:.2f}× ({row.speedup_low:.2f}–{row.speedup_high or np.inf:.2f})"
        cells.append(
            [
                row.model,
                f"{row.f1:.2%} ({row.f1_low * 100:.1f}–{row.f1_high * 100:.1f})",
                f"{-row.drop * 100:+z.2f} ({-row.drop_high * 100:+z.2f} … {-row.drop_low * 100:+z.2f})",
                f"{changed:,}",
                f"{error:.1%}",
                megabytes(row.size_bytes),
                in_full(model, made[model.name]),
                ratio,
            ]
        )
    head = ("", "F1 (95 %)", "against fp32 (95 %)", "tags that differ", "logits off by", "size")
    print(markdown_table((*head, "matrices in fp32", "speed (99 %)"), cells))
    print(f"{found.sentences:,} sentences, {found.words:,} words of {found.data}", flush=True)


def emulated(made: dict[str, str], corpus: Corpus, work: Path) -> None:
    """Print what each file gives on the emulated CPU, beside what it gives here."""
    words = sum(len(s.words) for s in corpus)
    print(f"\n{' '.join(EMULATOR)}, one thread, {words:,} words of {len(corpus):,} sentences:\n", flush=True)
    cells, said = [], []
    for name, reference in made.items():
        here = computed_here(load(reference, threads=1), corpus)
        there = computed_there(reference, here.sentences, work)
        changed, error = apart(there, here)
        cells.append([name, "refused" if there.said else "loads", f"{changed:,}", f"{error:.2%}"])
        said += [f"{name}: {there.said}"] if there.said else []
    head = ("", "loading", "tags unlike here", "logits unlike here")
    print(markdown_table(head, cells), *said, sep="\n", flush=True)


def computed_here(tagger: Tagger, corpus: Corpus) -> Computed:
    """Compute the logits of all words."""
    assert isinstance(tagger, EngineTagger)
    sentences = [s.words for s in corpus]
    return Computed(tagger.labels, sentences, tagger.logits(sentences))


def apart(ours: Computed, theirs: Computed) -> tuple[int, float]:
    """Count the words whose likeliest label differs, and say how far logits are off, as a self-test does."""
    mine, other = np.concatenate([*ours.logits]), np.concatenate([*theirs.logits])
    read = ~np.isnan(other).any(axis=1)
    near = Agreement.between(mine[read], other[read])
    return round((1 - near.same_tags) * int(read.sum())), near.error


def in_full(model: Candidate, reference: str) -> str:
    """Count the matrices that a model multiplies in full precision, of all that it has."""
    if isinstance(model.tagger, TorchTagger):
        modules = [*model.tagger.model.modules()]
        whole, eight = (sum(isinstance(m, kind) for m in modules) for kind in (nn.Linear, dynamic.Linear))
    else:
        graph = onnx.load(FORMAT.graph(Path(reference)), load_external_data=False).graph
        flat = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}
        multiply = [node.op_type for node in graph.node if flat.intersection(node.input[1:2])]
        whole, eight = (sum(kind in kinds for kind in multiply) for kinds in (_FLOAT, _INTEGER))
    return f"{whole} of {whole + eight}"


if __name__ == "__main__":
    sys.exit(main())
