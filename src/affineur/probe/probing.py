"""Probe an endpoint from outside.

Are its answers right, how long do they take, how many requests a second can it bear? All of it is checked
against thresholds where there are some.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from affineur.entities import Entity
from affineur.errors import ParameterError, counted
from affineur.measure.benchmark import CALLS, percentiles
from affineur.measure.gate import Gate, judge_bar
from affineur.probe.answers import KNOWN, differ, faults, is_piece, missing, renders, spans_of
from affineur.probe.client import Endpoint, Reply, check_url, connect, pause
from affineur.probe.findings import Probe, RampStep
from affineur.probe.texts import TEXTS
from affineur.progress import report

#: Share of a step's requests that may fail, beside those refused by 429, before the ramp stops.
STOP_SHARE = 0.1
_WARM_UP = 8  # requests
_PER_CONNECTION = 4  # requests of a step, at least: else its ends, where connections idle, are most of it
_MOST_CONNECTIONS = 1024

Predict = Callable[[Sequence[str]], Sequence[Sequence[Entity]]]


def probe(
    url: str,
    texts: Sequence[str],
    data: str = "texts",
    requests: int = TEXTS,
    concurrency: Sequence[int] = (1, 2, 4, 8, 16, 32, 64),
    key: str | None = None,
    timeout: float = 30.0,
    bars: Mapping[str, float] | None = None,
    predict: Predict | None = None,
    peer: str | None = None,
) -> Probe:
    """Probe an endpoint that speaks Hugging Face's token-classification schema, or a RunPod queue of it.

    Args:
        url: The address that takes POST; one that ends in ``/runsync`` is a RunPod queue.
        texts: What is sent.
        data: Name of the texts.
        requests: Requests at each concurrency; more connections than a quarter of it get four each.
        concurrency: Connections of the steps; one connection is always the first.
        key: Sent as ``Authorization: Bearer KEY``.
        timeout: Seconds a request may take.
        bars: Limits by the names of :data:`affineur.measure.bars.ENDPOINT`.
        predict: A local model that finds entities, to compare with; run when all is timed.
        peer: Name of the local model.

    Raises:
        ParameterError: If a number is impossible, the address is no URL, or a bar needs a model that is not
            given.
        EndpointError: If the endpoint cannot be reached, asks for a key, speaks another schema, or is lost
            before it is timed. One that is lost later is told in :attr:`Probe.gone`, so that what was
            measured is not.
        MissingExtraError: If aiohttp is not installed.
    """
    check_url(url)
    if requests < 1:
        raise ParameterError(f"requests={requests} is impossible, expected at least 1", "requests")
    if bad := [many for many in concurrency if not 1 <= many <= _MOST_CONNECTIONS]:
        raise ParameterError(
            f"concurrency={bad[0]} is impossible, expected 1 to {_MOST_CONNECTIONS}", "concurrency"
        )
    if bars and "min_agreement" in bars and predict is None:
        raise ParameterError("min_agreement needs a model to compare with, and there is none", "predict")
    found = Probe(url, data, peer=peer)
    answers = asyncio.run(_probe(found, texts, requests, sorted({1, *concurrency}), key, timeout))
    if predict is not None and not found.gone:
        report(f"comparing with {peer or 'the local model'}")
        _compare(found, [texts[number] for number in answers], list(answers.values()), predict)
    found.gate = _judge(found, bars) if bars else None
    return found


async def _probe(
    found: Probe, texts: Sequence[str], requests: int, steps: Sequence[int], key: str | None, timeout: float
) -> dict[int, list[dict[str, Any]]]:
    """Fill in everything but the comparison; return the answers at one connection, by the text's number."""
    async with connect(found.url, key, timeout) as endpoint:
        await _correctness(found, endpoint)
        await _step(endpoint, texts, 1, min(requests, _WARM_UP), "warming up")
        answers: dict[int, list[dict[str, Any]]] = {}
        for concurrency in steps:
            many = max(requests, _PER_CONNECTION * concurrency if concurrency > 1 else 1)
            step, replies = await _step(endpoint, texts, concurrency, many, f"{concurrency} at once")
            found.steps.append(step)
            for number, reply in replies:
                _judge_reply(found, texts[number], reply)
            answered = [(number, reply) for number, reply in replies if reply.found is not None]
            if concurrency == 1:
                answers = {number: reply.found or [] for number, reply in answered}
                found.queue_ms = _median(reply.queue_ms for _, reply in answered)
                found.inference_ms = _median(reply.inference_ms for _, reply in answered)
            if failed := [reply for _, reply in replies if reply.found is None and reply.kind != "429"]:
                said = Counter(reply.said for reply in failed).most_common(1)[0][0]
                if len(failed) > STOP_SHARE * many:
                    found.stopped = (
                        f"stopped at concurrency {concurrency}: {len(failed)} of "
                        f"{counted(len(replies), 'request')} failed; it {said}"
                    )
                    last = await endpoint.ask(texts[0])
                    if last.lost:
                        found.gone = str(
                            last.refusal(f"{found.url} was lost at concurrency {concurrency}: it")
                        )
                    break
        return answers


def _median(figures: Iterable[float | None]) -> float | None:
    told = [figure for figure in figures if figure is not None]
    return median(told) if told else None


async def _correctness(found: Probe, endpoint: Endpoint) -> None:
    """Ask the known sentences one by one and in a list, and nothing at all."""
    first = await endpoint.ask(KNOWN[0][0])
    if first.found and is_piece(first.found[0]):
        endpoint.parameters["aggregation_strategy"] = "simple"
        found.parameters = endpoint.parameters
        found.remarks["it answers pieces unless told otherwise; asked with aggregation_strategy simple"] = (
            None
        )
        first = await endpoint.ask(KNOWN[0][0])
    if first.found is None:
        raise first.refusal(found.url)
    empty = await endpoint.ask("")
    if empty.kind.startswith("5") or empty.lost:
        found.faults[f"an empty text: it {empty.said}, expected an error of the 400s"] = None
    elif empty.found is not None:
        found.remarks["an empty text is answered, not refused"] = None
    singles = []
    for done, (text, mentions) in enumerate(KNOWN, 1):
        report("known sentences", done, len(KNOWN))
        reply = await endpoint.ask(text)
        if reply.lost:
            raise reply.refusal(f"{found.url} was lost after {counted(done + 1, 'request')}: it")
        _judge_reply(found, text, reply)
        lacking = missing(text, mentions, reply.found or [])
        found.expected += len(mentions)
        found.found += len(mentions) - len(lacking)
        if lacking:
            found.missed.append(f"{', '.join(lacking)} in '{text}' ({_instead(reply)})")
        singles.append(reply.found)
    listed = await endpoint.ask([text for text, _ in KNOWN])
    found.requests += 1
    if listed.lost:
        raise listed.refusal(f"{found.url} was lost over a list of inputs: it")
    if listed.found is None:
        said = listed.said.partition(", expected")[0]
        wrong = [f"a list of {len(KNOWN)} texts: it {said}, expected a list of entities for each"]
    else:
        pairs = zip(KNOWN, singles, listed.found, strict=True)
        wrong = [
            f"'{text}' is answered otherwise in a list than alone"
            for (text, _), one, other in pairs
            if one is not None and differ(one, other)
        ]
        wrong += [
            fault
            for (text, _), entities in zip(KNOWN, listed.found, strict=True)
            for fault in faults(text, entities)
        ]
    found.errors += bool(wrong)
    found.faults.update(dict.fromkeys(wrong))


def _instead(reply: Reply) -> str:
    """Say what was answered where mentions are missing."""
    if reply.found is None:
        return f"it {reply.said}"
    named = [f"{each.get('entity_group', each.get('entity'))} {each.get('word')!r}" for each in reply.found]
    return f"found: {', '.join(named) or 'nothing'}"


async def _step(
    endpoint: Endpoint, texts: Sequence[str], concurrency: int, many: int, what: str
) -> tuple[RampStep, list[tuple[int, Reply]]]:
    """Send requests over as many connections; return the figures, and each reply with its text's number."""
    replies: list[tuple[int, Reply]] = []
    numbers = iter(range(many))
    failed = 0
    start = last = time.perf_counter()

    async def client() -> None:
        nonlocal failed, last
        for number in numbers:  # shared by all connections
            reply = await endpoint.ask(texts[number % len(texts)])
            last = time.perf_counter()
            replies.append((number % len(texts), reply))
            report(what, len(replies), many)
            if reply.kind == "429":
                await pause(reply)
            failed += reply.found is None and reply.kind != "429"
            if failed > STOP_SHARE * many:  # a server that hangs is not waited for hundreds of times
                return

    await asyncio.gather(*(client() for _ in range(concurrency)))
    times = [reply.seconds for _, reply in replies if reply.found is not None]
    seconds = max(last - start, 1e-9)
    ranks = percentiles(times) if times else (None, None, None)
    statuses = dict(sorted(Counter(reply.kind for _, reply in replies).items()))
    return RampStep(concurrency, seconds, statuses, len(times) / seconds, *ranks), replies


def _judge_reply(found: Probe, text: str, reply: Reply) -> None:
    """Count a request, and what is wrong with its answer."""
    found.requests += 1
    if reply.found is None:
        found.errors += reply.kind != "429"
        return
    wrong = faults(text, reply.found)
    found.errors += bool(wrong)
    found.faults.update(dict.fromkeys(wrong))
    if not wrong and renders(text, reply.found):
        found.remarks["words are the tokenizer's rendering, not the text between the offsets"] = None


def _compare(
    found: Probe, texts: Sequence[str], answers: Sequence[Sequence[dict[str, Any]]], predict: Predict
) -> None:
    """Count the texts in which a local model finds the same spans, as :func:`spans_of` sees them."""
    local = predict(texts) if texts else []
    found.compared = len(texts)
    pairs = zip(texts, answers, local, strict=True)
    found.same = sum(
        spans_of(text, theirs) == spans_of(text, [entity.as_dict() for entity in ours])
        for text, theirs, ours in pairs
    )


def _judge(found: Probe, bars: Mapping[str, float]) -> Gate:
    alone, top = found.steps[0], found.capacity
    calls = alone.statuses.get("200", 0)
    timed = f"{counted(calls, 'answer')}, one request after another"
    few = f"; too few for a 99th percentile, which needs {CALLS:,}" if calls < CALLS else ""
    figures: dict[str, tuple[float | None, str]] = {
        "max_p95_ms": (alone.p95_ms, timed),
        "max_p99_ms": (alone.p99_ms, timed + few),
        "min_requests_per_second": (top.requests_per_second, f"{top.concurrency} at once")
        if top
        else (None, "no request was answered"),
        "min_found": (found.found / found.expected, f"{found.found} of {found.expected} known mentions"),
        "max_errors": (
            found.errors / found.requests,
            f"{found.errors:,} of {counted(found.requests, 'request')} failed or have a fault; 429 aside",
        ),
        "min_agreement": (
            found.same / found.compared if found.compared else None,
            f"{found.same} of {counted(found.compared, 'text')} with the spans of {found.peer}"
            if found.compared
            else "no text was compared",
        ),
    }
    return Gate(
        found.url,
        found.data,
        None,
        tuple(judge_bar(name, limit, *figures[name]) for name, limit in bars.items()),
    )
