"""The only room with torch: train, distill, prune, recover, and a tagger on torch."""

from affineur.compress.distillation import distill
from affineur.compress.finetuning import train
from affineur.compress.layers import choose_layers, encoder_layers, keep_layers
from affineur.compress.magnitude import METHODS, PruningInfo, check_pruning, prune_model
from affineur.compress.mask import KeepZeros, Mask
from affineur.compress.models import load_encoder, load_model, pick_device
from affineur.compress.packing import pack, unpack
from affineur.compress.pruning import cast, prune
from affineur.compress.recovery import GUIDE, recover
from affineur.compress.shrinking import shrink
from affineur.compress.stage import recipe_digest
from affineur.compress.tagger import TorchTagger, load_tagger, quantize_dynamic, serialized_size
from affineur.compress.teacher_logits import cache_folder
from affineur.compress.training import SoftTargets, TrainSettings
from affineur.compress.vocabulary import read_text, trim_vocabulary
from affineur.compress.wanda import CALIBRATION_SENTENCES, input_norms

__all__ = [
    "CALIBRATION_SENTENCES",
    "GUIDE",
    "METHODS",
    "KeepZeros",
    "Mask",
    "PruningInfo",
    "SoftTargets",
    "TorchTagger",
    "TrainSettings",
    "cache_folder",
    "cast",
    "check_pruning",
    "choose_layers",
    "distill",
    "encoder_layers",
    "input_norms",
    "keep_layers",
    "load_encoder",
    "load_model",
    "load_tagger",
    "pack",
    "pick_device",
    "prune",
    "prune_model",
    "quantize_dynamic",
    "read_text",
    "recipe_digest",
    "recover",
    "serialized_size",
    "shrink",
    "train",
    "trim_vocabulary",
    "unpack",
]
