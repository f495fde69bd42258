"""S3 services, and an environment without the user's own configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from affineur.transfer.places.core import retry

from .s3_server import moto_s3, only_these_credentials

BUCKET = "models"


@pytest.fixture(scope="session", autouse=True)
def _read_once() -> Iterator[None]:
    """Let boto3's sessions share what they read of its descriptions of services: 0.1 s each."""
    import botocore.session
    from botocore.loaders import create_loader

    loaders: dict[str | None, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            botocore.session,
            "create_loader",
            lambda paths=None: loaders.setdefault(paths, create_loader(paths)),
        )
        yield


@pytest.fixture(scope="session")
def s3_upstream() -> Iterator[str]:
    """The address of moto's S3 with one bucket; tests write to folders of their own."""
    with moto_s3(BUCKET) as url:
        yield url


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give credentials by the environment alone, and return the home folder that is looked in."""
    home = tmp_path / "home"
    home.mkdir()
    only_these_credentials(monkeypatch.setenv, monkeypatch.delenv, str(home))
    return home


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `patiently` try again at once."""
    monkeypatch.setattr(retry, "_FIRST", 0.001)
