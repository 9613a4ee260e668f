"""Small histories by the thousand: correct ones from a simulated store, and the same with one thing changed."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.verifier.builders import REGIONS, Op
from verifier.history.schema import ABSENT


def register_history(
    rng: random.Random, size: int, keys: int = 1, *, initial: int = ABSENT, blind: bool = False
) -> list[Op]:
    """A correct history of registers: every operation takes effect at one moment between its start and its end.

    Times are few, so that ties abound. Some writes never answer, and only some of those take effect; some conditions
    fail and hand back the item; some writes say what they were applied to, none do where all are ``blind``.
    """
    scale = rng.choice([size, 3 * size, 12 * size])
    planned = []
    for number in range(1, size + 1):
        start = rng.randrange(scale)
        end = start + rng.randrange(rng.choice([1, 4, scale // 2 + 1]) + 1)
        planned.append((rng.uniform(start, end), start, end, number))
    states = {f"k{key}": initial for key in range(keys)}
    done = []
    for _, start, end, number in sorted(planned):
        key = f"k{rng.randrange(keys)}"
        state = states[key]
        kind = rng.choice(["read", "write"] if blind else ["read", "read", "read", "write", "write", "cas", "create"])
        op = Op(kind, start, end, key=key, region=rng.choice(REGIONS), op=number)
        if kind == "read":
            done.append(replace(op, saw=state))
            continue
        linked = rng.random() < 0.5 and not blind
        if kind == "cas":
            op = replace(op, expect=state if rng.random() < 0.7 else rng.randrange(-1, size + 1))
        elif kind == "create":
            op = replace(op, expect=ABSENT)
        holds = op.expect in (None, state)
        if rng.random() < 0.2:
            # Never answered: it took effect at that moment, or much later, or never.
            if holds and rng.random() < 0.6:
                states[key] = number
            done.append(replace(op, outcome="unknown", end=rng.choice([start, end])))
        elif not holds:
            done.append(replace(op, outcome="fail", saw=state if rng.random() < 0.7 else None))
        elif rng.random() < 0.1:
            done.append(replace(op, outcome="fail"))  # throttled
        else:
            states[key] = number
            done.append(replace(op, saw=number, prev=state if linked else None))
    rng.shuffle(done)
    return done


def counter_history(rng: random.Random, size: int, keys: int = 1, *, initial: int = 0) -> list[Op]:
    """A correct history of counters that return their new value."""
    scale = rng.choice([size, 3 * size, 12 * size])
    planned = []
    for number in range(1, size + 1):
        start = rng.randrange(scale)
        end = start + rng.randrange(rng.choice([1, 4, scale // 2 + 1]) + 1)
        planned.append((rng.uniform(start, end), start, end, number))
    values = {f"k{key}": initial for key in range(keys)}
    done = []
    for _, start, end, number in sorted(planned):
        key = f"k{rng.randrange(keys)}"
        if rng.random() < 0.45:
            done.append(Op("read", start, end, key=key, op=number, result=values[key], saw=None))
            continue
        op = Op("add", start, end, key=key, region=rng.choice(REGIONS), op=number, value=1)
        fate = rng.random()
        if fate < 0.2:
            if rng.random() < 0.6:
                values[key] += 1
            done.append(replace(op, outcome="unknown"))
        elif fate < 0.3:
            done.append(replace(op, outcome="fail"))
        else:
            values[key] += 1
            done.append(replace(op, result=values[key]))
    rng.shuffle(done)
    return done


def damaged(rng: random.Random, ops: list[Op], *, marks: bool) -> list[Op]:
    """One or two things changed: what an operation showed, when it ran, whether it answered. Often still correct."""
    ops = list(ops)
    for _ in range(rng.choice([1, 2, 4])):
        at = rng.randrange(len(ops))
        op = ops[at]
        shift = rng.randint(-12, 12)
        what = rng.randrange(6)
        if what in (0, 5):
            ops[at] = replace(op, start=op.start + shift, end=op.end + shift)
        elif what == 1 and op.outcome == "ok":
            ops[at] = replace(op, outcome="fail", saw=None, prev=None, result=None) if op.kind != "read" else op
        elif what == 2 and marks and op.kind == "read" and op.outcome == "ok":
            ops[at] = replace(op, saw=rng.randrange(-1, len(ops) + 2) or ABSENT)
        elif what == 3 and marks and op.prev is not None:
            ops[at] = replace(op, prev=rng.randrange(-1, len(ops) + 1) or ABSENT)
        elif what == 2 and not marks and op.result is not None:
            ops[at] = replace(op, result=max(0, op.result + rng.choice([-2, -1, 1, 2])))
        elif what == 4:
            ops[at] = replace(op, end=max(op.start, op.end + shift))
    return ops


def side_by_side(histories: list[list[Op]]) -> list[Op]:
    """Many histories as one: the keys of the i-th are ``i:…``, its ids and marks are moved out of the others' way."""
    ops = []
    base = 0
    for i, history in enumerate(histories):
        for op in history:
            assert op.op is not None
            marks = {name: _moved(getattr(op, name), base) for name in ("op", "saw", "prev", "expect")}
            ops.append(replace(op, key=f"{i}:{op.key}", **marks))
        base += 2 * len(history) + 2
    return ops


def _moved(mark: int | None, base: int) -> int | None:
    return mark + base if mark is not None and mark > 0 else mark
