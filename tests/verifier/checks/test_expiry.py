"""Time to live: what is gone before its time is found; what may be gone is not accused."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.verifier.builders import REGIONS, Op, add, build, read
from verifier.checks.expiry import check_expiry
from verifier.checks.explain import finding
from verifier.checks.explain_items import items
from verifier.history.schema import ABSENT, EXPIRY

A, B, C = REGIONS


def ends(at: int, when: int, **more: object) -> Op:
    return Op("delete", at, at, value=when, outcome="unknown", error=EXPIRY, **more)  # type: ignore[arg-type]


def gone(start: int, end: int, **more: object) -> Op:
    return read(start, end, ABSENT, **more)


@pytest.mark.parametrize(
    ("ops", "accused"),
    [
        ([add(0, 5), ends(6, 50), gone(20, 25)], True),
        ([add(0, 5), ends(6, 50), gone(40, 50)], False),  # its time was over when the answer came
        ([add(0, 5), ends(6, 50), gone(60, 65)], False),
        ([add(0, 5), ends(6, 50), gone(2, 5)], False),  # not there yet
        ([add(0, 5), ends(6, 50), add(10, 15), ends(16, 90), gone(60, 65)], True),  # its end was moved
        ([add(0, 5), ends(6, 50), gone(20, 25, region=B)], False),  # it may not have arrived there
        ([add(0, 5), ends(6, 50), add(0, 5, region=B), gone(20, 25)], False),
        ([add(0, 5), ends(6, 50), Op("delete", 7, 9), gone(20, 25)], False),
        ([add(0, 5), ends(6, 50), read(20, 25, 1)], False),
        ([add(0, 5), ends(6, 50), add(7, 9, outcome="unknown"), gone(20, 25)], False),  # which may have set another
        ([add(0, 5), ends(6, 50), gone(20, 25), add(26, 29, outcome="unknown")], True),
        ([add(0, 5), ends(6, 50), add(10, 15), ends(16, 90), add(14, 17), ends(18, 95), gone(60, 65)], False),
        ([add(0, 5), ends(6, 50), gone(20, 25, key="other")], False),
    ],
)
def test_an_item_is_there_until_its_time_is_over(ops: list[Op], accused: bool) -> None:
    history, context = build(ops, mode="MREC")
    result = check_expiry(history, context)
    assert (result.verdict == "violated") == accused
    for one in result.violations:
        sentence = finding("expiry", items, history, context, one).sentence
        assert "shows no k any more" in sentence
        assert "before the end that its last acknowledged write had set" in sentence


def test_clocks_may_explain_a_little() -> None:
    ops = [add(0, 5), ends(6, 29), gone(20, 25)]
    assert check_expiry(*build(ops, mode="MREC", epsilon_ns=1)).verdict == "violated"
    assert check_expiry(*build([add(0, 5)], mode="MREC")).verdict == "unknown"


def test_correct_sessions_are_never_accused_and_one_that_vanishes_is() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        ops: list[Op] = []
        for session in range(6):
            key, now, end = f"s{session}", rng.randrange(50), 0
            for _ in range(rng.randrange(2, 6)):
                ops += [add(now, now + 3, key=key), ends(now + 4, now + 40, key=key)]
                end = now + 40
                now += rng.randrange(6, 30)
            ops += [read(end - 20, end - 15, 1, key=key), gone(end + rng.randrange(9), end + 20, key=key)]
        assert check_expiry(*build(ops, mode="MREC")).verdict == "holds", seed
        at = rng.choice([at for at, op in enumerate(ops) if op.kind == "read" and op.saw == 1])
        ops[at] = replace(ops[at], saw=ABSENT)
        history, context = build(ops, mode="MREC")
        result = check_expiry(history, context)
        assert [int(one.rows[-1]) for one in result.violations] == [
            row for row in range(len(history)) if int(history.op[row]) == at + 1
        ]
