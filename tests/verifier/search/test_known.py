"""Histories of the kind that papers and other checkers teach with, written by hand, and what everybody says of them.

A line is an operation: process, from, to (``-``: never answered), function, value, result.
"""

from __future__ import annotations

import pytest

from verifier.foreign.edn import one
from verifier.search.judge import judge
from verifier.search.model import Call, Operation
from verifier.search.models import MODELS


def drawn(text: str) -> list[Operation]:
    operations = []
    for line in text.strip().splitlines():
        process, start, end, function, rest = line.split(maxsplit=4)
        value, more = one(rest)
        result = one(more)[0] if more.strip() and more.strip() != "refused" else None
        answer = "unknown" if end == "-" else "fail" if more.strip() == "refused" else "ok"
        call = Call(function, value, answer, result)  # type: ignore[arg-type]
        operations.append(Operation(int(process), call, int(start), None if end == "-" else int(end)))
    return operations


HOLDS = {
    "reads during a write may show it or not": (
        "register", "0 0 9 write 1\n1 1 2 read nil 1\n2 3 4 read nil 1\n3 0 2 read nil nil"),
    "closed intervals: what ends as another begins is concurrent": (
        "register", "0 0 1 write 1\n0 1 2 write 2\n1 2 3 read nil 1"),
    "a write that never answered shows up late": (
        "register", "0 0 - write 1\n1 5 6 read nil nil\n1 100 101 read nil 1"),
    "two compare-and-sets, one of which must be first": (
        "cas-register", "0 0 1 write 1\n0 2 9 cas [1 2]\n1 2 9 cas [2 3]\n2 10 11 read nil 3"),
    "a refused compare-and-set before the write that would have allowed it": (
        "cas-register", "0 0 9 write 1\n1 1 8 cas [1 2] refused\n2 10 11 read nil 1"),
    "enqueues at once come out in either order (Herlihy and Wing, H1)": (
        "queue", "0 0 5 enqueue 1\n1 1 6 enqueue 2\n1 7 8 dequeue nil 2\n0 7 9 dequeue nil 1\n0 10 11 enqueue 3"),
    "a dequeue that never answered may have taken the head": (
        "queue", "0 0 1 enqueue 1\n0 2 3 enqueue 2\n1 4 - dequeue nil\n2 5 6 dequeue nil 2"),
    "nothing there while the enqueue is under way": (
        "queue", "0 0 9 enqueue 1\n1 1 2 dequeue nil nil\n1 3 4 dequeue nil 1"),
    "appends at once": (
        "key-value", '0 0 9 append "x"\n1 0 9 append "y"\n2 1 2 get nil "y"\n2 10 11 get nil "yx"'),
    "an append that never answered is in the middle": (
        "key-value", '0 0 1 put "a"\n1 2 - append "b"\n0 3 4 append "c"\n2 5 6 get nil "abc"'),
    "an element added at once with its removal": (
        "set", "0 0 5 add 1\n1 0 5 remove 1\n2 6 7 read nil #{1}\n3 6 7 contains 1 true"),
    "reads between concurrent increments": (
        "counter", "0 0 9 add 1\n1 0 9 add 2\n2 1 2 read nil 2\n2 3 9 read nil 3"),
}  # fmt: skip

VIOLATED = {
    "an old value after a new one was read": (
        "register", "0 0 9 write 1\n1 1 2 read nil 1\n2 3 4 read nil nil"),
    "two readers see two writes in both orders": (
        "register", "0 0 1 write 1\n1 0 1 write 2\n2 2 9 read nil 1\n3 10 11 read nil 2\n2 12 13 read nil 1"),
    "a stale read (the classic)": (
        "register", "0 0 1 write 1\n0 2 3 write 2\n1 4 5 read nil 1"),
    "a value that nobody wrote": (
        "register", "0 0 1 write 1\n1 0 5 read nil 7"),
    "one value, two compare-and-sets": (
        "cas-register", "0 0 1 write 1\n0 2 9 cas [1 2]\n1 2 9 cas [1 3]"),
    "refused although the value was there all along": (
        "cas-register", "0 0 1 write 1\n1 2 3 cas [1 2] refused\n0 4 5 read nil 1"),
    "the unanswered one is used twice": (
        "cas-register", "0 0 - cas [nil 1]\n1 1 2 read nil 1\n1 3 4 write 2\n1 5 6 read nil 1"),
    "last in, first out (Herlihy and Wing, H2)": (
        "queue", "0 0 1 enqueue 1\n0 2 3 enqueue 2\n1 4 5 dequeue nil 2"),
    "one element comes out twice (H3)": (
        "queue", "0 0 1 enqueue 1\n0 2 9 dequeue nil 1\n1 2 9 dequeue nil 1"),
    "empty, although something had been put in": (
        "queue", "0 0 1 enqueue 1\n1 2 3 dequeue nil nil"),
    "an append is gone": (
        "key-value", '0 0 1 append "x"\n0 2 3 append "y"\n1 4 5 get nil "y"'),
    "appends seen in two orders": (
        "key-value", '0 0 1 append "x"\n1 0 1 append "y"\n2 2 3 get nil "xy"\n3 2 3 get nil "yx"'),
    "an element goes by itself": (
        "set", "0 0 1 add 1\n1 2 3 read nil #{1}\n1 4 5 read nil #{}"),
    "an increment is lost": (
        "counter", "0 0 1 add 1\n1 0 1 add 1\n2 2 3 read nil 1"),
    "the same new value for two increments": (
        "counter", "0 0 9 increment nil 1\n1 0 9 increment nil 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOLDS)
def test_these_hold(name: str) -> None:
    model, text = HOLDS[name]
    assert judge(drawn(text), MODELS[model]).verdict == "holds"


@pytest.mark.parametrize("name", VIOLATED)
def test_these_do_not(name: str) -> None:
    model, text = VIOLATED[name]
    judged = judge(drawn(text), MODELS[model])
    assert judged.verdict == "violated"
    assert judged.parts[0].witness
