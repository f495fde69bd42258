"""Whether intervals and p-values keep their word: simulated test sets of known truth.

Sentences have skewed numbers of gold mentions, many none, and a difficulty that both models share; so do
mentions. A model finds a mention, puts its boundary wrong (a missed and a spurious mention at once) or misses
it, and sees some that are not there. Errors are shared in part, so that two models correlate. The truth is
the F1 of four million sentences of the same generator, whose own error is about 2 % of that of 2,000
sentences; where both models have the same parameters the true difference is 0 by construction. Judged are, as
issue 3 asks: 95 % intervals of F1, and of paired differences where at least 20 sentences differ, hold the
truth in 93 to 97 % of the sets; with no difference at most 7 % of all sets have p < .05. Where few sets
differ in 20 sentences up to five times as many are drawn; a line that finds fewer than half of those asked
for is printed, not judged.

A second table asks how often "not worse by more than a margin" is said, from ten sentences on. The baseline
finds 85 % of the mentions; the model loses some that the baseline finds (one by one, or all of a sentence)
and may find half as many that the baseline misses, so the true loss follows from the shares. Where it is 1.05
times the margin the claim is wrong: at most 5 % of the sets may make it (more only by as much as two standard
errors). Where it is a tenth of the margin the claim is right: at the largest size at least half of the sets
have to make it.

    python benchmarks/intervals.py [--sets 1000] [--sentences 200,2000] [--draws 2000] [--seed 0]
                                   [--claims 300] [--margins 0.5,2]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np

from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.measure import Difference, f1_difference, f1_interval, total
from affineur.measure.counts import IntArray

COVERED = (0.93, 0.97)
REJECTED = 0.07
ENOUGH = 20  # sentences that differ
PATIENCE = 5  # times as many sets as asked for are drawn in search of those that differ enough
POPULATION, BLOCK = 4_000_000, 250_000
SIZES = (10, 20, 50, 100, 200, 1000, 2000)  # of the sets in which a claim is made or not
RECALL = 0.85  # of the baseline
WRONG, RIGHT = 1.05, 0.1  # the true loss in margins: a little more than may be lost, and next to nothing
SAID_WRONGLY, SAID_RIGHTLY = 0.05, 0.5
HEADER = ("F1 covered", "differ", "difference covered", "too hopeful", "p < .05", "at odds")
WIDTHS = (16, 10, 30, 16, 16, 9)


@dataclass(frozen=True)
class Model:
    """How large a difficulty it masters, and how implausible a span must be to be left alone, in standard
    deviations or so.
    """

    skill: float
    caution: float


@dataclass(frozen=True)
class Regime:
    """Two models and the share of their noise that is their own."""

    name: str
    baseline: Model
    model: Model
    own: float

    @property
    def null(self) -> bool:
        return self.baseline == self.model


def regimes() -> Iterator[Regime]:
    for f1, skill, caution in ((".5", 0.05, -0.25), (".85", 1.15, 0.8), (".95", 1.8, 1.4)):
        model = Model(skill, caution)
        yield Regime(f"{f1} equal", model, model, own=0.5)
        yield Regime(f"{f1} a little worse", model, Model(skill - 0.04, caution - 0.04), own=0.25)
        yield Regime(f"{f1} a lot worse", model, Model(skill - 0.35, caution - 0.2), own=0.8)


def simulate(random: np.random.Generator, sentences: int, regime: Regime) -> tuple[IntArray, IntArray]:
    """Draw a test set: the counts of the model and of the baseline, each of shape ``(sentences, 3)``."""
    common = sqrt(1 - regime.own**2)
    difficulty = random.standard_normal(sentences)
    gold = np.where(random.random(sentences) < 0.3, 0, random.negative_binomial(1.5, 0.45, sentences))
    sentence = np.repeat(np.arange(sentences), gold)  # of each mention
    hardness = 0.6 * difficulty[sentence] + 0.6 * random.standard_normal(len(sentence))
    noise = random.standard_normal(len(sentence))
    traps = random.poisson(
        0.6 * random.gamma(1.0, np.exp(0.5 * difficulty - 0.125))
    )  # spans that look like mentions, in clusters
    place = np.repeat(np.arange(sentences), traps)
    lure = random.standard_normal(len(place))
    counts: list[IntArray] = []
    for model in (regime.model, regime.baseline):
        margin = (
            model.skill
            - hardness
            - 0.6 * (common * noise + regime.own * random.standard_normal(len(sentence)))
        )
        found = np.bincount(sentence[margin > 0], minlength=sentences)
        misplaced = np.bincount(sentence[(margin <= 0) & (margin > -0.6)], minlength=sentences)
        fallen_for = common * lure + regime.own * random.standard_normal(len(place)) > model.caution
        spurious = np.bincount(place[fallen_for], minlength=sentences)
        counts.append(np.stack([found, found + misplaced + spurious, gold], axis=1).astype(np.int64))
    return counts[0], counts[1]


def truth(random: np.random.Generator, regime: Regime) -> tuple[float, float]:
    """F1 of the population, and its difference to the baseline's."""
    model, baseline = (
        np.sum(sums, axis=0)
        for sums in zip(
            *([c.sum(axis=0) for c in simulate(random, BLOCK, regime)] for _ in range(POPULATION // BLOCK)),
            strict=True,
        )
    )
    return total(model).f1, 0.0 if regime.null else total(model).f1 - total(baseline).f1


@dataclass
class Share:
    """Hits of trials, with the binomial standard error."""

    hits: int = 0
    trials: int = 0

    def add(self, hit: bool) -> None:
        self.hits += hit
        self.trials += 1

    @property
    def value(self) -> float:
        return self.hits / self.trials

    def __str__(self) -> str:
        if not self.trials:
            return "–"
        return f"{self.value:6.1%} ± {self.error:.1%}"

    @property
    def error(self) -> float:
        return sqrt(self.value * (1 - self.value) / self.trials)

    def within(self, low: float, high: float) -> bool:
        return low <= self.value <= high


def measure(
    args: argparse.Namespace,
    regime: Regime,
    truths: tuple[float, float],
    sentences: int,
    seed: tuple[int, ...],
) -> bool:
    """Simulate one regime at one size, print its line and say whether all figures are inside."""
    random = np.random.default_rng(seed)
    f1, differing, covered, optimistic, rejected, at_odds = (Share() for _ in range(6))
    for number in range(args.sets * PATIENCE):
        if number >= args.sets and covered.trials >= args.sets:
            break
        model, baseline = simulate(random, sentences, regime)
        enough = int((model != baseline).any(axis=1).sum()) >= ENOUGH
        if number < args.sets:
            interval = f1_interval(model, draws=args.draws, seed=number)
            f1.add(interval.low <= truths[0] <= interval.high)
            differing.add(enough)
        if not enough and number >= args.sets:
            continue
        difference = f1_difference(model, baseline, draws=args.draws, seed=number)
        if number < args.sets:
            rejected.add(difference.p_value < 0.05)
            at_odds.add((difference.p_value < 0.05) != _excludes_zero(difference))
        if enough and covered.trials < args.sets:
            covered.add(difference.low <= truths[1] <= difference.high)
            optimistic.add(truths[1] < difference.low)
    judged = covered.trials * 2 >= args.sets
    fine = (
        f1.within(*COVERED)
        and (not judged or covered.within(*COVERED))
        and (not regime.null or rejected.value <= REJECTED)
    )
    cells = (
        f1,
        f"{differing.value:.1%}",
        f"{covered} of {covered.trials}" + " (too few)" * (not judged),
        optimistic,
        rejected,
        at_odds.hits,
    )
    print(
        f"{regime.name:<19}{sentences:>6}{truths[0]:>8.4f}{truths[1] * 100:>+8.2f}" + _cells(*cells), end=""
    )
    print("" if fine else "  OUTSIDE", flush=True)
    return fine


def _excludes_zero(difference: Difference) -> bool:
    return difference.low > 0 or difference.high < 0


def _cells(*cells: object) -> str:
    return "".join(f"{cell!s:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


@dataclass(frozen=True)
class Loss:
    """A model that loses mentions, or whole sentences of them, and finds ``won`` times as many others."""

    name: str
    won: float
    sentences: bool = False

    def simulate(self, random: np.random.Generator, sentences: int, loss: float) -> tuple[IntArray, IntArray]:
        """Draw the counts of the model and of the baseline: found, found (nothing is invented) and gold."""
        expected = 2 * RECALL / (1 + RECALL) - loss
        net = RECALL - expected / (2 - expected)  # of F1 = 2·recall ÷ (1 + recall)
        lost = net / (1 - self.won)
        shares = lost / RECALL, self.won * lost / (1 - RECALL)
        gold = np.where(random.random(sentences) < 0.3, 0, random.negative_binomial(1.5, 0.45, sentences))
        found = random.binomial(gold, RECALL)
        away, more = (
            before * (random.random(sentences) < share) if self.sentences else random.binomial(before, share)
            for before, share in zip((found, gold - found), shares, strict=True)
        )
        now = found - away + more
        return np.stack([now, now, gold], axis=1), np.stack([found, found, gold], axis=1)


LOSSES = (
    Loss("mentions lost", 0),
    Loss("mentions lost and won", 0.5),
    Loss("sentences lost", 0, True),
    Loss("sentences lost and won", 0.5, True),
)


def claims(args: argparse.Namespace) -> bool:
    """Print how often a loss is said to be within a margin and say whether that is seldom enough where it is
    not.
    """
    print(
        f"\nsaid to be not worse by more than the margin, of {args.claims:,} test sets each: where the "
        f"loss is {WRONG} × the margin (wrongly) "
        f"/ {RIGHT} × the margin (rightly)\n"
    )
    print(f"{'loss':<24}{'margin':>6}" + "".join(f"{f'n = {size:,}':>16}" for size in SIZES), flush=True)
    fine = True
    for number, loss in enumerate(LOSSES):
        for points in map(float, args.margins.split(",")):
            print(f"{loss.name:<24}{points:>6g}", end="")
            for size in SIZES:
                wrongly, rightly = (
                    _said(args, loss, points / 100, size, times, number) for times in (WRONG, RIGHT)
                )
                fine &= wrongly.value - 2 * wrongly.error <= SAID_WRONGLY and (
                    size < SIZES[-1] or rightly.value >= SAID_RIGHTLY
                )
                print(f"{f'{wrongly.value:.1%} / {rightly.value:.0%}':>16}", end="", flush=True)
            print()
    print(
        f"\n{'all' if fine else 'NOT all'} inside: at most {SAID_WRONGLY:.0%} wrongly, at least "
        f"{SAID_RIGHTLY:.0%} rightly of {SIZES[-1]:,} sentences"
    )
    return fine


def _said(args: argparse.Namespace, loss: Loss, margin: float, size: int, times: float, number: int) -> Share:
    random, said = np.random.default_rng((args.seed, number, size, int(times * 100))), Share()
    for seed in range(args.claims):
        model, baseline = loss.simulate(random, size, times * margin)
        said.add(f1_difference(model, baseline, draws=args.draws // 2, seed=seed).not_worse_than(margin))
    return said


def coverage(args: argparse.Namespace) -> bool:
    """Print the table and say whether all figures are inside."""
    print(describe_machine())
    print(
        f"{args.sets:,} test sets each, {args.draws:,} draws, seed {args.seed}; 95 % intervals, ± one "
        "binomial standard error\n"
        f"differ: share of sets of which at least {ENOUGH} sentences differ; difference covered: in that "
        "many of these sets\n"
        "too hopeful: the true difference lies below the interval (2.5 % by design), what "
        "`not_worse_than` can get wrong\n"
        "at odds: sets in which p < .05 and an interval without 0 do not go together\n"
    )
    print(f"{'regime':<19}{'n':>6}{'F1':>8}{'points':>8}" + _cells(*HEADER), flush=True)
    fine = True
    for number, regime in enumerate(regimes()):
        truths = truth(np.random.default_rng((args.seed, number)), regime)
        for sentences in map(int, args.sentences.split(",")):
            fine &= measure(args, regime, truths, sentences, (args.seed, number, sentences))
    bounds = (
        f"{COVERED[0]:.0%}–{COVERED[1]:.0%} covered, at most {REJECTED:.0%} rejected where the models are "
        "equal"
    )
    print(f"\n{'all' if fine else 'NOT all'} inside: {bounds}")
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=1000, help="test sets simulated for each line")
    parser.add_argument("--sentences", default="200,2000", help="sizes of the test sets")
    parser.add_argument("--draws", type=int, default=2000, help="bootstrap draws of each interval")
    parser.add_argument(
        "--claims", type=int, default=300, help="test sets simulated for each figure of the second table"
    )
    parser.add_argument("--margins", default="0.5,2", help="margins in points of F1")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    return guarded(lambda: 0 if all([coverage(args), claims(args)]) else 1, "intervals.py", quiet=True)


if __name__ == "__main__":
    sys.exit(main())
