"""ONNX graphs: traced, tidied, stored in eight bits."""
