"""A tagger on torch, and the guide's way of quantizing it in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from affineur.artifact import ModelFolder, open_folder
from affineur.engines.support.checkpoints import load_encoder, load_model
from affineur.errors import ModelError
from affineur.runtime import DEFAULT_BUDGET, Encoder, EngineTagger, Logits
from affineur.runtime import pad as pad_arrays


class TorchTagger(EngineTagger):
    """Tags words with a torch token classifier.

    Args:
        model: The model, in evaluation mode, on its device.
        encoder: Cuts words into windows of pieces.
        labels: Labels in the order of the outputs.
        budget: Padded tokens in one batch.
    """

    def __init__(
        self, model: nn.Module, encoder: Encoder, labels: Sequence[str], budget: int = DEFAULT_BUDGET
    ) -> None:
        super().__init__(encoder, labels, budget)
        self.model = model

    def forward(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]) -> Logits:
        """Compute logits of shape ``(sequences, longest, labels)``."""
        return self._numbers(self._output(ids, mask).logits)

    def _output(self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], **wanted: bool) -> Any:
        """Run the model on its device; ``wanted`` asks for more than logits."""
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        given = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
        with torch.inference_mode():
            return self.model(input_ids=given[0], attention_mask=given[1], **wanted)

    @staticmethod
    def _numbers(output: torch.Tensor) -> Logits:
        numbers: Logits = output.float().cpu().numpy()
        return numbers


def pad(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad piece sequences to the longest: ids and attention mask, both of shape ``(sequences, longest)``."""
    ids, mask = pad_arrays(sequences, pad_id)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def load_tagger(
    path: ModelFolder | Path | str, device: str = "cpu", int8: bool = False, threads: int | None = None
) -> TorchTagger:
    """Load a model folder as a tagger.

    Args:
        path: The folder.
        device: A torch device.
        int8: Quantize the linear layers in memory the guide's way (§3B, torch dynamic quantization; CPU
            only).
        threads: Threads of torch, of this whole process from now on; ``None`` leaves them as they are.

    Raises:
        ModelError: If the folder is not a usable model.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    folder = path if isinstance(path, ModelFolder) else open_folder(path)
    model: nn.Module = load_model(folder, "cpu" if int8 else device)
    if int8:
        model = quantize_dynamic(model)
    return TorchTagger(model, load_encoder(folder), folder.labels)


def quantize_dynamic(model: nn.Module) -> nn.Module:
    """Quantize as the guide's §3B does: ``torch.quantization.quantize_dynamic`` on every ``nn.Linear``.

    It is the baseline that later work must beat. torch 2.13 warns that it will go; that is expected here.

    Raises:
        ModelError: If this torch has no quantized kernels for this CPU.
    """
    import warnings

    if torch.backends.quantized.engine == "none":
        raise ModelError("this torch has no quantized kernels for this CPU")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # the same function as torch.quantization.quantize_dynamic
        quantize: Any = torch.ao.quantization.quantize_dynamic
        return quantize(model, {nn.Linear}, dtype=torch.qint8)  # type: ignore[no-any-return]


def serialized_size(model: nn.Module) -> int:
    """Return the bytes ``torch.save`` writes for a model's state."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getbuffer().nbytes
