"""A refused write wrote nothing, and in MRSC no two writes succeed from one predecessor."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.builders import REGIONS, Item, Op, add, build, read, write
from tests.verifier.stores import CONFLICT, simulate
from verifier.checks.refusals import check_forks, check_refused

A, B, C = REGIONS
REFUSED = add(0, 5, op=1, outcome="fail", error=CONFLICT)


@pytest.mark.parametrize("shows", [read(6, 7, saw=1), add(6, 7, 2, op=2, prev=1)])
def test_a_refused_write_that_somebody_saw_is_a_breach(shows: Op) -> None:
    history, context = build([REFUSED, shows])
    result = check_refused(history, context)
    assert (result.verdict, result.count) == ("violated", 1)
    assert history.op[result.violations[0].rows[0]] == 1


def test_a_refused_write_in_a_final_item_is_a_breach() -> None:
    history, context = build([REFUSED, add(6, 7, 1, op=2)], final={B: {"k": Item(1, 1, -1)}})
    result = check_refused(history, context)
    assert result.violations[0].facts["final"] == B


def test_refusals_that_nobody_saw_hold_and_none_prove_nothing() -> None:
    history, context = build([REFUSED, add(6, 7, 1, op=2, prev=-1)])
    assert check_refused(history, context).verdict == "holds"
    history, context = build([add(6, 7, 1, op=2, prev=-1)])
    assert check_refused(history, context).exercised == 0


def test_two_writes_from_one_predecessor_are_a_fork() -> None:
    ops = [write(0, 1, op=1, prev=-1), write(2, 9, op=2, prev=1), write(3, 9, op=3, prev=1), write(4, 9, op=4, prev=1)]
    history, context = build(ops)
    result = check_forks(history, context)
    assert (result.verdict, result.count) == ("violated", 2)
    assert [int(history.op[row]) for row in result.violations[0].rows] == [1, 2, 3]


def test_two_writes_to_the_state_of_the_start_are_a_fork() -> None:
    for initial, prev in (({}, -1), ({"k": Item(0, 77)}, 77)):
        ops = [write(0, 1, op=1, prev=prev), write(2, 9, op=2, prev=prev)]
        history, context = build(ops, initial=dict.fromkeys(REGIONS, initial))
        assert check_forks(history, context).verdict == "violated"


def test_an_item_that_was_deleted_may_begin_again() -> None:
    ops = [write(0, 1, op=1, prev=-1), Op("delete", 2, 3, op=2), write(4, 9, op=3, prev=-1)]
    history, context = build(ops)
    assert check_forks(history, context).violations == ()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), mode=st.sampled_from(["MREC", "MRSC"]), killed=st.booleans())
def test_correct_stores_are_not_accused(seed: int, mode: str, killed: bool) -> None:
    run = simulate(seed, mode, kinds=("add", "write"), unknown=0.1, refused=0.2, killed=killed, retries=True)  # type: ignore[arg-type]
    history, context = build(run.ops, **run.arguments())
    assert check_refused(history, context).violations == ()
    if mode == "MRSC":
        assert check_forks(history, context).violations == ()


@pytest.mark.parametrize("seed", range(5))
def test_planted_bugs_are_found(seed: int) -> None:
    run = simulate(seed, "MRSC", refused=0.2, bug="refused although applied", intents=20)
    history, context = build(run.ops, **run.arguments())
    assert check_refused(history, context).verdict == "violated"
    run = simulate(seed, "MRSC", bug="applied to a stale copy", intents=30)
    history, context = build(run.ops, **run.arguments())
    assert check_forks(history, context).verdict == "violated"
