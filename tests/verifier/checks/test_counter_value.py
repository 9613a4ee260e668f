"""The counter check against truth: thousands of small histories, legal or not as trying every order says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.verifier.brute import counter_step, legal
from tests.verifier.builders import REGIONS, Item, Op, add, build, numbered, read, write
from tests.verifier.generators import counter_history, damaged, side_by_side
from verifier.checks.counter_value import check_counter_value
from verifier.history.columns import LostRange


def some(seed: int, count: int, *, damage: float = 0.6, **more: Any) -> list[Op]:
    """Many small histories side by side, most of them damaged."""
    rng = random.Random(seed)
    histories = []
    for _ in range(count):
        ops = counter_history(rng, rng.randint(2, 9), rng.choice([1, 1, 2]), **more)
        histories.append(damaged(rng, ops, marks=False) if rng.random() < damage else ops)
    return side_by_side(histories)


def by_key(ops: Iterable[Op]) -> dict[str, list[Op]]:
    """Operations by key, of the keys with increments."""
    keys: dict[str, list[Op]] = {}
    for op in ops:
        keys.setdefault(op.key, []).append(op)
    return {key: mine for key, mine in keys.items() if any(op.kind == "add" for op in mine)}


def illegal(ops: list[Op], initial: int = 0) -> set[str]:
    return {key for key, mine in by_key(ops).items() if not legal(mine, counter_step, initial)}


def accused(ops: list[Op], **more: Any) -> set[str]:
    history, context = build(ops, **more)
    result = check_counter_value(history, context)
    if result.everything is None:
        assert result.verdict in ("holds", "unknown")
        return set()
    assert result.verdict == "violated"
    assert result.count == len(result.everything.key)
    return {history.keys[key] for key in result.everything.key}


def assert_same(found: set[str], truth: set[str], ops: list[Op]) -> None:
    wrong = found ^ truth
    keys = by_key(ops)
    worst = min(wrong, key=lambda key: len(keys[key]), default=None)
    assert worst is None, f"{len(wrong)}; {worst} is {'il' if worst in truth else ''}legal:\n" + "\n".join(
        str(op) for op in sorted(keys[worst], key=lambda op: op.start)
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_small_history_is_judged_as_trying_every_order_does(seed: int) -> None:
    ops = some(seed, 2000)
    truth = illegal(ops)
    assert_same(accused(ops), truth, ops)
    assert min(len(truth), len(by_key(ops)) - len(truth)) > 300


def test_key_chunks_make_no_difference() -> None:
    ops = [replace(op, start=op.start * 10**15, end=op.end * 10**15) for op in some(10, 300)]
    assert_same(accused(ops), illegal(ops), ops)


def test_counters_that_did_not_begin_at_nothing() -> None:
    ops = some(11, 1000, initial=40)
    initial = {REGIONS[0]: {op.key: Item(value=40, w=None) for op in ops}}
    truth = illegal(ops, 40)
    assert_same(accused(ops, initial=initial), truth, ops)
    assert len(truth) > 100


def test_the_final_sweep_is_a_read_of_every_counter() -> None:
    rng = random.Random(12)
    ops = some(12, 1500, damage=0.2)
    seen, final = [], {}
    number = max(op.op or 0 for op in ops)
    for key, mine in by_key(ops).items():
        value = max((op.result or 0 for op in mine), default=0) + rng.choice([-1, 0, 0, 1])
        seen.append(read(10**6, 10**6 + 9, result=max(0, value), key=key, op=number + len(seen) + 1))
        if value > 0:
            final[key] = Item(value=value, start=10**6, end=10**6 + 9)
    truth = illegal(ops + seen)
    assert_same(accused(ops, final={REGIONS[1]: final}), truth, ops + seen)
    assert 300 < len(truth) < len(by_key(ops)) - 300


def test_a_killed_worker_accuses_nobody_and_hides_nothing_else() -> None:
    rng = random.Random(13)
    ops = some(13, 2000)
    since = 5
    gone = [op for op in ops if op.kind == "add" and op.start >= since and rng.random() < 0.2]
    left = [op for op in ops if op not in gone]
    # One id is missing for every counter, so that each may have one increment more than its rows say.
    lost = (LostRange(0, 10**9, 10**9, since),)
    number = 10**6
    possible = left + [
        add(since, since, key=key, op=number + i, outcome="unknown") for i, key in enumerate(by_key(left))
    ]
    assert_same(accused(left, lost=lost), illegal(possible), possible)
    assert len(illegal(left)) > len(illegal(possible)) > 100
    everything = (LostRange(0, 10**9, 10**12, -(2**60)),)
    assert not accused(left, lost=everything) - illegal([*possible, *(
        add(-9, -9, key=op.key, op=2 * number + i, outcome="unknown") for i, op in enumerate(gone))])  # fmt: skip


@pytest.mark.parametrize("slack", [2, 10])
def test_what_clocks_may_explain_is_only_possible(slack: int) -> None:
    seen: Counter[str] = Counter()
    for key, mine in by_key(some(14, 200)).items():
        wide = [replace(op, start=op.start - slack, end=op.end + slack) for op in mine]
        expected = "violated" if illegal(wide) else "possible" if illegal(mine) else "holds"
        history, context = build(mine, epsilon_ns=slack)
        verdict = check_counter_value(history, context).verdict
        assert verdict == expected or (verdict == "unknown" and expected == "holds"), (key, mine)
        seen[verdict] += 1
    assert min(seen["violated"], seen["possible"], seen["holds"]) > 0


def test_other_steps_are_never_accused_falsely_and_mostly_found() -> None:
    rng = random.Random(15)
    ops = [replace(op, value=rng.choice([1, 2, 5])) if op.kind == "add" else op for op in some(15, 1500, damage=0)]
    # Replay what each operation returned, now with other steps: take the correct order from the values of the first.
    keys = by_key(ops)
    replayed: list[Op] = []
    for mine in keys.values():
        total = 0
        steps: dict[int, int] = {}
        for op in sorted((op for op in mine if op.kind == "add" and op.outcome == "ok"), key=lambda op: op.result or 0):
            while len(steps) < (op.result or 0) - 1:
                steps[len(steps) + 1] = total = total + 1
            steps[op.result or 0] = total = total + (op.value or 0)
        for op in mine:
            known = op.result is None or op.result == 0 or op.result in steps
            if known and not (op.kind == "add" and op.outcome == "unknown" and op.value != 1):
                replayed.append(replace(op, result=steps.get(op.result or 0, op.result)))
    changed = [replace(op, result=op.result + rng.choice([0, 0, 1, 3])) if op.result else op for op in replayed]
    for version in (replayed, changed):
        truth = illegal(version)
        found = accused(version)
        assert found <= truth
        assert len(found) >= 0.9 * len(truth)


def test_what_is_found_is_said_with_who_proves_it() -> None:
    ops = [add(1, 2, result=1, op=1), add(3, 4, result=1, op=2), add(5, 6, result=3, op=3), read(9, 10, result=1, op=4)]
    history, context = build(ops)
    found = {violation.facts["rule"]: violation for violation in check_counter_value(history, context).violations}
    assert set(found) == {"lost update", "surplus", "late"}
    assert [int(history.op[row]) for row in found["lost update"].rows] == [1, 2]
    assert found["late"].stale_versions == 2
    assert found["late"].gamma_ns == 3
    assert [int(history.op[row]) for row in found["late"].rows] == [1, 3, 4]
    assert found["surplus"].gamma_ns is None
    assert not legal(numbered(ops), counter_step, 0)


def test_keys_that_are_no_counters_are_left_out() -> None:
    ops = [add(1, 2, result=5, op=1), write(3, 4, op=2), add(1, 2, result=9, key="down", value=-1, op=3)]
    history, context = build(ops)
    result = check_counter_value(history, context)
    assert result.verdict == "unknown"
    assert "other updates" in (result.note or "")
    assert "not positive" in (result.note or "")
