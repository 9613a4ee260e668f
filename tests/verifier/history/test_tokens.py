"""Attempts with one request token: one operation, from the first start to the first answer."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from tests.verifier.brute import legal, register_step
from tests.verifier.builders import Op, build, read, write
from tests.verifier.generators import register_history
from verifier.checks.register import check_register
from verifier.history.schema import Outcome
from verifier.history.tokens import merged

TIMEOUT = {"outcome": "unknown", "error": "Timeout"}


def test_without_tokens_nothing_is_touched() -> None:
    history, _ = build([write(1, 2), write(3, 4, token=7)])
    assert merged(history) is history


def test_the_first_attempt_stands_for_all_from_the_first_start_to_the_first_answer() -> None:
    ops = [
        write(1, 5, op=1, token=7, **TIMEOUT),
        write(6, 9, op=2, token=7, intent=1, attempt=2, saw=1, prev=-1, result=1),
        write(10, 12, op=3, token=7, intent=1, attempt=3, saw=1, result=1),
        write(1, 2, op=4, token=8),
    ]
    before, _ = build(ops)
    history = merged(before)
    at = int(np.flatnonzero(history.op == 1)[0])
    row = {name: int(getattr(history, name)[at]) for name in ("start_ns", "end_ns", "outcome", "saw", "prev", "result")}
    assert row == {"start_ns": 1, "end_ns": 9, "outcome": Outcome.OK, "saw": 1, "prev": -1, "result": 1}
    others = np.isin(history.op, [2, 3])
    assert (history.outcome[others] == Outcome.FAIL).all()
    assert history.op.tolist() == before.op.tolist(), "rows stay where they are"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (("unknown", "unknown"), Outcome.UNKNOWN),
        (("unknown", "fail"), Outcome.UNKNOWN),
        (("fail", "fail"), Outcome.FAIL),
        (("fail", "ok"), Outcome.OK),
        (("ok", "unknown"), Outcome.OK),
    ],
)
def test_the_outcome_is_what_all_attempts_say_together(outcomes: tuple[str, str], expected: Outcome) -> None:
    ops = [
        write(1 + 4 * at, 3 + 4 * at, op=at + 1, token=7, intent=1, attempt=at + 1, outcome=outcome, saw=None)
        for at, outcome in enumerate(outcomes)
    ]
    history = merged(build(ops)[0])
    assert Outcome(int(history.outcome[history.op == 1][0])) == expected


def test_one_token_on_two_items_of_a_transaction_is_two_operations() -> None:
    ops = [
        Op("txn_write", 1, 2, op=1, key=key, token=7, intent=1, **TIMEOUT)  # type: ignore[arg-type]
        for key in ("a",)
    ]
    ops += [replace(ops[0], op=2, key=key, start=3, end=4, attempt=2, outcome="ok", error=None) for key in ("b",)]
    history = merged(build(ops)[0])
    assert sorted(history.outcome.tolist()) == [Outcome.OK, Outcome.UNKNOWN]


@pytest.mark.parametrize("seed", range(40))
def test_a_correct_history_stays_correct_when_its_writes_are_repeated_under_their_tokens(seed: int) -> None:
    """Every write is sent again with its token: the repetition's answer comes later, and shows the first's mark."""
    rng = random.Random(seed)
    ops = register_history(rng, 10, blind=True)
    repeated = []
    for op in ops:
        if op.kind != "write" or op.outcome == "fail" or rng.random() < 0.3:
            repeated.append(op)
            continue
        again = replace(op, op=100 + (op.op or 0), intent=op.op, attempt=2, start=op.end + 1, end=op.end + 3)
        if op.outcome == "ok" and rng.random() < 0.5:  # the reply was lost, the repetition is told
            first = replace(op, token=op.op, outcome="unknown", saw=None, prev=None)
            repeated += [first, replace(again, token=op.op, saw=op.op)]
        else:
            repeated += [replace(op, token=op.op), replace(again, token=op.op, outcome="unknown", saw=None, prev=None)]
    history, context = build(repeated)
    assert legal(ops, register_step, -1)
    assert check_register(merged(history), context).verdict != "violated"


def test_unmerged_the_repetitions_would_be_accused() -> None:
    ops = [
        write(1, 2, op=1, token=7, **TIMEOUT),
        write(3, 4, op=2, token=7, intent=1, attempt=2, saw=1),
        read(5, 6, op=3, saw=1),
    ]
    history, context = build(ops)
    assert check_register(history, context).verdict == "violated"
    assert check_register(merged(history), context).verdict == "holds"
