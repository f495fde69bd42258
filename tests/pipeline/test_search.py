"""The search for a front: what is tried, found, kept, resumed, and refused."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from affineur.artifact import open_folder, read_manifest, verify
from affineur.entities import Corpus
from affineur.errors import DataError, MissingExtraError, ModelError, ParameterError, RecipeError
from affineur.measure import Evaluation, Point, Ratio, evaluate
from affineur.pipeline import load
from affineur.pipeline import search as module
from affineur.pipeline.search_recipe import (
    RangesSection,
    SearchRecipe,
    default_search_recipe,
    read_search_recipe,
)
from affineur.pipeline.search_results import Found, Trial
from affineur.pipeline.search_space import Choice, Space, propose
from affineur.steps.core.step import STEPS
from affineur.transfer import load_corpus, load_splits

pytest.importorskip("optuna")
search = module.search

RANGES = {
    "layers": [2, 2],
    "ffn_width": [0.5, 0.5],
    "vocabulary": [150],
    "sparsity": [0.5, 0.5],
    "precision": ["packed", "int8"],
}
SPACE = Space((3, 2, 1), (1.0, 0.5), (None, 100), (0.0, 0.5), ("fp32", "int8"))


def recipe_of(teacher: Path, corpus: Path, **changes: Any) -> SearchRecipe:
    given = {
        "name": "s",
        "teacher": str(teacher),
        "data": str(corpus),
        "minutes": 5,
        "budget": {"max_drop": 0.49},
        "ranges": RANGES,
    }
    return SearchRecipe.model_validate({**given, "train": {"epochs": 0.1}, **changes})


@pytest.fixture
def recipe(tiny_model, corpus: Path) -> SearchRecipe:
    return recipe_of(tiny_model("camembert"), corpus)


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> list[Choice]:
    """Instead of making and measuring points, make figures up; returns what was tried."""
    tried: list[Choice] = []

    def pretend(bench: Any, choice: Choice) -> Trial:
        tried.append(choice)
        return trial_of(
            choice,
            0.1 / choice.layers,
            choice.layers * 1000 + (choice.precision == "fp32"),
            1 / choice.layers,
            seconds=20,
        )

    monkeypatch.setattr(module._Bench, "tried", pretend)
    monkeypatch.setattr(module._Bench, "make", lambda bench, _choice: bench.teacher.path)
    return tried


def trial_of(
    choice: Choice, drop: float, size: int, speed: float, seconds: float = 1.0, high: float | None = None
) -> Trial:
    point = Point(
        "magnitude",
        0.0,
        0.0,
        False,
        0.5 - drop,
        0.4,
        0.6,
        drop,
        drop - 0.01,
        drop + 0.01 if high is None else high,
        1.0,
        False,
    )
    return Trial(choice, seconds, point, size, Ratio(speed, speed, speed))


def test_a_front_is_found_written_and_not_sought_again(
    recipe: SearchRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    found = search(recipe, front=out)
    known = json.loads((out / "search.json").read_text())
    points = known["points"]
    assert [p["name"] for p in points] == ["L2-w0.5-v150-s0.5-packed", "L2-w0.5-v150-s0.5-int8"]
    assert not any(p["error"] for p in points)
    # The figures are those of the artifact that was left, scored and weighed here by other means.
    dev = load_splits(str(recipe.data)).get("dev")
    kept = {p.name for p in (out / "models").iterdir() if not p.name.startswith(".")}
    assert (
        kept
        == {p["name"] for p in points if p["on_front"] or p["knee"] or p["smallest_inside"]}
        == {p["name"] for p in points if p["artifact"]}
    )
    for p in points:
        if p["artifact"]:
            folder = Path(p["artifact"])
            manifest = verify(folder)
            assert manifest is not None
            stages = ["recover", "prune", "trim-vocab", "shrink", "distill", "given"]
            last = ["pack"] if p["parameters"]["precision"] == "packed" else ["quantize", "export"]
            assert [manifest.stage, *(parent.stage for parent in manifest.parents)] == last + stages
            assert p["f1"] == pytest.approx(evaluate(load(folder), dev).total.f1)
            assert p["size_bytes"] == sum(
                f.stat().st_size for f in folder.iterdir() if f.name in ("model.onnx", "model.safetensors")
            )
            assert p["speedup_low"] <= p["speedup"] <= p["speedup_high"]
    assert sum(p["knee"] for p in points) == 1
    assert known["knee"] in {p["name"] for p in points if p["on_front"]}
    inside = [p for p in points if p["drop_high"] <= 0.5]
    assert known["smallest_inside"] == min(inside, key=lambda p: (p["size_bytes"], -p["f1"]))["name"]
    assert {known["knee"], known["smallest_inside"]} == set(known["confirmations"])
    test = load_corpus(str(recipe.data), "test")
    assert all(c["data_digest"] == test.digest for c in known["confirmations"].values())
    assert known["smallest_inside"] in known["pick"]
    assert known["knee"] in (out / "search.md").read_text()
    ET.parse(out / "search.svg")
    before = {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*")}
    for name in ("distill", "prune", "recover", "export", "quantize", "pack"):
        monkeypatch.setattr(STEPS.get(name), "run", None)
    monkeypatch.setattr(module, "throughput", None)
    again = search(recipe, front=out)
    assert again.trials == found.trials
    assert {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*")} == before
    assert {p["name"]: p["f1"] for p in json.loads((out / "search.json").read_text())["points"]} == {
        p["name"]: p["f1"] for p in points
    }


def test_the_smallest_inside_the_budget_is_what_is_taken(recipe: SearchRecipe, tmp_path: Path) -> None:
    wide = recipe_of(Path(recipe.teacher), Path(str(recipe.data)), ranges={"precision": ["fp32", "int8"]})
    front, best = tmp_path / "front", tmp_path / "best"
    found = search(wide, front=front, out=best)
    assert found.smallest is not None
    assert found.smallest.size_bytes == min(t.size_bytes for t in found.trials if found.inside(t))
    assert verify(best) is not None
    assert open_folder(best).digest() == open_folder(front / "models" / found.smallest.name).digest()
    words = [["Marie", "vit", "à", "Paris", "."]]
    assert load(best).tag(words) == load(front / "models" / found.smallest.name).tag(words)
    before = {path.name: path.stat().st_mtime_ns for path in best.iterdir()}
    assert search(wide, front=front, out=best).smallest == found.smallest
    assert open_folder(best).digest() == open_folder(front / "models" / found.smallest.name).digest()
    assert before.keys() == {path.name for path in best.iterdir()}

    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years")
    with pytest.raises(ParameterError, match=r"chapter1\.tex"):
        search(wide, front=front, out=tmp_path / "thesis")


def test_nothing_is_taken_where_no_point_is_inside(recipe: SearchRecipe, tmp_path: Path) -> None:
    ranges = {"precision": ["fp32"]}
    strict = recipe_of(Path(recipe.teacher), Path(str(recipe.data)), ranges=ranges, budget={"min_f1": 0.999})
    found = search(strict, front=tmp_path / "front", out=tmp_path / "best")
    assert found.smallest is None
    assert not (tmp_path / "best").exists()


def test_a_search_nobody_wrote_a_recipe_for(tiny_model, corpus: Path, tmp_path: Path) -> None:
    teacher = tiny_model("camembert")
    recipe = default_search_recipe(str(teacher), str(corpus), 3, minutes=0.02, max_drop=0.49, seed=5)
    assert (recipe.name, recipe.seed, recipe.f1_budget.max_drop) == (teacher.name, 5, 0.49)
    assert (recipe.ranges.layers, recipe.ranges.ffn_width) == ((1, 3), (0.25, 1.0))
    found = search(recipe, front=tmp_path / "front", out=tmp_path / "best")
    assert found.trials[0].choice == Choice(3, 1.0, None, 0.0, "fp32")
    assert found.trials[0].error is None
    assert load(tmp_path / "best").tag([["Paris"]])
    with pytest.raises(RecipeError, match="unknown key 'minute'; did you mean 'minutes'"):
        default_search_recipe(str(teacher), str(corpus), 3, minute=5)


def test_what_is_common_is_made_once_and_a_removed_artifact_again(
    recipe: SearchRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(
        Path(recipe.teacher), Path(str(recipe.data)), ranges={"layers": [2, 2], "precision": ["fp32", "int8"]}
    )
    calls: list[str] = []
    for name in ("distill", "recover"):
        run = STEPS.get(name).run
        monkeypatch.setattr(
            STEPS.get(name), "run", lambda *a, _name=name, _run=run: calls.append(_name) or _run(*a)
        )
    found = search(recipe, front=tmp_path / "out", keep_all=True)
    manifests = [read_manifest(tmp_path / "out" / "models" / name) for name in ("L2-fp32", "L2-int8")]
    assert manifests[1].parents[0].digest != manifests[0].parents[0].digest == manifests[1].parents[1].digest  # type: ignore[union-attr]
    assert calls == ["distill", "distill"]  # which has trained it already: nothing is to be recovered
    assert (tmp_path / "out" / "models" / "L2").is_dir()
    for path in (tmp_path / "out" / "models" / found.knee.name).iterdir():
        path.unlink()
    assert search(recipe, front=tmp_path / "out").knee == found.knee
    verify(tmp_path / "out" / "models" / found.knee.name)
    assert not (tmp_path / "out" / "models" / "L2").exists()


def test_what_cannot_be_made_is_recorded(
    recipe: SearchRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_given: Any, **_more: Any) -> None:
        raise ModelError("this CPU cannot")

    recipe = recipe_of(Path(recipe.teacher), Path(str(recipe.data)), ranges={"precision": ["fp32", "int8"]})
    monkeypatch.setattr(STEPS.get("quantize"), "run", fails)
    found = search(recipe, front=tmp_path / "out")
    assert [trial.error for trial in found.trials] == [None, "this CPU cannot"]
    assert (
        found.as_dict()["points"][1] | {"f1": None, "on_front": False, "artifact": None}
        == found.as_dict()["points"][1]
    )
    monkeypatch.setattr(STEPS.get("export"), "run", fails)
    with pytest.raises(
        ModelError, match="no point of the search could be made; the last of 2 said: this CPU cannot"
    ):
        search(recipe, front=tmp_path / "other")


def test_time_is_kept_and_an_interrupted_search_goes_on(
    recipe: SearchRecipe, tmp_path: Path, faked: list[Choice], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {
        "layers": [1, 3],
        "ffn_width": [0.2, 1.0],
        "vocabulary": [None, 50, 90],
        "precision": ["fp32", "int8"],
    }
    recipe = recipe_of(Path(recipe.teacher), Path(str(recipe.data)), ranges=whole, minutes=4)
    search(recipe, front=tmp_path / "one")
    straight = list(faked)
    assert len(straight) == len(set(straight)) == 12  # of 20 seconds each: the whole time, and not more
    faked.clear()
    pretend = module._Bench.tried

    def interrupted(bench: Any, choice: Choice) -> Trial:
        if len(faked) == 9:
            raise KeyboardInterrupt
        return pretend(bench, choice)

    monkeypatch.setattr(module._Bench, "tried", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(recipe, front=tmp_path / "two")
    assert len(json.loads((tmp_path / "two" / "trials.json").read_text())["trials"]) == 9
    monkeypatch.setattr(module._Bench, "tried", pretend)
    search(recipe, front=tmp_path / "two")
    assert faked == straight
    search(recipe, front=tmp_path / "two")
    assert faked == straight
    search(recipe.model_copy(update={"minutes": 5.0}), front=tmp_path / "two")
    assert (len(faked), faked[:12]) == (15, straight)


@pytest.mark.usefixtures("faked")
def test_folders_of_others_stay(recipe: SearchRecipe, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("work of years")
    with pytest.raises(ParameterError, match="holds what no search wrote"):
        search(recipe, front=tmp_path / "mine")
    search(recipe, front=tmp_path / "out")
    with pytest.raises(ParameterError, match="holds a search with another teacher"):
        search(recipe.model_copy(update={"seed": 4}), front=tmp_path / "out")
    relaxed = recipe.model_copy(update={"budget": recipe.budget.model_copy(update={"max_drop": 0.49})})
    assert search(relaxed, front=tmp_path / "out").recipe.f1_budget.max_drop == 0.49
    (tmp_path / "out" / "trials.json").write_text("{")
    with pytest.raises(ParameterError, match="damaged"):
        search(recipe, front=tmp_path / "out")


def test_what_cannot_be_searched_is_refused(recipe: SearchRecipe, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"ranges.layers is \[2, 9\], but the teacher has 3 encoder layers"):
        search(recipe_of(Path(recipe.teacher), corpus, ranges={"layers": [2, 9]}), front=tmp_path / "out")
    (corpus / "test.conll").write_text((corpus / "dev.conll").read_text())
    with pytest.raises(DataError, match="20 sentences of test stand in train or dev too"):
        search(recipe, front=tmp_path / "out")
    few = "".join((corpus / "dev.conll").read_text().split("\n\n")[0] + "\n\n" for _ in range(3))
    (corpus / "dev.conll").write_text(few)
    with pytest.raises(DataError, match="3 sentences as dev"):
        search(recipe, front=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_optuna_the_extra_is_named(
    recipe: SearchRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'affineur\[search\]'"):
        search(recipe, front=tmp_path / "out")


def test_every_point_is_proposed_once() -> None:
    rng = np.random.default_rng(1)
    tried: dict[Choice, list[float] | None] = {}
    space = replace(SPACE, vocabulary=(None,), layers=(3, 1))
    while (choice := propose(space, tried, 13)) is not None:
        assert choice not in tried
        assert propose(space, tried, 13) == choice
        tried[choice] = list(rng.random(3)) if rng.random() < 0.8 else None
    assert set(tried) == set(space)
    assert len(tried) == 2**4
    assert tuple(tried)[: len(space.starts)] == space.starts


def test_what_is_tried_first() -> None:
    full, small = Choice(3, 1.0, None, 0.0, "int8"), Choice(1, 0.5, 100, 0.5, "int8")
    assert SPACE.starts[:2] == (replace(full, precision="fp32"), full)
    assert {
        small,
        replace(full, layers=1),
        replace(full, ffn_width=0.5),
        replace(full, vocabulary=100),
        replace(full, sparsity=0.5),
    } <= set(SPACE.starts)
    packing = replace(SPACE, precision=("fp32", "packed", "int8"))
    assert all(choice.sparsity == 0.0 for choice in packing if choice.precision != "packed")
    assert Choice(3, 1.0, None, 0.5, "packed") in packing.starts
    laid = Space.of(RangesSection(ffn_width=(0.2, 1.0), vocabulary=[100, None, 300], sparsity=(0.0, 0.4)), 3)
    assert laid == Space(
        (3,), (1.0, 0.8, 0.6, 0.4, 0.2), (None, 300, 100), (0.0, 0.1, 0.2, 0.3, 0.4), ("fp32", "int8")
    )


def test_the_sampler_goes_where_the_front_is() -> None:
    """Points of few layers are better in everything here; chance would take them a third of the time."""
    space = Space(
        tuple(range(12, 0, -1)), tuple(np.linspace(1, 0.2, 5)), (None, 3, 2), (0.0,), ("fp32", "int8")
    )
    tried: dict[Choice, list[float] | None] = {}
    for _ in range(40):
        choice = propose(space, tried, 3)
        assert choice is not None
        tried[choice] = [
            choice.layers + choice.ffn_width,
            choice.layers - choice.ffn_width,
            float(choice.layers),
        ]
    later = list(tried)[15:]
    assert sum(choice.layers <= 4 for choice in later) > len(later) / 2


def found_of(trials: list[Trial], corpus: Corpus, **budget: Any) -> Found:
    recipe = recipe_of(Path("t"), Path("d"), budget=budget)
    counts = np.ones((20, 1, 3), dtype=np.int64)
    scored = Evaluation(
        ("PER",),
        counts,
        None,
        20,
        20,
        corpus.scheme,
        0,
        0,
        "dev",
        "x",
        20,
        np.zeros((2, 4, 5), int),
        (corpus.scheme,) * 2,
    )
    return Found(recipe, Path("o"), "t", 100, scored, tuple(trials))


def test_front_knee_and_pick(corpus: Path) -> None:
    choices = [Choice(layers, 1.0, None, 0.0, "int8") for layers in range(1, 6)]
    trials = [
        trial_of(choices[4], 0.00, 500, 1.0),
        trial_of(choices[3], 0.01, 200, 2.0),  # the bend
        trial_of(choices[2], 0.10, 190, 2.5),
        trial_of(choices[1], 0.11, 190, 2.49),  # beaten by the one before, as fast as can be told
        Trial(choices[0], 3.0, error="no"),
    ]
    found = found_of(trials, load_corpus(str(corpus), "dev"), max_drop=0.02)
    assert [trial.choice.layers for trial in found.front] == [3, 4, 5]
    assert found.knee is trials[1]
    assert found.smallest is trials[1]
    assert found.pick.startswith("Take o/models/L4-int8: 0.0 MB instead of")
    strict = found_of(trials, load_corpus(str(corpus), "dev"), max_drop=0.005)
    assert strict.smallest is None
    assert not strict.agreed
    assert "the nearest is L5-int8 (it may lose up to 1.00 points)" in strict.pick
    floor = found_of(trials, load_corpus(str(corpus), "dev"), min_f1=0.41)
    assert floor.smallest is None
    assert Trial.of(json.loads(json.dumps(trials[0].as_dict()))) == trials[0]
    assert Trial.of(trials[4].as_dict()) == trials[4]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"ranges": {"layer": [1, 2]}},
            r"unknown key 'ranges.layer'; did you mean 'layers'\? \(known here: layers, ffn_width",
        ),
        ({"minute": 3}, r"unknown key 'minute'; did you mean 'minutes'\?"),
        (
            {"train": {"epoch": 3}},
            r"train: no parameter 'epoch', expected one of .*; did you mean 'epochs'\?",
        ),
        (
            {"ranges": {"layers": [5, 2]}},
            r"'ranges.layers' is \[5, 2\], but it should be \[low, high\], as in \[2, 5\]",
        ),
        (
            {"ranges": {"ffn_width": [0.0, 1.0]}},
            r"'ranges.ffn_width.0' is 0.0, but it should be greater than 0",
        ),
        (
            {"ranges": {"precision": ["fp32", "u8s9"]}},
            r"'ranges.precision.1' is 'u8s9', but it should be one of fp32, int8, packed, u8s8",
        ),
        (
            {"ranges": {"vocabulary": [None, None]}},
            r"'ranges.vocabulary' is \[None, None\], but it names a value twice",
        ),
        ({"budget": {}}, "budget: a budget needs"),
        ({"budget": {"max_drop": 3}}, "'budget.max_drop' is 3, but it is outside"),
        ({"minutes": 0}, "'minutes' is 0, but it should be greater than 0"),
        ({"teacher": None}, "'teacher' is None"),
    ],
)
def test_bad_recipes(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    good = {"name": "s", "teacher": "sample", "data": "sample", "budget": {"max_drop": 0.01}, "ranges": {}}
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(good | changes))
    with pytest.raises(RecipeError, match=said) as caught:
        read_search_recipe(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_unreadable_recipes(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    with pytest.raises(RecipeError, match="cannot be read"):
        read_search_recipe(file)
    for text, said in (
        ("a: [", "is not YAML"),
        ("- a", "is not a recipe of a search"),
        ("name: s", "the key '.*' is missing"),
    ):
        file.write_text(text)
        with pytest.raises(RecipeError, match=said):
            read_search_recipe(file)


def test_the_recipe_that_ships() -> None:
    recipe = read_search_recipe(Path(__file__).parents[2] / "recipes" / "search.yaml", {"minutes": 3})
    assert (recipe.minutes, recipe.ranges.layers, recipe.f1_budget.max_drop) == (3, (4, 12), 0.01)
