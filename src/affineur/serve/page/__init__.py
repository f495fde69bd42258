"""The page at ``/ui``: a few static files that ask the endpoint as any browser may."""

from __future__ import annotations

from importlib import resources

from fastapi.responses import RedirectResponse, Response
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from affineur.serve.operations import INFO
from affineur.serve.protocols.huggingface import PREDICT

ROOT, PAGE = "/", "/ui"
#: Paths that begin so are the page's files; like the page they hold nothing of anybody's.
UNDER = f"{PAGE}/"

_FILES = {
    PAGE: ("index.html", "text/html"),
    f"{PAGE}/page.css": ("page.css", "text/css"),
    f"{PAGE}/page.js": ("page.js", "text/javascript"),
    f"{PAGE}/icon.svg": ("icon.svg", "image/svg+xml"),
}
#: What stands in the page for the paths that it asks, without their slash: it also works behind a proxy that
#: adds a prefix.
_ASKED = {b"{{predict}}": PREDICT, b"{{info}}": INFO}
_STRICT = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_files() -> dict[str, tuple[bytes, str]]:
    """Return content and media type of each file of the page, by its path."""
    folder = resources.files("affineur.serve.page")
    found = {}
    for path, (name, kind) in _FILES.items():
        content = (folder / name).read_bytes()
        for mark, asked in _ASKED.items():
            content = content.replace(mark, asked.removeprefix("/").encode())
        found[path] = (content, kind)
    return found


def page_routes() -> list[BaseRoute]:
    """Return the routes of the page, and of the root, which leads a browser to it."""

    async def to_page(_: Request) -> Response:
        return RedirectResponse(PAGE.removeprefix("/"))

    return [
        Route(ROOT, to_page, methods=["GET"]),
        *(_route(path, content, kind) for path, (content, kind) in page_files().items()),
    ]


def _route(path: str, content: bytes, kind: str) -> Route:
    async def show(_: Request) -> Response:
        return Response(content, media_type=kind, headers=_STRICT)

    return Route(path, show, methods=["GET"])
