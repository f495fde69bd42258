"""Who may wait: permits for texts and tokens between two watermarks, so that a queue has an end."""

from __future__ import annotations

import threading
from dataclasses import dataclass

#: Where refusing ends again, as a share of the limit at which it began: one request that leaves must not let
#: one in at a time.
LOW = 0.75
#: The most that one request counts for, as a share of the limit of tokens: a long document must not keep
#: everybody else out.
SHARE = LOW / 2
#: Share of the limit of tokens up to which a request that does not fit makes all others be refused, too:
#: where a longer one does not, there is room for short ones.
SMALL = 1 / 16


@dataclass(slots=True)
class Permit:
    """What a request holds until it is answered."""

    inputs: int
    tokens: int = 0
    large: bool = False


class Refused(Exception):
    """A request that may not wait.

    Args:
        reason: ``inputs``, ``tokens`` or ``long documents``: what there is too much of.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Admission:
    """Counts what is accepted and not yet answered.

    A request takes one permit for each of its texts, and one for each token.

    Args:
        most_inputs: High watermark of texts.
        most_tokens: High watermark of tokens. A request counts for :data:`SHARE` of it at most, and only one
            at a time for as much as that.
    """

    def __init__(self, most_inputs: int, most_tokens: int) -> None:
        self.most_inputs, self.most_tokens = most_inputs, most_tokens
        self.inputs = self.tokens = 0
        self._refusing: str | None = None
        self._large = False
        self._lock = threading.Lock()

    @property
    def refusing(self) -> str | None:
        """What there is too much of, until it falls under the low watermark.

        ``None`` while requests are taken.
        """
        return self._refusing

    def enter(self, inputs: int, tokens: int = 0) -> Permit:
        """Take a permit for each text of a request, before anything of it is read.

        Args:
            inputs: Its texts.
            tokens: Its tokens, as far as one can tell by its size.

        Raises:
            Refused: If they are too many, or were and are not yet few enough.
        """
        with self._lock:
            if self._refusing is not None:
                raise Refused(self._refusing)
            if self.inputs + inputs > self.most_inputs:
                if self.inputs > LOW * self.most_inputs:
                    self._refusing = "inputs"
                raise Refused("inputs")
            permit = Permit(inputs)
            self._charge(permit, tokens)
            self.inputs += inputs
            return permit

    def charge(self, permit: Permit, tokens: int) -> None:
        """Let a permit count for so many tokens, instead of what it counted for before.

        Raises:
            Refused: If they are too many; the permit stays the caller's to give back.
        """
        with self._lock:
            self._charge(permit, tokens)

    def _charge(self, permit: Permit, tokens: int) -> None:
        share = max(1, int(SHARE * self.most_tokens))
        large, more = tokens > share, min(tokens, share) - permit.tokens
        if large and self._large and not permit.large:
            raise Refused("long documents")
        if more > 0 and self.tokens > permit.tokens and self.tokens + more > self.most_tokens:
            if self.tokens > LOW * self.most_tokens and more <= SMALL * self.most_tokens:
                self._refusing = self._refusing or "tokens"
            raise Refused("tokens")
        self.tokens += more
        permit.tokens += more
        if large != permit.large:
            self._large = permit.large = large

    def leave(self, permit: Permit) -> None:
        """Give back what a request holds; again is harmless."""
        with self._lock:
            self.inputs -= permit.inputs
            self.tokens -= permit.tokens
            permit.inputs = permit.tokens = 0
            if permit.large:
                self._large = permit.large = False
            if self.inputs <= LOW * self.most_inputs and self.tokens <= LOW * self.most_tokens:
                self._refusing = None
