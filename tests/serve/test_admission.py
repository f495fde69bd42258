"""Permits: their sum, their end, and when refusing begins and ends."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from affineur.serve.admission import LOW, Admission, Permit, Refused

_INPUTS, _TOKENS = 20, 100


class Requests(RuleBasedStateMachine):
    """Requests come, are read, and leave, in any order; beside it a count of what ought to be held."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(_INPUTS, _TOKENS)
        self.held: list[tuple[Permit, int, int]] = []

    @rule(inputs=st.integers(1, _INPUTS))
    def enter(self, inputs: int) -> None:
        refusing = self.admission.refusing
        fits = sum(n for _, n, _ in self.held) + inputs <= _INPUTS
        try:
            permit = self.admission.enter(inputs)
        except Refused:
            assert refusing is not None or not fits
        else:
            assert refusing is None
            assert fits
            self.held.append((permit, inputs, 0))

    @rule(which=st.integers(0, 50), tokens=st.integers(1, 150))
    def charge(self, which: int, tokens: int) -> None:
        waiting = [i for i, (_, _, charged) in enumerate(self.held) if not charged]
        if not waiting:
            return
        place = waiting[which % len(waiting)]
        permit, inputs, _ = self.held[place]
        others = sum(n for _, _, n in self.held)
        try:
            self.admission.charge(permit, tokens)
        except Refused:
            assert others > 0
            assert others + tokens > _TOKENS
        else:
            assert others == 0 or others + tokens <= _TOKENS
            self.held[place] = permit, inputs, tokens

    @rule(which=st.integers(0, 50), again=st.booleans())
    def leave(self, which: int, again: bool) -> None:
        if not self.held:
            return
        permit, _, _ = self.held.pop(which % len(self.held))
        self.admission.leave(permit)
        if again:
            self.admission.leave(permit)

    @invariant()
    def counted(self) -> None:
        admission = self.admission
        assert admission.inputs == sum(n for _, n, _ in self.held) <= _INPUTS
        assert admission.tokens == sum(n for _, _, n in self.held)
        assert admission.tokens <= _TOKENS or sum(n > 0 for _, _, n in self.held) == 1
        if admission.refusing is not None:
            assert admission.inputs > LOW * _INPUTS or admission.tokens > LOW * _TOKENS

    def teardown(self) -> None:
        for permit, _, _ in self.held:
            self.admission.leave(permit)
        assert (self.admission.inputs, self.admission.tokens, self.admission.refusing) == (0, 0, None)


TestRequests = Requests.TestCase


def test_refusing_goes_on_until_the_low_watermark() -> None:
    admission = Admission(8, 100)
    permits = [admission.enter(1) for _ in range(8)]
    with pytest.raises(Refused, match="inputs"):
        admission.enter(1)
    admission.leave(permits.pop())  # 7 of 8: there is room, but refusing goes on
    with pytest.raises(Refused, match="inputs"):
        admission.enter(1)
    admission.leave(permits.pop())  # 6 of 8, the low watermark
    permits.append(admission.enter(1))
    permits.append(admission.enter(1))


def test_a_big_request_that_does_not_fit_does_not_shut_out_small_ones() -> None:
    admission = Admission(8, 100)
    admission.enter(4)
    with pytest.raises(Refused):
        admission.enter(5)
    assert admission.refusing is None
    admission.enter(4)


def test_a_refusal_for_tokens_does_not_end_one_for_inputs() -> None:
    admission = Admission(8, 100)
    first = admission.enter(8)
    with pytest.raises(Refused):
        admission.enter(1)
    admission.charge(first, 10)
    with pytest.raises(Refused, match="tokens"):
        admission.charge(first, 95)
    assert admission.refusing == "inputs"


def test_one_request_alone_may_have_more_tokens_than_the_watermark() -> None:
    admission = Admission(8, 100)
    big, small = admission.enter(1), admission.enter(1)
    admission.charge(big, 1000)
    with pytest.raises(Refused, match="tokens"):
        admission.charge(small, 1)
    assert admission.refusing == "tokens"
    admission.leave(small)
    admission.leave(big)
    assert admission.refusing is None
