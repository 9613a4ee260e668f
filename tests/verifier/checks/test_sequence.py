"""Gapless ledgers: repeats, gaps and reorders are found where they were planted, and nowhere else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.verifier.builders import REGIONS, Item, Op, build
from verifier.checks.explain import finding
from verifier.checks.explain_items import items
from verifier.checks.sequence import check_gapless
from verifier.checks.types import Result

A, B, C = REGIONS


def entry(start: int, end: int, number: int, ledger: str = "ledger", **more: object) -> Op:
    return Op("append", start, end, key=f"{ledger}/{number}", logical_key=ledger, value=number, **more)  # type: ignore[arg-type]


def final(*numbers: int, ledger: str = "ledger") -> dict[str, dict[str, Item]]:
    there = {f"{ledger}/{number}": Item(number) for number in numbers}
    return dict.fromkeys(REGIONS, there)


def told(result: Result, ops: list[Op], **more: object) -> list[str]:
    history, context = build(ops, **more)  # type: ignore[arg-type]
    return [finding("gapless", items, history, context, one).sentence for one in result.violations]


@pytest.mark.parametrize(
    ("ops", "there", "rules"),
    [
        ([entry(0, 5, 1), entry(6, 9, 2)], (1, 2), []),
        ([entry(0, 5, 2), entry(0, 5, 1)], (1, 2), []),  # at the same time
        ([entry(0, 5, 1), entry(6, 9, 1, region=B)], (1,), ["repeat"]),
        ([entry(0, 5, 1), entry(6, 9, 1, region=B, outcome="fail")], (1,), []),
        ([entry(0, 5, 1), entry(6, 9, 1, region=B, outcome="unknown")], (1,), []),
        ([entry(0, 5, 2), entry(6, 9, 1)], (1, 2), ["reorder"]),
        ([entry(0, 5, 1), entry(6, 9, 2), entry(10, 12, 3)], (1, 3), ["gap"]),  # lost
        ([entry(0, 5, 1), entry(6, 9, 2, outcome="unknown"), entry(10, 12, 3)], (1, 3), ["gap"]),  # never written
        ([entry(0, 5, 1), entry(6, 9, 2)], (1,), ["gap"]),  # the last is lost
        ([entry(0, 5, 3), entry(6, 9, 4)], (3, 4), []),  # it went on from there
        ([entry(0, 5, 1, ledger="one"), entry(6, 9, 1, ledger="two")], (), ["gap", "gap"]),
    ],
)
def test_numbers_come_once_each_in_order(ops: list[Op], there: tuple[int, ...], rules: list[str]) -> None:
    result = check_gapless(*build(ops, final=final(*there)))
    assert [one.facts["rule"] for one in result.violations] == rules
    assert result.verdict == ("violated" if rules else "holds")
    assert all("ledger" in text or "entry" in text for text in told(result, ops, final=final(*there)))


def test_sentences_say_which_number_and_why() -> None:
    ops = [entry(0, 5, 1), entry(6, 9, 2, outcome="unknown"), entry(10, 12, 3)]
    (text,) = told(check_gapless(*build(ops, final=final(1, 3))), ops, final=final(1, 3))
    assert text.startswith("ledger has a gap: nobody's entry 2 took effect, and yet us-east-1's entry 0:3")
    ops = [entry(0, 5, 2), entry(6, 9, 1)]
    (text,) = told(check_gapless(*build(ops, final=final(1, 2))), ops)
    assert "became entry 1 of ledger, though us-east-1's entry 0:1" in text
    assert "1 ns before that began" in text
    assert check_gapless(*build(ops, final=final(1, 2), epsilon_ns=1)).verdict == "possible"


def test_unread_ledgers_have_no_gaps() -> None:
    result = check_gapless(*build([entry(0, 5, 1), entry(6, 9, 3)]))
    assert (result.verdict, result.exercised) == ("holds", 2)
    assert result.note == "the final state of 1 ledgers was not read: gaps are not judged"


def test_a_correct_ledger_is_never_accused_and_each_damage_is_found_in_its_place() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        taken = {"a": 0, "b": 0}
        ops = []
        for number, moment in enumerate(sorted(rng.random() * 500 for _ in range(80)), 1):
            ledger = rng.choice(["a", "b"])
            if rng.random() < 0.1:
                ops.append(
                    entry(int(moment) - 3, int(moment) + 3, taken[ledger] + 1, ledger, op=number, outcome="fail")
                )
                continue
            taken[ledger] += 1
            start, end = int(moment) - rng.randrange(9), int(moment) + 1 + rng.randrange(9)
            ops.append(entry(start, end, taken[ledger], ledger, op=number, region=rng.choice(REGIONS)))
        there = {f"{name}/{number}": Item(number) for name in taken for number in range(1, taken[name] + 1)}
        whole = dict.fromkeys(REGIONS, there)
        assert check_gapless(*build(ops, final=whole)).verdict == "holds", seed
        at = rng.choice([at for at, op in enumerate(ops) if op.outcome == "ok" and (op.value or 0) > 3])
        victim = ops[at]
        rest = {key: one for key, one in there.items() if key != victim.key}
        holed = dict.fromkeys(REGIONS, rest)
        lost = check_gapless(*build(ops, final=holed))
        assert [(one.facts["rule"], len(one.rows) > 0) for one in lost.violations] == [("gap", True)]
        assert told(lost, ops, final=holed)[0].startswith(f"Entry {victim.value} of {victim.logical_key} is missing")
        again = [*ops, replace(victim, op=999, start=victim.start + 1, region=C)]
        history, context = build(again, final=whole)
        twice = check_gapless(history, context)
        assert 999 in {int(history.op[row]) for one in twice.violations for row in one.rows}
        late = [*ops[:at], replace(victim, start=2000, end=2001), *ops[at + 1 :]]
        history, context = build(late, final=whole)
        found = {int(history.op[one.rows[-1]]) for one in check_gapless(history, context).violations}
        assert found == ({victim.op} if taken[victim.logical_key or ""] > (victim.value or 0) else set())
