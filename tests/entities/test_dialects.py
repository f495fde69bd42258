from __future__ import annotations

import re

import pytest

from affineur.entities import LabelError, Scheme, understand

BIO, BIOES, IO, IOE2 = Scheme.BIO, Scheme.BIOES, Scheme.IO, Scheme.IOE2


@pytest.mark.parametrize(
    ("labels", "tags", "scheme"),
    [
        ("O I-PER I-LOC", "", IO),
        ("O B-PER I-PER", "", BIO),
        ("O B-PER I-PER E-PER S-LOC", "", BIOES),
        ("O B-PER I-PER L-PER U-LOC", "", BIOES),
        ("O B-PER M-PER E-PER S-PER", "O B-PER I-PER E-PER S-PER", BIOES),
        ("O B-PER M-PER E-PER W-PER", "O B-PER I-PER E-PER S-PER", BIOES),
        ("O I-PER E-PER", "", IOE2),
        ("O I-PER E-PER E-LOC", "", IOE2),
        ("O B_PER I_PER", "O B-PER I-PER", BIO),
        ("O B:PER I:PER", "O B-PER I-PER", BIO),
        ("O PER-B PER-I", "O B-PER I-PER", BIO),
        ("O PER_B PER_M PER_E PER_S", "O B-PER I-PER E-PER S-PER", BIOES),
        ("o b-per i-per", "O B-PER I-PER", BIO),
        ("o B-PER I-PER", "O B-PER I-PER", BIO),
        ("O b-PER i-PER", "O B-PER I-PER", BIO),
        ("o b-per B-per", "O B-per B-per", BIO),
        ("o per loc", "O I-PER I-LOC", IO),
        ("O per", "O I-per", IO),
        ("O PER LOC", "O I-PER I-LOC", IO),
        ("O E-MAIL PER", "O I-E-MAIL I-PER", IO),
        ("O S-BAHN PER", "O I-S-BAHN I-PER", IO),
        ("O B-E-MAIL I-E-MAIL", "", BIO),
        ("O I-O B-O", "", BIO),
        ("O I-A-B", "", IO),
        ("O B-PER I-PER I_PER b-per", "O B-PER I-PER I-PER B-PER", BIO),
        ("O B–PER I–PER", "O B-PER I-PER", BIO),
        ("O\xa0 B-PER", "", BIO),
        ("O", "", IO),
        ("", "", IO),
    ],
)
def test_understood(labels: str, tags: str, scheme: Scheme) -> None:
    given = labels.split(" ") if labels else []
    found = understand(given)
    assert [found.tags[label] for label in given if label] == (tags or labels).replace("\xa0 ", " ").split()
    assert found.scheme is scheme


@pytest.mark.parametrize(
    ("labels", "label", "message"),
    [
        ("O X-PER", "X-PER", "'X-PER' is not a tag"),
        ("O B-PER LOC", "LOC", "'LOC' is not a tag"),
        ("O B-PER 2", "2", "beside them stand B-PER, O"),
        ("0 1", "0", "nothing names them; give tag_names"),
        ("O B I", "B", "names no type"),
        ("O E-MAIL", "E-MAIL", "may be a type of its own, or the end of a mention of type MAIL"),
        ("O B-PER I-PER E-MAIL", "E-MAIL", "may be a type of its own"),
        ("O B-PER M-LOC", "M-LOC", "may be a type of its own"),
        ("O B-PER I-PER M-PER E-PER", "E-PER", "belong to no one scheme"),
        ("O B-PER I-PER L-PER S-PER", "L-PER", "belong to no one scheme"),
        ("DET NOUN VERB", "DET", "found DET, NOUN, VERB and no O"),
        ("O O-PER B-PER", "O-PER", "'O-PER' is not a tag"),
        ("O (PER* *)", "(PER*", "is not a tag"),
        ("O B-PER domain=fr", "domain=fr", "is not a tag"),
        ("O MAIL E-MAIL", "E-MAIL", "may be a tag of the type MAIL"),
        ("O B-", "B-", "is not a tag"),
        ("O _", "_", "is not a tag"),
    ],
)
def test_refused(labels: str, label: str, message: str) -> None:
    with pytest.raises(LabelError, match=re.escape(message)) as caught:
        understand(labels.split())
    assert caught.value.label == label


@pytest.mark.parametrize(
    ("labels", "notes"),
    [
        ("O B-PER I-PER", ()),
        ("O B-PER M-PER E-PER", ()),
        ("O PER", ()),
        ("O B_PER I_PER", ("B_PER is read as B-PER, and the others alike",)),
        ("o b-per", ("b-per is read as B-PER", "o is read as O")),
        ("O E-MAIL PER", ("E-MAIL is read as a type of its own: no tag has a prefix",)),
        ("O B-PER I_PER", ("I_PER is read as I-PER",)),
    ],
)
def test_what_is_unusual_is_said(labels: str, notes: tuple[str, ...]) -> None:
    assert understand(labels.split()).notes == notes


def test_numbers_have_the_names_that_are_given() -> None:
    names = ("O", "b-per", "i-per")
    found = understand(["0", "1", "2.0"], names=names)
    assert found.tags == {"0": "O", "1": "B-PER", "2.0": "I-PER"}
    with pytest.raises(
        LabelError, match=r"found the tag 3, but the 3 names \(O, b-per, i-per\) go from 0 to 2"
    ):
        understand(["3"], names=names)
    with pytest.raises(LabelError, match="found the tag -100, but"):
        understand(["-100"], names=names)
    assert understand(["O", "B-PER"], names=names).tags == {"O": "O", "B-PER": "B-PER"}


def test_a_scheme_that_is_given_decides() -> None:
    assert understand(["O", "E-MAIL"], scheme=IO).tags["E-MAIL"] == "I-E-MAIL"
    assert understand(["O", "E-MAIL"], scheme=IOE2).tags["E-MAIL"] == "E-MAIL"


def test_a_model_may_have_more() -> None:
    labels = ["[PAD]", "O", "B-PER", "I-PER", "X"]
    found = understand(labels, of_model=True)
    assert [found.tags[label] for label in labels] == ["O", "O", "B-PER", "I-PER", "I-X"]
    assert found.notes == ("[PAD] is read as O", "X is read as I-X")
    assert understand(["LABEL_0", "LABEL_1"], of_model=True).tags["LABEL_0"] == "I-LABEL_0"
    assert understand(["B_PER", "I_PER"], of_model=True).tags == {"B_PER": "B-PER", "I_PER": "I-PER"}
