"""Commands that make a model for an engine without torch: export, quantize."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from affineur.artifact import describe
from affineur.artifact.exported import read_export_info
from affineur.cli import options, show
from affineur.entities import Corpus
from affineur.measure import megabytes
from affineur.transfer import DataOptions, load_corpus, resolve_model


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    parser = commands.add_parser(
        "export", help="a model as an ONNX or OpenVINO graph, proved equal, with labels, tokenizer and probe"
    )
    _add_model(parser)
    parser.add_argument("--to", choices=["onnx", "openvino"], default="onnx", help="default: onnx")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="leave the graph as the exporter writes it, for engines other than ONNX Runtime",
    )
    parser.set_defaults(run=_export)
    parser = commands.add_parser(
        "quantize",
        help="INT8 for this or a named CPU, as near to its parent as asked, with a probe that proves it",
    )
    _add_model(parser)
    parser.add_argument(
        "--for",
        dest="target",
        default="auto",
        metavar="CPU",
        help="auto, vnni, avx512, avx2 or arm (default: auto, the one at hand)",
    )
    parser.add_argument(
        "--scheme",
        metavar="NAME",
        help="u8s8, u8s8-reduced or u8u8 (default: the CPU's own)",
    )
    parser.add_argument(
        "--activations",
        default="auto",
        metavar="SCALES",
        help="static (constant, measured on the calibration text), token (one a token, as it comes), batch (one a batch: a text's result depends on "
        "its neighbors), or auto (default): static, but token for the kinds of matrices where that is much nearer",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=0.995,
        metavar="SHARE",
        help="least share of tags equal to the parent's; the matrices that cost most stay in full precision until it is met (default: 0.995; 0: off)",
    )
    parser.set_defaults(run=_quantize)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True)
    parser.add_argument(
        "--calibration",
        metavar="DATA",
        help="text to prove it on, as --data elsewhere; labels do not count (default: the sample)",
    )
    options.add_common(parser, device=False)


def _text(args: argparse.Namespace) -> Corpus:
    # Nothing is decided on its labels, so no dev part need be held out of it.
    return load_corpus(args.calibration or "sample", "train", DataOptions(dev_share=0.0))


def _export(args: argparse.Namespace) -> int:
    from affineur.steps.export import export

    out = export(resolve_model(args.model), args.output, args.to, args.plain, _text(args))
    info = read_export_info(out)
    assert info is not None
    assert info.parity is not None
    size = describe(out).folder.size_bytes
    show.lines(
        [
            f"{info.engine}, {megabytes(size)}: {info.parity['same_tags']:.2%} of the tags are the model's, logits differ by at most "
            f"{info.parity['max_difference']:.1e}; written to {out}"
        ]
    )
    show.to_json(
        {"model": str(out), "engine": info.engine, "opset": info.opset, "size_bytes": size, **info.parity},
        args.json,
    )
    return 0


def _quantize(args: argparse.Namespace) -> int:
    from affineur.steps.quantize import quantize

    quantize(
        resolve_model(args.model),
        args.output,
        args.target,
        args.scheme,
        args.min_agreement,
        _text(args),
        args.activations,
    )
    info = read_export_info(args.output)
    assert info is not None
    assert info.parity is not None
    size = describe(args.output).folder.size_bytes
    kept = (
        f"{len(info.kept)} matrices stay in full precision ({', '.join(info.kept)})"
        if info.kept
        else "no matrix stays in full precision"
    )
    show.lines(
        [
            f"{info.precision}, {megabytes(size)}; {kept}",
            f"{info.parity['same_tags']:.2%} of the tags of {info.parity['words']:,} words are the parent's; written to {args.output}",
        ]
    )
    known = asdict(info)
    keys = ("scheme", "activations", "by_token", "target", "kept")
    show.to_json(
        {"model": str(args.output), "size_bytes": size, **{key: known[key] for key in keys}, **info.parity},
        args.json,
    )
    return 0
