"""A tagger on torch: words in, logits and tags out, in length-sorted token-budget batches."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from affineur.artifact import open_folder
from affineur.compress.models import load_encoder, load_model
from affineur.entities import Entity
from affineur.errors import ModelError
from affineur.runtime import DEFAULT_BUDGET, Encoder, Logits, Window, best_labels, plan_batches, predict_batch


class TorchTagger:
    """Tags words with a torch token classifier.

    Args:
        model: The model, in evaluation mode, on its device.
        encoder: Cuts words into windows of pieces.
        labels: Labels in the order of the outputs.
        budget: Padded tokens in one batch.
    """

    def __init__(self, model: nn.Module, encoder: Encoder, labels: Sequence[str], budget: int = DEFAULT_BUDGET) -> None:
        self.model = model
        self.encoder = encoder
        self._labels = tuple(labels)
        self.budget = budget

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self._labels

    def whole(self) -> TorchTagger:
        """Return the same model as a tagger that takes up to 256 windows as one batch, whatever their length."""
        return TorchTagger(self.model, self.encoder, self._labels, budget=1 << 40)

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the likeliest label of each word; a word the tokenizer drops is ``O``."""
        return [best_labels(logits, self._labels)[0] for logits in self.logits(sentences)]

    def logits(self, sentences: Sequence[Sequence[str]], batch_size: int | None = None) -> list[Logits]:
        """Return the logits of each word, read at its first piece.

        Args:
            sentences: Words of each sentence.
            batch_size: Most windows in a batch; ``None`` for the token budget alone.

        Returns:
            One array of shape ``(words, labels)`` a sentence; a word the tokenizer drops is all NaN.

        Raises:
            ModelError: If the model itself gives NaN or infinity.
        """
        found = [np.full((len(words), len(self._labels)), np.nan, dtype=np.float32) for words in sentences]
        windows = list(self.encoder.windows(sentences))
        budget = self.budget if batch_size is None else 1 << 40
        for batch in plan_batches([len(w) for w in windows], budget, batch_size or 256):
            chosen = [windows[i] for i in batch]
            output = self._forward(chosen)
            for window, rows in zip(chosen, output, strict=True):
                found[window.sentence][list(window.words)] = rows[list(window.positions)]
        return found

    def predict(self, text: str) -> list[Entity]:
        """Find the entities of one raw text, with character offsets."""
        return self.predict_batch([text])[0]

    def predict_batch(self, texts: Sequence[str], batch_size: int = 32) -> list[list[Entity]]:
        """Find the entities of many raw texts: sorted by length inside, results in input order.

        Args:
            texts: Raw texts of any length.
            batch_size: Most sequences in one batch.
        """
        return predict_batch(self, texts, batch_size)

    def _forward(self, windows: Sequence[Window]) -> Logits:
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        ids, mask = pad([w.ids for w in windows], self.encoder.pad_id)
        with torch.inference_mode():
            output = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        logits: Logits = output.float().cpu().numpy()
        if not np.isfinite(logits).all():
            raise ModelError("the model's outputs are not numbers (NaN or infinite); its weights are damaged")
        return logits


def pad(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad piece sequences to the longest: ids and attention mask, both of shape ``(sequences, longest)``."""
    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.from_numpy(np.array(sequence, dtype=np.int64))
        mask[row, : len(sequence)] = 1
    return ids, mask


def load_tagger(path: Path | str, device: str = "cpu", int8: bool = False) -> TorchTagger:
    """Load a model folder as a tagger.

    Args:
        path: The folder.
        device: A torch device.
        int8: Quantize the linear layers in memory the guide's way (§3B, torch dynamic quantization; CPU only).

    Raises:
        ModelError: If the folder is not a usable model.
    """
    folder = open_folder(path)
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
        quantize: Any = torch.ao.quantization.quantize_dynamic  # the same function as torch.quantization.quantize_dynamic
        return quantize(model, {nn.Linear}, dtype=torch.qint8)  # type: ignore[no-any-return]


def serialized_size(model: nn.Module) -> int:
    """Return the bytes ``torch.save`` writes for a model's state."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getbuffer().nbytes
