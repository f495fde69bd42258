from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affineur.entities import Corpus, Scheme
from affineur.errors import DataError, MissingExtraError, ParameterError
from affineur.progress import listening
from affineur.transfer import DataOptions, load_corpus, load_splits

from .conftest import hub, run

BARE = ["O", "LOC", "PER"]
ROWS = [(["Marie", "dort"], [2, 0]), (["À", "Paris", "!"], [0, 1, 0])]
WANTED = [(("Marie", "dort"), ("I-PER", "O")), (("À", "Paris", "!"), ("O", "I-LOC", "O"))]


def pairs(corpus: Corpus) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(s.words, s.tags) for s in corpus]


def dataset(names: list[str] = BARE, rows: Iterable[tuple[list[str], list[int]]] = ROWS) -> datasets.Dataset:
    text, tag = datasets.Value("string"), datasets.ClassLabel(names=names)
    kinds = datasets.Features(
        {"id": datasets.Value("int32"), "tokens": datasets.List(text), "ner_tags": datasets.List(tag)}
    )
    rows = list(rows)
    columns = {"id": list(range(len(rows))), "tokens": [r[0] for r in rows], "ner_tags": [r[1] for r in rows]}
    return datasets.Dataset.from_dict(columns, features=kinds)


def write_parquet(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset(**options).to_parquet(path)
    return path


def write_json(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)}\n" for row in rows),
        "utf-8",
    )
    return path


def write_conll(path: Path, *sentences: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(s.replace(" ", "\n").replace("/", "\t") for s in sentences) + "\n", "utf-8")
    return path


README = """---
dataset_info:
  features:
  - name: tokens
    sequence: string
  - name: tags
    sequence:
      class_label:
        names:
          '0': O
          '1': LOC
          '2': PER
---
"""


@pytest.fixture(autouse=True)
def _quiet() -> Iterable[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


# ---- one file ----


def test_a_conll_file_is_whatever_split_is_asked_for(tmp_path: Path) -> None:
    path = write_conll(tmp_path / "any.conll", "Marie/I-PER dort/O", "Oui/O")
    for split in ("train", "dev", "test"):
        assert len(load_corpus(path, split)) == 2
    assert load_corpus(str(path)).types == ("PER",)


def test_wikiner_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "fr.wikiner"
    path.write_text("Marie|NAM|I-PER Curie|NAM|I-PER\n", "utf-8")
    assert pairs(load_corpus(path)) == [(("Marie", "Curie"), ("B-PER", "I-PER"))]
    columns = write_conll(tmp_path / "columns.txt", "I-PER/x/Marie")
    assert pairs(load_corpus(columns, options=DataOptions(word_column=2, tag_column=0))) == [
        (("Marie",), ("I-PER",))
    ]


def test_parquet_with_class_labels_and_bare_types(tmp_path: Path) -> None:
    corpus = load_corpus(write_parquet(tmp_path / "x.parquet"))
    assert pairs(corpus) == WANTED
    assert (corpus.scheme, corpus.types) == (Scheme.IO, ("LOC", "PER"))
    bio = write_parquet(tmp_path / "bio.parquet", names=["O", "B-LOC", "B-PER"])
    assert load_corpus(bio).scheme is Scheme.BIO


def test_parquet_without_metadata_needs_names(tmp_path: Path) -> None:
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"tokens": [r[0] for r in ROWS], "labels": [r[1] for r in ROWS]}), path)
    with pytest.raises(
        DataError, match=r"row 1: the tags are numbers and nothing names them; give tag_names \(O,I-PER,…"
    ) as caught:
        load_corpus(path)
    assert (caught.value.path, caught.value.line) == (path, 1)
    assert pairs(load_corpus(path, options=DataOptions(tag_names=("O", "I-LOC", "I-PER")))) == WANTED
    with pytest.raises(
        DataError, match=r"row 1: found the tag 2, but the 2 names \(O, I-LOC\) go from 0 to 1"
    ):
        load_corpus(path, options=DataOptions(tag_names=("O", "LOC")))


def test_json_lines(tmp_path: Path) -> None:
    numbers = write_json(tmp_path / "a.jsonl", *({"tokens": w, "ner": t} for w, t in ROWS))
    assert pairs(load_corpus(numbers, options=DataOptions(tag_names=tuple(BARE)))) == WANTED
    names = write_json(
        tmp_path / "b.json",
        {"tokens": ["Marie"], "tags": ["PER"]},
        "",
        {"tags": ["O"], "tokens": ["dort"]},
        {"tokens": [], "tags": []},
    )
    assert pairs(load_corpus(names)) == [(("Marie",), ("I-PER",)), (("dort",), ("O",))]


GOOD = {"tokens": ["Marie"], "tags": ["B-PER"]}


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        ([GOOD, {"tokens": ["a", "b"], "tags": ["O"]}], 2, "row 2: 2 tokens but 1 tags"),
        ([GOOD, {"tokens": ["a", None], "tags": ["O", "O"]}], 2, "row 2: found the token None"),
        ([GOOD, {"tokens": [""], "tags": ["O"]}], 2, "row 2: found the token ''"),
        ([GOOD, {"tokens": None, "tags": ["O"]}], 2, "row 2: found a NoneType, expected a list"),
        ([GOOD, {"tokens": "Marie dort", "tags": ["O"]}], 2, "row 2: found a str, expected a list"),
        ([GOOD, {"tokens": ["a"], "tags": [None]}], 2, "row 2: found the tag None"),
        ([GOOD, {"tokens": ["a"], "tags": [True]}], 2, "row 2: found the tag True"),
        ([GOOD, {"tokens": ["a"], "tags": [1.5]}], 2, "row 2: found the tag 1.5"),
        ([GOOD, {"tokens": ["a"], "tags": [" "]}], 2, "row 2: found the tag ' '"),
        ([GOOD, {"tokens": ["a"], "tags": [1]}], 2, "row 2: the tags are numbers"),
        ([GOOD, {"tokens": ["a"]}], 2, "row 2: has no tags"),
        ([GOOD, [1]], 2, "row 2: found a list, expected a JSON object on each line"),
        ([GOOD, "", "{"], 3, "row 3: not JSON"),
        (
            [GOOD, {"tokens": ["a", "b"], "tags": ["O", "I-LOC"]}],
            2,
            r"row 2: tag I-LOC follows O.*\(word 'b'\)",
        ),
        (["[", "x]"], 1, "row 1: not JSON"),
        (["[", "]"], None, "the file is empty"),
        (
            [{"text": "a", "label": 1}],
            None,
            "found the columns text, label; expected tokens and one of ner_tags, tags, ner, labels",
        ),
        ([{"tokens": [], "tags": []}], None, "no row with a token in it"),
        ([], None, "the file is empty, expected one JSON object per line"),
    ],
)
def test_rows_that_are_wrong_are_named(
    rows: list[object], line: int | None, message: str, tmp_path: Path
) -> None:
    path = write_json(tmp_path / "x.jsonl", *rows)
    with pytest.raises(DataError, match=message) as caught:
        load_corpus(path)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{path}:{line}: row {line}" if line else f"{path}: ")


def test_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not at all")
    (tmp_path / "x.jsonl").write_bytes(b'{"tokens": ["caf\xe9"]}')
    (tmp_path / "x.conll").write_text("", "utf-8")
    for name, message in {
        "x.parquet": "not a Parquet file",
        "x.jsonl": "not UTF-8",
        "x.conll": "is empty",
    }.items():
        with pytest.raises(DataError, match=message):
            load_corpus(tmp_path / name)
    whole = write_parquet(tmp_path / "cut.parquet", rows=ROWS * 500)
    raw = bytearray(whole.read_bytes())
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    raw[4:footer] = bytes(footer - 4)
    whole.write_bytes(raw)
    with pytest.raises(DataError, match="row 1: damaged"):
        load_corpus(whole)


@pytest.mark.parametrize("reference", ["data/test.conll", "x.jsonl", "./x", "/no/such/folder", "a/b/c"])
def test_a_file_that_is_not_there_is_not_looked_for_on_the_hub(reference: str) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load_corpus(reference)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = write_parquet(tmp_path / "train.parquet")
    lines = write_json(tmp_path / "x.jsonl", GOOD)
    for module in ("datasets", "pyarrow"):
        monkeypatch.setitem(sys.modules, module, None)
    assert len(load_corpus(lines)) == 1
    for reference in (parquet, tmp_path):
        with pytest.raises(MissingExtraError, match="reading data sets needs"):
            load_corpus(reference)


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    rows = [{"tokens": [f"mot{i}"] * 20, "tags": ["O"] * 20} for i in range(4000)]
    lines = write_json(tmp_path / "x.jsonl", *rows)
    table = pa.table({"tokens": [r["tokens"] for r in rows], "tags": [r["tags"] for r in rows]})
    pq.write_table(table, tmp_path / "x.parquet")
    load_corpus(write_json(tmp_path / "warm.jsonl", GOOD))
    tracemalloc.start()
    try:
        assert load_corpus(lines).words == load_corpus(tmp_path / "x.parquet").words == 80_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000  # all of it at once is more than 8 MB


# ---- folders ----


def test_a_conll_folder_under_other_names(tmp_path: Path) -> None:
    write_conll(tmp_path / "train.txt", "Marie/B-PER")
    write_conll(tmp_path / "valid.bio", "Paris/B-LOC")
    splits = load_splits(tmp_path)
    assert (len(splits.get("train")), splits.get("dev").types, splits.test) == (1, ("LOC",), None)
    with pytest.raises(
        DataError,
        match=rf"{tmp_path}: there is no test split \(found: train, dev\); add test.conll, or name a file",
    ):
        splits.get("test")
    with pytest.raises(DataError, match=r"there is no test split \(found: train, dev\)"):
        load_corpus(tmp_path)
    with pytest.raises(
        ParameterError, match="no split 'tset', expected one of train, dev, test; did you mean 'test'"
    ):
        load_corpus(tmp_path, "tset")


def test_only_the_split_asked_for_is_read(tmp_path: Path) -> None:
    write_conll(tmp_path / "train.conll", "broken")
    write_conll(tmp_path / "test.conll", "Marie/I-PER")
    assert len(load_corpus(tmp_path)) == 1
    with pytest.raises(DataError, match="found one column"):
        load_splits(tmp_path)


def test_a_folder_of_json_lines_with_names_in_its_readme(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(README, "utf-8")
    for name in ("train", "validation"):
        write_json(tmp_path / f"{name}.jsonl", *({"tokens": w, "tags": t} for w, t in ROWS))
    splits = load_splits(tmp_path)
    assert pairs(splits.get("train")) == pairs(splits.get("dev")) == WANTED
    assert splits.get("dev").name == f"{tmp_path} (dev)"


def test_a_folder_of_parquet_in_parts(tmp_path: Path) -> None:
    for part in range(2):
        write_parquet(tmp_path / "data" / f"train-{part:05}-of-00002.parquet")
    broken = write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", names=["O", "I-LOC", "B-PER"])
    assert pairs(load_corpus(tmp_path, "train", DataOptions(dev_share=0))) == WANTED * 2
    with pytest.raises(DataError, match=rf"^{broken}:2: row 2: tag I-LOC follows O"):
        load_corpus(tmp_path)


def test_save_to_disk(tmp_path: Path) -> None:
    datasets.DatasetDict(train=dataset(), validation=dataset(), extra=dataset()).save_to_disk(
        tmp_path / "dict"
    )
    splits = load_splits(tmp_path / "dict")
    assert pairs(splits.get("train")) == pairs(splits.get("dev")) == WANTED
    assert splits.test is None
    dataset().save_to_disk(tmp_path / "single")
    assert pairs(load_corpus(tmp_path / "single", "test")) == WANTED
    (tmp_path / "single" / "dataset_info.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match="not a folder that save_to_disk wrote"):
        load_corpus(tmp_path / "single")


def test_folders_without_data(tmp_path: Path) -> None:
    for name in ("empty", "csv", "configurations", "odd"):
        (tmp_path / name).mkdir()
    (tmp_path / "csv" / "train.csv").write_text("tokens,tags\n", "utf-8")
    configurations = (
        "---\nconfigs:\n- config_name: fr\n  data_files: fr.jsonl\n"
        "- config_name: en\n  data_files: en.jsonl\n---\n"
    )
    (tmp_path / "configurations" / "README.md").write_text(configurations, "utf-8")
    write_json(tmp_path / "configurations" / "fr.jsonl", GOOD)
    write_json(tmp_path / "configurations" / "en.jsonl", GOOD)
    (tmp_path / "odd" / "README.md").write_text(
        "---\nconfigs:\n- config_name: fr\n  data_files:\n  - split: all\n    path: x.jsonl\n---\n", "utf-8"
    )
    write_json(tmp_path / "odd" / "x.jsonl", GOOD)
    for name, message in {
        "empty": "no data set was recognized in .*expected train, dev and test",
        "csv": r"there is no test split \(found: train\)",
        "configurations": r"available configs: \['fr', 'en'\]"
        ".*give the folder of one configuration, or a file",
        "odd": "found the splits all; expected train, dev and test",
    }.items():
        with pytest.raises(DataError, match=message) as caught:
            load_corpus(tmp_path / name)
        assert "\n" not in str(caught.value)


# ---- what is done with the splits ----


def test_dev_is_held_out_of_train_the_same_way_each_time(tmp_path: Path) -> None:
    write_conll(tmp_path / "train.conll", *(f"mot{i}/O" for i in range(40)))
    remarks: list[str] = []
    with listening(lambda what, *_: remarks.append(what)):
        splits = load_splits(tmp_path)
    assert remarks == [f"{tmp_path} has no dev: one sentence in 20 of train is held out for it (2 of 40)"]
    assert [s.words[0] for s in splits.get("dev")] == ["mot19", "mot39"]
    assert len(splits.get("train")) == 38
    assert load_corpus(tmp_path, "dev").digest == splits.get("dev").digest
    assert load_corpus(tmp_path, "train").digest == splits.get("train").digest
    assert load_splits(tmp_path, DataOptions(dev_share=0)).dev is None
    assert len(load_splits(tmp_path / "train.conll", DataOptions(dev_share=0.5)).get("dev")) == 20
    for share in (-0.1, 0.6):
        with pytest.raises(ParameterError, match=r"expected 0 to 0\.5"):
            DataOptions(dev_share=share)


def test_very_little_train(tmp_path: Path) -> None:
    write_conll(tmp_path / "train.conll", "a/O", "b/O", "c/O")
    splits = load_splits(tmp_path)
    assert (len(splits.get("train")), len(splits.get("dev"))) == (2, 1)
    one = load_splits(write_conll(tmp_path / "one.conll", "a/O"))
    assert (len(one.get("train")), one.dev) == (1, None)


def test_the_label_map_reaches_every_split_but_none_may_be_unknown(tmp_path: Path) -> None:
    write_conll(tmp_path / "train.conll", "Marie/B-PERSON Paris/B-GPE 1789/B-DATE", "x/O")
    write_conll(tmp_path / "test.conll", "Marie/B-PERSON")
    options = DataOptions(label_map={"PERSON": "PER", "GPE": "LOC", "DATE": "O"})
    splits = load_splits(tmp_path, options)
    assert splits.get("test").types == ("PER",)
    assert pairs(load_splits(tmp_path, DataOptions(label_map=options.label_map, dev_share=0)).get("train"))[
        0
    ][1] == ("B-PER", "B-LOC", "O")
    assert pairs(load_corpus(tmp_path, "test", options)) == [(("Marie",), ("B-PER",))]
    with pytest.raises(
        DataError,
        match="the label map names PERSO, but the types here are DATE, GPE, PERSON; did you mean 'PERSON'",
    ):
        load_corpus(tmp_path, "test", DataOptions(label_map={"PERSO": "PER"}))


# ---- the Hub ----


def test_a_data_set_of_the_hub(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    write_parquet(repo / "data" / "train-00000-of-00001.parquet", rows=ROWS * 10)
    write_parquet(repo / "data" / "test-00000-of-00001.parquet")
    (repo / "wikiner_fr.py").write_text("raise SystemExit('a loading script ran')", "utf-8")
    (repo / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n", "utf-8")
    code = """
import sys
from affineur.transfer import load_corpus, load_splits
splits = load_splits("Jean-Baptiste/wikiner_fr")
found = [(s.words, s.tags) for s in splits.test]
print([len(splits.get(s)) for s in ("train", "dev", "test")], splits.test.name, found == {!r})
print(load_corpus("hub:Jean-Baptiste/wikiner_fr@main").digest == splits.test.digest, "torch" in sys.modules)
""".replace("{!r}", repr(WANTED))
    with hub({"datasets/Jean-Baptiste/wikiner_fr": repo}) as server:
        out = run(code, tmp_path / "home", server.url)
        assert out.stdout == "[19, 1, 2] Jean-Baptiste/wikiner_fr (test) True\nTrue False\n", out.stderr
        assert not [r for r in server.requests if r.endswith(".py")]
    assert run(code, tmp_path / "home", "http://127.0.0.1:9").stdout == out.stdout
    absent = run(
        "from affineur.transfer import load_corpus\nload_corpus('owner/absent@v9')",
        tmp_path / "home",
        "http://127.0.0.1:9",
    )
    assert absent.stdout.startswith("TransferError there is no data set 'owner/absent' here")
    assert absent.stdout.count("\n") == 1
