"""Addresses, keys and servers that cannot be probed: one clear line each."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from affineur.errors import ParameterError, TransferError
from affineur.probe import probe

from .fakes import TEXTS, Fake, probed, running, send


@pytest.mark.parametrize(
    ("status", "value", "headers", "said"),
    [
        (
            401,
            {"error": "no key", "error_type": "Unauthorized"},
            {},
            "answers 401 (no key); give its key",
        ),
        (404, {"detail": "Not Found"}, {}, "answers 404 (Not Found); give the whole address that takes POST"),
        (
            307,
            "",
            {"Location": "https://elsewhere/predict"},
            "redirects to 'https://elsewhere/predict'; give that address",
        ),
        (
            200,
            "<html><body>Welcome</body></html>",
            {"Content_Type": "text/html"},
            "answers a web page, expected a list of entities",
        ),
        (200, {"label": "POSITIVE"}, {}, """answers '{"label": "POSITIVE"}', expected a list of entities"""),
        (200, [{"label": "POSITIVE", "score": 0.9}], {}, "expected a list of entities"),
        (200, "", {}, "answers nothing, expected a list of entities"),
        (502, "<html>Bad gateway</html>", {}, "answers 502 (a web page)"),
        (
            429,
            {"error": "Model is overloaded"},
            {},
            "answers 429 (Model is overloaded); wait until it is idle",
        ),
        (500, {"error": "\x1b[31mred\nline"}, {}, "answers 500 (\N{REPLACEMENT CHARACTER}[31mred line)"),
    ],
)
def test_what_is_no_endpoint_is_one_clear_line(
    status: int, value: Any, headers: dict[str, str], said: str
) -> None:
    def handle(handler: Any, body: dict[str, Any]) -> bool:
        send(handler, status, value, **headers)
        return True

    with pytest.raises(TransferError) as error:
        probed(Fake(handle=handle))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def _closed() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_nobody_there_and_no_such_host() -> None:
    with pytest.raises(TransferError, match=r"cannot be reached \(Connection refused\); is it running"):
        probe(f"http://{_closed()}/", TEXTS)
    with pytest.raises(TransferError, match="cannot be reached"):
        probe("http://nobody.invalid/", TEXTS)


def test_plain_http_is_no_tls() -> None:
    with (
        running(Fake()) as fake,
        pytest.raises(TransferError, match=r"cannot be reached over TLS .*is it an http:// address"),
    ):
        probe(fake.url.replace("http:", "https:"), TEXTS)


@pytest.mark.parametrize(
    ("banner", "said"),
    [(b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"), (b"", "closes the connection without an answer")],
)
def test_another_protocol(banner: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(banner)
                connection.recv(100_000)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(TransferError, match=said):
            probe(f"http://127.0.0.1:{server.getsockname()[1]}/", TEXTS, timeout=2)
        thread.join()


@pytest.mark.parametrize(
    "url",
    [
        "model",
        "localhost:8000",
        "ftp://x/y",
        "http://",
        "http://x:99999/",
        "http://a b/",
        "",
        "http://[::1",
        "http://x\n/",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ParameterError, match="is not a URL"):
        probe(url, TEXTS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"requests": 0}, "requests=0 is impossible"),
        ({"concurrency": [0]}, "concurrency=0 is impossible"),
        ({"concurrency": [5000]}, "concurrency=5000 is impossible, expected 1 to 1024"),
        ({"timeout": 0.0}, "timeout=0 is impossible"),
        ({"timeout": float("nan")}, "timeout=nan is impossible"),
        ({"key": "a\r\nX: y"}, "holds a character that no HTTP header carries"),
        ({"bars": {"min_agreement": 1}}, "min_agreement needs a model to compare with"),
    ],
)
def test_impossible_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        probe("http://127.0.0.1:1/", TEXTS, **options)


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ParameterError) as error:
        probe("http://me:hunter2@127.0.0.1:1/", TEXTS)
    assert "hunter2" not in str(error.value)
