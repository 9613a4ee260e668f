"""Conditions that held twice are found; those that may have held once each are not accused."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.builders import REGIONS, Item, Op, build, read
from verifier.checks.conditions import check_lost_update, check_unique
from verifier.checks.explain import finding
from verifier.checks.explain_order import order
from verifier.history.columns import LostRange
from verifier.history.schema import ABSENT

A, B, C = REGIONS


def cas(start: int, end: int, expect: int | None, **more: object) -> Op:
    return Op("cas", start, end, expect=expect, **more)  # type: ignore[arg-type]


def create(start: int, end: int, **more: object) -> Op:
    return Op("create", start, end, expect=ABSENT, **more)  # type: ignore[arg-type]


def delete(start: int, end: int, **more: object) -> Op:
    return Op("delete", start, end, **more)  # type: ignore[arg-type]


def test_two_successes_from_one_state_are_a_lost_update() -> None:
    ops = [create(0, 5, op=1), cas(10, 15, 1, op=2), cas(12, 19, 1, op=3, region=B), cas(20, 25, 1, op=4, region=C)]
    history, context = build(ops)
    result = check_lost_update(history, context)
    assert (result.verdict, result.count, result.exercised) == ("violated", 2, 3)
    assert [[int(history.op[row]) for row in violation.rows] for violation in result.violations] == [
        [1, 2, 3],
        [1, 2, 4],
    ]
    sentence = finding("lost_update", order, history, context, result.violations[0]).sentence
    assert "were both applied to us-east-1's creation 0:1" in sentence


@pytest.mark.parametrize(
    "second",
    [
        cas(12, 19, 2, op=3),  # from the next state
        cas(12, 19, 1, op=3, outcome="fail"),
        cas(12, 19, 1, op=3, outcome="unknown"),  # and nobody saw it
        cas(12, 19, 1, op=3, key="other"),
        cas(12, 19, None, op=3),  # it asked for something else than a mark
    ],
)
def test_other_pairs_are_not(second: Op) -> None:
    assert check_lost_update(*build([create(0, 5, op=1), cas(10, 15, 1, op=2), second])).verdict == "holds"


def test_an_update_without_answer_that_somebody_saw_held_its_condition() -> None:
    ops = [create(0, 5, op=1), cas(10, 15, 1, op=2), cas(12, 19, 1, op=3, outcome="unknown")]
    assert check_lost_update(*build([*ops, read(30, 31, 3, op=4)])).count == 1
    assert check_lost_update(*build(ops, final={A: {"k": Item(0, 3, 1)}})).count == 1


def test_two_creations_are_one_too_many() -> None:
    ops = [create(0, 5, op=1), create(3, 9, op=2, region=B), create(3, 9, op=3, key="other")]
    history, context = build(ops)
    result = check_unique(history, context)
    assert (result.verdict, result.count, result.exercised) == ("violated", 1, 3)
    sentence = finding("unique", order, history, context, result.violations[0]).sentence
    assert "both created k on condition that there was no such item" in sentence
    assert check_unique(*build(ops[::2])).verdict == "holds"
    assert check_unique(*build([create(0, 5, op=1), create(6, 9, op=2, outcome="fail")])).verdict == "holds"


def test_an_item_that_the_run_began_with_cannot_be_created() -> None:
    history, context = build([create(0, 5, op=1)], initial={A: {"k": Item(0, 77)}})
    result = check_unique(history, context)
    assert result.verdict == "violated"
    assert "began with" in finding("unique", order, history, context, result.violations[0]).sentence


def test_a_deletion_makes_room_if_it_can_have_come_between() -> None:
    first, second = create(0, 5, op=1), create(20, 25, op=2)
    for between in (delete(6, 9, op=3), delete(24, 40, op=3), delete(0, 1, op=3, outcome="unknown")):
        assert check_unique(*build([first, second, between])).verdict == "holds"
    for elsewhere in (delete(26, 30, op=3), delete(6, 9, op=3, outcome="fail")):
        assert check_unique(*build([first, second, elsewhere])).verdict == "violated"
    late = [create(10, 15, op=1), create(20, 25, op=2), delete(0, 8, op=3)]
    assert check_unique(*build(late)).verdict == "violated"
    assert check_unique(*build(late, epsilon_ns=1)).verdict == "holds"


def test_a_killed_worker_may_have_deleted_what_it_could() -> None:
    lost = (LostRange(1, 1 << 48, (1 << 48) + 5, 0),)
    ops = [create(0, 5, op=1), create(20, 25, op=2)]
    assert check_unique(*build(ops, lost=lost)).verdict == "violated"  # nobody deletes in this run
    assert check_unique(*build([*ops, delete(0, 1, op=3, key="other")], lost=lost)).verdict == "holds"


def possible(ops: list[Op]) -> bool:
    """Whether any order of the operations (unknown deletions at will) lets every creation find no item."""
    certain = [op for op in ops if op.outcome == "ok"]
    perhaps = [op for op in ops if op.outcome == "unknown" and op.kind == "delete"]
    for chosen in range(1 << len(perhaps)):
        some = certain + [op for at, op in enumerate(perhaps) if chosen >> at & 1]
        for line in permutations(some):
            if any(b.outcome == "ok" and b.end < a.start for at, a in enumerate(line) for b in line[at + 1 :]):
                continue
            there = False
            for op in line:
                if op.kind == "create" and there:
                    break
                there = op.kind == "create"
            else:
                return True
    return False


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(["create", "create", "delete"]), st.integers(0, 12), st.integers(0, 6),
                          st.sampled_from(["ok", "ok", "unknown", "fail"])), max_size=5))  # fmt: skip
def test_no_order_is_accused_that_exists_and_without_deletions_none_is_missed(
    drawn: list[tuple[str, int, int, str]],
) -> None:
    ops = [
        Op(kind, start, start + length, op=number + 1, outcome=outcome, expect=ABSENT if kind == "create" else None)
        for number, (kind, start, length, outcome) in enumerate(drawn)
    ]
    result = check_unique(*build(ops))
    legal = possible(ops)
    assert not (legal and result.verdict == "violated")
    if not any(op.kind == "delete" and op.outcome != "fail" for op in ops):
        assert (result.verdict == "violated") == (not legal)
