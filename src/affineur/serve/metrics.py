"""What Prometheus is told: base units, ``_total`` for counters, and never a label made of a user's text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

# Where this is set, figures lie in files that are mapped into memory, and a full disk ends the process by
# SIGBUS. This process is the only one that writes them.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
os.environ.pop("prometheus_multiproc_dir", None)

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WINDOWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Figure:
    """What somebody else counts, and is asked for when Prometheus asks.

    Args:
        name: Its name; that of a counter ends in ``_total``, any other is a gauge.
        about: What it is.
        values: Returns its values, by that of its label.
        label: Its label; without one there is one value, by ``""``.
    """

    name: str
    about: str
    values: Callable[[], Mapping[str, float]]
    label: str | None = None


class _Figures(Collector):
    def __init__(self, figures: Iterable[Figure]) -> None:
        self._figures = tuple(figures)

    def collect(self) -> Iterator[Metric]:
        for figure in self._figures:
            labels = [] if figure.label is None else [figure.label]
            family = (CounterMetricFamily if figure.name.endswith("_total") else GaugeMetricFamily)(
                figure.name, figure.about, labels=labels
            )
            for value, number in figure.values().items():
                family.add_metric([value] if labels else [], number)
            yield family


class Metrics:
    """The figures of one endpoint, in a registry of its own.

    Args:
        figures: What others count beside.
    """

    def __init__(self, figures: Iterable[Figure] = ()) -> None:
        registry = self._registry = CollectorRegistry()
        registry.register(_Figures(figures))

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(name, about, ("model", *labels), registry=registry)

        self.requests = Histogram(
            "http_server_request_duration_seconds",
            "Time from the head of a request to the end of its answer",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_depth = gauge("ner_queue_depth", "Windows of text that wait to be computed")
        self.waiting_inputs = gauge(
            "ner_waiting_inputs", "Texts accepted and not yet answered: permits that are held"
        )
        self.waiting_tokens = gauge("ner_waiting_tokens", "Tokens accepted and not yet answered")
        self.queue_wait = Histogram(
            "ner_queue_wait_seconds",
            "Time before a request is computed",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.inference = Histogram(
            "ner_inference_seconds",
            "Time a batch is computed",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "ner_batch_size", "Windows in a batch", ("model",), buckets=_WINDOWS, registry=registry
        )
        self.batch_tokens = Histogram(
            "ner_batch_tokens",
            "Tokens in a batch, padding counted",
            ("model",),
            buckets=_TOKENS,
            registry=registry,
        )
        self.shed = Counter(
            "ner_shed_total", "Requests refused or dropped under load", ("reason",), registry=registry
        )
        self.confidence = Histogram(
            "ner_entity_confidence", "Score of entities found", ("label",), buckets=_SHARES, registry=registry
        )
        self.reloads = Counter(
            "ner_reloads_total", "Attempts to load another artifact", ("model", "outcome"), registry=registry
        )
        self.unheard = Counter(
            "ner_answers_unheard_total",
            "Answers that listeners were not told of, since too many waited already",
            registry=registry,
        )
        self.unlogged = Counter(
            "ner_log_lines_dropped_total",
            "Lines of the log that were dropped, since nobody reads standard error",
            registry=registry,
        )
        self.model_info = gauge("ner_model_info", "1 for the artifact that answers", "sha256")

        self._models: dict[str, ModelMetrics] = {}

    def of(self, model: str) -> ModelMetrics:
        """Return what is told of one model."""
        if model not in self._models:
            self._models[model] = ModelMetrics(self, model)
        return self._models[model]

    def text(self) -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class ModelMetrics:
    """The figures of one model: what its batcher and its requests tell.

    Args:
        metrics: The endpoint's.
        model: The name it is served under.
    """

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._depth = metrics.queue_depth.labels(model)
        self._wait = metrics.queue_wait.labels(model)
        self._inference = metrics.inference.labels(model)
        self._size = metrics.batch_size.labels(model)
        self._tokens = metrics.batch_tokens.labels(model)
        self._inputs, self._waiting_tokens = (
            metrics.waiting_inputs.labels(model),
            metrics.waiting_tokens.labels(model),
        )

    def batch(self, windows: int, tokens: int, seconds: float) -> None:
        """A batch was computed."""
        self._size.observe(windows)
        self._tokens.observe(tokens)
        self._inference.observe(seconds)

    def waited(self, seconds: float) -> None:
        """A request began to be computed after this time."""
        self._wait.observe(seconds)

    def depth(self, windows: int) -> None:
        """This many windows wait."""
        self._depth.set(windows)

    def held(self, inputs: int, tokens: int) -> None:
        """So many permits are held."""
        self._inputs.set(inputs)
        self._waiting_tokens.set(tokens)
