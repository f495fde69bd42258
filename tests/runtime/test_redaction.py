"""Redaction: nothing of a mention is left, everything comes back, pseudonyms are stable."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from affineur.entities import Entity, LabeledPiece
from affineur.errors import ParameterError
from affineur.runtime.redaction import STYLES, Redacted, Replacement, redact, restore

DOC = (Path(__file__).parents[2] / "docs" / "redaction.md").read_text("utf-8")
PARTS = (
    *(
        "Marie",
        "Paris",
        "Duval",
        "MARIE",
        "de",
        "Éli",
        "E\u0301li",
        "e\u0301",
        "\u0301",
        "😀",
        "👩‍👩‍👧",
        "𝐌𝐚𝐫𝐢𝐞",
        "日本",
        "\ud83d",
        "\x00",
        "\u00ad",
        "\u2011",
        "\u02bc",
    ),
    *(
        " ",
        " ",
        " ",
        "\u00a0",
        "\n",
        "-",
        "'",
        "’",
        ".",
        "_",
        "1",
        "[PER_1]",
        "[PER]",
        "[LOC_2]",
        "[",
        "]",
        "[PER_",
        "_1]",
    ),
)


def mention(text: str, word: str, kind: str = "PER", score: float = 0.9, nth: int = 0) -> Entity:
    """Make an entity of the nth place where a word stands."""
    start = [match.start() for match in re.finditer(re.escape(word), text)][nth]
    return Entity(kind, word, start, start + len(word), score)


AWKWARD = st.sampled_from(PARTS) | st.text(max_size=3)
PLAIN = st.sampled_from(
    ("Marie", "Paris", "Éli", "MARIE", "de", "1", " ", " ", " ", "\n", "-", "’", ".", "_")
)


@st.composite
def documents(draw: st.DrawFn, parts: st.SearchStrategy[str] = AWKWARD) -> tuple[str, list[Entity]]:
    """A text of such parts, and entities anywhere in it: inside clusters, over each other, empty."""
    text = "".join(draw(st.lists(parts, max_size=30)))
    place = st.integers(0, len(text))
    found = []
    for a, b, kind, score in draw(
        st.lists(
            st.tuples(place, place, st.sampled_from(("PER", "LOC", "[x]", "")), st.floats(0, 1)), max_size=8
        )
    ):
        start, end = sorted((a, b))
        found.append(Entity(kind, "the tokenizer's rendering", start, end, score))
    return text, found


def original_spans(redacted: Redacted) -> list[tuple[int, int]]:
    """Where the replaced words stood, from the words alone."""
    spans, grown = [], 0
    for placeholder, start, _, word in redacted.replacements:
        spans.append((start + grown, start + grown + len(word)))
        grown += len(word) - len(placeholder)
    return spans


def same_name(word: str) -> str:
    """A name by its letters and digits, whatever their case and accents."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", word).casefold())
    return "".join(filter(str.isalnum, plain)) or word


@given(documents(), st.sampled_from(STYLES))
def test_what_was_redacted_comes_back_to_the_character(document, style) -> None:
    text, entities = document
    redacted = redact(text, entities, style=style)
    assert restore(redacted.text, redacted.replacements) == text
    rows = json.loads(json.dumps([replacement._asdict() for replacement in redacted.replacements]))
    assert restore(redacted.text, [Replacement(**row) for row in rows]) == text


@given(documents(), st.sampled_from(STYLES))
@example(("[PER] : Jean", [Entity("PER", "Jean", 8, 12, 0.9)]), "type")
def test_entities_are_where_they_say_and_hold_placeholders(document, style) -> None:
    text, entities = document
    redacted = redact(text, entities, style=style)
    assert all(e.word == redacted.text[e.start : e.end] for e in redacted.entities)
    for e in redacted.entities:
        if style == "pseudonym":
            assert re.fullmatch(rf"\[{re.escape(e.type)}_[0-9]+\]", e.word)
        else:  # with as few stars as give what the text does not hold
            shapes = (f"[{e.type}{'*' * stars}]" for stars in range(len(text) + 1))
            assert e.word == next(shape for shape in shapes if shape not in text)
    assert [(e.word, e.start, e.end) for e in redacted.entities] == [r[:3] for r in redacted.replacements]
    spans = original_spans(redacted)
    assert all(text[a:b] == r.word for (a, b), r in zip(spans, redacted.replacements, strict=True))
    assert all(a < b for a, b in spans)
    assert all(b <= c for (_, b), (c, _) in pairwise(spans))


@given(documents(PLAIN))
def test_no_found_name_stands_anywhere_else_not_even_in_part(document) -> None:
    text, entities = document
    hidden = [False] * len(text)
    for start, end in original_spans(redact(text, entities)):
        hidden[start:end] = [True] * (end - start)
    assert all(all(hidden[entity.start : entity.end]) for entity in entities)
    for entity in entities:
        name = re.escape(text[entity.start : entity.end])
        whole = re.compile(rf"(?<![^\W_])(?=({name})(?![^\W_]))")
        if sum(map(str.isalpha, name)) >= 3 and whole.match(text, entity.start):
            for hit in whole.finditer(text):
                letters = [i for i in range(hit.start(), hit.end(1)) if text[i].isalnum()]
                assert all(hidden[i] for i in letters), (name, hit.start())


@given(documents(st.sampled_from(PARTS)))
def test_pseudonyms_are_one_to_one_and_new(document) -> None:
    text, entities = document
    redacted = redact(text, entities, style="pseudonym")
    names: dict[str, tuple[str, str]] = {}
    for entity, replacement in zip(redacted.entities, redacted.replacements, strict=True):
        assert replacement.placeholder not in text
        name = entity.type, same_name(replacement.word)
        assert names.setdefault(replacement.placeholder, name) == name
    assert len(set(names.values())) == len(names)


def test_types_and_pseudonyms() -> None:
    text = "Marie Duval vit à Paris ; MARIE\n duval y a vu Léa, loin de Lyon."
    found = [
        mention(text, w, k)
        for w, k in (
            ("Lyon", "LOC"),
            ("Marie Duval", "PER"),
            ("Paris", "LOC"),
            ("MARIE\n duval", "PER"),
            ("Léa", "PER"),
        )
    ]
    assert redact(text, found).text == "[PER] vit à [LOC] ; [PER] y a vu [PER], loin de [LOC]."
    redacted = redact(text, found, style="pseudonym")
    assert redacted.text == "[PER_1] vit à [LOC_1] ; [PER_1] y a vu [PER_2], loin de [LOC_2]."
    assert redacted.entities[0].as_dict() == {
        "entity_group": "PER",
        "score": 0.9,
        "word": "[PER_1]",
        "start": 0,
        "end": 7,
    }
    assert redacted.replacements[1] == ("[LOC_1]", 14, 21, "Paris")
    assert not {"Marie", "duval", "Paris", "Lyon", "Léa"} & set(re.findall(r"\w+", str(redacted.entities)))


def test_every_further_occurrence_goes_too() -> None:
    text = (
        "Avec Morvan, Élodie Petit. Morvans, de-Morvan_2.pdf, morvan, d’Élodie\u00a0Petit, "
        "E\u0301lodie Petit, Petit ; Morvan"
    )
    found = [mention(text, "Morvan", score=0.7), mention(text, "Élodie Petit", score=0.4)]
    redacted = redact(text, found, style="pseudonym")
    assert (
        redacted.text
        == "Avec [PER_1], [PER_2]. Morvans, de-[PER_1]_2.pdf, [PER_1], d’[PER_2], [PER_2], [PER_3] ; [PER_1]"
    )
    assert [e.score for e in redacted.entities] == [0.7, 0.4, 0.7, 0.7, 0.4, 0.4, 0.4, 0.7]
    assert restore(redacted.text, redacted.replacements) == text


def test_what_comes_first_in_the_text_has_the_first_number_found_or_not() -> None:
    text = "Paul, puis Léon ; encore Paul"
    assert (
        redact(text, [mention(text, "Léon"), mention(text, "Paul", nth=1)], style="pseudonym").text
        == "[PER_1], puis [PER_2] ; encore [PER_1]"
    )


def test_a_repetition_is_the_longest_name_and_the_first_type_and_never_in_a_mention() -> None:
    text = "Marie, Marie Curie, Lycée Marie Curie. Marie Curie ! Marie !"
    found = [
        mention(text, "Marie"),
        mention(text, "Marie Curie", "ORG"),
        mention(text, "Lycée Marie Curie", "LOC"),
        mention(text, "Marie", "LOC", nth=4),
    ]
    assert redact(text, found).text == "[PER], [ORG], [LOC]. [ORG] ! [LOC] !"
    text = "Curie, Marie Curie, Marie Curie"
    assert (
        redact(text, [mention(text, "Curie"), mention(text, "Marie Curie", "ORG")]).text
        == "[PER], [ORG], [ORG]"
    )
    text = "Marie Marie Marie"
    assert (
        redact(text, [mention(text, "Marie", "LOC", nth=1), mention(text, "Marie", "PER", nth=2)]).text
        == "[LOC] [LOC] [PER]"
    )


@pytest.mark.parametrize("name", ["X", "1 2", "Le", "Dr", "e\u0301", "\U0001d40b", "…"])
def test_what_is_too_short_for_a_name_is_not_looked_for(name: str) -> None:
    assert redact(f"{name} et {name}", [mention(f"{name} et {name}", name)]).text == f"[PER] et {name}"


@pytest.mark.parametrize("name", ["Li", "A1-2", "E\u0301a", "\U0001d40b\U0001d422", "Léa", "S.N.C", "日本"])
def test_two_letters_are_enough(name: str) -> None:
    assert redact(f"{name} et {name}", [mention(f"{name} et {name}", name)]).text == "[PER] et [PER]"


TYPOGRAPHY = (
    *(("Jeanne d'Arc", f"Jeanne d{sign}Arc") for sign in "\u2019\u2018\u02bc`\u00b4\uff07"),
    *(("Marie-Claude Petit", f"Marie{sign}Claude\u202fPetit") for sign in "\u2010\u2011\u2013\uff0d"),
    *(
        ("Solange Kerbrat", f"So{sign}lange{sign} {sign}Ker{sign}{sign}brat")
        for sign in "\u00ad\u200b\u2060\ufeff\u200e"
    ),
    ("Hélène Kerbrat", "HE\u0301LÈNE\nKERBRAT"),
    ("Strauß d'Arc", "STRAUSS D\u2019ARC"),
    ("\u00ab\u00a0Kerbrat,", "Kerbrat"),
    ("(Jean-Paul S.)", "JEAN\u2011PAUL S"),
    ("\u200bKerbrat", "Kerbrat"),
)


@pytest.mark.parametrize(
    ("name", "again"), [*TYPOGRAPHY, *((again, name) for name, again in TYPOGRAPHY[:-5])]
)
def test_a_repetition_is_found_however_it_is_set(name: str, again: str) -> None:
    text = f"{name} a vu l\u2019{again} ; {again}. {again}s, z{again}"
    redacted = redact(text, [mention(text, name, "LOC")], style="pseudonym")
    assert redacted.text == f"[LOC_1] a vu l\u2019[LOC_1] ; [LOC_1]. {again}s, z[LOC_1]"
    assert restore(redacted.text, redacted.replacements) == text


def test_what_nobody_sees_hides_no_repetition() -> None:
    unseen = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Cf"]
    text = " ; ".join(["Kerbrat", *(f"Ker{sign}brat" for sign in unseen)])
    assert redact(text, [mention(text, "Kerbrat")]).text == " ; ".join(["[PER]"] * (len(unseen) + 1))


def test_a_name_found_in_capitals_keeps_its_own_type() -> None:
    text = "Orange, ORANGE, ORANGE, Orange, une orange"
    assert (
        redact(text, [mention(text, "Orange", "LOC"), mention(text, "ORANGE", "ORG")]).text
        == "[LOC], [ORG], [ORG], [LOC], une orange"
    )


def test_punctuation_within_a_name_and_marks_at_its_end_count() -> None:
    hindi = "\u0939\u093f\u0928\u094d\u0926\u0940, \u0939\u093f\u0928\u094d\u0926"
    text = f"Jean-Paul, Jean Paul, {hindi}, Canal+, Canal"
    found = [mention(text, word) for word in ("Jean-Paul,", "\u0939\u093f\u0928\u094d\u0926\u0940", "Canal+")]
    assert redact(text, found).text == "[PER] [PER], [PER], \u0939\u093f\u0928\u094d\u0926, [PER], Canal"


def test_mentions_that_overlap_are_one_of_the_longer_then_the_surer_type() -> None:
    text = "ab cd ef gh ij"
    chain = [
        Entity("A", "ab cd", 0, 5, 0.9),
        Entity("B", "cd ef gh", 3, 11, 0.1),
        Entity("C", "gh ij", 9, 14, 0.5),
        Entity("D", "", 4, 4, 1.0),
    ]
    assert redact(text, chain).text == "[B]"
    assert redact(text, chain[::2]).text == "[A] ef [C]"
    assert redact(text, [Entity("A", "ab", 0, 2, 0.2), Entity("B", "b c", 1, 4, 0.3)]).text == "[B] ef gh ij"
    assert (
        redact(text, [Entity("A", "ab", 0, 2, 0.2), Entity("B", "ab", 0, 2, 0.3)]).text == "[B] cd ef gh ij"
    )


def test_pseudonyms_that_stand_in_the_text_are_skipped() -> None:
    text = "[PER_1] et [PER_3] et [LOC_1], dit Léa à Marc à Rome."
    found = [mention(text, "Léa"), mention(text, "Marc"), mention(text, "Rome", "MISC")]
    redacted = redact(text, found, style="pseudonym")
    assert redacted.text == "[PER_1] et [PER_3] et [LOC_1], dit [PER_2] à [PER_4] à [MISC_1]."
    assert restore(redacted.text, redacted.replacements) == text


def test_what_cannot_be_is_one_line() -> None:
    with pytest.raises(
        ParameterError,
        match=r"no redaction style 'pseudo', expected one of type, pseudonym; did you mean 'pseudonym'\?",
    ):
        redact("Léa", [], style="pseudo")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="an entity at 1-4 lies outside its text of 3 characters"):
        redact("Léa", [Entity("PER", "éa", 1, 4, 1.0)])
    with pytest.raises(ParameterError, match="expected whole entities"):
        redact("Léa", [LabeledPiece("I-PER", "▁Léa", 0, 3, 1.0, 1)])  # type: ignore[list-item]
    text = "Léa voit Marc"
    redacted = redact(text, [mention(text, "Léa"), mention(text, "Marc")])
    for changed, replacements in (
        (f" {redacted.text}", redacted.replacements),
        (redacted.text, redacted.replacements[::-1]),
        ("", redacted.replacements[:1]),
    ):
        with pytest.raises(ParameterError, match="belong to another text"):
            restore(changed, replacements)


def endless_name(many: int) -> tuple[str, list[Entity]]:
    """Return a text that goes on and on like a long name and never ends like it."""
    name = "Léa " * many + "Zoé"
    return f"{name}. {'Léa ' * many}", [Entity("PER", name, 0, len(name), 0.9)]


def many_names(many: int) -> tuple[str, list[Entity]]:
    """Return a text with very many names, each of them twice."""
    words = " ".join(f"Nom{n}" for n in range(many))
    names = [Entity("PER", match[0], *match.span(), 0.9) for match in re.finditer(r"\w+", words)]
    return f"{words} {words}", names


def lines_run(call: Callable[[], object]) -> int:
    """Count the lines of Python that a call takes: its time, but the same on every machine."""
    count, before = 0, sys.gettrace()

    def trace(frame: object, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("made", [endless_name, many_names])
def test_a_text_made_to_be_slow_is_not(made: Callable[[int], tuple[str, list[Entity]]]) -> None:
    some, twice = (lines_run(lambda n=n: redact(*made(n), style="pseudonym")) for n in (400, 800))
    assert twice < 2.2 * some  # each name against each place would be four times as many


def test_a_long_text_comes_back_whole() -> None:
    many = 20_000
    assert redact(*endless_name(many)).text == f"[PER]. {'Léa ' * many}"
    assert redact(*many_names(many), style="pseudonym").text.count(f"[PER_{many}]") == 2


def test_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", DOC, re.DOTALL)
    assert code is not None
    exec(compile(code[1], "redaction.md", "exec"), {})
    assert capsys.readouterr().out == code[2]
