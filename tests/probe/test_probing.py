"""The probe of an endpoint, against small servers that are right, or wrong in one way each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from affineur import sample
from affineur.entities import Entity
from affineur.errors import AffineurError, DataError, TransferError
from affineur.probe import Probe, RampStep, read_texts
from affineur.probe.answers import KNOWN

from .fakes import TEXTS, Fake, entities, overloaded, probed, send


def passed(found: Probe) -> bool:
    assert found.gate is not None
    return found.gate.passed


def test_a_right_server_passes_everything() -> None:
    fake = Fake()
    found = probed(
        fake,
        key="s3cret",
        bars={"min_found": 1, "max_errors": 0, "max_p95_ms": 2000, "min_requests_per_second": 1},
    )
    assert (found.found, found.expected) == (29, 29)
    assert (found.missed, found.faults, found.remarks, found.errors) == ([], {}, {}, 0)
    assert [step.concurrency for step in found.steps] == [1, 2]
    assert [step.statuses for step in found.steps] == [{"200": 6}, {"200": 8}]
    assert (found.queue_ms, found.inference_ms) == (1.5, 2.5)
    assert passed(found)
    assert {headers["Authorization"] for headers in fake.headers} == {"Bearer s3cret"}
    assert all(set(body) == {"inputs"} for body in fake.bodies)  # the server's own parameters
    # greeting, empty, known ones, list; warm-up; two steps
    assert len(fake.bodies) == 3 + len(KNOWN) + 6 + 6 + 8
    assert found.requests == len(KNOWN) + 1 + 6 + 8


def test_percentiles_are_of_what_the_server_took() -> None:
    def slow(handler: Any, body: dict[str, Any]) -> bool:
        time.sleep(0.03 if body["inputs"] == TEXTS[0] else 0)  # what is measured
        return False

    alone = probed(Fake(handle=slow), requests=9).steps[0]
    assert alone.p50_ms is not None
    assert alone.p50_ms < (alone.p95_ms or 0) >= 30  # one text in three is slow


def test_the_label_names_of_other_models_are_understood() -> None:
    names = {"PER": "I-PERSON", "LOC": "GPE", "ORG": "B-organization"}
    found = probed(
        Fake(
            lambda text, _: [{**each, "entity_group": names[each["entity_group"]]} for each in entities(text)]
        )
    )
    assert found.found == found.expected


def test_a_server_that_puts_nothing_together_is_told_to() -> None:
    def answer(text: str, body: dict[str, Any]) -> list[Any]:
        if body.get("parameters") == {"aggregation_strategy": "simple"}:
            return entities(text)
        return [{"entity": f"I-{each.pop('entity_group')}", "index": 1, **each} for each in entities(text)]

    found = probed(Fake(answer))
    assert (found.found, found.faults, found.parameters) == (29, {}, {"aggregation_strategy": "simple"})
    assert "asked with aggregation_strategy simple" in next(iter(found.remarks))


@pytest.mark.parametrize(
    ("name", "encoding", "width"), [("UTF-16 units", "utf-16-le", 2), ("bytes of UTF-8", "utf-8", 1)]
)
def test_offsets_in_other_units_are_told_apart_from_code_points(name: str, encoding: str, width: int) -> None:
    def place(text: str, at: int) -> int:
        return len(text[:at].encode(encoding)) // width

    found = probed(
        Fake(
            lambda text, _: [
                {**each, "start": place(text, each["start"]), "end": place(text, each["end"])}
                for each in entities(text)
            ]
        ),
        bars={"max_errors": 0},
    )
    assert any(f"the offsets count {name}" in fault for fault in found.faults)
    assert any("Bonjour 👋 Sophie Marchand" in miss for miss in found.missed)
    assert not passed(found)
    if (
        width == 2
    ):  # only what stands behind an emoji is wrong: one known sentence, the list, a third of 6 + 8 requests
        assert found.errors == 1 + 1 + 2 + 3


def test_the_tokenizers_rendering_is_remarked_and_no_fault() -> None:
    found = probed(
        Fake(
            lambda text, _: [
                {**each, "word": " " + each["word"].lower().replace("é", "e")} for each in entities(text)
            ]
        )
    )
    assert (found.faults, found.found) == ({}, 29)
    assert list(found.remarks) == ["words are the tokenizer's rendering, not the text between the offsets"]


def test_a_list_that_is_answered_otherwise_is_a_fault() -> None:
    def reversed_lists(handler: Any, body: dict[str, Any]) -> bool:
        if isinstance(body["inputs"], list):
            send(handler, 200, [entities(text) for text in reversed(body["inputs"])])
            return True
        return False

    found = probed(Fake(handle=reversed_lists))
    assert f"'{KNOWN[0][0]}' is answered otherwise in a list than alone" in found.faults
    assert found.errors == 1


def test_lists_that_are_refused_and_empty_texts_that_crash_are_faults() -> None:
    def handle(handler: Any, body: dict[str, Any]) -> bool:
        if isinstance(body["inputs"], list):
            send(handler, 422, {"error": "one text only", "error_type": "Validation"})
        elif not body["inputs"]:
            send(handler, 500, {"error": "list index out of range"})
        else:
            return False
        return True

    found = list(probed(Fake(handle=handle)).faults)
    assert found == [
        "an empty text: it answers 500 (list index out of range), expected an error of the 400s",
        f"a list of {len(KNOWN)} texts: it answers 422 (one text only), expected a list of entities for each",
    ]


def test_429_is_counted_apart_and_the_ramp_goes_on() -> None:
    found = probed(Fake(handle=overloaded(2)), requests=12, concurrency=[1, 2, 8], bars={"max_errors": 0})
    assert [step.concurrency for step in found.steps] == [1, 2, 8]
    assert "429" not in found.steps[1].statuses
    assert set(found.steps[2].statuses) == {"200", "429"}
    assert sum(found.steps[2].statuses.values()) == 32
    assert (found.stopped, found.errors) == ("", 0)
    assert passed(found)


def test_a_server_that_asks_to_wait_is_given_the_time() -> None:
    fake = Fake()

    def handle(handler: Any, body: dict[str, Any]) -> bool:
        if len(fake.bodies) != 3 + len(KNOWN) + 6 + 2:  # all but the second request of the first step
            return False
        send(handler, 429, {"error": "Model is overloaded"}, Retry_After="0.3")
        return True

    fake.handle = handle
    alone = probed(fake).steps[0]
    assert alone.statuses == {"200": 5, "429": 1}
    assert alone.p99_ms is not None
    assert alone.seconds >= 0.3 + alone.p99_ms / 1e3  # the wait belongs to no answer


def test_other_errors_stop_the_ramp() -> None:
    count = Counter[str]()

    def handle(handler: Any, body: dict[str, Any]) -> bool:
        count["now"] += 1
        if count["now"] > 3 + len(KNOWN) + 6 + 6:  # from the second step on
            send(handler, 503, {"error": "no worker is left", "error_type": "Unhealthy"})
            return True
        return False

    found = probed(Fake(handle=handle), concurrency=[2, 4, 8], bars={"max_errors": 0.01})
    assert [step.concurrency for step in found.steps] == [1, 2]
    assert found.stopped.startswith("stopped at concurrency 2: ")
    assert found.stopped.endswith("requests failed; it answers 503 (no worker is left)")
    assert not found.gone
    assert not passed(found)


def test_a_server_that_dies_in_the_middle_keeps_what_was_measured() -> None:
    fake = Fake()

    def handle(handler: Any, body: dict[str, Any]) -> bool:
        if len(fake.bodies) > 3 + len(KNOWN) + 6 + 6:
            handler.close_connection = True
            threading.Thread(target=fake.stop).start()
            return True
        return False

    fake.handle = handle
    found = probed(fake)
    assert (found.steps[0].statuses, found.found) == ({"200": 6}, 29)
    assert found.gone.startswith(f"{fake.url} was lost at concurrency 2: it ")


def test_a_server_that_hangs_is_not_waited_for_again_and_again() -> None:
    fake, over = Fake(), threading.Event()

    def handle(handler: Any, body: dict[str, Any]) -> bool:
        if len(fake.bodies) > 3 + len(KNOWN) + 6:
            over.wait(30)
        return False

    fake.handle = handle
    bars = {"max_p95_ms": 10, "min_requests_per_second": 1}
    found = probed(fake, requests=100, timeout=0.5, bars=bars, until=over)
    assert found.steps[0].statuses == {"timeout": 11}  # more than a tenth of them
    assert "does not answer within 0.5 seconds" in found.gone
    assert found.gate is not None
    assert [(verdict.measured, verdict.passed) for verdict in found.gate.verdicts] == [(None, False)] * 2


def test_a_runpod_queue_is_wrapped_and_unwrapped() -> None:
    fake = Fake()

    def handle(handler: Any, body: dict[str, Any]) -> bool:
        job = body["input"]
        if job["inputs"] == "":
            send(handler, 200, {"id": "sync-1", "status": "FAILED", "error": "empty"})
        else:
            send(
                handler,
                200,
                {
                    "id": "sync-1",
                    "status": "COMPLETED",
                    "delayTime": 824,
                    "executionTime": 91,
                    "output": fake.reply(job),
                },
            )
        return True

    fake.handle = handle
    found = probed(fake, path="/v2/abc/runsync")
    assert (found.found, found.faults, found.errors) == (29, {}, 0)
    assert (found.queue_ms, found.inference_ms) == (824, 91)
    assert not found.remarks  # an empty text is refused by a job that failed


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"status": "IN_PROGRESS", "id": "sync-1"}, "answers in_progress"),
        ({"status": "FAILED", "error": "CUDA out of memory"}, "answers failed (CUDA out of memory)"),
        ({"status": "COMPLETED", "output": {"error": "no such model"}}, "answers completed (no such model)"),
        ({"status": "COMPLETED", "output": "Marie"}, "expected a list of entities"),
        ({"status": "COMPLETED"}, "expected a list of entities"),
    ],
)
def test_a_runpod_job_without_an_answer(job: dict[str, Any], said: str) -> None:
    def handle(handler: Any, body: dict[str, Any]) -> bool:
        send(handler, 200, job)
        return True

    with pytest.raises(TransferError) as error:
        probed(Fake(handle=handle), path="/v2/abc/runsync")
    assert said in str(error.value)


def test_agreement_is_the_share_of_texts_with_the_same_spans() -> None:
    def local(texts: Any) -> list[list[Entity]]:
        names = {"PER": "PERSON", "LOC": "LOC"}
        found = [
            [
                Entity(names[each["entity_group"]], "", each["start"], each["end"], 0.5)
                for each in entities(text)
            ]
            for text in texts
        ]
        return [[] if "Lyon" in text else each for text, each in zip(texts, found, strict=True)]

    found = probed(Fake(), predict=local, peer="ours", bars={"min_agreement": 0.5})
    assert (found.same, found.compared) == (2, 3)
    assert passed(found)
    assert not passed(probed(Fake(), predict=local, peer="ours", bars={"min_agreement": 0.67}))


@pytest.mark.parametrize(
    ("rates", "capacity"), [((10, 20, 20.5, 19), 1), ((10, 20, 40), 2), ((0, 0), None), ((), None)]
)
def test_capacity_is_where_throughput_stops_growing(rates: tuple[float, ...], capacity: int | None) -> None:
    found = Probe(
        "http://x/",
        "texts",
        steps=[RampStep(2**n, 1.0, {}, rate, None, None, None) for n, rate in enumerate(rates)],
    )
    assert found.capacity is (None if capacity is None else found.steps[capacity])


def test_texts_are_the_samples_or_lines(tmp_path: Path) -> None:
    texts = read_texts("sample")
    assert len(texts) == 200
    assert texts[0].startswith(
        "Vu la demande présentée le 3 avril par M. Firmin Delacourcelle, gérant de la SARL "
        "Menuiserie du Bocage, en vue d'occuper"
    )
    assert read_texts(str(sample.data() / "test.conll"))[:5] == texts[:5]
    (tmp_path / "a.txt").write_text("un\n\n deux \n")
    assert read_texts(str(tmp_path / "a.txt")) == ["un", "deux"]
    (tmp_path / "b.txt").write_text("\n")
    with pytest.raises(DataError, match="there is no text in it"):
        read_texts(str(tmp_path / "b.txt"))
    with pytest.raises(AffineurError):
        read_texts(str(tmp_path / "missing.txt"))
