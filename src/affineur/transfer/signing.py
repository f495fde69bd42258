"""Signing an artifact, and checking who signed it: OpenSSF model signing, with keys and certificates.

The signature, ``model.sig``, covers ``affineur.json``, every file that this lists, and the bill of materials
where there is one. It does not cover what others may change without changing the model: the card, which
people edit on the Hub, and hidden files (``.gitattributes``). Any other file that is there must be signed.
``model_signing verify`` reads it too. Keyless signing (sigstore) needs the internet and is left to that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from affineur.artifact import (
    BILL,
    CARD,
    MANIFEST,
    SIGNATURE,
    State,
    file_digest,
    inside,
    present,
    safe_names,
    unlisted,
    verify,
    write_text,
)
from affineur.artifact.reading import parse_json, read_json, read_within
from affineur.errors import AffineurError, ModelError, ParameterError, one_line
from affineur.transfer.hub import need

#: Where the passphrase of a private key is read from: itself, or a file that holds it.
PASSPHRASE = "AFFINEUR_KEY_PASSPHRASE"
PASSPHRASE_FILE = "AFFINEUR_KEY_PASSPHRASE_FILE"

#: What verifiers are told to leave aside, beside what git keeps in a folder.
_ASIDE = (CARD, SIGNATURE, ".cache", ".eval_results")
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_EXPECTED = f"expected an elliptic curve key ({', '.join(_CURVES.values())})"
_SHOWN = 16  # digits of a digest
_MOST_KEY = 1 << 20  # bytes of a key, a passphrase or certificates
_LONGEST = 32 << 20  # bytes of a signature, which names each file once


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature says; whether it holds, :func:`check_signature` finds out.

    Args:
        kind: ``key``, ``certificate`` or ``sigstore``.
        by: What signed it, in words.
        files: Signed digests, by name of file; empty where it holds others than sha256 of whole files.
        names: Names of the signed files, or parts of files.
        serialization: How the digests were taken.
        key_digest: sha256 of the public key, where a key signed.
    """

    kind: str
    by: str
    files: dict[str, str]
    names: tuple[str, ...]
    serialization: dict[str, Any]
    key_digest: str = ""

    def faults(self, folder: Path) -> dict[str, State]:
        """Compare a folder with the digests: what is not as signed, by name; another's key is no fault here.

        Args:
            folder: The artifact.

        Raises:
            ModelError: If a signed name is not safe.
        """
        found: dict[str, State] = {}
        for name in safe_names(self.files, str(folder / SIGNATURE)):
            path = folder / name
            if not inside(folder, name):
                found[name] = State.ELSEWHERE
            elif not path.is_file():
                found[name] = State.MISSING
            elif file_digest(path) != self.files[name]:
                found[name] = State.DIFFERS
        for name in present(folder):
            if name not in self.files and name not in (CARD, SIGNATURE):
                found[name] = State.UNLISTED
        return found


def sign(
    folder: Path | str,
    key: Path | str,
    *,
    certificate: Path | str | None = None,
    chain: Sequence[Path | str] = (),
) -> Path:
    """Sign an artifact, and write ``model.sig`` beside its files.

    The passphrase of an encrypted key is read from the environment variable ``AFFINEUR_KEY_PASSPHRASE``, or
    from the file that ``AFFINEUR_KEY_PASSPHRASE_FILE`` names.

    Args:
        folder: The artifact; every file must be as its manifest says.
        key: A PEM file with a private key on the curve P-256, P-384 or P-521.
        certificate: A PEM file with a certificate of that key, by which others know whose it is.
        chain: PEM files with the certificates between that one and a root that others trust.

    Returns:
        The signature.

    Raises:
        ModelError: If the folder is no artifact, a file differs from its manifest or is not listed.
        ParameterError: If the key, its passphrase or a certificate cannot be used.
        MissingExtraError: If the library is not installed.
    """
    folder = Path(folder)
    need("model_signing", "signing a model")
    pem = _private_key(Path(key))
    given = None if certificate is None else _certificates([certificate], "certificate")[0]
    between = _certificates(chain, "chain")
    if given is None and between:
        raise ParameterError(
            "chain was given without a certificate; give the certificate it belongs to", "chain"
        )
    if given is not None:
        _check_certificate(given, between, pem, Path(str(certificate)))
    names = _covered(folder)

    from model_signing import signing

    config = signing.Config().set_hashing_config(_hashing(folder, names))
    with tempfile.TemporaryDirectory() as work, _readable(pem) as readable:
        if certificate is None:
            config.use_elliptic_key_signer(private_key=readable)
        else:
            config.use_certificate_signer(
                private_key=readable,
                signing_certificate=certificate,
                certificate_chain=list(chain) or [certificate],  # it cannot read a chain of none
            )
        made = Path(work) / SIGNATURE
        config.sign(folder, made)
        write_text(folder / SIGNATURE, made.read_text("utf-8"))
    return folder / SIGNATURE


def check_signature(
    folder: Path | str, key: Path | str | None = None, *, certificates: Sequence[Path | str] = ()
) -> str:
    """Check that an artifact is what was signed, and who signed it.

    Args:
        folder: The artifact.
        key: A PEM file with the public key that must have signed it.
        certificates: PEM files with the root certificates, one of which must stand behind who signed it. As
            the signature holds no trusted time, a certificate that has expired since still counts.

    Returns:
        What signed it, in words.

    Raises:
        ModelError: If it is not signed, or by another key, or a file is not what was signed.
        ParameterError: If neither the key nor certificates are given, or both, or they cannot be read.
        MissingExtraError: If the library is not installed.
    """
    folder = Path(folder)
    if (key is None) == (not certificates):
        found = "neither key nor certificates" if key is None else "key and certificates"
        raise ParameterError(f"{found} given, expected one of them to check a signature with", "key")
    need("model_signing", "checking a signature")
    from model_signing import verifying

    config = verifying.Config()
    wanted = "certificate" if key is None else "key"
    digest = "" if key is None else _public_digest(Path(key))
    _certificates(certificates, "certificates")
    said = read_signature(folder)
    if said is None:
        raise ModelError(
            f"{folder} is not signed (it has no {SIGNATURE}), and a signature was asked for; "
            "have whoever made it sign it"
        )
    if said.kind != wanted:
        _refuse_kind(folder, said)
    if key is not None:
        if said.key_digest != digest:
            raise ModelError(
                f"{folder / SIGNATURE} was made with another key ({said.key_digest[:_SHOWN]}, sha256), "
                f"expected that of {key} ({digest[:_SHOWN]})"
            )
        config.use_elliptic_key_verifier(public_key=key)
    else:
        config.use_certificate_verifier(certificate_chain=[Path(each) for each in certificates])
    _check(folder, said, config)
    return said.by


def read_signature(folder: Path) -> Signature | None:
    """Read what the signature of a folder says, without checking it; ``None`` where there is none.

    Raises:
        ModelError: If it cannot be read.
    """
    path = folder / SIGNATURE
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST} bytes")
        bundle = read_json(path)
        material = bundle["verificationMaterial"]
        statement = parse_json(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
        predicate = statement["predicate"]
        taken = dict(predicate["serialization"])
        digests = {str(each["name"]): str(each["digest"]) for each in predicate["resources"]}
        plain = taken.get("method") == "files" and taken.get("hash_type") == "sha256"
        files, names = (digests if plain else {}), tuple(digests)
        if isinstance(known := material.get("publicKey"), dict):
            hint = str(known.get("hint") or "")
            return Signature("key", f"the key {hint[:_SHOWN]} (sha256)", files, names, taken, hint)
        if isinstance(line := material.get("x509CertificateChain"), dict):
            raw = base64.b64decode(line["certificates"][0]["rawBytes"], validate=True)
            return Signature("certificate", _holder(raw), files, names, taken)
        return Signature("sigstore", "sigstore", files, names, taken)
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        binascii.Error,
        OSError,
    ) as error:
        raise ModelError(
            f"{path} is not a signature of OpenSSF model signing ({one_line(error)}); sign the model again"
        ) from None


def faulty(faults: dict[str, State]) -> str:
    """Say in words which files are not as they were signed or written."""
    words = {
        State.ELSEWHERE: "is a link out of the folder",
        State.MISSING: "is missing",
        State.DIFFERS: "differs",
        State.UNLISTED: "is there and is not listed",
    }
    return ", ".join(f"{name} {words[state]}" for name, state in faults.items())


def _check(folder: Path, said: Signature, config: Any) -> None:
    """Let the library check a signature: first who made it, then what it is of."""
    from cryptography.exceptions import InvalidSignature
    from OpenSSL.crypto import X509StoreContextError

    try:
        config.set_hashing_config(_hashing(folder, None, said))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of certificates that do not say what they are for
            config.verify(folder, folder / SIGNATURE)
    except InvalidSignature:
        raise ModelError(
            f"{folder / SIGNATURE} was changed, or another key made it: the signature does not hold"
        ) from None
    except X509StoreContextError as error:
        raise ModelError(
            f"{folder / SIGNATURE} was made by {said.by}, behind whom none of the certificates stands "
            f"({one_line(error)})"
        ) from None
    except AffineurError:
        raise
    except Exception as error:  # of a file that anybody may have written the library says anything
        raise ModelError(f"{folder / SIGNATURE} does not hold ({one_line(error)})") from None


def _hashing(folder: Path, names: Sequence[str] | None, said: Signature | None = None) -> Any:
    """Make what takes the digests: of the covered files where we sign, of the signed ones where we check.

    The library asks for digests once it knows that the signature is genuine: then, and not before, it is said
    which file differs.
    """
    from model_signing import hashing

    class Covered(hashing.Config):
        def hash(self, model_path: Any, *, files_to_hash: Any = None) -> Any:
            if said is not None and said.files and (faults := said.faults(folder)):
                raise ModelError(f"{folder} is not what {said.by} signed: {faulty(faults)}")
            chosen = said.files if said is not None else names
            return super().hash(model_path, files_to_hash=[folder / name for name in chosen or ()] or None)

    config: Any = Covered()  # type: ignore[no-untyped-call]
    config.set_allow_symlinks(True)  # where they lead is checked, see `inside`
    taken = said.serialization if said else {}
    # Two names for one: the library writes blake2b and reads blake2.
    method = "blake2" if (found := taken.get("hash_type")) == "blake2b" else found
    if taken.get("method") == "shards":
        config.use_shard_serialization(
            # JSON of protocol buffers has no integers
            hashing_algorithm=method,
            shard_size=int(taken["shard_size"]),
            allow_symlinks=True,
        )
    elif said:
        config.use_file_serialization(hashing_algorithm=method, allow_symlinks=True)
    signed = {name.split(":")[0] for name in said.names} if said else set()  # a part is name:start:stop
    config.set_ignored_paths(
        paths=[name for name in _ASIDE if name not in signed], ignore_git_paths=not (said and said.files)
    )
    return config


def _covered(folder: Path) -> list[str]:
    """Name what is signed, once it is what the manifest says.

    Raises:
        ModelError: If it is not.
    """
    manifest = verify(folder)
    if manifest is None:
        raise ModelError(
            f"{folder} has no {MANIFEST}, and only what Affineur made is signed; pull or make it first"
        )
    if (folder / MANIFEST).is_symlink():
        raise ModelError(f"{folder} lies in the Hub's cache, which is not ours to change; sign a copy of it")
    if more := unlisted(folder, manifest):
        shown = ", ".join(more[:3]) + (", …" if len(more) > 3 else "")
        raise ModelError(
            f"{folder} holds files that {MANIFEST} does not list ({shown}); move them away and sign again"
        )
    names = {name for name in manifest.files if name != CARD} | {MANIFEST}
    return sorted(names | ({BILL} if (folder / BILL).is_file() else set()))


# ---- keys and certificates ----


def _private_key(path: Path) -> bytes:
    """Read a private key, decrypted, as PEM; the messages say nothing of its content."""
    from cryptography.hazmat.primitives import serialization

    data = _read(path, "key")
    phrase = _passphrase(path) if b"ENCRYPTED" in data else None
    try:
        loaded = serialization.load_pem_private_key(data, phrase)
    except (ValueError, TypeError):
        what = "could not be opened with that passphrase" if phrase else "is no private key in PEM"
        if b"PUBLIC KEY" in data:
            what = "is a public key, expected the private one"
        raise ParameterError(f"key='{path}' {what}", "key") from None
    except Exception as error:  # algorithms that the library does not have
        raise ParameterError(
            f"key='{path}' cannot be used ({type(error).__name__}); {_EXPECTED}", "key"
        ) from None
    _check_curve(loaded, path)
    return loaded.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _passphrase(path: Path) -> bytes:
    if phrase := os.environ.get(PASSPHRASE):
        return phrase.encode()
    if file := os.environ.get(PASSPHRASE_FILE):
        try:
            return read_within(Path(file), _MOST_KEY).rstrip(b"\r\n")
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or one_line(error)
            raise ParameterError(f"{PASSPHRASE_FILE} names {file}, which cannot be read ({said})") from None
    raise ParameterError(
        f"key='{path}' has a passphrase; set {PASSPHRASE}, or {PASSPHRASE_FILE} to a file that holds it",
        "key",
    )


def _public_digest(path: Path) -> str:
    """Return the digest of a public key as signatures carry it."""
    from cryptography.hazmat.primitives import serialization

    data = _read(path, "key")
    try:
        loaded = serialization.load_pem_public_key(data)
    except Exception as error:
        what = f"is no public key in PEM ({one_line(error, 80)})"
        if b"PRIVATE KEY" in data:
            what = f"is a private key, expected its public half; type: openssl pkey -in '{path}' -pubout"
        elif b"CERTIFICATE" in data:
            what = "is a certificate, expected a public key; certificates are given as certificates"
        raise ParameterError(f"key='{path}' {what}", "key") from None
    _check_curve(loaded, path)
    pem = loaded.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _check_curve(loaded: Any, path: Path) -> None:
    curve = getattr(getattr(loaded, "curve", None), "name", None)
    if curve not in _CURVES:
        kind = f"is on the curve {curve}" if curve else f"is of another kind ({type(loaded).__name__})"
        raise ParameterError(f"key='{path}' {kind}, {_EXPECTED}", "key")


def _certificates(paths: Sequence[Path | str], parameter: str) -> list[Any]:
    """Read certificates, several in a file too."""
    from cryptography import x509

    found: list[Any] = []
    for path in paths:
        data = _read(Path(path), parameter)
        try:
            found += x509.load_pem_x509_certificates(data)
        except ValueError as error:
            raise ParameterError(
                f"{parameter}='{path}' is no certificate in PEM ({one_line(error, 80)})", parameter
            ) from None
    return found


def _check_certificate(given: Any, between: list[Any], pem: bytes, path: Path) -> None:
    """Refuse a certificate here that whoever checks the signature would refuse."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if given.public_key() != serialization.load_pem_private_key(pem, None).public_key():
        raise ParameterError(f"certificate='{path}' is of another key than the one given", "certificate")
    if given.not_valid_after_utc < (now := datetime.now(UTC)) or given.not_valid_before_utc > now:
        raise ParameterError(
            f"certificate='{path}' is valid from {given.not_valid_before_utc:%Y-%m-%d} to "
            f"{given.not_valid_after_utc:%Y-%m-%d} only",
            "certificate",
        )
    usages = {extension.oid: extension.value for extension in given.extensions}
    usage, extended = usages.get(x509.KeyUsage.oid), usages.get(x509.ExtendedKeyUsage.oid)
    if not (usage and usage.digital_signature) and ExtendedKeyUsageOID.CODE_SIGNING not in (extended or ()):
        raise ParameterError(
            f"certificate='{path}' is not for signing (expected the usage digitalSignature or codeSigning)",
            "certificate",
        )
    if between and not any(_issued(given, each) for each in between):
        raise ParameterError(f"chain has no certificate that issued '{path}'", "chain")


def _issued(certificate: Any, by: Any) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except Exception:  # another name, another key, another algorithm
        return False
    return True


def _holder(raw: bytes) -> str:
    """Say whose certificate it is, who issued it, and its digest."""
    try:
        from cryptography import x509
    except ImportError:  # to say that there is a signature needs no library
        return "a certificate"
    certificate = x509.load_der_x509_certificate(raw)
    name, issuer = (each.rfc4514_string() for each in (certificate.subject, certificate.issuer))
    return f"{name}, issued by {issuer} ({hashlib.sha256(raw).hexdigest()[:_SHOWN]}, sha256)"


def _read(path: Path, parameter: str) -> bytes:
    try:
        return read_within(path, _MOST_KEY)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or one_line(error)
        raise ParameterError(f"{parameter}='{path}' cannot be read ({said})", parameter) from None


def _refuse_kind(folder: Path, said: Signature) -> NoReturn:
    path = folder / SIGNATURE
    if said.kind == "sigstore":
        raise ModelError(
            f"{path} was made without a key (sigstore); check it with: model_signing verify sigstore"
        )
    if said.kind == "key":
        raise ModelError(f"{path} was made with {said.by}, not with a certificate; give key")
    raise ModelError(f"{path} was made with the certificate of {said.by}; give certificates")


@contextmanager
def _readable(pem: bytes) -> Iterator[str]:
    """Lend a decrypted key to a library that reads files, without it ever being on a disk."""
    reader, writer = os.pipe()
    try:
        os.write(writer, pem)
        os.close(writer)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
