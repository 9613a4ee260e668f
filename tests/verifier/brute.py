"""What is legal, found by trying: every order of a small history's operations, independent of the checks.

A history is legal iff its operations can be put in an order that respects real time (A before B if A ended before B
began; ties are concurrent) and that the model accepts step by step. An operation whose outcome is unknown may stand
anywhere after its start, or be left out; a failed one is left out, unless it shows a state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tests.verifier.builders import Op
from verifier.history.schema import ABSENT

State = int
Step = Callable[[State, Op], State | None]
"""The state after the operation; None if it cannot have answered what it did in this state."""

FOREVER: Final = 1 << 60


def legal(ops: Sequence[Op], step: Step, initial: State) -> bool:
    """Whether some order is legal. Exponential; meant for up to a dozen operations of one item."""
    events = [(op, FOREVER if op.outcome == "unknown" else op.end) for op in ops if _counts(op)]
    needed = sum(1 << i for i, (op, _) in enumerate(events) if op.outcome != "unknown")
    seen = set()

    def search(done: int, state: State) -> bool:
        if done & needed == needed:
            return True
        if (done, state) in seen:
            return False
        seen.add((done, state))
        # Nothing may be taken while something left over had ended before it began.
        deadline = min((end for i, (_, end) in enumerate(events) if not done >> i & 1), default=FOREVER)
        for i, (op, _) in enumerate(events):
            if done >> i & 1 or op.start > deadline:
                continue
            after = step(state, op)
            if after is not None and search(done | 1 << i, after):
                return True
        return False

    return search(0, initial)


def register_step(state: State, op: Op) -> State | None:
    """A register that holds the mark of its last writer (:data:`ABSENT` for no item)."""
    if op.kind == "read" or op.outcome == "fail":
        return state if op.saw == state else None
    assert op.op is not None
    if op.prev is not None and op.outcome == "ok" and op.prev != state:
        return None
    if op.kind in ("cas", "create"):
        expected = op.expect if op.expect is not None else ABSENT if op.kind == "create" else None
        if expected is not None and expected != state:
            return None
    if op.outcome == "ok" and op.saw is not None and op.saw != op.op:
        return None
    return op.op


def counter_step(state: State, op: Op) -> State | None:
    """A counter that returns its new value."""
    if op.kind == "read":
        return state if op.result == state else None
    after = state + (op.value or 0)
    return after if op.outcome == "unknown" or op.result == after else None


def blind_counter_step(state: State, op: Op) -> State | None:
    """A counter whose increments return nothing."""
    if op.kind == "read":
        return state if op.result == state else None
    return state + (op.value or 0)


def _counts(op: Op) -> bool:
    if op.kind == "read_eventual" or (
        op.kind == "read" and (op.outcome != "ok" or (op.saw is None and op.result is None))
    ):
        return False
    return op.outcome != "fail" or (op.kind != "read" and op.saw is not None)
