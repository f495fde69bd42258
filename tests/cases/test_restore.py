"""Case 37: names come back by placeholder, whatever was added, removed or moved in the redacted text."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import affineur
from affineur.cli.main import main
from affineur.entities import Entity
from affineur.errors import DataError, ParameterError
from affineur.runtime.restoring import Restored, map_of, read_maps, restored_all

LETTER = "Jean Morvan vit à Nîmes.\nVu par Léa Petit : JEAN MORVAN dort.\n"
NAMES = {"Jean Morvan": "PER", "Léa Petit": "PER", "Nîmes": "LOC"}


def redacted(text: str, style: str = "pseudonym") -> affineur.runtime.redaction.Redacted:
    found = [
        Entity(kind, name, text.index(name), text.index(name) + len(name), 0.9)
        for name, kind in NAMES.items()
        if name in text
    ]
    return affineur.redact(text, found, style=style)  # type: ignore[arg-type]


def write_map(path: Path, *texts: str, old: bool = False) -> str:
    """Write the map of some texts and return what was printed; ``old`` is the form of earlier versions."""
    done = [redacted(text) for text in texts]
    rows = [map_of(each.text, each.replacements).as_dict() for each in done]
    rows = [{"map": row["map"]} for row in rows] if old else rows
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return "".join(f"{each.text}\n" for each in done)


def restore(path: Path, text: str) -> Restored:
    return restored_all(text, read_maps(path))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text, LETTER),
        (lambda text: "Une ligne.\n" + text, "Une ligne.\n" + LETTER),
        (lambda text: text.split("\n", 1)[1], LETTER.split("\n", 1)[1].replace("JEAN MORVAN", "Jean Morvan")),
        (
            lambda text: "".join(text.splitlines(True)[::-1]),
            "Vu par Léa Petit : Jean Morvan dort.\nJEAN MORVAN vit à Nîmes.\n",
        ),
        (lambda text: text.replace(" ", "  "), LETTER.replace(" dort", "  dort")),
        (lambda text: f"[PER_2], [PER_2] ! {text}", f"Léa Petit, Léa Petit ! {LETTER}"),
    ],
    ids=["unchanged", "added", "removed", "moved", "spaces", "repeated"],
)
@pytest.mark.parametrize("old", [False, True])
def test_a_changed_document(change, expected: str, old: bool, tmp_path: Path) -> None:
    text = write_map(tmp_path / "map", LETTER.removesuffix("\n"), old=old)
    found = restore(tmp_path / "map", change(text))
    assert " ".join(found.text.split()) == " ".join(expected.split())
    assert affineur.restore(change(text), tmp_path / "map") == found.text
    if change(text) == text:
        assert found.text == expected


def test_rows_of_a_map_need_no_unpacking_by_hand(tmp_path: Path) -> None:
    text = write_map(tmp_path / "map", LETTER)
    [row] = map(json.loads, (tmp_path / "map").read_text("utf-8").splitlines())
    assert affineur.restore(f"Le 3 mai\n{text}", row["map"]) == f"Le 3 mai\n{LETTER}\n"


def test_placeholders_that_stand_in_the_text_already() -> None:
    text = "Formulaire [PER_1], [PER], [PER*] : Jean Morvan"
    for style in ("pseudonym", "type"):
        done = redacted(text, style)
        [each] = done.replacements
        assert each.placeholder not in text
        assert affineur.restore(done.text, done.replacements) == text
        assert affineur.restore(f"Bref. {done.text}", done.replacements) == f"Bref. {text}"


def test_what_only_one_side_has_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = write_map(tmp_path / "map", LETTER.removesuffix("\n"))
    changed = text.replace("[PER_2]", "[PER_7]").replace("[LOC_1]", "là")
    found = restore(tmp_path / "map", changed)
    assert (found.unknown, found.unused, found.respelled) == (
        ["[PER_7]"],
        ["[LOC_1]", "[PER_2]"],
        ["[PER_1]"],
    )
    (tmp_path / "changed.txt").write_text(changed, "utf-8")
    assert main(["restore", str(tmp_path / "changed.txt"), "--map", str(tmp_path / "map")]) == 0
    said = capsys.readouterr()
    assert said.out == "Jean Morvan vit à là.\nVu par [PER_7] : JEAN MORVAN dort.\n"
    assert "warning: 1 placeholder stayed, not in the map: [PER_7]" in said.err
    assert "not in the text: [LOC_1], [PER_2]" in said.err
    assert "Morvan" not in said.err


def test_types_lead_back_from_an_unchanged_text_alone() -> None:
    done = redacted(LETTER, "type")
    assert affineur.restore(done.text + "Fin.", done.replacements) == LETTER + "Fin."
    with pytest.raises(ParameterError, match=r"several names.*style pseudonym"):
        affineur.restore("Bref.\n" + done.text, done.replacements)


def test_lines_that_only_happen_to_fit_are_no_unchanged_text(tmp_path: Path) -> None:
    text = "Jean Morvan dort\nLéa Petit mord"
    done = redacted(text, "type")
    (tmp_path / "map").write_text(json.dumps(map_of(done.text, done.replacements).as_dict()))
    swapped = "\n".join(done.text.split("\n")[::-1])
    with pytest.raises(ParameterError, match=r"several names"):
        restore(tmp_path / "map", swapped)


TEXTS = ("Jean Morvan dort", "", "Léa Petit mange", "Il pleut", "Jean Morvan voit Léa Petit")


@pytest.mark.parametrize(
    "order", [(0, 1, 2, 3, 4), (4, 2, 0), (2, 0, 3), (3, 3, 1, 4)], ids=["all", "moved", "removed", "copied"]
)
def test_lines_that_were_texts_of_their_own(order: tuple[int, ...], tmp_path: Path) -> None:
    lines = write_map(tmp_path / "map", *TEXTS).splitlines()
    changed = "".join(f"{lines[place]}\n" for place in order)
    assert restore(tmp_path / "map", changed).text == "".join(f"{TEXTS[place]}\n" for place in order)


def test_a_text_of_several_lines_among_others(tmp_path: Path) -> None:
    text = write_map(tmp_path / "map", LETTER, "Léa Petit\n")
    assert restore(tmp_path / "map", text).text == f"{LETTER}\nLéa Petit\n\n"
    assert restore(tmp_path / "map", text.removesuffix("\n")).text == f"{LETTER}\nLéa Petit\n"


def test_a_changed_line_is_taken_for_the_one_text_it_can_be(tmp_path: Path) -> None:
    lines = write_map(tmp_path / "map", *TEXTS).splitlines()
    lines[4] += ", enfin"
    found = restore(tmp_path / "map", "\n".join(lines))
    assert found.text == "\n".join([*TEXTS[:4], f"{TEXTS[4]}, enfin"])
    assert found.moved == [5]
    lines[0], lines[2] = "Hier [PER_1] dort", "Hier [PER_1] mange"
    with pytest.raises(ParameterError, match=r"line 1 of the text cannot be told from others"):
        restore(tmp_path / "map", "\n".join(lines))


def test_lines_that_look_alike_and_are_not(tmp_path: Path) -> None:
    text = write_map(tmp_path / "map", "Jean Morvan dort", "Léa Petit dort")
    assert restore(tmp_path / "map", f"Bref.\n{text}").text == "Bref.\nJean Morvan dort\nLéa Petit dort\n"
    with pytest.raises(ParameterError, match=r"line 1 .* look alike"):
        restore(tmp_path / "map", "[PER_1] dort\n")
    old = write_map(tmp_path / "old", "Jean Morvan dort", "Léa Petit dort", old=True)
    assert restore(tmp_path / "old", old).text == "Jean Morvan dort\nLéa Petit dort\n"
    with pytest.raises(ParameterError, match="earlier version"):
        restore(tmp_path / "old", f"Bref.\n{old}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "the map is empty"),
        ("nope", ":1: not JSON"),
        ('{"map": 3}', ':1: expected an object with a list "map"'),
        ("[]", ':1: expected an object with a list "map"'),
        ('{"map": [{"placeholder": "[PER_1]"}]}', ":1: a replacement has not the fields"),
        ('{"map": [{"placeholder": 1, "start": 0, "end": 7, "word": "x"}]}', ":1: a replacement has a value"),
        ('{"map": [{"placeholder": "[P_1]", "start": 0, "end": 9, "word": "x"}]}', "does not fit 0-9"),
        ('{"map": [["[P]", 3, 6, "x"], ["[P]", 3, 6, "x"]]}', "begins before 6"),
        ('{"map": [["[P]", 3, 6, "x"]]}\n\xff', ":2: not JSON"),
    ],
)
def test_a_map_that_is_damaged_is_one_line(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map").write_text(line, "utf-8")
    with pytest.raises(DataError):
        read_maps(tmp_path / "map")
    (tmp_path / "text").write_text("[P]")
    assert main(["restore", str(tmp_path / "text"), "--map", str(tmp_path / "map")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_another_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_map(tmp_path / "map", LETTER)
    (tmp_path / "other").write_text("Rien ici.")
    assert main(["restore", str(tmp_path / "other"), "--map", str(tmp_path / "map")]) == 1
    assert "belong to another text" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "none"), "--map", str(tmp_path / "map")]) == 1
    assert main(["restore", str(tmp_path / "other"), "--map", str(tmp_path)]) == 1


def test_bytes_come_back_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    given = "\ufeffJean Morvan\r\n\u2028Léa Petit\r\n"
    text = write_map(tmp_path / "map", given.removesuffix("\n"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="ascii"))
    assert main(["restore", "-", "--map", str(tmp_path / "map"), "-q"]) == 0
    assert capfdbinary.readouterr().out == given.encode()
