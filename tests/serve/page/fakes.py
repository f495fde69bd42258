"""A small server that speaks our wire format, for the page to stand in front of."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from affineur.serve.page import page_files

FILES = page_files()
KNOWN = {
    "Inès": ("PER", 0.97),
    "Aurélie Pontcarré": ("PER", 0.9999),
    "Marseille": ("LOC", 0.99),
    "SNCF": ("ORG", 0.55),
    "Nice": ("LOC", 0.42),
}
#: A text with everything that makes offsets go wrong.
EMOJI = "🎉 Avec Inès et 👩‍🍳 Aurélie Pontcarré, de Marseille 𝔸 à la SNCF, puis Nice."
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


def handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
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
                self.answer(401, b'{"error":"no valid key","error_type":"Unauthorized"}')
                return True
            return False

        def do_GET(self) -> None:
            if self.path in FILES:
                self.answer(200, *FILES[self.path])
            elif self.path == "/info":
                if not self.refused():
                    self.answer(200, json.dumps(fake.info()).encode())
            else:
                self.answer(404, b'{"error":"no such page","error_type":"NotFound"}')

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
