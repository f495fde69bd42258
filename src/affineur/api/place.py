"""Where models are computed: on a device that is there, on a number of threads."""

from __future__ import annotations

from pathlib import Path

from affineur.engines.core.threads import check_threads
from affineur.steps.core.context import Context


def settle(device: str = "cpu", threads: int | None = None) -> None:
    """Refuse a device that is not there, and hold torch to a number of threads.

    Args:
        device: A torch device; ``cpu`` needs no torch.
        threads: Threads of torch, of this whole process from now on; ``None`` leaves them as they are.

    Raises:
        ParameterError: If the device is not there, or the number impossible.
    """
    check_threads(threads)
    if device != "cpu":
        from affineur.engines.support.checkpoints import pick_device

        pick_device(device)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def context_at(device: str, threads: int | None, cache: Path | None) -> Context:
    """Make a context without data yet.

    Args:
        device: A torch device.
        threads: Threads of every engine; ``None`` for one per usable processor.
        cache: Where teacher logits and scores are kept; ``None`` for the user's cache.
    """
    return Context(device, threads) if cache is None else Context(device, threads, Path(cache))
