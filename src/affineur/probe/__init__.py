"""Probe a running endpoint from outside: is it right, how fast, and for how many at once.

It asks any server that speaks Hugging Face's token-classification schema, ours or another.
"""

from affineur.probe.client import EndpointError, check_url
from affineur.probe.findings import Probe, RampStep
from affineur.probe.probing import probe
from affineur.probe.texts import read_texts

__all__ = ["EndpointError", "Probe", "RampStep", "check_url", "probe", "read_texts"]
