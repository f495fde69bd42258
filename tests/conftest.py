"""Tiny models of every family, a small French corpus, and a world without a hub."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

# Read when torch and huggingface_hub are first imported: one thread, for the machine is shared, and no
# internet.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import pytest
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as cutters

# The machine is shared: an example that is slow once is no bug.
hypothesis.settings.register_profile("affineur", deadline=None)
hypothesis.settings.load_profile("affineur")

#: Every encoder family that must go through the same commands.
FAMILIES = (
    "camembert",
    "roberta",
    "bert",
    "distilbert",
    "xlm-roberta",
    "electra",
    "deberta-v2",
    "modernbert",
)
LABELS = ("O", "I-LOC", "I-PER", "I-MISC", "I-ORG")

ModelFactory = Callable[..., Path]

_TEMPLATES = (
    "{PER} habite à {LOC} depuis deux ans .",
    "Hier , {PER} a quitté {ORG} pour rejoindre {ORG2} .",
    "Le directeur de {ORG} , {PER} , visitera {LOC} demain matin .",
    "La pluie tombe sur {LOC} et personne ne sort .",
    "Nous avons relu {MISC} pendant les vacances .",
    "L' équipe de {LOC} a battu celle de {LOC2} trois à un .",
    "Aujourd'hui , {PER} et {PER2} parlent de {MISC} à {LOC} .",
    "Il fait beau ce matin .",
    "{ORG} ouvrira une usine près de {LOC} .",
    "Selon {PER} , {MISC} est une œuvre mineure .",
    "On n' a rien vu , dit-elle .",
    "{PER} travaille chez {ORG} avec {PER2} .",
)
_NAMES = {
    "PER": (
        "Marie Duval",
        "Jean-Pierre Morvan",
        "Élodie",
        "Ahmed Benali",
        "Léa Fontaine",
        "Hugues de La Tour",
        "Zoé Lambert",
        "Noël",
    ),
    "LOC": (
        "Paris",
        "Saint-Étienne",
        "Clermont-Ferrand",
        "la Bretagne",
        "Lyon",
        "Aix",
        "le Mont Ventoux",
        "Nîmes",
    ),
    "ORG": (
        "Laiterie Durand",
        "la Banque du Nord",
        "Arvoril",
        "l' Union des Métiers",
        "Télévox",
        "Compagnie des Eaux Vives",
    ),
    "MISC": ("Les Nuits blanches", "la Fête du Lac", "Rouge Garance", "le Grand Prix", "Méridienne"),
}
_WORD_PIECES = ("bert", "distilbert", "electra")
_BYTE_LEVEL = ("roberta", "modernbert")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("AFFINEUR_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def shared_model(tmp_path_factory: pytest.TempPathFactory) -> ModelFactory:
    """Like ``tiny_model``, but each model is built once: look, do not touch."""
    built: dict[str, Path] = {}

    def make(family: str = "camembert", **changes: Any) -> Path:
        key = f"{family} {json.dumps(changes, sort_keys=True)}"
        if key not in built:
            built[key] = _build_model(tmp_path_factory.mktemp("shared") / family, family, **changes)
        return built[key]

    return make


@pytest.fixture
def tiny_model(shared_model: ModelFactory, tmp_path_factory: pytest.TempPathFactory) -> ModelFactory:
    """Write a tiny random token classifier of a family, for this test alone, and return its folder.

    Beside entries of its configuration, ``changes`` may name ``labels``, ``dtype`` and ``seed``.
    """

    def make(family: str = "camembert", **changes: Any) -> Path:
        return Path(
            shutil.copytree(shared_model(family, **changes), tmp_path_factory.mktemp("model") / family)
        )

    return make


@pytest.fixture(scope="session")
def shared_onnx(
    shared_model: ModelFactory, shared_corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A CamemBERT of two layers exported to ONNX in full precision, once: look, do not touch."""
    out = tmp_path_factory.mktemp("shared") / "onnx"
    return _stepped("export", shared_model("camembert", num_hidden_layers=2), out, shared_corpus)


@pytest.fixture(scope="session")
def shared_int8(shared_onnx: Path, shared_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in eight bits that any CPU multiplies faithfully."""
    out = tmp_path_factory.mktemp("shared") / "int8"
    return _stepped("quantize", shared_onnx, out, shared_corpus, target="avx2", min_agreement=0.0)


def _stepped(name: str, model: Path, out: Path, corpus: Path, **parameters: object) -> Path:
    """Take a step that is calibrated on the train part of a corpus."""
    from affineur.artifact import open_folder
    from affineur.entities import open_corpus
    from affineur.steps.core.context import Context
    from affineur.steps.core.step import STEPS

    context = Context(calibration=open_corpus(corpus / "train.conll"))
    return STEPS.get(name).given(parameters).run(open_folder(model), out, context)


@pytest.fixture(scope="session")
def shared_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like ``corpus``, written once: look, do not touch."""
    return _write_corpus(tmp_path_factory.mktemp("shared") / "corpus")


@pytest.fixture
def corpus(shared_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``train.conll``, ``dev.conll`` and ``test.conll``: invented French sentences, IO
    tags.
    """
    return Path(shutil.copytree(shared_corpus, tmp_path_factory.mktemp("data") / "corpus"))


def _write_corpus(folder: Path) -> Path:
    from affineur.entities import write_conll

    folder.mkdir()
    for name, count, seed in (("train", 60, 1), ("dev", 20, 2), ("test", 20, 3)):
        rng = random.Random(seed)
        write_conll(
            [_sentence(_TEMPLATES[i % len(_TEMPLATES)], rng) for i in range(count)], folder / f"{name}.conll"
        )
    return folder


def _sentence(template: str, rng: random.Random) -> tuple[list[str], list[str]]:
    words: list[str] = []
    tags: list[str] = []
    for piece in template.split():
        kind = piece.strip("{}2") if piece.startswith("{") else None
        new = rng.choice(_NAMES[kind]).split() if kind else [piece]
        words += new
        tags += [f"I-{kind}" if kind else "O"] * len(new)
    return words, tags


def _texts() -> list[str]:
    names = [name for group in _NAMES.values() for name in group]
    return [t.replace("{", "").replace("}", "") for t in _TEMPLATES] + names * 3


def build_tokenizer(family: str) -> Tokenizer:
    """Train a small tokenizer of the kind a family has."""
    if family in _WORD_PIECES:
        return _word_piece()
    return _byte_level(family) if family in _BYTE_LEVEL else _unigram(family)


def _word_piece() -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(cutters.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    # Counted, since the trainer learns other pieces each time: all letters, then the parts that cover most.
    counts: Counter[str] = Counter()
    for word in (word for text in _texts() for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)):
        for start, end in combinations(range(len(word) + 1), 2):
            counts["##" * (start > 0) + word[start:end]] += 1
    letters = {piece for piece in counts if len(piece.removeprefix("##")) == 1}
    pieces = sorted(counts, key=lambda p: (p not in letters, -counts[p] * len(p.removeprefix("##")), p))
    vocab = {piece: i for i, piece in enumerate([*special, *pieces][:220])}
    tokenizer.model = cutters.WordPiece(vocab, unk_token="[UNK]")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def _byte_level(family: str) -> Tokenizer:
    special = (
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        if family == "roberta"
        else ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    )
    tokenizer = Tokenizer(cutters.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    if family == "roberta":
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), add_prefix_space=False
        )
    else:
        tokenizer.post_processor = _template("[CLS]", "[SEP]")
    return tokenizer


def _unigram(family: str) -> Tokenizer:
    first, last, unknown = ("[CLS]", "[SEP]", "[UNK]") if family == "deberta-v2" else ("<s>", "</s>", "<unk>")
    special = [first, "<pad>", last, unknown, "<mask>"]
    tokenizer = Tokenizer(cutters.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=special, unk_token=unknown, show_progress=False
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    # The trainer's pieces are always the same, their scores and order never: hence scores by count.
    text = "▁".join(("", *_texts())).replace(" ", "▁")
    counts = {piece: text.count(piece) for piece in set(tokenizer.get_vocab()) - set(special)}
    scored = [(piece, math.log(max(count, 1) / len(text))) for piece, count in counts.items()]
    scored.sort(key=lambda pair: (-pair[1], pair[0]))
    tokenizer.model = cutters.Unigram([(piece, 0.0) for piece in special] + scored, special.index(unknown))
    tokenizer.post_processor = _template(first, last)
    return tokenizer


def _template(first: str, last: str) -> Any:
    return processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=[(first, 0), (last, 2)])


def write_tokenizer(folder: Path, family: str) -> Tokenizer:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` as transformers does."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = build_tokenizer(family)
    first, last, unknown, pad, mask = (
        ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]")
        if tokenizer.token_to_id("[PAD]") is not None
        else ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
    )
    if family == "deberta-v2":
        first, last, unknown = "[CLS]", "[SEP]", "[UNK]"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=first,
        bos_token=first,
        sep_token=last,
        eos_token=last,
        unk_token=unknown,
        pad_token=pad,
        mask_token=mask,
    ).save_pretrained(folder)
    return tokenizer


def tiny_config(
    family: str, vocab_size: int, pad_id: int, labels: tuple[str, ...] = LABELS, **changes: Any
) -> Any:
    """Return a configuration: three layers of 32, windows of 64 pieces."""
    from transformers import AutoConfig

    roberta_like = family in ("camembert", "roberta", "xlm-roberta")
    size: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    if family == "distilbert":
        size = {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48}
        changes = {
            {"num_hidden_layers": "n_layers", "hidden_size": "dim"}.get(name, name): value
            for name, value in changes.items()
        }
    special: dict[str, dict[str, Any]] = {
        "electra": {"embedding_size": 16},
        "deberta-v2": {  # as in DeBERTa v3
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 2},
    }
    options = {
        **size,
        **special.get(family, {}),
        "vocab_size": vocab_size,
        "max_position_embeddings": 64 + (pad_id + 1 if roberta_like else 0),
        "initializer_range": 0.1,
        "pad_token_id": pad_id,
        "bos_token_id": 2 if family in _WORD_PIECES else 0,
        "eos_token_id": 3 if family in _WORD_PIECES else 2,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        **changes,
    }
    if family == "modernbert":
        options |= {"cls_token_id": 0, "sep_token_id": 2}
    return AutoConfig.for_model(family, **options)


def _build_model(
    folder: Path,
    family: str,
    labels: tuple[str, ...] = LABELS,
    dtype: str = "float32",
    seed: int = 7,
    **changes: Any,
) -> Path:
    import torch
    from transformers import AutoModelForTokenClassification

    from affineur.engines.support.checkpoints import quiet

    folder.mkdir(parents=True)
    tokenizer = write_tokenizer(folder, family)
    pad = "[PAD]" if tokenizer.token_to_id("[PAD]") is not None else "<pad>"
    config = tiny_config(
        family, tokenizer.get_vocab_size(), int(tokenizer.token_to_id(pad) or 0), tuple(labels), **changes
    )
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        model = AutoModelForTokenClassification.from_config(config)
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # biases and LayerNorm, which start alike and would hide a mix-up
                parameter.data += 0.05 * torch.randn_like(parameter)
            if name == "classifier.weight":
                parameter.data *= 5  # logits that differ
        model.to(getattr(torch, dtype)).eval().save_pretrained(folder)
    return folder
