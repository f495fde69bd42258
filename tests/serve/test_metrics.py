"""Names, units and labels of what Prometheus reads, parsed by its own client."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from affineur.serve.metrics import Metrics
from affineur.serve.service import Service

#: The contract with dashboards: name, kind, labels.
KNOWN = {
    ("http_server_request_duration_seconds", "histogram", ("method", "route", "status")),
    ("ner_queue_depth", "gauge", ("model",)),
    ("ner_waiting_inputs", "gauge", ("model",)),
    ("ner_waiting_tokens", "gauge", ("model",)),
    ("ner_queue_wait_seconds", "histogram", ("model",)),
    ("ner_inference_seconds", "histogram", ("model",)),
    ("ner_batch_size", "histogram", ("model",)),
    ("ner_batch_tokens", "histogram", ("model",)),
    ("ner_shed", "counter", ("reason",)),
    ("ner_answers_unheard", "counter", ()),
    ("ner_log_lines_dropped", "counter", ()),
    ("ner_entity_confidence", "histogram", ("label",)),
    ("ner_reloads", "counter", ("model", "outcome")),
    ("ner_model_info", "gauge", ("model", "sha256")),
}


def _families(text: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {(s.name, *(v for k, v in sorted(s.labels.items()))): s.value for s in family.samples}
        for family in text_string_to_metric_families(text.decode())
    }


def test_names_kinds_and_labels(service: Service, client: TestClient) -> None:
    client.post("/", json={"inputs": "Marie Duval habite à Paris ."})
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = [
        family
        for family in text_string_to_metric_families(answer.text)
        if not family.name.endswith("_created")
    ]
    told = {
        (f.name, f.type, tuple(sorted({label for s in f.samples for label in s.labels} - {"le"})))
        for f in families
    }
    assert {each for each in told if each[2]} <= KNOWN
    assert {(name, kind) for name, kind, _ in told} == {(name, kind) for name, kind, _ in KNOWN}


def test_a_request_is_counted_once_with_what_was_computed(service: Service, client: TestClient) -> None:
    before = _families(service.metrics.text()[0])
    texts = ["Marie Duval habite à Paris ."] * 3
    tokens = sum(map(len, service.models["ner"].tagger.read(texts).windows))
    assert client.post("/predict", json={"inputs": texts}).status_code == 200
    after = _families(service.metrics.text()[0])

    def more(family: str, *sample: str) -> float:
        return after[family][sample] - before[family].get(sample, 0)

    seconds = "http_server_request_duration_seconds"
    assert more(seconds, f"{seconds}_count", "POST", "/predict", "200") == 1
    assert more("ner_batch_size", "ner_batch_size_sum", "ner") == 3
    assert more("ner_batch_tokens", "ner_batch_tokens_sum", "ner") == tokens  # equal lengths: no padding
    assert more("ner_queue_wait_seconds", "ner_queue_wait_seconds_count", "ner") == 1
    assert 0 < more("ner_inference_seconds", "ner_inference_seconds_sum", "ner") < 30


def test_the_artifact_that_answers_is_told_by_its_digest(service: Service) -> None:
    info = _families(service.metrics.text()[0])["ner_model_info"]
    for name, model in service.models.items():
        assert info["ner_model_info", name, model.about.sha256] == 1


def test_two_endpoints_of_one_process_do_not_share_figures() -> None:
    one, other = Metrics(), Metrics()
    one.of("ner").held(3, 30)
    assert ("ner_waiting_inputs", "ner") not in _families(other.text()[0])["ner_waiting_inputs"]
    assert _families(one.text()[0])["ner_waiting_inputs"] == {("ner_waiting_inputs", "ner"): 3}
