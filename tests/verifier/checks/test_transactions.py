"""Torn transactions, forks and totals are found where they were planted; a correct store is never accused."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import permutations

import pytest

from tests.verifier.builders import REGIONS, Item, Op, build
from verifier.checks.explain import finding
from verifier.checks.explain_items import items
from verifier.checks.transactions import check_bank, check_long_fork, check_torn
from verifier.checks.types import Result
from verifier.history.schema import ABSENT

A, B, C = REGIONS


def named(key: str) -> str:
    return f"bank/{key}"


def move(start: int, end: int, op: int, amounts: dict[str, int], **more: object) -> list[Op]:
    return [
        Op("txn_write", start, end, key=named(key), op=op, process=op, value=amount, logical_key="bank", **more)  # type: ignore[arg-type]
        for key, amount in amounts.items()
    ]


def look(
    start: int, end: int, op: int, saw: dict[str, int], totals: dict[str, int] | None = None, **more: object
) -> list[Op]:
    return [
        Op("txn_read", start, end, key=named(key), op=op, process=op, saw=mark, result=(totals or {}).get(key),
           logical_key="bank", **more)  # type: ignore[arg-type]
        for key, mark in saw.items()
    ]  # fmt: skip


def ops_of(history: object, result: Result) -> list[set[int]]:
    return [{int(history.op[row]) for row in one.rows} for one in result.violations]  # type: ignore[attr-defined]


def test_half_of_a_transaction_is_torn_in_its_own_region_only() -> None:
    ops = [*move(0, 5, 1, {"a": 1, "b": -1}), *move(10, 15, 2, {"a": 1, "b": -1})]
    torn = look(16, 20, 3, {"a": 2, "b": 1})
    history, context = build([*ops, *torn], mode="MREC")
    result = check_torn(history, context)
    assert (result.verdict, result.count, result.exercised) == ("violated", 1, 1)
    assert ops_of(history, result) == [{1, 2, 3}]
    sentence = finding("torn", items, history, context, result.violations[0]).sentence
    assert "shows us-east-1's transaction 0:2 on bank/a, but on bank/b" in sentence
    assert "half of a transaction" in sentence
    elsewhere = check_torn(*build([*ops, *(replace(op, region=B) for op in torn)], mode="MREC"))
    assert (elsewhere.verdict, elsewhere.exercised) == ("unknown", 0)
    assert elsewhere.note == "1 reads in other Regions showed part of a transaction, as they may"


SAW_9_UNDER_1 = Op("read", 7, 8, key="bank/b", op=10, saw=1, prev=9)


@pytest.mark.parametrize(
    ("saw", "more", "torn"),
    [
        ({"a": 1, "b": ABSENT}, [], True),  # nothing was ever deleted
        ({"a": 1, "b": ABSENT}, [Op("delete", 7, 9, key="bank/b", op=9)], False),
        ({"a": 1, "b": 9}, [Op("write", 7, 9, key="bank/b", op=9)], False),  # a later one
        ({"a": 1, "b": 9}, [Op("write", -9, -7, key="bank/b", op=9)], True),
        ({"a": 1, "b": 9}, [Op("write", -9, 3, key="bank/b", op=9)], False),  # perhaps later
        ({"a": 1, "b": 9}, [Op("write", -9, 3, key="bank/b", op=9), SAW_9_UNDER_1], True),
        ({"a": 1, "b": 9}, [Op("write", -9, -7, key="bank/b", op=9, region=B)], False),  # it may have arrived later
        ({"a": 1, "b": 9}, [Op("write", -9, -7, key="bank/b", op=9, outcome="unknown")], False),
        ({"a": 1, "b": 1}, [], False),
        ({"a": 9, "b": 1}, move(2, 3, 9, {"a": 1, "b": 1}), True),  # whichever came first
        ({"a": 9, "b": 1}, move(2, 3, 9, {"a": 1, "c": 1}), False),
    ],
)  # fmt: skip
def test_what_proves_that_the_other_half_is_older(saw: dict[str, int], more: list[Op], torn: bool) -> None:
    ops = [*move(0, 5, 1, {"a": 1, "b": -1}), *more, *look(20, 25, 3, saw)]
    assert (check_torn(*build(ops, mode="MREC")).verdict == "violated") == torn


def test_clocks_that_may_explain_it_make_it_only_possible() -> None:
    ops = [
        Op("write", -9, -7, key="bank/b", op=9),
        *move(0, 5, 1, {"a": 1, "b": 1}),
        *look(20, 25, 3, {"a": 1, "b": 9}),
    ]
    assert check_torn(*build(ops, mode="MREC", epsilon_ns=3)).verdict == "violated"
    assert check_torn(*build(ops, mode="MREC", epsilon_ns=4)).verdict == "possible"


def test_two_reads_that_each_show_something_newer_are_a_fork() -> None:
    ops = [*move(0, 5, 1, {"a": 1}), *move(0, 5, 2, {"b": 1})]
    ops += [*look(0, 6, 3, {"a": 1, "b": ABSENT}), *look(0, 6, 4, {"a": ABSENT, "b": 2})]
    final = {A: {"bank/a": Item(1, 1, ABSENT), "bank/b": Item(1, 2, ABSENT)}}
    history, context = build(ops, mode="MREC", final=final)
    result = check_long_fork(history, context)
    assert (result.verdict, result.count, result.exercised) == ("violated", 1, 2)
    assert ops_of(history, result) == [{3, 4}]
    assert "cannot be put in any order" in finding("f", items, history, context, result.violations[0]).sentence
    apart = [replace(op, region=B) if op.op == 4 else op for op in ops]
    assert check_long_fork(*build(apart, mode="MREC", final=final)).verdict == "unknown"
    one_way = [op for op in ops if op.op != 4] + look(0, 6, 4, {"a": 1, "b": 2})
    assert check_long_fork(*build(one_way, mode="MREC", final=final)).verdict == "holds"


def one_after_the_other(rng: random.Random, size: int) -> tuple[list[Op], dict[str, Item]]:
    """Transactions of a Region and reads of all items between them, with the marks that lead from each to the next."""
    state = dict.fromkeys("abc", (ABSENT, ABSENT))
    ops: list[Op] = []
    for number in range(1, size + 1):
        start = 10 * number
        if rng.random() < 0.5:
            reads = look(start, start + rng.randint(1, 15), number, {key: state[key][0] for key in "abc"})
            ops += [replace(op, prev=state[op.key[-1]][1]) for op in reads]
            continue
        some = rng.sample("abc", rng.randint(1, 3))
        ops += move(start, start + rng.randint(1, 9), number, dict.fromkeys(some, 1))
        for key in some:
            state[key] = (number, state[key][0])
        reads = look(start + 9, start + 9, 1000 + number, {key: state[key][0] for key in "abc"})
        ops += [replace(op, prev=state[op.key[-1]][1]) for op in reads]
    return ops, {named(key): Item(0, *state[key]) for key in "abc" if state[key][0] != ABSENT}


def test_reads_that_can_be_ordered_are_never_accused_and_planted_forks_are_found() -> None:
    planted = 0
    for seed in range(40):
        rng = random.Random(seed)
        ops, final = one_after_the_other(rng, 30)
        sound = check_long_fork(*build(ops, mode="MREC", final={A: final}))
        assert (sound.verdict, sound.exercised > 10) == ("holds", True), seed
        reads = {op.op: {} for op in ops if op.kind == "txn_read"}
        for at, op in enumerate(ops):
            if op.kind == "txn_read":
                reads[op.op][op.key] = at
        one, other = rng.sample(list(reads.values()), 2)
        differ = [key for key in one if ops[one[key]].saw != ops[other[key]].saw]
        if len(differ) < 2:
            continue
        planted += 1
        one_at, other_at = one[differ[0]], other[differ[0]]
        first, second = ops[one_at], ops[other_at]
        ops[one_at] = replace(first, saw=second.saw, prev=second.prev)
        ops[other_at] = replace(second, saw=first.saw, prev=first.prev)
        history, context = build(ops, mode="MREC", final={A: final})
        found = ops_of(history, check_long_fork(history, context))
        assert {first.op, second.op} & set().union(*found), seed
    assert planted > 20


def test_a_total_that_changes_is_money_from_nowhere() -> None:
    moves = [*move(0, 5, 1, {"a": -3, "b": 3}), *move(6, 9, 2, {"b": -1, "c": 1})]
    saw = {"a": 1, "b": 2, "c": 2}
    right, wrong = {"a": -3, "b": 2, "c": 1}, {"a": -3, "b": 3, "c": 1}
    history, context = build([*moves, *look(10, 12, 3, saw, right), *look(10, 12, 4, saw, wrong)], mode="MREC")
    result = check_bank(history, context)
    assert (result.verdict, result.count, result.exercised) == ("violated", 1, 2)
    sentence = finding("bank", items, history, context, result.violations[0]).sentence
    assert "together they hold 1, though every change of bank only moved amounts and it began with 0" in sentence
    final = {region: {named(key): Item(value) for key, value in right.items()} for region in REGIONS}
    assert check_bank(*build([*moves, *look(10, 12, 3, saw, right)], final=final)).verdict == "holds"
    final[B]["bank/a"] = Item(-4)
    history, context = build([*moves, *look(10, 12, 3, saw, right)], final=final)
    result = check_bank(history, context)
    assert result.count == 1
    assert "us-east-2: together they hold -1" in finding("b", items, history, context, result.violations[0]).sentence


def test_groups_whose_changes_add_up_to_something_have_no_total() -> None:
    saw = {"a": 1, "b": 1}
    for moves in (
        move(0, 5, 1, {"a": -3, "b": 4}),
        [*move(0, 5, 1, {"a": -3, "b": 3}), Op("add", 6, 7, key="bank/a", op=2, value=1)],
    ):
        result = check_bank(*build([*moves, *look(10, 12, 3, saw, {"a": 0, "b": 0})]))  # fmt: skip
        assert result.verdict == "unknown"
    part = look(10, 12, 3, {"a": 1}, {"a": -3})
    assert check_bank(*build([*move(0, 5, 1, {"a": -3, "b": 3}), *part])).exercised == 0


def one_region(rng: random.Random, size: int) -> list[Op]:
    """A correct history of transactions in one Region: each takes effect at one moment between start and end."""
    keys = ["a", "b", "c"]
    state = dict.fromkeys(keys, ABSENT)
    value = dict.fromkeys(keys, 0)
    planned = []
    for number in range(1, size + 1):
        start = rng.randrange(3 * size)
        end = start + rng.randrange(8)
        planned.append((rng.uniform(start, end), start, end, number))
    ops: list[Op] = []
    for _, start, end, number in sorted(planned):
        some = rng.sample(keys, rng.choice([2, 2, 3]))
        if rng.random() < 0.5:
            ops += look(start, end, number, {key: state[key] for key in some}, {key: value[key] for key in some})
            continue
        outcome = rng.choice(["ok", "ok", "ok", "unknown", "fail"])
        amounts = dict.fromkeys(some[1:], 1) | {some[0]: 1 - len(some)}
        ops += move(start, end, number, amounts, outcome=outcome)
        if outcome == "ok" or (outcome == "unknown" and rng.random() < 0.5):
            for key in some:
                state[key], value[key] = number, value[key] + amounts[key]
    return ops


def test_money_that_vanishes_from_one_read_or_replica_is_found_there() -> None:
    for seed in range(25):
        rng = random.Random(seed)
        ops = one_region(rng, 40)
        ops += look(900, 901, 900, dict.fromkeys("abc", 1), dict.fromkeys("abc", 0))
        whole = Counter(op.op for op in ops if op.kind == "txn_read")
        at = rng.choice([at for at, op in enumerate(ops) if op.kind == "txn_read" and whole[op.op] == 3])
        ops[at] = replace(ops[at], result=(ops[at].result or 0) + rng.choice([-2, -1, 1, 2]))
        history, context = build(ops, mode="MREC", final={B: {named("a"): Item(5), named("b"): Item(-5)}})
        result = check_bank(history, context)
        assert ops_of(history, result) == [{ops[at].op}], seed
        replicas = {A: {named("a"): Item(5), named("b"): Item(-5)}, B: {named("a"): Item(4), named("b"): Item(-5)}}
        result = check_bank(*build([op for op in ops if op.op != ops[at].op], mode="MREC", final=replicas))
        assert [one.facts.get("final") for one in result.violations] == [B]


def serializable(ops: list[Op]) -> bool:
    """Whether some order of the transactions, in keeping with time, shows every read what it showed."""
    requests: dict[int, list[Op]] = {}
    for op in ops:
        if op.outcome != "fail":
            requests.setdefault(op.op or 0, []).append(op)
    certain = [one for one in requests.values() if one[0].outcome == "ok"]
    perhaps = [one for one in requests.values() if one[0].outcome == "unknown"]
    for chosen in range(1 << len(perhaps)):
        some = certain + [one for at, one in enumerate(perhaps) if chosen >> at & 1]
        for line in permutations(some):
            if any(b[0].outcome == "ok" and b[0].end < a[0].start for at, a in enumerate(line) for b in line[at + 1 :]):
                continue
            state: dict[str, int | None] = {}
            for request in line:
                if request[0].kind == "txn_write":
                    state |= {op.key: op.op for op in request}
                elif any(op.saw != state.get(op.key, ABSENT) for op in request):
                    break
            else:
                return True
    return False


def judged(ops: list[Op]) -> list[Result]:
    history, context = build(ops, mode="MREC")
    return [check_torn(history, context), check_long_fork(history, context), check_bank(history, context)]


def test_correct_transactions_are_never_accused_and_damage_only_where_no_order_exists() -> None:
    accused = damaged = 0
    for seed in range(80):
        rng = random.Random(seed)
        ops = one_region(rng, 6)
        assert all(result.verdict in ("holds", "unknown") for result in judged(ops)), seed
        reads = [at for at, op in enumerate(ops) if op.kind == "txn_read"]
        if not reads:
            continue
        at = rng.choice(reads)
        writers = [
            ABSENT,
            *(op.op for op in ops if op.kind == "txn_write" and op.key == ops[at].key and op.outcome == "ok"),
        ]
        ops[at] = replace(ops[at], saw=rng.choice(writers))
        bad = any(result.verdict == "violated" for result in judged(ops)[:2])
        accused += bad
        damaged += 1
        if bad:
            assert not serializable(ops), seed
    assert accused > damaged // 8


def test_planted_tears_are_found_where_they_are() -> None:
    found = 0
    for seed in range(40):
        rng = random.Random(seed)
        ops: list[Op] = []
        for number in range(1, 60, 2):  # one after the other: every state is known
            ops += move(10 * number, 10 * number + 5, number, {"a": 1, "b": 1, "c": -2})
            ops += look(10 * number + 6, 10 * number + 8, number + 1, dict.fromkeys("abc", number))
        at = rng.choice([at for at, op in enumerate(ops) if op.kind == "txn_read" and (op.op or 0) > 2])
        ops[at] = replace(ops[at], saw=(ops[at].saw or 0) - 2)
        history, context = build(ops, mode="MREC")
        result = check_torn(history, context)
        assert result.count == 1
        assert int(history.op[result.violations[0].rows[-1]]) == ops[at].op
        found += 1
    assert found == 40
