"""Commands that make or describe a model: train, distill, prune, recover, info."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from affineur.artifact import SCOPES, ModelInfo, describe
from affineur.cli import options, show
from affineur.errors import ParameterError
from affineur.measure import megabytes
from affineur.transfer import DataOptions, Splits, load_corpus, load_splits, resolve_model


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    _add_train(commands)
    _add_distill(commands)
    _add_prune(commands)
    _add_recover(commands)
    parser = commands.add_parser(
        "info", help="what a model folder is: layers, parameters, sparsity, labels, size, lineage"
    )
    parser.add_argument("model", metavar="MODEL")
    options.add_common(parser, device=False)
    parser.set_defaults(run=_info)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train", help="fine-tune or train a teacher on labeled data")
    parser.add_argument("base", metavar="BASE", help="a checkpoint, or a configuration with a tokenizer")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True)
    parser.add_argument(
        "--tags",
        choices=["IO", "BIO", "BIOES"],
        default="IO",
        help="scheme of a new classifier's labels (default: IO)",
    )
    parser.add_argument(
        "--replace-mentions",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="augmentation: swap this share of mentions (default: 0)",
    )
    parser.add_argument("--patience", type=int, help="stop after so many epochs without a better dev F1")
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    options.add_data(parser)
    options.add_training(parser, epochs=3, learning_rate=5e-5)
    options.add_common(parser)
    parser.set_defaults(run=_train)


def _add_distill(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("distill", help="a student with fewer layers, taught by its teacher")
    parser.add_argument("teacher", metavar="TEACHER")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=11, help="encoder layers of the student (default: 11)")
    parser.add_argument(
        "--keep",
        choices=["top", "uniform", "search"],
        default="search",
        help="drop the top ones, keep evenly spaced ones, or try each drop on dev",
    )
    options.add_data(parser)
    options.add_training(parser, epochs=1, learning_rate=5e-5)
    options.add_soft(parser)
    options.add_common(parser)
    parser.set_defaults(run=_distill)


def _add_prune(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("prune", help="set the smallest weights to zero")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True)
    parser.add_argument(
        "--sparsity",
        type=float,
        default=0.15,
        help="share of the weights in scope, in [0, 1) (default: 0.15)",
    )
    parser.add_argument(
        "--method",
        default="magnitude",
        help="magnitude (all weights ranked together), layerwise (each matrix alone) or wanda (each output alone, by weight times input)",
    )
    parser.add_argument(
        "--calibration",
        metavar="DATA",
        help="text for wanda, as --data elsewhere; labels do not count (default: the sample)",
    )
    parser.add_argument("--scope", default="attention+ffn", help=" or ".join(SCOPES))
    parser.add_argument(
        "--max-layer-sparsity",
        type=float,
        metavar="SHARE",
        help="no encoder layer loses more than this share",
    )
    options.add_common(parser)
    parser.set_defaults(run=_prune)


def _add_recover(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("recover", help="fine-tune a pruned model; zeros stay zero")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True)
    parser.add_argument("--teacher", metavar="T", help="learn soft labels from this model too")
    options.add_data(parser)
    options.add_training(parser, epochs=0.5, learning_rate=1e-5)
    options.add_soft(parser)
    options.add_common(parser)
    parser.set_defaults(run=_recover)


def _splits(args: argparse.Namespace) -> Splits:
    return load_splits(args.data, options.data_options(args))


def _train(args: argparse.Namespace) -> int:
    from affineur.entities import Scheme
    from affineur.steps import train

    splits = _splits(args)
    settings = options.settings_of(
        args, label_smoothing=args.label_smoothing, patience=args.patience, keep_best=splits.dev is not None
    )
    base = resolve_model(args.base)
    out = train(
        base,
        args.output,
        splits.get("train"),
        splits.dev,
        settings,
        Scheme(args.tags),
        args.replace_mentions,
        args.device,
    )
    return _made(out, args)


def _distill(args: argparse.Namespace) -> int:
    from affineur.steps import distill

    splits = _splits(args)
    out = distill(
        resolve_model(args.teacher),
        args.output,
        args.layers,
        splits.get("train"),
        splits.dev,
        args.keep,
        options.settings_of(args),
        options.soft_of(args),
        args.device,
    )
    return _made(out, args)


def _prune(args: argparse.Namespace) -> int:
    from affineur.steps import check_pruning, prune

    check_pruning(args.sparsity, args.method, args.max_layer_sparsity)
    if args.calibration is not None and args.method != "wanda":
        raise ParameterError(
            f"--calibration is for --method wanda, but the method is '{args.method}'; leave it out, or say --method wanda"
        )
    # Nothing is decided on this text, so no dev part need be held out of it.
    text = (
        load_corpus(args.calibration or "sample", "train", DataOptions(dev_share=0.0))
        if args.method == "wanda"
        else None
    )
    prune(
        resolve_model(args.model),
        args.output,
        args.sparsity,
        args.method,
        args.scope,
        args.max_layer_sparsity,
        text,
    )
    info = json.loads((args.output / "pruning_info.json").read_text("utf-8"))
    show.lines(
        [
            f"{info['zeros_in_scope']:,} of {info['weights_in_scope']:,} weights in scope ({info['scope']}) are zero: "
            f"{info['achieved_sparsity']:.4%} ({info['sparsity_of_model']:.2%} of the whole model)",
            f"sparsest layer {max(x['sparsity'] for x in info['layers']):.2%}, densest {min(x['sparsity'] for x in info['layers']):.2%}; "
            f"threshold {info['threshold']:.3g}; written to {args.output}",
        ]
    )
    show.to_json(info, args.json)
    return 0


def _recover(args: argparse.Namespace) -> int:
    from affineur.steps import recover

    splits = _splits(args)
    teacher = resolve_model(args.teacher) if args.teacher else None
    soft = options.soft_of(args)
    if teacher is None and soft != type(soft)():
        raise ParameterError(
            "--soft-weight, --temperature and --hidden-weight say what to learn from a teacher; name one with --teacher"
        )
    out = recover(
        resolve_model(args.model),
        args.output,
        splits.get("train"),
        splits.dev,
        teacher,
        options.settings_of(args),
        soft,
        args.device,
    )
    return _made(out, args)


def _made(out: Path, args: argparse.Namespace) -> int:
    """Say what was made."""
    manifest = json.loads((out / "affineur.json").read_text("utf-8"))
    dev = manifest["scores"].get("dev_f1") or []
    show.lines([f"written to {out}" + (f"; dev F1 {dev[-1]:.4f}" if dev else "")])
    show.to_json(
        {
            "model": str(out),
            "stage": manifest["stage"],
            "parameters": manifest["parameters"],
            "scores": manifest["scores"],
        },
        args.json,
    )
    return 0


def _info(args: argparse.Namespace) -> int:
    found = describe(resolve_model(args.model))
    show.table(("Aspect", "Details"), _aspects(found), numbers=False)
    show.to_json(found.as_dict(), args.json)
    return 0


def _aspects(info: ModelInfo) -> list[list[str]]:
    """Write the guide's §2 table."""
    facts = info.as_dict()
    config = info.folder.config
    rows = [
        ["Model", f"{info.folder.path.resolve().name} ({facts['architecture']})"],
        ["Layers", f"{facts['layers']} encoder layers"],
        [
            "Hidden size",
            f"{facts['hidden_size']}, {facts['attention_heads']} attention heads per layer, vocabulary {config.get('vocab_size', 0):,}",
        ],
        ["Parameters", f"{info.parameters:,} ({info.nonzero:,} not zero)"],
        ["Labels", f"{len(info.folder.labels)}: {', '.join(info.folder.labels)}"],
        ["Size", f"{megabytes(info.folder.size_bytes)} ({info.precision or ', '.join(info.dtypes)})"],
        [
            "Sparsity",
            f"{info.sparsity:.2%} of attention and feed-forward weights, {facts['sparsity_of_model']:.2%} of the whole model",
        ],
        ["Scope", f"{info.weights_in_scope:,} weights; excluded: embeddings, LayerNorm, biases, classifier"],
    ]
    if info.sparsity >= 0.001:  # half precision alone rounds a few weights to zero
        by_layer = [f"{layer}: {share:.1%}" for layer, share in info.by_layer().items()]
        rows.append(["Sparsity by layer", ", ".join(by_layer)])
    if info.manifest:
        rows.append(
            ["Made by", f"{info.manifest.stage}, affineur {facts['version']}, format {facts['format']}"]
        )
        rows += [
            ["Parent" if i == 0 else "", f"{p['stage']}: {p['name']} ({p['digest'][:12]})"]
            for i, p in enumerate(facts["lineage"])
        ]
    rows.append(["Digest", facts["digest"]])
    return rows
