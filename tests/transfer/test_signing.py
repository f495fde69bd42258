"""Who signed an artifact is told, and any file that is not what was signed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from affineur.artifact import CARD, MANIFEST, SIGNATURE, Manifest, verify, write_manifest
from affineur.errors import ModelError, ParameterError
from affineur.transfer import signing as module
from affineur.transfer.signing import check_signature, read_signature, sign
from keys import write_certificate, write_key

from .conftest import build_model

Change = Callable[[Path], Any]


@pytest.fixture(autouse=True)
def _no_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (module.PASSPHRASE, module.PASSPHRASE_FILE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = build_model(tmp_path / "model")
    (folder / CARD).write_text("a card", "utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "é.txt").write_text("é", "utf-8")
    write_manifest(folder, Manifest("transformers", "test"))
    (folder / ".gitattributes").touch()
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    write_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


class Issued(NamedTuple):
    key: Path
    certificate: Path
    chain: Path
    root: Path


def issue(folder: Path, **options: Any) -> Issued:
    folder.mkdir()
    made = Issued(*(folder / f"{name}.pem" for name in Issued._fields))
    root = write_certificate(made.root, "Root", ec.generate_private_key(ec.SECP384R1()), authority=True)
    middle = write_certificate(
        made.chain, "Middle", ec.generate_private_key(ec.SECP256R1()), root, authority=True
    )
    write_certificate(made.certificate, "Signer", write_key(made.key), middle, **options)
    return made


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return issue(tmp_path / "issued")


def said(call: Callable[[], object], error: type[Exception] = ModelError) -> str:
    with pytest.raises(error) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_key_signs_and_its_public_half_checks(curve: Any, artifact: Path, tmp_path: Path) -> None:
    write_key(tmp_path / "k.pem", ec.generate_private_key(curve))
    before = (artifact / MANIFEST).read_bytes()
    assert sign(artifact, tmp_path / "k.pem") == artifact / SIGNATURE
    found = read_signature(artifact)
    assert found is not None
    assert (
        check_signature(artifact, tmp_path / "k.pub")
        == found.by
        == f"the key {found.key_digest[:16]} (sha256)"
    )
    assert sorted(found.files) == [
        MANIFEST,
        "config.json",
        "model.safetensors",
        "sub/é.txt",
        "tokenizer.json",
    ]
    assert (artifact / MANIFEST).read_bytes() == before
    assert verify(artifact) is not None


def test_a_folder_may_be_named_otherwise_and_signed_again(artifact: Path, key: Path, tmp_path: Path) -> None:
    sign(artifact, key)
    moved = artifact.rename(tmp_path / "other")
    check_signature(moved, key.with_suffix(".pub"))
    write_key(tmp_path / "new.pem")
    sign(moved, tmp_path / "new.pem")
    check_signature(moved, tmp_path / "new.pub")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / CARD).write_text("edited on the Hub"),
        lambda folder: (folder / CARD).unlink(),
        lambda folder: (folder / ".gitattributes").write_text("*.bin filter=lfs"),
        lambda folder: (folder / ".cache").mkdir() or (folder / ".cache" / "x").touch(),
    ],
)
def test_what_others_may_change(change: Change, artifact: Path, key: Path) -> None:
    sign(artifact, key)
    change(artifact)
    check_signature(artifact, key.with_suffix(".pub"))


def _flip(folder: Path, name: str = "model.safetensors") -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)


def _another_manifest(folder: Path) -> None:
    raw = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(json.dumps(raw | {"stage": "other"}), "utf-8")


def _link_out(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "config.json")
    (folder / "config.json").symlink_to(folder.parent / "config.json")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_flip, "model.safetensors differs"),
        (lambda folder: (folder / "sub" / "é.txt").unlink(), "sub/é.txt is missing"),
        (
            lambda folder: (folder / "pytorch_model.bin").touch(),
            "pytorch_model.bin is there and is not listed",
        ),
        (lambda folder: (folder / "sbom.json").touch(), "sbom.json is there and is not listed"),
        (
            lambda folder: (folder / "config.json").replace(folder / "tokenizer.json"),
            "config.json is missing",
        ),
        (_another_manifest, "affineur.json differs"),
        (_link_out, "config.json is a link out of the folder"),
    ],
)
def test_a_file_that_is_not_what_was_signed(change: Change, what: str, artifact: Path, key: Path) -> None:
    sign(artifact, key)
    change(artifact)
    line = said(lambda: check_signature(artifact, key.with_suffix(".pub")))
    assert "is not what the key " in line
    assert what in line


def test_every_file_that_differs_is_named(artifact: Path, key: Path) -> None:
    sign(artifact, key)
    for name in ("config.json", "model.safetensors"):
        _flip(artifact, name)
    line = said(lambda: check_signature(artifact, key.with_suffix(".pub")))
    assert line.endswith("config.json differs, model.safetensors differs")


def test_a_bill_of_materials_is_signed_too(artifact: Path, key: Path) -> None:
    (artifact / "sbom.json").write_text("{}")
    sign(artifact, key)
    check_signature(artifact, key.with_suffix(".pub"))
    (artifact / "sbom.json").write_text("{ }")
    assert "sbom.json differs" in said(lambda: check_signature(artifact, key.with_suffix(".pub")))


def test_another_key(artifact: Path, key: Path, tmp_path: Path) -> None:
    sign(artifact, key)
    write_key(tmp_path / "other.pem")
    line = said(lambda: check_signature(artifact, tmp_path / "other.pub"))
    assert f"{artifact / SIGNATURE} was made with another key (" in line
    assert f"expected that of {tmp_path / 'other.pub'} (" in line


def _edit_payload(folder: Path) -> None:
    """Put the digests right after a file was changed, without the key."""
    bundle = json.loads((folder / SIGNATURE).read_text("utf-8"))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(
        payload.replace(b"config.json", b"config.jsom")
    ).decode()
    (folder / SIGNATURE).write_text(json.dumps(bundle), "utf-8")


def _borrow_hint(folder: Path) -> None:
    """Claim to be made with the expected key, and be made with another."""
    right = json.loads((folder / SIGNATURE).read_text("utf-8"))
    write_key(folder.parent / "evil.pem")
    sign(folder, folder.parent / "evil.pem")
    wrong = json.loads((folder / SIGNATURE).read_text("utf-8"))
    wrong["verificationMaterial"] = right["verificationMaterial"]
    (folder / SIGNATURE).write_text(json.dumps(wrong), "utf-8")


@pytest.mark.parametrize("change", [_edit_payload, _borrow_hint])
def test_a_forged_signature(change: Change, artifact: Path, key: Path) -> None:
    sign(artifact, key)
    change(artifact)
    line = said(lambda: check_signature(artifact, key.with_suffix(".pub")))
    assert line == f"{artifact / SIGNATURE} was changed, or another key made it: the signature does not hold"


def test_a_signature_of_another_artifact(artifact: Path, key: Path, tmp_path: Path) -> None:
    other = build_model(tmp_path / "other")
    write_manifest(other, Manifest("transformers", "other"))
    sign(other, key)
    shutil.copy(other / SIGNATURE, artifact / SIGNATURE)
    assert "affineur.json differs" in said(lambda: check_signature(artifact, key.with_suffix(".pub")))


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})


@pytest.mark.parametrize("by", ["key", "certificate"])
def test_no_change_of_a_signature_passes_or_is_a_traceback(by: str, artifact: Path, issued: Issued) -> None:
    """Whatever somebody puts in place of a part of it is one line, or changes nothing that counts."""
    more = {} if by == "key" else {"certificate": issued.certificate, "chain": [issued.chain]}
    sign(artifact, issued.key, **more)
    whole = (artifact / SIGNATURE).read_text("utf-8")

    def check() -> None:
        if by == "key":
            check_signature(artifact, issued.key.with_suffix(".pub"))
        else:
            check_signature(artifact, certificates=[issued.root])

    def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        inner: Any = value.items() if isinstance(value, dict) else ()
        if isinstance(value, list):
            inner = enumerate(value)
        return [path, *(found for key, one in inner for found in places(one, (*path, key)))]

    @settings(max_examples=60)
    @given(data=st.data())
    def falsified(data: st.DataObject) -> None:
        bundle = json.loads(whole)
        payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        inside = data.draw(st.booleans())
        tree = payload if inside else bundle
        *path, last = data.draw(st.sampled_from(places(tree)[1:]))
        holder = tree
        for step in path:
            holder = holder[step]
        before, holder[last] = holder[last], data.draw(VALUES)
        if inside:
            bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
        (artifact / SIGNATURE).write_text(json.dumps(bundle), "utf-8")
        try:
            check()
        except ModelError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
        else:
            # a list of entries in a log, and who is said to have signed: neither is looked at
            assert not inside
            assert last in ("tlogEntries", "keyid", "timestampVerificationData") or before == holder[last]

    falsified()


def test_no_signature_where_one_is_asked_for(artifact: Path, key: Path) -> None:
    line = said(lambda: check_signature(artifact, key.with_suffix(".pub")))
    assert line.startswith(f"{artifact} is not signed (it has no model.sig), and a signature was asked for")
    assert read_signature(artifact) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", "\x00", '{"verificationMaterial": {}, "dsseEnvelope": 3}']
)
def test_a_signature_that_is_none(text: str, artifact: Path, key: Path) -> None:
    (artifact / SIGNATURE).write_text(text)
    line = said(lambda: check_signature(artifact, key.with_suffix(".pub")))
    assert f"{artifact / SIGNATURE} is not a signature of OpenSSF model signing" in line


def test_either_a_key_or_certificates(artifact: Path, key: Path) -> None:
    assert "neither key nor certificates given" in said(lambda: check_signature(artifact), ParameterError)
    both = said(lambda: check_signature(artifact, key, certificates=[key]), ParameterError)
    assert "key and certificates given" in both


# ---- keys that cannot be used ----


def test_a_passphrase(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key(tmp_path / "k.pem", phrase="très secret")
    line = said(lambda: sign(artifact, tmp_path / "k.pem"), ParameterError)
    assert f"key='{tmp_path / 'k.pem'}' has a passphrase; set AFFINEUR_KEY_PASSPHRASE" in line
    monkeypatch.setenv(module.PASSPHRASE, "hunter2-wrong")
    line = said(lambda: sign(artifact, tmp_path / "k.pem"), ParameterError)
    assert "could not be opened with that passphrase" in line
    assert "hunter2" not in line
    assert not (artifact / SIGNATURE).exists()
    monkeypatch.setenv(module.PASSPHRASE, "très secret")
    sign(artifact, tmp_path / "k.pem")
    monkeypatch.delenv(module.PASSPHRASE)
    (tmp_path / "phrase").write_text("très secret\n", "utf-8")
    monkeypatch.setenv(module.PASSPHRASE_FILE, str(tmp_path / "phrase"))
    sign(artifact, tmp_path / "k.pem")
    check_signature(artifact, tmp_path / "k.pub")
    monkeypatch.setenv(module.PASSPHRASE_FILE, str(tmp_path / "nowhere"))
    assert "nowhere, which cannot be read" in said(lambda: sign(artifact, tmp_path / "k.pem"), ParameterError)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "is of another kind"),
        (ed25519.Ed25519PrivateKey.generate, "is of another kind"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "is on the curve secp256k1"),
    ],
)
def test_keys_of_another_kind(
    make: Callable[[], Any], what: str, artifact: Path, key: Path, tmp_path: Path
) -> None:
    write_key(tmp_path / "k.pem", make())
    expected = f"{what}.*expected an elliptic curve key \\(P-256, P-384, P-521\\)"
    with pytest.raises(ParameterError, match=expected):
        sign(artifact, tmp_path / "k.pem")
    sign(artifact, key)
    with pytest.raises(ParameterError, match=expected):
        check_signature(artifact, tmp_path / "k.pub")


def test_files_that_are_no_keys(artifact: Path, key: Path, issued: Issued, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    public = key.with_suffix(".pub")
    for file, what in (
        (tmp_path / "text", "is no private key in PEM"),
        (public, "is a public key, expected the private one"),
        (tmp_path / "nowhere", "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (Is a directory)"),
    ):
        assert f"key='{file}' {what}" in said(lambda file=file: sign(artifact, file), ParameterError)
    sign(artifact, key)
    for file, what in (
        (tmp_path / "text", "is no public key in PEM"),
        (key, f"is a private key, expected its public half; type: openssl pkey -in '{key}' -pubout"),
        (issued.root, "is a certificate, expected a public key"),
        (tmp_path / "nowhere", "cannot be read (No such file or directory)"),
    ):
        line = said(lambda file=file: check_signature(artifact, file), ParameterError)
        assert f"key='{file}' {what}" in line


# ---- what is not signed ----


def test_what_is_not_an_artifact_or_not_as_it_was_written(artifact: Path, key: Path, tmp_path: Path) -> None:
    assert "has no affineur.json" in said(lambda: sign(build_model(tmp_path / "plain"), key))
    (artifact / "notes.txt").touch()
    line = said(lambda: sign(artifact, key))
    assert "holds files that affineur.json does not list (notes.txt); move them away" in line
    (artifact / "notes.txt").unlink()
    _flip(artifact)
    assert "model.safetensors is not the file that was written" in said(lambda: sign(artifact, key))
    assert not (artifact / SIGNATURE).exists()


# ---- certificates ----


def test_a_certificate_signs_and_its_root_checks(artifact: Path, issued: Issued) -> None:
    sign(artifact, issued.key, certificate=issued.certificate, chain=[issued.chain])
    by = check_signature(artifact, certificates=[issued.root])
    assert by.startswith("CN=Signer, issued by CN=Middle (")
    _flip(artifact)
    line = said(lambda: check_signature(artifact, certificates=[issued.root]))
    assert "is not what CN=Signer, issued by CN=Middle" in line
    assert line.endswith("model.safetensors differs")


def test_a_locked_key_with_a_certificate(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root.pem"
    write_certificate(root, "Alone", write_key(tmp_path / "k.pem", phrase="secret"))
    monkeypatch.setenv(module.PASSPHRASE, "secret")
    sign(artifact, tmp_path / "k.pem", certificate=root)
    assert check_signature(artifact, certificates=[root]).startswith("CN=Alone, issued by CN=Alone")


def test_a_root_of_others(artifact: Path, issued: Issued, tmp_path: Path) -> None:
    sign(artifact, issued.key, certificate=issued.certificate, chain=[issued.chain])
    other = issue(tmp_path / "other")
    line = said(lambda: check_signature(artifact, certificates=[other.root]))
    assert "was made by CN=Signer, issued by CN=Middle" in line
    assert "behind whom none of the certificates stands" in line


def test_a_chain_with_a_gap(artifact: Path, issued: Issued) -> None:
    sign(artifact, issued.key, certificate=issued.certificate)
    assert "none of the certificates stands" in said(
        lambda: check_signature(artifact, certificates=[issued.root])
    )


def test_keys_and_certificates_are_not_mixed(artifact: Path, issued: Issued, key: Path) -> None:
    sign(artifact, key)
    line = said(lambda: check_signature(artifact, certificates=[issued.root]))
    assert "was made with the key" in line
    assert line.endswith("not with a certificate; give key")
    sign(artifact, issued.key, certificate=issued.certificate, chain=[issued.chain])
    line = said(lambda: check_signature(artifact, issued.key.with_suffix(".pub")))
    assert line.endswith("give certificates")


def test_certificates_that_nobody_would_accept(
    artifact: Path, issued: Issued, key: Path, tmp_path: Path
) -> None:
    def refused(made: Issued, **more: Any) -> str:
        options = {"certificate": made.certificate} | more
        return said(lambda: sign(artifact, made.key, **options), ParameterError)

    assert "is not for signing" in refused(issue(tmp_path / "other use", signing=False))
    assert " only" in refused(issue(tmp_path / "expired", days=(-9, -1)))
    assert "is of another key" in refused(issued._replace(key=key))
    assert "chain has no certificate that issued" in refused(issued, chain=[issued.root])
    assert "chain was given without a certificate" in refused(issued, certificate=None, chain=[issued.root])
    assert "is no certificate in PEM" in refused(issued, certificate=key)
    assert not (artifact / SIGNATURE).exists()
    sign(artifact, issued.key, certificate=issued.certificate)
    line = said(lambda: check_signature(artifact, certificates=[key]), ParameterError)
    assert f"certificates='{key}' is no certificate in PEM" in line


# ---- other tools ----


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, words)], capture_output=True, text=True, timeout=60
    )


def test_the_librarys_own_command_reads_ours_and_we_read_its(artifact: Path, key: Path) -> None:
    public = key.with_suffix(".pub")
    sign(artifact, key)
    (artifact / CARD).write_text("edited")
    words = ("verify", "key", artifact, "--signature", artifact / SIGNATURE, "--public_key", public)
    assert tool(*words).returncode == 0
    assert (
        tool("sign", "key", artifact, "--signature", artifact / SIGNATURE, "--private_key", key).returncode
        == 0
    )
    check_signature(artifact, public)
    (artifact / CARD).write_text("this one signs the card too")
    assert f"{CARD} differs" in said(lambda: check_signature(artifact, public))


@pytest.mark.parametrize("way", ["shards", "blake2"])
def test_digests_taken_in_other_ways(way: str, artifact: Path, key: Path) -> None:
    from model_signing import hashing, signing

    hashed = hashing.Config()
    if way == "shards":
        hashed.use_shard_serialization(shard_size=100)
    else:
        hashed.use_file_serialization(hashing_algorithm="blake2")
    hashed.set_ignored_paths(paths=[SIGNATURE])
    config = signing.Config().set_hashing_config(hashed).use_elliptic_key_signer(private_key=key)
    config.sign(artifact, artifact / SIGNATURE)
    check_signature(artifact, key.with_suffix(".pub"))
    _flip(artifact)
    assert "model.safetensors" in said(lambda: check_signature(artifact, key.with_suffix(".pub")))


def test_the_key_is_in_no_file_and_no_message(artifact: Path, key: Path) -> None:
    secret = "".join(key.read_text().splitlines()[1:-1])
    sign(artifact, key)
    for place, _, files in os.walk(artifact):
        for name in files:
            assert secret[8:40].encode() not in (Path(place) / name).read_bytes()
