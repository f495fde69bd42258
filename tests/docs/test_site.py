"""The site builds without a warning, every link in it leads somewhere, and no page fetches anything."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

DOCS = Path(__file__).parents[2] / "docs"
#: What a browser fetches by itself, by element and attribute; the pages' own styles fetch nothing.
_FETCHED = {
    ("audio", "src"),
    ("iframe", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("link", "href"),
    ("script", "src"),
    ("source", "srcset"),
    ("video", "src"),
}


class Page(HTMLParser):
    """What one page names, links to and fetches."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.language: str | None = None
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if (tag, name) == ("html", "lang"):
                self.language = value
            if (tag, name) == ("a", "href") and value:
                self.links.append(value)
            if (tag, name) in _FETCHED and value:
                self.fetched.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    out = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "-d", f"{out}.doctrees"]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, out], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return {path: Page(path) for path in out.rglob("*.html")}


def test_every_link_within_the_site_leads_somewhere(site: dict[Path, Page]) -> None:
    broken = []
    for path, page in site.items():
        for link in page.links:
            if "://" in link or link.startswith("mailto:"):
                continue
            place, anchor = urldefrag(link)
            target = (path.parent / unquote(place)).resolve() if place else path
            named = not anchor or target not in site or unquote(anchor) in site[target].anchors
            if not target.exists() or not named:
                broken.append(f"{path.name}: {link}")
    assert broken == []


def test_no_page_fetches_anything_from_elsewhere(site: dict[Path, Page]) -> None:
    elsewhere = {url for page in site.values() for url in page.fetched if "//" in url}
    assert elsewhere == set()
    root = min(path.parent for path in site)
    styles = {path.name: path.read_text("utf-8") for path in root.rglob("*.css")}
    assert [name for name, style in styles.items() if re.search(r"url\([\"']?(https?:)?//", style)] == []


def test_the_french_page_says_that_it_is_french(site: dict[Path, Page]) -> None:
    languages = {path.stem: page.language for path, page in site.items()}
    assert languages["pseudonymiser"] == "fr"
    assert languages["documents"] == "en"


def test_every_page_is_written_for_the_site(site: dict[Path, Page]) -> None:
    root = min(path.parent for path in site)
    pages = {path.relative_to(root).with_suffix("") for path in site}
    assert {
        path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md") if "_build" not in path.parts
    } <= pages
