"""One file per step, each a change of a model: its parameters, and what it does; torch only inside.

Sub-packages hold what steps are made of: ``core`` (description, context, artifacts), ``pruning`` (one file
per method), ``training``, ``tailoring`` (layers, widths, pieces), ``graphs`` (ONNX).
"""
