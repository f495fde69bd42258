"""Which numbers training multiplies in: weights and their updates stay in fp32 whatever is chosen."""

from __future__ import annotations

from typing import Literal

from affineur.artifact.environment import environment
from affineur.errors import ParameterError

#: What can be asked for.
Precision = Literal["auto", "fp32", "bf16"]
#: Instructions that multiply in bf16: AVX-512 BF16 and AMX on x86, the BF16 extension on ARM.
_INSTRUCTIONS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def precision_on(asked: Precision, device: str) -> Literal["fp32", "bf16"]:
    """Choose what matrices are multiplied in while training on a device.

    Under bf16, torch's autocast multiplies in bf16 and keeps sums, norms and losses in fp32 (Micikevicius et
    al. 2018, arXiv 1710.03740). With bf16 no loss needs scaling (Kalamkar et al. 2019, arXiv 1905.12322).

    Args:
        asked: ``auto`` takes bf16 where the device has instructions for it.
        device: ``cpu``, or a CUDA device.

    Raises:
        ParameterError: If bf16 is asked for where it would only be emulated, which is slower than fp32.
    """
    if asked == "fp32":
        return "fp32"
    if device.startswith("cuda"):
        import torch

        able, lacks = torch.cuda.is_bf16_supported(including_emulation=False), "this GPU computes no bf16"
    else:
        known = " ".join(sorted(_INSTRUCTIONS))
        able = bool(_INSTRUCTIONS.intersection(environment()["cpu_flags"]))
        lacks = f"this CPU has no bf16 instructions (none of {known})"
    if asked == "bf16" and not able:
        raise ParameterError(f"precision=bf16: {lacks}; use auto or fp32", "precision")
    return "bf16" if able else "fp32"
