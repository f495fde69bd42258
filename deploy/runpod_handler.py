"""A RunPod queue worker: jobs hold what ``/predict`` takes, their output is what it answers.

``MODEL_PATH`` names the model: a folder or a Hub id, by default ``/runpod-volume/model``, on the network
volume as RunPod shows it to workers.

    pip install 'affineur[serve]' runpod
    python runpod_handler.py                     # in a worker
    python runpod_handler.py --rp_serve_api      # here: RunPod's own API, port 8000
    python runpod_handler.py --test_input '{"input": {"inputs": "Marie Duval habite à Paris."}}'
"""

import os
import sys

# The SDK's default is DEBUG, which writes every job's output, and so the user's words, into the log. It is
# read at import.
os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")

import runpod

from affineur.errors import AffineurError
from affineur.pipeline.models import load_to_serve
from affineur.serve import logs
from affineur.serve.protocols.runpod import make_handler

#: Jobs that a worker takes at once; they share batches. More would keep them from other workers.
JOBS = 64


def main() -> None:
    """Load the model, then work until RunPod says to stop."""
    logs.set_up()
    try:
        handler = make_handler(os.environ.get("MODEL_PATH", "/runpod-volume/model"), load_to_serve)
    except AffineurError as error:
        sys.exit(f"error: {error}")
    runpod.serverless.start({"handler": handler, "concurrency_modifier": lambda _: JOBS})


if __name__ == "__main__":
    main()
