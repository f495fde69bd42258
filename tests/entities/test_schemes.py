from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOBES, Entities
from seqscore.encoding import REPAIR_CONLL, get_encoding
from seqscore.validation import validate_labels

from affineur.entities import (
    Mention,
    Scheme,
    TagError,
    coarser,
    detect,
    merged_by_io,
    project,
    repair,
    repaired_mentions,
    split_tag,
    to_mentions,
    to_tags,
    types_of,
    with_prefix,
)

quick = settings(deadline=None, max_examples=150)
TYPES = ("LOC", "PER", "MISC-X")
LETTERS = {Scheme.IO: "I", Scheme.BIO: "BI", Scheme.IOB1: "BI", Scheme.BIOES: "BIES"}
SEQSCORE = {Scheme.IO: "IO", Scheme.BIO: "BIO", Scheme.IOB1: "IOB", Scheme.BIOES: "BIOES"}


def any_tags(letters: str) -> st.SearchStrategy[list[str]]:
    """Tag sequences without any rule."""
    return st.lists(
        st.sampled_from(["O", *(f"{letter}-{kind}" for letter in letters for kind in TYPES)]), max_size=12
    )


@st.composite
def placed_mentions(draw: st.DrawFn) -> tuple[list[Mention], int]:
    """Mentions that do not overlap, often touching, and the length of their sentence."""
    mentions, position = [], 0
    for gap, length, kind in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(TYPES)), max_size=6)
    ):
        start = position + gap
        position = start + length
        mentions.append(Mention(start, position, kind))
    return mentions, position + draw(st.integers(0, 2))


def triples(mentions: list[Mention]) -> list[tuple[str, int, int]]:
    return [(m.type, m.start, m.end) for m in mentions]


def by_seqeval(tags: list[str]) -> list[tuple[str, int, int]]:
    return [(kind, start, last + 1) for kind, start, last in get_entities(tags)]


def by_seqscore(tags: list[str], scheme: Scheme) -> list[tuple[str, int, int]]:
    return [(m.type, m.span.start, m.span.end) for m in get_encoding(SEQSCORE[scheme]).decode_labels(tags)]


# ---- single tags ----


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("O", ("O", "")),
        ("B-PER", ("B", "PER")),
        ("I-A-B", ("I", "A-B")),
        ("L-LOC", ("E", "LOC")),
        ("U-LOC", ("S", "LOC")),
        ("I--", ("I", "-")),
    ],
)
def test_split_tag(tag: str, parts: tuple[str, str]) -> None:
    assert split_tag(tag) == parts


@pytest.mark.parametrize("tag", ["", "B", "B-", "-PER", "X-PER", "o", "O-PER", "b-PER", "PER", " O"])
def test_not_a_tag(tag: str) -> None:
    with pytest.raises(ValueError, match=f"'{tag}' is not a tag .*B-PER"):
        split_tag(tag)


def test_a_bare_type_means_inside() -> None:
    assert [with_prefix(label) for label in ("PER", "B-PER", "O", "LABEL_1", "PER-X")] == [
        "I-PER",
        "B-PER",
        "O",
        "I-LABEL_1",
        "I-PER-X",
    ]


def test_types_are_sorted_and_without_o() -> None:
    assert types_of(["O", "I-PER", "B-LOC", "S-PER"]) == ("LOC", "PER")
    assert types_of(["O"]) == ()


# ---- recognition ----


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ([], Scheme.IO),
        (["O"], Scheme.IO),
        (["O", "I-PER"], Scheme.IO),
        (["O", "I-PER", "B-LOC"], Scheme.BIO),
        (["B-PER"], Scheme.BIO),
        (["O", "B-PER", "E-PER"], Scheme.BIOES),
        (["S-PER"], Scheme.BIOES),
        (["B-PER", "I-PER", "L-PER", "U-PER"], Scheme.BIOES),
    ],
)
def test_detect(tags: list[str], scheme: Scheme) -> None:
    assert detect(tags) is scheme


def test_coarser_never_invents_boundaries() -> None:
    for first, second in itertools.product((Scheme.IO, Scheme.BIO, Scheme.BIOES), repeat=2):
        assert coarser(first, second) is (Scheme.IO if Scheme.IO in (first, second) else Scheme.BIO)


# ---- strict reading ----


@pytest.mark.parametrize(
    ("tags", "scheme", "position", "message"),
    [
        (["O", "I-PER"], Scheme.BIO, 1, "tag I-PER follows O, but in BIO a mention begins with B-PER"),
        (["B-LOC", "I-PER", "I-LOC"], Scheme.BIO, 1, "tag I-PER follows B-LOC"),
        (["O", "B-PER", "S-PER"], Scheme.BIO, 2, "tag S-PER does not exist in scheme BIO"),
        (["I-PER", "B-PER"], Scheme.IO, 1, "tag B-PER does not exist in scheme IO"),
        (["B-PER", "E-PER"], Scheme.IOB1, 1, "tag E-PER does not exist in scheme IOB1"),
        (
            ["O", "E-PER"],
            Scheme.BIOES,
            1,
            "tag E-PER follows O, but in BIOES a mention begins with B-PER or S-PER",
        ),
        (["S-PER", "I-PER"], Scheme.BIOES, 1, "tag I-PER follows S-PER"),
        (
            ["B-PER", "O", "O"],
            Scheme.BIOES,
            1,
            "tag O follows B-PER, but in BIOES an open mention goes on with I-PER or E-PER",
        ),
        (["B-PER", "E-LOC"], Scheme.BIOES, 1, "tag E-LOC follows B-PER"),
        (["O", "B-PER", "I-PER"], Scheme.BIOES, 2, "an open mention goes on with I-PER or E-PER"),
        (["B-PER", "nonsense"], Scheme.BIO, 1, "'nonsense' is not a tag"),
    ],
)
def test_a_forbidden_tag_is_named_with_its_position(
    tags: list[str], scheme: Scheme, position: int, message: str
) -> None:
    with pytest.raises(TagError, match=message) as error:
        to_mentions(tags, scheme)
    assert error.value.position == position


def test_iob1_begins_only_between_touching_mentions() -> None:
    tags = ["I-PER", "B-PER", "I-PER", "I-LOC", "O", "I-LOC"]
    assert triples(to_mentions(tags, Scheme.IOB1)) == [
        ("PER", 0, 1),
        ("PER", 1, 3),
        ("LOC", 3, 4),
        ("LOC", 5, 6),
    ]
    assert project(tags, Scheme.IOB1, Scheme.BIO) == ["B-PER", "B-PER", "I-PER", "B-LOC", "O", "B-LOC"]
    with pytest.raises(ValueError, match="IOB1 is read but not written"):
        to_tags([Mention(0, 1, "PER")], 1, Scheme.IOB1)


@pytest.mark.parametrize("scheme", [Scheme.IO, Scheme.BIO, Scheme.BIOES])
@quick
@given(st.data())
def test_strictness_is_that_of_seqscore(scheme: Scheme, data: st.DataObject) -> None:
    tags = data.draw(any_tags("BIES"))
    places = [str(i) for i in range(len(tags))]
    errors = validate_labels(tags, get_encoding(SEQSCORE[scheme]), tokens=places).errors if tags else ()
    if not errors:
        assert triples(to_mentions(tags, scheme)) == by_seqscore(tags, scheme)
    else:
        with pytest.raises(TagError) as error:
            to_mentions(tags, scheme)
        assert str(error.value.position) == errors[0].token


@quick
@given(any_tags("BI"))
def test_iob1_is_read_as_by_seqscore(tags: list[str]) -> None:
    encoding = get_encoding("IOB")
    assert triples(to_mentions(tags, Scheme.IOB1)) == by_seqscore(
        list(encoding.repair_labels(tags, REPAIR_CONLL)), Scheme.IOB1
    )


# ---- round trips ----


@quick
@given(placed_mentions())
def test_mentions_to_tags_and_back(placed: tuple[list[Mention], int]) -> None:
    mentions, length = placed
    bio, bioes = (to_tags(mentions, length, scheme) for scheme in (Scheme.BIO, Scheme.BIOES))
    assert to_mentions(bio, Scheme.BIO) == mentions
    assert to_mentions(bioes, Scheme.BIOES) == mentions
    assert project(bio, Scheme.BIO, Scheme.BIOES) == bioes
    assert project(bioes, Scheme.BIOES, Scheme.BIO) == bio


@quick
@given(placed_mentions())
def test_io_merges_exactly_what_it_says(placed: tuple[list[Mention], int]) -> None:
    mentions, length = placed
    tags = to_tags(mentions, length, Scheme.IO)
    found = to_mentions(tags, Scheme.IO)
    assert len(mentions) - len(found) == merged_by_io(mentions)
    assert to_tags(found, length, Scheme.IO) == tags
    assert merged_by_io(found) == 0


def test_merged_by_io_counts_whatever_the_order() -> None:
    touching = [
        Mention(2, 3, "PER"),
        Mention(0, 2, "PER"),
        Mention(3, 4, "LOC"),
        Mention(5, 6, "LOC"),
        Mention(6, 8, "LOC"),
    ]
    assert merged_by_io(touching) == 2


@quick
@given(placed_mentions())
def test_strict_bioes_is_that_of_seqeval(placed: tuple[list[Mention], int]) -> None:
    mentions, length = placed
    tags = to_tags(mentions, length, Scheme.BIOES)
    assert [(e.tag, e.start, e.end) for e in Entities([tags], IOBES).entities[0]] == triples(mentions)


@quick
@given(placed_mentions())
def test_bilou_letters(placed: tuple[list[Mention], int]) -> None:
    mentions, length = placed
    bioes = to_tags(mentions, length, Scheme.BIOES)
    bilou = [{"E": "L", "S": "U"}.get(tag[0], tag[0]) + tag[1:] for tag in bioes]
    assert to_mentions(bilou, Scheme.BIOES) == mentions
    assert repair(bilou, Scheme.BIOES) == (bioes, 0)


@pytest.mark.parametrize("bad", [Mention(1, 3, "PER"), Mention(0, 1, "LOC")])
def test_mentions_that_overlap_or_leave_the_sentence(bad: Mention) -> None:
    with pytest.raises(ValueError, match="overlaps another mention or leaves a sentence of 2 words"):
        to_tags([Mention(0, 1, "PER"), bad], 2, Scheme.BIO)


# ---- repair ----


@pytest.mark.parametrize(
    ("tags", "scheme", "repaired", "changed"),
    [
        (["I-PER", "I-PER"], Scheme.BIO, ["B-PER", "I-PER"], 1),
        (["B-PER", "I-LOC", "I-LOC"], Scheme.BIO, ["B-PER", "B-LOC", "I-LOC"], 1),
        (["I-PER", "O", "I-PER"], Scheme.BIO, ["B-PER", "O", "B-PER"], 2),
        (["I-PER", "O"], Scheme.IO, ["I-PER", "O"], 0),
        (["B-PER", "O"], Scheme.BIOES, ["S-PER", "O"], 1),
        (["B-PER", "B-PER"], Scheme.BIOES, ["S-PER", "S-PER"], 2),
        (["I-PER", "I-PER", "I-PER"], Scheme.BIOES, ["B-PER", "I-PER", "E-PER"], 2),
        (["S-PER", "E-PER"], Scheme.BIOES, ["S-PER", "S-PER"], 1),
        (["B-PER", "I-PER", "E-LOC"], Scheme.BIOES, ["B-PER", "E-PER", "S-LOC"], 2),
        ([], Scheme.BIO, [], 0),
    ],
)
def test_repair(tags: list[str], scheme: Scheme, repaired: list[str], changed: int) -> None:
    assert repair(tags, scheme) == (repaired, changed)


@pytest.mark.parametrize("scheme", [Scheme.IO, Scheme.BIO, Scheme.BIOES])
@quick
@given(st.data())
def test_repair_gives_valid_tags_and_counts_the_changes(scheme: Scheme, data: st.DataObject) -> None:
    tags = data.draw(any_tags(LETTERS[scheme]))
    repaired, changed = repair(tags, scheme)
    assert len(repaired) == len(tags)
    assert changed == sum(a != b for a, b in zip(tags, repaired, strict=True))
    assert repaired_mentions(tags, scheme) == to_mentions(
        repaired, scheme
    )  # which raises if they are not valid
    assert repair(repaired, scheme) == (repaired, 0)
    assert [split_tag(tag)[1] for tag in repaired] == [
        split_tag(tag)[1] for tag in tags
    ]  # no word changes its type
    try:
        to_mentions(tags, scheme)
    except TagError:
        assert changed > 0
    else:
        assert (repaired, changed) == (tags, 0)


@pytest.mark.parametrize("scheme", [Scheme.IO, Scheme.BIO, Scheme.BIOES])
@quick
@given(st.data())
def test_repaired_mentions_are_those_of_seqeval(scheme: Scheme, data: st.DataObject) -> None:
    tags = data.draw(any_tags(LETTERS[scheme]))
    assert triples(to_mentions(repair(tags, scheme)[0], scheme)) == by_seqeval(tags)


@quick
@given(any_tags("BI").filter(len))
def test_repaired_bio_is_that_of_seqscore(tags: list[str]) -> None:
    repaired = list(get_encoding("BIO").repair_labels(tags, REPAIR_CONLL))
    assert repair(tags, Scheme.BIO)[0] == repaired
    assert triples(to_mentions(repaired, Scheme.BIO)) == by_seqscore(repaired, Scheme.BIO)


@quick
@given(any_tags("I"))
def test_io_is_that_of_seqscore(tags: list[str]) -> None:
    assert repair(tags, Scheme.IO) == (tags, 0)
    assert triples(to_mentions(tags, Scheme.IO)) == by_seqscore(tags, Scheme.IO)
