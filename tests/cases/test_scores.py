"""What people and peers' own suites say of scores: accuracy, partial matches, schemes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
from seqeval.metrics import accuracy_score

from affineur.entities import Corpus, Mention, Scheme, Sentence, TagError, to_mentions, to_tags
from affineur.measure import Evaluation, Outcomes, count_outcomes, evaluate
from affineur.measure.partial import KINDS, outcomes_of

TYPES = ("LOC", "ORG", "PER")


class _Echo:
    """A tagger that gives what it was told, sentence by sentence."""

    def __init__(self, labels: Sequence[str], predicted: Sequence[Sequence[str]]) -> None:
        self.labels, self._left = tuple(labels), iter(predicted)

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        return [list(next(self._left)) for _ in sentences]


def _scored(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    labels: str,
    types: Sequence[str] | None = None,
) -> Evaluation:
    def source() -> Iterator[Sentence]:
        for tags in gold:
            yield Sentence(tuple("w" * len(tags)), tuple(tags))

    every = ["O", *(f"{letter}-{kind}" for letter in labels for kind in TYPES)]
    return evaluate(_Echo(every, predicted), Corpus.scan("gold", source), types=types)


# ---- accuracy: seqeval, conlleval.pl and seqscore (case 17) ----


@pytest.mark.parametrize(
    ("gold", "predicted", "labels", "accuracy", "repaired"),
    [
        pytest.param("B-PER", "I-PER", "BI", 0, 1, id="conlleval: B-PER against I-PER"),
        pytest.param("B-PER O", "S-PER O", "BIES", 0.5, 1, id="seqscore: S-PER against B-PER"),
        pytest.param("S-PER O", "B-PER O", "BIES", 0.5, 1, id="BIOES against BIOES, repaired"),
        pytest.param("B-PER E-PER", "B-PER I-PER", "BIES", 0.5, 1, id="an open mention is closed by repair"),
        pytest.param("I-PER I-PER O", "B-PER I-PER O", "BI", 2 / 3, 1, id="a BIO model on IO data"),
        pytest.param("B-PER B-PER O", "I-PER I-PER O", "I", 1 / 3, 1, id="an IO model on BIO data"),
        pytest.param(
            "U-PER B-ORG L-ORG", "S-PER B-ORG E-ORG", "BIES", 1, 1, id="BILOU is BIOES spelled otherwise"
        ),
        pytest.param("O B-LOC", "O O", "BI", 0.5, 0.5, id="a miss"),
    ],
)
def test_accuracy_compares_tags_as_they_are(
    gold: str, predicted: str, labels: str, accuracy: float, repaired: float
) -> None:
    found = _scored([gold.split()], [predicted.split()], labels)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.accuracy_repaired == pytest.approx(repaired)
    said = found.as_dict()
    assert (said["accuracy"], said["accuracy_repaired"]) == (found.accuracy, found.accuracy_repaired)


@pytest.mark.parametrize("data", ["I", "BI", "BIES"])
@pytest.mark.parametrize("model", ["I", "BI", "BIES"])
def test_accuracy_is_that_of_seqeval_whatever_the_schemes(model: str, data: str) -> None:
    rng = random.Random(f"{model}{data}")
    scheme = {"I": Scheme.IO, "BI": Scheme.BIO, "BIES": Scheme.BIOES}[data]
    gold = [to_tags(_mentions(rng, 12), 12, scheme) for _ in range(40)]
    letters = ["O", *(f"{letter}-{kind}" for letter in model for kind in TYPES)]
    predicted = [
        [tag if rng.random() < 0.6 and tag in letters else rng.choice(letters) for tag in tags]
        for tags in gold
    ]
    found = _scored(gold, predicted, model)
    assert found.accuracy == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)


def test_accuracy_over_some_types_leaves_the_others_out_on_both_sides() -> None:
    found = _scored([["B-PER", "B-LOC", "O"]], [["B-PER", "O", "B-ORG"]], "BI", types=["PER"])
    assert found.accuracy == 1
    assert found.words_right == 3


# ---- partial matches: nervaluate 1.2 ----

# tests/test_strategies.py: its one sentence against five predictions, as (correct, incorrect, partial,
# missed, spurious) of strict, exact, partial and type. In nervaluate's own "shifted boundary" the
# prediction shares no word but touches one, by an end that is counted twice; here it shares the last word.
_GOLD = "O B-PER I-PER O O O B-ORG I-ORG"
_NERVALUATE = {
    "perfect match": (_GOLD, *[(2, 0, 0, 0, 0)] * 4),
    "missed entity": ("O B-PER I-PER O O O O O", *[(1, 0, 0, 1, 0)] * 4),
    "wrong label": (
        "O B-PER I-PER O O O B-LOC I-LOC",
        *((1, 1, 0, 0, 0), (2, 0, 0, 0, 0), (2, 0, 0, 0, 0), (1, 1, 0, 0, 0)),
    ),
    "wrong boundary": (
        "O B-PER I-PER O O O B-LOC O",
        *((1, 1, 0, 0, 0), (1, 1, 0, 0, 0), (1, 0, 1, 0, 0), (1, 1, 0, 0, 0)),
    ),
    "shifted boundary": (
        "O B-PER I-PER O O O O B-LOC",
        *((1, 1, 0, 0, 0), (1, 1, 0, 0, 0), (1, 0, 1, 0, 0), (1, 1, 0, 0, 0)),
    ),
    "extra entity": (
        "O B-PER I-PER O B-PER O B-LOC I-LOC",
        *((1, 1, 0, 0, 1), (2, 0, 0, 0, 1), (2, 0, 0, 0, 1), (1, 1, 0, 0, 1)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", _NERVALUATE)
def test_partial_matches_as_nervaluate_counts_them(name: str, kind: str) -> None:
    predicted, *wanted = _NERVALUATE[name]
    found = _scored([_GOLD.split()], [predicted.split()], "BI").partial_match[kind]
    assert found == Outcomes(*wanted[KINDS.index(kind)])


def _one(gold: Sequence[Mention], predicted: Sequence[Mention], kind: str) -> tuple[int, ...]:
    found = outcomes_of(count_outcomes(gold, predicted, TYPES)[0])[kind]
    return (found.correct, found.incorrect, found.partial, found.missed, found.spurious)


@pytest.mark.parametrize(
    ("gold", "predicted", "kind", "wanted"),
    [
        # TestSingleCharacterEntities: ends are included there, excluded here
        ("PER:1-3 ORG:4-6", "PER:1-3 ORG:4-6", "strict", (2, 0, 0, 0, 0)),
        ("PER:1-2 ORG:4-5", "PER:1-2 ORG:4-5", "strict", (2, 0, 0, 0, 0)),
        ("PER:1-2 ORG:4-5", "PER:1-2 ORG:4-5", "partial", (2, 0, 0, 0, 0)),
        ("PER:1-2", "ORG:1-2", "strict", (0, 1, 0, 0, 0)),
        ("PER:1-2 ORG:2-3", "PER:1-2 ORG:2-3", "strict", (2, 0, 0, 0, 0)),
        ("PER:1-2 ORG:4-5", "PER:1-2", "strict", (1, 0, 0, 1, 0)),
        # the default overlap of one word, of the tests of min_overlap_percentage
        ("PER:0-10", "PER:0-3", "partial", (0, 0, 1, 0, 0)),
        ("PER:0-10", "PER:10-16", "partial", (0, 0, 0, 1, 1)),
        ("PER:0-10", "ORG:0-7", "strict", (0, 1, 0, 0, 0)),
        ("PER:0-10", "PER:0-7", "type", (1, 0, 0, 0, 0)),
        ("PER:0-10", "ORG:0-7", "type", (0, 1, 0, 0, 0)),
        ("PER:0-10", "ORG:0-10", "exact", (1, 0, 0, 0, 0)),
        ("PER:0-10", "ORG:0-7", "exact", (0, 1, 0, 0, 0)),
        # each gold mention once: the second prediction in it is spurious (nervaluate#40)
        ("PER:0-10", "PER:0-3 PER:5-8", "strict", (0, 1, 0, 0, 1)),
        ("PER:0-10", "PER:0-3 PER:5-8", "partial", (0, 0, 1, 0, 1)),
        # one prediction over two: the nearer of its type counts, the other is missed
        ("PER:0-1 PER:1-5", "PER:0-5", "type", (1, 0, 0, 1, 0)),
        ("LOC:0-1 PER:1-5", "PER:0-5", "type", (1, 0, 0, 1, 0)),
        ("LOC:0-1 PER:1-5", "PER:0-5", "partial", (0, 0, 1, 1, 0)),
    ],
)
def test_partial_matches_of_single_mentions(
    gold: str, predicted: str, kind: str, wanted: tuple[int, ...]
) -> None:
    assert _one(_spans(gold), _spans(predicted), kind) == wanted


def test_partial_matches_by_type_are_those_of_the_type_alone() -> None:
    # tests/test_evaluator.py: sample_data
    gold = [["O", "B-PER", "O", "B-ORG", "I-ORG", "B-LOC"], ["O", "B-PER", "O", "B-ORG"]]
    predicted = [["O", "B-PER", "O", "B-ORG", "O", "B-PER"], ["O", "B-PER", "O", "B-LOC"]]
    found = _scored(gold, predicted, "BI")
    assert found.partial_match["strict"] == Outcomes(2, 3, 0, 0, 0)
    assert found.partial_match["exact"] == Outcomes(4, 1, 0, 0, 0)
    assert found.partial_match["partial"] == Outcomes(4, 0, 1, 0, 0)
    assert found.partial_match["type"] == Outcomes(3, 2, 0, 0, 0)
    by_type = found.partial_match_per_type
    assert by_type["PER"]["strict"] == Outcomes(2, 0, 0, 0, 1)
    assert by_type["ORG"]["strict"] == Outcomes(0, 1, 0, 1, 0)
    assert by_type["ORG"]["partial"] == Outcomes(0, 0, 1, 1, 0)
    assert by_type["LOC"]["type"] == Outcomes(0, 0, 0, 1, 1)
    assert (by_type["ORG"]["partial"].precision, by_type["ORG"]["partial"].recall) == (0.5, 0.25)


def test_nothing_or_one_side_alone() -> None:
    assert Outcomes(0, 0, 0, 0, 0).f1 == Outcomes(0, 0, 0, 0, 0).precision == 0
    assert _one([], _spans("PER:0-1"), "type") == (0, 0, 0, 0, 1)
    assert _one(_spans("PER:0-1"), [], "type") == (0, 0, 0, 1, 0)
    assert _one(_spans("DATE:0-1"), _spans("DATE:0-1"), "strict") == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(50))
def test_partial_matches_keep_the_strict_score_and_account_for_every_mention(seed: int) -> None:
    rng = random.Random(seed)
    gold = [_mentions(rng, 20) for _ in range(10)]
    predicted = [_mentions(rng, 20) for _ in range(10)]
    found = _scored(
        [to_tags(m, 20, Scheme.BIO) for m in gold], [to_tags(m, 20, Scheme.BIO) for m in predicted], "BI"
    )
    strict = found.partial_match["strict"]
    assert (strict.correct, strict.predicted, strict.gold) == (
        *(found.total.true_positive, found.total.predicted, found.total.gold),
    )
    for one in found.partial_match.values():
        assert (one.predicted, one.gold) == (found.total.predicted, found.total.gold)
    for kind, scores in found.per_type.items():
        alone = found.partial_match_per_type[kind]
        assert alone["strict"].f1 == pytest.approx(scores.f1)
        assert alone["type"].incorrect == 0
    # An oracle of its own: mentions are disjoint on either side, so a shared span has one partner at most.
    spans = sum(
        len({(m.start, m.end) for m in g} & {(m.start, m.end) for m in p})
        for g, p in zip(gold, predicted, strict=True)
    )
    assert found.partial_match["exact"].correct == found.partial_match["partial"].correct == spans
    assert found.partial_match["partial"].partial == found.partial_match["exact"].incorrect


def _mentions(rng: random.Random, words: int) -> list[Mention]:
    """Draw mentions, many of which touch."""
    found, place = [], 0
    while True:
        start = place + rng.choice((0, 0, 1, 2))
        place = start + rng.choice((1, 1, 2, 3))
        if place > words:
            return found
        found.append(Mention(start, place, rng.choice(TYPES)))


def _spans(text: str) -> list[Mention]:
    """Read ``PER:0-1 ORG:2-4``."""
    found = []
    for part in text.split():
        kind, _, span = part.partition(":")
        start, end = map(int, span.split("-"))
        found.append(Mention(start, end, kind))
    return found


# ---- schemes: seqeval's tests/test_scheme.py ----

# Its expected entities. Where a sequence breaks its scheme, seqeval drops what it cannot read (written x);
# gold data is refused there instead.
_SEQEVAL = {
    Scheme.BIO: """
        B-PER = PER:0-1; I-PER x; O =; O I-PER x; O B-PER = PER:1-2; I-PER O x; I-PER I-PER x; I-PER I-ORG x;
        I-PER B-PER x; I-PER B-ORG x; B-PER O = PER:0-1; B-PER I-PER = PER:0-2; B-PER I-ORG x;
        B-PER B-PER = PER:0-1 PER:1-2; B-PER B-ORG = PER:0-1 ORG:1-2""",
    Scheme.BIOES: """
        O =; I-PER x; B-PER x; E-PER x; S-PER = PER:0-1; O O =; O I-PER x; O B-PER x; O E-PER x;
        O S-PER = PER:1-2; I-PER O x; I-PER I-PER x; I-PER I-ORG x; I-PER B-PER x; I-PER E-PER x;
        I-PER E-ORG x; I-PER S-PER x; B-PER O x; B-PER I-PER x; B-PER I-ORG x; B-PER B-PER x;
        B-PER E-PER = PER:0-2; B-PER E-ORG x; B-PER S-PER x; E-PER O x; E-PER I-PER x; E-PER B-PER x;
        E-PER E-PER x; E-PER S-PER x; S-PER O = PER:0-1; S-PER I-PER x; S-PER B-PER x; S-PER E-PER x;
        S-PER S-PER = PER:0-1 PER:1-2""",
}
_SEQSCORE = {  # test_encoding.py: mentions of a whole sentence and of its edge cases, in every encoding
    "IO": "I-PER O I-ORG I-ORG I-ORG I-ORG I-ORG I-LOC = PER:0-1 ORG:2-7 LOC:7-8",
    "BIO": "B-PER O B-ORG I-ORG B-ORG I-ORG I-ORG B-LOC = PER:0-1 ORG:2-4 ORG:4-7 LOC:7-8",
    "BIOES": "S-PER O B-ORG E-ORG B-ORG I-ORG E-ORG S-LOC = PER:0-1 ORG:2-4 ORG:4-7 LOC:7-8",
    "BILOU": "U-PER O B-ORG L-ORG B-ORG I-ORG L-ORG U-LOC = PER:0-1 ORG:2-4 ORG:4-7 LOC:7-8",
    "IOB": "I-PER O I-ORG I-ORG B-ORG I-ORG I-ORG I-LOC = PER:0-1 ORG:2-4 ORG:4-7 LOC:7-8",
}
_NAMES = {"BILOU": Scheme.BIOES, "IOB": Scheme.IOB1}


def _lines(text: str) -> Iterator[tuple[list[str], list[Mention] | None]]:
    for line in text.split(";"):
        tags, equals, mentions = line.strip().partition("=")
        yield tags.removesuffix(" x").split(), _spans(mentions) if equals else None


_CASES = [
    *((scheme, tags, wanted) for scheme, text in _SEQEVAL.items() for tags, wanted in _lines(text)),
    *(  # BILOU: the same cases in its own letters
        (Scheme.BIOES, [tag.replace("E-", "L-").replace("S-", "U-") for tag in tags], wanted)
        for tags, wanted in _lines(_SEQEVAL[Scheme.BIOES])
    ),
    *((_NAMES.get(name) or Scheme(name), *next(_lines(text))) for name, text in _SEQSCORE.items()),
]


@pytest.mark.parametrize(("scheme", "tags", "wanted"), _CASES)
def test_mentions_as_peers_read_them(scheme: Scheme, tags: list[str], wanted: list[Mention] | None) -> None:
    if wanted is None:
        with pytest.raises(TagError):
            to_mentions(tags, scheme)
    else:
        assert to_mentions(tags, scheme) == wanted
