"""Conditions that held twice are found; those that may have held once each are not accused."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest

from tests.verifier.brute import FOREVER, legal
from tests.verifier.builders import REGIONS, Item, Op, build, read
from tests.verifier.generators import register_history, side_by_side
from verifier.checks.conditions import check_lost_update, check_unique
from verifier.checks.explain import finding
from verifier.checks.explain_order import order
from verifier.checks.types import Result
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


def test_correct_conditions_are_never_accused_and_a_second_success_is_found_in_its_place() -> None:
    rng = random.Random(3)
    histories = [register_history(rng, 12) for _ in range(400)]
    assert check_lost_update(*build(side_by_side(histories))).verdict == "holds"
    planted = set()
    for number, ops in enumerate(histories):
        held = [op for op in ops if op.kind == "cas" and op.outcome == "ok" and (op.expect or 0) > 0]
        if held:
            one = rng.choice(held)
            ops.append(
                cas(one.start + rng.randint(-9, 9), 99, one.expect, op=13, key=one.key, region=rng.choice(REGIONS))
            )
            planted.add(f"{number}:{one.key}")
    history, context = build(side_by_side(histories))
    result = check_lost_update(history, context)
    assert {history.keys[one] for one in _keys(result)} == planted
    assert result.count == len(planted) > 100


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
    judged = check_unique(*build([*ops, delete(0, 1, op=3, key="other")], lost=lost))
    assert (judged.verdict, judged.count) == ("unknown", None)
    assert judged.note == "a worker's last rows are missing, which may be deletions: 1 items are not judged"


@pytest.mark.parametrize(
    ("ops", "count"),
    [
        ([delete(12, 13, prev=1)], 0),
        ([delete(12, 13, prev=ABSENT)], 1),  # it found nothing
        ([delete(12, 13), create(14, 19)], 1),  # room for one of two
        ([delete(12, 13), delete(12, 30, outcome="unknown"), create(14, 19)], 0),
        ([create(10, 12, outcome="unknown"), read(13, 14, 3)], 1),  # never answered, but in place by 14
        ([create(10, 12, outcome="unknown"), read(13, 14, 3), delete(9, 11)], 0),
        ([create(10, 12, outcome="unknown"), read(13, 14, 3), delete(15, 16)], 1),
    ],
)
def test_each_creation_needs_room_of_its_own(ops: list[Op], count: int) -> None:
    made = [create(0, 5, op=1), create(20, 25, op=2)][: 1 if ops[0].kind == "create" else 2]
    ops = made + [replace(op, op=number) for number, op in enumerate(ops, 3)]
    assert (check_unique(*build(ops)).count or 0) == count


def too_many(ops: list[Op], there: bool) -> int:
    """How many creations must be left out, at least, for any order of the others to let each find no item."""
    shown = {op.saw: op.end for op in ops if op.kind == "read"}
    creations = [
        replace(op, outcome="ok", end=min(op.end if op.outcome == "ok" else FOREVER, shown.get(op.op, FOREVER)))
        for op in ops
        if op.kind == "create" and (op.outcome == "ok" or (op.outcome == "unknown" and op.op in shown))
    ]
    deletions = [replace(op, saw=None) for op in ops if op.kind == "delete" and op.prev != ABSENT]

    def step(state: int, op: Op) -> int | None:
        return 0 if op.kind == "delete" else None if state else 1

    for fewer in range(len(creations) + 1):
        for some in combinations(creations, len(creations) - fewer):
            if legal([*some, *deletions], step, int(there)):
                return fewer
    raise AssertionError


def creations_and_deletions(rng: random.Random, key: str, first: int) -> list[Op]:
    ops: list[Op] = []
    scale = rng.choice([6, 15, 40])
    for number in range(first, first + rng.randrange(1, 9)):
        start = rng.randrange(scale)
        end = start + rng.randrange(rng.choice([1, 4, scale]) + 1)
        kind, outcome = rng.choice(["create", "delete"]), rng.choice(["ok", "ok", "ok", "unknown", "fail"])
        prev = rng.choice([None, None, ABSENT]) if kind == "delete" and outcome == "ok" else None
        ops.append(Op(kind, start, end, key=key, op=number, outcome=outcome, prev=prev))
        if kind == "create" and outcome == "unknown" and rng.random() < 0.5:
            ops.append(read(start, end + rng.randrange(9), number, key=key, op=number + 500))
    return ops


def test_as_many_are_accused_as_trying_every_order_leaves_out() -> None:
    rng = random.Random(11)
    histories = [creations_and_deletions(rng, f"k{number}", 1000 * number + 1) for number in range(3_000)]
    began = {f"k{number}": Item() for number in range(0, 3_000, 4)}
    history, context = build([op for ops in histories for op in ops], initial={A: began})
    accused = Counter(history.keys[one] for one in _keys(check_unique(history, context)))
    for number, ops in enumerate(histories):
        assert accused[f"k{number}"] == too_many(ops, f"k{number}" in began), ops


def _keys(result: Result) -> list[int]:
    assert result.everything is not None
    return result.everything.key.tolist()
