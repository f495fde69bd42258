"""The files in ``examples/ci``: their services can read them, and every command of ours in them parses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from affineur.cli.main import build_parser
from affineur.transfer.places.core.place import Access, Publication, place_of

CI = Path(__file__).parents[1] / "examples" / "ci"
FILES = ("github.yml", "gitlab-ci.yml")
SECRETS = {"HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def read(name: str) -> Any:
    return yaml.safe_load((CI / name).read_text("utf-8"))


def texts(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from texts(each)
    elif isinstance(part, str):
        yield part


def commands(name: str) -> list[list[str]]:
    """Our commands, in order, as words; variables of the file in their place."""
    given = dict(re.findall(r"^ +(MODEL|PLACE): (\S+)$", (CI / name).read_text("utf-8"), re.MULTILINE))
    lines = [line for text in texts(read(name)) for line in text.splitlines()]
    filled = (re.sub(r"\$(\w+)", lambda found: given.get(found[1], found[1]), line) for line in lines)
    return [shlex.split(line, comments=True)[1:] for line in filled if line.startswith("affineur ")]


@pytest.mark.parametrize("name", FILES)
def test_every_command_parses_and_the_push_is_last(name: str) -> None:
    found = commands(name)
    assert [words[0] for words in found] == ["run", "check", "push"]
    parsed = [build_parser().parse_args(words) for words in found]
    ran, checked, pushed = parsed
    assert checked.model == str(pushed.folder)
    assert pushed.folder.parts[:2] == (str(ran.runs), ran.name)
    place = place_of(pushed.reference)
    if place is not None:  # as far as this installation knows it
        place.refuse_options(Access(pushed.endpoint, pushed.region, pushed.profile), _said(pushed))


def _said(args: Any) -> Publication:
    return Publication(args.private, args.pull_request, args.revision, args.tag, args.license, args.message)


def test_github_pushes_from_main_alone_and_gives_secrets_to_that_step() -> None:
    workflow = read("github.yml")
    assert set(workflow[True]) == {"push", "pull_request"}, "YAML 1.1 reads on as true; GitHub does not"
    (job,) = workflow["jobs"].values()
    push = job["steps"][-1]
    assert push["if"] == "github.ref == 'refs/heads/main'"
    assert set(push["env"]) <= SECRETS
    assert all(re.fullmatch(r"\$\{\{ secrets\.\w+ \}\}", value) for value in push["env"].values())
    assert not [text for text in texts({**job, "steps": job["steps"][:-1]}) if "secrets." in text]


def test_gitlab_pushes_from_the_default_branch_alone_and_holds_no_secret() -> None:
    pipeline = read("gitlab-ci.yml")
    assert pipeline["publish"]["rules"] == [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"}]
    assert pipeline["stages"] == [pipeline["make"]["stage"], pipeline["publish"]["stage"]]
    assert not SECRETS & set(pipeline["variables"])
