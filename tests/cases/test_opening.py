"""Issue 15: what is wrong with a model is one line when it is opened; nothing of it is lost silently."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affineur.artifact import describe, open_folder
from affineur.artifact.soundness import check_numbers
from affineur.errors import ModelError
from affineur.progress import listening
from affineur.runtime import Encoder, EngineTagger
from affineur.runtime.prediction import word_entities
from runtime.conftest import unigram

from .models import configure, made, reweigh

LAYER = "roberta.encoder.layer.0"
ROWS = "roberta.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("made") / "camembert")


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "m"))


def refused(folder: Path, *said: str, by: Callable[[Path], object] = open_folder) -> None:
    with pytest.raises(ModelError) as caught:
        by(folder)
    line = str(caught.value)
    assert "\n" not in line
    for words in said:
        assert words in line


def add_piece(folder: Path, piece: str, number: int) -> Path:
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text("utf-8"))
    tokenizer["added_tokens"].append(
        {"id": number, "content": piece, "special": False, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    )
    file.write_text(json.dumps(tokenizer), "utf-8")
    return folder


def test_more_pieces_than_rows(model: Path) -> None:
    """transformers#12763 (case 8): an added token without ``resize_token_embeddings``."""
    rows = open_folder(model).config["vocab_size"]
    refused(add_piece(model, "<patient>", rows), "'<patient>'", f"id {rows}", f"{rows} rows", "vocab_size")


def test_more_pieces_in_the_vocabulary_than_rows(model: Path) -> None:
    rows = open_folder(model).config["vocab_size"]
    configure(model, vocab_size=rows - 3)
    reweigh(model, **{ROWS: np.zeros((rows - 3, 16), np.float32)})
    refused(model, f"id {rows - 1}", f"{rows - 3} rows")


def test_a_list_of_words_with_more_pieces_than_rows(tmp_path: Path) -> None:
    folder = made(tmp_path / "bert", "bert")
    rows = open_folder(folder).config["vocab_size"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("".join(f"w{i}\n" for i in range(rows)))
    assert open_folder(folder).layers == 2
    (folder / "vocab.txt").write_text("".join(f"w{i}\n" for i in range(rows + 1)))
    refused(folder, f"'w{rows}'", f"{rows} rows")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("crf.transitions", (5, 5)), ("transitions", (5, 5)), ("classifier.2.weight", (5, 16)), ("extra", (1,))],
)
def test_tensors_that_the_architecture_does_not_know(name: str, shape: tuple[int, ...], model: Path) -> None:
    """kiji-proxy#256 (case 13): a CRF on top decides the tags; without it the model is another."""
    refused(reweigh(model, **{name: np.ones(shape, np.float32)}), f"{name} {shape}", "does not know")


@pytest.mark.parametrize(
    "name", ["roberta.pooler.dense.weight", "lm_head.dense.bias", "cls.predictions.bias", "loss_fct.weight"]
)
def test_tensors_that_no_token_classifier_reads_are_spoken_of(name: str, model: Path) -> None:
    reweigh(model, **{name: np.ones(4, np.float32)})
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        open_folder(model)
    assert len(heard) == 1
    assert f"{name} (4,)" in heard[0]


def test_constants_of_older_versions_are_not_spoken_of(model: Path) -> None:
    reweigh(model, **{"roberta.embeddings.position_ids": np.arange(40)[None]})
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        assert open_folder(model).layers == 2
    assert not heard


def test_names_of_older_versions_and_without_prefix(model: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(model / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    save_file(
        {name.removeprefix("roberta."): value for name, value in old.items()}, model / "model.safetensors"
    )
    assert open_folder(model).layers == 2


@pytest.mark.parametrize("keep", [(), ("x",)], ids=["nothing", "something else"])
def test_weights_without_the_tensors_of_the_model(keep: tuple[str, ...], model: Path) -> None:
    """safetensors (case 23): a valid file of nothing, or of something else."""
    from safetensors.numpy import save_file

    save_file({name: np.ones(3, np.float32) for name in keep}, model / "model.safetensors")
    for by in (open_folder, describe):
        refused(model, "lacks 39 tensors of its architecture" if keep else "no tensor", by=by)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("classifier.weight", None, "(5, 16)"),
        (f"{LAYER}.output.dense.weight", None, "(16, 24)"),
        (f"{LAYER}.output.dense.weight", (24, 16), "(16, 24)"),
        (f"{LAYER}.attention.self.query.weight", (), "(16, 16)"),
        ("roberta.embeddings.position_embeddings.weight", (38, 16), "(40, 16)"),
        (ROWS, (7, 16), ", 16)"),
        ("classifier.bias", (4,), "(5,)"),
    ],
)
def test_missing_tensors_and_other_shapes(
    name: str, shape: tuple[int, ...] | None, expected: str, model: Path
) -> None:
    """Case 25: which tensor has which shape, and which was expected."""
    reweigh(model, **{name: ... if shape is None else np.ones(shape, np.float32)})
    refused(model, name, expected, "" if shape is None else f"{name} {shape}")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"num_hidden_layers": "two"}, "num_hidden_layers='two'"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers=2.0"),
        ({"num_hidden_layers": True}, "num_hidden_layers=True"),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0"),
        ({"num_hidden_layers": 1}, f"{LAYER.replace('0', '1')}.attention"),
        ({"num_hidden_layers": 3}, f"{LAYER.replace('0', '2')}.attention"),
        ({"num_hidden_layers": 1 << 30}, "num_hidden_layers=1,073,741,824"),
        ({"num_attention_heads": 3}, "16 and 3 attention heads"),
        ({"num_attention_heads": 0}, "num_attention_heads=0"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"hidden_size": 32}, "expected (180, 32) by config.json, as 35 tensors more"),
        ({"vocab_size": -1}, "vocab_size=-1"),
        ({"vocab_size": float("nan")}, "vocab_size=nan"),
        ({"max_position_embeddings": 0}, "max_position_embeddings=0"),
        ({"max_position_embeddings": 5}, "room for at least 4 pieces"),
        ({"pad_token_id": 5000}, "pad_token_id=5000"),
        ({"pad_token_id": -1}, "pad_token_id=-1"),
        ({"layer_norm_eps": "1e-5"}, "layer_norm_eps='1e-5'"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps=nan"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps=-1.0"),
        ({"intermediate_size": 23}, "(24, 16)"),
        ({"type_vocab_size": 2}, "token_type_embeddings"),
        ({"model_type": 3}, "model_type=3"),
    ],
    ids=str,
)
def test_numbers_of_a_configuration(entries: dict[str, Any], said: str, model: Path) -> None:
    refused(configure(model, **entries), said)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [ROWS, "classifier.bias", f"{LAYER}.intermediate.dense.weight"])
def test_numbers_that_are_none(value: float, name: str, model: Path) -> None:
    from safetensors.numpy import load_file

    weight = load_file(model / "model.safetensors")[name].copy()
    weight.flat[3] = value
    reweigh(model, **{name: weight})
    refused(model, name, "1 weight that is NaN or infinite", by=describe)
    refused(model, name, by=lambda path: check_numbers(open_folder(path).tensors(), path))


def test_a_weight_in_a_type_of_whole_numbers(model: Path) -> None:
    reweigh(model, **{f"{LAYER}.output.dense.weight": np.ones((16, 24), np.int8)})
    refused(model, f"{LAYER}.output.dense.weight", "I8")


def test_two_files_with_the_same_tensor(model: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    parts = {"model-1.safetensors": weights, "model-2.safetensors": {ROWS: weights[ROWS]}}
    for name, part in parts.items():
        save_file(part, model / name, {"format": "pt"})
    named = dict.fromkeys(weights, "model-1.safetensors") | {ROWS: "model-2.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": named}))
    refused(model, ROWS, "two files")


BMES = "O B-PER M-PER E-PER S-PER"


@pytest.mark.parametrize(
    ("labels", "tags"),
    [
        ("O B_PER I_PER", "O B-PER I-PER"),  # elasticsearch#87091 (case 10)
        ("O PER-B PER-I", "O B-PER I-PER"),
        ("o b-per i-per", "O B-PER I-PER"),
        ("O B:PER I:PER", "O B-PER I-PER"),
        (BMES, "O B-PER I-PER E-PER S-PER"),  # seqscore's test_encoding.py (case 16)
        ("O B-PER M-PER E-PER W-PER", "O B-PER I-PER E-PER S-PER"),
        ("O B-PER I-PER L-PER U-PER", ""),
        ("O I-PER E-PER", ""),
        ("O B-E-MAIL I-E-MAIL", ""),
        ("O E-MAIL PER", "O I-E-MAIL PER"),
        ("O PER LOC", ""),
        ("O I-O I-PER", ""),
        ("[PAD] O B-PER I-PER [CLS]", ""),
    ],
)
def test_labels_in_usual_spellings(labels: str, tags: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "m", labels=tuple(labels.split()))
    assert " ".join(open_folder(folder).labels) == (tags or labels)


@pytest.mark.parametrize("labels", ["O B_PER I_PER", "o b-per i-per", "O E-MAIL PER"])
def test_labels_that_are_read_otherwise_are_spoken_of(labels: str, tmp_path: Path) -> None:
    heard: list[str] = []
    with listening(lambda what, *_: heard.append(what)):
        open_folder(made(tmp_path / "m", labels=tuple(labels.split())))
    assert len(heard) == 1
    assert "is read as" in heard[0]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("LABEL_0 LABEL_1 LABEL_2", "none of them O"),
        ("O I-PER I-PER", "2 outputs that mean I-PER"),
        ("O O I-PER", "2 outputs that mean O"),
        ("O B-PER b-per", "2 outputs that mean B-PER (B-PER, b-per)"),
        ("O B-PER I-PER X-PER Q=3", "'Q=3' is not a tag"),
        ("O B-PER M-PER E-PER I-PER", "belong to no one scheme"),
        ("O E-MAIL", "may be a type of its own, or the end of a mention of type MAIL"),
        ("O B I", "names no type"),
    ],
)
def test_labels_that_cannot_be_understood(labels: str, said: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "m")
    names = labels.split()
    configure(folder, id2label=dict(enumerate(names)))
    reweigh(
        folder,
        **{"classifier.weight": np.ones((len(names), 16), np.float32)},
        **{"classifier.bias": np.ones(len(names), np.float32)},
    )
    refused(folder, said, "id2label")


@pytest.mark.parametrize(
    "id2label",
    [
        {"0": "O", "2": "I-PER"},
        {"0": "O", "00": "I-PER"},
        {"0": "O", "1": None},
        {"0": "O", "1": 7},
        {"O": 0, "I-PER": 1},
        ["O", "I-PER"],
        None,
    ],
    ids=str,
)
def test_labels_with_gaps(id2label: object, model: Path) -> None:
    refused(configure(model, id2label=id2label), "no usable id2label")


def test_another_number_of_labels(model: Path) -> None:
    refused(configure(model, num_labels=3), "no usable id2label", "num_labels")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"hidden_act": "nope"}, "config.json has hidden_act='nope', which transformers does not know"),
        ({"tie_word_embeddings": "x"}, "tie_word_embeddings"),
        ({"quantization_config": {"quant_method": "gptq"}}, "cannot be loaded"),
    ],
    ids=str,
)
def test_what_only_transformers_can_tell(entries: dict[str, Any], said: str, model: Path) -> None:
    """Case 25: the message names the entry."""
    from affineur.engines.support.checkpoints import load_model

    refused(configure(model, **entries), said, by=load_model)


def test_numbers_too_large_for_half_precision(model: Path, tmp_path: Path) -> None:
    from steps.conftest import run_step

    reweigh(model, **{"classifier.bias": np.array([1e6, 0, 0, 0, 0], np.float32)})
    refused(
        model,
        "classifier.bias holds 1 weight beyond what float16 holds",
        by=lambda path: run_step("cast", path, tmp_path / "out", dtype="float16"),
    )
    assert not (tmp_path / "out").exists()
    run_step("cast", model, tmp_path / "out", dtype="bfloat16")


class Fixed(EngineTagger):
    """Finds a type called O at one piece, and a person at another."""

    def __init__(self) -> None:
        tokenizer = unigram()
        super().__init__(Encoder(tokenizer, 32, 1), ("O", "I-O", "I-PER"))
        self._known = {tokenizer.token_to_id("▁Paris"): 1, tokenizer.token_to_id("▁Mar"): 2}

    def forward(self, ids: Any, mask: Any) -> Any:
        logits = np.zeros((*ids.shape, 3), np.float32)
        logits[..., 0] = 0.5
        for piece, label in self._known.items():
            logits[ids == piece, label] = 9
        return logits


@pytest.mark.parametrize("strategy", ["word", "first"])
def test_a_type_that_is_called_o_is_found(strategy: Any) -> None:
    """transformers#30028 (case 7): what a model finds is never dropped, whatever its type is called."""
    text = "Mar à Paris de L' Paris"
    found = Fixed()(text, strategy=strategy)
    assert [(e.type, text[e.start : e.end].strip()) for e in found] == [
        ("PER", "Mar"),
        ("O", "Paris"),
        ("O", "Paris"),
    ]


def test_what_lies_between_is_no_mention_of_a_type_called_o() -> None:
    logits = np.eye(3, dtype=np.float32)[[1, 0, 0, 2]] * 9
    spans = [(0, 1), (2, 3), (4, 5), (6, 7)]
    labels = ("O", "I-O", "I-PER")
    kept = word_entities("a b c d", spans, logits, labels)
    assert [(e.type, e.word) for e in kept] == [("O", "a"), ("PER", "d")]
    assert [e.word for e in word_entities("a b c d", spans, logits, labels, ())] == ["a", "b c", "d"]
    assert [e.word for e in word_entities("a b c d", spans, logits, labels, ("O", "PER"))] == ["a"]


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}, {"metadata": []}])
def test_an_index_without_metadata(metadata: dict[str, Any], model: Path) -> None:
    """Case 25: "cannot be loaded ('metadata')" is what transformers makes of it."""
    from affineur.engines.support.checkpoints import load_model

    named = dict.fromkeys((t.name for t in open_folder(model).tensors()), "model-1.safetensors")
    (model / "model.safetensors").rename(model / "model-1.safetensors")
    file = model / "model.safetensors.index.json"
    file.write_text(json.dumps({"weight_map": named} | metadata))
    refused(model, f"{file} has no table named metadata", 'add "metadata": {}', by=load_model)
    file.write_text(json.dumps({"weight_map": named, "metadata": {}}))
    assert load_model(model).config.num_hidden_layers == 2
