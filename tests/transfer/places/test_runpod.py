"""Where a network volume of RunPod is asked for. What is done with it is tested in test_s3.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from affineur.errors import ParameterError, TransferError
from affineur.transfer.places.buckets.remote import Bucket
from affineur.transfer.places.core.place import Access, opened

pytestmark = pytest.mark.usefixtures("s3_credentials")
VOLUME = "runpod:a1b2c3d4e5/models/student"


def found(access: Access, reference: str = VOLUME) -> tuple[str, str]:
    """Return the address and the region that requests are signed for."""
    with opened(reference, access) as remote:
        assert isinstance(remote, Bucket)
        client = remote._client.meta
        assert client.config.s3["addressing_style"] == "path"
        assert client.endpoint_url.rstrip("/") == remote.service.endpoint
        assert client.region_name == remote.service.region
        return remote.service.endpoint, remote.service.region


@pytest.mark.parametrize("region", ["EU-RO-1", "eu-ro-1"])
def test_a_data_center_is_an_address_and_a_region_in_capitals(region: str) -> None:
    assert found(Access(region=region)) == ("https://s3api-eu-ro-1.runpod.io", "EU-RO-1")


def test_the_data_center_comes_from_the_usual_places(
    monkeypatch: pytest.MonkeyPatch, s3_credentials: Path
) -> None:
    with pytest.raises(TransferError) as caught:
        found(Access())
    for each in ("region", "AWS_REGION", "profile 'default'", "RUNPOD_DC_ID", "EUR-IS-1"):
        assert each in str(caught.value)
    monkeypatch.setenv("RUNPOD_DC_ID", "US-KS-2")
    assert found(Access())[1] == "US-KS-2"
    (s3_credentials / "config").write_text("[default]\nregion=us-east-1\n[profile pod]\nregion = EUR-IS-1\n")
    (s3_credentials / "credentials").write_text(
        "[pod]\naws_access_key_id=user_1\naws_secret_access_key=rps_1\n"
    )
    assert found(Access())[1] == "US-KS-2"  # a region of Amazon says nothing here
    assert found(Access(profile="pod")) == ("https://s3api-eur-is-1.runpod.io", "EUR-IS-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-ca-2")
    assert found(Access()) == ("https://s3api-us-ca-2.runpod.io", "US-CA-2")


def test_an_address_says_the_data_center(monkeypatch: pytest.MonkeyPatch, s3_credentials: Path) -> None:
    address = "https://s3api-us-ks-2.runpod.io"
    assert found(Access(endpoint=f"{address}/")) == (address, "US-KS-2")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, address)
        assert found(Access()) == (address, "US-KS-2")
        assert found(Access(region="EU-CZ-1"))[0] == "https://s3api-eu-cz-1.runpod.io"
        monkeypatch.delenv(name)
    for text in (
        f"[default]\nendpoint_url={address}\n",
        f"[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = {address}\n",
    ):
        (s3_credentials / "config").write_text(text)
        assert found(Access()) == (address, "US-KS-2")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert found(Access(region="EU-CZ-1"))[0] == "https://s3api-eu-cz-1.runpod.io"


def test_a_proxy_of_ones_own_needs_no_data_center() -> None:
    assert found(Access(endpoint="http://127.0.0.1:9"))[0] == "http://127.0.0.1:9"
    assert found(Access(endpoint="http://127.0.0.1:9", region="eu-cz-1"))[1] == "EU-CZ-1"


def test_a_region_of_amazon_is_none() -> None:
    with pytest.raises(ParameterError, match="region='us-east-1' is no data center of RunPod") as caught:
        found(Access(region="us-east-1"))
    assert caught.value.parameter == "region"


def test_without_credentials_it_says_where_runpod_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(TransferError, match=r"no credentials, looked in .*'S3 API Keys'.*not the RunPod"):
        found(Access(region="EU-RO-1"))


@pytest.mark.parametrize("reference", ["runpod:", "runpod:/x", "runpod://volume/x", "runpod:v/.."])
def test_a_reference_must_be_complete(reference: str) -> None:
    with pytest.raises(TransferError, match="expected runpod:VOLUME/FOLDER"):
        opened(reference, Access(region="EU-RO-1"))
