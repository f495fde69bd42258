"""Commands that make a model smaller without zeros: trim-vocab, shrink."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from affineur.artifact import open_folder
from affineur.cli import options, show
from affineur.entities import Corpus
from affineur.errors import ParameterError
from affineur.measure import megabytes
from affineur.transfer import DataOptions, load_corpus, load_splits, resolve_model

_MUCH = 0.02  # of unseen words cut in another way: F1 was seen to fall by points beyond it
_HELD_OUT = 20  # of raw text, one line in so many is not counted but shows how unseen text is cut


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    parser = commands.add_parser(
        "trim-vocab", help="drop the pieces of the vocabulary that a text does not use"
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True)
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="DATA",
        help="labeled text as elsewhere; train is counted, test (or dev) shows how unseen text is cut; labels do not count (default: the sample)",
    )
    parser.add_argument(
        "--text",
        nargs="+",
        metavar="FILE",
        help="raw text, a sentence a line; one line in 20 is held out to show how unseen text is cut",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="only the N most used pieces, and those no tokenizer can do without (default: all used)",
    )
    which.add_argument(
        "--min-count", type=int, default=1, metavar="K", help="only pieces used at least K times (default: 1)"
    )
    options.add_common(parser, device=False)
    parser.set_defaults(run=_trim_vocabulary)
    parser = commands.add_parser(
        "shrink", help="drop the encoder layers and the feed-forward neurons that matter least"
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True)
    parser.add_argument(
        "--layers",
        type=int,
        metavar="N",
        help="encoder layers that stay: those the tags depend on most (default: all)",
    )
    parser.add_argument(
        "--ffn-width",
        type=float,
        metavar="W",
        help="neurons that stay in each feed-forward layer; below 1 a share of what it has (default: all)",
    )
    parser.add_argument(
        "--data",
        default="sample",
        metavar="CAL",
        help="text to measure on; train is read, labels do not count (default: the sample)",
    )
    parser.add_argument(
        "--no-reconstruct",
        action="store_true",
        help="with --ffn-width: leave the neurons that stay as they were (default: least squares)",
    )
    options.add_common(parser, device=False)
    parser.set_defaults(run=_shrink)


def _trim_vocabulary(args: argparse.Namespace) -> int:
    from affineur.steps import read_text, trim_vocabulary

    texts: list[Corpus] = []
    unseen: list[Corpus] = []
    for reference in args.data or ([] if args.text else ["sample"]):
        splits = load_splits(reference)
        texts.append(splits.get("train"))
        unseen += [split for split in (splits.test or splits.dev,) if split]
    for file in args.text or []:
        text = read_text(file)
        counted, held_out = text.split(_HELD_OUT) if len(text) >= _HELD_OUT else (text, None)
        texts.append(counted)
        unseen += [held_out] if held_out else []
    out = trim_vocabulary(resolve_model(args.model), args.output, texts, unseen, args.keep, args.min_count)
    scores = json.loads((out / "affineur.json").read_text("utf-8"))["scores"]
    size = open_folder(out).size_bytes
    said = [
        f"{scores['pieces']:,} of {scores['pieces_before']:,} pieces stay (the text uses {scores['pieces_used']:,}); "
        f"{megabytes(scores['bytes_saved'])} saved, {megabytes(size)} left; written to {out}"
    ]
    if found := scores.get("unseen"):
        shares = f"{found['share_of_sentences_changed']:.2%} of {found['sentences']:,} sentences ({found['share_of_words_changed']:.2%} of the words)"
        longer = found["pieces"] / max(1, found["pieces_before"]) - 1
        said.append(f"of unseen text, {shares} are cut in another way; it has {longer:+.2%} pieces")
        if found["share_of_words_changed"] > _MUCH:
            said.append(
                "that is much, and will cost F1 (affineur compare says how much): name more of your own text with --data or --text"
            )
    show.lines(said)
    show.to_json({"model": str(out), "size_bytes": size, **scores}, args.json)
    return 0


def _shrink(args: argparse.Namespace) -> int:
    from affineur.steps import shrink

    if args.no_reconstruct and args.ffn_width is None:
        raise ParameterError(
            "--no-reconstruct is for --ffn-width, which is not given; leave it out, or say --ffn-width W"
        )
    # Nothing is decided on this text's labels, so no dev part need be held out of it.
    text = load_corpus(args.data, "train", DataOptions(dev_share=0.0))
    out = shrink(
        resolve_model(args.model), args.output, args.ffn_width, text, not args.no_reconstruct, args.layers
    )
    scores = json.loads((out / "affineur.json").read_text("utf-8"))["scores"]
    size = open_folder(out).size_bytes
    said = []
    if args.layers is not None:
        kept = scores["layers_kept"]
        said += [
            f"{len(kept)} of {scores['layers_before']} encoder layers stay, of 0 to {scores['layers_before'] - 1}: {', '.join(map(str, kept))}",
            f"without the others, the tags diverge by {scores['divergence']:.3g} nats a word of the text",
        ]
    if args.ffn_width is not None:
        worst = max(scores["layers"], key=lambda layer: float(layer["lost"]))
        said += [
            f"{scores['width']:,} of {scores['width_before']:,} neurons stay in each feed-forward layer",
            f"at most {worst['lost']:.2%} of a layer's output is lost on the text (layer {worst['layer']}; "
            f"{worst['lost_without_least_squares']:.2%} without least squares)",
        ]
    show.lines([*said, f"{megabytes(size)} left; written to {out}"])
    show.to_json({"model": str(out), "size_bytes": size, **scores}, args.json)
    return 0
