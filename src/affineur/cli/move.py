"""Commands that move artifacts: pull, push, cache."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from affineur.api.moving import pull, push
from affineur.cli import options, show
from affineur.cli.commands import MOVE, Commands
from affineur.cli.numbers import Number
from affineur.display import megabytes
from affineur.errors import ParameterError, counted
from affineur.transfer.cache import Kept, clean, kept
from affineur.transfer.places.core.place import PLACES

_ACCESS = ("endpoint", "region", "profile")
_SAID = ("private", "pull_request", "revision", "tag", "license", "message")
_TRUST = ("sbom", "sign", "certificate", "chain")


def add_parsers(commands: Commands) -> None:
    """Add the commands of this module."""
    _add_pull(commands)
    _add_push(commands)
    _add_cache(commands)


def _add_pull(commands: Commands) -> None:
    parser = commands.add(
        "pull",
        "an artifact from elsewhere to this disk, every byte checked",
        MOVE,
        (
            "affineur pull s3://models/ner/student_11L -o student_11L",
            "affineur pull runpod:my_volume/student_11L --region eu-ro-1 -o student_11L",
            "affineur pull sftp://root@203.0.113.7:22013/workspace/student_11L -o student_11L",
            "affineur pull hub:my-org/student_11L@v2 -o student_11L",
        ),
        "The same command again goes on where it stopped. Credentials come from where the place's own tools"
        " take them.",
    )
    parser.add_argument("reference", metavar="REF", help=f"where it is: {_forms()}")
    options.add_output(parser)
    _add_access(parser)
    options.add_signers(parser)
    options.add_common(parser)
    parser.set_defaults(run=_pull)


def _add_push(commands: Commands) -> None:
    parser = commands.add(
        "push",
        "an artifact from this disk to elsewhere: only what changed, never a half one to be seen",
        MOVE,
        (
            "affineur push student_11L_int8 s3://models/ner/student_11L_int8",
            "affineur push student_11L_int8 hub:my-org/student_11L_int8 --private --tag v2",
        ),
        "The same command again goes on where it stopped.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the artifact, or a folder with data")
    parser.add_argument("reference", metavar="REF", help=f"where to: {_forms(written=True)}")
    _add_access(parser)
    said = parser.add_argument_group("where it is published (Hub)")
    said.add_argument("--private", action="store_true", help="only those with access see it, where it is new")
    said.add_argument("--pull-request", action="store_true", help="propose it, and do not put it in place")
    said.add_argument("--revision", metavar="BRANCH", help="branch that is written to")
    said.add_argument("--tag", metavar="NAME", help="name of the version")
    said.add_argument("--license", metavar="ID", help="license it is given, such as cc-by-nc-sa-4.0")
    said.add_argument("--message", metavar="TEXT", help="what changed, in one line")
    trust = parser.add_argument_group("what it is made of, and who says so")
    trust.add_argument("--sbom", action="store_true", help="write a bill of materials first, sbom.json")
    trust.add_argument("--sign", metavar="KEY", help="sign it first: a PEM file with a private key")
    trust.add_argument("--certificate", metavar="FILE", help="PEM file with a certificate of that key")
    trust.add_argument(
        "--chain", metavar="FILE", nargs="+", default=(), help="PEM files between it and a root others trust"
    )
    options.add_common(parser)
    parser.set_defaults(run=_push)


def _add_cache(commands: Commands) -> None:
    parser = commands.add(
        "cache",
        "what was fetched and computed before and is kept: list it, or remove it",
        MOVE,
        ("affineur cache", "affineur cache --clean --older-than 30"),
    )
    parser.add_argument("--clean", action="store_true", help="remove it; what is needed again is made again")
    parser.add_argument(
        "--older-than",
        type=Number(float, 0, 1_000_000),
        metavar="DAYS",
        help="only what has not been used for so many days",
    )
    options.add_common(parser)
    parser.set_defaults(run=_cache)


def _forms(written: bool = False) -> str:
    known = [each for each in PLACES.all().values() if each.writes or not written]
    return ", ".join(each.form for each in known)


def _add_access(parser: argparse.ArgumentParser) -> None:
    access = parser.add_argument_group(
        "how the place is reached, where its own configuration does not say so"
    )
    access.add_argument("--endpoint", metavar="URL", help="address of the service (S3, RunPod)")
    access.add_argument("--region", metavar="NAME", help="region (S3), or data center (RunPod)")
    access.add_argument("--profile", metavar="NAME", help="section of ~/.aws/config and credentials")


def _pull(args: argparse.Namespace) -> int:
    access = {name: getattr(args, name) for name in _ACCESS}
    folder = pull(args.reference, out=args.out, key=args.key, certificates=args.certificates, **access)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    show.lines([f"{counted(len(files), 'file')}, {megabytes(size)}, in {folder}; every digest was checked"])
    show.to_json({"path": str(folder), "files": len(files), "size_bytes": size}, args.json)
    return 0


def _push(args: argparse.Namespace) -> int:
    given = {name: getattr(args, name) for name in (*_ACCESS, *_SAID, *_TRUST)}
    done = push(args.folder, args.reference, **given)
    same = f"{counted(len(done.kept), 'file')} {'was' if len(done.kept) == 1 else 'were'} there already"
    sent = f"{counted(len(done.sent), 'file')} sent, {megabytes(done.size_bytes)}"
    show.lines([f"{done.where}: {sent if done.sent else 'nothing to send'}; {same}"])
    show.to_json(
        {"where": done.where, "sent": done.sent, "kept": done.kept, "size_bytes": done.size_bytes}, args.json
    )
    return 0


def _cache(args: argparse.Namespace) -> int:
    if args.older_than is not None and not args.clean:
        raise ParameterError("--older-than says what --clean removes; add --clean, or leave it out")
    found = clean(args.older_than) if args.clean else kept()
    if found:
        show.table(("What", "Size", "Used last", "Where"), [_row(each) for each in found], numbers=False)
    total = sum(each.size_bytes for each in found)
    show.lines([f"{megabytes(total)} {'removed' if args.clean else 'in all'}"])
    show.to_json({"entries": [_said(each) for each in found], "size_bytes": total}, args.json)
    return 0


def _row(each: Kept) -> list[str]:
    day = datetime.fromtimestamp(each.used).date().isoformat()
    return [each.what, megabytes(each.size_bytes), day, str(each.path)]


def _said(each: Kept) -> dict[str, object]:
    return {"what": each.what, "path": str(each.path), "size_bytes": each.size_bytes, "used": each.used}
