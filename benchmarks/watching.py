"""F1 without labels beside the truth: in windows of the reference's own kind, and on text of other kinds.

Every corpus is labeled; labels are used for the column *true* alone. Baselines: average confidence (of the
mentions found), DoC (difference of confidences; Guillory et al. 2021), its regression on the spoiled copies
of the reference set, ATC (share of mentions above the threshold that gives F1 on the reference set; Garg et
al. 2022), and a regression of F1 on how well a classifier of hashed character n-grams tells the text from
the reference set (proxy A-distance; Elsahar and Gallé 2019), fitted on the same spoiled copies.

    python benchmarks/watching.py MODEL --reference DEV.conll --test TEST.conll [--shifted FILE …]

``--cache DIR`` keeps the logits of words, so that a second run computes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import time
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from affineur import sample
from affineur.artifact import describe_machine
from affineur.cli.main import guarded
from affineur.engines.core.references import Reference as ModelReference
from affineur.entities import Corpus, Scheme, Sentence
from affineur.transfer import load_corpus
from affineur.watch.corruptions import FAMILIES
from affineur.watch.estimating import Estimate, Expected, _of_types, estimate
from affineur.watch.fitting import (
    SPOILED,
    calibrate,
    fit_reference,
    gold_of,
    reader_for,
    spoiled_copy,
    with_shifts,
)
from affineur.watch.reference import Reference
from affineur.watch.signals import Reader, Signals, Truth
from watching_english import english

WINDOWS, SIZES = 400, (200, 500, 1000)
SPLITS, PER_SPLIT = 200, 4
BUCKETS = 1 << 12


class Cached:
    """A tagger whose logits are kept on disk."""

    def __init__(self, tagger: Any, folder: Path | None) -> None:
        self.labels, self.encoder, self._tagger, self._folder = tagger.labels, tagger.encoder, tagger, folder

    def logits(self, sentences: Sequence[Sequence[str]]) -> list[Any]:
        if self._folder is None:
            return self._tagger.logits(sentences)
        path = self._folder / f"{key(sentences)}.npz"
        if not path.exists():
            found = self._tagger.logits(sentences)
            self._folder.mkdir(parents=True, exist_ok=True)
            np.savez(path, logits=np.concatenate(found), words=[len(each) for each in found])
        with np.load(path) as kept:
            return np.split(kept["logits"], np.cumsum(kept["words"])[:-1])


def key(sentences: Sequence[Sequence[str]]) -> str:
    """What sentences are kept under."""
    return hashlib.sha256("\n".join("\t".join(words) for words in sentences).encode()).hexdigest()[:24]


@dataclass
class Read:
    """A corpus that was read: its words, signals and truth."""

    name: str
    sentences: list[Sentence]
    signals: Signals
    truth: Truth
    types: tuple[str, ...]

    def f1(self, reader: Reader, rows: np.ndarray | None = None, types: Sequence[str] = ()) -> float:
        numbers = [reader.types.index(kind) for kind in types or self.types]
        inside = np.ones(len(self.signals), bool)
        if rows is not None:
            inside = np.isin(np.arange(len(self.signals)), rows)
        mention = np.isin(self.signals.mention_type, numbers) & inside[self.signals.mention_sentence]
        begin = np.isin(self.signals.begin_type, numbers) & inside[self.signals.begin_sentence]
        gold = self.truth.begins[begin].sum() + self.truth.elsewhere[inside][:, numbers].sum()
        return float(2 * self.truth.right[mention].sum() / max(1, mention.sum() + gold))

    def window(self, rows: np.ndarray) -> Signals:
        place = np.full(len(self.signals), -1)
        place[rows] = np.arange(len(rows))
        s = self.signals
        mention, begin = place[s.mention_sentence] >= 0, place[s.begin_sentence] >= 0
        return Signals(
            s.words[rows],
            s.confidence[rows],
            s.pieces[rows],
            s.unknown[rows],
            place[s.mention_sentence[mention]],
            s.mention_type[mention],
            s.mentions[mention],
            place[s.begin_sentence[begin]],
            s.begin_type[begin],
            s.begins[begin],
        )

    def part(self, rows: np.ndarray) -> Truth:
        chosen = np.isin(np.arange(len(self.signals)), rows)
        return Truth(
            self.truth.right[chosen[self.signals.mention_sentence]],
            self.truth.begins[chosen[self.signals.begin_sentence]],
            self.truth.elsewhere[chosen],
        )


def read(reader: Reader, name: str, sentences: list[Sentence], scheme: Scheme) -> Read:
    gold = gold_of(sentences, scheme, reader)
    signals, truth = reader.read([s.words for s in sentences], gold)
    assert truth is not None
    there = {mention.type for mentions in gold for mention in mentions}
    return Read(name, sentences, signals, truth, tuple(kind for kind in reader.types if kind in there))


# ---- text of other kinds ----


def changed(sentences: Sequence[Sentence], change: Callable[[str], str]) -> list[Sentence]:
    return [replace(s, words=tuple(change(word) or word for word in s.words)) for s in sentences]


def without_accents(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")


def misread(rate: float, seed: int) -> Callable[[str], str]:
    """Noise that shares nothing with what the reference is spoiled by: any letter for any other."""
    random, letters = Random(seed), "abcdefghijklmnopqrstuvwxyz"

    def change(word: str) -> str:
        out = ""
        for c in word:
            if random.random() < rate:
                kind = random.random()
                if kind < 0.6:
                    if c.islower():
                        c = random.choice(letters)
                    elif c.isupper():
                        c = random.choice(letters.upper())
                    else:
                        c = random.choice(".,;0123456789")
                elif kind < 0.8:
                    c = ""
                else:
                    c += random.choice(letters)
            out += c
        return out

    return change


def sample_domains() -> list[tuple[str, list[Sentence]]]:
    """The sample's test text by domain: its files, joined in the order of their names."""
    whole = list(load_corpus(sample.data() / "test.conll"))
    files = sorted((sample.data().parent / "source").glob("gold-*.txt"))
    found, begin = [], 0
    for file in files:
        count = sum(bool(line.strip()) for line in file.read_text("utf-8").splitlines())
        found.append((file.stem.replace("gold", "sample"), whole[begin : begin + count]))
        begin += count
    assert begin == len(whole)
    return found


# ---- baselines ----


def confidences(read: Read, reader: Reader, types: Sequence[str]) -> np.ndarray:
    own = np.isin(read.signals.mention_type, [reader.types.index(kind) for kind in types])
    return 1 / (1 + np.exp(-read.signals.mentions[own, 2]))


def hashed(sentences: Sequence[Sentence]) -> np.ndarray:
    found = np.zeros((len(sentences), BUCKETS), np.float32)
    for row, sentence in enumerate(sentences):
        text = " " + " ".join(sentence.words) + " "
        for size in (3, 4, 5):
            for i in range(len(text) - size + 1):
                found[row, zlib.crc32(text[i : i + size].encode("utf-8", "replace")) % BUCKETS] += 1
    found = np.log1p(found)
    return found / np.maximum(1e-6, np.linalg.norm(found, axis=1, keepdims=True))


def apart(one: np.ndarray, other: np.ndarray, most: int = 400) -> float:
    """Proxy A-distance: 2 · (1 - 2 · error) of a ridge classifier on the half it was not fitted on."""
    size = min(len(one), len(other), most)
    random = np.random.default_rng(0)
    rows = [each[random.permutation(len(each))[:size]] for each in (one, other)]
    halves = [np.concatenate([each[part::2] for each in rows]) for part in (0, 1)]
    sides = [
        np.concatenate(
            [np.full(len(each[part::2]), sign) for each, sign in zip(rows, (-1.0, 1.0), strict=True)]
        )
        for part in (0, 1)
    ]
    kernel = halves[0] @ halves[0].T
    weights = np.linalg.solve(kernel + 0.1 * np.eye(len(kernel)), sides[0])
    wrong = np.mean(np.sign(halves[1] @ halves[0].T @ weights) != sides[1])
    return float(2 * (1 - 2 * wrong))


class Baselines:
    """What others would say, fitted on the reference set and its spoiled copies."""

    def __init__(self, reader: Reader, ref: Read, spoiled: Sequence[Read]) -> None:
        self.reader, self.ref, self.spoiled = reader, ref, spoiled
        self._text = hashed(ref.sentences)
        random = np.random.default_rng(1).permutation(len(ref.sentences))
        half = len(random) // 2
        own = apart(self._text[random[:half]], self._text[random[half:]])
        self._apart = [own, *(apart(self._text, hashed(each.sentences)) for each in spoiled)]

    def of(self, read: Read, types: Sequence[str]) -> dict[str, float]:
        real = self.ref.f1(self.reader, types=types)
        before, here = (confidences(each, self.reader, types) for each in (self.ref, read))
        falls = [before.mean() - confidences(each, self.reader, types).mean() for each in self.spoiled]
        lost = [real - each.f1(self.reader, types=types) for each in self.spoiled]
        slope = float(np.dot(falls, lost) / np.dot(falls, falls))
        line = np.polyfit(self._apart, [real, *(real - each for each in lost)], 1)
        return {
            "confidence": float(here.mean()),
            "DoC": float(real - before.mean() + here.mean()),
            "DoC regr.": float(real - slope * (before.mean() - here.mean())),
            "ATC": float(np.mean(here >= np.quantile(before, 1 - real))),
            "classifier": float(np.polyval(line, apart(self._text, hashed(read.sentences)))),
        }


# ---- what is printed ----


def told(errors: Sequence[float], inside: Sequence[bool], wide: Sequence[float]) -> str:
    e = np.abs(errors)
    return (
        f"|F̂1 - F1| <= .02 in {np.mean(e <= 0.02):.1%}, mean {e.mean():.4f},"
        f" 95 % below {np.quantile(e, 0.95):.4f}; bias {np.mean(errors):+.4f};"
        f" the interval (width {np.mean(wide):.3f}) covers {np.mean(inside):.1%}"
    )


def in_domain(reference: Reference, reader: Reader, ref: Read, test: Read) -> None:
    print(f"\nwindows of {test.name}, drawn {WINDOWS} times; reference {ref.name}")
    random = np.random.default_rng(1)
    for size in SIZES:
        found = []
        silent = 0
        for _ in range(WINDOWS):
            rows = random.choice(len(test.sentences), min(size, len(test.sentences)), replace=False)
            guess = judged(reference, test, rows)
            silent += guess.abstained
            real = test.f1(reader, rows, reader.types)
            found.append((guess.whole.value - real, guess.whole.low <= real <= guess.whole.high, wide(guess)))
        print(f"  {size:5d} sentences: {told(*zip(*found, strict=True))}; abstained {silent}")
    print(
        f"both sets mixed and parted anew {SPLITS} times (a reference of {len(ref.sentences)} sentences,"
        " windows of the others), so that reference and windows vary too"
    )
    both = Read("both", ref.sentences + test.sentences, *joined(ref, test), reader.types)
    kept: dict[int, list[Any]] = {size: [] for size in SIZES}
    for _ in range(SPLITS):
        order = random.permutation(len(both.sentences))
        ours, others = np.sort(order[: len(ref.sentences)]), order[len(ref.sentences) :]
        chosen = [both.sentences[row] for row in ours]
        again = with_shifts(
            calibrate(
                reader, both.window(ours), both.part(ours), chosen,
                model="", model_name="", corpus=Corpus.checked("both", lambda c=chosen: iter(c), Scheme.BIO),
            ),
            reference.shifts,
        )  # fmt: skip
        for size in SIZES:
            for _ in range(PER_SPLIT):
                rows = random.choice(others, min(size, len(others)), replace=False)
                signals = both.window(rows)
                each = _of_types(
                    again, signals, Expected.of(again, signals), list(range(len(reader.types))), ""
                )
                real = both.f1(reader, rows, reader.types)
                kept[size].append((each.value - real, each.low <= real <= each.high, each.high - each.low))
    for size, found in kept.items():
        print(f"  {size:5d} sentences: {told(*zip(*found, strict=True))}")


def joined(first: Read, second: Read) -> tuple[Signals, Truth]:
    a, b, moved = first.signals, second.signals, len(first.signals)
    signals = Signals(
        *(
            np.concatenate(
                [getattr(a, name), getattr(b, name) + (moved if name.endswith("_sentence") else 0)]
            )
            for name in Signals.__slots__
        )
    )
    return signals, Truth(
        *(
            np.concatenate([getattr(first.truth, name), getattr(second.truth, name)])
            for name in Truth.__slots__
        )
    )


def judged(reference: Reference, corpus: Read, rows: np.ndarray | None = None) -> Estimate:
    rows = np.arange(len(corpus.sentences)) if rows is None else rows
    words = [corpus.sentences[row].words for row in rows]
    return estimate(reference, corpus.window(rows), words, types=corpus.types)


def wide(guess: Estimate) -> float:
    return guess.whole.high - guess.whole.low


def shifted(reference: Reference, reader: Reader, base: Baselines, corpora: Sequence[Read]) -> None:
    print("\ntext of other kinds: F1, as estimated [95 %], and by the baselines; (in brackets): abstained")
    errors: dict[str, list[float]] = {}
    all_errors: dict[str, list[float]] = {}
    wrong_way = []
    for each in corpora:
        guess, real = judged(reference, each), each.f1(reader)
        others = base.of(each, each.types)
        w = guess.whole
        said = f"{w.value:.3f} [{w.low:.3f}, {w.high:.3f}]"
        said = f"({w.value:.3f}) abstained   " if guess.abstained else said
        print(
            f"  {each.name:24s} {real:.3f}  {said}  distance {guess.distance:.3f}  "
            + "  ".join(f"{name} {value:.3f}" for name, value in others.items())
        )
        for name, value in {"ours": w.value, **others}.items():
            all_errors.setdefault(name, []).append(abs(value - real))
            if not guess.abstained:
                errors.setdefault(name, []).append(abs(value - real))
        before = base.ref.f1(reader, types=each.types)
        if abs(real - before) > 0.01 and (w.value - guess.reference_f1) * (real - before) < 0:
            wrong_way.append(each.name)
    for name, found in (("where it did not abstain", errors), ("everywhere, had it not", all_errors)):
        count = len(next(iter(found.values()), []))
        print(
            f"mean absolute error {name} ({count}): "
            + ", ".join(f"{each} {np.mean(values):.4f}" for each, values in found.items())
        )
    print(f"direction against the reference wrong on: {', '.join(wrong_way) or 'none'}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--shifted", type=Path, nargs="*", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(describe_machine())
    model = ModelReference.parse(args.model)
    tagger: Any = Cached(model.load(threads=args.threads), args.cache)
    dev, test = load_corpus(args.reference), load_corpus(args.test)
    start, busy = time.perf_counter(), time.process_time()
    reference = fit_reference(tagger, dev, model=model.open().digest(), model_name=model.name)
    print(
        f"watch fit on {len(dev):,} sentences: {time.perf_counter() - start:.0f} s,"
        f" {time.process_time() - busy:.0f} s of the processor"
        + (" (logits may come from the cache)" if args.cache else "")
    )
    print(f"F1 {reference.f1:.3f}; {reference.method}, log loss held out {dict(reference.losses)}")
    reader = reader_for(tagger, dev, None)
    ref = read(reader, args.reference.name, list(dev), dev.scheme)
    spoiled = [
        read(reader, name, spoiled_copy(dev.spread(SPOILED), spoil, Random(f"0 {name}")), dev.scheme)
        for name, spoil in FAMILIES.items()
    ]
    print("spoiled copies of the reference (never fitted on): F1, as estimated, distance")
    for name, shift in reference.shifts.items():
        real, guess = (
            2 * s[0] / (s[1] + s[2]) for s in (shift.counts.sum(axis=0), shift.estimated.sum(axis=0))
        )
        print(f"  {name:24s} {real:.3f}  {guess:.3f}  {shift.distance:.4f}")
    tested = read(reader, args.test.name, list(test), test.scheme)
    in_domain(reference, reader, ref, tested)
    corpora = []
    for file in args.shifted:
        found = load_corpus(file)
        corpora.append(read(reader, f"{file.parent.name}/{file.stem}", list(found), found.scheme))
    others = list(corpora)
    for name, sentences in sample_domains():
        corpora.append(read(reader, name, sentences, load_corpus(sample.data() / "test.conll").scheme))
    for name, change in (
        ("capitals", str.upper),
        ("accents stripped", without_accents),
        ("5 % misread", misread(0.05, 3)),
        ("15 % misread", misread(0.15, 4)),
    ):
        corpora.append(read(reader, f"test, {name}", changed(list(test), change), test.scheme))
    corpora.append(read(reader, "English (templates)", english(600), Scheme.IO))
    shifted(reference, reader, Baselines(reader, ref, spoiled), corpora)
    print("\nwindows of 500, a part of them from elsewhere")
    random = np.random.default_rng(2)
    for other in others:
        for share in (0.1, 0.3):
            count = min(int(500 * share), len(other.sentences))
            mixed = Read("mixed", tested.sentences + other.sentences, *joined(tested, other), other.types)
            rows = np.concatenate(
                [
                    random.choice(len(tested.sentences), 500 - count, replace=False),
                    len(tested.sentences) + random.choice(len(other.sentences), count, replace=False),
                ]
            )
            guess, real = judged(reference, mixed, rows), mixed.f1(reader, rows)
            print(
                f"  {share:.0%} {other.name:24s} {real:.3f}  {guess.whole.value:.3f}"
                f" [{guess.whole.low:.3f}, {guess.whole.high:.3f}]{'  abstained' if guess.abstained else ''}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main, "benchmarks/watching.py"))
