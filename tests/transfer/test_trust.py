"""Signatures on their way: pushed with the artifact, and checked before a pull puts it in place."""

from __future__ import annotations

from pathlib import Path

import pytest

import affineur
from affineur.cli.main import main
from affineur.errors import AffineurError, ParameterError
from keys import write_certificate, write_key


def test_signed_on_its_way_out_and_checked_on_its_way_in(artifact: Path, tmp_path: Path) -> None:
    write_key(tmp_path / "ours.pem")
    write_key(tmp_path / "theirs.pem")
    place = (tmp_path / "place").as_uri()
    done = affineur.push(artifact, place, sbom=True, sign=tmp_path / "ours.pem")
    assert {"sbom.json", "model.sig"} <= set(done.sent)
    got = affineur.pull(place, out=tmp_path / "got", key=tmp_path / "ours.pub")
    assert affineur.verify(got, key=tmp_path / "ours.pub").signature == "holds"
    with pytest.raises(AffineurError, match=str(tmp_path / "theirs.pub")):
        affineur.pull(place, out=tmp_path / "other", key=tmp_path / "theirs.pub")
    assert not (tmp_path / "other").exists()


def test_an_unsigned_artifact_is_not_put_in_place_where_a_signature_is_asked_for(
    artifact: Path, tmp_path: Path
) -> None:
    write_key(tmp_path / "ours.pem")
    place = (tmp_path / "place").as_uri()
    affineur.push(artifact, place)
    with pytest.raises(AffineurError, match="is not signed"):
        affineur.pull(place, out=tmp_path / "got", key=tmp_path / "ours.pub")
    assert not (tmp_path / "got").exists()


def test_by_certificate_from_the_command_line(artifact: Path, tmp_path: Path, capsys) -> None:
    root = write_certificate(
        tmp_path / "root.pem", "Racine", write_key(tmp_path / "root.key"), authority=True
    )
    write_certificate(tmp_path / "us.pem", "Équipe", write_key(tmp_path / "us.key"), root)
    place = (tmp_path / "place").as_uri()
    signing = ["--sign", str(tmp_path / "us.key"), "--certificate", str(tmp_path / "us.pem")]
    assert main(["push", str(artifact), place, *signing, "-q"]) == 0
    roots = ["--certificates", str(tmp_path / "root.pem")]
    assert main(["pull", place, "-o", str(tmp_path / "got"), *roots, "-q"]) == 0
    write_certificate(tmp_path / "else.pem", "Autre", write_key(tmp_path / "else.key"), authority=True)
    wrong = ["--certificates", str(tmp_path / "else.pem")]
    capsys.readouterr()
    assert main(["pull", place, "-o", str(tmp_path / "no"), *wrong, "-q"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "no").exists()


def test_a_certificate_without_a_key(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="give the key too: sign"):
        affineur.push(artifact, tmp_path.as_uri(), certificate="us.pem")
