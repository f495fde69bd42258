"""Things found by name: built-ins by file, others by entry point, and what goes wrong with those."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from affineur import progress
from affineur.errors import AffineurError, MissingExtraError, ParameterError
from affineur.registry import Registry
from distributions import distribution

GROUP = "affineur.test_things"

Install = Callable[..., None]


@pytest.fixture(autouse=True)
def _modules_as_before() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution on the path: one module, and entry points of the group as installers write them."""

    def make(name: str, code: str, **points: str) -> None:
        site = tmp_path / f"site_{name}"
        distribution(site, name, code, GROUP, **points)
        monkeypatch.syspath_prepend(site)

    return make


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    """A registry of two built-ins; nothing but its files is a thing."""
    package = tmp_path / "ours" / "built_in_things"
    (package / "core").mkdir(parents=True)
    for file, code in {
        "__init__.py": "",
        "_helpers.py": "",
        "core/__init__.py": "",
        "plain.py": "THING = 'plain thing'",
        "two_words.py": "THING = 'thing of two words'",
    }.items():
        (package / file).write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "ours")
    return Registry(GROUP, "built_in_things", "THING", "thing", _check)


def _check(given: object) -> None:
    if not isinstance(given, str):
        raise TypeError("it gives something that is no thing")


def reports_of(registry: Registry[str]) -> tuple[dict[str, str], list[str]]:
    said: list[str] = []
    with progress.listening(lambda what, _done, _total: said.append(what)):
        found = dict(registry.all())
    return found, said


def test_files_of_the_package_are_the_built_ins(things: Registry[str]) -> None:
    assert things.names() == tuple(things) == ("plain", "two-words")
    assert "two-words" in things
    assert "core" not in things
    assert "_helpers" not in things
    assert things.get("two-words") == "thing of two words"
    assert things.all() == {"plain": "plain thing", "two-words": "thing of two words"}


def test_names_are_listed_without_importing(things: Registry[str], install: Install) -> None:
    install("more-things", "raise RuntimeError('imported')", zebra="THING", apple="THING")
    assert things.names() == ("plain", "two-words", "apple", "zebra")
    assert "apple" in things
    assert not {"more_things", "built_in_things.plain", "built_in_things.two_words"} & set(sys.modules)


def test_another_package_adds_one(things: Registry[str], install: Install) -> None:
    install("more-things", "THING = 'a plugin'", added="THING")
    assert things.get("added") == "a plugin"
    assert reports_of(things) == (
        {"plain": "plain thing", "two-words": "thing of two words", "added": "a plugin"},
        [],
    )


def test_an_unknown_name_is_answered_with_what_there_is(things: Registry[str]) -> None:
    with pytest.raises(ParameterError) as error:
        things.get("plane", "kind_of_thing")
    assert str(error.value) == ("no thing 'plane', expected one of plain, two-words; did you mean 'plain'?")
    assert error.value.parameter == "kind_of_thing"
    with pytest.raises(ParameterError, match="no thing 'two_words'"):  # a name has one spelling
        things.get("two_words")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "import a_module_that_is_nowhere",
            "ModuleNotFoundError: No module named 'a_module_that_is_nowhere'",
        ),
        ("THING = 1 / 0", "ZeroDivisionError"),
        ("THING = (", "SyntaxError"),
        ("OTHER = 'x'", "AttributeError"),
        ("THING = 7", "TypeError: it gives something that is no thing"),
        ("raise RuntimeError('several\\nlines')", "RuntimeError: several lines"),
    ],
)
def test_a_broken_plugin_is_named_and_the_rest_works(
    code: str, why: str, things: Registry[str], install: Install
) -> None:
    install("broken-things", code, broken="THING")
    install("good-things", "THING = 'good'", good="THING")
    with pytest.raises(AffineurError) as error:
        things.get("broken")
    said = str(error.value)
    assert said.startswith("the thing 'broken' of the package broken-things cannot be used (")
    assert why in said
    assert "\n" not in said
    found, reports = reports_of(things)
    assert found.keys() == {"plain", "two-words", "good"}
    assert reports == [f"warning: {said}"]
    assert reports_of(things)[1] == []  # said once
    assert things.names() == ("plain", "two-words", "broken", "good")


def test_a_plugin_that_lacks_an_extra_says_which(things: Registry[str], install: Install) -> None:
    install(
        "needy-things",
        "from affineur.errors import MissingExtraError\nraise MissingExtraError('needy', 'compress')",
        needy="THING",
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'affineur\[compress\]'"):
        things.get("needy")
    found, reports = reports_of(things)
    assert "needy" not in found
    assert len(reports) == 1


def test_two_packages_of_one_name(things: Registry[str], install: Install) -> None:
    install("first-things", "THING = 'first'", same="THING", other="THING")
    install("second-things", "THING = 'second'", same="THING")
    with pytest.raises(ParameterError) as error:
        things.get("same")
    said = str(error.value)
    assert "the package first-things" in said
    assert "the package second-things" in said
    assert f"both give a thing named 'same'; uninstall one of them (entry point group {GROUP})" in said
    found, reports = reports_of(things)
    assert found.keys() == {"plain", "two-words", "other"}
    assert reports == [f"warning: {said}"]


def test_the_name_of_a_built_in_cannot_be_taken(things: Registry[str], install: Install) -> None:
    install("greedy-things", "THING = 'mine'", plain="THING")
    assert things.names() == ("plain", "two-words")
    with pytest.raises(ParameterError) as error:
        things.get("plain")
    said = str(error.value)
    assert said.startswith(
        "the package greedy-things gives a thing named 'plain', which Affineur has already"
    )
    found, reports = reports_of(things)
    assert found == {"plain": "plain thing", "two-words": "thing of two words"}
    assert reports == [f"warning: {said}"]


def test_one_package_found_twice_on_the_path_is_one(
    things: Registry[str], install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("more-things", "THING = 'a plugin'", added="THING")
    monkeypatch.syspath_prepend(tmp_path / "site_more-things")
    assert things.get("added") == "a plugin"


def test_steps_and_methods_are_found_by_file() -> None:
    from affineur.steps.core.step import STEPS
    from affineur.steps.pruning.core.method import METHODS

    wanted = "cast distill export pack prune quantize recover shrink train trim-vocab unpack"
    assert set(wanted.split()) <= set(STEPS)
    assert {"layerwise", "magnitude", "wanda"} <= set(METHODS)
    for name in ("layerwise", "magnitude", "wanda"):
        assert METHODS.get(name).name == name
