"""Issue 15: a model folder that is changed at random gives its parent's logits, or one line; nothing else.

A folder with a manifest is changed in any way. A plain one only in ways that can be told: a weight or an
activation that is merely another one is a model of its own.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affineur.artifact import Manifest, describe, write_manifest
from affineur.engines.core.references import Reference
from affineur.errors import AffineurError
from affineur.progress import listening

from .models import made

WORDS = [["Marie", "Duval", "habite", "à", "Paris"], ["Télévox"], ["il", "dort"] * 30]
HOSTILE: list[Any] = [
    *(None, True, -1, 0, 3.5, 1 << 31, 1 << 40, 10**400, float("nan"), float("inf"), "", "x", "1"),
    *([], {}, [1], {"a": 1}, ["O"], "é" * 300),
]
#: Entries whose every change in a plain folder can be told from its weights.
STRUCTURE = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "max_position_embeddings"),
    *("type_vocab_size", "model_type", "architectures", "id2label"),
)
Random = random.Random


def put(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value))


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text("utf-8"))


def flip(folder: Path, name: str, rng: Random) -> None:
    data = bytearray((folder / name).read_bytes())
    for _ in range(rng.choice((1, 1, 4, 60))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (folder / name).write_bytes(data)


def cut(folder: Path, name: str, rng: Random) -> None:
    data = (folder / name).read_bytes()
    length = rng.choice((0, 1, len(data) // 2, len(data) - 1, rng.randrange(len(data))))
    (folder / name).write_bytes(data[:length])


def repeat(folder: Path, name: str, rng: Random) -> None:
    data = (folder / name).read_bytes()
    at = rng.randrange(len(data))
    more = rng.choice((data[:at], bytes(rng.randrange(40)), b"[" * 3000))
    (folder / name).write_bytes(data[:at] + more + data[at:])


def take_away(folder: Path, name: str, rng: Random) -> None:
    (folder / name).unlink()
    if rng.random() < 0.2:
        (folder / name).mkdir()


def change_json(folder: Path, name: str, rng: Random) -> None:
    """Change a value somewhere inside, or its name, or take it away."""
    value = whole = read(folder, name)
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            break
        key = rng.choice(keys)
        inside = value[key]
        if isinstance(inside, dict | list) and inside and rng.random() < 0.8:
            value = inside
            continue
        how = rng.randrange(3)
        if how == 0:
            value[key] = rng.choice(HOSTILE)
        elif how == 1:
            del value[key]
        elif isinstance(value, dict):
            value[rng.choice(("", "x", "O", "0", "-1"))] = value.pop(key)
        break
    put(folder, name, whole)


ANYWHERE: list[Callable[[Path, str, Random], None]] = [flip, cut, repeat, take_away]


def anything(folder: Path, rng: Random) -> str:
    """Change one file of an artifact in any way."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file())
    name = rng.choice(names)
    ways = [*ANYWHERE, change_json, change_json, change_json] if name.endswith(".json") else ANYWHERE
    way = rng.choice(ways)
    way(folder, name, rng)
    return f"{way.__name__} {name}"


def sizes(folder: Path, rng: Random) -> str:
    config = read(folder, "config.json")
    name = rng.choice(STRUCTURE)
    if rng.random() < 0.2:
        del config[name]
    elif rng.random() < 0.3 and isinstance(config[name], int):
        config[name] += rng.choice((-1, 1, config[name]))
    else:
        config[name] = rng.choice(HOSTILE)
    put(folder, "config.json", config)
    return f"{name}={str(config.get(name))[:50]}"


def label_names(folder: Path, rng: Random) -> str:
    config = read(folder, "config.json")
    named = config["id2label"]
    key = rng.choice(list(named))
    new = rng.choice(
        ("O", "I-PER", "i-per", "PER", "", "X Y", "B-", "LABEL_1", "E-PER", "M-PER", None, 3, "[PAD]")
    )
    named[rng.choice((key, "7", "-1", "00", "x"))] = new
    put(folder, "config.json", config)
    return f"id2label {named}"


def header(folder: Path, rng: Random) -> str:
    """Change names, shapes, dtypes or offsets of tensors, in a file that may be well-formed."""
    file = folder / "model.safetensors"
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    listed = json.loads(data[8 : 8 + size])
    listed.pop("__metadata__", None)
    name = rng.choice(sorted(listed))
    entry = listed[name]
    how = rng.randrange(6)
    if how == 0:
        listed[rng.choice((name + "s", "crf.transitions", name.replace("0", "1"), ""))] = listed.pop(name)
    elif how == 1:
        entry["dtype"] = rng.choice(("I32", "U32", "F16", "F64", "BOOL", "X", None, 4))
    elif how == 2:
        entry["shape"] = rng.choice(([*entry["shape"], 1], [], [-1], [1 << 62], entry["shape"][:1], "x", [0]))
    elif how == 3:
        entry["data_offsets"] = rng.choice(([0, 0], [4, 0], [0, 1 << 60], [-4, 0], [0], None, [1.5, 2]))
    elif how == 4:
        del entry[rng.choice(sorted(entry))]
    else:
        listed = rng.choice(({}, {name: entry}, [], {"__metadata__": {"format": 3}}, {**listed, "x": 1}))
    text = json.dumps(listed).encode()
    length = rng.choice((len(text), len(text), len(text), 0, 1 << 63, len(text) - 1, 100_000_001))
    file.write_bytes(length.to_bytes(8, "little") + text + data[8 + size :])
    return f"header {how} {name} {length}"


def no_number(folder: Path, rng: Random) -> str:
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    at = start + 4 * rng.randrange((len(data) - start) // 4)
    data[at : at + 4] = np.float32(rng.choice((np.nan, np.inf, -np.inf))).tobytes()
    file.write_bytes(data)
    return f"no number at {at}"


def pieces(folder: Path, rng: Random) -> str:
    tokenizer = read(folder, "tokenizer.json")
    rows = len(tokenizer["model"]["vocab"])
    for i in range(rng.randrange(1, 4)):
        tokenizer["added_tokens"].append(
            {"id": rows + i, "content": f"<new{i}>", "special": bool(i % 2), "normalized": False}
            | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        )
    put(folder, "tokenizer.json", tokenizer)
    return "pieces"


PLAIN = (sizes, sizes, label_names, header, header, no_number, pieces)


def outcome(folder: Path) -> Any:
    """Return the logits, or the one line of the refusal."""
    try:
        with listening(None):
            describe(folder)
            found = Reference.parse(folder).load()
            return list(found.logits(WORDS))  # type: ignore[attr-defined]
    except AffineurError as error:
        line = str(error)
    if "\n" in line or len(line) > 3000:
        raise ValueError(f"not one line: {line[:3000]}")
    return line


def fuzzed(parent: Path, changed: Path, count: int, seed: int, *, plain: bool) -> dict[str, int]:
    """Change a folder so often, each time from anew; count what came of it."""
    rng = Random(seed)
    expected = outcome(parent)
    assert not isinstance(expected, str), expected
    seen = {"refused": 0, "same": 0}
    for number in range(count):
        shutil.rmtree(changed, ignore_errors=True)
        shutil.copytree(parent, changed)
        what = rng.choice(PLAIN)(changed, rng) if plain else anything(changed, rng)
        try:
            found = outcome(changed)
        except Exception as error:
            raise AssertionError(f"{number}: {what} ends in {type(error).__name__}: {error}") from error
        if isinstance(found, str):
            seen["refused"] += 1
            continue
        equal = all(np.allclose(a, b, atol=1e-5) for a, b in zip(expected, found, strict=True))
        assert equal, f"{number}: {what} gives other logits, and nobody says so"
        seen["same"] += 1
    return seen


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("fuzz") / "camembert")


@pytest.fixture(scope="module")
def sealed(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(dense, tmp_path_factory.mktemp("fuzz") / "sealed"))
    write_manifest(folder, Manifest("transformers", "test"))
    return folder


def test_a_few_changes(dense: Path, sealed: Path, tmp_path: Path) -> None:
    one = fuzzed(dense, tmp_path / "m", 25, 5, plain=True)
    other = fuzzed(sealed, tmp_path / "m", 25, 4, plain=False)
    assert min(one["refused"], other["refused"]) > 15
    assert one["same"] + other["same"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_very_many_changes(dense: Path, sealed: Path, seed: int, tmp_path: Path) -> None:
    for parent, plain in ((dense, True), (sealed, False)):
        fuzzed(parent, tmp_path / "m", 400, seed, plain=plain)


@pytest.mark.slow
def test_very_many_changes_of_packed_models_and_graphs(
    sealed: Path, shared_onnx: Path, shared_int8: Path, tmp_path: Path
) -> None:
    from steps.conftest import run_step

    packed = run_step(
        "pack", run_step("prune", sealed, tmp_path / "pruned", sparsity=0.6), tmp_path / "packed"
    )
    for parent, count in ((packed, 200), (shared_onnx, 100), (shared_int8, 100)):
        fuzzed(parent, tmp_path / "m", count, 3, plain=False)
