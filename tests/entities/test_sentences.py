from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from affineur.entities import line_starts, split_sentences, split_words

from .test_words import ANY_TEXT


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Il dort.| Elle lit !| Et lui ?| Rien…| Fin",
        "M. Dupont, Mme. Martin et le Dr. Le Goff sont venus.| Me Petit aussi.",
        "J. Morvan et J.-P. Duval vivent.| La S.N.C.F. recrute l'U.R.S.S. Staline.| Fin.",
        "Voir l'art. 3 et l'art. L. 123, p. 12, vol. II, fig. 4.| Puis rien.",
        "Des poires, etc. et des pommes, etc.| Les prunes, av. J.-C. et apr. J.-C.| Il part.",
        "Il a 3,5 ans, 12.000 F et 1.5 kg.| Il est né en 1998.| Le 3 mai 2024 aussi.",
        "1. Lucie Faure dort.| 2. Hugo lit.| 3.1. Paul mange.",
        "« Viens ! » dit-il.| « Oui. »| Elle vint.| (Voir plus haut.)| Fin.",
        '"Viens."| Il vint.| Pourquoi ? demanda-t-elle.| Ah... oui.| Bon...| Alors ?!| Si.',
        "Écrire à a.b@c.fr ou à www.c.fr/x.html.| Merci.",
        "12 bd. Voltaire, tél. 02 98, réf. 12.| Bien à vous.",
        "张伟在北京。|他很好！|“好。”|走",
        "राम घर गया।| सीता आई।",
        "Madame,\n|Veuillez agréer.",
        "Nom : Lucie Faure\n|Médecin : Hugo Blanc",
        "- Lucie, médecin\n|- Hugo, infirmier\n|• Paul",
        "a\t|b\t\n|c",
        "Il travaille à l'hôpital de\nBrest depuis 2012.| Oui.",
        "Une lettre dont les lignes sont coupées à soixante-dix signes comme\nautrefois dans les courriers.",
        "Une lettre dont les lignes sont coupées à soixante-dix signes pour\nBrest, Nantes et Rennes.",
        "Saint-\nNazaire est une hospita-\nlisation.",
        "M.\nDupont dort.\n|Elle lit",
        "Il dort\n|Elle lit\n|Le chat aussi",
        "ÉVOLUTION CLINIQUE\n|Toulouse\n|Le patient va bien.",
        "",
    ],
)
def test_french(text: str) -> None:
    wanted = [part.strip() for part in text.split("|")] if text else []
    assert cut(text.replace("|", "")) == wanted


def test_lines_begin_where_nothing_goes_on() -> None:
    assert line_starts("Lucie\nHugo\tPaul") == [6, 11]
    assert line_starts("l'hôpital de\nBrest. Il dort.") == []
    assert line_starts("") == []


@settings(deadline=None, max_examples=400)
@given(ANY_TEXT)
@example("a.\n b.\t\n\x85 C. D")
def test_sentences_are_ordered_and_cover_every_character_that_is_no_space(text: str) -> None:
    spans = split_sentences(text)
    assert all(text[start:end].strip() == text[start:end] != "" for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert all(text[before[1] : after[0]].strip() == "" for before, after in pairwise(spans))
    assert sum(len("".join(text[a:b].split())) for a, b in spans) == len("".join(text.split()))
    # A line begins with a sentence.
    starts = {start for start, _ in spans}
    assert all(start in starts or not text[start:].strip() for start in line_starts(text))


@settings(deadline=None, max_examples=200)
@given(st.text("aB.!é '\n\t1-", max_size=40))
def test_no_sentence_ends_inside_a_word(text: str) -> None:
    ends = {end for _, end in split_sentences(text)}
    assert not any(start < end < stop for start, stop in split_words(text) for end in ends)


@pytest.mark.parametrize(
    "piece", ["a. ", "A. ", ".", " ", "\t", "a\n", "A B\n", "a-\n", "。", "» ", ". ' ", "!\n"]
)
def test_time_is_linear(piece: str) -> None:
    start = time.process_time()
    split_sentences(piece * 100_000 + "A")
    line_starts(piece * 100_000 + "A")
    assert time.process_time() - start < 30  # a rule that looked back to the beginning would take hours
