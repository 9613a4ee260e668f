"""No relay: nothing written behind a cut comes through it, and what a third Region may lawfully show is no breach."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.builders import REGIONS, Op, build, read, write
from tests.verifier.stores import simulate
from verifier.checks.relay import check_relay, cuts_of
from verifier.checks.types import Result
from verifier.rundir import FaultRecord

A, B, C = REGIONS


def cut(kind: str = "link-cut", onset: int | None = 100, healed: int | None = 200, **more: object) -> FaultRecord:
    where = {"links": [(A, B)]} if kind == "link-cut" else {"regions": [A]}
    return FaultRecord.model_validate(
        {"id": "f1", "kind": kind, "asked_ns": 90, "onset_ns": onset, "healed_ns": healed, **where, **more}
    )


def judge(ops: list[Op], fault: FaultRecord) -> Result:
    history, context = build(ops, mode="MREC", faults=(fault,))
    return check_relay(history, context)


WRITE = write(110, 120, op=1, region=A, prev=-1)


def test_a_read_behind_the_cut_shows_the_relay() -> None:
    result = judge([WRITE, read(130, 140, saw=1, region=B)], cut())
    assert (result.verdict, result.count, result.exercised) == ("violated", 1, 1)


def test_what_the_regions_own_write_was_applied_to_shows_it_too() -> None:
    assert judge([WRITE, write(130, 140, op=2, region=B, prev=1)], cut()).verdict == "violated"


@pytest.mark.parametrize(
    "ops",
    [
        [WRITE, read(130, 140, saw=1, region=C)],  # C's link to A is whole
        [WRITE, read(130, 201, saw=1, region=B)],  # may have been answered after the healing
        [WRITE, read(130, 200, saw=1, region=B)],  # may have been answered in the very moment, right after the healing
        [write(90, 120, op=1, region=A, prev=-1), read(130, 140, saw=1, region=B)],  # may have passed before the cut
        [write(100, 120, op=1, region=A, prev=-1), read(130, 140, saw=1, region=B)],  # in the very moment, right before
        [
            WRITE,
            write(125, 128, op=2, region=C, prev=1),
            read(130, 140, saw=2, prev=1, region=B),
        ],  # C's own later write
    ],
)
def test_what_a_correct_store_may_show(ops: list[Op]) -> None:
    assert judge(ops, cut()).count == 0


def test_a_read_that_shows_the_old_state_exercises_the_promise() -> None:
    ops = [write(10, 20, op=1, region=A, prev=-1), write(110, 120, op=2, region=A, prev=1)]
    result = judge([*ops, read(130, 140, saw=1, region=B)], cut())
    assert (result.verdict, result.exercised) == ("holds", 1)


def test_until_is_when_healing_was_asked_for() -> None:
    ops = [WRITE, read(130, 140, saw=1, region=B)]
    assert judge(ops, cut(clear_asked_ns=135)).count == 0
    assert judge(ops, cut(clear_asked_ns=150)).count == 1


def test_a_fault_that_was_never_seen_to_take_hold_proves_nothing() -> None:
    assert judge([WRITE, read(130, 140, saw=1, region=B)], cut(onset=None)).verdict == "unknown"


def test_one_way_and_region_faults_cut_what_they_say() -> None:
    def pairs(fault: FaultRecord) -> set[tuple[str, str]]:
        _, context = build([WRITE], mode="MREC", faults=(fault,))
        return {(one.source, one.target) for one in cuts_of(context)}

    assert pairs(cut()) == {(A, B), (B, A)}
    assert pairs(cut(parameters={"one_way": True})) == {(A, B)}
    assert pairs(cut("region-isolated")) == {(A, B), (A, C), (B, A), (C, A)}
    assert pairs(cut("partial-impairment")) == set()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), unknown=st.sampled_from([0.0, 0.2]), killed=st.booleans())
def test_a_store_that_does_not_relay_is_not_accused(seed: int, unknown: float, killed: bool) -> None:
    run = simulate(seed, "MREC", kinds=("add", "write"), unknown=unknown, killed=killed, cut=True, delay_ms=3)
    history, context = build(run.ops, **run.arguments())
    assert check_relay(history, context).violations == ()


@pytest.mark.parametrize("seed", range(5))
def test_a_store_that_relays_is_found_out(seed: int) -> None:
    run = simulate(seed, "MREC", cut=True, bug="relay", delay_ms=3, intents=20)
    history, context = build(run.ops, **run.arguments())
    assert check_relay(history, context).verdict == "violated"
