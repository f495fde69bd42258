#!/usr/bin/env python3
"""Guide §10: test inference of a model in this process: known sentences, batch against single, latency
percentiles.

Given the URL of a server, it is affineur probe-endpoint, with its options.
"""

import argparse
import statistics
import sys
import time

from affineur.cli.main import guarded
from affineur.cli.main import main as affineur
from affineur.cli.show import entities
from affineur.errors import AffineurError

SENTENCES = (
    "Marie travaille à l'hôpital de Paris.",
    "Jean Dupuis et Awa Ndiaye habitent à Lyon depuis 2019.",
    "La réunion aura lieu demain matin dans la grande salle.",
    "Le musée de Strasbourg expose une toile prêtée par la Belgique.",
)


def main() -> int:
    if any(word.startswith(("http://", "https://")) for word in sys.argv[1:]):
        return affineur(["probe-endpoint", *sys.argv[1:]])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "model",
        nargs="?",
        help="folder or Hub id (default: the last of the guide's folders, else the sample)",
    )
    parser.add_argument(
        "--requests", type=int, default=100, help="single-sentence predictions to time (default: 100)"
    )
    args = parser.parse_args()

    def command() -> int:
        from affineur.pipeline import guide, load  # brings torch, which a URL does not need

        model = load(args.model or guide.latest())
        batch = model.predict_batch(SENTENCES)
        for text, found in zip(SENTENCES, batch, strict=True):
            entities(text, found)
        wrong = [
            t
            for t, together in zip(SENTENCES, batch, strict=True)
            if _spans(model.predict(t)) != _spans(together)
        ]
        if wrong:
            raise AffineurError(f"a batch and a single prediction differ on '{wrong[0]}'")
        times = sorted(
            _milliseconds(model, SENTENCES[i % len(SENTENCES)]) for i in range(max(2, args.requests))
        )
        p50, p95 = statistics.median(times), times[int(0.95 * (len(times) - 1))]
        print(
            f"{len(times)} single sentences: p50 {p50:.1f} ms, p95 {p95:.1f} ms; batches and single "
            f"predictions agree"
        )
        return 0

    return guarded(command, parser.prog)


def _spans(found: list) -> list:
    return [(entity.type, entity.start, entity.end) for entity in found]


def _milliseconds(model: object, text: str) -> float:
    start = time.perf_counter()
    model.predict(text)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
