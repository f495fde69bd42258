"""The page at /ui in headless Chromium: keys, refusals, hostile text, answers that make no sense."""

from __future__ import annotations

import pytest

from .conftest import Page
from .fakes import EMOJI, Fake


def test_markup_stays_text(page: Page, fake: Fake) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    fake.models = {"ner": {hostile: ("<b>PER</b>", 0.9)}, hostile: {hostile: ("LOC", 0.8)}}
    page.open()
    page.analyze(f"Avec {hostile} et <script>alert(2)</script>")
    assert page.marks(0) == page.marks(1) == [hostile]
    fake.refusal = (422, {"error": hostile, "error_type": "Validation"}, {})
    page.expected.append("422")
    page.analyze()
    assert hostile in page.status()
    assert page.js("return document.querySelectorAll('img, b, script:not([src])').length") == 0


def test_key_is_asked_for_after_a_401_only_and_never_kept(page: Page, fake: Fake) -> None:
    page.until("document.querySelectorAll('article').length")
    assert not page.find("#secret").is_displayed()
    fake.key = "secret"
    page.expected.append("401")
    page.open()
    page.until("!document.getElementById('secret').hidden")
    assert page.status() == "Saisissez la clé d’accès de ce serveur, puis « Analyser »."
    assert page.js("return document.getElementById('status').className") == "status"  # nobody did wrong
    assert page.js("return document.activeElement.id") == "key"
    page.keys("wrong\ue007")
    page.until("document.getElementById('status').textContent.includes('refuse cette clé')")
    assert "no valid key" in page.status()
    assert page.js("return document.getElementById('status').className") == "status bad"
    page.js("document.getElementById('key').value = ''")
    page.keys("secret\ue007")
    page.until("document.querySelectorAll('.text')[1]?.textContent")
    page.settle()
    page.analyze(EMOJI)
    assert len(page.marks()) == 5
    assert page.js("return localStorage.length + sessionStorage.length + document.cookie.length") == 0
    assert fake.key not in page.driver.current_url


@pytest.mark.parametrize(
    ("status", "headers", "plain"),
    [
        (429, {"Retry_After": "7"}, "réessayez dans 7 secondes"),
        (429, {"Retry_After": "1"}, "réessayez dans 1 seconde."),
        (429, {}, "réessayez dans un instant"),
        (413, {}, "trop long"),
        (422, {}, "n’a pas compris"),
        (424, {}, "a échoué"),
        (503, {}, "n’est pas prêt"),
        (500, {}, "erreur (500)"),
    ],
)
def test_refusals_are_said_plainly_with_the_servers_line(
    page: Page, fake: Fake, status: int, headers: dict[str, str], plain: str
) -> None:
    page.analyze(EMOJI)
    fake.refusal = (status, {"error": "the line of the server", "error_type": "any"}, headers)
    page.expected.append(str(status))
    page.analyze()
    assert plain in page.status()
    assert "the line of the server" in page.status()
    assert page.find("#status").get_attribute("aria-live") == "polite"
    assert page.text() == ""
    fake.refusal = None
    page.analyze()
    assert page.marks()


def test_empty_text_and_a_dead_server_are_said_plainly(page: Page, fake: Fake) -> None:
    page.analyze(" \n")
    assert "Le texte est vide" in page.status()
    assert fake.asked == []
    page.expected += ["Failed to load", "ERR_"]
    page.driver.execute_cdp_cmd("Network.enable", {})
    free = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}

    def offline(off: bool) -> None:
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": off, **free})

    offline(True)
    try:
        page.analyze(EMOJI)
        assert "Le serveur ne répond pas" in page.status()
    finally:
        offline(False)


def test_answers_that_make_no_sense_are_refused(
    page: Page, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.until("document.querySelectorAll('article').length")
    beyond = [{"entity_group": "PER", "score": 0.9, "word": "x", "start": 0, "end": len(EMOJI) + 1}]
    for answer in (beyond, None, {"nothing": 1}):
        monkeypatch.setattr(fake, "predict", lambda *_, answer=answer: answer)
        page.analyze(EMOJI)
        assert "La réponse du serveur est incohérente." in page.status()
