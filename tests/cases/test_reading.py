"""Files that people brought, each with what it says, or with the line that refuses it.

The id of a case names where people reported the like. Rows of the list in the issue "What people bring" are
numbered as there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from affineur.entities import Corpus, Scheme, read_words, renaming_hint
from affineur.errors import AffineurError, DataError
from affineur.transfer import DataOptions, load_corpus
from affineur.transfer.formats.core.raw import kind_of

#: Camille Rey, two words of a person; Brest, a place. As most files here say it.
TWO = [["Camille/B-PER", "Rey/I-PER", "vit/O"], ["Brest/B-LOC"]]
IO_TWO = [["Camille/I-PER", "Rey/I-PER", "vit/O"], ["Brest/I-LOC"]]
ROWS = "Camille\tB-PER\nRey\tI-PER\nvit\tO\n\nBrest\tB-LOC\n"


def said(corpus: Corpus) -> list[list[str]]:
    return [[f"{w}/{t}" for w, t in zip(s.words, s.tags, strict=True)] for s in corpus]


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def case(source: str, name: str, text: str | bytes, wanted: Any = None, **options: Any) -> Any:
    return pytest.param(name, text, TWO if wanted is None else wanted, options, id=source)


SPELLINGS = {
    "BMES (seqscore#16)": "B-PER E-PER O S-LOC",
    "BMEOW (seqscore)": "B-PER E-PER O W-LOC",
    "BILOU (spaCy)": "B-PER L-PER O U-LOC",
    "IOE2 (chunklink)": "I-PER E-PER O E-LOC",
    "B_PER (elasticsearch#87091)": "B_PER I_PER O B_LOC",
    "PER-B (HanLP)": "PER-B PER-I O LOC-B",
    "lower case (case 3)": "b-per i-per o b-loc",
    "lower case prefix (case 3)": "b-PER i-PER O b-LOC",
    "digits (case 3, transformers token-classification)": "1 2 0 3",
}


def in_format(name: str, tags: list[str]) -> tuple[str, str]:
    """Write the two sentences in a format, with four tags."""
    rows = [(["Camille", "Rey", "vit"], tags[:3]), (["Brest"], tags[3:])]
    if name == "conll":
        return "x.conll", "\n".join("".join(f"{w}\t{t}\n" for w, t in zip(*row, strict=True)) for row in rows)
    if name == "wikiner":
        return "x.wikiner", "".join(
            " ".join(f"{w}|X|{t}" for w, t in zip(*row, strict=True)) + "\n" for row in rows
        )
    if name == "csv":
        cells = "\n\n".join("\n".join(f"{w},{t}" for w, t in zip(*row, strict=True)) for row in rows)
        return "x.csv", f"word,tag\n{cells}\n"
    objects = [{"tokens": words, "ner_tags": row_tags} for words, row_tags in rows]
    return ("x.jsonl", lines(*objects)) if name == "jsonl" else ("x.json", json.dumps(objects, indent=1))


@pytest.mark.parametrize("name", ["conll", "csv", "jsonl", "json"])
@pytest.mark.parametrize("tags", SPELLINGS.values(), ids=SPELLINGS)
def test_a_tag_is_the_same_in_every_format(name: str, tags: str, tmp_path: Path) -> None:
    file, text = in_format(name, tags.split())
    (tmp_path / file).write_text(text, "utf-8")
    names = ("O", "B-PER", "I-PER", "B-LOC") if "1" in tags else None
    found = load_corpus(tmp_path / file, options=DataOptions(tag_names=names))
    plain = [[each.replace("/L-", "/E-").replace("/U-", "/S-") for each in row] for row in said(found)]
    ended = [["Camille/B-PER", "Rey/E-PER", "vit/O"], ["Brest/S-LOC"]]
    assert plain == (ended if found.scheme is Scheme.BIOES else TWO)
    assert found.types == ("LOC", "PER")


@pytest.mark.parametrize("name", ["conll", "wikiner", "csv", "jsonl", "json"])
@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("1 2 0 3", "the tags are numbers and nothing names them; give tag_names"),
        ("B-PER I-PER O PP", "'PP' is not a tag"),
        ("B-PER I-PER O X-LOC", "'X-LOC' is not a tag"),
        ("B I O B", "names no type"),
        ("B-PER U-PER O S-LOC", "belong to no one scheme|does not exist in scheme IOB1"),
        ("PROPN PROPN VERB PROPN", "and no O, expected tags"),
        ("B-PER I-PER O E-MAIL", "may be a type of its own|does not exist in scheme IOB1"),
    ],
)
def test_what_is_no_tag_is_refused_in_every_format_with_its_line(
    name: str, tags: str, message: str, tmp_path: Path
) -> None:
    file, text = in_format(name, tags.split())
    (tmp_path / file).write_text(text, "utf-8")
    with pytest.raises(DataError, match=message) as caught:
        load_corpus(tmp_path / file)
    assert caught.value.line is not None


@pytest.mark.parametrize(
    ("name", "text", "wanted", "options"),
    [
        case("filesql#279 (5): line ends of Mac OS 9", "a.conll", ROWS.replace("\n", "\r")),
        case("Windows", "a.conll", ROWS.replace("\n", "\r\n")),
        case(
            "byte order marks of files put together", "a.conll", "\ufeff" + ROWS.replace("\n\n", "\n\n\ufeff")
        ),
        case("flair#1866: CoNLL-U comments", "a.conll", f"# sent_id = 1\n# text = Camille Rey vit\n{ROWS}"),
        case("dkpro-core#1005: a word #", "a.conll", "#\tO\n# \tO\n", [["#/O", "# /O"]]),
        case("a word # between spaces", "a.conll", "# O\n#metoo O\n", [["#/O", "#metoo/O"]]),
        case("comments first and last", "a.conll", f"# Corpus de test\n\n{ROWS}\n# fin du fichier\n"),
        case(
            "MultiCoNER",
            "a.conll",
            "# id 5239d808-f300\tdomain=fr\nCamille _ _ B-PER\nRey _ _ I-PER\nvit _ _ O\n\n"
            "# id 5239d808-f301\tdomain=fr\nBrest _ _ B-LOC\n",
        ),
        case(
            "Universal NER",
            "fr-ud-test.iob2",
            "# sent_id = 1\n# text = Camille Rey vit\n1\tCamille\tB-PER\t-\tanna\n2\tRey\tI-PER\t-\tanna\n"
            "3\tvit\tO\t-\tanna\n\n# sent_id = 2\n1\tBrest\tB-LOC\t-\tanna\n",
        ),
        case(
            "GermEval 2014: outer tags",
            "NER-de-test.tsv",
            "#\thttp://de.wikipedia.org/wiki/Manfred\t[2009-10-17]\n1\tCamille\tB-PER\tB-LOC\n2\tRey\tI-PER\tO\n"
            "3\tvit\tO\tO\n\n#\thttp://de.wikipedia.org/wiki/X\t[2009-10-18]\n1\tBrest\tB-LOC\tO\n",
        ),
        case(
            "GermEval 2014: nested tags",
            "a.tsv",
            "1\tTU\tB-ORG\tO\n2\tDarmstadt\tI-ORG\tB-LOC\n",
            [["TU/O", "Darmstadt/B-LOC"]],
            tag_column=3,
        ),
        case(
            "counted words in five columns",
            "a.conll",
            "1\tCamille\tNNP\tB-NP\tB-PER\n2\tRey\tNNP\tI-NP\tI-PER\n3\tvit\tVBZ\tB-VP\tO\n\n"
            "1\tBrest\tNNP\tB-NP\tB-LOC\n",
        ),
        case(
            "CoNLL-2003 is IOB1",
            "eng.testa",
            "-DOCSTART- -X- -X- O\n\nCamille NNP I-NP I-PER\nRey NNP B-NP B-PER\n"
            "vit VBZ I-VP O\n\nBrest NNP I-NP I-LOC\n",
            [["Camille/B-PER", "Rey/B-PER", "vit/O"], ["Brest/B-LOC"]],
        ),
        case(
            "IOE1",
            "a.conll",
            "Camille\tE-PER\nRey\tI-PER\nvit\tO\n\nBrest\tI-LOC\n",
            [["Camille/B-PER", "Rey/B-PER", "vit/O"], ["Brest/B-LOC"]],
        ),
        case("a heading", "a.tsv", "Word\tNER_tag\n" + ROWS),
        case(
            "columns by name",
            "a.tsv",
            "lemma\tforme\tentite\n" + "camille\tCamille\tB-PER\nrey\tRey\tI-PER\n"
            "vivre\tvit\tO\n\nbrest\tBrest\tB-LOC\n",
            word_column="forme",
            tag_column="entite",
        ),
        case(
            "no-break spaces and line separators stay in words",
            "a.conll",
            "1\xa0000\tO\na\u2028b\tB-PER\n",
            [["1\xa0000/O", "a\u2028b/B-PER"]],
        ),
        case("no-break space after a tag", "a.conll", ROWS.replace("B-PER", "B-PER\xa0")),
        case(
            "types named O and E-MAIL (transformers#30028)",
            "a.conll",
            "x\tB-O\ny\tB-E-MAIL\nz\tO\n",
            [["x/B-O", "y/B-E-MAIL", "z/O"]],
        ),
        case(
            "bare types, one like a prefix",
            "a.conll",
            "x\tE-MAIL\ny\tPER\nz\tO\n",
            [["x/I-E-MAIL", "y/I-PER", "z/O"]],
        ),
        case("a file without suffix", "note", ROWS),
        case(
            "JSON lines under another name",
            "data.conll",
            lines({"words": ["a"], "labels": ["B-PER"]}),
            [["a/B-PER"]],
        ),
        case(
            "a JSON array",
            "a.json",
            json.dumps([{"tokens": ["a"], "tags": ["PER"]}, {"tokens": ["b"], "tags": ["O"]}]),
            [["a/I-PER"], ["b/O"]],
        ),
        case(
            "columns of JSON by name",
            "a.jsonl",
            lines({"mots": ["a"], "etiq": ["B-PER"]}),
            [["a/B-PER"]],
            word_column="mots",
            tag_column="etiq",
        ),
        case("CSV without heading", "a.csv", ROWS.replace("\t", ",")),
        case("CSV with semicolons", "a.csv", "mot;tag\n" + ROWS.replace("\t", ";")),
        case("CSV under another name", "a.dat", "word,tag\n" + ROWS.replace("\t", ",")),
        case(
            "CSV of pandas",
            "a.csv",
            ',Word,POS,Tag\n0,",",X,O\n1,"a ""b""",X,B-PER\n',
            [[",/O", 'a "b"/B-PER']],
        ),
        case(
            "CSV of Kaggle's annotated corpus",
            "ner.csv",
            "Sentence #,Word,POS,Tag\nSentence: 1,Camille,NNP,B-PER\n,Rey,NNP,I-PER\n,vit,VBZ,O\n"
            "Sentence: 2,Brest,NNP,B-LOC\n",
        ),
        case(
            "CSV of sentences",
            "a.csv",
            'text,labels\nCamille Rey vit,B-PER I-PER O\n"Brest ,",B-LOC O\n',
            [TWO[0], ["Brest/B-LOC", ",/O"]],
        ),
        case(
            "CSV of lists",
            "a.csv",
            "tokens,ner_tags\n\"['Camille', 'Rey', 'vit']\",\"['B-PER', 'I-PER', 'O']\"\n"
            '"[""Brest""]","[""B-LOC""]"\n',
        ),
    ],
)
def test_read(name: str, text: str | bytes, wanted: Any, options: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert said(load_corpus(path, options=DataOptions(**options))) == wanted


RAGGED = "Camille NNP B-NP B-PER\nRey NNP I-NP I-PER\nvit VBZ B-VP O\nà IN B-PP\nBrest NNP B-NP B-LOC\n"


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("a.conll", RAGGED, 4, r"found 3 columns \('à IN B-PP'\), expected 4 as in the lines before"),
        ("a.conll", RAGGED.replace(" ", "\t"), 4, "found 3 columns"),
        ("a.conll", ROWS + "Le Mans\n", 6, "found 2 columns .*, expected 2 separated by tabs"),
        ("a.conll", ROWS + "Rey B-PER I-PER\n", 6, "expected 2 separated by tabs"),
        ("a.conll", ROWS.replace("\t", " ") + "Rey B-PER I-PER\n", 6, "found 3 columns"),
        ("a.conll", "Camille\xa0B-PER\n", 1, "found one column"),
        ("a.conll", "a\tO\n# mal placé\n", 2, "a comment within a sentence"),
        ("a.conll", "a\tO\n\n#\t\n", 3, "found one column"),
        ("a.conll", "O-PER\tO-PER\nb\tB-PER\n", 1, "'O-PER' is not a tag"),
        ("a.conll", "a\tB-PER\nb\tB-\n", 2, "'B-' is not a tag"),
        ("a.conll", "a\tB-PER\n\nb\tO\nc\tI-PER\n", 4, "tag I-PER follows O"),
        ("a.conll", "a\0b\tO\n", 1, "a NUL character"),
        ("a.conll", "a\tO\n".encode("utf-16"), 1, "not UTF-8"),
        ("a.csv", "word,tag\nMarie,B-PER\nLe,Mans,B-LOC\n", 3, "found 3 cells, expected 2"),
        ("a.csv", 'word,tag\nMarie,B-PER\n"vit,O\n', 3, "quotation mark"),
        ("a.csv", "word,tag\nMarie,\n", 2, "the tag is empty"),
        ("a.jsonl", lines({"tokens": ["a"], "tags": ["B-PER"]}) + "[1]\n", 2, "row 2: found a list"),
        ("a.json", '[{"tokens": ["a"], "tags": ["O"]} {"tokens"', 2, "row 2: not JSON"),
        ("a.json", '[{"tokens": ["a"], "tags": ["O"]}', 2, "row 2: not JSON"),
        ("a.json", '[{"tokens": ["a"], "tags": ["O"]}] x', 2, "row 2: not JSON .something follows"),
        ("a.wikiner", "a|X|O\n\nb|X|O c|X|PP d|X|I-LOC\n", 3, "'PP' is not a tag"),
        ("note", "Lucie Faure vit à Brest.\n", None, "no format of labeled text was recognized"),
        ("note.md", "Lucie Faure\nHugo Blanc\n", None, "no format of labeled text was recognized"),
        ("x.bin", b"\x80\x81\x82", None, "no format of labeled text was recognized"),
    ],
)
def test_refused_with_its_line(
    name: str, text: str | bytes, line: int | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(AffineurError, match=message) as caught:
        load_corpus(path)
    assert getattr(caught.value, "line", None) == line


def test_a_format_that_is_named_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a,b\tO\nc,d\tB-PER\n", "utf-8")
    assert said(load_corpus(path, options=DataOptions(format="conll"))) == [["a,b/O", "c,d/B-PER"]]
    with pytest.raises(AffineurError, match="no data format 'conl', expected one of annotated, brat, conll"):
        load_corpus(path, options=DataOptions(format="conl"))


@pytest.mark.parametrize(
    "names",
    [
        ("train.tsv", "dev.tsv", "test.tsv"),
        ("train.iob2", "valid.iob2", "test.iob2"),
        ("train.bioes", "validation.bioes", "test.bioes"),
        ("train.csv", "dev.csv", "test.csv"),
        ("eng.train", "eng.testa", "eng.testb"),
        ("train.txt", "testa.txt", "testb.txt"),
        ("fr_pud-ud-train.iob2", "fr_pud-ud-dev.iob2", "fr_pud-ud-test.iob2"),
        ("NER-de-train.tsv", "NER-de-dev.tsv", "NER-de-test.tsv"),
        ("train.json", "dev.json", "test.json"),
    ],
)
def test_folders_under_the_names_that_people_use(names: tuple[str, ...], tmp_path: Path) -> None:
    for place, name in enumerate(names):
        text = f"word{place}\tB-PER\n"
        if name.endswith("json"):
            text = json.dumps([{"tokens": [f"word{place}"], "tags": ["B-PER"]}])
        elif name.endswith("csv"):
            text = "word,tag\n" + text.replace("\t", ",")
        (tmp_path / name).write_text(text, "utf-8")
    for place, split in enumerate(("train", "dev", "test")):
        assert said(load_corpus(tmp_path, split)) == [[f"word{place}/B-PER"]]


@pytest.mark.parametrize(
    ("types", "hint"),
    [
        ("DRUG", "rename with label_map DRUG=TYPE, or DRUG=O to drop it"),
        ("PERSON GPE DRUG", "rename with label_map PERSON=PER,GPE=LOC (or =O to drop it)"),
        ("per", "rename with label_map per=PER (or =O to drop it)"),
        ("ORG", "rename with label_map ORG=TYPE, or ORG=O to drop it"),
    ],
)
def test_a_hint_proposes_nothing_untrue(types: str, hint: str) -> None:
    """Row 11: data with type DRUG for a model of LOC and PER was told to call it LOC."""
    assert renaming_hint(types.split(), ("LOC", "PER")) == hint


ANNOTATED = [
    ("note", "Lucie Faure vit à Brest.\nHugo Blanc aussi.\n", "text"),
    ("letter.md", "Madame,\n\nLucie Faure vit à Brest.\n", "text"),
    ("a.log", json.dumps({"text": "Lucie"}) + "\n", "json"),
    ("a.dat", ROWS, "conll"),
    ("a.conll", "Lucie\nFaure\n\nvit\n", "conll"),
    ("a.txt", "Lucie Faure vit.\n", "text"),
    ("a.txt", "Lucie\n", "text"),
    ("a.jsonl", json.dumps({"text": "Lucie"}) + "\n", "json"),
    ("a.txt", ROWS, "this looks like words and tags"),
    ("words", "Lucie\nFaure\n", "nothing tells what this is"),
    ("a.csv", ROWS.replace("\t", ","), r"this is labeled text \(csv\)"),
]


@pytest.mark.parametrize(("name", "text", "wanted"), ANNOTATED)
def test_what_a_file_to_annotate_is_taken_for(name: str, text: str, wanted: str, tmp_path: Path) -> None:
    """Row 6: of a file without suffix only the first word of each line was left."""
    (tmp_path / name).write_text(text, "utf-8")
    if wanted in ("text", "json", "conll"):
        assert kind_of(tmp_path / name) == wanted
        return
    with pytest.raises(DataError, match=wanted):
        kind_of(tmp_path / name)
    assert kind_of(tmp_path / name, "text") == "text"


def test_words_of_columns_with_comments_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    text = "# newdoc\n# text = du lac #\n1-2\tdu\t_\n1\tde\t_\n2\tle\t_\n3\t#\t_\n\n1\toui\t_\n"
    path.write_text(text, "utf-8")
    assert list(read_words(path)) == [(1, ["de", "le", "#"]), (0, ["oui"])]
    path.write_text("Lucie\nFaure\nvit à Brest\n", "utf-8")
    with pytest.raises(DataError, match=r"found 3 columns .*expected 1") as caught:
        list(read_words(path))
    assert caught.value.line == 3


def test_two_files_of_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("fr-train.conll", "en-train.conll"):
        (tmp_path / name).write_text(ROWS, "utf-8")
    with pytest.raises(DataError, match=r"en-train\.conll and fr-train\.conll may both be train"):
        load_corpus(tmp_path, "train")
