"""A recipe runs to the table; a second run does nothing; a killed one goes on and ends the same."""

from __future__ import annotations

import html
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from affineur import sample
from affineur.artifact import alone, open_folder, read_manifest, verify
from affineur.cli.main import build_parser, main
from affineur.errors import AffineurError, ParameterError, RecipeError
from affineur.measure import read_bars
from affineur.pipeline import Recipe, Run, ScoreBook, load, open_data, read_recipe, results, run
from affineur.progress import listening
from affineur.steps.core.context import Context

MORE = {
    "compare": {
        "rounds": 1,
        "timed": 3,
        "memory": False,
        "example": "Ada Roux vit à Tours.",
        "rows": ["teacher", "student_1L", "student_1L_pruned", "torch-int8:student_1L_pruned"],
    },
    "sweep": {"points": [0.1, 0.6], "max_drop": 0.49},
    "benchmark": {"rounds": 1, "rows": ["teacher", "student_1L_pruned"]},
    "check": {"min_f1": 0.0, "max_drop": 0.49, "max_size_bytes": 100_000_000},
}
STEPS: dict[str, Any] = {
    "distill": {"layers": 1, "epochs": 1, "learning_rate": 1e-3},
    "prune": {"sparsity": 0.2},
    "recover": {"epochs": 0.5},
}
MISSED = {"min_f1": 1.0, "max_size_bytes": 100_000_000}


@pytest.fixture
def recipe(tiny_model, corpus: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "tiny",
                "teacher": str(tiny_model("camembert")),
                "data": str(corpus),
                "steps": [{name: how} for name, how in STEPS.items()],
                "compare": {"rounds": 1, "memory": False},
            }
        )
    )
    return path


def read(path: Path, changes: dict[str, Any] | None = None) -> Recipe:
    """Read the recipe, with other steps or sections; a step that is ``None`` is left out."""
    changes = changes or {}
    steps = {"train": None, **STEPS} | {key: how for key, how in changes.items() if key in {"train", *STEPS}}
    listed = [{name: how} for name, how in steps.items() if how is not None]
    return read_recipe(path, {key: v for key, v in changes.items() if key not in steps} | {"steps": listed})


def _weights(folder: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in sorted(folder.glob("models/*/model.safetensors"))}


def _scores(folder: Path) -> list[tuple[object, ...]]:
    rows = json.loads((folder / "compare.json").read_text())["rows"]
    return [
        (r["model"], r["f1"], r["f1_low"], r["f1_high"], r["accuracy"], r["size_bytes"], r["sparsity"])
        for r in rows
    ]


def test_run_ends_in_the_table_and_a_second_run_does_nothing(recipe: Path, tmp_path: Path) -> None:
    made = run(read(recipe), runs=tmp_path / "runs")
    assert [r["model"] for r in made.table["rows"]] == [
        "teacher",
        "student_1L",
        "student_1L_pruned",
        "student_1L_pruned_finetuned",
    ]
    files = {p.name for p in made.folder.iterdir()}
    assert {"compare.json", "compare.md", "errors.json", "report.html", "recipe.yaml"} <= files
    assert not {"sweep.json", "benchmark.json", "check.json", "bars.yaml"} & files, (
        "what the recipe does not ask for"
    )
    assert made.passed, "no bar, none missed"
    pruned, tuned = made.table["rows"][2:4]
    assert pruned["sparsity"] == pytest.approx(0.2, abs=1e-4)
    assert tuned["sparsity"] >= pruned["sparsity"]
    stamps = {
        p: p.stat().st_mtime_ns for p in made.folder.rglob("*") if p.is_file() and p.name != "recipe.yaml"
    }
    run(read(recipe), runs=tmp_path / "runs")
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    errors = (made.folder / "errors.json").read_text()
    (made.folder / "errors.json").unlink()
    assert not [line for line in _said(recipe, tmp_path / "runs") if line.startswith("compare: ")], (
        "a result that is gone is made again"
    )
    assert (made.folder / "errors.json").read_text() == errors


def _said(recipe: Path, runs: Path, **changes: object) -> list[str]:
    """Run a recipe and return what it reports on the way."""
    lines: list[str] = []
    with listening(lambda what, *_: lines.append(what)):
        run(read(recipe, changes), runs=runs)
    return lines


def test_every_section_writes_its_file_and_its_command(recipe: Path, tmp_path: Path) -> None:
    changes = MORE | {"recover": None}
    made = run(read(recipe, changes), runs=tmp_path / "runs")
    assert made.passed
    sweep, benchmark, check, errors, compared = (
        json.loads((made.folder / f"{name}.json").read_text())
        for name in ("sweep", "benchmark", "check", "errors", "compare")
    )
    assert [point["sparsity"] for point in sweep["curves"][0]["points"]] == pytest.approx(
        [0.1, 0.6], abs=0.01
    )
    assert len(benchmark["models"]) == 2
    assert check["passed"]
    assert check["lines"][-1] == "passed: 3 of 3 bars"
    assert [bar["bar"] for bar in check["bars"]] == list(MORE["check"])
    assert errors
    assert {"sweep.json", "benchmark.json", "check.json", "errors.json", "report.html"} <= set(
        compared["files"]
    )
    assert dict(read_bars(made.folder / "bars.yaml").limits) == MORE["check"]
    assert made.table == compared
    assert made.gate == check

    # the text of the recipe was shown to every row
    example = compared["example"]
    assert example["text"] == MORE["compare"]["example"]
    assert list(example["found"]) == MORE["compare"]["rows"]
    teacher = load(made.models["teacher"]).predict(example["text"])
    assert example["found"]["teacher"] == [entity.as_dict() for entity in teacher]

    # each model that was made has its scores in its card; the teacher, which was given, is left alone
    by_name = {row["model"]: row for row in compared["rows"]}
    for row in ("student_1L", "student_1L_pruned"):
        manifest = verify(made.models[row])
        assert manifest is not None
        assert manifest.scores["measured"]["f1"] == by_name[made.models[row].name]["f1"]
        assert f"**F1 {by_name[made.models[row].name]['f1']:.2%}**" in (
            made.models[row] / "README.md"
        ).read_text("utf-8")
    assert not (made.models["teacher"] / "README.md").exists()

    # what the report and the cards say to type is what the command line takes
    page = (made.folder / "report.html").read_text("utf-8")
    commands = [html.unescape(found) for found in re.findall(r"<code>(affineur [^<]*)</code>", page)]
    assert {shlex.split(command)[1] for command in commands} >= {
        "run",
        "compare",
        "evaluate",
        "benchmark",
        "check",
        "sweep",
    }
    assert "--timed 3" in next(command for command in commands if " compare " in command)
    card = (made.models["student_1L_pruned"] / "README.md").read_text("utf-8").partition("## Reproduce")[2]
    commands += [line for line in card.splitlines() if line.startswith("affineur ")]
    for command in commands:
        args = build_parser().parse_args(shlex.split(command, comments=True)[1:])
        assert callable(args.run)
    by_command = {shlex.split(command)[1]: shlex.split(command)[1:] for command in commands}
    assert main([*by_command["check"], "-q"]) == 0
    assert main([*by_command["evaluate"], "-q", "--json", str(tmp_path / "e.json")]) == 0
    assert (
        json.loads((tmp_path / "e.json").read_text())["f1"]
        == by_name[made.models["student_1L_pruned"].name]["f1"]
    )

    stamps = {
        p: p.stat().st_mtime_ns for p in made.folder.rglob("*") if p.is_file() and p.name != "recipe.yaml"
    }
    assert f"compare: {made.folder / 'compare.json'} is up to date" in _said(
        recipe, tmp_path / "runs", **changes
    )
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


def test_a_missed_bar_is_no_success_and_everything_is_written(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"check": MISSED, "recover": None, "compare": MORE["compare"]}
    made = run(read(recipe, changes), runs=tmp_path / "runs")
    assert not made.passed
    assert json.loads((made.folder / "check.json").read_text())["passed"] is False
    assert (made.folder / "report.html").is_file()
    assert not run(read(recipe, changes), runs=tmp_path / "runs").passed, "up to date, and still missed"
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(read(recipe, changes).as_dict()))
    capsys.readouterr()
    assert main(["run", str(changed), "--runs", str(tmp_path / "runs"), "-q"]) == 3
    said = capsys.readouterr().out
    assert "MISS  min_f1" in said
    assert "missed: 1 of 2 bars (min_f1)" in said
    # without bars nothing is missed, and the old gate is no longer told
    assert run(read(recipe, changes | {"check": None}), runs=tmp_path / "runs").passed


def test_changing_one_stage_redoes_it_and_what_follows_only(recipe: Path, tmp_path: Path) -> None:
    made = run(read(recipe), runs=tmp_path / "runs")
    before = _weights(made.folder)
    run(read(recipe, {"prune": {"sparsity": 0.3}}), runs=tmp_path / "runs")
    after = _weights(made.folder)
    assert after["student_1L"] == before["student_1L"]
    assert after["student_1L_pruned"] != before["student_1L_pruned"]
    assert after["student_1L_pruned_finetuned"] != before["student_1L_pruned_finetuned"]


@pytest.mark.parametrize(("bar", "recovered"), [(0.0, False), (1.0, True)])
def test_recovery_only_where_dev_f1_needs_it(
    bar: float, recovered: bool, recipe: Path, tmp_path: Path
) -> None:
    made = run(read(recipe, {"recover": {"if_f1_below": bar, "epochs": 0.1}}), runs=tmp_path / "runs")
    assert ("student_1L_pruned_finetuned" in made.steps) is recovered
    assert ("no recovery was needed" in made.notes[0]) is not recovered
    assert made.table["notes"] == made.notes


def test_two_runs_at_once_are_refused(recipe: Path, tmp_path: Path) -> None:
    with (
        alone(tmp_path / "runs" / "tiny", "wait"),
        pytest.raises(ParameterError, match=r"another process.*give the recipe another name"),
    ):
        run(read(recipe), runs=tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_manifests_name_the_recipe_and_the_chain_up_to_the_teacher(recipe: Path, tmp_path: Path) -> None:
    asked = read(recipe)
    made = run(asked, runs=tmp_path / "runs")
    manifest = read_manifest(made.models["student_1L_pruned_finetuned"])
    assert manifest is not None
    assert manifest.recipe == asked.digest
    assert [p.stage for p in manifest.parents] == ["prune", "distill", "given"]
    assert manifest.parents[-1].digest == open_folder(asked.teacher).digest()


def test_damaged_scores_and_models_are_made_again(recipe: Path, tmp_path: Path) -> None:
    made = run(read(recipe), runs=tmp_path / "runs")
    scores, weights = _scores(made.folder), _weights(made.folder)
    for kept in (made.folder / "scores").iterdir():
        kept.write_text("junk")
    (made.folder / "compare.json").unlink()
    spoiled = made.models["student_1L_pruned"] / "model.safetensors"
    spoiled.write_bytes(spoiled.read_bytes()[:-1] + b"?")
    run(read(recipe), runs=tmp_path / "runs")
    assert _scores(made.folder) == scores
    assert _weights(made.folder) == weights


BARE = {
    "distill": None,
    "recover": None,
    "compare": {"rounds": 1, "memory": False, "rows": ["teacher", "student_3L_pruned"]},
}


def test_a_changed_dev_draws_the_curve_again(recipe: Path, corpus: Path, tmp_path: Path) -> None:
    changes = BARE | {"sweep": {"points": [0.5], "max_drop": 0.49}}
    made = run(read(recipe, changes), runs=tmp_path / "runs")
    assert json.loads((made.folder / "sweep.json").read_text())["curves"][0]["sentences"] == 20
    with (corpus / "dev.conll").open("a") as file:
        file.write("\nEncore\tO\nune\tO\n")
    assert not [
        line
        for line in _said(recipe, tmp_path / "runs", **changes)
        if "up to date" in line and "compare" in line
    ]
    assert json.loads((made.folder / "sweep.json").read_text())["curves"][0]["sentences"] == 21


def test_another_version_measures_anew(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(read(recipe, BARE), runs=tmp_path / "runs")
    assert [line for line in _said(recipe, tmp_path / "runs", **BARE) if "compare.json is up to date" in line]
    monkeypatch.setattr(results, "__version__", "99")
    assert not [
        line for line in _said(recipe, tmp_path / "runs", **BARE) if "compare.json is up to date" in line
    ]


def test_results_the_recipe_asks_for_no_more_go_and_what_is_not_ours_stays(
    recipe: Path, tmp_path: Path
) -> None:
    sections = {"sweep": {"points": [0.5]}, "check": {"min_f1": 0.0}}
    made = run(read(recipe, BARE | sections), runs=tmp_path / "runs")
    assert {"sweep.json", "check.json", "bars.yaml"} <= {path.name for path in made.folder.iterdir()}
    (made.folder / "benchmark.json").write_text("mine")
    run(read(recipe, BARE), runs=tmp_path / "runs")
    assert not {"sweep.json", "check.json", "bars.yaml"} & {path.name for path in made.folder.iterdir()}
    assert (made.folder / "benchmark.json").read_text() == "mine"


def test_the_curve_prunes_in_the_scope_of_the_recipe(recipe: Path, tmp_path: Path) -> None:
    changes = BARE | {"prune": {"sparsity": 0.2, "scope": "ffn"}, "sweep": {"points": [0.5]}}
    made = run(read(recipe, changes), runs=tmp_path / "runs")
    assert json.loads((made.folder / "sweep.json").read_text())["curves"][0]["scope"] == "ffn"
    page = html.unescape((made.folder / "report.html").read_text("utf-8"))
    assert "pruned in ffn, not fine-tuned afterwards" in page
    assert "--scope ffn" in page


def test_commands_say_the_device_and_the_share_held_out_for_dev(
    recipe: Path, corpus: Path, tmp_path: Path
) -> None:
    data = {"path": str(corpus), "dev_share": 0.2}
    asked = read(recipe, BARE | {"sweep": {"points": [0.5]}, "check": {"min_f1": 0.0}, "data": data})
    made, splits = Run(tmp_path, {"teacher": tmp_path}), open_data(asked)
    found = results._Results(
        asked, made, splits, splits.get("test"), ScoreBook(tmp_path), Context(device="cuda"), {"teacher": "t"}
    ).commands()
    parsed = [build_parser().parse_args(shlex.split(command)[1:]) for _, command in found]
    assert len(parsed) == 6
    assert {args.device for args in parsed} == {"cuda"}
    assert [args.dev_share for args in parsed if args.command == "sweep"] == [0.2]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"sweep": {"max_drop": 1.0}}, "'sweep.max_drop' is 1.0, but it is outside"),
        ({"sweep": {"methods": ["wanda", "wanda"]}}, "sweep: .*twice"),
        (
            {"prune": {"sparsity": 0.5, "max_layer_sparsity": 0.2}},
            "step 2 .prune.: sparsity 0.5 cannot be reached",
        ),
        ({"check": {"min_f2": 0.1}}, "check: unknown bar 'min_f2'"),
    ],
)
def test_what_is_impossible_is_said_when_the_recipe_is_read(
    changes: dict[str, object], wanted: str, recipe: Path
) -> None:
    with pytest.raises(RecipeError, match=wanted):
        read(recipe, changes)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"check": {"min_f1_PERS": 0.5}},
            "names a type 'PERS', but the types scored are LOC, MISC, ORG, PER",
        ),
        (
            {"check": {"min_f1_ORG": 0.5}, "types": ["PER", "LOC"]},
            "names a type 'ORG', but the types scored are LOC, PER",
        ),
        ({"types": ["PRE"]}, "no type PRE here"),
        ({"train": {"epochs": 1}, "check": {"max_drop_DATE": 0.49}}, "names a type 'DATE'"),
    ],
)
def test_what_only_the_data_can_tell_is_said_before_training(
    changes: dict[str, object], wanted: str, recipe: Path, tmp_path: Path
) -> None:
    with pytest.raises(AffineurError, match=wanted):
        run(read(recipe, changes), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("split", "changes"),
    [("dev", {"sweep": {"points": [0.5]}}), ("train", {"prune": {"method": "wanda"}, "distill": None})],
)
def test_a_split_that_is_missing_is_said_before_training(
    split: str, changes: dict[str, object], recipe: Path, corpus: Path, tmp_path: Path
) -> None:
    (corpus / f"{split}.conll").unlink()
    data = {"path": str(corpus), "dev_share": 0.2}
    if split == "dev":
        (corpus / "train.conll").unlink()
        changes = changes | {"distill": None, "recover": None}
    with pytest.raises(AffineurError, match=f"there is no {split} split"):
        run(read(recipe, changes | {"data": data}), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_shipped_recipes_are_valid() -> None:
    for name in ("guide", "conll"):
        read_recipe(Path(__file__).parents[2] / "recipes" / f"{name}.yaml")
    read_recipe(sample.recipe())


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"distill": {"layers": 1}}, "'distill' stands at the top of the recipe, but steps are a list now"),
        ({"steps": {"prune": {}}}, "'steps' is no list"),
        ({"steps": ["prunes"]}, "step 1: no step 'prunes'.*did you mean 'prune'"),
        ({"steps": [{"prune": {}, "pack": {}}]}, "step 1 is .*expected one step"),
        (
            {"steps": [{"prune": {"sparsty": 0.1}}]},
            r"step 1 \(prune\): no parameter 'sparsty'.*did you mean 'sparsity'",
        ),
        ({"steps": [{"prune": {"sparsity": 1.5}}]}, r"step 1 \(prune\): sparsity.*\[0, 1\)"),
        (
            {"steps": [{"prune": {"name": "../x"}}]},
            r"step 1 \(prune\): '../x' cannot be the name of a folder",
        ),
        ({"stepss": []}, "unknown key 'stepss'; did you mean 'steps'"),
        ({"compare": {"rows": ["teacher", "teacher"]}}, "compare.rows names a model twice"),
    ],
)
def test_recipes_that_cannot_be_read(changes: dict[str, Any], wanted: str, recipe: Path) -> None:
    with pytest.raises(RecipeError, match=wanted) as error:
        read_recipe(recipe, changes)
    assert str(error.value).startswith(f"{recipe}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (["quantize", "prune"], r"step 2 \(prune\): prune cannot start from a model of the kind onnx"),
        (["prune", {"shrink": {"layers": 2}}], r"step 2 \(shrink\): .*pruned"),
        ([{"distill": {"layers": 4}}], r"step 1 \(distill\): layers=4"),
        ([{"prune": {"name": "a"}}, {"prune": {"name": "a"}}], "there is a row 'a' already"),
    ],
)
def test_steps_that_do_not_fit_are_refused_before_anything_is_made(
    steps: list[Any], wanted: str, recipe: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=wanted):
        run(read_recipe(recipe, {"steps": steps}), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_row_of_no_model_is_refused_before_anything_is_made(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"name 'student_1L_prund'.*did you mean 'student_1L_pruned'"):
        run(read(recipe, {"compare": {"rows": ["teacher", "student_1L_prund"]}}), runs=tmp_path / "runs")
    rows = {"compare": {"rows": ["teacher"]}, "check": {"min_f1": 0.1}}
    with pytest.raises(RecipeError, match="check is for the last model"):
        run(read(recipe, rows), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_steps_in_any_order_and_number(recipe: Path, tmp_path: Path) -> None:
    steps = [
        {"trim-vocab": {"keep": 150}},
        {"shrink": {"layers": 2, "ffn_width": 0.5}},
        {"prune": {"sparsity": 0.1}},
        {"prune": {"sparsity": 0.3, "name": "twice"}},
        {"recover": {"epochs": 0.1, "teacher": "teacher", "soft_weight": 0.2}},
        "pack",
    ]
    made = run(read_recipe(recipe, {"steps": steps}), runs=tmp_path / "runs")
    names = ["student_3L_trimmed", "student_3L_trimmed_shrunk", "student_3L_trimmed_shrunk_pruned", "twice"]
    assert list(made.steps) == [*names, "twice_finetuned", "student_3L_trimmed_shrunk_packed"]
    assert [row["model"] for row in made.table["rows"]] == ["teacher", *made.steps]
    packed = read_manifest(made.models["student_3L_trimmed_shrunk_packed"])
    assert packed is not None
    assert [p.stage for p in packed.parents] == ["recover", "prune", "prune", "shrink", "trim-vocab", "given"]
    assert "teacher_digest" in packed.parents[0].parameters


def _start(recipe: Path, runs: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "affineur", "run", str(recipe), "--runs", str(runs), "--threads", "1"]
    environment = os.environ | {"AFFINEUR_CACHE": str(cache)}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    )


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_same_weights_and_scores(recipe: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    assert _start(recipe, tmp_path / "calm", tmp_path / "cache1").wait() == 0
    length = time.monotonic() - start
    chance = random.Random(7)
    killed = 0
    for _ in range(10):
        process = _start(recipe, tmp_path / "killed", tmp_path / "cache2")
        time.sleep(chance.uniform(0.3, 0.95) * length)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        for folder in (tmp_path / "killed" / "tiny" / "models").glob("[!.]*"):
            assert verify(folder) is not None, f"{folder} is half-written"
    assert killed >= 3
    assert _start(recipe, tmp_path / "killed", tmp_path / "cache2").wait() == 0
    assert _weights(tmp_path / "killed" / "tiny") == _weights(tmp_path / "calm" / "tiny")
    assert _scores(tmp_path / "killed" / "tiny") == _scores(tmp_path / "calm" / "tiny")
    assert list((tmp_path / "killed" / "tiny" / "models").glob(".*")) == []
