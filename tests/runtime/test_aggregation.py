"""Hugging Face's strategies against Hugging Face's pipeline, on the same models."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affineur.entities import split_words
from affineur.errors import ParameterError
from affineur.runtime import EngineTagger, PredictOptions
from affineur.runtime.aggregation import STRATEGIES, merge_windows
from affineur.runtime.runs import LONGEST_RUN

THEIRS = tuple(name for name in STRATEGIES if name != "word")
BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "S-LOC", "MISC")
KINDS = ("sample", "camembert", "bert", "roberta", "xlm-roberta")
SENTENCES = (
    "Marie Curie habite à Paris, près de l'Hôtel-Dieu.",
    "L’équipe de Saint-Étienne a battu celle de Lyon (3-1) !",
    "Aujourd'hui, dit-elle, M. Jean-Pierre Morvan quitte la S.N.C.F. pour l'O.N.U.",
    "",
    " ",
    "\n\t Élodie \u00a0 Benali\n",
    "👩‍💻 travaille chez 🏡Télévox😀😀",
    "e\u0301te\u0301 \u0301 a\u0300 Ni\u0302mes",
    "\x00Marie\x00 \x01\x7f Paris\u200b\u200d\ufeff",
    "<s> </s> <mask> <unk> [UNK] [CLS] Marie <pad>",
    "日本の東京 и Москва في باريس",
    "PARIS-LYON-MARSEILLE ''\"\"«»…—–",
)
PARTS = (
    "Marie",
    "Paris",
    "l'",
    "L’",
    "-",
    ".",
    ",",
    " ",
    " ",
    " ",
    "\u00a0",
    "\n",
    "é",
    "e\u0301",
    "😀",
    "👩‍💻",
    "\x00",
    "ﬁ",
    "ß",
    "İ",
    "ſ",
    "日本",
    "x",
    "12,5",
    "<s>",
)


def theirs(folder: Path, tagger: EngineTagger) -> Callable[..., dict[str, list[dict[str, Any]]]]:
    """Return what runs their pipeline, with windows like ours, by every strategy."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = tagger.encoder.max_length
    pipe = pipeline(
        "token-classification",
        AutoModelForTokenClassification.from_pretrained(folder),
        tokenizer=tokenizer,
        device="cpu",
    )

    def run(
        text: str, ignored: Sequence[str] = ("O",), stride: int | None = None
    ) -> dict[str, list[dict[str, Any]]]:
        from transformers.pipelines.token_classification import AggregationStrategy

        windows = {
            "return_overflowing_tokens": True,
            "padding": True,
            "stride": tagger.encoder._overlap if stride is None else stride,
        }
        outputs = [
            pipe.forward(part)
            for part in pipe.preprocess(text, is_split_into_words=False, tokenizer_params=windows)
        ]
        # They refuse to merge windows by `none`: only what fits one is compared.
        names = [name for name in THEIRS if name != "none" or len(outputs) == 1]
        return {
            name: pipe.postprocess(outputs, AggregationStrategy(name), ignore_labels=list(ignored))
            for name in names
        }

    return run


#: One of each kind of tokenizer; the families alike are left to ``make test-slow``.
QUICK = ("sample", "camembert", "bert", "roberta")


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS],
)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_model
) -> tuple[EngineTagger, Any]:
    import torch
    from transformers import AutoConfig, AutoModelForTokenClassification

    from affineur import sample
    from affineur.engines.support.torch_tagger import load_tagger

    if request.param == "sample":  # its tokenizer, and a model that labels at random
        folder = tmp_path_factory.mktemp("sample")
        config = AutoConfig.from_pretrained(shared_model("camembert", labels=BIO), vocab_size=16_014)
        torch.manual_seed(3)
        AutoModelForTokenClassification.from_config(config).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(sample.model(sample.TEACHER) / name, folder / name)
    else:
        folder = shared_model(request.param, labels=BIO)
    tagger = load_tagger(folder)
    return tagger, theirs(folder, tagger)


def check(
    both: tuple[EngineTagger, Any],
    texts: Sequence[str],
    ignored: Sequence[str] = ("O",),
    stride: int | None = None,
) -> int:
    tagger, run = both
    found = {name: predicted(tagger, texts, PredictOptions(name, tuple(ignored), stride)) for name in THEIRS}
    compared = 0
    for place, text in enumerate(texts):
        for name, wanted in run(text, ignored, stride).items():
            ours = [entity.as_dict() for entity in found[name][place]]
            scores = [entity.pop("score") for entity in ours]
            assert scores == pytest.approx([float(entity["score"]) for entity in wanted], abs=1e-6), (
                name,
                text,
            )
            assert ours == [{key: entity[key] for key in entity if key != "score"} for entity in wanted], (
                name,
                text,
            )
            compared += len(wanted)
    return compared


def predicted(tagger: EngineTagger, texts: Sequence[str], options: PredictOptions) -> list[Any]:
    """Compute a reading as somebody would who has batches of his own: each window alone."""
    reading = tagger.read(texts, options)
    return list(reading.results([tagger.window_logits([window])[0] for window in reading.windows]))


heuristic = pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")


@heuristic
def test_equal_to_their_pipeline(both: tuple[EngineTagger, Any]) -> None:
    rng = random.Random(5)
    texts = [*SENTENCES, *("".join(rng.choices(PARTS, k=rng.randrange(1, 24))) for _ in range(400))]
    assert check(both, texts) > 2000


@heuristic
def test_long_texts_are_cut_as_they_cut_them(both: tuple[EngineTagger, Any]) -> None:
    rng = random.Random(6)
    texts = [
        " ".join(rng.choices([s for s in SENTENCES if "<" not in s], k=rng.randrange(3, 25)))
        for _ in range(25)
    ]
    assert check(both, texts) > 500


@heuristic
@pytest.mark.parametrize("ignored", [(), ("PER",), ("O", "LOC", "B-LOC")])
def test_labels_are_ignored_as_they_ignore_them(
    both: tuple[EngineTagger, Any], ignored: tuple[str, ...]
) -> None:
    assert check(both, SENTENCES, ignored) > 30


@heuristic
@pytest.mark.parametrize("stride", [0, 7, 25])
def test_strides_are_theirs(both: tuple[EngineTagger, Any], stride: int) -> None:
    long = " ".join(s for s in SENTENCES if "<" not in s)
    assert check(both, [long * 3, SENTENCES[0]], stride=stride) > 20


def test_words_without_ignored_labels_tile_the_words(both: tuple[EngineTagger, Any]) -> None:
    tagger, _ = both
    for text in SENTENCES:
        (whole,) = predicted(tagger, [text], PredictOptions(ignore_labels=()))
        spans = split_words(text)
        assert [(e.start, e.end) for e in whole if e.type != "O"] == [
            (e.start, e.end) for e in tagger.predict(text)
        ]
        assert sum(a >= e.start and b <= e.end for e in whole for a, b in spans) == len(
            spans
        )  # each word is in exactly one


def test_what_is_less_sure_than_the_threshold_is_left_out(both: tuple[EngineTagger, Any]) -> None:
    tagger, _ = both
    for name in STRATEGIES:
        (every,) = predicted(tagger, SENTENCES[:1], PredictOptions(name))
        least = sorted(entity.score for entity in every)[len(every) // 2]
        (sure,) = predicted(tagger, SENTENCES[:1], PredictOptions(name, threshold=least))
        assert sure == [entity for entity in every if entity.score >= least] != every


@pytest.mark.parametrize("wrong", [{"strategy": "frist"}, {"threshold": 1.5}, {"threshold": float("nan")}])
def test_impossible_wishes(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        PredictOptions(**wrong)


@pytest.mark.parametrize("name", ["word", "simple"])
@pytest.mark.parametrize("stride", [-1, 32, 1000])
def test_impossible_strides(both: tuple[EngineTagger, Any], name: str, stride: int) -> None:
    with pytest.raises(ParameterError, match="stride"):
        both[0].read(
            ["Marie"],
            PredictOptions(name, stride=stride if stride != 32 else both[0].encoder.max_length // 2),
        )


@heuristic
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_equal_on_any_text(both: tuple[EngineTagger, Any], text: str) -> None:
    check(both, [text])


def test_pieces_of_long_texts_come_once_and_in_order(both: tuple[EngineTagger, Any]) -> None:
    tagger, _ = both
    tagger = tagger.whole()
    text = " ".join(SENTENCES[:3] * 12)
    long = tagger.encoder.texts().tokenizer
    long = type(long).from_str(long.to_str())
    long.no_truncation()
    whole = long.encode(text)
    assert len(whole.ids) > 2 * tagger.encoder.max_length
    windows = list(tagger.encoder.texts().windows([text]))
    places = [window.first + i for window in windows for i in window.own]
    assert places == list(range(len(whole.ids)))
    assert [window.ids[i] for window in windows for i in window.own] == whole.ids
    found = tagger.predict(text, strategy="none")
    assert all(whole.offsets[piece.index][1] == piece.end for piece in found)


HOSTILE = {
    "empty": "",
    "blank": " \n\t\u00a0",
    "emoji": "😀👩‍💻🏡" * 500,
    "nul": "\x00" * 1000,
    "surrogates": "\ud83d Marie \udc00\ud800Paris \udfff",
    "one word": "a" * 10_000,
    "marks": "\u0301" * 1000,
    "text": "Marie habite à Paris. " * 500,
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts(both: tuple[EngineTagger, Any], name: str, strategy: str) -> None:
    text = HOSTILE[name]
    found = both[0].predict(text, strategy=strategy)
    for entity in found:
        assert 0 <= entity.start <= entity.end <= len(text)
        assert 0 < entity.score <= 1
        if strategy == "word":
            assert entity.start < entity.end
            assert entity.word == text[entity.start : entity.end]


def test_a_batch_gives_what_one_text_gives(both: tuple[EngineTagger, Any]) -> None:
    tagger, texts = both[0], [*SENTENCES, " ".join(SENTENCES)]
    for name in STRATEGIES:
        batch = tagger.predict_batch(texts, strategy=name)
        streamed = list(tagger.predict_stream(texts, strategy=name, read_ahead=3))
        for text, *found in zip(texts, batch, streamed, strict=True):
            alone = [entity.as_dict() for entity in tagger.predict(text, strategy=name)]
            for each in found:
                assert [{**entity.as_dict(), "score": 0} for entity in each] == [
                    {**entity, "score": 0} for entity in alone
                ]
                assert [entity.score for entity in each] == pytest.approx(
                    [entity["score"] for entity in alone], abs=1e-5
                )


def test_an_endless_run_is_read_in_parts(both: tuple[EngineTagger, Any]) -> None:
    encoder = both[0].encoder.texts()
    text = "Paris " + "a" * (2 * LONGEST_RUN + 5) + " Lyon"
    offsets = [
        offset
        for window in encoder.windows([text])
        for offset, added in zip(window.offsets, window.special, strict=True)
        if not added
    ]
    assert text[slice(*offsets[-1])].strip()
    assert max(end for _, end in offsets) == len(text)
    covered = {place for offset in offsets for place in range(*offset)}
    assert all(place in covered for place, character in enumerate(text) if character != " ")
    assert len(list(encoder.windows(["a" * LONGEST_RUN]))) <= len(
        list(encoder.windows(["a" * (LONGEST_RUN + 1)]))
    )


def test_what_is_no_strategy(both: tuple[EngineTagger, Any]) -> None:
    tagger = both[0]
    with pytest.raises(
        ParameterError,
        match=r"no aggregation strategy 'averge', expected one of word, .*did you mean 'average'",
    ):
        tagger.predict("Marie", strategy="averge")
    with pytest.raises(ParameterError, match="averge"):  # before anything is read
        tagger.predict_stream(iter(()), strategy="averge")
    with pytest.raises(
        ParameterError, match=r"texts is one text, expected a list of texts; type predict\(text\)"
    ):
        tagger.predict_batch("Marie")


def test_of_overlapping_entities_the_longer_or_the_surer() -> None:
    from affineur.entities import Entity

    def entity(start: int, end: int, score: float) -> Entity:
        return Entity("PER", "", start, end, score)

    first, longer, surer, apart = (
        entity(0, 4, 0.9),
        entity(2, 9, 0.1),
        entity(3, 10, 0.2),
        entity(10, 12, 0.5),
    )
    assert merge_windows([first, longer, surer, apart]) == [surer, apart]
    assert merge_windows([]) == []
    empty = entity(3, 3, 0.5)
    assert merge_windows([empty, apart]) == [empty, empty, apart]  # theirs
