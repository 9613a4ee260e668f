"""Stock: what is below zero, oversold or miscounted is found; what unknown outcomes may explain is not."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.verifier.brute import legal
from tests.verifier.builders import REGIONS, Item, Op, build
from verifier.checks.explain import finding
from verifier.checks.explain_items import items
from verifier.checks.stock import check_stock
from verifier.history.columns import LostRange

A, B, C = REGIONS


def take(start: int, end: int, count: int = 1, left: int | None = None, **more: object) -> Op:
    return Op("take", start, end, value=count, result=left, **more)  # type: ignore[arg-type]


def put(start: int, end: int, count: int, kind: str = "create", **more: object) -> Op:
    return Op(kind, start, end, value=count, **more)  # type: ignore[arg-type]


def left(count: int) -> dict[str, dict[str, Item]]:
    return {A: {"k": Item(count, end=50)}}


@pytest.mark.parametrize(
    ("ops", "final", "rules"),
    [
        ([put(0, 1, 2), take(2, 3, 1, 1), take(4, 5, 1, 0)], 0, []),
        ([put(0, 1, 2), take(2, 3, 1, 1), take(4, 5, 2, -1)], -1, ["below zero", "oversold", "below zero"]),
        ([put(0, 1, 1), take(2, 3, 1, 0), take(2, 4, 1, 0, region=B)], 0, ["oversold"]),
        ([put(0, 1, 3), take(2, 3, 1, 2), take(2, 4, 1, 2, region=B)], 2, ["miscounted"]),  # one taking is lost
        ([put(0, 1, 3), take(2, 3, 1, 2)], 1, ["miscounted"]),  # applied twice
        ([put(0, 1, 3), take(2, 3, 1, 2), take(4, 5, 1, outcome="unknown")], 1, []),
        ([put(0, 1, 3), take(2, 3, 1, 2), take(4, 5, 1, outcome="unknown")], 2, []),
        ([put(0, 1, 3), take(2, 3, 1, 2), take(4, 5, 1, outcome="fail")], 2, []),
        ([put(0, 1, 1), put(2, 3, 1, "add", outcome="unknown"), take(4, 5), take(6, 7)], 0, []),
        ([put(0, 1, 1), put(2, 3, 1, "add"), take(4, 5)], 1, []),
        ([put(0, 1, 1), take(2, 3), take(4, 5), put(6, 7, 1, "add")], 0, ["oversold"]),  # before it was delivered
        ([put(0, 1, 1), take(2, 3), take(4, 6), put(6, 7, 1, "add")], 0, []),  # at the same time, perhaps
        ([put(0, 1, 2), put(2, 3, -1, "add"), take(4, 5), take(4, 6), put(7, 8, 1, "add")], 0, ["oversold"]),
        ([put(0, 1, 2), put(2, 5, -1, "add"), take(3, 4), take(3, 4), put(7, 8, 1, "add")], 0, []),
        ([put(0, 1, 1, "write"), take(4, 5), take(6, 7)], 0, []),  # a count that somebody wrote: not added up
        ([put(0, 1, 1, "write"), take(4, 5), take(6, 7, 1, -1)], -1, ["below zero", "below zero"]),
    ],
)
def test_nothing_is_sold_that_is_not_there(ops: list[Op], final: int, rules: list[str]) -> None:
    history, context = build(ops, final=left(final))
    result = check_stock(history, context)
    assert sorted(str(one.facts["rule"]) for one in result.violations) == sorted(rules)
    assert result.verdict == ("violated" if rules else "holds")
    for one in result.violations:
        sentence = finding("stock", items, history, context, one).sentence
        assert "k" in sentence
        assert sentence.endswith(".")


def test_sentences_count() -> None:
    history, context = build([put(0, 1, 1), take(2, 3, 1, 0), take(2, 4, 1, 0, region=B)], final=left(0))
    (found,) = check_stock(history, context).violations
    sentence = finding("stock", items, history, context, found).sentence
    assert "all that there can have been by then (1) was gone: with it 2 were sold, 1 that did not exist" in sentence
    assert int(history.op[found.rows[0]]) == 3


def test_clocks_may_explain_a_delivery_that_seems_to_come_too_late() -> None:
    ops = [put(0, 1, 1), take(2, 3), take(4, 5), put(8, 9, 1, "add")]
    found = check_stock(*build(ops, final=left(0), epsilon_ns=1))
    assert (found.verdict, found.violations[0].gamma_ns) == ("violated", 3)
    assert check_stock(*build(ops, final=left(0), epsilon_ns=2)).verdict == "possible"


def test_a_killed_worker_may_have_delivered() -> None:
    lost = (LostRange(1, 1 << 48, (1 << 48) + 5, 0),)
    ops = [put(0, 1, 1), take(2, 3, 1, 0), take(4, 5, 1, 0)]
    assert check_stock(*build(ops, lost=lost)).verdict == "holds"
    assert check_stock(*build([*ops, take(6, 7, 1, -1)], lost=lost)).count == 1


def test_a_correct_shop_is_never_accused() -> None:
    for seed in range(80):
        rng = random.Random(seed)
        stock, ops = 10, [put(0, 1, 10, op=1)]
        for number in range(2, 40):
            outcome = rng.choice(["ok", "ok", "unknown"])
            applied = outcome == "ok" or rng.random() < 0.5
            delivery = rng.random() < 0.2
            count = rng.randint(1, 3)
            if not delivery and count > stock:
                ops.append(take(number, number + 9, count, op=number, outcome="fail"))
                continue
            stock += (count if delivery else -count) if applied else 0
            shown = stock if outcome == "ok" else None
            make = put(number, number + 9, count, "add", op=number, outcome=outcome, result=shown)
            ops.append(make if delivery else take(number, number + 9, count, shown, op=number, outcome=outcome))
        assert check_stock(*build(ops, final=left(stock))).verdict == "holds", seed


def shop(rng: random.Random, size: int) -> tuple[int, list[Op], int]:
    """A correct history of one stock, what it began and what it ended with; ties abound, some answers never come."""
    first = stock = rng.choice([0, 1, 3])
    planned = []
    for number in range(1, size + 1):
        start = rng.randrange(3 * size)
        end = start + rng.randrange(1, 9)
        planned.append((rng.uniform(start, end), start, end, number))
    ops = []
    for _, start, end, number in sorted(planned):
        count, outcome = rng.randint(1, 2), rng.choice(["ok", "ok", "ok", "unknown"])
        taken = rng.random() < 0.6
        op = take(start, end, count, op=number) if taken else put(start, end, count, "add", op=number)
        if taken and count > stock:
            ops.append(replace(op, outcome="fail" if outcome == "ok" else outcome))
            continue
        if outcome == "ok" or rng.random() < 0.5:
            stock += -count if taken else count
        ops.append(replace(op, outcome=outcome))
    return first, ops, stock


def step(state: int, op: Op) -> int | None:
    if op.kind == "read":
        return state if op.result == state else None
    after = state + (op.value or 0) * (-1 if op.kind == "take" else 1)
    return None if after < 0 else after


def test_nobody_is_accused_where_any_order_explains_it_and_most_of_the_rest_is_found() -> None:
    rng = random.Random(8)
    everything: list[Op] = []
    began, ended, impossible = {}, {}, set()
    for number in range(2_000):
        first, ops, final = shop(rng, rng.randint(2, 8))
        at = rng.randrange(len(ops))
        if number % 4 == 1:
            final += rng.choice([-2, -1, 1, 2])
        elif number % 4 == 2:
            ops[at] = replace(ops[at], kind="take", outcome="ok")
        elif number % 4 == 3:
            ops[at] = replace(ops[at], outcome="ok", value=(ops[at].value or 0) + 1)
        if not any(op.kind == "take" for op in ops):
            continue
        key = str(number)
        if not legal([*ops, Op("read", 10**6, 10**6, result=final)], step, first):
            impossible.add(key)
        began[key], ended[key] = Item(first), Item(final, end=99)
        everything += [replace(op, key=key, op=10 * number + (op.op or 0)) for op in ops]
    history, context = build(everything, initial={A: began}, final={A: ended})
    found = check_stock(history, context).everything
    assert found is not None
    accused = {history.keys[key] for key in found.key.tolist()}
    assert accused <= impossible
    assert len(accused) > 0.8 * len(impossible), "a final count between two that are possible is not looked into"
