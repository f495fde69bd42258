from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from affineur.entities import split_words


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in split_words(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("L'équipe de l’Olympique", ["L'", "équipe", "de", "l’", "Olympique"]),
        ("Qu'il vienne jusqu'à lorsqu’elle", ["Qu'", "il", "vienne", "jusqu'", "à", "lorsqu’", "elle"]),
        ("aujourd'hui Aujourd’hui", ["aujourd'hui", "Aujourd’hui"]),
        ("d'aujourd'hui", ["d'", "aujourd'hui"]),
        ("C'est-à-dire que c’est", ["C'est-à-dire", "que", "c’", "est"]),
        ("les prud'hommes", ["les", "prud'hommes"]),
        ("L'Haÿ-les-Roses", ["L'", "Haÿ-les-Roses"]),
        ("O'Brien", ["O'Brien"]),
        ("Conan O’Brien d'Arc", ["Conan", "O’Brien", "d'", "Arc"]),
        ("Saint-Étienne-du-Rouvray", ["Saint-Étienne-du-Rouvray"]),
        ("Où va-t-il ?", ["Où", "va", "-t-il", "?"]),
        ("dit-elle, vont-ils", ["dit", "-elle", ",", "vont", "-ils"]),
        ("celui-ci et celle-là", ["celui", "-ci", "et", "celle", "-là"]),
        ("là-bas, rendez-vous", ["là-bas", ",", "rendez-vous"]),
        ("La S.N.C.F. et l'U.R.S.S.", ["La", "S.N.C.F.", "et", "l'", "U.R.S.S."]),
        ("J.-P. Morvan et J. Morvan", ["J.-P.", "Morvan", "et", "J.", "Morvan"]),
        ("M. Dupont, MM. X, Mgr. Y", ["M.", "Dupont", ",", "MM.", "X", ",", "Mgr.", "Y"]),
        ("Paris. Lyon.", ["Paris", ".", "Lyon", "."]),
        (
            "3,5 % de 12.000,50 € en 1998, 2,",
            ["3,5", "%", "de", "12.000,50", "€", "en", "1998", ",", "2", ","],
        ),
        ('« Bonjour » “oui” "non"', ["«", "Bonjour", "»", "“", "oui", "”", '"', "non", '"']),
        ("Ah... bon… (si)", ["Ah", "...", "bon", "…", "(", "si", ")"]),
        ("AT&T et R&D", ["AT&T", "et", "R&D"]),
        ("l'e\u0301te\u0301 arrive", ["l'", "e\u0301te\u0301", "arrive"]),
        ("👍🏽Paris 🇫🇷", ["👍🏽", "Paris", "🇫🇷"]),
        ("à\u00a0Paris\u2028Lyon\u3000Nice\u1680Lille", ["à", "Paris", "Lyon", "Nice", "Lille"]),
        ("Paris\u200b,\ufeffLyon", ["Paris", "\u200b", ",", "\ufeff", "Lyon"]),
        ("\ud800a \udfff", ["\ud800", "a", "\udfff"]),
        ("", []),
        (" \t\n\r\u2029 ", []),
    ],
)
def test_french(text: str, words: list[str]) -> None:
    assert cut(text) == words


# Any code point, lone surrogates too, and a good share of what the rules look at.
ANY_TEXT = st.lists(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs", "Mn", "Mc", "Cf", "Zs", "So"]),
        st.sampled_from(
            [
                "l'",
                "L’",
                "-",
                "-t-il",
                "-là",
                ".",
                "...",
                ",",
                " ",
                "\n",
                "3",
                "a",
                "É",
                "aujourd'hui",
                "M. ",
                "S.N.",
                "\u0301",
                "👩‍💻",
                "_",
                "&",
            ]
        ),
    ),
    max_size=25,
).map("".join)


@settings(deadline=None, max_examples=400)
@given(ANY_TEXT)
@example("e\u0301\u0301'\u0301-\u200d")
@example("\ud83d\ude00l'\ud83d")
def test_words_are_ordered_and_cover_every_character_that_is_no_space(text: str) -> None:
    spans = split_words(text)
    assert all(start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    covered = [i for start, end in spans for i in range(start, end)]
    assert covered == [i for i, character in enumerate(text) if not character.isspace()]


@settings(deadline=None, max_examples=100)
@given(ANY_TEXT, ANY_TEXT)
def test_a_paragraph_does_not_depend_on_the_next(first: str, second: str) -> None:
    """A blank line may only tell an initial or an abbreviation from the end of a sentence."""
    alone = cut(first.replace(".", "")) + cut(second)
    assert cut(first.replace(".", "") + "\n\n" + second) == alone


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a" * 1_000_000, id="one word"),
        pytest.param("e\u0301" * 200_000, id="combining marks"),
        pytest.param("1" * 1_000_000 + "a", id="digits"),
        *(
            pytest.param(piece * 200_000 + end, id=f"{piece} … {end}")
            for piece in (
                "a-",
                ".",
                "a.",
                "'",
                "l'",
                "-",
                "-t-",
                "-t-il",
                "a-il-",
                "1,",
                "11.",
                "a.-",
                "qu'",
                "&",
                "a&",
                "_",
                "\u200d",
                "a. ",
                "prud'hom",
                "« ",
            )
            for end in ("", "bb", "1a")
        ),
        pytest.param("a." + " " * 500_000 + "-", id="spaces after an initial"),
    ],
)
def test_time_is_linear(text: str) -> None:
    spans = split_words(
        text
    )  # a rule that looked at half a million characters from each of them would not end
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text.rstrip())
