"""The register check against truth: thousands of small histories, legal or not as trying every order says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.verifier.brute import legal, register_step
from tests.verifier.builders import REGIONS, Item, Op, build, numbered, read, write
from tests.verifier.generators import damaged, register_history, side_by_side
from verifier.checks.register import check_local_register, check_register
from verifier.checks.types import Check
from verifier.history.columns import LostRange
from verifier.history.schema import ABSENT


def some(seed: int, count: int, *, damage: float = 0.8, **more: Any) -> list[Op]:
    """Many small histories side by side, most of them damaged."""
    rng = random.Random(seed)
    histories = []
    for _ in range(count):
        ops = register_history(rng, rng.randint(2, 9), rng.choice([1, 1, 2]), **more)
        histories.append(damaged(rng, ops, marks=True) if rng.random() < damage else ops)
    return side_by_side(histories)


def by_key(ops: Iterable[Op]) -> dict[str, list[Op]]:
    keys: dict[str, list[Op]] = {}
    for op in ops:
        keys.setdefault(op.key, []).append(op)
    return keys


def illegal(ops: list[Op], initial: Callable[[str], int] = lambda key: ABSENT) -> set[str]:
    """Keys whose operations stand in no legal order."""
    return {key for key, mine in by_key(ops).items() if not legal(mine, register_step, initial(key))}


def accused(ops: list[Op], check: Check = check_register, verdict: str = "violated", **more: Any) -> set[str]:
    history, context = build(ops, **more)
    result = check(history, context)
    columns = result.everything
    if columns is None:
        assert result.verdict in ("holds", "unknown")
        assert not result.violations
        return set()
    assert result.verdict == verdict
    assert result.count == len(columns.key)
    assert result.count >= len(result.violations) >= min(result.count, 200)
    assert columns.worst is not None
    assert [columns.key[at] for at in columns.worst] == [violation.key for violation in result.violations]
    return {history.keys[key] for key in columns.key}


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


def test_keys_that_began_with_an_item() -> None:
    ops = some(11, 1000, initial=10**9)
    ops = [replace(op, **{name: 10**9 for name in ("saw", "prev", "expect") if (getattr(op, name) or 0) >= 10**9})
           for op in ops]  # fmt: skip
    initial = {REGIONS[0]: {op.key: Item(w=10**9) for op in ops}}
    truth = illegal(ops, lambda key: 10**9)
    assert_same(accused(ops, initial=initial), truth, ops)
    assert len(truth) > 100


def test_the_final_sweep_is_a_read_of_every_key() -> None:
    rng = random.Random(12)
    ops = some(12, 1500, damage=0.3)
    sweep = {}
    final: dict[str, Item] = {}
    for key, mine in by_key(ops).items():
        writers = [op.op for op in mine if op.kind != "read" and op.outcome != "fail"]
        shown = rng.choice([*writers[-2:], ABSENT])
        if writers:
            sweep[key] = read(10**6, 10**6 + 9, saw=shown, key=key)
            if shown != ABSENT:
                final[key] = Item(w=shown, start=10**6, end=10**6 + 9)
    number = max(op.op or 0 for op in ops)
    seen = [replace(op, op=number + i) for i, op in enumerate(sweep.values(), 1)]
    truth = illegal(ops + seen)
    assert_same(accused(ops, final={REGIONS[1]: final}), truth, ops + seen)
    assert 300 < len(truth) < len(by_key(ops)) - 300


def test_a_killed_worker_accuses_nobody_and_hides_nothing_else() -> None:
    rng = random.Random(13)
    ops = some(13, 2000)
    gone = {op.op for op in ops if op.kind != "read" and rng.random() < 0.2}
    left = [op for op in ops if op.op not in gone]
    lost = tuple(LostRange(0, int(op or 0), int(op or 0), -1000) for op in sorted(gone, key=lambda op: op or 0))
    # A lost operation is a write of its mark at any time, or none; of which key is seen by who shows it.
    possible = left + [
        Op("write", -1000, -1000, key=key, op=mark, outcome="unknown")
        for key, mine in by_key(left).items()
        for mark in {mark for op in mine for mark in (op.saw, op.prev, op.expect)} & gone
    ]
    truth = {key for key in illegal(possible) if key in by_key(left)}
    assert_same(accused(left, lost=lost), truth, possible)
    assert illegal(left) - truth
    assert len(truth) > 100


@pytest.mark.parametrize("slack", [2, 10])
def test_what_clocks_may_explain_is_only_possible(slack: int) -> None:
    for key, mine in by_key(some(14, 150)).items():
        wide = [replace(op, start=op.start - slack, end=op.end + slack) for op in mine]
        expected = "violated" if illegal(wide) else "possible" if illegal(mine) else "holds"
        history, context = build(mine, epsilon_ns=slack)
        verdict = check_register(history, context).verdict
        assert verdict == expected or (verdict == "unknown" and expected == "holds"), (key, mine)


def test_each_region_by_itself_takes_the_others_writes_as_unknown() -> None:
    ops = some(15, 1500)
    truth = set()
    for region in REGIONS:
        view = []
        for op in ops:
            if op.region == region:
                view.append(op)
            elif op.kind != "read" and op.outcome != "fail":
                view.append(Op("write", op.start, op.end, key=op.key, op=op.op, outcome="unknown"))
        truth |= illegal(view)
    assert_same(accused(ops, check_local_register, mode="MREC"), truth, ops)
    assert 100 < len(truth) < len(illegal(ops))


def test_a_witness_is_illegal_on_its_own() -> None:
    rules: Counter[object] = Counter()
    for seed in range(400):
        rng = random.Random(seed)
        ops = damaged(rng, register_history(rng, 12, blind=True), marks=True)
        history, context = build(ops)
        for violation in check_register(history, context).violations:
            assert 1 <= len(violation.rows) <= 6
            witness = [op for op in numbered(ops) if op.op in history.op[list(violation.rows)]]
            assert not legal(witness, register_step, ABSENT), (violation, witness)
            assert violation.facts["rule"] != "stale" or (violation.stale_ms or 0) > 0
            rules[violation.facts["rule"]] += 1
    assert {"stale", "early", "nobody", "refused"} <= set(rules)


def test_a_stale_read_says_how_stale_and_by_how_many_versions() -> None:
    ops = [write(10 * i, 10 * i + 5, op=i) for i in range(1, 6)] + [read(10**6, 10**6 + 1, saw=2, op=9)]
    history, context = build([replace(op, start=op.start * 10**6, end=op.end * 10**6) for op in ops])
    (violation,) = check_register(history, context).violations
    assert violation.facts["rule"] == "stale"
    assert violation.stale_versions == 3
    assert violation.stale_ms == 10**6 - 35
    assert violation.gamma_ns == 5 * 10**6
    assert [int(history.op[row]) for row in violation.rows] == [2, 3, 9]


def test_reads_that_show_two_concurrent_writes_in_both_orders() -> None:
    ops = [write(0, 99, op=1), write(0, 99, op=2)]
    ops += [read(10, 11, saw=1, op=3), read(20, 21, saw=2, op=4), read(30, 31, saw=1, op=5)]
    history, context = build(ops)
    (violation,) = check_register(history, context).violations
    assert violation.facts["rule"] == "order"
    assert sorted(history.op[list(violation.rows)]) == [1, 2, 3, 4, 5]
    assert violation.gamma_ns == 9
    assert not legal(numbered(ops), register_step, ABSENT)
    assert check_register(*build(ops[:-1])).verdict == "holds"


def test_two_writes_upon_one_are_a_lost_update_even_at_the_same_time() -> None:
    ops = [write(1, 9, prev=ABSENT, op=1), write(11, 19, prev=1, op=2), write(11, 19, prev=1, op=3)]
    history, context = build(ops)
    (violation,) = check_register(history, context).violations
    assert violation.facts["rule"] == "lost update"
    assert violation.gamma_ns is None
    assert [int(history.op[row]) for row in violation.rows] == [1, 2, 3]


def test_writes_that_follow_each_other_in_a_circle_are_refused() -> None:
    ops = [write(1, 9, prev=2, op=1), write(1, 9, prev=1, op=2)]
    history, context = build(ops)
    result = check_register(history, context)
    assert result.verdict == "violated"
    assert {violation.facts["rule"] for violation in result.violations} == {"circle"}


def test_eventual_reads_prove_nothing_and_nothing_at_all_is_unknown() -> None:
    ops = [write(1, 2, op=1), write(3, 4, op=2), Op("read_eventual", 5, 6, saw=1, op=3)]
    history, context = build(ops)
    assert check_register(history, context).verdict == "unknown"
    assert check_register(history, context).exercised == 0


def test_keys_with_deletes_are_left_out_and_said() -> None:
    ops = [write(1, 2, op=1), Op("delete", 3, 4, op=2), read(5, 6, saw=1, op=3)]
    history, context = build(ops)
    result = check_register(history, context)
    assert result.verdict == "unknown"
    assert "deletes" in (result.note or "")


def test_reads_without_a_mark_are_counted_and_not_judged() -> None:
    """Two writes of one value: nobody can say whose a read of it is, unless the mark comes back."""
    ops = [write(1, 2, op=1, value=7), write(3, 4, op=2, value=7, prev=1), Op("read", 5, 6, op=3, result=7)]
    result = check_register(*build(ops))
    assert str(result.note) == "1 reads name no writer (no mark came back): values may repeat, so these are not judged"
    assert check_register(*build([*ops[:2], read(5, 6, op=3, saw=2)])).note is None
