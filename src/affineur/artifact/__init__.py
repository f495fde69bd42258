"""What a model folder is: manifest, digests, layout, atomic writing. No torch."""

from affineur.artifact.card import SCORES, Carried, Measured, card_text, read_card, write_card
from affineur.artifact.environment import describe_machine, environment
from affineur.artifact.folder import PRUNING_INFO, TOKENIZER_FILES, ModelFolder, file_digest, open_folder
from affineur.artifact.info import ModelInfo, describe
from affineur.artifact.locking import alone, in_turn
from affineur.artifact.manifest import (
    CARD,
    Manifest,
    Parent,
    State,
    examine,
    read_manifest,
    unlisted,
    verify,
    write_manifest,
)
from affineur.artifact.paths import inside, present, safe_name, safe_names
from affineur.artifact.scope import EXCLUDED, SCOPES, Matrix, in_scope, layer_of, matrix_of
from affineur.artifact.writing import (
    BILL,
    COMPANIONS,
    MANIFEST,
    SIGNATURE,
    disk_errors,
    new_file,
    new_folder,
    refuse_to_lose,
    to_json,
    write_json,
    write_text,
)

__all__ = [
    "BILL",
    "CARD",
    "COMPANIONS",
    "EXCLUDED",
    "MANIFEST",
    "PRUNING_INFO",
    "SCOPES",
    "SCORES",
    "SIGNATURE",
    "TOKENIZER_FILES",
    "Carried",
    "Manifest",
    "Matrix",
    "Measured",
    "ModelFolder",
    "ModelInfo",
    "Parent",
    "State",
    "alone",
    "card_text",
    "describe",
    "describe_machine",
    "disk_errors",
    "environment",
    "examine",
    "file_digest",
    "in_scope",
    "in_turn",
    "inside",
    "layer_of",
    "matrix_of",
    "new_file",
    "new_folder",
    "open_folder",
    "present",
    "read_card",
    "read_manifest",
    "refuse_to_lose",
    "safe_name",
    "safe_names",
    "to_json",
    "unlisted",
    "verify",
    "write_card",
    "write_json",
    "write_manifest",
    "write_text",
]
