from __future__ import annotations

import weakref

from affineur.runtime.memory import give_back


def test_give_back_frees_what_only_the_collector_finds() -> None:
    class Loop:
        itself: Loop

    one = Loop()
    one.itself = one
    seen = weakref.ref(one)
    del one
    give_back()
    assert seen() is None
