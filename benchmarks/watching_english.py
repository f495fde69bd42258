"""English sentences with labels, made of templates: text in a language that the model was never shown."""

from __future__ import annotations

from random import Random

from affineur.entities import Sentence

TEMPLATES = (
    "{P} was born in {L} and studied law before joining {O} .",
    "The city of {L} announced on Tuesday that {O} would open a new office there .",
    "{P} , a spokesman for {O} , declined to comment .",
    "After the war , the family moved from {L} to {L} .",
    "Shares of {O} fell three percent in early trading .",
    "The novel {M} , written by {P} , won the prize last year .",
    "According to {P} , the bridge near {L} will be closed for two weeks .",
    "{O} and {O} signed an agreement in {L} yesterday .",
    "In {L} , heavy rain caused flooding along the river .",
    "He played for {O} from 1998 to 2004 and retired in {L} .",
    "The film {M} was directed by {P} and shot in {L} .",
    "{P} met {P} at the conference to discuss the new law .",
    "She has lived in {L} since her childhood .",
    "The committee rejected the proposal without a vote .",
    "Nobody was hurt , the police said .",
    "The museum shows paintings by {P} until the end of May .",
    "Doctors at {O} treated the patients during the night .",
    "The album {M} sold two million copies in {L} .",
    "Mr {P} will succeed {P} as chairman of {O} next month .",
    "The train from {L} was late again this morning .",
    "It is one of the oldest buildings in the country .",
    "Researchers at {O} published the results in March .",
    "The mayor of {L} , {P} , welcomed the decision .",
    "The magazine {M} is printed in {L} .",
)
NAMES = {
    "PER": (
        "John Whitaker",
        "Mary Collins",
        "Andrew O'Neill",
        "Susan Barclay",
        "Thomas Wright",
        "Emily Saunders",
        "Robert Hargreaves",
        "Linda Foster",
        "George Mbeki",
        "Anne Radcliffe",
        "Peter Lawson",
        "Grace Holloway",
        "William Tanner",
        "Helen Drummond",
        "David Okafor",
        "Rachel Stern",
    ),
    "LOC": (
        "London",
        "Manchester",
        "New York",
        "Boston",
        "Dublin",
        "South Africa",
        "Edinburgh",
        "Texas",
        "Sydney",
        "Lake Erie",
        "Birmingham",
        "Wales",
        "Nairobi",
        "Chicago",
        "Bristol",
        "New Zealand",
    ),
    "ORG": (
        "Barclays Bank",
        "the University of Leeds",
        "General Motors",
        "Oxford University Press",
        "Arsenal",
        "the Ministry of Defence",
        "British Airways",
        "Harlow Hospital",
        "Greenpeace",
        "the World Bank",
        "Northern Rail",
        "Microsoft",
        "the Labour Party",
        "Kings College",
    ),
    "MISC": (
        "The Silent Harbour",
        "Evening Standard",
        "Blue Horizon",
        "The Long Winter",
        "Broken Mirrors",
        "Paper Moon",
        "The Observer",
        "Summer of Love",
    ),
}
SLOTS = {"{P}": "PER", "{L}": "LOC", "{O}": "ORG", "{M}": "MISC"}


def english(count: int, seed: int = 5) -> list[Sentence]:
    """Fill the templates in turn; the article of an organization is not part of its name."""
    random = Random(seed)
    sentences = []
    for number in range(count):
        words: list[str] = []
        tags: list[str] = []
        for word in TEMPLATES[number % len(TEMPLATES)].split():
            kind = SLOTS.get(word)
            if kind is None:
                words.append(word)
                tags.append("O")
                continue
            for part in random.choice(NAMES[kind]).split():
                words.append(part)
                tags.append("O" if part == "the" and kind == "ORG" else f"I-{kind}")
        words[0] = words[0][:1].upper() + words[0][1:]
        sentences.append(Sentence(tuple(words), tuple(tags)))
    return sentences
