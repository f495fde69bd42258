"""The command that asks a server that runs: probe-endpoint."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from affineur.cli import options, show
from affineur.cli.commands import SERVE, Commands
from affineur.cli.numbers import SECONDS, Number
from affineur.errors import AffineurError, ParameterError, TransferError, counted

if TYPE_CHECKING:
    from affineur.probe import Probe, RampStep

_MISSED = 3
_SHOWN = 5  # faults
_COLUMNS = ("At once", "Requests/s", "p50 ms", "p95 ms", "p99 ms", "200", "429", "Others")


def add_parsers(commands: Commands) -> None:
    """Add the command of this module."""
    parser = commands.add(
        "probe-endpoint",
        "test a running endpoint: correctness, latency, capacity",
        SERVE,
        ("affineur probe-endpoint http://127.0.0.1:8000 --bars bars/endpoint.yaml",),
        "Any server with the Hugging Face schema; exit status 3 where a bar is missed.",
    )
    parser.add_argument(
        "url", metavar="URL", help="the address that takes POST; one that ends in /runsync is a RunPod queue"
    )
    parser.add_argument(
        "--bars",
        metavar="BARS.yaml",
        type=Path,
        help="what has to be reached; bars/endpoint.yaml holds every bar with a usual value",
    )
    parser.add_argument(
        "--requests",
        metavar="N",
        type=Number(int, 1, 10_000_000),
        default=200,
        help="requests at each concurrency, at least 4 per connection (default: 200)",
    )
    parser.add_argument(
        "--concurrency",
        metavar="1,2,…",
        default="1,2,4,8,16,32,64",
        help="connections of the ramp (default: 1,2,4,8,16,32,64)",
    )
    parser.add_argument(
        "--key",
        metavar="KEY",
        help="API key, sent as a bearer token (default: the environment's AFFINEUR_KEY)",
    )
    parser.add_argument(
        "--timeout", metavar="S", type=SECONDS, default=30.0, help="seconds a request may take (default: 30)"
    )
    parser.add_argument(
        "--agree-with",
        metavar="MODEL",
        help="a model to load here, whose spans are compared with the server's",
    )
    options.add_data(parser, required=False)
    options.add_common(parser, device=True)
    parser.set_defaults(run=_probe, data="sample")


def _probe(args: argparse.Namespace) -> int:
    from affineur.measure.bars import read_endpoint_bars
    from affineur.measure.gate import gate_lines
    from affineur.probe import EndpointError, check_url, probe, read_texts

    check_url(args.url)
    bars = read_endpoint_bars(args.bars) if args.bars else None
    concurrency = _concurrency(args.concurrency)
    texts = read_texts(args.data, options.data_options(args))
    predict = None
    if args.agree_with:
        from affineur.pipeline import load

        predict = load(args.agree_with, args.device).predict_batch
    key = args.key or os.environ.get("AFFINEUR_KEY")
    if bars and "min_agreement" in bars and predict is None:
        raise ParameterError("min_agreement needs a model to compare with; type: --agree-with MODEL")
    try:
        found = probe(
            args.url,
            texts,
            args.data,
            args.requests,
            concurrency,
            key,
            args.timeout,
            bars,
            predict,
            args.agree_with,
        )
    except EndpointError as error:
        if error.kind in ("401", "403"):
            raise TransferError(f"{error}: with --key, or in AFFINEUR_KEY") from None
        raise
    _show(found)
    if found.gate:
        show.lines(gate_lines(found.gate))
    show.to_json(found.as_dict(), args.json)
    if found.gone:
        raise TransferError(found.gone)
    if found.gate and not found.gate.passed:
        return _MISSED
    if found.faults:
        raise AffineurError(
            f"{args.url} gives answers that cannot be true: {counted(len(found.faults), 'fault')}, "
            f"the first: {next(iter(found.faults))}"
        )
    return 0


def _concurrency(text: str) -> list[int]:
    try:
        return [int(part) for part in options.split_list(text) or [""]]
    except ValueError:
        raise ParameterError(
            f"--concurrency '{text}' is no list of numbers, expected such as 1,8,64"
        ) from None


def _show(found: Probe) -> None:
    from affineur.measure.bars import plain

    seen = f"{found.found} of {found.expected} known mentions found"
    lines = [f"correctness: {seen}, {counted(len(found.faults), 'fault')}"]
    lines += [f"  missed {miss}" for miss in found.missed]
    lines += [f"  fault: {fault}" for fault in list(found.faults)[:_SHOWN]]
    if len(found.faults) > _SHOWN:
        lines.append(f"  … and {counted(len(found.faults) - _SHOWN, 'more fault')}")
    lines += [f"  note: {remark}" for remark in found.remarks]
    show.lines([plain(line) for line in lines])
    show.table(_COLUMNS, [_cells(step) for step in found.steps])
    server = [
        f"{_ms(figure)} ms {where}"
        for figure, where in ((found.queue_ms, "in its queue"), (found.inference_ms, "in its model"))
        if figure is not None
    ]
    show.lines([f"the server's own clock, one at a time: {', '.join(server)} (p50)"] if server else [])
    top = found.capacity
    if top is not None and len(found.steps) > 1:
        grows = "still grows" if top is found.steps[-1] else "stops growing"
        rate = f"{top.requests_per_second:.1f} requests/s"
        show.lines([f"capacity: throughput {grows} at concurrency {top.concurrency} ({rate})"])
    if found.stopped:
        show.lines([plain(found.stopped)])
    if found.compared:
        texts = f"{found.same} of {counted(found.compared, 'text')}"
        show.lines([f"agreement: {texts} with the same spans as {found.peer}"])


def _cells(step: RampStep) -> list[str]:
    others = [f"{many} {kind}" for kind, many in step.statuses.items() if kind not in ("200", "429")]
    figures = [_ms(figure) for figure in (step.p50_ms, step.p95_ms, step.p99_ms)]
    many = [str(step.statuses.get(kind, 0)) for kind in ("200", "429")]
    return [
        str(step.concurrency),
        f"{step.requests_per_second:.1f}",
        *figures,
        *many,
        ", ".join(others) or "0",
    ]


def _ms(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.1f}"
