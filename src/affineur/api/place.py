"""Where models are computed: on a device that is there, on a number of threads."""

from __future__ import annotations


def settle(device: str = "cpu", threads: int | None = None) -> None:
    """Refuse a device that is not there, and hold torch to a number of threads.

    Args:
        device: A torch device; ``cpu`` needs no torch.
        threads: Threads of torch, of this whole process from now on; ``None`` leaves them as they are.

    Raises:
        ParameterError: If the device is not there.
    """
    if device != "cpu":
        from affineur.engines.support.checkpoints import pick_device

        pick_device(device)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
