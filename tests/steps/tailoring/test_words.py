"""``trim-vocab --add``: words become whole, every other word keeps its cuts or loses some."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification, AutoTokenizer

from affineur.artifact import read_manifest
from affineur.engines.support.checkpoints import load_encoder
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus
from affineur.errors import DataError, ModelError, ParameterError
from affineur.steps.core.context import Context
from affineur.steps.tailoring.pieces import Spec, own_pieces, pieces_of
from affineur.steps.tailoring.words import Words

from ..conftest import FAMILIES, corpus_of, run_step, same_bits, scores_of, zero_set

#: Words whose pieces are letters of the tiny tokenizers.
CLINICAL = (
    "La dermatite de Marie , une dermatose , rend la dermatologue pensive .",
    "Une dermatite et deux dermatites ; l' arthrose aussi , l' arthroscopie non .",
    "Arthrose ou arthrite ? La dermatite , dit-elle , et 12,5 % de 1998 .",
)


@pytest.fixture
def clinical() -> Corpus:
    return corpus_of(*((words, " ".join("O" for _ in words.split())) for words in CLINICAL * 3))


def spec_of(folder: Path) -> Spec:
    return dict(json.loads(load_encoder(folder).tokenizer.to_str()))


def add(model: Path, out: Path, text: Corpus, unseen: tuple[Corpus, ...] = (), **options: int) -> Path:
    return run_step("trim-vocab", model, out, context=Context(texts=(text,), unseen=unseen), **options)


def ends(tokenizer: Tokenizer, word: str) -> set[int]:
    """Where a word is cut."""
    return {
        end for _, end in tokenizer.encode([word], is_pretokenized=True, add_special_tokens=False).offsets
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_added_words_are_whole_and_others_only_lose_cuts(
    family: str, tiny_model: Callable[..., Path], clinical: Corpus, train_corpus: Corpus, tmp_path: Path
) -> None:
    source = tiny_model(family)
    out = add(source, tmp_path / "out", clinical, (train_corpus,), min_count=0, add=6)
    before, after = load_encoder(source), load_encoder(out)
    old, new = (set(own_pieces(spec_of(folder)).values()) for folder in (source, out))
    assert old < new
    # every word of the text, of another, and words that were made up to begin as added ones do
    words = {word for text in (clinical, train_corpus) for sentence in text for word in sentence.words}
    begins = {word for word in words if before.encode([[word]])[0].tokens != after.encode([[word]])[0].tokens}
    rng = random.Random(5)
    letters = "abcdefghilmnoprstuvé'-"
    made_up = {
        begin + "".join(rng.choices(letters, k=rng.randint(1, 7))) for begin in begins for _ in range(40)
    }
    whole = 0
    for word in words | (made_up if family not in ("bert", "distilbert", "electra") else set()):
        was, now = ends(before.tokenizer, word), ends(after.tokenizer, word)
        assert now <= was, word
        (cut,) = after.encode([[word]])
        whole += len(cut.ids) == 1 and len(was) > 1
    assert whole >= 3
    found = scores_of(out)
    assert found["words_added"] >= 3
    assert found["text"]["pieces_per_word"] < found["text"]["pieces_per_word_before"]
    assert found["pieces"] == len(pieces_of(spec_of(out)))


@pytest.mark.parametrize("family", ["camembert", "bert", "roberta", "electra"])
def test_a_new_piece_is_the_mean_of_the_old_ones(
    family: str, tiny_model: Callable[..., Path], clinical: Corpus, tmp_path: Path
) -> None:
    source = tiny_model(family)
    out = add(source, tmp_path / "out", clinical, min_count=0, add=4)
    old, new = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    (table,) = [name for name, weight in new.items() if weight.shape != old[name].shape]
    assert same_bits(
        {n: w for n, w in old.items() if n != table}, {n: w for n, w in new.items() if n != table}
    )
    before, after = load_encoder(source), load_encoder(out)
    names = pieces_of(spec_of(source))
    checked = 0
    for word in {word for sentence in clinical for word in sentence.words}:
        (was,), (now,) = before.encode([[word]]), after.encode([[word]])
        if len(now.ids) == 1 and len(was.ids) > 1:
            assert torch.allclose(new[table][now.ids[0]], old[table][was.ids].mean(0), atol=1e-7)
            checked += 1
    assert checked >= 3
    ids = {name: i for i, name in pieces_of(spec_of(out)).items()}
    assert all(torch.equal(new[table][ids[name]], old[table][i]) for i, name in names.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_cuts_as_we_do(
    family: str, tiny_model: Callable[..., Path], clinical: Corpus, train_corpus: Corpus, tmp_path: Path
) -> None:
    out = add(tiny_model(family), tmp_path / "out", clinical, keep=60, add=5)
    oracle, encoder = AutoTokenizer.from_pretrained(out), load_encoder(out)
    for sentence in [*clinical, *train_corpus.head(12)]:
        words = list(sentence.words)
        (ours,) = encoder.encode([words])
        text = oracle(" ".join(words), add_special_tokens=False)["input_ids"]
        if family not in ("roberta", "modernbert"):  # whose text begins without a space
            assert ours.ids == text
        assert set(ours.ids) < set(range(scores_of(out)["pieces"]))
    assert load_tagger(out).tag([list(s.words) for s in clinical])


def test_useful_is_what_saves_most_pieces(shared_model: Callable[..., Path], clinical: Corpus) -> None:
    """The oracle: count × (pieces − 1), of whole words of letters that are there more than twice."""
    spec = spec_of(shared_model("camembert"))
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    rare = "hippopotomonstrosesquippedaliophobie"  # which would save most
    more = [clinical, corpus_of((f"{rare} {rare}", "O O"), ("w3.exemple.fr " * 5 + "x", "O O O O O O"))]
    counts = Counter(word for sentence in clinical for word in sentence.words)
    gains = {
        "▁" + word: count * (len(tokenizer.encode(word, add_special_tokens=False).ids) - 1)
        for word, count in counts.items()
        if any(map(str.isalpha, word))
    }
    wanted = sorted((-gain, word) for word, gain in gains.items() if gain)
    chosen = Words(spec, more).choose(7)
    assert list(chosen) == [word for _, word in wanted[:7]]
    assert chosen[0] == "▁dermatite"


def test_wordpiece_adds_no_word_that_would_win_where_another_was_cut_elsewhere() -> None:
    """``cardio`` would cut ``cardiologue`` within ``##iologue``."""
    pieces = ["[UNK]", *"cardiolgue", *("##" + c for c in "cardiolgue"), "card", "##iologue", "##io", "##s"]
    spec = {
        "added_tokens": [],
        "model": {
            "type": "WordPiece",
            "vocab": {name: i for i, name in enumerate(pieces)},
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
        "version": "1.0",
    } | dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "decoder", "padding", "truncation"))
    alone = Words(spec, [corpus_of(*[("cardio cardio cardios", "O O O")] * 3)])
    assert alone.choose(1) == ("cardio",)
    cut = Tokenizer.from_str(json.dumps(alone.added_to(spec, ["cardio"]).to(spec)))
    assert cut.encode("cardios").tokens == ["cardio", "##s"]
    beside = Words(spec, [corpus_of(*[("cardio cardio cardiologue", "O O O")] * 3)])
    assert beside.choose(1) == ("cardiologue",)
    assert beside.choose(2) == ("cardio", "cardiologue")  # which is whole then, so nothing is cut


def test_bpe_joins_a_word_from_its_beginning(shared_model: Callable[..., Path], clinical: Corpus) -> None:
    spec = spec_of(shared_model("roberta"))
    words = Words(spec, [clinical])
    added = words.added_to(spec, words.choose(1))
    (name,) = added.words
    before = Tokenizer.from_str(json.dumps(spec)).model.tokenize(name)
    assert len(added.merges) == len(before) - 1 == len(added.pieces)
    assert [piece for piece, _ in added.pieces][-1] == name
    after = Tokenizer.from_str(json.dumps(added.to(spec)))
    assert [token.value for token in after.model.tokenize(name)] == [name]


def test_trimmed_and_added_in_one_step(
    tiny_model: Callable[..., Path], clinical: Corpus, train_corpus: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    sizes = {
        name: scores_of(add(source, tmp_path / name, clinical, (train_corpus,), **options))
        for name, options in {
            "trimmed": {},
            "both": {"add": 3},
            "all": {"add": 3, "min_count": 0},
            "few": {"add": 3, "keep": 5},
        }.items()
    }
    everything = sizes["all"]["pieces_before"]
    assert sizes["all"]["pieces"] == everything + 3
    assert sizes["all"]["bytes_saved"] == -3 * 32 * 4
    assert sizes["few"]["pieces"] <= sizes["both"]["pieces"] <= sizes["trimmed"]["pieces"] + 3 < everything
    assert "text" not in sizes["trimmed"]
    assert all(found["words_added"] == 3 for name, found in sizes.items() if name != "trimmed")
    manifest = read_manifest(tmp_path / "both")
    assert manifest is not None
    assert manifest.parameters == {"keep": None, "min_count": 1, "add": 3}


def test_special_pieces_behind_the_own_ones_move(
    tiny_model: Callable[..., Path], clinical: Corpus, tmp_path: Path
) -> None:
    """An added token whose id comes after the vocabulary, with a row of the embedding: its row goes along."""
    source = tiny_model("bert")
    wider = AutoModelForTokenClassification.from_pretrained(source)
    wider.resize_token_embeddings(221, mean_resizing=False)
    wider.save_pretrained(source)
    file = source / "tokenizer.json"
    spec = json.loads(file.read_text("utf-8"))
    assert len(spec["model"]["vocab"]) == 220
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    spec["added_tokens"].append({"id": 220, "content": "[PATIENT]", "special": True, **flags})
    file.write_text(json.dumps(spec), "utf-8")
    out = add(source, tmp_path / "out", clinical, min_count=0, add=2)
    ids = {name: i for i, name in pieces_of(spec_of(out)).items()}
    assert ids["[PATIENT]"] == 222
    old, new = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    (table,) = [name for name, weight in new.items() if weight.shape != old[name].shape]
    assert torch.equal(new[table][222], old[table][220])
    assert AutoTokenizer.from_pretrained(out).convert_tokens_to_ids("[PATIENT]") == 222


def test_a_word_less_likely_than_any_piece_cuts_no_longer_one_elsewhere(
    shared_model: Callable[..., Path], clinical: Corpus
) -> None:
    """Its score is the sum of its pieces' and falls below all others; so longer words keep their cuts."""
    spec = spec_of(shared_model("camembert"))
    spec["model"]["vocab"].append(["日本", -4.0])  # holds a character that is no piece of its own
    words = Words(spec, [clinical])
    added = words.added_to(spec, words.choose(8))
    assert min(score for _, score in added.pieces) < min(score for _, score in spec["model"]["vocab"]) - 10
    before, after = (Tokenizer.from_str(json.dumps(each)) for each in (spec, added.to(spec)))
    letters = [name for name, _ in spec["model"]["vocab"] if name.isalpha()]
    changed = 0
    for word in added.words:
        for letter in letters:
            longer = word.removeprefix("▁") + letter
            assert ends(after, longer) <= ends(before, longer), longer
            changed += ends(after, longer) < ends(before, longer)
    assert changed
    assert after.encode("日本").tokens == before.encode("日本").tokens


@pytest.mark.slow
def test_later_steps_take_it(
    tiny_model: Callable[..., Path], clinical: Corpus, short: Corpus, tmp_path: Path
) -> None:
    out = add(tiny_model(num_hidden_layers=2), tmp_path / "added", clinical, add=4)
    pruned = run_step("prune", out, tmp_path / "pruned", sparsity=0.3)
    recovered = run_step("recover", pruned, tmp_path / "recovered", train=short, epochs=1, batch_size=8)
    assert same_bits(zero_set(pruned), zero_set(recovered))
    packed = run_step("pack", recovered, tmp_path / "packed")
    unpacked = run_step("unpack", packed, tmp_path / "unpacked")
    assert same_bits(load_file(recovered / "model.safetensors"), load_file(unpacked / "model.safetensors"))
    graph = run_step("export", recovered, tmp_path / "graph", context=Context(calibration=clinical))
    small = run_step(
        "quantize", graph, tmp_path / "int8", context=Context(calibration=clinical), min_agreement=0.0
    )
    words = [sentence.words for sentence in clinical]
    wanted = [each.ids for each in load_encoder(out).encode(words)]
    for folder in (recovered, unpacked, graph, small):
        assert [each.ids for each in load_encoder(folder).encode(words)] == wanted


def test_dtype(tiny_model: Callable[..., Path], clinical: Corpus, tmp_path: Path) -> None:
    out = add(tiny_model(dtype="float16"), tmp_path / "out", clinical, add=3)
    assert {w.dtype for w in load_file(out / "model.safetensors").values()} == {torch.float16}


def test_a_tokenizer_that_marks_no_beginnings_is_refused(
    tiny_model: Callable[..., Path], clinical: Corpus, tmp_path: Path
) -> None:
    source = tiny_model("roberta")
    file = source / "tokenizer.json"
    spec = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(spec | {"pre_tokenizer": {"type": "Whitespace"}}), "utf-8")
    with pytest.raises(ModelError, match=r"add: the tokenizer of .* is a BPE without ByteLevel"):
        add(source, tmp_path / "out", clinical, add=3)
    assert list(tmp_path.iterdir()) == []


def test_a_mask_token_without_an_embedding_is_refused(
    tiny_model: Callable[..., Path], clinical: Corpus, tmp_path: Path
) -> None:
    """transformers would give it the id after the last piece, which --add moves: nothing may be left open."""
    source = tiny_model()
    file = source / "tokenizer.json"
    spec = json.loads(file.read_text("utf-8"))
    spec["added_tokens"] = [t for t in spec["added_tokens"] if t["content"] != "<mask>"]
    spec["model"]["vocab"] = [[n if n != "<mask>" else "▁masque", s] for n, s in spec["model"]["vocab"]]
    file.write_text(json.dumps(spec), "utf-8")
    with pytest.raises(
        ModelError, match=r"has the piece '<mask>' with id \d+, but the model's embedding has"
    ):
        add(source, tmp_path / "out", clinical, add=3)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_add(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="no word that is there three times is cut into pieces; leave add out"
    ):
        add(tiny_model(), tmp_path / "out", corpus_of(("a 1998 .", "O O O")), add=3)
    with pytest.raises(ParameterError, match="min_count=0 keeps every piece, so nothing would change"):
        add(tiny_model(), tmp_path / "out", corpus_of(("a", "O")), min_count=0)
    assert list(tmp_path.iterdir()) == []


def test_a_longer_word_keeps_the_rest_of_its_pieces(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    """An added word is the beginning of another only where the old tokenizer cut right after it."""
    source = tiny_model()
    text = corpus_of(("dermat dermat dermat dermatx", "O O O O"))
    out = add(source, tmp_path / "out", text, min_count=0, add=1)
    before, after = load_encoder(source), load_encoder(out)
    (whole,), (longer,) = after.encode([["dermat"]]), after.encode([["dermatx"]])
    assert whole.tokens == ["▁dermat"]
    old = before.encode([["dermatx"]])[0].tokens
    assert longer.tokens == ["▁dermat", old[-1]]
    found = scores_of(out)["text"]
    assert (found["words_changed"], found["words_whole"]) == (4, 3)
