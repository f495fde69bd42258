"""The page at /ui, as files."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import affineur
from affineur.measure import report
from affineur.serve.operations import INFO
from affineur.serve.page import page_files
from affineur.serve.protocols.huggingface import PREDICT

PAGE = Path(affineur.__file__).parent / "serve" / "page"


class _Ids(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.attributes: set[str] = set()
        self.inline: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.attributes |= {name for name, _ in attrs}
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"} and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("name", ["index.html", "page.css", "page.js"])
def test_files_name_no_other_place(name: str) -> None:
    text = PAGE.joinpath(name).read_text("utf-8")
    assert not re.search(r"https?:|//[\w-]+\.\w|@import|url\(", text.replace("\n//", ""))


def test_script_makes_no_markup_and_stores_nothing() -> None:
    script = PAGE.joinpath("page.js").read_text("utf-8")
    markup = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML"
    )
    code, store = r"\beval\b|Function\(", r"Storage|cookie|indexedDB"
    forbidden = "|".join((markup, code, store))
    assert not re.search(forbidden, script)


def test_page_holds_every_element_that_the_script_names_and_nothing_inline() -> None:
    page = _Ids(PAGE.joinpath("index.html").read_text("utf-8"))
    named = set(re.findall(r'\bat\("([^"]+)"\)', PAGE.joinpath("page.js").read_text("utf-8")))
    assert len(named) > 10
    assert named <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert page.inline == []  # default-src 'self' would refuse it
    assert not {name for name in page.attributes if name == "style" or name.startswith("on")}


def test_types_look_as_in_the_report() -> None:
    def colors(path: Path) -> list[str]:
        return re.findall(r"--t\d: #[0-9a-f]{6}", path.read_text("utf-8"))

    ours, theirs = (
        colors(path) for path in (PAGE / "page.css", Path(report.__file__).with_name("style.css"))
    )
    assert len(ours) == 18  # six types, light, dark and printed
    assert ours == theirs


def test_the_page_is_told_where_to_ask() -> None:
    text = page_files()["/ui"][0].decode()
    assert f'data-predict="{PREDICT[1:]}" data-info="{INFO[1:]}"' in text
    assert "{{" not in text
