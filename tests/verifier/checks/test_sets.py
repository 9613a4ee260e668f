"""Sets: exact for one addition and one removal of an element (every order tried); damage is found in its place."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

import pytest

from tests.verifier.builders import REGIONS, Item, Op, build
from verifier.checks.explain import finding
from verifier.checks.explain_items import items
from verifier.checks.sets import check_sets
from verifier.checks.types import Result

A, B, C = REGIONS


def add(start: int, end: int, value: int = 7, **more: object) -> Op:
    return Op("set_add", start, end, value=value, **more)  # type: ignore[arg-type]


def remove(start: int, end: int, value: int = 7, **more: object) -> Op:
    return Op("set_remove", start, end, value=value, **more)  # type: ignore[arg-type]


def read(start: int, end: int, *elements: int, **more: object) -> Op:
    return Op("read", start, end, elements=list(elements), **more)  # type: ignore[arg-type]


def rules(result: Result) -> list[object]:
    return [one.facts["rule"] for one in result.violations]


@pytest.mark.parametrize(
    ("ops", "rule"),
    [
        ([add(0, 5), read(6, 9, 7)], None),
        ([add(0, 5), read(5, 9)], None),  # at the same time
        ([add(0, 5), read(6, 9)], "missing element"),
        ([add(0, 50), read(1, 4, 7), read(6, 9)], "missing element"),  # somebody had seen it
        ([add(0, 5, outcome="unknown"), read(6, 9)], None),
        ([add(0, 5, outcome="unknown"), read(6, 7, 7), read(8, 9)], "missing element"),
        ([add(0, 5, outcome="fail"), read(6, 9, 7)], "early element"),
        ([add(6, 9), read(0, 5, 7)], "early element"),
        ([read(0, 5, 3), add(0, 5)], "element of nobody"),
        ([add(0, 5), remove(6, 9), read(10, 11)], None),
        ([add(0, 5), remove(6, 9), read(10, 11, 7)], "seen again"),
        ([add(0, 5), remove(6, 9, outcome="unknown"), read(10, 11, 7)], None),
        ([add(0, 5, outcome="unknown"), add(0, 3), remove(6, 9), read(10, 11, 7)], None),  # the other may come late
        ([add(0, 5), remove(4, 9), read(10, 11, 7)], None),  # the removal may have come first
        ([add(0, 5), remove(20, 29), read(10, 11)], "missing element"),
        ([add(0, 5), remove(8, 29), read(10, 11), read(12, 14, 7)], "missing element"),  # in, out, in
        ([add(0, 5), Op("delete", 6, 29), read(10, 11)], None),
        ([add(0, 5), add(6, 9, value=8, elements=[8])], "missing element"),  # what an update returns is a view as well
        ([add(0, 5), add(6, 9, value=8, elements=[7, 8])], None),
    ],
)
def test_an_element_is_in_from_its_addition_to_its_removal(ops: list[Op], rule: str | None) -> None:
    history, context = build(ops)
    result = check_sets(history, context)
    assert rules(result) == ([rule] if rule else [])
    assert result.verdict == ("violated" if rule else "holds")
    for violation in result.violations:
        assert "element" in finding("sets", items, history, context, violation).sentence


def test_what_no_final_item_has_is_lost_once() -> None:
    ops = [add(0, 5), read(6, 9), read(10, 19), read(20, 29)]
    final = {region: {"k": Item(start=40, end=41)} for region in REGIONS}
    history, context = build(ops, final=final)
    result = check_sets(history, context)
    assert (result.count, rules(result)) == (1, ["lost element"])
    assert "nobody removed it" in finding("sets", items, history, context, result.violations[0]).sentence
    behind = {region: {"k": Item(start=40, end=41, elements=(7,))} for region in REGIONS}
    assert rules(check_sets(*build(ops, final=behind))) == ["missing element"]
    unread = build([add(0, 5)], final=final)
    assert rules(check_sets(*unread)) == ["lost element"]
    sentence = finding("sets", items, *unread, check_sets(*unread).violations[0]).sentence
    assert "the final k of us-east-1 does not have it" in sentence


def test_what_comes_back_in_a_final_item_is_seen_again() -> None:
    final = {A: {"k": Item(start=40, end=41)}, B: {"k": Item(start=40, end=41, elements=(7,))}}
    result = check_sets(*build([add(0, 5), remove(6, 9)], final=final))
    assert rules(result) == ["seen again"]
    assert result.violations[0].facts["final"] == B


def test_elements_of_an_earlier_run_are_nobodys_business() -> None:
    initial = {A: {"k": Item(elements=(7, 3))}}
    assert check_sets(*build([add(10, 15), read(0, 5, 7, 3), add(10, 15, value=9)], initial=initial)).exercised == 1


def test_clocks_may_explain_what_is_near() -> None:
    ops = [add(0, 5), read(10, 12)]
    assert check_sets(*build(ops, epsilon_ns=2)).verdict == "violated"
    assert check_sets(*build(ops, epsilon_ns=3)).verdict == "possible"


def test_time_until_stable_is_told_by_region() -> None:
    ms = 10**6
    ops = [add(0, 5 * ms)]
    ops += [Op("read_eventual", at * ms, at * ms + 1, region=B, elements=[7] if at > 30 else []) for at in range(6, 50)]
    note = check_sets(*build(ops)).note
    assert note == "us-east-2: 1 of what was added showed in every read within 100 ms"


def possible(ops: list[Op]) -> bool:
    certain = [op for op in ops if op.outcome == "ok"]
    perhaps = [op for op in ops if op.outcome == "unknown" and op.kind != "read"]
    for chosen in range(1 << len(perhaps)):
        some = certain + [op for at, op in enumerate(perhaps) if chosen >> at & 1]
        for line in permutations(some):
            if any(b.outcome == "ok" and b.end < a.start for at, a in enumerate(line) for b in line[at + 1 :]):
                continue
            there = False
            for op in line:
                if op.kind == "set_add":
                    there = True
                elif op.kind == "set_remove":
                    there = False
                elif there != (7 in (op.elements or [])):
                    break
            else:
                return True
    return False


def one_element(rng: random.Random, key: str) -> list[Op]:
    """An addition, perhaps a removal, some reads, at any times; seldom a possible history."""

    def some(kind: str, **more: object) -> Op:
        start = rng.randrange(12)
        return Op(kind, start, start + rng.randrange(6), key=key, **more)  # type: ignore[arg-type]

    ops = [some("set_add", value=7, outcome=rng.choice(["ok", "ok", "unknown", "fail"]))]
    if rng.random() < 0.7:
        ops.append(some("set_remove", value=7, outcome=rng.choice(["ok", "ok", "unknown", "fail"])))
    return ops + [some("read", elements=rng.choice([[], [7]])) for _ in range(rng.randrange(4))]


def test_exactly_what_no_order_explains_is_accused() -> None:
    rng = random.Random(1)
    histories = {str(number): one_element(rng, str(number)) for number in range(4000)}
    history, context = build([op for ops in histories.values() for op in ops])
    everything = check_sets(history, context).everything
    assert everything is not None
    accused = {history.keys[key] for key in everything.key.tolist()}
    for key, ops in histories.items():
        legal = possible(ops)
        assert not (key in accused and legal), ops
        removal = next((op for op in ops if op.kind == "set_remove" and op.outcome != "fail"), None)
        ordered = removal is None or (ops[0].outcome != "unknown" and ops[0].end < removal.start)
        if ordered or ops[0].outcome == "fail":
            assert (key in accused) == (not legal), ops
    assert 0.2 < len(accused) / len(histories) < 0.8


def carts(rng: random.Random, size: int) -> list[Op]:
    """A correct store of two carts: retried additions, removals of what was seen, unknown outcomes."""
    state: dict[str, set[int]] = {"k": set(), "l": set()}
    planned = sorted((start + rng.random() * 9, start) for start in (rng.randrange(size * 4) for _ in range(size)))
    ops: list[Op] = []
    for number, (_, start) in enumerate(planned, 1):
        key = rng.choice(["k", "l"])
        outcome = rng.choice(["ok"] * 5 + ["unknown"])
        applied = outcome == "ok" or rng.random() < 0.5
        kind = rng.choice(["read", "set_add", "set_add", "set_remove"])
        cart, end = state[key], start + 10
        if kind == "read":
            ops.append(read(start, end, *cart, key=key, op=number, region=rng.choice(REGIONS)))
            continue
        value = number if kind == "set_add" or not cart else rng.choice(sorted(cart))
        if applied:
            cart.add(value) if kind == "set_add" else cart.discard(value)
        shown = sorted(cart) if outcome == "ok" and rng.random() < 0.5 else None
        ops.append(Op(kind, start, end, key=key, op=number, value=value, outcome=outcome, elements=shown))
    return ops


def test_correct_carts_are_never_accused_and_planted_damage_is_found() -> None:
    found = 0
    for seed in range(60):
        rng = random.Random(seed)
        ops = carts(rng, 60)
        assert check_sets(*build(ops)).verdict == "holds", seed
        # An element vanishes from one read that began after a read that showed it, and before one that shows it again.
        for at, op in enumerate(ops):
            if op.kind != "read":
                continue
            around = [one for one in ops if one.kind == "read" and one.key == op.key]
            before = {value for one in around if one.end < op.start for value in one.elements or ()}
            after = {value for one in around if one.start > op.end for value in one.elements or ()}
            sure = {one.value for one in ops if one.kind == "set_add" and one.outcome == "ok"}
            stolen = sorted(before & after & sure & set(op.elements or ()))
            if stolen:
                damaged = [
                    *ops[:at],
                    replace(op, elements=[one for one in op.elements or () if one != stolen[0]]),
                    *ops[at + 1 :],
                ]
                history, context = build(damaged)
                result = check_sets(history, context)
                assert [int(history.op[one.rows[-1]]) for one in result.violations] == [op.op]
                found += 1
                break
    assert found > 20
