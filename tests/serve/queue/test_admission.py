"""Permits: their sum, their end, and when refusing begins and ends."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from affineur.serve.queue.admission import LOW, SHARE, Admission, Permit, Refused

_INPUTS, _TOKENS = 20, 100
_MOST = int(SHARE * _TOKENS)  # that one request counts for


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
        others = sum(min(n, _MOST) for _, _, n in self.held)
        large = any(n > _MOST for _, _, n in self.held)
        try:
            self.admission.charge(permit, tokens)
        except Refused:
            assert (tokens > _MOST and large) or others + min(tokens, _MOST) > _TOKENS
        else:
            assert others + min(tokens, _MOST) <= _TOKENS
            assert not (tokens > _MOST and large)
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
        assert admission.tokens == sum(min(n, _MOST) for _, _, n in self.held) <= _TOKENS
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
    permits = [admission.enter(2) for _ in range(4)]
    with pytest.raises(Refused):
        admission.enter(1)
    for permit in permits[:3]:
        admission.charge(permit, 30)
    with pytest.raises(Refused, match="tokens"):
        admission.charge(permits[3], 30)
    assert admission.refusing == "inputs"


def test_what_one_counts_for_is_corrected_as_it_is_read() -> None:
    admission = Admission(8, 100)
    with pytest.raises(Refused, match="long documents"):
        [admission.enter(1, tokens=50) for _ in range(2)]
    assert (admission.inputs, admission.tokens) == (1, _MOST)
    other = admission.enter(1, tokens=20)
    admission.charge(other, 30)
    admission.charge(other, 10)  # fewer than it looked like
    assert admission.tokens == _MOST + 10
    with pytest.raises(Refused, match="long documents"):
        admission.charge(other, 50)
    assert admission.tokens == _MOST + 10


def test_a_long_document_keeps_nobody_out_but_another() -> None:
    admission = Admission(8, 100)
    big, small, other = (admission.enter(1) for _ in range(3))
    admission.charge(big, 1000)
    admission.charge(small, 30)
    with pytest.raises(Refused, match="long documents"):
        admission.charge(other, 1000)
    assert admission.refusing is None
    admission.leave(big)
    admission.charge(other, 1000)
    for permit in (small, other):
        admission.leave(permit)
    assert (admission.inputs, admission.tokens) == (0, 0)


def test_a_longer_text_that_does_not_fit_keeps_no_short_one_out() -> None:
    admission = Admission(100, 1000)
    for _ in range(9):
        admission.charge(admission.enter(1), 100)
    for _ in range(5):
        with pytest.raises(Refused, match="tokens"):
            admission.enter(1, tokens=200)
    assert admission.refusing is None
    admission.enter(1, tokens=50)
