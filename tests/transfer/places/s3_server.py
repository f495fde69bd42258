"""S3 services on loopback: moto's own, and in front of it a proxy that has the limits of others.

with moto_s3("models") as upstream, proxied(upstream, RunPod()) as proxy:
    ...  # proxy.url, proxy.received, proxy.asked; proxy.bad_gateways = 3
"""

from __future__ import annotations

import logging
import os
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import pytest

from .site import Site

KEY, SECRET = "user_loopbackaccess", "rps_loopback/secret+that=nobody+may=see"
_PIECE = 1 << 16
_HOP = {"connection", "transfer-encoding", "content-length", "expect", "date", "server"}


@dataclass
class Asked:
    """A request that has arrived whole."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """What S3 calls it, as far as tests need it."""
        key = self.path.strip("/").count("/") > 0
        if "uploadId" in self.query:
            return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "GET": "ListParts"}.get(
                self.method, "AbortMultipartUpload"
            )
        if "uploads" in self.query:
            return "CreateMultipartUpload" if self.method == "POST" else "ListMultipartUploads"
        if key:
            return {
                "PUT": "PutObject",
                "GET": "GetObject",
                "HEAD": "HeadObject",
                "DELETE": "DeleteObject",
            }.get(self.method, self.method)
        if self.method == "GET" and "list-type" in self.query:
            return "ListObjectsV2"
        return "DeleteObjects" if "delete" in self.query else f"{self.method} bucket"


@dataclass
class Answer:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None  # what is said of the body, where that is a lie


def refusal(status: int, code: str, more: str = "") -> Answer:
    """What S3 says when it says no."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} of a test</Message>{more}</Error>"
    return Answer(status, text.encode(), {"content-type": "application/xml"})


class Rules:
    """What a service does otherwise than S3. Subclasses change it on the way there, and back."""

    prefix = ""

    def before(self, asked: Asked) -> Answer | None:
        """Answer at once, or change what was asked."""
        return None

    def after(self, asked: Asked, answer: Answer) -> Answer:
        """Change the answer."""
        return answer


class RunPod(Rules):
    """The limits in RunPod's documentation, scaled down."""

    def __init__(self, largest: int = 1 << 20, listing: int = 1000, conditions: str = "refused") -> None:
        self.largest, self.listing, self.conditions = largest, listing, conditions
        self.complete_after = 0.0

    def before(self, asked: Asked) -> Answer | None:
        if asked.query.keys() & {"delete", "tagging", "versioning", "location", "acl", "policy"}:
            return refusal(501, "NotImplemented")
        if "X-Amz-Signature" in asked.query:
            return refusal(403, "AccessDenied")
        if "aws-chunked" in asked.headers.get("content-encoding", "") or "x-amz-trailer" in asked.headers:
            return refusal(400, "InvalidRequest")
        if asked.operation in ("PutObject", "UploadPart") and len(asked.body) > self.largest:
            return refusal(400, "EntityTooLarge")
        if asked.method == "PUT" and asked.headers.keys() & {"if-match", "if-none-match"}:
            if self.conditions == "refused":
                return refusal(501, "NotImplemented")
            for name in ("if-match", "if-none-match"):
                asked.headers.pop(name, None)
        if asked.operation == "CompleteMultipartUpload":
            time.sleep(self.complete_after)
        if asked.operation == "ListObjectsV2":
            asked.query.pop("continuation-token", None)
            asked.query["max-keys"] = str(self.listing)
        return None

    def after(self, asked: Asked, answer: Answer) -> Answer:
        if asked.operation == "ListObjectsV2":
            answer.body = re.sub(rb"(<NextContinuationToken>)[^<]*", rb"\1the-same", answer.body)
        return answer


class HuggingFace(Rules):
    """Storage Buckets: a namespace in the address, no metadata, redirects on GET, ListObjectsV2 alone."""

    prefix = "/somebody"

    def __init__(self) -> None:
        self.secrets_at_edge: list[str] = []

    def before(self, asked: Asked) -> Answer | None:
        if asked.path.startswith("/-edge/"):  # not the service, but where it points to
            self.secrets_at_edge += [name for name in asked.headers if name in ("authorization", "cookie")]
            asked.path = asked.path.removeprefix("/-edge")
            return None
        if not asked.path.startswith(f"{self.prefix}/"):
            return refusal(404, "NoSuchBucket")
        asked.path = asked.path.removeprefix(self.prefix)
        for name in [name for name in asked.headers if name.startswith("x-amz-meta-")]:
            del asked.headers[name]
        if asked.operation == "GetObject":
            return Answer(302, headers={"location": f"/-edge{asked.path}?Signature=of-the-edge"})
        if asked.operation == "GET bucket":
            return refusal(501, "NotImplemented")
        return None


class Proxy:
    """A running proxy.

    Attributes:
        url: Endpoint to give to clients.
        asked: Operations that came, in order.
        received: Bytes that came in PutObject and UploadPart, parts cut short included.
        bad_gateways: How many of the next requests are answered by 502.
        failing: Share of requests that fail: by 502, 503, or a connection that is closed.
        failed: How many did.
        slowly: Seconds for each 64 KiB that comes.
        lost: Operations whose next answer is not sent; the service has done it all the same.
        cut: How many of the next GetObject are cut in the middle.
        damaged: How many of the next UploadPart and PutObject have a byte flipped on the way.
        answers: Answers instead of the service's, by operation.
    """

    def __init__(self, upstream: str, rules: Rules, tls: ssl.SSLContext | None = None) -> None:
        self._upstream, self.rules = urlsplit(upstream), rules
        self.asked: list[str] = []
        self.received = self.bad_gateways = self.cut = self.damaged = self.failed = 0
        self.failing = self.slowly = 0.0
        self.lost: list[str] = []
        self.answers: dict[str, Answer] = {}
        self._random, self._lock = random.Random(17), threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client was killed
                    self.close_connection = True

            def log_message(self, *words: Any) -> None:
                pass

            def _do(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _do  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}{rules.prefix}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, operation: str) -> int:
        """How often something was asked."""
        return self.asked.count(operation)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, url.path, query, headers, b"")
        plain = Asked(handler.command, url.path.removeprefix(self.rules.prefix), query, headers, b"")
        operation = plain.operation
        with self._lock:
            self.asked.append(operation)
        asked.body = self._body(handler, operation, int(headers.get("content-length", 0)))
        with self._lock:
            if self.bad_gateways > 0:
                self.bad_gateways -= 1
                answer: Answer | None = Answer(502, b"<html>Bad Gateway</html>")
            elif self._random.random() < self.failing:
                self.failed += 1
                answer = self._random.choice((Answer(502, b"<html/>"), refusal(503, "SlowDown"), Answer(0)))
            else:
                answer = self.answers.get(operation)
            damaged = self.damaged > 0 and operation in ("UploadPart", "PutObject")
            self.damaged -= damaged
        if damaged:  # on the way: whoever checks Content-MD5 sees it, and moto is told nothing of it
            asked.body = bytes([asked.body[0] ^ 1]) + asked.body[1:]
            asked.headers.pop("content-md5", None)
            asked.headers.pop("x-amz-content-sha256", None)
        answer = answer or self.rules.before(asked)
        if answer is None:
            answer = self.rules.after(asked, self._ask(asked))
        with self._lock:
            if operation in self.lost:
                self.lost.remove(operation)
                answer = Answer(0)
            if operation == "GetObject" and self.cut > 0 and answer.status < 300:
                self.cut -= 1
                answer = Answer(
                    answer.status, answer.body[: len(answer.body) // 2], answer.headers, len(answer.body)
                )
        self._say(handler, answer)

    def _body(self, handler: BaseHTTPRequestHandler, operation: str, length: int) -> bytes:
        if handler.headers.get("Expect", "").lower() == "100-continue":
            handler.send_response_only(100)
            handler.end_headers()
        pieces, left = [], length
        while left:
            piece = handler.rfile.read1(min(left, _PIECE))
            if not piece:
                raise ConnectionResetError
            if operation in ("PutObject", "UploadPart"):
                with self._lock:
                    self.received += len(piece)
                time.sleep(self.slowly * len(piece) / _PIECE)
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _ask(self, asked: Asked) -> Answer:
        connection = HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=60)
        try:
            query = f"?{urlencode(asked.query)}" if asked.query else ""
            headers = {name: value for name, value in asked.headers.items() if name not in _HOP}
            connection.request(asked.method, asked.path + query, asked.body or None, headers)
            answer = connection.getresponse()
            said = {name.lower(): value for name, value in answer.getheaders()}
            length = int(said["content-length"]) if asked.method == "HEAD" else None
            kept = {name: value for name, value in said.items() if name not in _HOP}
            return Answer(answer.status, answer.read(), kept, length)
        except (OSError, HTTPException):
            return Answer(502)
        finally:
            connection.close()

    def _say(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.status == 0:
            handler.close_connection = True
            return
        handler.send_response_only(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.status != 204:
            length = len(answer.body) if answer.length is None else answer.length
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(answer.body)
            if answer.length is not None:
                handler.close_connection = True


@contextmanager
def moto_s3(*buckets: str) -> Iterator[str]:
    """Run moto's S3 with some buckets, and yield its address. Parts may be as small as one likes."""
    import boto3
    import moto.s3.models
    from moto.server import ThreadedMotoServer

    smallest, moto.s3.models.S3_UPLOAD_PART_MIN_SIZE = moto.s3.models.S3_UPLOAD_PART_MIN_SIZE, 1
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        for bucket in buckets:
            client.create_bucket(Bucket=bucket)
        client.close()
        yield url
    finally:
        server.stop()
        moto.s3.models.S3_UPLOAD_PART_MIN_SIZE = smallest


@contextmanager
def proxied(upstream: str, rules: Rules | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """Run a proxy in front of a service."""
    proxy = Proxy(upstream, rules or Rules(), tls)
    try:
        yield proxy
    finally:
        proxy.close()


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate of 127.0.0.1 that nobody knows, and return what serves it and its file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate, both = folder / "certificate.pem", folder / "both.pem"
    certificate.write_bytes(made.public_bytes(pem))
    kind, open_ = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    both.write_bytes(key.private_bytes(pem, kind, open_) + certificate.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, certificate


def only_these_credentials(
    setenv: Callable[[str, str], None], delenv: Callable[..., None], home: str
) -> None:
    """Set an environment in which nothing of the user's own configuration is found."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "RUNPOD_"))]:
        delenv(name, raising=False)
    setenv("HOME", home)
    setenv("AWS_CONFIG_FILE", f"{home}/config")
    setenv("AWS_SHARED_CREDENTIALS_FILE", f"{home}/credentials")
    setenv("AWS_EC2_METADATA_DISABLED", "true")
    setenv("AWS_ACCESS_KEY_ID", KEY)
    setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@contextmanager
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a folder of a bucket to the tests of what every place promises."""
    with _bucket(folder, monkeypatch, Rules(), "s3://models", "AWS_ENDPOINT_URL") as here:
        yield here


@contextmanager
def site_of_runpod(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a folder of a volume, behind what RunPod's does not do and the parts that are its largest."""
    monkeypatch.setenv("AWS_REGION", "EU-RO-1")
    rules = RunPod(largest=9 << 20)
    with _bucket(folder, monkeypatch, rules, "runpod:models", "AWS_ENDPOINT_URL_S3") as here:
        yield here


@contextmanager
def site_of_hugging_face(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a folder of a Storage Bucket, which is read from where the service points to."""
    with _bucket(folder, monkeypatch, HuggingFace(), "s3://models", "AWS_ENDPOINT_URL") as here:
        yield here


@contextmanager
def _bucket(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rules: Rules, bucket: str, variable: str
) -> Iterator[Site]:
    import boto3

    own = uuid4().hex  # buckets outlive a server of moto's

    only_these_credentials(monkeypatch.setenv, monkeypatch.delenv, str(folder))
    if isinstance(rules, RunPod):
        monkeypatch.setenv("AWS_REGION", "EU-RO-1")
    with moto_s3("models") as upstream, proxied(upstream, rules) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        client = boto3.client("s3", endpoint_url=upstream, region_name="us-east-1")

        def damage(name: str) -> None:
            key = f"{own}/{name}"
            found = client.get_object(Bucket="models", Key=key)
            data = bytearray(found["Body"].read())
            data[len(data) // 2] ^= 1
            client.put_object(Bucket="models", Key=key, Body=bytes(data), Metadata=found["Metadata"])

        knows = not isinstance(rules, HuggingFace)
        yield Site(f"{bucket}/{own}", f"{bucket}/{own}", damage, received=lambda: proxy.received, knows=knows)
