"""Case 44: what identifies people in French letters and has a form of its own is found by rules."""

from __future__ import annotations

import pytest

import affineur
from affineur.cli.main import main
from affineur.entities import Entity
from affineur.errors import ParameterError
from affineur.runtime.rules.core.rule import RULES, chosen_rules, find_by_rules, with_rules

#: What is to be found stands in angle brackets; our own texts.
FOUND = [
    "Écrire à <EMAIL|marie.duval@chu-nantes.fr>.",
    "<EMAIL|m.duval @ aphp.fr>",
    "Voir <URL|https://www.ameli.fr/assure?x=1>, <URL|www.ameli.fr> et <URL|sante.gouv.fr>.",
    "Tél : <PHONE|06 12 34 56 78>, <PHONE|0612345678>, <PHONE|02.40.11.22.33>, <PHONE|02-40-11-22-33>",
    "<PHONE|+33 6 12 34 56 78>, <PHONE|+33 (0)2 40 11 22 33>, <PHONE|0033 6 12 34 56 78>",
    "À Bruxelles : <PHONE|+32 2 555 12 12>",
    "poste <PHONE|4512>, tél. <PHONE|03 01 23.56 74>, n° vert <PHONE|0 800 123 456>",
    "NIR <NIR|1 85 05 78 006 084 91>, <NIR|185057800608491>",
    "Née en Corse : <NIR|2 85 05 2A 004 123 06>, <NIR|2 85 05 2B 004 123 33>",
    "sécurité sociale : <NIR|1 85 05 78 006 084>",
    "IBAN : <IBAN|FR76 3000 6000 0112 3456 7890 189> BIC AGRIFRPP",
    "compte <IBAN|FR7630006000011234567890189>, <IBAN|DE89 3704 0044 0532 0130 00>",
    "le <DATE|12/03/2020>, <DATE|12.03.2020>, <DATE|2020-03-12>, <DATE|1er mars 2022>, <DATE|03/2015>",
    "<DATE|lundi 3 mai 1985>, le <DATE|18 avril>, <DATE|nov. 2019>, le <DATE|12/03>",
    "né le <DATE|deux janvier mille neuf cent soixante-dix-huit>",
    "le <DATE|vingt-six février deux mille douze>",
    "12 rue Crébillon, <POSTCODE|44000> Nantes ; 3 rue X, <POSTCODE|44 000> NANTES CEDEX",
    "IPP : <IPP|8001234567>, IPP n° <IPP|123456> ; plus loin <IPP|8001234567>",
    "NDA : <NDA|20H847569>, dossier n° <NDA|123456>",
    "RPPS : <RPPS|10001234567>, FINESS <FINESS|440000289>, ADELI : <ADELI|441234567>",
    "voiture <PLATE|AB-123-CD>",
]

NOTHING = [
    "TA 12/8, pouls 72, SpO2 98 %, 3 mois, 2 fois par jour, score 4/10, 12 mg/24 h",
    "Hémoglobine 13,5 g/dl, leucocytes 10000 UI, plaquettes 250000 /mm3, créatinine 32",
    "En 1981, puis en 2005 ; vers 14h30 ; version 1.2.3 ; article L.322-3",
    "faux : 1850578006084 92 ; 12 34 56 78 90 ; 1 850 578 006 084 91",
    "dix-sept cas, vingt sept lits ; le mois de mai, un jour de mars, la fin août",
    "IPP non communiqué ; RPPS 12 ; dossier complet",
    "FR76 3000 6000 0112 3456 7890 188 sans la bonne clé",
    "12345 patients, réf. 44000 Nantes",
]


@pytest.mark.parametrize("marked", FOUND)
def test_what_is_found(marked: str) -> None:
    text, expected = "", []
    for part in marked.split("<"):
        kind, bar, rest = part.partition("|")
        if not bar:
            text += part
            continue
        word, _, after = rest.partition(">")
        expected.append((kind, word))
        text += word + after
    found = find_by_rules(text, chosen_rules("fr"))
    assert [(each.type, each.word) for each in found] == expected
    assert all(each.word == text[each.start : each.end] for each in found)


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_none(text: str) -> None:
    assert find_by_rules(text, chosen_rules("fr")) == []


def test_each_rule_can_be_switched() -> None:
    text = "Le 3 mai 2020, 06 12 34 56 78, a@b.fr"

    def types(asked: object) -> list[str]:
        return [each.type for each in find_by_rules(text, chosen_rules(asked))]  # type: ignore[arg-type]

    assert types("fr") == ["DATE", "PHONE", "EMAIL"]
    assert (
        types("fr:email,phone") == types(["fr:email", "fr:phone"]) == types("fr:-date") == ["PHONE", "EMAIL"]
    )
    assert types(None) == []
    for asked, said in (
        ("fr:emial", "did you mean 'email'"),
        ("frr", "expected one of fr"),
        ("fr:", "no rule"),
    ):
        with pytest.raises(ParameterError, match=said):
            chosen_rules(asked)
    assert all(rule.summary for rule in RULES.get("fr").rules.values())


def test_nothing_that_a_model_found_is_lost_beside_a_rule() -> None:
    text = "Marie Duval a@b.fr et Rose, 44000 Nantes"
    whole = Entity("PER", text[:18], 0, 18, 0.9)
    place = Entity("LOC", text[28:], 28, len(text), 0.8)
    found = with_rules(text, [whole, place], chosen_rules("fr"))
    assert [(each.type, each.word) for each in found] == [
        ("PER", "Marie Duval"),
        ("EMAIL", "a@b.fr"),
        ("POSTCODE", "44000"),
        ("LOC", "Nantes"),
    ]


def test_from_the_command_line_and_python(shared_model, capsys: pytest.CaptureFixture[str]) -> None:
    model = shared_model()
    text = "Rappeler le 06 12 34 56 78 ou a@b.fr."
    assert main(["predict", str(model), text, "--redact", "--rules", "fr", "-q"]) == 0
    said = capsys.readouterr().out
    assert "[PHONE]" in said
    assert "[EMAIL]" in said
    found = affineur.load(model)([text, "rien"], rules="fr:email")
    assert "a@b.fr" in [each.word for each in found[0] if each.type == "EMAIL"]
    assert not [each for each in found[0] if each.type == "PHONE"]
    assert main(["predict", str(model), text, "--strategy", "none", "--rules", "fr", "-q"]) == 1
