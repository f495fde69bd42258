"""Training steps a second in fp32 and in bf16 autocast, taken in turn, and F1 after the same training.

python benchmarks/precision.py [MODEL] [--data DATA] [--rounds N] [--steps N] [--threads N] [--epochs N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from affineur.artifact import describe_machine, open_folder
from affineur.cli.main import guarded
from affineur.engines.core.references import model_folder
from affineur.entities import Corpus
from affineur.measure import evaluate, median_ratio
from affineur.transfer import load_splits

_PIECES = 1600  # in a batch, about


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="sample")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--rounds", type=int, default=8, help="of timing, in turn")
    parser.add_argument("--steps", type=int, default=6, help="of training in a round")
    parser.add_argument("--threads", type=int, default=None, help="of torch")
    parser.add_argument("--epochs", type=float, default=0.0, help="of training before F1 on test is compared")
    args = parser.parse_args()
    return guarded(lambda: command(args), "precision.py", quiet=True)


def command(args: argparse.Namespace) -> int:
    import torch

    from affineur.engines.support.checkpoints import load_encoder, load_model
    from affineur.engines.support.torch_tagger import TorchTagger
    from affineur.steps.training.encoded import encode_corpus
    from affineur.steps.training.loop import TrainSettings, fit

    if args.threads:
        torch.set_num_threads(args.threads)
    folder = open_folder(model_folder(args.model))
    splits = load_splits(args.data)
    encoder, train = load_encoder(folder), splits.get("train")
    print(describe_machine() + f"; {torch.get_num_threads()} threads of torch")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)

        def trained(corpus: Corpus, epochs: float, batch: int, precision: str, dropout: float | None):
            data = encode_corpus(corpus, encoder, folder.labels, _new(place / "data"))
            model = load_model(folder)
            torch.manual_seed(13)
            settings = TrainSettings(epochs, 2e-5, batch, precision=precision, dropout=dropout)
            start = time.perf_counter()
            log = fit(model, data, settings, _new(place / "checkpoints"), precision, encoder.pad_id)
            return model, log["steps"] / (time.perf_counter() - start)

        every = encode_corpus(train.head(2000), encoder, folder.labels, _new(place / "data"))
        mean = sum(every.lengths) / len(every)
        batch = max(1, round(_PIECES / mean))
        few = train.head(batch * args.steps)
        print(f"{folder.layers} layers; batches of {batch} windows, {mean:.1f} pieces each on average")
        for dropout in (None, 0.0):
            speeds: dict[str, list[float]] = {"fp32": [], "bf16": []}
            for number in range(args.rounds + 1):
                order = list(speeds) if number % 2 else list(reversed(speeds))
                for precision in order:
                    _, speed = trained(few, 1.0, batch, precision, dropout)
                    if number:  # the first warms up
                        speeds[precision].append(speed)
            ratio = median_ratio(speeds["bf16"], speeds["fp32"])
            said = "the model's own dropout" if dropout is None else "no dropout"
            medians = " and ".join(f"{statistics.median(each):.2f}" for each in speeds.values())
            print(f"{said}: {ratio.value:.2f} × the steps a second of fp32", end=" ")
            print(f"(99 %: {ratio.low:.2f}–{ratio.high:.2f}); medians {medians}")
        if args.epochs:
            found = {}
            for precision in speeds:
                model, _ = trained(train, args.epochs, batch, precision, None)
                found[precision] = evaluate(TorchTagger(model, encoder, folder.labels), splits.get("test"))
                shown = found[precision].interval()
                print(
                    f"{precision}: F1 {found[precision].total.f1:.4f} ({shown.low:.4f}–{shown.high:.4f})",
                    end=" ",
                )
                print(f"after {args.epochs:g} epochs more")
    return 0


def _new(folder: Path) -> Path:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
