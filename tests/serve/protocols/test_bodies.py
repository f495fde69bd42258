"""Requests read and answers written, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affineur.entities import Entity, LabeledPiece
from affineur.runtime import PredictOptions
from affineur.serve import parameters
from affineur.serve.problems import ERROR_TYPES, STATUS, Problem, overloaded
from affineur.serve.protocols import huggingface, kserve, runpod

from ..conftest import LIMITS

TEXT = "Marie Duval à Paris"


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", "empty", 'the body is empty, expected {"inputs": "texte"}'),
        (b'{"inputs": ""}', "empty", "inputs is empty, expected a text or a list of texts"),
        (b'{"inputs": []}', "empty", "inputs is empty, expected a text or a list of texts"),
        (b"{}", "validation", 'inputs is missing, expected {"inputs": "texte"}'),
        (b'{"inputs": [1]}', "validation", "inputs is neither a text nor a list of texts"),
        (
            b'{"inputs": "a", "parametres": {}}',
            "validation",
            "unknown entry 'parametres' in the body, expected inputs, parameters; did you mean 'parameters'?",
        ),
        (b"{", "validation", "the body is not JSON (EOF while parsing an object at line 1 column 1)"),
        (
            b'{"inputs": "a", "parameters": {"threshold": 1.5}}',
            "validation",
            "parameters.threshold: Input should be less than or equal to 1",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(body: bytes, kind: str, said: str) -> None:
    with pytest.raises(Problem) as caught:
        huggingface.parse(body)
    assert (caught.value.kind, caught.value.message, caught.value.status) == (kind, said, STATUS[kind])
    assert caught.value.body() == {"error": said, "error_type": ERROR_TYPES[kind]}


def test_parameters_become_the_runtime_s_options() -> None:
    assert parameters.Parameters().predict_options() == PredictOptions()
    given_ = {"aggregation_strategy": "max", "ignore_labels": [], "stride": 0.0, "threshold": 1}
    assert parameters.Parameters.model_validate(given_).predict_options() == PredictOptions("max", (), 0, 1.0)


def test_limits_are_told_in_numbers() -> None:
    for texts, said in (
        (["a"] * 65, "65 texts in one request, expected at most 64"),
        (["a", "b" * 20_001], "a text of 20001 characters"),
    ):
        with pytest.raises(Problem, match=said) as caught:
            parameters.check_texts(texts, LIMITS)
        assert caught.value.status == 413
    parameters.check_texts(["a" * 20_000] * 64, LIMITS)


def test_a_word_is_the_text_it_stands_for_whatever_the_strategy_says() -> None:
    entities = [
        Entity("LOC", "paris", 14, 19, 0.5),
        Entity("PER", "marie", 0, 5, 0.9),
        Entity("PER", "ie", 3, 5, 0.4),
        Entity("ORG", "", 6, 6, 0.9),
    ]
    assert parameters.shown(TEXT, entities, parameters.Parameters()) == [
        {"entity_group": "PER", "score": 0.9, "word": "Marie", "start": 0, "end": 5},
        {"entity_group": "LOC", "score": 0.5, "word": "Paris", "start": 14, "end": 19},
    ]
    pieces = [
        LabeledPiece("I-PER", "▁Mar", 0, 3, 0.9, 1),
        LabeledPiece("I-PER", "", 3, 3, 0.9, 2),
        LabeledPiece("I-PER", "<unk>", 3, 5, 0.8, 3),
    ]
    shown = parameters.shown(TEXT, pieces, parameters.Parameters(aggregation_strategy="none"))
    assert [(each["index"], each["word"]) for each in shown] == [(1, "Mar"), (3, "ie")]


def test_the_map_comes_only_when_asked_for() -> None:
    entities = [Entity("PER", "Marie Duval", 0, 11, 0.9)]
    hidden = parameters.shown(TEXT, entities, parameters.Parameters(redact="type"))
    assert hidden == {
        "text": "[PER] à Paris",
        "entities": [{"entity_group": "PER", "score": 0.9, "word": "[PER]", "start": 0, "end": 5}],
    }
    mapped = parameters.shown(TEXT, entities, parameters.Parameters(redact="type", redact_map=True))
    assert mapped["map"] == [{"placeholder": "[PER]", "start": 0, "end": 5, "word": "Marie Duval"}]


def refusal(parse: Callable[[bytes], object], body: bytes) -> Problem | None:
    try:
        parse(body)
    except Problem as problem:
        return problem
    return None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    body = json.dumps(value).encode()
    for parse in (huggingface.parse, lambda data: kserve.parse(data, None), runpod.parse):
        said = refusal(parse, body)
        assert said is None or (said.status in (400, 422) and "\n" not in said.message)


@given(st.binary(max_size=200), st.none() | st.integers(-5, 300).map(str) | st.text(max_size=5))
def test_any_bytes_are_read_or_refused(body: bytes, length: str | None) -> None:
    with pytest.raises(Problem) as caught:
        kserve.parse(body, length)
    assert caught.value.status == 400
    with pytest.raises(Problem):
        huggingface.parse(body)


def test_identities_of_jobs_differ_and_follow_time() -> None:
    ids = [runpod.new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids[0] < ids[-1]


def test_overload_says_when_to_come_again() -> None:
    for seconds, wait in ((0.0, "1"), (3.2, "4"), (1e9, "60")):
        problem = overloaded("texts", seconds)
        assert (problem.status, problem.headers) == (429, {"Retry-After": wait})


def test_limits_of_the_schema_are_left_open_while_models_are_loaded(tmp_path: Path) -> None:
    schemas = huggingface.Request.model_json_schema()["$defs"]
    parameters.limit_stride(schemas, None)
    assert schemas["Parameters"]["properties"]["stride"]["anyOf"][0]["maximum"] == 100_000
