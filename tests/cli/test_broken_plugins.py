"""Packages that break, or take a name that is taken, are named on the command line; the rest works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from distributions import distribution

STEP = """
from affineur.steps.core.step import Step

class Own(Step):
    name = "{name}"
    summary = "copy a model"
    suffix = "copied"
    {field}

    def run(self, model, out, context):
        return model.path

STEP = Own
"""
METHOD = "raise RuntimeError('no such luck')"
Run = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Write a distribution as installers do: a module and its entry points."""

    return partial(distribution, tmp_path / "site")


@pytest.fixture
def affineur(tmp_path: Path) -> Run:
    """Run a command where the distributions are installed."""
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "affineur", *map(str, words)]
        environment = os.environ | {"PYTHONPATH": path}
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def test_a_step_that_breaks_at_import_is_named_and_the_rest_works(
    install: Install, affineur: Run, shared_model, tmp_path: Path
) -> None:
    install("broken-steps", "import a_module_that_is_nowhere", "affineur.steps", explode="STEP")
    install("good-steps", STEP.format(name="copy", field=""), "affineur.steps", copy="STEP")
    warning = (
        "affineur: warning: the step 'explode' of the package broken-steps cannot be used "
        "(ModuleNotFoundError: No module named 'a_module_that_is_nowhere'); mend or uninstall that package, "
        "the rest of Affineur works without it"
    )
    listed = affineur("--help")
    assert listed.returncode == 0
    assert listed.stderr.splitlines() == [warning]
    assert "  prune " in listed.stdout
    assert "  copy " in listed.stdout
    assert "explode" not in listed.stdout
    pruned = affineur("prune", shared_model("camembert"), "-o", "out", "-q")
    assert pruned.returncode == 0
    assert pruned.stderr.splitlines() == [warning], "once, though it is asked for more than once"
    assert (tmp_path / "out" / "pruning_info.json").is_file()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nteacher: sample\ndata: sample\nsteps: [explode]\n")
    run = affineur("run", recipe, "-q")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("affineur: ")
    assert "the step 'explode' of the package broken-steps cannot be used" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("one-copy", "two-copies"), "both give a step named 'copy'; uninstall one of them"),
        (("own-prune",), "gives a step named 'prune', which Affineur has already; uninstall it"),
        (("own-evaluate",), "'evaluate' is a command of Affineur's; use another name"),
    ],
)
def test_names_that_are_taken(
    names: tuple[str, ...], said: str, install: Install, affineur: Run, tmp_path: Path
) -> None:
    step = names[0].partition("-")[2]
    for name in names:
        install(name, STEP.format(name=step, field=""), "affineur.steps", **{step: "STEP"})
    listed = affineur("--help")
    assert listed.returncode == 0
    [line] = listed.stderr.splitlines()
    assert said in line
    assert all(name in line or name.replace("-", "_") in line for name in names)
    assert affineur("info", "sample", "-q").returncode == 0


def test_a_parameter_that_no_option_can_hold(install: Install, affineur: Run) -> None:
    code = STEP.format(name="copy", field="shares: dict[str, float] = {}")
    install("odd-steps", code, "affineur.steps", copy="STEP")
    listed = affineur("--help")
    assert listed.returncode == 0
    [line] = listed.stderr.splitlines()
    assert "the step 'copy' of odd_steps has no command ('shares' is dict[str, float]" in line


def test_a_method_that_breaks_is_an_error_only_for_who_asks_for_it(
    install: Install, affineur: Run, shared_model
) -> None:
    install("broken-methods", METHOD, "affineur.pruning_methods", random="METHOD")
    model = shared_model("camembert")
    assert affineur("prune", model, "-o", "out", "-q").returncode == 0
    asked = affineur("prune", model, "--method", "random", "-o", "other", "-q")
    assert asked.returncode == 1
    [line] = asked.stderr.splitlines()
    assert line.startswith(
        "affineur: the pruning method 'random' of the package broken-methods cannot be used"
    )


def test_a_recipe_of_the_old_form_is_told_what_changed(affineur: Run, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(
        "name: x\nteacher: sample\ndata: sample\ndistill: {layers: 11}\nprune: {sparsity: 0.15}\n"
    )
    run = affineur("run", "old.yaml", "-q")
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "affineur: old.yaml: 'distill' stands at the top of the recipe, but steps are a list now, "
        "in the order they are taken: write steps: [{distill: {…}}, …]"
    ]
    assert not (tmp_path / "runs").exists()


def test_pruning_after_quantizing_is_refused_before_anything_is_computed(
    affineur: Run, shared_model, shared_int8: Path, shared_corpus: Path, tmp_path: Path
) -> None:
    model = shared_model("camembert")
    (tmp_path / "late.yaml").write_text(
        f"name: x\nteacher: {model}\ndata: {shared_corpus}\nsteps: [quantize, {{prune: {{sparsity: 0.2}}}}]\n"
    )
    run = affineur("run", "late.yaml")
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert "step 2 (prune): prune cannot start from a model of the kind onnx" in line
    assert not (tmp_path / "runs").exists()
    alone = affineur("prune", shared_int8, "-o", "out")
    assert alone.returncode == 1
    [line] = alone.stderr.splitlines()
    assert "prune cannot start from a model of the kind onnx" in line
    assert not (tmp_path / "out").exists()
