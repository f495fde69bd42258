"""How many layers and neurons a model can keep; no torch, so that it is known before a model is read."""

from __future__ import annotations

from affineur.artifact import ModelFolder
from affineur.errors import ModelError, ParameterError, counted

_WIDTHS = ("intermediate_size", "hidden_dim")


def check_layers(wanted: int, have: int, fewer: bool = False) -> None:
    """Check a number of layers to keep.

    Args:
        wanted: The number.
        have: Layers of the model.
        fewer: Whether at least one has to go.

    Raises:
        ParameterError: If it is less than 1 or more than can be kept.
    """
    most = have - fewer
    if not 1 <= wanted <= most:
        wish = f"give a number from 1 to {most}" if most else "none of them can go"
        raise ParameterError(
            f"layers={wanted} is impossible: the model has {counted(have, 'encoder layer')}, so {wish}",
            "layers",
        )


def check_width(ffn_width: float, model: ModelFolder) -> int:
    """Turn a width asked for into a number of neurons.

    Args:
        ffn_width: Neurons each feed-forward layer keeps; below 1 a share of what it has.
        model: The model.

    Raises:
        ParameterError: If no layer could have that many, or all would stay.
        ModelError: If the configuration says nothing of the width.
    """
    have = model.config[width_key(model)]
    # Written so that NaN fails too.
    width = round(ffn_width * have) if ffn_width < 1 else int(ffn_width) if 1 < ffn_width < have else 0
    if not 0 < width < have or (ffn_width >= 1 and width != ffn_width):
        raise ParameterError(
            f"ffn_width={ffn_width:g} is impossible: the layers have {have} neurons, "
            f"expected 2 to {have - 1}, or a share below 1",
            "ffn_width",
        )
    return width


def width_key(model: ModelFolder) -> str:
    """Return what a configuration calls the width of its feed-forward layers.

    Raises:
        ModelError: If it says nothing of it.
    """
    for name in _WIDTHS:
        if isinstance(model.config.get(name), int):
            return name
    raise ModelError(
        f"{model.path}/config.json says nothing of the width of its feed-forward layers, "
        f"expected {' or '.join(_WIDTHS)}"
    )
