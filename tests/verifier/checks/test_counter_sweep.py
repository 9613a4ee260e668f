"""Counters whose increments return nothing, against truth: trying every order, and the general search."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from tests.verifier.brute import blind_counter_step, legal
from tests.verifier.builders import REGIONS, Item, Op, add, build, read
from tests.verifier.generators import counter_history, damaged, side_by_side
from verifier.checks.counter_sweep import check_counter_sweep, check_counters, explain
from verifier.checks.explain import finding
from verifier.foreign.run import counter_keys, operations_of
from verifier.history.columns import LostRange
from verifier.search.judge import judge
from verifier.search.linearise import Limits
from verifier.search.models import COUNTER


def some(seed: int, count: int, size: int = 9, **more: int) -> list[Op]:
    """Many small histories side by side; increments return nothing, each counter has one that was acknowledged."""
    rng = random.Random(seed)
    histories = []
    for _ in range(count):
        ops = counter_history(rng, rng.randint(2, size), **more)
        ops = damaged(rng, ops, marks=False) if rng.random() < 0.6 else ops
        histories.append([replace(op, result=None) if op.kind == "add" else op for op in ops])
    ops = side_by_side(histories)
    blind = {op.key for op in ops if op.kind == "add" and op.outcome == "ok"}
    return [op for op in ops if op.key in blind]


def by_key(ops: list[Op]) -> dict[str, list[Op]]:
    keys: dict[str, list[Op]] = {}
    for op in ops:
        keys.setdefault(op.key, []).append(op)
    return keys


def illegal(ops: list[Op], initial: int = 0) -> set[str]:
    return {key for key, mine in by_key(ops).items() if not legal(mine, blind_counter_step, initial)}


def accused(ops: list[Op], **more: object) -> set[str]:
    history, context = build(ops, **more)  # type: ignore[arg-type]
    result = check_counter_sweep(history, context)
    if result.everything is None:
        return set()
    assert result.verdict == "violated"
    assert result.count == len(result.everything.key)
    return {history.keys[key] for key in result.everything.key}


def assert_same(found: set[str], truth: set[str], ops: list[Op]) -> None:
    keys = by_key(ops)
    worst = min(found ^ truth, key=lambda key: len(keys[key]), default=None)
    assert worst is None, (worst in truth, keys[worst or ""])


@pytest.mark.parametrize("seed", range(4))
def test_every_small_history_is_judged_as_trying_every_order_does(seed: int) -> None:
    ops = some(seed, 1500)
    truth = illegal(ops)
    assert_same(accused(ops), truth, ops)
    assert min(len(truth), len(by_key(ops)) - len(truth)) > 150


def test_bigger_ones_as_the_general_search_does() -> None:
    ops = some(20, 200, 50)
    history, _ = build(ops)
    judged = judge(list(operations_of(history, counter_keys(history))), COUNTER, Limits(deadline_s=60))
    assert judged.verdict == "violated"
    assert_same(accused(ops), {str(part.key) for part in judged.parts if part.found.verdict == "violated"}, ops)


def test_where_the_counters_began_and_ended() -> None:
    rng = random.Random(21)
    ops = some(21, 1500, initial=40)
    number = max(op.op or 0 for op in ops)
    seen, final = [], {}
    for key, mine in by_key(ops).items():
        value = 40 + sum(op.kind == "add" and op.outcome == "ok" for op in mine) + rng.choice([-1, 0, 0, 1])
        final[key] = Item(value=value, start=10**6, end=10**6 + 9)
        seen.append(read(10**6, 10**6 + 9, result=value, key=key, op=number + len(seen) + 1))
    truth = illegal(ops + seen, 40)
    initial = {REGIONS[0]: {op.key: Item(value=40) for op in ops}}
    assert_same(accused(ops, initial=initial, final={REGIONS[1]: final}), truth, ops + seen)
    assert 300 < len(truth) < len(by_key(ops)) - 300


def test_a_killed_worker_accuses_nobody_and_hides_nothing_else() -> None:
    ops = some(22, 1500)
    number = 10**6
    possible = ops + [add(5, 5, key=key, op=number + i, outcome="unknown") for i, key in enumerate(by_key(ops))]
    assert_same(accused(ops, lost=(LostRange(0, 10**9, 10**9, 5),)), illegal(possible), possible)


@pytest.mark.parametrize("slack", [2, 10])
def test_what_clocks_may_explain_is_only_possible(slack: int) -> None:
    seen: Counter[str] = Counter()
    for key, mine in by_key(some(23, 300)).items():
        wide = [replace(op, start=op.start - slack, end=op.end + slack) for op in mine]
        expected = "violated" if illegal(wide) else "possible" if illegal(mine) else "holds"
        history, context = build(mine, epsilon_ns=slack)
        result = check_counter_sweep(history, context)
        assert result.verdict == expected, (key, mine)
        for violation in result.violations:
            assert violation.gamma_ns is None or (violation.gamma_ns > 2 * slack) == (expected == "violated")
        seen[result.verdict] += 1
    assert min(seen["violated"], seen["possible"], seen["holds"]) > 0


def test_what_is_missing_is_told_with_what_proves_it() -> None:
    ops = [
        add(1, 2, op=1),
        read(3, 4, result=1, op=2),
        add(5, 6, op=3),
        add(7, 8, op=4),
        read(10, 12, result=2, op=5),
        read(20, 21, result=2, op=6),
        read(30, 31, result=9, op=7),
    ]
    history, context = build(ops, final={REGIONS[0]: {"k": Item(value=1, start=40, end=41)}})
    result = check_counter_sweep(history, context)
    texts = [finding("counter", explain, history, context, one).sentence for one in result.violations]
    assert len(texts) == 3
    (missing,) = (text for text in texts if "strong read 0:5" in text)
    assert (
        "shows 2, but it began with 0, and 3 acknowledged increments were wholly between the two: 1 is lost" in missing
    )
    (final,) = (text for text in texts if text.startswith("The final item of us-east-1 shows 1, but"))
    assert "had shown 9, and 0 acknowledged increments were wholly between the two: 8 are lost" in final
    assert any("more than all increments" in text for text in texts)
    assert result.exercised == 3


def test_one_check_for_all_counters_accuses_nothing_twice() -> None:
    ops = [add(1, 2, op=1), add(3, 4, op=2), read(5, 6, result=1, op=3)]
    told = [add(1, 2, result=1, op=11, key="told"), add(3, 4, result=1, op=12, key="told")]
    both = [
        add(1, 2, op=21, key="both"),
        read(3, 4, result=1, op=22, key="both"),
        read(5, 6, result=0, op=23, key="both"),
    ]
    history, context = build(ops + told + both)
    result = check_counters(history, context)
    assert result.verdict == "violated"
    assert sorted(history.keys[one.key] for one in result.violations) == ["both", "k", "told"]
    assert result.count == 3


def test_what_cannot_be_judged_is_left_out() -> None:
    history, context = build([add(1, 2, op=1, value=5), read(3, 4, result=0, op=2)])
    result = check_counter_sweep(history, context)
    assert (result.verdict, result.exercised) == ("unknown", 0)
    assert "steps other than one" in (
        check_counter_sweep(*build([add(1, 2, op=1, value=5), add(1, 2, op=2, key="b")])).note or ""
    )
