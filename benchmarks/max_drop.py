"""Whether the verdicts of ``max_drop`` keep their word on small test sets, and whether they are monotone.

Simulated are test sets of 50 to 500 sentences, of which 30 % hold no mention. The baseline finds 85 % of the
mentions; the model loses some of those, one by one or all of a sentence, so that its true loss is known. The
first table says how often the upper end of the paired 95 % interval, which ``max_drop`` looks at, lies below
the true loss: 2.5 % by design, at most 5 % (more only by as much as two standard errors). The second damages
a model mention by mention, or sentence by sentence: what it may have lost must never become less, up to what
resampling adds where most is lost already.

    python benchmarks/max_drop.py [--sets 500] [--draws 2000] [--paths 5] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
from math import sqrt
from typing import cast

import numpy as np

from affineur.cli.main import guarded
from affineur.measure import f1_difference
from affineur.measure.bootstrap import DRAWS
from affineur.measure.counts import IntArray

SIZES = (50, 92, 150, 200, 300, 500)
LOSSES = (0.002, 0.01, 0.03, 0.1)  # of the mentions that the baseline finds
RECALL = 0.85
TOO_HOPEFUL, STEPS, SLACK = 0.05, 20, 0.02
FAR = 0.25  # F1 beyond which nobody sets a limit


def baseline(random: np.random.Generator, sentences: int) -> IntArray:
    """Draw the counts of a baseline: found, found (nothing is invented) and gold."""
    gold = np.where(random.random(sentences) < 0.3, 0, random.negative_binomial(1.5, 0.45, sentences))
    found = random.binomial(gold, RECALL)
    return cast(IntArray, np.stack([found, found, gold], axis=1).astype(np.int64))


def damaged(random: np.random.Generator, before: IntArray, share: float, whole: bool) -> IntArray:
    """Lose a share of the mentions found, one by one or all of a sentence."""
    found = before[:, 0]
    away = found * (random.random(len(found)) < share) if whole else random.binomial(found, share)
    return cast(IntArray, before - np.stack([away, away, 0 * away], axis=1))


def true_loss(share: float) -> float:
    """F1 that a share of the mentions found is worth, of precision 1."""
    return 2 * RECALL / (1 + RECALL) - 2 * RECALL * (1 - share) / (1 + RECALL * (1 - share))


def too_hopeful(
    random: np.random.Generator, sentences: int, share: float, whole: bool, sets: int, draws: int
) -> float:
    """Return how often the upper end of the loss lies below the true loss."""
    hits = 0
    for seed in range(sets):
        before = baseline(random, sentences)
        after = damaged(random, before, share, whole)
        hits += -f1_difference(after, before, draws=draws, seed=seed).low < true_loss(share)
    return hits / sets


def bounds(random: np.random.Generator, sentences: int, whole: bool, steps: int, draws: int) -> list[float]:
    """Return what may have been lost, as a model is damaged step by step."""
    before = baseline(random, sentences)
    after, found = before.copy(), []
    for _ in range(steps + 1):
        found.append(-f1_difference(after, before, draws=draws).low)
        left = np.nonzero(after[:, 0])[0]
        if not len(left):
            break
        place = random.choice(left)
        after[place, :2] -= after[place, 0] if whole else 1
    return found


def tightest(found: list[float]) -> float:
    """Return by how much at most a bound falls below an earlier one, as a share of it."""
    near = [bound for bound in found if bound <= FAR]
    return max((1 - later / max(near[:place]) for place, later in enumerate(near) if place), default=0.0)


def table(args: argparse.Namespace) -> int:
    """Print both tables and say whether all figures are inside."""
    fine = True
    print(
        f"{args.sets} sets each: upper end of the loss below the true loss, mentions / whole sentences lost\n"
    )
    print(f"{'sentences':>9}" + "".join(f"{f'{true_loss(x) * 100:.2f} points':>18}" for x in LOSSES))
    for size in SIZES:
        print(f"{size:>9}", end="")
        for share in LOSSES:
            random = np.random.default_rng((args.seed, size, int(share * 1000)))
            shares = [
                too_hopeful(random, size, share, whole, args.sets, args.draws) for whole in (False, True)
            ]
            fine &= all(x - 2 * sqrt(x * (1 - x) / args.sets) <= TOO_HOPEFUL for x in shares)
            print(f"{f'{shares[0]:.1%} / {shares[1]:.1%}':>18}", end="", flush=True)
        print()
    print(f"\n{'sentences':>9}{'not one lost':>15}{'then, mention by mention':>60}{'tightened by':>15}")
    for size in SIZES:
        for whole in (False, True):
            random = np.random.default_rng((args.seed, size, whole))
            paths = [bounds(random, size, whole, STEPS, DRAWS) for _ in range(args.paths)]
            worst = max(map(tightest, paths))
            fine &= worst <= SLACK
            shown = " ".join(f"{100 * x:.2f}" for x in paths[0][1:9])
            print(f"{size:>9}{100 * paths[0][0]:>15.2f}{shown:>60}{max(worst, 0):>15.1%}", flush=True)
    print(
        f"\n{'all' if fine else 'NOT all'} inside: at most {TOO_HOPEFUL:.0%} too hopeful, "
        f"never tighter by {SLACK:.0%}"
    )
    return 0 if fine else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=500, help="test sets simulated for each figure")
    parser.add_argument("--draws", type=int, default=2000, help="bootstrap draws of each interval")
    parser.add_argument("--paths", type=int, default=5, help="models damaged step by step, for each size")
    parser.add_argument("--seed", type=int, default=0)
    return guarded(lambda: table(parser.parse_args()), "max_drop.py", quiet=True)


if __name__ == "__main__":
    sys.exit(main())
