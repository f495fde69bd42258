"""The page at /ui, as files and in headless Chromium, in front of a small fake server that speaks our wire
format.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import affineur
from affineur.measure import report

PAGE = Path(affineur.__file__).parent / "serve" / "page"
FILES = {
    "/ui": ("index.html", "text/html"),
    "/ui/page.css": ("page.css", "text/css"),
    "/ui/page.js": ("page.js", "text/javascript"),
    "/ui/icon.svg": ("icon.svg", "image/svg+xml"),
}


# ---- The files alone ----


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


# ---- A fake server ----

KNOWN = {
    "Inès": ("PER", 0.97),
    "Aurélie Pontcarré": ("PER", 0.9999),
    "Marseille": ("LOC", 0.99),
    "SNCF": ("ORG", 0.55),
    "Nice": ("LOC", 0.42),
}
#: The second model takes a station for a place and does not know Inès.
OTHERWISE = {**KNOWN, "SNCF": ("LOC", 0.61)}
del OTHERWISE["Inès"]


@dataclass
class Fake:
    """What the fake server serves and what it was asked."""

    models: dict[str, dict[str, tuple[str, float]]] = field(
        default_factory=lambda: {"ner": KNOWN, "ner-petit": OTHERWISE}
    )
    key: str | None = None
    refusal: tuple[int, dict[str, str], dict[str, str]] | None = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def info(self) -> dict[str, Any]:
        labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC", "I-MISC"]
        about = {
            "kind": "onnx",
            "labels": labels,
            "sha256": "0" * 64,
            "size_bytes": 7_600_000,
            "folder": "student_11L_int8",
        }
        return {"version": "0.1.0", "models": [{"name": name, **about} for name in self.models]}

    def predict(self, model: str, text: str, parameters: dict[str, Any]) -> Any:
        known = self.models[model]
        found = sorted(
            (match.start(), match[0]) for name in known for match in re.finditer(re.escape(name), text)
        )
        kept = [
            (start, word, *known[word])
            for start, word in found
            if known[word][1] >= parameters.get("threshold", 0)
        ]
        if "redact" not in parameters:
            return [
                {"entity_group": kind, "score": score, "word": word, "start": start, "end": start + len(word)}
                for start, word, kind, score in kept
            ]
        redacted, at, entities = "", 0, []
        for number, (start, word, kind, score) in enumerate(kept, 1):
            redacted += text[at:start]
            placeholder = f"[{kind}]" if parameters["redact"] == "type" else f"[{kind}_{number}]"
            there = {"start": len(redacted), "end": len(redacted) + len(placeholder)}
            entities.append({"entity_group": kind, "score": score, "word": placeholder, **there})
            redacted, at = redacted + placeholder, start + len(word)
        return {"text": redacted + text[at:], "entities": entities}


def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            policy = {
                "Content-Security-Policy": "default-src 'self'",
                "Content-Type": f"{kind}; charset=utf-8",
                "Content-Length": str(len(body)),
            }
            for name, value in {
                **policy,
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def refused(self) -> bool:
            if fake.key is not None and self.headers.get("Authorization") != f"Bearer {fake.key}":
                self.answer(401, b'{"error":"no valid key","error_type":"unauthorized"}')
                return True
            return False

        def do_GET(self) -> None:
            if self.path in FILES:
                name, kind = FILES[self.path]
                self.answer(200, PAGE.joinpath(name).read_bytes(), kind)
            elif self.path == "/info":
                if not self.refused():
                    self.answer(200, json.dumps(fake.info()).encode())
            else:
                self.answer(404, b'{"error":"no such page","error_type":"not_found"}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.asked.append((self.path, body))
            if self.refused():
                return
            if fake.refusal is not None:
                status, said, headers = fake.refusal
                self.answer(status, json.dumps(said).encode(), **headers)
                return
            model = parse_qs(urlsplit(self.path).query).get("model", [next(iter(fake.models))])[0]
            found = fake.predict(model, body["inputs"], body.get("parameters") or {})
            self.answer(200, json.dumps(found).encode(), x_queue_time="0.25", x_inference_time="12.5")

    return Handler


@pytest.fixture
def fake() -> Iterator[Fake]:
    fake = Fake()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def base_url(fake: Fake) -> str:
    """Where a server with two models is; tests that take only this one hold for any."""
    return fake.url


# ---- In a browser ----

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
EMOJI = "🎉 Avec Inès et 👩‍🍳 Aurélie Pontcarré, de Marseille 𝔸 à la SNCF, puis Nice."


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs Chromium and chromedriver (Debian: apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install selenium)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1280,1000",
        "--lang=fr",
    ]
    for flag in flags:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    driver.set_script_timeout(20)
    yield driver
    driver.quit()


@dataclass
class Page:
    """The page in a browser."""

    driver: Any
    url: str
    expected: list[str] = field(default_factory=list)  # what the console may say

    def open(self) -> None:
        self.driver.get(f"{self.url}/ui")

    def js(self, script: str, *values: object) -> Any:
        return self.driver.execute_script(script, *values)

    def until(self, script: str, *values: object) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + 10
        while not (value := self.js(f"return {script}", *values)):
            assert time.monotonic() < end, f"never true: {script}; the page says: {self.status()}"
            time.sleep(0.02)
        return value

    def write(self, text: str) -> None:
        self.js(
            "const t = document.getElementById('text'); t.value = arguments[0]; t.dispatchEvent(new Event('input'))",
            text,
        )

    def analyze(self, text: str | None = None) -> None:
        if text is not None:
            self.write(text)
        self.find("button[type=submit]").click()
        self.settle()

    def settle(self) -> None:
        self.until("!document.querySelector('[aria-busy]') && document.getElementById('status').textContent")

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def keys(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def status(self) -> str:
        return self.js("return document.getElementById('status').innerText")

    def tip(self) -> str | None:
        return self.js(
            "const tip = document.getElementById('tip'); return tip.hidden ? null : tip.textContent.replaceAll('\\u00a0', ' ')"
        )

    def marks(self, column: int = 0) -> list[str]:
        return self.js(
            "return [...document.querySelectorAll('.text')[arguments[0]].querySelectorAll('mark')].map(m => m.textContent)",
            column,
        )

    def text(self, column: int = 0) -> str:
        return self.js("return document.querySelectorAll('.text')[arguments[0]].textContent", column)

    def apart(self, column: int) -> list[str]:
        return self.js(
            "return [...document.querySelectorAll('article')[arguments[0]].querySelectorAll('mark.apart')].map(m => m.textContent)",
            column,
        )


@pytest.fixture
def page(chromium: Any, base_url: str) -> Iterator[Page]:
    page = Page(chromium, base_url)
    for log in ("browser", "performance"):
        chromium.get_log(log)
    page.open()
    yield page
    said = [line["message"] for line in chromium.get_log("browser")]
    assert [line for line in said if not any(word in line for word in page.expected)] == []
    messages = [json.loads(line["message"])["message"] for line in chromium.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith(f"{base_url}/")] == []
    chromium.get("about:blank")


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
            "return [...document.querySelectorAll('article')[arguments[0]].querySelectorAll('mark')].map(m => m.dataset.type)",
            column,
        )
        assert [kind.removesuffix(" ≠") for kind in shown] == [one["entity_group"] for one in found]
        times = page.js(
            "return [...document.querySelectorAll('article')[arguments[0]].querySelectorAll('dd')].map(d => d.textContent)",
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
    choose = "const e = document.getElementById('examples'); e.selectedIndex = arguments[0]; e.dispatchEvent(new Event('change'))"
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
        "const b = document.getElementById('tip').getBoundingClientRect(); return [b.left, b.top, b.right - innerWidth, b.bottom - innerHeight]"
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
        "return [...document.querySelectorAll('mark.apart')].map(m => m.getAttribute('aria-label').replaceAll('\\u00a0', ' '))"
    )
    assert "trouvé par ce modèle seul" in labels[0]
    assert "« SNCF » LOC 61 %" in labels[1]
    left, right = page.js(
        "return [...document.querySelectorAll('article')].map(a => a.getBoundingClientRect().left)"
    )
    assert right > left + 300
    assert [path for path, _ in fake.asked] == ["/predict?model=ner", "/predict?model=ner-petit"]
    page.js(
        "const s = document.querySelectorAll('article select')[1]; s.selectedIndex = 0; s.dispatchEvent(new Event('change'))"
    )
    page.settle()
    assert page.apart(0) == page.apart(1) == []
    assert fake.asked[-1][0] == "/predict?model=ner"


def _slide(page: Page, value: int) -> None:
    page.js(
        "const r = document.getElementById('threshold'); r.value = arguments[0]; for (const e of ['input', 'change']) r.dispatchEvent(new Event(e))",
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
    fake.refusal = (429, {"error": "Model is overloaded", "error_type": "overloaded"}, {})
    page.expected.append("429")
    page.find("[name=redact][value='']").click()
    page.until("document.getElementById('status').textContent.includes('demandé')")
    assert page.text() == ""  # what stands there is never something else than what is chosen


def test_masking_covers_what_is_under_the_threshold(page: Page, fake: Fake) -> None:
    state = (
        "const [slider, note, limit] = ['threshold', 'all', 'limit'].map((id) => document.getElementById(id));"
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


def test_markup_stays_text(page: Page, fake: Fake) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    fake.models = {"ner": {hostile: ("<b>PER</b>", 0.9)}, hostile: {hostile: ("LOC", 0.8)}}
    page.open()
    page.analyze(f"Avec {hostile} et <script>alert(2)</script>")
    assert page.marks(0) == page.marks(1) == [hostile]
    fake.refusal = (422, {"error": hostile, "error_type": "validation"}, {})
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
    assert "demande une clé d’accès" in page.status()
    assert "no valid key" in page.status()
    assert page.js("return document.activeElement.id") == "key"
    page.keys("wrong\ue007")
    page.until("document.getElementById('status').textContent.includes('refuse cette clé')")
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


def test_newer_request_wins_over_a_slow_one(page: Page, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    page.until("document.querySelectorAll('article').length")
    go, real = threading.Event(), fake.predict

    def slow(model: str, text: str, parameters: dict[str, Any]) -> Any:
        if text.startswith("slow"):
            go.wait(10)
        return real(model, text, parameters)

    monkeypatch.setattr(fake, "predict", slow)
    page.write(f"slow {EMOJI}")
    page.find("button[type=submit]").click()
    page.analyze(EMOJI)
    go.set()
    time.sleep(0.2)
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
                "const b = document.getElementById('tip').getBoundingClientRect(); return [b.left, innerWidth - b.right, b.top]"
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
    spent = page.js(
        "const r = document.getElementById('threshold'), b = performance.now(); r.value = 50; r.dispatchEvent(new Event('input'));"
        "document.body.getBoundingClientRect(); return performance.now() - b"
    )
    assert len(page.marks()) == 4 * 1300
    assert spent < 3000  # far above what a free machine takes: a quadratic drawing would take minutes


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
