"""No Region goes back in time: against the definition, pair by pair, and against a simulated store that keeps it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from tests.verifier.builders import REGIONS, Item, Op, build, read, write
from verifier.checks.region_order import check_region_order
from verifier.history.schema import ABSENT


def last_writer_wins(rng: random.Random, size: int, delay: int) -> tuple[list[Op], dict[str, dict[str, Item]]]:
    """A correct MREC history of one item: a Region applies its own writes at once and the others' later, if newer."""
    replicas = dict.fromkeys(REGIONS, (-1, "", ABSENT))  # timestamp, Region, mark
    arriving: list[tuple[int, int, str, tuple[int, str, int]]] = []
    ops = []
    now = 0
    for number in range(1, size + 1):
        now += rng.randrange(4)
        moment = now * 10
        for _, _, region, version in sorted(one for one in arriving if one[0] <= moment):
            replicas[region] = max(replicas[region], version)
        arriving = [one for one in arriving if one[0] > moment]
        region = rng.choice(REGIONS)
        start, end = moment - rng.randrange(10), moment + rng.randrange(10)
        before = replicas[region][2]
        if rng.random() < 0.5:
            ops.append(read(start, end, saw=before, op=number, region=region))
            continue
        version = (max(moment, replicas[region][0] + 1), region, number)
        replicas[region] = version
        for other in REGIONS:
            if other != region:
                arriving.append((moment + rng.randrange(1, delay), number, other, version))
        answered = rng.random() < 0.9
        ops.append(
            write(start, end, op=number, region=region, prev=before, outcome="ok")
            if answered
            else write(start, end, op=number, region=region, outcome="unknown")
        )
    last = max(replicas.values())
    final = {region: {"k": Item(w=last[2], start=10**6, end=10**6 + 5)} for region in REGIONS}
    return ops, final if last[2] != ABSENT else {}


def by_definition(ops: list[Op], slack: int) -> set[int]:
    """Operations that show a write after their Region had shown one that began after that write had ended."""
    writes = {op.op: op for op in ops if op.kind == "write" and op.outcome != "fail"}
    shown = []
    for op in ops:
        if op.outcome == "unknown":
            continue
        shown += [(op, mark) for mark in (op.op if op.kind == "write" else op.saw, op.prev) if mark in writes]
    wrong = set()
    for later, mark in shown:
        older = writes[mark]
        for earlier, other in shown:
            newer = writes[other]
            allowed = 0 if older.region == newer.region else slack
            if (
                earlier.region == later.region
                and newer.start <= earlier.end  # else it saw the future, which is another check's business
                and earlier.end < later.start
                and older.outcome == "ok"
                and older.end + allowed < newer.start
            ):
                assert later.op is not None
                wrong.add(later.op)
    return wrong


def accused(ops: list[Op], slack: int = 0, **more: Any) -> set[int]:
    history, context = build(ops, mode="MREC", **more)
    result = check_region_order(history, context, region_clock_error_ns=slack)
    columns = result.everything
    if columns is None:
        return set()
    assert result.verdict == "violated"
    return {int(history.op[columns.rows[end - 1]]) for end in columns.offsets[1:]}


@pytest.mark.parametrize("seed", range(3))
def test_a_store_where_the_last_writer_wins_is_never_accused(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        ops, final = last_writer_wins(rng, rng.randint(1, 60), rng.choice([20, 200]))
        history, context = build(ops, mode="MREC", final=final)
        result = check_region_order(history, context)
        assert result.verdict in ("holds", "unknown")
        assert result.count is None


@pytest.mark.parametrize("seed", range(3))
def test_operations_accused_are_those_of_the_definition(seed: int) -> None:
    rng = random.Random(seed)
    total = 0
    for _ in range(150):
        ops, _ = last_writer_wins(rng, rng.randint(2, 40), 100)
        marks = [op.op for op in ops if op.kind == "write"]
        ops = [
            replace(op, saw=rng.choice(marks)) if marks and op.kind == "read" and rng.random() < 0.2 else op
            for op in ops
        ]
        slack = rng.choice([0, 0, 40])
        expected = by_definition(ops, slack)
        total += len(expected)
        # Both marks that a write shows may go back; it is one operation all the same.
        assert accused(ops, slack) == expected
    assert total > 60


def test_what_a_write_was_applied_to_proves_an_order_of_another_regions_writes() -> None:
    ops = [
        write(139, 142, op=12, region=REGIONS[1]),
        write(170, 177, op=17, region=REGIONS[1], prev=12),
        write(178, 185, op=18, region=REGIONS[0], prev=17),
        read(334, 345, saw=12, op=27, region=REGIONS[0]),
    ]
    assert accused(ops, 40) == by_definition(ops, 40) == {27}


def test_the_final_sweep_counts_and_eventual_reads_do_not() -> None:
    ops = [
        write(1, 2, op=1),
        write(10, 11, op=2, region=REGIONS[1]),
        read(20, 21, saw=2, op=3),
        replace(read(30, 31, saw=1, op=4), kind="read_eventual"),
    ]
    assert accused(ops) == set()
    final = {REGIONS[0]: {"k": Item(w=1, start=40, end=41)}}
    history, context = build(ops, mode="MREC", final=final)
    result = check_region_order(history, context)
    assert result.verdict == "violated"
    (violation,) = result.violations
    assert violation.facts["final"] == REGIONS[0]
    assert [history.op[row] for row in violation.rows] == [1, 2, 3]
    assert violation.gamma_ns == 8
