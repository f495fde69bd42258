"""The only room with torch: train, distill, prune, recover, and a tagger on torch."""

from affineur.engines.support.checkpoints import load_encoder, load_model, pick_device
from affineur.engines.support.torch_tagger import TorchTagger, load_tagger, quantize_dynamic, serialized_size
from affineur.steps.core.work import recipe_digest
from affineur.steps.distill import distill
from affineur.steps.pack import pack, unpack
from affineur.steps.prune import cast, prune
from affineur.steps.pruning.magnitude import METHODS, PruningInfo, check_pruning, prune_model
from affineur.steps.pruning.wanda import CALIBRATION_SENTENCES, input_norms
from affineur.steps.recover import GUIDE, recover
from affineur.steps.shrink import shrink
from affineur.steps.tailoring.layers import choose_layers, encoder_layers, keep_layers
from affineur.steps.train import train
from affineur.steps.training.loop import SoftTargets, TrainSettings
from affineur.steps.training.mask import KeepZeros, Mask
from affineur.steps.training.teacher_logits import cache_folder
from affineur.steps.trim_vocab import read_text, trim_vocabulary

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
