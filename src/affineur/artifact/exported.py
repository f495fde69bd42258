"""``export_info.json``: what an exported graph holds.

No library of the base install could read out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from affineur.artifact.reading import WRONG, check_types, read_json
from affineur.artifact.scope import Matrix
from affineur.artifact.writing import write_json
from affineur.errors import ModelError, one_line

EXPORT_INFO = "export_info.json"


@dataclass(frozen=True, slots=True)
class ExportInfo:
    """What an exported graph holds.

    Args:
        engine: ``onnx`` or ``openvino``.
        opset: Version of the ONNX operators, 0 for OpenVINO.
        scheme: How the matrices are stored: ``fp32``, ``u8s8``, ``u8s8-reduced`` or ``u8u8``.
        target: The CPU it was made for: ``any``, ``vnni``, ``avx512``, ``avx2`` or ``arm``.
        parameters: Number of parameters.
        nonzero: Number of parameters that are not zero.
        parts: Bytes of embeddings, encoder and head, as the graph stores them.
        matrices: Weights and zeros of each matrix in scope, as the parent has them: layer, kind, name,
            weights, zeros.
        kept: Matrices kept in full precision though the scheme is not ``fp32``.
        parity: Agreement with the parent's logits: ``max_difference``, ``same_tags`` and so on.
        activations: How activations are scaled where matrices are in eight bits: ``static``, ``token`` or
            ``batch``.
        by_token: Matrices whose activations are scaled by ``token`` though the others' are ``static``.
    """

    engine: str
    opset: int
    scheme: str
    target: str
    parameters: int
    nonzero: int
    parts: Mapping[str, int]
    matrices: tuple[Mapping[str, Any], ...]
    kept: tuple[str, ...] = ()
    parity: Mapping[str, Any] | None = None
    activations: str | None = None
    by_token: tuple[str, ...] = ()

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Data types of the weights, as safetensors names them."""
        return ("F32",) if self.scheme == "fp32" else ("F32", "U8" if self.scheme == "u8u8" else "I8")

    @property
    def precision(self) -> str:
        """How matrices are stored and activations scaled, for people."""
        if self.scheme == "fp32":
            return "full precision"
        scales = self.activations or "batch"  # as all were before it was written down
        return f"{self.scheme} for {self.target}, {scales} scales" + (
            f" ({len(self.by_token)} matrices: token)" if self.by_token else ""
        )

    def scope(self) -> list[tuple[Matrix, int, int]]:
        """Return each matrix in scope with its weights and zeros."""
        return [
            (Matrix(int(m["layer"]), str(m["kind"]), str(m["name"])), int(m["weights"]), int(m["zeros"]))
            for m in self.matrices
        ]


def write_export_info(folder: Path, info: ExportInfo) -> None:
    """Write ``export_info.json`` into an artifact that is being built."""
    write_json(folder / EXPORT_INFO, asdict(info))


def read_export_info(folder: Path) -> ExportInfo | None:
    """Read ``export_info.json``, or return ``None`` where there is none: a graph that others exported.

    Raises:
        ModelError: If it is damaged.
    """
    path = folder / EXPORT_INFO
    if not path.is_file():
        return None
    try:
        raw = read_json(path)
        parts = {str(part): int(size) for part, size in raw["parts"].items()}
        counts = {name: int(raw[name]) for name in ("opset", "parameters", "nonzero")}
        info = ExportInfo(
            **{
                **raw,
                **counts,
                "parts": parts,
                "matrices": tuple(raw["matrices"]),
                "kept": tuple(raw["kept"]),
                "by_token": tuple(raw.get("by_token", ())),
            }
        )
        check_types(info)
        info.scope()
    except (OSError, *WRONG) as error:
        raise ModelError(f"{path} is damaged ({one_line(error)}); fetch or make the artifact again") from None
    return info
