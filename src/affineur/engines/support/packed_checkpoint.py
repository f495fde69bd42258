"""What transformers loads packed folders with; imported only then (see :mod:`affineur.registration`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from affineur.artifact.manifest import verify
from affineur.artifact.packed import PACKED, is_packed, read_format, read_layout, unpack
from affineur.artifact.packed_files import check_packed
from affineur.errors import ModelError

# By name: not every torch has them all.
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


class PackedConfig(QuantizationConfigMixin):
    """``quantization_config`` of a packed folder (keys: ``docs/packed-format.md``)."""

    def __init__(self, **written: Any) -> None:
        self.quant_method = PACKED  # type: ignore[assignment]  # an enumeration of transformers' own
        self.tensors = read_format(written)
        self.dequantize = True  # after loading, transformers forgets that the model was ever packed


class Unpack(ConversionOps):
    """Makes packed tensors dense, in the dtype that the model was asked for; dense ones pass."""

    def __init__(self, hf_quantizer: object = None) -> None:
        """Take, as every loading operation does, the quantizer; it is not needed."""

    def convert(
        self,
        input_dict: dict[str, Any],
        *_words: Any,
        model: Any = None,
        full_layer_name: str = "",
        **_options: Any,
    ) -> dict[str, Any]:
        """Return the tensors under the same names."""

        def dense(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dtype != torch.uint8 or tensor.ndim != 1:
                return tensor
            raw = tensor.cpu().numpy()
            if not is_packed(raw[:8].tobytes()):
                return tensor
            layout = read_layout(raw, full_layer_name)
            made = (
                torch.from_numpy(unpack(raw, layout).view("u1"))
                .view(getattr(torch, _DTYPES[layout.dtype]))
                .reshape(layout.shape)
            )
            return made.to(tensor.device, model.get_parameter_or_buffer(full_layer_name).dtype)

        return {
            name: [dense(t) for t in found] if isinstance(found, list) else dense(found)
            for name, found in input_dict.items()
        }

    @property
    def reverse_op(self) -> Unpack:
        """What saving does: nothing, for by then all tensors are dense."""
        return self


class PackedQuantizer(HfQuantizer):
    """Loads a packed folder as the dense model it was made of.

    Digests are taken in a thread of their own while tensors are unpacked (sha256 and numpy work without the
    interpreter's lock, and each takes about as long as the other); no model is handed out before they are
    found right.
    """

    quantization_config: PackedConfig
    requires_calibration = True  # a dense model is not packed by loading it, but by: affineur pack
    serialized_names = {"weight": ["weight"]}

    def get_load_operations(self) -> dict[str, Any]:
        """Say how the serialized names are loaded."""
        return {"dequantize": Unpack}

    def _process_model_before_weight_loading(
        self, model: Any, checkpoint_files: Sequence[str] | None = None, **_options: Any
    ) -> Any:
        files = [Path(file) for file in checkpoint_files or ()]
        pool = ThreadPoolExecutor(1)
        self._verified: Future[None] = pool.submit(_verify, {file.parent for file in files})
        pool.shutdown(wait=False)
        try:
            found = check_packed(files, self.quantization_config.tensors)
        except ModelError:
            self._verified.result()  # that a file is not the one written says more than what is wrong in it
            raise
        # A base model's names lack the prefix that the same tensors have in a model with a head.
        prefix = f"{model.base_model_prefix}."
        expected = {name.removeprefix(prefix): tensor.shape for name, tensor in model.state_dict().items()}
        if any(
            tensor.shape != expected.get(tensor.name.removeprefix(prefix), tensor.shape) for tensor in found
        ):
            self._verified.result()  # transformers is about to raise, and the digest knows better why
        return model

    def _process_model_after_weight_loading(self, model: Any, **_options: Any) -> Any:
        self._verified.result()
        return model

    def is_serializable(self) -> bool:
        """Say that a loaded model can be saved: as a dense one."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Say that a loaded model can be trained: it is dense."""
        return True


def _verify(folders: Iterable[Path]) -> None:
    for folder in folders:
        verify(folder)
