"""Model cards: what one takes over from the card of another model, and what it names as its base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from affineur.artifact import (
    CARD,
    Carried,
    Manifest,
    Parent,
    card_text,
    describe,
    read_card,
    write_card,
)

from .cards import DISTILL, GIVEN, PARENT, PRUNED, SCORED, front, text_of

# ---- what it takes over from another card


def carried(folder: Path, card: str | bytes, **options: Any) -> Carried:
    (folder / CARD).write_bytes(card if isinstance(card, bytes) else card.encode())
    return read_card(folder, **options)


def test_license_and_language_of_the_parent(tmp_path: Path, artifact: Path) -> None:
    found = carried(tmp_path, PARENT)
    assert found == Carried({"license": "cc-by-nc-sa-4.0", "language": "fr"}, limits=True, ours=False)
    text = card_text(describe(artifact), PRUNED, None, found)
    assert text.startswith("---\nlicense: cc-by-nc-sa-4.0\nlanguage: fr\n")
    assert "The card of `teacher` names limits of its own" in text
    assert "`cc-by-nc-sa-4.0`, as the card of the model it comes from says" in text
    assert "Wikipedia" not in text


def test_a_card_of_ours_hands_everything_on(tmp_path: Path, artifact: Path) -> None:
    first = carried(tmp_path, PARENT)
    second = carried(tmp_path, card_text(describe(artifact), PRUNED, SCORED, first))
    assert second == Carried({**first.metadata, "base_model": "teacher"}, limits=True, ours=True)
    without = carried(tmp_path, card_text(describe(artifact), PRUNED))
    assert not without.limits  # its own section on limits is not the parent's
    assert without.metadata == {"base_model": "teacher"}


def test_nothing_known_is_said_and_left_out(artifact: Path) -> None:
    write_card(artifact)
    assert "license" not in front(artifact)
    assert "language" not in front(artifact)
    assert "## License\n\nNot known" in text_of(artifact)


def test_another_license_keeps_its_name_and_link(tmp_path: Path, artifact: Path) -> None:
    found = carried(
        tmp_path,
        "---\nlicense: other\nlicense_name: my-license\nlicense_link: LICENSE\nlanguage: [fr, oc]\n---\n",
    )
    text = card_text(describe(artifact), PRUNED, None, found)
    assert yaml.safe_load(text.split("---\n")[1])["license_name"] == "my-license"
    assert yaml.safe_load(text.split("---\n")[1])["license_link"] == "LICENSE"
    assert yaml.safe_load(text.split("---\n")[1])["language"] == ["fr", "oc"]
    assert "`other` (my-license), as" in text
    assert "names a file beside that card (`LICENSE`), which is not copied here" in text


def test_norwegian_is_a_language(tmp_path: Path, artifact: Path) -> None:
    text = card_text(describe(artifact), PRUNED, None, carried(tmp_path, "---\nlanguage: no\n---\n"))
    assert yaml.safe_load(text.split("---\n")[1])["language"] == "no"


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"---\n",
        b"---\nlicense: [\n---\n",
        b"---\nlicense: mit",
        b"# no front matter\nlicense: mit\n",
        "---\nlicense: mit\n---\né".encode("latin-1"),
        b"\xff\xfe---",
        b"---\n- license\n- mit\n---\n",
        b"---\nlicense: 2024-99-99\n---\n",
        b"---\nlicense: {a: 1}\nlanguage: 3\nbase_model: [1, null]\n---\n",
        b"---\nlicense: '   '\n---\n",
        b"---\n!!python/object/apply:os.system ['true']\n---\n",
        b"---\n" + b"[" * 5000 + b"\n---\n",
        b'---\nlicense: !!int ""\n---\n',
        b"---\n? [a, b]\n: c\n---\n",
    ],
)
def test_damaged_cards_give_nothing(damaged: bytes, tmp_path: Path) -> None:
    assert carried(tmp_path, damaged) == Carried()


def test_a_card_that_is_no_file(tmp_path: Path) -> None:
    assert read_card(tmp_path) == Carried()
    (tmp_path / CARD).mkdir()
    assert read_card(tmp_path) == Carried()


@pytest.mark.parametrize(
    "card",
    ["## Limitations\n", "# Bias, Risks, and Limitations\n", "**Limits.** x", "x\n\n### Out-of-scope use\n"],
)
def test_sections_on_limits_are_seen(card: str, tmp_path: Path) -> None:
    assert carried(tmp_path, card).limits
    assert not carried(tmp_path, "It has no limits.\n").limits


# ---- base_model


@pytest.mark.parametrize(
    ("parents", "named", "wanted"),
    [
        ([GIVEN], None, "teacher"),
        ([GIVEN], "almanach/camembert-base", "almanach/camembert-base"),
        ([replace(GIVEN, name="owner/ner")], "almanach/camembert-base", "owner/ner"),
        ([replace(GIVEN, name="a b")], None, None),
        ([replace(GIVEN, name="sample")], None, None),
        ([replace(GIVEN, name="my--model")], "not an id", None),
        ([replace(GIVEN, stage="configuration")], "almanach/camembert-base", None),
        ([GIVEN], ["a/b", "not an id", "c/d"], ["a/b", "c/d"]),
    ],
)
def test_the_base_is_the_topmost_known(
    parents: list[Parent], named: Any, wanted: Any, artifact: Path
) -> None:
    text = card_text(
        describe(artifact), replace(PRUNED, parents=parents), None, Carried({"base_model": named})
    )
    assert yaml.safe_load(text.split("---\n")[1]).get("base_model") == wanted


def test_what_our_own_card_says_of_the_base_holds(artifact: Path) -> None:
    manifest = replace(PRUNED, parents=[replace(GIVEN, name="owner/ner")])
    text = card_text(describe(artifact), manifest, None, Carried({"base_model": "me/mine"}, ours=True))
    assert "base_model: me/mine\n" in text


def test_a_download_names_its_source(artifact: Path) -> None:
    for source, wanted in (("hub:owner/ner", "owner/ner"), ("https://example.org/x", None), ("/here", None)):
        text = card_text(describe(artifact), Manifest("transformers", "download", {"source": source}))
        assert yaml.safe_load(text.split("---\n")[1]).get("base_model") == wanted


@pytest.mark.parametrize(
    ("stage", "parents", "wanted"),
    [
        ("prune", [GIVEN], None),
        ("cast", [GIVEN], None),
        ("train", [GIVEN], "finetune"),
        ("recover", [GIVEN], "finetune"),
        ("prune", [DISTILL, GIVEN], "finetune"),
        ("quantize", [DISTILL, GIVEN], "quantized"),
    ],
)
def test_relations_in_the_hubs_words(
    stage: str, parents: list[Parent], wanted: str | None, artifact: Path
) -> None:
    text = card_text(describe(artifact), replace(PRUNED, stage=stage, parents=parents))
    assert yaml.safe_load(text.split("---\n")[1]).get("base_model_relation") == wanted
