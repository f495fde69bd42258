"""The page in headless Chromium, in front of a fake server or of the real application."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from .fakes import Fake, handler

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


@pytest.fixture
def fake() -> Iterator[Fake]:
    fake = Fake()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
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
            "const t = document.getElementById('text'); t.value = arguments[0]; "
            "t.dispatchEvent(new Event('input'))",
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
            "const tip = document.getElementById('tip'); return tip.hidden ? null : "
            "tip.textContent.replaceAll('\\u00a0', ' ')"
        )

    def marks(self, column: int = 0) -> list[str]:
        return self.js(
            "return "
            "[...document.querySelectorAll('.text')[arguments[0]].querySelectorAll('mark')].map(m "
            "=> m.textContent)",
            column,
        )

    def text(self, column: int = 0) -> str:
        return self.js("return document.querySelectorAll('.text')[arguments[0]].textContent", column)

    def apart(self, column: int) -> list[str]:
        return self.js(
            "return [...document.querySelectorAll('article')[arguments[0]]"
            ".querySelectorAll('mark.apart')].map(m => m.textContent)",
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
