"""A search for operations whose order is known in part only: those of one host exactly, others up to clock errors.

Just-in-time linearisation (:mod:`verifier.search.linearise`) goes from return to return along one line of time. Times
of several hosts have no such line: "A is before B" may be known of A and B, and of B and C within a host, and not of A
and C. So here the order is given pair by pair, and any operation may come next that nothing left over is before. Rule
R1 (what changes nothing is done as soon as it is legal) and the memory of what has been tried are the same; it is meant
for the few keys that two simpler passes left open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from verifier.search.model import ILLEGAL, Call, Model

Before = Callable[[int, int], bool]
"""Whether the operation at one place is certainly before that at another."""

MOST_OPERATIONS: Final = 2_000
"""Longer lists are not searched: their pairs alone would take seconds."""


def explained(
    calls: Sequence[Call], answered: Sequence[bool], before: Before, model: Model, deadline_s: float
) -> Literal["holds", "violated", "unknown"]:
    """Whether some order of the calls respects ``before`` and is legal; those not ``answered`` may be left out."""
    size = len(calls)
    if size > MOST_OPERATIONS:
        return "unknown"
    until = time.monotonic() + deadline_s
    needed = [0] * size
    for second in range(size):
        if time.monotonic() > until:
            return "unknown"
        mask = 0
        for first in range(size):
            if answered[first] and first != second and before(first, second):
                mask |= 1 << first
        needed[second] = mask
    all_answered = sum(1 << at for at in range(size) if answered[at])
    pure = [model.is_pure(call) for call in calls]
    start = model.init()
    seen = set()
    stack = [(0, start)]
    looked = 0
    while stack:
        done, state = stack.pop()
        done = _reads(calls, needed, pure, model, done, state)
        if done & all_answered == all_answered:
            return "holds"
        if (done, state) in seen:
            continue
        seen.add((done, state))
        looked += 1
        if not looked & 15 and (time.monotonic() > until or looked > 200_000):
            return "unknown"
        # What is pushed last is tried first: rather answered calls than unanswered ones.
        for wanted in (False, True):
            for at in range(size):
                if answered[at] is wanted and not pure[at] and not done >> at & 1 and needed[at] & ~done == 0:
                    after = model.step(state, calls[at])
                    if after is not ILLEGAL:
                        stack.append((done | 1 << at, after))
    return "violated"


def _reads(
    calls: Sequence[Call], needed: Sequence[int], pure: Sequence[bool], model: Model, done: int, state: object
) -> int:
    """Every call that changes nothing is done that may come now and is legal; that may let others come."""
    while True:
        before = done
        for at, call in enumerate(calls):
            if pure[at] and not done >> at & 1 and needed[at] & ~done == 0 and model.step(state, call) is not ILLEGAL:
                done |= 1 << at
        if done == before:
            return done
