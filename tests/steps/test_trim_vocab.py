"""``trim-vocab``: fewer pieces, the same answers; any text can still be cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification, AutoTokenizer

from affineur.artifact import MANIFEST, open_folder, read_manifest, verify
from affineur.engines.support.torch_tagger import load_tagger
from affineur.entities import Corpus, open_corpus
from affineur.errors import DataError, ModelError, ParameterError
from affineur.steps.core.context import Context
from affineur.steps.core.step import STEPS
from affineur.steps.tailoring.pieces import indispensable, new_order, pieces_of, trimmed, with_parts
from affineur.steps.tailoring.texts import read_text, texts_of
from affineur.transfer import Splits, load_splits

from .conftest import FAMILIES, corpus_of, run_step, same_bits, scores_of

TEXT = ("Marie habite à Paris depuis deux ans .", "O O O O O O O O")
#: The class transformers gives a family's tokenizer.
CLASSES = {"camembert": "CamembertTokenizer", "bert": "BertTokenizer", "roberta": "RobertaTokenizer"}


def spec_of(folder: Path) -> dict:
    return json.loads(Tokenizer.from_file(str(folder / "tokenizer.json")).to_str())


def trim(
    model: Path, out: Path, texts: Sequence[Corpus], unseen: Sequence[Corpus] = (), **options: int
) -> Path:
    context = Context(texts=tuple(texts), unseen=tuple(unseen))
    return run_step("trim-vocab", model, out, context=context, **options)


@pytest.fixture
def text() -> Corpus:
    return corpus_of(TEXT)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_answers_from_fewer_pieces(
    family: str, tiny_model: Callable[..., Path], text: Corpus, tmp_path: Path
) -> None:
    source, out = tiny_model(family), tmp_path / "out"
    assert trim(source, out, [text]) == out
    before, after = pieces_of(spec_of(source)), pieces_of(spec_of(out))
    assert 0 < len(after) < len(before)
    assert sorted(after) == list(range(len(after)))
    old, new = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    # every embedding went with its piece, nothing else changed
    (table,) = [name for name, weight in new.items() if weight.shape != old[name].shape]
    ids = {name: i for i, name in before.items()}
    assert torch.equal(new[table], old[table][[ids[after[i]] for i in range(len(after))]])
    assert same_bits(
        {n: w for n, w in old.items() if n != table}, {n: w for n, w in new.items() if n != table}
    )
    config = json.loads((out / "config.json").read_text())
    assert config["vocab_size"] == len(after)
    assert after[config["pad_token_id"]] == before[open_folder(source).config["pad_token_id"]]
    words = [TEXT[0].split()]
    first, second = load_tagger(source), load_tagger(out)
    assert first.encoder.encode(words)[0].tokens == second.encoder.encode(words)[0].tokens
    assert (first.logits(words)[0] == second.logits(words)[0]).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_transformers_agrees(
    family: str, tiny_model: Callable[..., Path], train_corpus: Corpus, tmp_path: Path
) -> None:
    """The oracle: transformers on the source, word by word and with a padded batch."""
    source, out = tiny_model(family), tmp_path / "out"
    if family in CLASSES:
        settings = json.loads((source / "tokenizer_config.json").read_text())
        (source / "tokenizer_config.json").write_text(
            json.dumps(settings | {"tokenizer_class": CLASSES[family], "do_lower_case": False})
        )
    trim(source, out, [train_corpus.head(12)])
    sentences = [" ".join(s.words) for s in train_corpus.head(12)]
    answers = []
    for folder in (source, out):
        tokenizer, model = (
            AutoTokenizer.from_pretrained(folder),
            AutoModelForTokenClassification.from_pretrained(folder).eval(),
        )
        # CamemBERT's class adds pieces of its own that a tiny vocabulary lacks
        assert len(tokenizer) - model.config.vocab_size == (3 if family == "camembert" else 0)
        batch = tokenizer(sentences, padding=True, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            logits = model(**batch).logits
        answers.append(([tokenizer.convert_ids_to_tokens(row) for row in batch["input_ids"]], logits))
    assert answers[0][0] == answers[1][0]
    assert torch.equal(answers[0][1], answers[1][1])


@pytest.mark.parametrize("family", ["camembert", "bert", "roberta", "modernbert", "deberta-v2"])
def test_any_text_can_still_be_cut(
    family: str, tiny_model: Callable[..., Path], train_corpus: Corpus, text: Corpus, tmp_path: Path
) -> None:
    source, out = tiny_model(family), tmp_path / "out"
    trim(source, out, [text], [train_corpus], keep=1)
    before, after = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (source, out))
    unknown = {"<unk>", "[UNK]"}
    for sentence in train_corpus:
        for word in sentence.words:
            if not unknown & set(before.encode(word, add_special_tokens=False).tokens):
                again = after.encode(word, add_special_tokens=False)
                assert not unknown & set(again.tokens), word
                assert "".join(t.removeprefix("##") for t in again.tokens) == "".join(
                    t.removeprefix("##") for t in before.encode(word, add_special_tokens=False).tokens
                )


@pytest.mark.parametrize("family", ["camembert", "bert", "roberta"])
def test_kept_pieces_are_cut_as_before(
    family: str, tiny_model: Callable[..., Path], train_corpus: Corpus, tmp_path: Path
) -> None:
    """Of every text: whatever the whole tokenizer cuts into kept pieces only, the trimmed one cuts alike."""
    source = tiny_model(family)
    spec = spec_of(source)
    whole = Tokenizer.from_str(json.dumps(spec))
    words = sorted({word for sentence in train_corpus for word in sentence.words})
    alike = other = 0
    for keep in range(0, whole.get_vocab_size(), 7):
        ids = with_parts(spec, indispensable(spec) | set(list(pieces_of(spec))[::3][:keep]))
        small = Tokenizer.from_str(json.dumps(trimmed(spec, new_order(spec, ids, 1))))
        for word in words:
            old, new = whole.encode(" " + word), small.encode(" " + word)
            if set(old.ids) <= ids:
                assert old.tokens == new.tokens
                alike += 1
            else:
                other += 1
                assert old.tokens != new.tokens
    assert alike
    assert other


def test_parts_of_a_join_stay() -> None:
    """``abcd`` is joined from ``ab`` and ``cd``, though ``abc`` is a piece too."""
    vocabulary = {name: i for i, name in enumerate(["a", "b", "c", "d", "ab", "cd", "abc", "abcd"])}
    merges = [["a", "b"], ["c", "d"], ["ab", "c"], ["ab", "cd"], ["abc", "d"]]
    spec = json.loads(Tokenizer.from_str(json.dumps(_bpe(vocabulary, merges))).to_str())
    kept = with_parts(spec, indispensable(spec) | {7})
    assert kept == {0, 1, 2, 3, 4, 5, 7}
    small = trimmed(spec, new_order(spec, kept, None))
    assert small["model"]["vocab"] == {"a": 0, "b": 1, "c": 2, "d": 3, "ab": 4, "cd": 5, "abcd": 6}
    assert small["model"]["merges"] == [["a", "b"], ["c", "d"], ["ab", "cd"]]
    assert Tokenizer.from_str(json.dumps(small)).encode("abcd").tokens == ["abcd"]


def _bpe(vocabulary: dict[str, int], merges: list[list[str]]) -> dict:
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges}
    return {"version": "1.0", "added_tokens": [], "model": model} | dict.fromkeys(
        ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    )


def test_a_special_piece_cannot_go(shared_model: Callable[..., Path]) -> None:
    spec = spec_of(shared_model("camembert"))
    everything = sorted(pieces_of(spec))
    assert trimmed(spec, everything) == spec
    everything.remove(2)
    with pytest.raises(ParameterError, match=r"cannot do without \(such as '</s>'\)"):
        trimmed(spec, everything)


def test_special_pieces_are_renumbered_everywhere(
    tiny_model: Callable[..., Path], text: Corpus, tmp_path: Path
) -> None:
    """In BERT's vocabularies unused pieces stand before [CLS]: its id changes."""
    source = tiny_model("bert")
    spec = spec_of(source)
    names = list(spec["model"]["vocab"])
    names = [names[0], "[unused1]", "[unused2]", *names[1:]]
    spec["model"]["vocab"] = {name: i for i, name in enumerate(names)}
    moved = {
        old: names.index(name)
        for name, old in json.loads((source / "tokenizer.json").read_text())["model"]["vocab"].items()
    }
    for token in spec["added_tokens"]:
        token["id"] = moved[token["id"]]
    spec["post_processor"] = spec["post_processor"] | {"cls": ["[CLS]", 4], "sep": ["[SEP]", 5]}
    spec["padding"] = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    (source / "tokenizer.json").write_text(json.dumps(spec))
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {
        "0": {"content": "[PAD]", "special": True},
        "4": {"content": "[CLS]", "special": True},
    }
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(
        json.dumps(config | {"bos_token_id": 4, "eos_token_id": 5, "vocab_size": len(names)})
    )
    model = AutoModelForTokenClassification.from_pretrained(source, ignore_mismatched_sizes=True)
    model.save_pretrained(source)
    out = trim(source, tmp_path / "out", [text])
    small, config = spec_of(out), json.loads((out / "config.json").read_text())
    ids = small["model"]["vocab"]
    assert "[unused1]" not in ids
    assert ids["[CLS]"] == 2
    assert {t["content"]: t["id"] for t in small["added_tokens"]} == {
        n: ids[n] for n in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    }
    assert small["post_processor"]["cls"] == ["[CLS]", 2]
    assert small["post_processor"]["sep"] == ["[SEP]", 3]
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (2, 3, 0)
    settings = json.loads((out / "tokenizer_config.json").read_text())
    assert {i: token["content"] for i, token in settings["added_tokens_decoder"].items()} == {
        "0": "[PAD]",
        "2": "[CLS]",
    }


def test_the_padding_piece_of_robertas_kind_keeps_its_id() -> None:
    spec = json.loads(
        Tokenizer.from_str(json.dumps(_bpe({n: i for i, n in enumerate("abcdefgh")}, []))).to_str()
    )
    assert new_order(spec, {3, 5, 6, 7}, 3) == [5, 6, 7, 3]
    assert new_order(spec, {0, 2, 3, 6, 7}, 3) == [0, 2, 6, 3, 7]
    assert new_order(spec, {0, 2, 3}, 7) == [0, 2, 3]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"keep": 0}, "keep=0 is impossible"),
        ({"min_count": -1}, "min_count=-1 is impossible"),
        ({"keep": 9, "min_count": 2}, "keep=9 and min_count=2 exclude each other; give one of them"),
    ],
)
def test_impossible_values_write_nothing(
    options: dict, wanted: str, tiny_model: Callable[..., Path], text: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=wanted):
        trim(tiny_model(), tmp_path / "out", [text], **options)
    assert list(tmp_path.iterdir()) == []


def test_no_pieces(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no piece of any word"):
        trim(tiny_model("bert"), tmp_path / "out", [corpus_of(("\u0001", "O"))])


def test_counts_choose(
    tiny_model: Callable[..., Path], train_corpus: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    sizes = {}
    for name, options in {
        "all": {},
        "often": {"min_count": 5},
        "few": {"keep": 40},
        "one": {"keep": 1},
    }.items():
        out = trim(source, tmp_path / name, [train_corpus], [dev_corpus], **options)
        sizes[name] = scores_of(out)
    assert sizes["all"]["pieces"] > sizes["often"]["pieces"] > sizes["one"]["pieces"]
    assert sizes["few"]["pieces"] > sizes["one"]["pieces"]
    width = load_file(source / "model.safetensors")["roberta.embeddings.word_embeddings.weight"].shape[1]
    for found in sizes.values():
        assert found["bytes_saved"] == (found["pieces_before"] - found["pieces"]) * width * 4
        assert found["unseen"]["sentences"] == len(dev_corpus)
        assert found["unseen"]["words"] == dev_corpus.words
    assert sizes["one"]["unseen"]["share_of_words_changed"] > sizes["all"]["unseen"]["share_of_words_changed"]
    assert sizes["one"]["unseen"]["pieces"] > sizes["one"]["unseen"]["pieces_before"]


def test_the_share_that_is_cut_in_another_way(
    tiny_model: Callable[..., Path], text: Corpus, dev_corpus: Corpus, tmp_path: Path
) -> None:
    """The oracle: both tokenizers, word by word."""
    source = tiny_model()
    out = trim(source, tmp_path / "out", [text], [dev_corpus])
    before, after = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (source, out))
    other = [[before.encode(w).tokens != after.encode(w).tokens for w in s.words] for s in dev_corpus]
    found = scores_of(out)["unseen"]
    assert found["words_changed"] == sum(map(sum, other)) > 0
    assert found["sentences_changed"] == sum(map(any, other))


def test_after_distill_and_prune(
    tiny_model: Callable[..., Path], short: Corpus, text: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    short_training = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    run_step("distill", source, tmp_path / "student", train=short, layers=2, keep="top", **short_training)
    run_step("prune", tmp_path / "student", tmp_path / "pruned", sparsity=0.3)
    out = trim(tmp_path / "pruned", tmp_path / "out", [text])
    assert (out / "pruning_info.json").read_bytes() == (
        tmp_path / "pruned" / "pruning_info.json"
    ).read_bytes()
    manifest = read_manifest(out)
    assert manifest is not None
    assert [p.stage for p in manifest.parents] == ["prune", "distill", "given"]
    assert manifest.parameters == {"keep": None, "min_count": 1, "add": 0}
    assert manifest.data["text"]["digest"] == text.digest
    before = (out / MANIFEST).stat().st_mtime_ns
    trim(tmp_path / "pruned", out, [text])
    assert (out / MANIFEST).stat().st_mtime_ns == before
    again = trim(out, tmp_path / "again", [text])
    assert scores_of(again)["bytes_saved"] == 0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_is_kept(dtype: str, tiny_model: Callable[..., Path], text: Corpus, tmp_path: Path) -> None:
    out = trim(tiny_model(dtype=dtype), tmp_path / "out", [text])
    assert {w.dtype for w in load_file(out / "model.safetensors").values()} == {getattr(torch, dtype)}


def test_old_vocabulary_files_do_not_go_along(
    tiny_model: Callable[..., Path], text: Corpus, tmp_path: Path
) -> None:
    source = tiny_model("bert")
    (source / "vocab.txt").write_text("\n".join(spec_of(source)["model"]["vocab"]))
    out = trim(source, tmp_path / "out", [text])
    assert not (out / "vocab.txt").exists()
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(
        json.dumps(settings | {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    )
    (source / "tokenizer.json").unlink()  # as old folders are: transformers makes a fast tokenizer of it
    again = trim(source, tmp_path / "again", [text])
    assert not (again / "vocab.txt").exists()
    assert load_tagger(again).tag([TEXT[0].split()]) == load_tagger(source).tag([TEXT[0].split()])


def test_another_kind_of_tokenizer_is_refused(
    tiny_model: Callable[..., Path], text: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    spec = spec_of(source)
    vocabulary = {name: i for i, name in pieces_of(spec).items()}
    spec["model"] = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    (source / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError, match="of the kind WordLevel, expected one of Unigram, WordPiece, BPE"):
        trim(source, tmp_path / "out", [text])
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_of_another_model_is_refused(
    tiny_model: Callable[..., Path], train_corpus: Corpus, tmp_path: Path
) -> None:
    source = tiny_model()
    spec = spec_of(source)
    spec["model"]["vocab"].append(["zz", -3.0])
    (source / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError, match=r"embedding has \d+ rows"):
        trim(source, tmp_path / "out", [corpus_of(("zz", "O"))])


def test_pieces_are_counted_in_train_and_test_is_unseen(
    tiny_model: Callable[..., Path], corpus: Path, tmp_path: Path
) -> None:
    context = Context(data=load_splits(corpus))
    out = run_step("trim-vocab", tiny_model(), tmp_path / "out", context=context, min_count=3)
    manifest = verify(out)
    assert manifest is not None
    assert {role: said["digest"] for role, said in manifest.data.items()} == {
        "text": open_corpus(corpus / "train.conll").digest,
        "unseen": open_corpus(corpus / "test.conll").digest,
    }
    assert manifest.scores["unseen"]["sentences"] == 20


def test_the_samples_text_is_used_where_none_is_named(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    manifest = verify(run_step("trim-vocab", tiny_model(), tmp_path / "out", keep=150))
    assert manifest is not None
    assert {role: said["name"] for role, said in manifest.data.items()} == {
        "text": "sample/train",
        "unseen": "sample/test",
    }


def test_texts_of_what_people_name(corpus: Path, text: Corpus, tmp_path: Path) -> None:
    raw = tmp_path / "raw.txt"
    raw.write_text("Marie habite à Paris.\n" * 40)
    few = tmp_path / "few.txt"
    few.write_text("Il pleut.\n" * 19)
    splits = load_splits(corpus)
    assert splits.train is not None
    assert splits.test is not None
    assert splits.dev is not None
    lone = Splits(splits.train, splits.dev, None)
    texts, unseen = texts_of([str(corpus), text, lone, Splits(text, None, None)], [raw, str(few)])
    train, test, dev = splits.train.digest, splits.test.digest, splits.dev.digest
    assert [t.digest for t in texts[:4]] == [train, text.digest, train, text.digest]
    assert [len(t) for t in texts[4:]] == [38, 19]
    assert [u.digest for u in unseen[:2]] == [test, dev]
    assert [len(u) for u in unseen[2:]] == [2]
    assert [t.name for t in texts_of()[0]] == ["sample/train"]
    assert [t.name for t in texts_of((), [few])[0]] == [str(few)]
    with pytest.raises(DataError, match="there is no train split"):
        texts_of([Splits(None, None, text)])
    with pytest.raises(DataError, match="no such file"):
        texts_of((), [tmp_path / "none.txt"])


def test_among_equally_used_pieces_those_of_lower_id_stay() -> None:
    from affineur.steps.tailoring.vocabulary import most_used

    used = {9: 2, 4: 1, 3: 2, 7: 5, 1: 1}
    assert most_used(used, None, 1) == [7, 3, 9, 1, 4]
    assert most_used(used, 4, 1) == [7, 3, 9, 1]
    assert most_used(used, None, 2) == [7, 3, 9]


def test_the_step_says_what_it_takes() -> None:
    step = STEPS.get("trim-vocab")
    assert {given.name: given.many for given in step.inputs} == {"data": True, "text": True}
    assert step().label("student", "student") == "student_trimmed"


def test_raw_text(tmp_path: Path) -> None:
    file = tmp_path / "raw.txt"
    file.write_text("Marie habite à Paris.\n\nL'Olympique gagne.\n")
    assert [s.words for s in read_text(file)] == [
        ("Marie", "habite", "à", "Paris", "."),
        ("L'", "Olympique", "gagne", "."),
    ]
    file.write_bytes("Élodie\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_text(file)
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "none.txt")
