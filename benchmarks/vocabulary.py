"""What a text's own words as single pieces give and cost: pieces a word, speed, bytes and F1.

``trim-vocab --add`` with every old piece kept, then the same epochs on the same sentences for the model with
the new pieces and for the control, which is the model without them. Words are counted in all of train. Of a
single file every third sentence is test. Differences of F1 are paired over the sentences of
test, with 95 % bootstrap intervals; speed is the ratio of the recovered model to the control, measured in
turns, on test. Data that is not there is named and skipped.

    python benchmarks/vocabulary.py [MODEL] [--data DIR ...] [--add 500] [--epochs 1] [--sentences 1000]
    [--test 500] [--work DIR]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import affineur
from affineur.artifact import describe_machine, open_folder
from affineur.entities import Corpus
from affineur.errors import AffineurError, ParameterError, counted
from affineur.measure import Evaluation, evaluate, megabytes
from affineur.pipeline import benchmark_models, load
from affineur.transfer import load_corpus, load_splits, resolve_model
from curve import numbers, run, show


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="sample")
    parser.add_argument("--data", nargs="+", default=["sample"])
    parser.add_argument("--add", default="500", help="numbers of words to add, each tried for itself")
    parser.add_argument("--epochs", type=float, default=1.0, help="of recovery and control")
    parser.add_argument("--learning-rate", type=float, default=3e-5)
    parser.add_argument("--sentences", type=int, default=1000, help="train on the first so many")
    parser.add_argument("--test", type=int, default=sys.maxsize, help="score on the first so many")
    parser.add_argument("--rounds", type=int, default=7, help="of timing")
    parser.add_argument("--work", type=Path, help="keep the models here (default: a temporary folder)")
    return run(vocabulary, parser.parse_args(), "vocabulary.py")


def vocabulary(args: argparse.Namespace, work: Path) -> None:
    """Add words, recover, score, time and print, for each data set."""
    source = resolve_model(args.model)
    counts = numbers("--add", args.add, "500,2000", int)
    if not counts:
        raise ParameterError("nothing to add; give --add")
    print(describe_machine(), flush=True)
    for place, name in enumerate(args.data):
        try:
            parts = _parts(name)
        except AffineurError as error:
            print(f"\n{name}: skipped ({error})", flush=True)
            continue
        _measure(args, source, parts, counts, work / str(place))


def _measure(
    args: argparse.Namespace, source: Path, parts: tuple[Corpus, Corpus], counts: list[int], work: Path
) -> None:
    train, test = parts[0], parts[1].head(args.test)
    taught = train.head(args.sentences)
    print(
        f"\n{len(test):,} sentences of {test.name}; words counted in {len(train):,} sentences; recovery and"
        f" control: {counted(args.epochs, 'epoch')} of {len(taught):,} sentences at {args.learning_rate:g}\n"
        "F1 of mentions, points against the model named or the control (95 %)",
        flush=True,
    )

    def recovered(folder: Path, out: Path) -> Evaluation:
        how = {"epochs": args.epochs, "learning_rate": args.learning_rate, "data": taught, "out": out}
        return affineur.recover(folder, **how).evaluate(test)

    before = evaluate(load(source), test)
    show("model", before, more=f"  {megabytes(open_folder(source).size_bytes)}")
    control = recovered(source, work / "control")
    show("control", control, before)
    for count in counts:
        grown = affineur.trim_vocab(source, out=work / f"add_{count}", data=train, min_count=0, add=count)
        manifest = grown.info.manifest
        assert manifest is not None  # every step writes one
        found = manifest.scores
        print(f"{found['words_added']:,} words added, {-found['bytes_saved'] / 1e6:.2f} MB more")
        seen = evaluate(load(grown.path), test)
        show("  as left", seen, before)
        out = work / f"add_{count}_recovered"
        after = recovered(grown.path, out)
        show("  recovered", after, before)
        show("  against control", after, control)
        print(f"  pieces a word on test: {_pieces(grown.path, source, test)}")
        timed = benchmark_models(
            [str(work / "control"), str(out)], test, args.rounds, threads=1, shapes=False
        )
        ratio = timed.models[1].timings[0].ratio
        print(
            f"  speed against control: {ratio.value:.3f} × ({ratio.low:.3f}–{ratio.high:.3f})",
            flush=True,
        )


def _pieces(after: Path, before: Path, corpus: Corpus) -> str:
    """Say how many pieces a word of a text has, before and after."""
    from affineur.engines.support.checkpoints import load_encoder
    from affineur.steps.tailoring.vocabulary import changes

    found = changes(load_encoder(before), load_encoder(after), [corpus]).as_dict()
    return (
        f"{found['pieces_per_word_before']:.3f} before, {found['pieces_per_word']:.3f} now"
        f" ({found['pieces'] / found['pieces_before'] - 1:+.1%}); {found['share_of_words_changed']:.1%} of"
        f" its words are cut in another way, {found['share_of_words_whole']:.1%} are whole now"
    )


def _parts(name: str) -> tuple[Corpus, Corpus]:
    """Open what is trained on and what is tested on.

    Raises:
        AffineurError: If there is none.
    """
    if Path(name).is_file():
        return load_corpus(name).split(3)
    splits = load_splits(name)
    return splits.get("train"), splits.get("test")


if __name__ == "__main__":
    sys.exit(main())
