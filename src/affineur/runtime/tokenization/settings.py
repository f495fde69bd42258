"""What the settings of a tokenizer say: its class in transformers, its special and its added tokens.

The rules are those of ``AutoTokenizer.from_pretrained`` of transformers 5
(``models/auto/tokenization_auto.py``) and ``PreTrainedTokenizerBase._from_pretrained``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from affineur.artifact.reading import read_json

#: The class that takes ``tokenizer.json`` as it stands.
PLAIN = "TokenizersBackend"
#: Special tokens by the names that transformers has for them, in its order.
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
#: Where ``tokenizer_config.json`` of an exported graph says how raw text begins (see ``standalone``).
PREFIX_SPACE_IN_TEXT = "affineur_prefix_space_in_text"

# Other names of classes, as older models have them.
_SAME = {
    "DistilBertTokenizer": "BertTokenizer",
    "ElectraTokenizer": "BertTokenizer",
    "LayoutLMTokenizer": "BertTokenizer",
    "MobileBertTokenizer": "BertTokenizer",
    "SqueezeBertTokenizer": "BertTokenizer",
    "LongformerTokenizer": "RobertaTokenizer",
}
# The class of each kind of model; of a kind that is not here, tokenizer.json is taken as it stands.
_OF_MODELS = {
    **dict.fromkeys(
        (
            "bert",
            "bros",
            "convbert",
            "distilbert",
            "electra",
            "ernie",
            "layoutlm",
            "megatron-bert",
            "mobilebert",
            "nomic_bert",
            "squeezebert",
        ),
        "BertTokenizer",
    ),
    **dict.fromkeys(
        ("data2vec-text", "ibert", "lilt", "longformer", "mra", "roberta", "roberta-prelayernorm"),
        "RobertaTokenizer",
    ),
    **dict.fromkeys(("xlm-roberta", "xmod"), "XLMRobertaTokenizer"),
    "albert": "AlbertTokenizer",
    "camembert": "CamembertTokenizer",
    "deberta": "DebertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "mpnet": "MPNetTokenizer",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the files beside the vocabulary say.

    Args:
        kind: The class of transformers that reads the folder.
        of_model: The class for this kind of model, which reads a vocabulary without ``tokenizer.json``.
        values: ``tokenizer_config.json`` and, in older folders, ``special_tokens_map.json``.
        added: Added tokens by the id they had.
    """

    kind: str
    of_model: str
    values: dict[str, Any]
    added: dict[int, AddedToken]

    def named(self, defaults: Mapping[str, str | AddedToken | None]) -> dict[str, str | AddedToken]:
        """Return the special tokens by name, those of the class where the settings have none."""
        given = {name: self.values[name] for name in NAMED if name in self.values}
        found = {name: _token(value) for name, value in {**defaults, **given}.items() if value is not None}
        in_order = [name for name in NAMED if name in found]
        return {name: found[name] for name in in_order} | self._own()

    def extra(self, default: Sequence[str | AddedToken] = ()) -> list[str | AddedToken]:
        """Return the special tokens without a name, those of the class where the settings have none."""
        listed = self.values.get(
            "extra_special_tokens", self.values.get("additional_special_tokens", default)
        )
        return [] if listed is None or isinstance(listed, dict) else [_token(each) for each in listed]

    def flag(self, name: str, default: bool) -> bool:
        """Return a setting that is yes or no.

        Raises:
            ValueError: If it is something else.
        """
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise ValueError(f"tokenizer_config.json has {name}={value!r}, expected true or false")
        return value

    def _own(self) -> dict[str, str | AddedToken]:
        """Return special tokens of the model's own names, such as ``patient_token``."""
        own = {
            name: _token(value)
            for name, value in self.values.items()
            if name.endswith("_token") and name not in NAMED and isinstance(value, str)
        }
        listed = self.values.get("extra_special_tokens")
        return own | ({k: _token(v) for k, v in listed.items()} if isinstance(listed, dict) else {})


def read_settings(folder: Path, config: Mapping[str, Any]) -> Settings:
    """Read the settings of a tokenizer; what is not there has none.

    Args:
        folder: The model folder.
        config: Its ``config.json``.

    Raises:
        ValueError: Or another of ``artifact.reading.WRONG``, if they are damaged.
    """
    values = _read(folder, "tokenizer_config.json")
    if "additional_special_tokens" in values and not values.get("extra_special_tokens"):
        values["extra_special_tokens"] = values.pop("additional_special_tokens")
    added: dict[int, AddedToken] = {}
    if "added_tokens_decoder" in values:
        added = {int(i): _added(token) for i, token in values["added_tokens_decoder"].items()}
    else:
        for name, value in _read(folder, "special_tokens_map.json").items():
            if name == "extra_special_tokens" and isinstance(value, list):
                value = [*(values.get(name) or ()), *value]
            values[name] = _token(value) if isinstance(value, dict) and name in NAMED else value
        special = {str(values[name]) for name in NAMED if values.get(name)}
        special |= {str(_token(token)) for token in values.get("extra_special_tokens") or ()}
        for content, i in _read(folder, "added_tokens.json").items():
            added[int(i)] = AddedToken(content, normalized=content not in special, special=content in special)
        if (folder / "tokenizer.json").is_file():
            for token in _read(folder, "tokenizer.json").get("added_tokens") or ():
                added[int(token["id"])] = _added(token)
    by_content = {token.content: token for token in added.values()}
    for name in NAMED:
        if values.get(name) is not None:
            content = str(_token(values[name]))
            values[name] = by_content.get(content, _token(values[name]))
    of_model = _OF_MODELS.get(str(config.get("model_type")), PLAIN)
    return Settings(_kind(values, config, of_model), of_model, values, added)


def _kind(values: Mapping[str, Any], config: Mapping[str, Any], of_model: str) -> str:
    """Say which class reads the folder: the one its settings name, else the one of its kind of model."""
    named = values.get("tokenizer_class") or config.get("tokenizer_class")
    if named is None or (config.get("model_type") in ("modernbert", "xlm-roberta-xl")):
        return of_model
    name = str(named).removesuffix("Fast")
    name = _SAME.get(name, name)
    return name if name in set(_OF_MODELS.values()) else PLAIN


def _read(folder: Path, name: str) -> dict[str, Any]:
    if not (folder / name).is_file():
        return {}
    found = read_json(folder / name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not a JSON object")
    return found


def _token(value: Any) -> str | AddedToken:
    if isinstance(value, str | AddedToken):
        return value
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        return _added({"special": True} | value)
    raise ValueError(f"{value!r} is no special token, expected a text or an object with 'content'")


def _added(token: Any) -> AddedToken:
    fields = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return AddedToken(str(token["content"]), **{name: token[name] for name in fields if name in token})
