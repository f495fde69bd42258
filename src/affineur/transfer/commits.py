"""Publishing an artifact on the Hub: one commit of what changed, and what goes with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affineur.artifact import CARD, COMPANIONS, MANIFEST, file_digest, read_card, read_manifest, safe_names
from affineur.artifact.card import carried_by, is_written_by_us, licensed_card
from affineur.artifact.card.names import listed
from affineur.artifact.published import is_quantized, published_name
from affineur.artifact.reading import WRONG, parse_json
from affineur.errors import ParameterError, TransferError
from affineur.progress import report
from affineur.transfer.hub import reason_of, status_of
from affineur.transfer.places.core.place import Conflict, Publication, Pushed
from affineur.transfer.places.core.retry import patiently
from affineur.transfer.places.hub import File, HubRepository, translated
from affineur.transfer.push import sendable

#: Files that a repository may have before anything is published there.
_EMPTY = re.compile(r"\.git[a-z]+|README\.md|LICENSE(\.[a-z]+)?", re.IGNORECASE)
#: What a file will hold: a file here, or bytes.
Content = Path | bytes


def publish(folder: Path, there: HubRepository, publication: Publication) -> Pushed:
    """Commit what changed of an artifact.

    Args:
        folder: The artifact.
        there: The repository, at the branch that is written to.
        publication: What is said beside it.

    Raises:
        ParameterError: If two things asked for exclude each other.
        TransferError: If nobody is logged in, the Hub refuses, something else lies there, its license forbids
            it, or somebody else commits at the same time.
    """
    import huggingface_hub as hub

    if publication.pull_request and publication.tag:
        raise ParameterError(
            "tag names what is in place, and pull_request only proposes; leave one out", "tag"
        )
    if not hub.get_token():
        raise TransferError(
            f"{there.where}: nobody is logged in (looked at HF_TOKEN and {hub.constants.HF_TOKEN_PATH}); "
            "type: hf auth login"
        )
    _check_license(folder, publication)
    push = _Publishing(folder, there.name, there.revision, publication)
    if publication.pull_request:  # a second one would be opened by trying again
        return push.attempt()
    return patiently(push.attempt, there.where)


class _Publishing:
    """One push: what was sent is remembered over attempts."""

    def __init__(self, folder: Path, name: str, branch: str | None, publication: Publication) -> None:
        import huggingface_hub as hub

        self.folder, self.name, self.branch, self.publication = folder, name, branch, publication
        self.where = HubRepository(name, branch).where
        self.api = hub.HfApi()
        self.contents = _contents(folder, publication.license)
        self.sent: dict[str, int] = {}
        self.left: set[str] = set()  # what is there stays, though it differs

    def attempt(self) -> Pushed:
        """Look at the repository, commit what differs from it, and name it."""
        self._make()
        there = HubRepository(self.name, self.branch)
        self._refuse_foreign(there)
        self._respect_card(there)
        kept = {name for name, content in self.contents.items() if _same(content, there.files.get(name))}
        changed = {name: content for name, content in self.contents.items() if name not in kept}
        gone = sorted(_ours(there) - set(self.contents) - self.left) if MANIFEST in there.files else []
        self._refuse_tag(there, bool(changed or gone))
        commit, address = there.commit, self._address()
        if changed or gone:
            commit, address = self._commit(there, changed, gone)
        elif not self.sent:
            report(f"{self.where} has all of it already; no commit was made")
        if self.publication.tag:
            with translated(self.where, self.branch):
                self.api.create_tag(self.name, tag=self.publication.tag, revision=commit, exist_ok=True)
        kept -= set(self.sent)
        return Pushed(address, tuple(sorted(self.sent)), tuple(sorted(kept)), sum(self.sent.values()))

    def _make(self) -> None:
        """Make the repository and the branch where they are not there."""
        import huggingface_hub as hub

        private = self.publication.private
        with translated(self.where, self.branch):
            try:
                info: Any = self.api.repo_info(self.name, revision=self.branch)
            except hub.errors.GatedRepoError:
                raise
            except hub.errors.RepositoryNotFoundError:
                report(f"making {self.name}{', which is private' if private else ''}")
                # a name without an owner is one of whoever is logged in
                made = self.api.create_repo(self.name, private=private or None, exist_ok=True)
                self.name = made.repo_id
                if self.branch:
                    self.api.create_branch(self.name, branch=self.branch, exist_ok=True)
                return
            except hub.errors.RevisionNotFoundError:
                if self.publication.pull_request:
                    raise  # it proposes a change of what is there
                info = self.api.repo_info(self.name)
                self._refuse_public(info)
                self.api.create_branch(self.name, branch=str(self.branch), exist_ok=True)
                return
        self._refuse_public(info)

    def _refuse_public(self, info: Any) -> None:
        if self.publication.private and not info.private:
            raise TransferError(
                f"{self.name} is there and is public, so nothing pushed to it would be private; "
                "make it private in its settings on the Hub, or leave private out"
            )

    def _refuse_foreign(self, there: HubRepository) -> None:
        """Refuse to write over files of others; to propose it is no harm."""
        if MANIFEST in there.files or self.publication.pull_request:
            return
        # a folder that is no artifact may replace its own files, known by nothing but their names
        ours = set() if MANIFEST in self.contents else set(self.contents)
        if foreign := sorted(name for name in set(there.files) - ours if not _EMPTY.fullmatch(name)):
            shown = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
            raise TransferError(
                f"{self.where} holds files that are no artifact of Affineur ({shown}); "
                "name another repository or revision, or ask for pull_request"
            )

    def _respect_card(self, there: HubRepository) -> None:
        """Leave a card that people edited on the Hub, or the license that it was given there.

        One that was written by hand here comes before it.
        """
        card = self.contents.get(CARD)
        if not isinstance(card, Path) or CARD not in there.files or _same(card, there.files[CARD]):
            return
        if not is_written_by_us(card.read_text("utf-8", errors="replace")):
            return
        theirs = b"".join(there.read(CARD, 0, None)).decode(errors="replace")
        if not is_written_by_us(theirs):
            report(
                f"{CARD} of {self.where} was edited by hand and is left as it is; take it away to have ours"
            )
            del self.contents[CARD]
            self.left.add(CARD)
            return
        given = listed(carried_by(theirs).metadata.get("license"))
        if len(given) == 1 and given != listed(read_card(self.folder).metadata.get("license")):
            self.contents[CARD] = licensed_card(self.folder, given[0]).encode()

    def _refuse_tag(self, there: HubRepository, differs: bool) -> None:
        """Refuse a tag that names another version, before anything is sent."""
        tag = self.publication.tag
        if not tag:
            return
        with translated(self.where, self.branch):
            tags = {each.name: each.target_commit for each in self.api.list_repo_refs(self.name).tags}
        if tag in tags and (differs or tags[tag] != there.commit):
            raise TransferError(
                f"{self.name} has a tag {tag} already, which names another version; name another tag"
            )

    def _commit(
        self, there: HubRepository, changed: Mapping[str, Content], gone: list[str]
    ) -> tuple[str, str]:
        import huggingface_hub as hub

        add, delete = hub.CommitOperationAdd, hub.CommitOperationDelete
        operations: list[Any] = [add(name, content) for name, content in changed.items()]
        operations += [delete(name) for name in gone]
        report(f"sending {len(changed)} of {len(self.contents)} files to {self.where}")
        with translated(self.where, self.branch):
            try:
                done = self.api.create_commit(
                    self.name,
                    operations,
                    commit_message=self.publication.message or f"Push {self.folder.resolve().name}",
                    revision=self.branch,
                    create_pr=self.publication.pull_request,
                    parent_commit=there.commit,
                )
            except Exception as error:
                if status_of(error) in (409, 412):
                    raise Conflict(
                        f"{self.where}: somebody else committed in the meantime "
                        f"({reason_of(error, self.branch)}); look at it, then push again"
                    ) from error
                # it may have arrived all the same: the next attempt will find the files there
                self.sent |= {name: _size(content) for name, content in changed.items()}
                raise
        self.sent |= {name: _size(content) for name, content in changed.items()}
        return str(done.oid), str(done.pr_url or self._address())

    def _address(self) -> str:
        address = f"{self.api.endpoint}/{self.name}"
        named = self.publication.tag or self.branch
        return f"{address}/tree/{named}" if named else address


def _contents(folder: Path, license: str | None) -> dict[str, Content]:
    """Lay a folder out as a repository; hidden files and pickles are left out."""
    quantized, names = is_quantized(folder), sendable(folder).files
    found: dict[str, Content] = {published_name(name, quantized): folder / name for name in names}
    safe_names([published_name(name, quantized) for name in names], str(folder))
    if license:  # a card may differ from its digest in the manifest, which a signature may hold to
        found[CARD] = licensed_card(folder, license).encode()
    return found


def _same(content: Content, file: File | None) -> bool:
    """Say whether a repository has a file like this."""
    if file is None or file.size != _size(content):
        return False
    if file.sha256:
        digest = file_digest(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
        return digest == file.sha256
    data = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == file.blob


def _size(content: Content) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _ours(there: HubRepository) -> set[str]:
    """List the files of the artifact that a repository holds now; of a damaged one none is known."""
    try:
        names = [*map(str, parse_json(b"".join(there.read(MANIFEST, 0, None)))["files"])]
    except WRONG:
        names = []
    return {at for name in (*names, *COMPANIONS) if (at := there.at(name))}


def _check_license(folder: Path, publication: Publication) -> None:
    """Refuse what the license of its parents forbids, and warn of what it restricts.

    Raises:
        TransferError: If it may not be passed on changed, and nobody said otherwise.
    """
    known = listed(read_card(folder, own=True).metadata.get("license"))
    parts = {part for license in known for part in license.lower().split("-")}
    shown, given = ", ".join(known), publication.license
    manifest = read_manifest(folder)
    changed = manifest is not None and manifest.stage != "download"
    if "nd" in parts and changed and not given:
        raise TransferError(
            f"{folder}: {shown} forbids to share a changed model, says the card of the one it comes from; "
            "give license if you may all the same"
        )
    if "nc" in parts:
        then = f"it is published as {given}" if given else "so does this one; give license if you may choose"
        report(f"{shown} forbids commercial use, says the card of the model it comes from; {then}")
    elif not known and not given:
        report(
            "no license is known, and the card says so; give license, so that others know what they may do"
        )
