"""Commands of the endpoint: serve, key."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from affineur import sample
from affineur.cli import options, show, watch_log
from affineur.cli.commands import SERVE, Commands
from affineur.cli.numbers import Number
from affineur.errors import MissingExtraError, ParameterError
from affineur.progress import report
from affineur.serve.settings import LIMITS
from affineur.transfer.places.core.place import shown

if TYPE_CHECKING:
    from affineur.serve.metrics import Figure
    from affineur.watch import Log

_EXTRA = {"fastapi", "fastapi_offline", "starlette", "uvicorn", "httptools", "prometheus_client"}
_PORT = Number(int, 0, 65535)


def _limit(name: str) -> Number:
    return Number(float if name in ("queue_seconds", "timeout", "drain") else int, *LIMITS[name])


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = commands.add(
        "serve",
        "an HTTP endpoint: Hugging Face's schema, KServe V2, RunPod, a page at /ui",
        SERVE,
        ("affineur serve", "affineur serve student_11L_int8 --host 0.0.0.0 --key-file keys"),
    )
    options.add_model(
        parser,
        "a folder, a Hub id, 'sample', or torch-int8: and one of these; an exported one needs no torch;"
        " without one, 'sample-int8' of affineur-fr",
        required=False,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: 127.0.0.1, this machine alone)",
    )
    parser.add_argument(
        "--port", type=_PORT, metavar="N", help="port; 0 takes any that is free (default: $PORT, or 8000)"
    )
    parser.add_argument(
        "--health-port",
        type=_PORT,
        metavar="N",
        help="a port for health checks alone, quick under any load; 0 takes any (default: $PORT_HEALTH)",
    )
    parser.add_argument(
        "--name", default="ner", metavar="NAME", help="name of the model in KServe's paths (default: ner)"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="NAME=MODEL",
        help="another model, under a name of its own; repeatable",
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="ask for an API key; make one with: affineur key FILE NAME",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-inputs",
        type=_limit("max_inputs"),
        default=256,
        metavar="N",
        help="texts in one request (default: 256)",
    )
    limits.add_argument(
        "--max-characters",
        type=_limit("max_characters"),
        default=100_000,
        metavar="N",
        help="characters in one text (default: 100000)",
    )
    limits.add_argument(
        "--max-tokens",
        type=_limit("max_tokens"),
        default=200_000,
        metavar="N",
        help="tokens in one request; fewer where those would take too long (default: 200000)",
    )
    limits.add_argument(
        "--max-body",
        "--max-body-bytes",
        dest="max_body_bytes",
        type=_limit("max_body_bytes"),
        default=4_000_000,
        metavar="BYTES",
        help="bytes of a request's body (default: 4000000)",
    )
    limits.add_argument(
        "--max-waiting",
        "--max-waiting-inputs",
        dest="max_waiting_inputs",
        type=_limit("max_waiting_inputs"),
        default=1024,
        metavar="TEXTS",
        help="texts accepted and not yet answered (default: 1024)",
    )
    limits.add_argument(
        "--queue-seconds",
        type=_limit("queue_seconds"),
        default=4.0,
        metavar="S",
        help="work that may wait before 429 (default: 4)",
    )
    limits.add_argument(
        "--timeout",
        type=_limit("timeout"),
        default=30.0,
        metavar="S",
        help="a request that waits longer is dropped with 429 (default: 30)",
    )
    limits.add_argument(
        "--batch-wait",
        type=Number(float, 0, 1000 * LIMITS["batch_wait"][1]),
        default=1.0,
        metavar="MS",
        help="how long an idle engine waits for a batch to fill (default: 1)",
    )
    limits.add_argument(
        "--drain",
        type=_limit("drain"),
        default=1.0,
        metavar="S",
        help="accept for this long after SIGTERM, not ready (default: 1)",
    )
    watch_log.add_options(parser)
    options.add_common(parser, threads=True)
    parser.set_defaults(run=_serve)

    parser = commands.add(
        "key",
        "make an API key for 'serve': shown once, kept as a digest",
        SERVE,
        ("affineur key keys Marie",),
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="file of keys; it is added to")
    parser.add_argument("name", metavar="NAME", help="whose key it is; it stands in the log")
    parser.add_argument("--admin", action="store_true", help="the key may also reload models")
    options.add_common(parser)
    parser.set_defaults(run=_key)


def _serve(args: argparse.Namespace) -> int:
    from affineur.pipeline.models import load_to_serve

    try:
        from affineur.serve import logs
        from affineur.serve.process.server import ServePlan, serve
        from affineur.serve.settings import Settings
        from affineur.serve.threads import working
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtraError("affineur serve", "serve") from None
    settings = Settings(
        max_inputs=args.max_inputs,
        max_characters=args.max_characters,
        max_tokens=args.max_tokens,
        max_body_bytes=args.max_body_bytes,
        max_waiting_inputs=args.max_waiting_inputs,
        queue_seconds=args.queue_seconds,
        timeout=args.timeout,
        batch_wait=args.batch_wait / 1000,
        drain=args.drain,
    )
    port = _port("PORT") if args.port is None else args.port
    health_port = _port("PORT_HEALTH") if args.health_port is None else args.health_port
    references = _references(args)

    def ready(url: str, health: str | None, seconds: float) -> None:
        checks = "" if health is None else f", health checks {health}/health"
        report(f"ready in {seconds:.1f} s: {url} (page {url}/ui, API {url}/docs{checks}); Ctrl+C ends it")
        if args.json is not None and str(args.json) != "-":
            told = {
                "url": url,
                "health_url": health,
                "pid": os.getpid(),
                "seconds": round(seconds, 3),
                "models": {name: shown(reference) for name, reference in references.items()},
            }
            show.to_json({name: value for name, value in told.items() if value is not None}, args.json)

    with watch_log.opened(args, "serve", lambda line: logs.event("watch log", message=line)) as log:
        plan = ServePlan(
            references,
            partial(load_to_serve, threads=args.threads),
            settings,
            args.host,
            8000 if port is None else port,
            health_port,
            args.key_file,
            *(() if log is None else ((log,), _figures(log), log.label)),
        )
        serve(plan, ready)
    if working():  # a model is still fetched or loaded; Python would wait for some of its threads
        logs.flush()
        os._exit(0)
    return 0


def _figures(log: Log) -> tuple[Figure, ...]:
    """Return what Prometheus is told of a log."""
    from affineur.serve.metrics import Figure
    from affineur.watch.log.writer import REASONS

    return (
        Figure("ner_log_texts_total", "Texts written to the log", lambda: {"": log.written}),
        Figure(
            "ner_log_dropped_total",
            "Texts answered that the log lacks",
            lambda: {reason: log.dropped.get(reason, 0) for reason in REASONS},
            "reason",
        ),
        Figure(
            "ner_log_waiting_texts", "Texts that wait to be written to the log", lambda: {"": log.waiting}
        ),
    )


def _key(args: argparse.Namespace) -> int:
    from affineur.serve.keys import add_key

    add_key(args.file, args.name, args.admin, lambda key: print(key, flush=True))
    report(f"the key is shown this once; {args.file} keeps its digest. Send it as: Authorization: Bearer KEY")
    return 0


def _references(args: argparse.Namespace) -> dict[str, str]:
    references = {args.name: args.model or sample.DEFAULT}
    for also in args.also:
        name, equals, reference = also.partition("=")
        if not equals or not name or not reference:
            raise ParameterError(f"--also {also} is not NAME=MODEL, for example teacher=sample")
        if name in references:
            raise ParameterError(f"--also {also}: the name {name} is taken; choose another")
        references[name] = reference
    for name in references:
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or len(name) > 64:
            raise ParameterError(
                f"'{name}' is no name for a model, expected up to 64 letters, digits, '.', '-' and '_'"
            )
    return references


def _port(variable: str) -> int | None:
    told = os.environ.get(variable)
    if not told:  # nor is one that a file of variables leaves blank
        return None
    if not (told.isascii() and told.isdigit()):
        raise ParameterError(f"${variable} is '{told}', expected a port")
    return int(told)
