"""The page at /ui in headless Chromium: what it shows of what the server found."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ..held import until
from .conftest import Page
from .fakes import EMOJI, KNOWN, Fake


def _ask(url: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    ) as answer:
        return json.load(answer)


def test_marks_what_the_server_found_at_its_code_points(page: Page, base_url: str) -> None:
    page.analyze(EMOJI)
    for column, model in enumerate(_ask(base_url, "/info")["models"][:2]):
        found = _ask(base_url, f"/predict?model={model['name']}", {"inputs": EMOJI})
        assert found
        assert page.marks(column) == [EMOJI[one["start"] : one["end"]] for one in found]
        assert page.text(column) == EMOJI
        shown = page.js(
            "return [...document.querySelectorAll('article')[arguments[0]]"
            ".querySelectorAll('mark')].map(m => m.dataset.type)",
            column,
        )
        assert [kind.removesuffix(" ≠") for kind in shown] == [one["entity_group"] for one in found]
        times = page.js(
            "return [...document.querySelectorAll('article')[arguments[0]]"
            ".querySelectorAll('dd')].map(d "
            "=> d.textContent)",
            column,
        )
        assert len(times) == 3
        assert all(re.fullmatch(r"[\d\s]+(,\d)? ms", time) for time in times)


def test_example_is_there_and_ctrl_enter_analyzes_it(page: Page) -> None:
    assert len(page.js("return document.getElementById('text').value")) > 200
    assert page.js("return document.getElementById('examples').options.length") == 4
    page.find("#text").click()
    page.driver.switch_to.active_element.send_keys("\ue009", "\ue007")  # control, enter
    page.settle()
    assert page.text() == page.js("return document.getElementById('text').value")


def test_an_example_looked_at_costs_nobody_their_text(page: Page) -> None:
    page.write("mon texte")
    choose = (
        "const e = document.getElementById('examples'); e.selectedIndex = arguments[0]; "
        "e.dispatchEvent(new Event('change'))"
    )
    page.js(choose, 3)
    assert "Marseille" in page.js("return document.getElementById('text').value")
    page.js(choose, 0)
    assert page.js("return document.getElementById('text').value") == "mon texte"


def test_hover_and_focus_show_type_and_confidence(page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    page.analyze(EMOJI)
    assert page.tip() is None
    second = page.driver.find_elements("css selector", "mark")[1]
    ActionChains(page.driver).move_to_element(second).perform()
    assert page.tip() == "PER, personne · 99,9 %"  # 0.9999 is not 100 %
    box = page.js(
        "const b = document.getElementById('tip').getBoundingClientRect(); return [b.left, b.top, "
        "b.right - innerWidth, b.bottom - innerHeight]"
    )
    assert min(box[:2]) >= 0
    assert max(box[2:]) <= 0
    ActionChains(page.driver).move_to_element(page.find("h1")).perform()
    assert page.tip() is None

    page.find("button[type=submit]").click()
    page.settle()
    for _ in range(20):
        page.keys("\ue004")  # tab
        if page.js("return document.activeElement.matches('mark')"):
            break
    assert "97" in page.tip()
    assert page.js("return document.activeElement.getAttribute('aria-label')").startswith(
        "Inès, PER, 97\u00a0%"
    )
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keys("\ue014")  # right
    assert page.js("return document.activeElement.textContent") == "Aurélie Pontcarré"
    assert "99,9" in page.tip()
    page.keys("\ue00c")  # escape
    assert page.tip() is None
    page.keys("\ue010")  # end
    assert page.js("return document.activeElement.textContent") == "Nice"
    assert (
        page.js("return document.querySelectorAll('.text')[0].querySelectorAll('[tabindex=\"0\"]').length")
        == 1
    )


def test_two_models_stand_beside_each_other_with_their_differences(page: Page, fake: Fake) -> None:
    page.analyze(EMOJI)
    assert page.apart(0) == ["Inès", "SNCF"]
    assert page.apart(1) == ["SNCF"]
    labels = page.js(
        "return [...document.querySelectorAll('mark.apart')].map(m => "
        "m.getAttribute('aria-label').replaceAll('\\u00a0', ' '))"
    )
    assert "trouvé par ce modèle seul" in labels[0]
    assert "« SNCF » LOC 61 %" in labels[1]
    left, right = page.js(
        "return [...document.querySelectorAll('article')].map(a => a.getBoundingClientRect().left)"
    )
    assert right > left + 300
    assert [path for path, _ in fake.asked] == ["/predict?model=ner", "/predict?model=ner-petit"]
    page.js(
        "const s = document.querySelectorAll('article select')[1]; s.selectedIndex = 0; "
        "s.dispatchEvent(new Event('change'))"
    )
    page.settle()
    assert page.apart(0) == page.apart(1) == []
    assert fake.asked[-1][0] == "/predict?model=ner"


def _slide(page: Page, value: int) -> None:
    page.js(
        "const r = document.getElementById('threshold'); r.value = arguments[0]; for (const e of "
        "['input', 'change']) r.dispatchEvent(new Event(e))",
        value,
    )


def test_threshold_hides_without_a_request(page: Page, fake: Fake) -> None:
    page.analyze(EMOJI)
    asked = len(fake.asked)
    _slide(page, 60)
    assert page.marks(0) == ["Inès", "Aurélie Pontcarré", "Marseille"]
    assert page.marks(1) == ["Aurélie Pontcarré", "Marseille", "SNCF"]
    assert page.text() == EMOJI
    legend = page.js("return document.querySelector('.legend').innerText")
    assert (
        " ".join(legend.split())
        == "LOC lieu 1 MISC divers 0 ORG organisation 0 PER personne 2 sous le seuil : 2"
    )
    _slide(page, 0)
    assert len(page.marks(0)) == 5
    assert len(fake.asked) == asked


def test_redacted_text_comes_from_the_server(page: Page, fake: Fake) -> None:
    page.analyze(EMOJI)
    _slide(page, 50)
    page.find("[name=redact][value=type]").click()
    page.until("document.querySelector('.text').textContent.includes('[PER]')")
    page.settle()
    assert page.text(0) == "🎉 Avec [PER] et 👩‍🍳 [PER], de [LOC] 𝔸 à la [ORG], puis [LOC]."
    assert page.marks(0) == ["[PER]", "[PER]", "[LOC]", "[ORG]", "[LOC]"]
    assert fake.asked[-1][1]["parameters"] == {"redact": "type"}
    assert page.apart(0) == page.apart(1) == []
    page.find("[name=redact][value=pseudonym]").click()
    page.until("document.querySelector('.text').textContent.includes('[PER_1]')")
    page.settle()
    fake.refusal = (429, {"error": "Model is overloaded", "error_type": "Overloaded"}, {})
    page.expected.append("429")
    page.find("[name=redact][value='']").click()
    page.until("document.getElementById('status').textContent.includes('demandé')")
    assert page.text() == ""  # what stands there is never something else than what is chosen


def test_case_43_the_redacted_text_is_shown_whole_and_can_be_taken_along(
    page: Page, fake: Fake, tmp_path: Path
) -> None:
    del fake.models["ner-petit"]
    page.open()
    text = (EMOJI + "\n") * 60
    page.analyze(text)
    assert not page.find(".take").is_displayed()
    page.find("[name=redact][value=pseudonym]").click()
    page.until("document.querySelector('.text').textContent.includes('[PER_1]')")
    page.settle()
    hidden = fake.predict("ner", text, {"redact": "pseudonym"})["text"]
    height, room = page.js(
        "const t = document.querySelector('.text'); return [t.scrollHeight, t.clientHeight]"
    )
    assert height == room > 1000  # no box that scrolls inside the page
    assert page.js("return getComputedStyle(document.querySelector('mark'), '::after').content") == "none"
    assert (
        page.js(
            "return document.querySelector('.text').compareDocumentPosition(document.querySelector('.times'))"
        )
        & 4
    )  # the result stands before the times
    assert page.find("#only").text == (
        "N’est masqué que ce que le modèle trouve. Only what the model finds is masked."
    )
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": page.url},
    )
    page.js("document.querySelector('.copy').click()")
    page.until("document.querySelector('.taken').textContent")
    copied = page.driver.execute_async_script(
        "const done = arguments[0]; navigator.clipboard.readText().then(done, (e) => done(String(e)))"
    )
    assert copied == hidden
    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.js("document.querySelector('.save').click()")
    file = tmp_path / "texte-masque.txt"
    until(file.exists)
    assert file.read_bytes().decode() == hidden


def test_masking_covers_what_is_under_the_threshold(page: Page, fake: Fake) -> None:
    state = (
        "const [slider, note, limit] = ['threshold', 'all', 'limit'].map((id) => "
        "document.getElementById(id));"
        "return [slider.disabled, note.checkVisibility(), limit.value]"
    )
    page.analyze(EMOJI)
    _slide(page, 98)
    assert page.js(state) == [False, False, "98\u00a0%"]
    hidden = [word for word in KNOWN if word in EMOJI and word not in page.marks(0)]
    assert hidden
    page.find("[name=redact][value=pseudonym]").click()
    page.until("document.querySelector('.text').textContent.includes('[PER_1]')")
    page.settle()
    assert not [word for word in KNOWN if word in page.text(0)]
    assert fake.asked[-1][1]["parameters"] == {"redact": "pseudonym"}
    assert page.js(state) == [True, True, "0\u00a0%"]
    assert page.find("#all").text == "Masquer couvre tout ce qui est trouvé, quel que soit le seuil."
    page.find("[name=redact][value='']").click()
    page.until("document.querySelector('.text').textContent.includes('Inès')")
    page.settle()
    assert page.js(state) == [False, False, "98\u00a0%"]
    assert not set(hidden) & set(page.marks(0))


def test_one_model_has_one_column(page: Page, fake: Fake) -> None:
    del fake.models["ner-petit"]
    page.open()
    page.analyze(EMOJI)
    assert page.js("return document.querySelectorAll('article').length") == 1
    assert not page.find(".choice").is_displayed()
    assert page.find("h2").text == "ner"
    assert page.status() == "5 entités."


def test_newer_request_wins_over_a_slow_one(page: Page, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    page.until("document.querySelectorAll('article').length")
    go, gone, real = threading.Event(), threading.Event(), fake.predict

    def slow(model: str, text: str, parameters: dict[str, Any]) -> Any:
        if text.startswith("slow"):
            go.wait(10)
            gone.set()
        return real(model, text, parameters)

    monkeypatch.setattr(fake, "predict", slow)
    page.write(f"slow {EMOJI}")
    page.find("button[type=submit]").click()
    page.analyze(EMOJI)
    go.set()
    assert gone.wait(10)
    page.js("return fetch('info')")  # a round trip later the other answer would have come, too
    assert page.text(0) == page.text(1) == EMOJI
    assert page.status() == "ner : 5 entités, ner-petit : 4 entités."


def test_narrow_window_needs_no_sideways_scrolling_and_keeps_the_tip_inside(page: Page) -> None:
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        page.analyze(EMOJI)
        assert page.js("return document.documentElement.scrollWidth") == 390
        tops = page.js(
            "return [...document.querySelectorAll('article')].map(a => a.getBoundingClientRect().top)"
        )
        assert tops[1] > tops[0] + 100
        for number in range(len(page.marks(0))):
            page.js("document.querySelectorAll('mark')[arguments[0]].focus()", number)
            left, right, top = page.js(
                "const b = document.getElementById('tip').getBoundingClientRect(); return [b.left, "
                "innerWidth - b.right, b.top]"
            )
            assert min(left, right, top) >= 0
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_long_text_stays_usable(page: Page) -> None:
    text = (EMOJI + " ") * 1300
    assert len(text.encode()) > 100_000
    page.analyze(text)
    assert page.text() == text
    assert len(page.marks()) == 5 * 1300
    page.js(  # a quadratic drawing would take minutes, and the driver gives a script 20 seconds
        "const r = document.getElementById('threshold'); r.value = 50; r.dispatchEvent(new Event('input'));"
        "document.body.getBoundingClientRect()"
    )
    assert len(page.marks()) == 4 * 1300


# ---- In front of the real application ----


class TestRealApplication:
    """The same page, served by the application itself over two real (tiny) models, under its own security
    headers.
    """

    @pytest.fixture
    def base_url(self, endpoint: Any) -> str:
        return str(endpoint.url)

    def test_marks_what_the_server_found_at_its_code_points(self, page: Page, base_url: str) -> None:
        test_marks_what_the_server_found_at_its_code_points(page, base_url)

    def test_example_is_there_and_ctrl_enter_analyzes_it(self, page: Page) -> None:
        test_example_is_there_and_ctrl_enter_analyzes_it(page)

    def test_the_api_s_page_shows_its_operations(self, page: Page, base_url: str) -> None:
        page.driver.get(f"{base_url}/docs")
        page.until("document.querySelectorAll('.opblock').length > 10")
