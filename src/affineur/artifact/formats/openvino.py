"""A graph in OpenVINO's own representation."""

from __future__ import annotations

from affineur.artifact.formats.core.graph import GraphFormat


class OpenVino(GraphFormat):
    """``openvino_model.xml``, and the constants in a ``.bin`` beside it that is no pickle."""

    kind = "openvino"
    summary = "an OpenVINO graph"
    library = "openvino"
    extra = "openvino"
    prefixes = ("openvino",)
    files = ("openvino_model.xml", "openvino_model.bin")


FORMAT = OpenVino()
