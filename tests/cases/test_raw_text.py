"""Raw text as people bring it: lines, tabs, scripts of all kinds, several sentences."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from affineur.entities import Scheme, Sentence, split_words
from affineur.entities.corpus import Corpus
from affineur.errors import ParameterError
from affineur.measure import evaluate
from affineur.measure.documents import as_documents
from affineur.runtime import Encoder, EngineTagger, Logits, PredictOptions, annotate_rows, redact
from affineur.serve.parameters import Parameters, shown

NAMES = ("Lucie", "Faure", "Hugo", "Blanc", "lucie", "faure", "hugo", "blanc")


class Names(EngineTagger):
    """Knows names of people and nothing else, whatever stands around them; labels them in IO."""

    def __init__(self, labels: tuple[str, ...] = ("O", "I-PER"), forgetful: bool = False) -> None:
        vocabulary = {word: place for place, word in enumerate(("[PAD]", "[UNK]", *NAMES))}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        super().__init__(Encoder(tokenizer, 64, 0), labels)
        self._forgetful = forgetful
        self.shown: list[int] = []

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Logits:
        self.shown += mask.sum(axis=1).tolist()
        logits = np.zeros((*ids.shape, len(self.labels)), np.float32)
        logits[..., 0] = 1
        known = ids > 1
        if self._forgetful:  # as models that learned from single sentences are
            known &= (mask.sum(axis=1) < 12)[:, None]
        logits[known, 1] = 5
        return logits


LINES = [
    pytest.param("Lucie Faure\nHugo Blanc\n", "[PER_1]\n[PER_2]\n", id="stanza#660"),
    pytest.param("Lucie Faure\r\nHugo Blanc\r\n", "[PER_1]\r\n[PER_2]\r\n", id="CRLF"),
    pytest.param("Lucie Faure\rHugo Blanc", "[PER_1]\r[PER_2]", id="old Mac"),
    pytest.param("Lucie Faure\n\nHugo Blanc", "[PER_1]\n\n[PER_2]", id="blank line"),
    pytest.param("Lucie Faure\n \t\nHugo Blanc", "[PER_1]\n \t\n[PER_2]", id="blank line with spaces"),
    pytest.param("Lucie Faure\tHugo Blanc", "[PER_1]\t[PER_2]", id="tab"),
    pytest.param("Lucie Faure\u2028Hugo Blanc", "[PER_1]\u2028[PER_2]", id="line separator"),
    pytest.param("Lucie Faure\x0cHugo Blanc", "[PER_1]\x0c[PER_2]", id="page"),
    pytest.param("lucie faure\nhugo blanc", "[PER_1]\n[PER_2]", id="lower case"),
    pytest.param("- Lucie Faure\n- Hugo Blanc", "- [PER_1]\n- [PER_2]", id="list"),
    pytest.param("Dr Lucie Faure\nHugo Blanc", "Dr [PER_1]\n[PER_2]", id="signature"),
    pytest.param(
        "suivi par Lucie Faure\nHugo Blanc dort mal", "suivi par [PER_1]\n[PER_2] dort mal", id="notes"
    ),
    pytest.param("nom\tLucie Faure\nnom\tHugo Blanc", "nom\t[PER_1]\nnom\t[PER_2]", id="table"),
    # Plainly wrapped within a sentence, and the model says I-.
    pytest.param("le docteur Lucie\nFaure a écrit.", "le docteur [PER_1] a écrit.", id="wrapped"),
    pytest.param("madame Lucie\n  Faure, née à Brest", "madame [PER_1], née à Brest", id="wrapped, indented"),
    pytest.param("madame Lucie\nFaure dort", "madame [PER_1] dort", id="wrapped, short"),
]


@pytest.mark.parametrize("context", [None, "document"])
@pytest.mark.parametrize(("text", "hidden"), LINES)
def test_a_line_end_or_a_tab_ends_a_mention(text: str, hidden: str, context: str | None) -> None:
    found = Names().predict(text, context=context)  # type: ignore[call-overload]
    assert redact(text, found, style="pseudonym").text == hidden
    assert all(each.word == text[each.start : each.end] for each in found)


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
@pytest.mark.parametrize(("text", "hidden"), LINES)
def test_it_does_by_the_strategies_of_transformers_where_texts_are_cut(
    text: str, hidden: str, strategy: str
) -> None:
    model = Names()
    answer = shown(
        text,
        model.predict(text, strategy=strategy, context="sentence"),  # type: ignore[call-overload]
        Parameters(aggregation_strategy=strategy, redact="pseudonym"),  # type: ignore[arg-type]
    )
    assert answer["text"] == hidden
    # Its own pipeline lets a mention run over lines, and equal to it is what is promised.
    asked = Parameters(aggregation_strategy=strategy).predict_options()  # type: ignore[arg-type]
    assert not asked.by_sentence
    assert Parameters(aggregation_strategy=strategy, redact="type").predict_options().by_sentence  # type: ignore[arg-type]


def test_a_mention_that_begins_anew_is_another_one_in_a_wrapped_line() -> None:
    class Begins(Names):
        def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Logits:
            logits = super().forward(ids, mask)
            logits[ids == 3, 2] = 9  # Faure
            return logits

    found = Begins(("O", "I-PER", "B-PER")).predict("le docteur Lucie\nFaure a écrit.")
    assert [each.word for each in found] == ["Lucie", "Faure"]


def test_annotated_texts_with_line_ends() -> None:
    (row,) = annotate_rows(Names(), [{"text": "Lucie Faure\nHugo Blanc"}])
    assert [each["word"] for each in row["entities"]] == ["Lucie Faure", "Hugo Blanc"]


def test_pieces_are_numbered_through_the_sentences_of_a_text() -> None:
    pieces = Names().predict("Lucie dort. Hugo lit.\nBlanc", strategy="none", context="sentence")
    assert [(each.word, each.start, each.index) for each in pieces] == [
        ("Lucie", 0, 0),
        ("Hugo", 12, 3),
        ("Blanc", 22, 6),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("राम दिल्ली", ["राम", "दिल्ली"], id="rasa#5998: Devanagari"),
        pytest.param("مُحَمَّد في", ["مُحَمَّد", "في"], id="minbpe#73: Arabic with vowels"),
        pytest.param("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"], id="Hebrew with points"),
        pytest.param(
            "Nguye\u0302\u0303n Va\u0306n", ["Nguye\u0302\u0303n", "Va\u0306n"], id="Vietnamese, NFD"
        ),
        pytest.param("தமிழ் বাংলা ਪੰਜਾਬੀ", ["தமிழ்", "বাংলা", "ਪੰਜਾਬੀ"], id="Tamil, Bengali, Punjabi"),
        pytest.param("བོད་", ["བོད", "་"], id="Tibetan"),
        pytest.param("ᠮᠣᠩᠭᠣᠯ\u180b", ["ᠮᠣᠩᠭᠣᠯ\u180b"], id="Mongolian variation selector"),
        pytest.param(
            "a\u20dd b\U000e0100", ["a\u20dd", "b\U000e0100"], id="enclosing mark, variation selector"
        ),
        pytest.param("张伟在北京。", ["张", "伟", "在", "北", "京", "。"], id="BERT: Chinese"),
        pytest.param("東京タワーへ", ["東", "京", "タワー", "へ"], id="UAX 29: Japanese"),
        pytest.param("か\u3099っこう", ["か\u3099", "っ", "こ", "う"], id="Japanese, NFD"),
        pytest.param("서울에서 살아요", ["서울에서", "살아요"], id="Korean has spaces"),
        pytest.param("ที่กรุงเทพ", ["ที่", "ก", "รุ", "ง", "เท", "พ"], id="Thai"),
        pytest.param("ភ្នំពេញ ລາວ", ["ភ្នំ", "ពេ", "ញ", "ລາ", "ວ"], id="Khmer, Lao"),
        pytest.param("๒๕๖๗ปี", ["๒๕๖๗", "ปี"], id="Thai digits"),
        pytest.param("COVID-19疫情2023年", ["COVID-19", "疫", "情", "2023", "年"], id="scripts side by side"),
        pytest.param("à jean.dupont+x@chu-brest.fr.", ["à", "jean.dupont+x@chu-brest.fr", "."], id="e-mail"),
        pytest.param(
            "(https://ex.fr/a_(b)?c=d&e=é#f), www.ex.fr.",
            ["(", "https://ex.fr/a_(b)?c=d&e=é#f", ")", ",", "www.ex.fr", "."],
            id="URL",
        ),
        pytest.param(
            "1\u202f234\u202f567,89 € et 12\xa0500 F",
            ["1\u202f234\u202f567,89", "€", "et", "12\xa0500", "F"],
            id="numbers with no-break spaces",
        ),
        pytest.param("en 2020 300 cas", ["en", "2020", "300", "cas"], id="numbers with spaces are several"),
        pytest.param("12.000,50 3,5 1/2", ["12.000,50", "3,5", "1/2"], id="numbers"),
        pytest.param(
            "le 12/05/2024 à 14:30, 14h30",
            ["le", "12/05/2024", "à", "14:30", ",", "14h30"],
            id="dates and times",
        ),
        pytest.param("2024-05-12T10:30:00Z,", ["2024-05-12T10:30:00Z", ","], id="ISO 8601"),
        pytest.param(
            "FR7630006000011234567890189 AB-123-CD DOC_12",
            ["FR7630006000011234567890189", "AB-123-CD", "DOC_12"],
            id="codes",
        ),
        pytest.param("👍🏽👩\u200d💻🇫🇷1️⃣❤️!", ["👍🏽", "👩\u200d💻", "🇫🇷", "1️⃣", "❤️", "!"], id="emoji"),
        pytest.param("hô\u00adpital co\u2060opérer", ["hô\u00adpital", "co\u2060opérer"], id="unseen"),
    ],
)
def test_words_of_all_kinds(text: str, words: list[str]) -> None:
    assert [text[a:b] for a, b in split_words(text)] == words


TEXT = "Lucie Faure est arrivée le 3 mai. M. Hugo Blanc l'a vue. « Oui », dit le Dr Blanc. Lucie dort."
FOUND = ["Lucie Faure", "Hugo Blanc", "Blanc", "Lucie"]


def test_a_text_of_several_sentences_is_read_sentence_by_sentence() -> None:
    """A first-time user's letter: recall fell with every sentence that a text held."""
    model = Names(forgetful=True)
    assert [each.word for each in model.predict(TEXT)] == FOUND
    assert len(model.shown) == 4
    assert [each.word for each in model.predict(TEXT, context="document")] == []
    assert model.shown[4:] == [sum(model.shown[:4])]
    assert all(each.word == TEXT[each.start : each.end] for each in model.predict(TEXT))
    hidden = redact(TEXT, model.predict(TEXT), style="pseudonym").text
    assert hidden.count("[PER_1]") == 1
    assert not set(NAMES) & set(hidden.split())


@pytest.mark.parametrize("strategy", ["simple", "none"])
def test_the_pipelines_strategies_read_all_at_once_unless_told(strategy: str) -> None:
    model = Names(forgetful=True)
    assert model.predict(TEXT, strategy=strategy) == []  # type: ignore[call-overload]
    found = model.predict(TEXT, strategy=strategy, context="sentence")  # type: ignore[call-overload]
    assert [TEXT[each.start : each.end] for each in found][:1] == [
        FOUND[0] if strategy == "simple" else "Lucie"
    ]


def test_a_single_sentence_is_read_alike_by_both() -> None:
    text = " Lucie Faure vit à Brest avec M. Blanc. \n"
    for strategy in ("word", "simple", "none"):
        model = Names()
        found = [model.predict(text, strategy=strategy, context=each) for each in ("sentence", "document")]  # type: ignore[call-overload]
        assert found[0] == found[1] != []


def test_contexts_that_do_not_exist() -> None:
    with pytest.raises(ParameterError, match="no context 'document-wide', expected sentence or document"):
        PredictOptions(context="document-wide")  # type: ignore[arg-type]


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from affineur.api.model import Model
    from affineur.cli.main import main

    monkeypatch.setattr(Model, "tagger", Names(forgetful=True))
    for options, found in (([], 4), (["--context", "document"], 0), (["--strategy", "simple"], 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
        assert main(["predict", "sample", "--document", *options, "--json", "-", "-q"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert len(row["entities"]) == found
    for strategy in ("word", "simple"):
        monkeypatch.setattr("sys.stdin", io.StringIO("Lucie Faure\nHugo Blanc\n"))
        arguments = ["predict", "sample", "--document", "--redact=pseudonym", "--strategy", strategy]
        assert main(arguments) == 0
        assert capsys.readouterr().out == "[PER_1]\n[PER_2]\n"
    assert main(["predict", "sample", "--context", "page", "Lucie"]) == 1
    assert "expected sentence or document" in capsys.readouterr().err
    source, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"text": TEXT}) + "\n", "utf-8")
    assert main(["annotate", "sample", str(source), "-o", str(out), "--context", "document"]) == 0
    assert json.loads(out.read_text("utf-8"))["entities"] == []


def corpus(*sentences: tuple[str, str]) -> Corpus:
    rows = [Sentence(tuple(words.split()), tuple(tags.split())) for words, tags in sentences]
    return Corpus.scan("test", lambda: iter(rows), Scheme.IO)


DATA = corpus(
    ("Lucie Faure , née l' an dernier .", "I-PER I-PER O O O O O O"),
    ("M. Hugo Blanc dort ( mal ) .", "O I-PER I-PER O O O O O"),
    ("Hugo dort-il ?", "I-PER O O"),
)


@pytest.mark.parametrize(("context", "recall"), [(None, 1.0), ("document", 0.0)])
def test_evaluate_shows_what_is_found_in_documents(context: str | None, recall: float) -> None:
    model = Names(forgetful=True)
    assert evaluate(model, DATA).recall == 1
    tagger, documents = as_documents(model, DATA, 3, context)  # type: ignore[arg-type]
    found = evaluate(tagger, documents)
    assert (found.recall, found.total.gold) == (recall, 3)
    assert found.data_digest == DATA.digest
    assert "read as texts of 3 sentences" in found.summary


def test_evaluate_as_documents_needs_a_model_that_reads_text() -> None:
    class Peer:
        labels = ("O", "I-PER")

        def tag(self, sentences: object) -> list[list[str]]:
            return []

    with pytest.raises(ParameterError, match="only tags words"):
        as_documents(Peer(), DATA, 2)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="as_documents=0 is impossible"):
        as_documents(Names(), DATA, 0)
