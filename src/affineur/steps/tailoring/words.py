"""Whole words as new pieces of a tokenizer, so that a text of their kind becomes fewer pieces; no torch.

That is vocabulary transfer (Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression",
arXiv 2402.09977): a new piece starts with the mean of the vectors of the pieces its word was cut into. They
train a tokenizer on the domain's text and take all of its pieces; here the old tokenizer stays, and words are
added to it.

What stays of the old one is the rule for everything else: **a word that is not added is cut as before, or
only some of its cuts are gone** – where an added word is its beginning, and the old tokenizer cut right
after it (*hypertension* + *s*). How each kind gets there:

- Unigram takes the likeliest cut. An added word is a hair likelier than its own old cut, so nothing wins
  through it but itself, and words that were cut into it and a rest.
- BPE joins the pair of lowest rank. The pairs that join an added word from its old pieces rank behind all
  others, so they find what is left when the old tokenizer is done.
- WordPiece takes the longest piece, so an added word can win where the old tokenizer cut elsewhere
  (*cardio* + *logue* for *card* + *iologue*).

A word whose addition breaks the rule for another word of the text is not added; in practice that happens in
WordPiece alone. A word is of letters, and there at least three times.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from affineur.entities import Corpus, encodable
from affineur.errors import ModelError
from affineur.runtime.runs import LONGEST_RUN
from affineur.runtime.tokenization.spec import from_spec
from affineur.steps.tailoring.pieces import Spec, grown, merges_of, own_pieces, pieces_of

#: What a letter more makes an added word likelier: far less than what parts two cuts, far more than rounding
#: (scores are float32 in SentencePiece); of two added words that fit, the longer one is the likelier.
_HAIR = 1e-4
#: Seen fewer times, a vector would be learned from nothing, and the piece would tell whom a text is about.
_SEEN = 3
#: Letters, with hyphens and apostrophes: numbers, addresses and codes are seldom the same twice.
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*['’]?")
#: How the beginning of a word is marked, and what marks it; WordPiece marks what is no beginning.
_BEGINS = {"Unigram": "▁", "BPE": "Ġ"}
_MARKS = {"Unigram": "Metaspace", "BPE": "ByteLevel"}


@dataclass(frozen=True, slots=True)
class Added:
    """Pieces that a tokenizer gets.

    Args:
        words: The words that become whole, as the tokenizer's model sees them, the most useful first.
        pieces: Each new piece and its score; of BPE also those that a word is joined from.
        parts: For each new piece, the old pieces whose vectors it is the mean of.
        merges: The pairs that BPE joins.
    """

    words: tuple[str, ...] = ()
    pieces: tuple[tuple[str, float], ...] = ()
    parts: tuple[tuple[int, ...], ...] = ()
    merges: tuple[tuple[str, str], ...] = ()

    def to(self, spec: Spec) -> Spec:
        """Return a tokenizer with these pieces."""
        return grown(spec, self.pieces, self.merges) if self.pieces else spec


class Words:
    """The words of a text, and those of them that are worth a piece of their own.

    Args:
        spec: The tokenizer. What it parts a text into before its model cuts each alone is a word: its
            normalization, and its cuts at elisions and punctuation, are respected.
        texts: The text.
    """

    def __init__(self, spec: Spec, texts: Sequence[Corpus]) -> None:
        self._spec, self._tokenizer = spec, from_spec(spec)
        self._ids = {name: i for i, name in own_pieces(spec).items()}
        #: How often each word is there, written as the model sees it: ``▁hôpital``.
        self.counts: Counter[str] = Counter()
        self._lettered: set[str] = set()
        given = Counter(word for text in texts for sentence in text for word in sentence.words)
        for word, count in given.items():
            for name, surface in self._parted(encodable(word[:LONGEST_RUN])):
                self.counts[name] += count
                if _WORD.fullmatch(surface):
                    self._lettered.add(name)
        #: The pieces of each word that would save any, the most useful first: count × (pieces − 1).
        self.parts = self._ranked()

    def choose(self, number: int) -> tuple[str, ...]:
        """Choose the words that save most pieces and break the rule for no other word.

        Args:
            number: How many at most.
        """
        bad: set[str] = set()
        while True:
            chosen = [name for name in self.parts if name not in bad][:number]
            if not (found := self._at_fault(self._spec, self._built(self._spec, chosen))):
                return tuple(chosen)
            bad |= found

    def added_to(self, spec: Spec, words: Sequence[str]) -> Added:
        """Make chosen words whole in a tokenizer with fewer pieces.

        A word that breaks the rule only there is left out.

        Args:
            spec: The tokenizer of fewer pieces.
            words: The words chosen.
        """
        while found := self._at_fault(spec, added := self._built(spec, words)):
            words = [name for name in words if name not in found]
        return added

    def spared(self, words: Iterable[str]) -> Counter[int]:
        """Count the pieces the text needs no more, since these words are whole; BPE needs them to join."""
        found: Counter[int] = Counter()
        if self._spec["model"]["type"] != "BPE":
            for name in words:
                for i in self.parts[name]:
                    found[i] += self.counts[name]
        return found

    def _parted(self, word: str) -> list[tuple[str, str]]:
        """Part a word as the tokenizer does; give each part as the model sees it, and as people do."""
        normalizer, parter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        text = word if normalizer is None else normalizer.normalize_str(word)
        parts = [(text, (0, len(text)))] if parter is None else parter.pre_tokenize_str(text)
        return [(name, text[begin:end]) for name, (begin, end) in parts if name]

    def _ranked(self) -> dict[str, tuple[int, ...]]:
        begin = _BEGINS.get(self._spec["model"]["type"], "")
        unknown = _unknown(self._spec)
        known = set(pieces_of(self._spec).values())
        found = []
        for name, count in self.counts.items():
            # Without the mark of a beginning a piece would turn up inside of other words.
            there = count >= _SEEN and name in self._lettered
            if there and name not in known and name.startswith(begin):
                ids = tuple(token.id for token in self._tokenizer.model.tokenize(name))
                if len(ids) > 1 and unknown not in ids:
                    found.append((-count * (len(ids) - 1), name, ids))
        return {name: ids for _, name, ids in sorted(found)}

    def _built(self, spec: Spec, words: Sequence[str]) -> Added:
        """Make the pieces of words, for the tokenizer given."""
        model, kind = from_spec(spec).model, spec["model"]["type"]
        if kind == "BPE":
            return self._joined(spec, words)
        scores = [0.0] * len(words)
        if kind == "Unigram":
            # However low: to raise it would cut longer words elsewhere. The price of an unknown character,
            # which the lowest sets, falls with it; that matters to no word without such a character.
            vocabulary = spec["model"]["vocab"]
            scores = [
                sum(vocabulary[t.id][1] for t in model.tokenize(name)) + _HAIR * len(name) for name in words
            ]
        parts = tuple(self.parts[name] for name in words)
        return Added(tuple(words), tuple(zip(words, scores, strict=True)), parts)

    def _joined(self, spec: Spec, words: Sequence[str]) -> Added:
        """Make the pairs that BPE joins words by, from their beginning, and all that comes up on the way."""
        model, names = from_spec(spec).model, set(spec["model"]["vocab"])
        merges = dict.fromkeys(merges_of(spec["model"]))
        old, pieces = len(merges), dict[str, tuple[int, ...]]()
        for name in words:
            first, *others = (token.value for token in model.tokenize(name))
            parts = [self._ids[first]]
            for other in others:
                merges[first, other] = None
                first, parts = first + other, [*parts, self._ids[other]]
                if first not in names and first not in pieces:
                    own = self._ids.get(first)
                    pieces[first] = self.parts.get(first) or (tuple(parts) if own is None else (own,))
        return Added(
            tuple(words),
            tuple((name, 0.0) for name in pieces),
            tuple(pieces.values()),
            tuple(islice(merges, old, None)),
        )

    def _at_fault(self, spec: Spec, added: Added) -> set[str]:
        """Find the added words that break the rule: a word loses cuts, and gets none."""
        before, after, unknown = from_spec(spec).model, from_spec(added.to(spec)).model, _unknown(spec)
        new, words, found = dict(added.pieces), set(added.words), set[str]()
        for name in self.counts:
            now = after.tokenize(name)
            begins = [now[0].value] if now and now[0].value in new else []
            if name in words:
                broken = len(now) > 1
            else:
                was = before.tokenize(name)
                lost = unknown in {t.id for t in now} - {t.id for t in was}
                broken = lost or not {t.offsets[1] for t in now} <= {t.offsets[1] for t in was}
                begins += [word for word in words if name.startswith(word)] if lost else []
            if broken:
                found |= {word for word in words if any(map(word.startswith, begins))} | ({name} & words)
        return found


def check_can_grow(spec: Spec, place: object) -> None:
    """Check that a tokenizer can hold a word as a whole, and not as a part of others.

    Args:
        spec: The tokenizer.
        place: What it is called in the error.

    Raises:
        ModelError: If it does not mark where a word begins.
    """
    cutter = spec.get("pre_tokenizer") or {}
    there = {part.get("type") for part in (cutter, *cutter.get("pretokenizers", ()))}
    kind = spec["model"]["type"]
    if kind in _MARKS and _MARKS[kind] not in there:
        raise ModelError(
            f"add: the tokenizer of {place} is a {kind} without {_MARKS[kind]}, which does not mark where a "
            "word begins, so a new piece would turn up inside of other words; leave add out"
        )


def _unknown(spec: Spec) -> int | None:
    model = spec["model"]
    if model["type"] == "Unigram":
        return None if model.get("unk_id") is None else int(model["unk_id"])
    return next((i for i, name in own_pieces(spec).items() if name == model.get("unk_token")), None)
