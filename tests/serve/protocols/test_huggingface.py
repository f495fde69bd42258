"""Hugging Face's token-classification schema, by hand, by its official client, and against the runtime
itself.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import huggingface_hub
import pytest
from huggingface_hub import InferenceClient
from starlette.testclient import TestClient

from affineur import sample
from affineur.artifact import open_folder
from affineur.entities import open_corpus
from affineur.pipeline.models import load_to_serve as load
from affineur.runtime import EngineTagger, PredictOptions
from affineur.runtime.aggregation import AggregationStrategy
from affineur.runtime.redaction import restore
from affineur.serve.settings import Settings

from ..conftest import Endpoint, loaded

STRATEGIES: tuple[str, ...] = get_args(AggregationStrategy)
GROUPING = tuple(strategy for strategy in STRATEGIES if strategy != "none")
TEXT = "Marie Duval habite à Saint-Étienne depuis deux ans. 🎉 Elle travaille chez Télévox avec Ahmed Benali."


def ask(client: TestClient, inputs: Any, path: str = "/predict", **parameters: Any) -> Any:
    answer = client.post(path, json={"inputs": inputs, "parameters": parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def tagger(shared_onnx: Path) -> EngineTagger:
    """The same model as the endpoint's, beside it."""
    return load(str(shared_onnx))[0]


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Sentences of the sample's test data."""
    return [" ".join(sentence.words) for sentence in open_corpus(sample.data() / "test.conll")][:240]


def hold(text: str, found: list[dict[str, Any]], overlap: bool = False) -> None:
    """Check what is true of every answer."""
    for each in found:
        assert 0 <= each["start"] < each["end"] <= len(text)
        assert each["word"] == text[each["start"] : each["end"]]
        assert 0 <= each["score"] <= 1
    places = [(each["start"], each["end"]) for each in found]
    assert places == sorted(places)
    if not overlap:
        assert all(before[1] <= after[0] for before, after in pairwise(places))


def test_a_text_gives_a_list_and_a_list_gives_lists(client: TestClient) -> None:
    one = ask(client, TEXT)
    assert [set(each) for each in one] == [{"entity_group", "score", "word", "start", "end"}] * len(one)
    assert one
    assert ask(client, TEXT, "/") == one
    assert ask(client, [TEXT]) == [one]
    assert ask(client, [TEXT, "Il fait beau ce matin .", TEXT]) == [
        one,
        ask(client, "Il fait beau ce matin ."),
        one,
    ]


def test_options_and_null_parameters_change_nothing(client: TestClient) -> None:
    plain = client.post("/", json={"inputs": TEXT})
    nulls = {
        "aggregation_strategy": None,
        "ignore_labels": None,
        "stride": None,
        "threshold": None,
        "redact": None,
        "redact_map": None,
    }
    for more in (
        {"parameters": None},
        {"parameters": {}},
        {"parameters": nulls},
        {"options": {"wait_for_model": True}},
    ):
        assert client.post("/", json={"inputs": TEXT, **more}).json() == plain.json()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_the_runtime_s(client: TestClient, tagger: EngineTagger, strategy: Any) -> None:
    found = ask(client, TEXT, aggregation_strategy=strategy)
    expected = tagger.predict_batch([TEXT], strategy=strategy)[0]
    kind = "entity" if strategy == "none" else "entity_group"
    spans = (each.as_dict() for each in expected if each.start < each.end)
    wanted = [(each[kind], each["score"], each["start"], each["end"]) for each in spans]
    assert [(each[kind], each["score"], each["start"], each["end"]) for each in found] == wanted
    assert wanted
    if strategy == "none":
        assert [each["index"] for each in found] == [each.index for each in expected if each.start < each.end]
    hold(TEXT, found)


@pytest.mark.parametrize("strategy", GROUPING)
def test_ignored_labels_are_left_out_and_none_ignored_gives_what_is_no_mention_too(
    client: TestClient, strategy: str
) -> None:
    more = " Quel beau lac, dit la vieille dame du marché."  # the model gives no word of TEXT the label O
    text = TEXT + more * (strategy == "word")
    plain = ask(client, text, aggregation_strategy=strategy)
    kinds = {each["entity_group"] for each in plain}
    assert len(kinds) > 1
    assert "O" not in kinds
    every = ask(client, text, aggregation_strategy=strategy, ignore_labels=[])
    assert {each["entity_group"] for each in every} == kinds | {"O"}
    assert [each for each in every if each["entity_group"] != "O"] == plain
    for ignored in kinds:
        fewer = ask(client, text, aggregation_strategy=strategy, ignore_labels=["O", ignored])
        assert fewer == [each for each in plain if each["entity_group"] != ignored]


def test_ignored_labels_of_pieces_are_labels(client: TestClient) -> None:
    every = ask(client, TEXT, aggregation_strategy="none", ignore_labels=[])
    assert {each["entity"] for each in every} > {"O", "I-PER"}
    fewer = ask(client, TEXT, aggregation_strategy="none", ignore_labels=["I-PER"])
    assert fewer == [each for each in every if each["entity"] != "I-PER"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_threshold_leaves_out_what_scores_less(client: TestClient, strategy: str) -> None:
    plain = ask(client, TEXT, aggregation_strategy=strategy)
    middle = sorted(each["score"] for each in plain)[len(plain) // 2]
    kept = ask(client, TEXT, aggregation_strategy=strategy, threshold=middle)
    assert kept == [each for each in plain if each["score"] >= middle]
    assert 0 < len(kept) < len(plain)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_long_texts_are_windowed_with_the_stride_asked_for(
    client: TestClient, tagger: EngineTagger, strategy: Any
) -> None:
    text = " ".join(f"{TEXT} Alinéa {n}." for n in range(8))
    answers = {}
    for stride in (None, 0, 10, tagger.encoder.most_stride):
        reading = tagger.read([text], PredictOptions(strategy, stride=stride, context="document"))
        assert len(reading.windows) > 3
        found = ask(client, text, aggregation_strategy=strategy, stride=stride, context="document")
        wanted = reading.results(tagger._computed(reading.windows, None))[0]
        served = {(each["start"], each["end"], each["score"]) for each in found}
        own = {(each.start, each.end, each.score) for each in wanted if each.start < each.end}
        assert served <= own
        if strategy in ("word", "none"):
            assert served == own  # the others may overlap where windows meet, and then the longer one stays
        hold(text, found, overlap=strategy == "none")
        answers[stride] = found
    assert answers[0] != answers[10]
    refused = client.post(
        "/predict",
        json={
            "inputs": text,
            "parameters": {"aggregation_strategy": strategy, "stride": tagger.encoder.most_stride + 1},
        },
    )
    assert refused.status_code == 422
    assert str(tagger.encoder.most_stride) in refused.json()["error"]


@pytest.mark.parametrize("style", ["type", "pseudonym"])
def test_redaction_hides_every_mention_and_its_map_leads_back(client: TestClient, style: str) -> None:
    plain = ask(client, TEXT)
    hidden = ask(client, TEXT, redact=style)
    assert set(hidden) == {"text", "entities"}
    assert not [each["word"] for each in plain if len(each["word"]) > 3 and each["word"] in hidden["text"]]
    assert TEXT not in hidden["text"]
    hold(hidden["text"], hidden["entities"])
    assert all(each["word"].startswith(f"[{each['entity_group']}") for each in hidden["entities"])
    mapped = ask(client, [TEXT], redact=style, redact_map=True)[0]
    assert {key: mapped[key] for key in hidden} == hidden
    assert (
        restore(
            mapped["text"],
            [(each["placeholder"], each["start"], each["end"], each["word"]) for each in mapped["map"]],
        )
        == TEXT
    )
    assert ask(client, TEXT, redact=style, redact_map=False) == hidden


def test_what_excludes_each_other_is_refused(client: TestClient) -> None:
    for parameters in ({"redact": "type", "aggregation_strategy": "none"}, {"redact_map": True}):
        answer = client.post("/", json={"inputs": TEXT, "parameters": parameters})
        assert (answer.status_code, answer.json()["error_type"]) == (422, "Validation")
        assert "redact" in answer.json()["error"]


def test_models_are_named_by_the_query(client: TestClient) -> None:
    assert ask(client, TEXT, "/predict?model=ner") == ask(client, TEXT)
    assert ask(client, TEXT, "/predict?model=int8") != ask(client, TEXT)
    answer = client.post("/predict?model=autre", json={"inputs": TEXT})
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "no such model, expected ner or int8", "error_type": "NotFound"},
    )


def test_times_stand_in_the_headers(client: TestClient) -> None:
    headers = client.post("/", json={"inputs": TEXT}).headers
    assert float(headers["x-inference-time"]) > 0
    assert float(headers["x-queue-time"]) >= 0


@pytest.mark.parametrize("path", ["", "/predict", "/predict?model=int8"])
def test_the_official_client(
    endpoint: Endpoint, client: TestClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        huggingface_hub.constants, "HF_HUB_OFFLINE", False
    )  # it takes this machine for the hub
    official = InferenceClient(model=endpoint.url + path)
    for strategy in (None, *STRATEGIES):
        if strategy == "word":
            continue  # ours; theirs does not know it, and it is what None gives
        given = {} if strategy is None else {"aggregation_strategy": strategy}
        found = official.token_classification(TEXT, **given)
        plain = ask(client, TEXT, path or "/", **given)
        assert [(e.get("entity_group"), e.get("entity"), e.score, e.word, e.start, e.end) for e in found] == [
            (e.get("entity_group"), e.get("entity"), e["score"], e["word"], e["start"], e["end"])
            for e in plain
        ]
    some = official.token_classification(
        TEXT, aggregation_strategy="simple", ignore_labels=["O", "PER"], stride=5
    )
    assert some
    assert {e.entity_group for e in some}.isdisjoint({"O", "PER"})


# ---- What holds for every answer ----


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_invariants_hold_on_real_sentences(client: TestClient, sentences: list[str], strategy: str) -> None:
    for begin in range(0, len(sentences), 60):
        part = sentences[begin : begin + 60]
        for text, found in zip(part, ask(client, part, aggregation_strategy=strategy), strict=True):
            hold(text, found, overlap=strategy == "none")


def test_a_batch_is_exactly_its_texts_alone_in_full_precision(
    client: TestClient, tagger: EngineTagger, sentences: list[str]
) -> None:
    together = [found for begin in range(0, 240, 60) for found in ask(client, sentences[begin : begin + 60])]
    assert together == [ask(client, text) for text in sentences]
    offline = tagger.predict_batch(sentences)
    wanted = [[(e.type, e.score, e.word, e.start, e.end) for e in entities] for entities in offline]
    assert [
        [tuple(each[key] for key in ("entity_group", "score", "word", "start", "end")) for each in found]
        for found in together
    ] == wanted


@pytest.mark.parametrize(
    ("activations", "spans", "scores"), [("auto", 1.0, 0.0), ("token", 1.0, 0.0), ("batch", 0.98, 0.1)]
)
def test_a_batch_in_eight_bits_and_its_texts_alone(
    shared_onnx: Path,
    shared_corpus: Path,
    tmp_path: Path,
    sentences: list[str],
    activations: str,
    spans: float,
    scores: float,
) -> None:
    """The same to the last bit, unless activations are scaled by the batch (docs/onnx.md)."""
    from affineur.serve.app import create_app
    from affineur.steps.core.context import Context
    from affineur.steps.quantize import Quantize

    path = tmp_path / "int8"
    context = Context(calibration=open_corpus(shared_corpus / "train.conll"))
    step = Quantize.given({"target": "avx2", "min_agreement": 0.0, "activations": activations})
    step.run(open_folder(shared_onnx), path, context)
    with (
        loaded({"ner": path}, Settings(max_inputs=240)) as service,
        TestClient(create_app(service)) as client,
    ):
        together = ask(client, sentences)
        alone = [ask(client, text) for text in sentences]
    ours, theirs = (
        {
            (i, each["entity_group"], each["start"], each["end"]): each["score"]
            for i, found in enumerate(answers)
            for each in found
        }
        for answers in (together, alone)
    )
    both = ours.keys() & theirs.keys()
    assert len(both) > 1000
    assert 2 * len(both) / (len(ours) + len(theirs)) >= spans
    far = sorted(abs(ours[key] - theirs[key]) for key in both)
    assert far[int(0.995 * len(far)) if scores else -1] <= scores
