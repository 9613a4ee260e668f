"""Session guarantees: each breach is found and named, correct stores keep them, and plain Python agrees."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.builders import REGIONS, Item, Op, add, build, numbered, read, write
from tests.verifier.stores import simulate
from verifier.checks.explain import finding
from verifier.checks.explain_order import order
from verifier.checks.sessions import check_sessions
from verifier.history.columns import LostRange
from verifier.history.schema import ABSENT

A, B, C = REGIONS
OLD = write(0, 5, op=1, prev=ABSENT, process=9)
NEW = write(10, 15, op=2, prev=1, process=8)

BREACHES = [
    ("read your writes", write(10, 15, op=2, prev=1, process=1), read(20, 25, 1, op=3, process=1, region=B)),
    ("monotonic reads", read(20, 25, 2, op=3, process=1), read(30, 35, 1, op=4, process=1, region=B)),
    ("monotonic writes", write(10, 15, op=2, prev=1, process=1), write(20, 25, op=3, prev=1, process=1, region=B)),
    ("writes follow reads", read(20, 25, 2, op=3, process=1), write(30, 35, op=4, prev=1, process=1, region=B)),
]


@pytest.mark.parametrize(("rule", "first", "second"), BREACHES)
def test_each_guarantee_has_its_breach(rule: str, first: Op, second: Op) -> None:
    ops = [OLD, first, second] if first.kind == "write" else [OLD, NEW, first, second]
    history, context = build(ops)
    result = check_sessions(history, context)
    assert (result.verdict, result.count) == ("violated", 1)
    violation = result.violations[0]
    assert violation.facts["rule"] == rule
    assert history.op[violation.rows[-1]] == second.op
    assert violation.gamma_ns is None  # 2 was built upon 1: no clock is needed
    sentence = finding("sessions", order, history, context, violation).sentence
    assert "Process 1 had" in sentence
    assert "None" not in sentence
    other = [op if op is not second else Op(**{**op.__dict__, "process": 2}) for op in ops]
    assert check_sessions(*build(other)).violations == ()


def test_what_one_write_was_built_upon_is_older_whatever_the_times() -> None:
    """Write 2 never answered, so time proves nothing of it; but 3 was built upon it."""
    ops = [
        OLD,
        write(10, 90, op=2, prev=1, process=8, outcome="unknown", saw=None),
        write(12, 20, op=3, prev=2, process=1),
        read(30, 35, 2, op=4, process=1, prev=1),
    ]
    result = check_sessions(*build(ops))
    assert (result.verdict, result.violations[0].gamma_ns) == ("violated", None)
    history, context = build([*ops[:2], write(12, 20, op=3, prev=1, process=1), ops[3]])
    assert check_sessions(history, context).violations == ()


def test_what_the_run_began_with_is_older_than_all_that_it_wrote() -> None:
    mine = write(10, 15, op=2, prev=77, process=1)
    for shown in (77, ABSENT):
        ops = [mine, read(20, 25, shown, op=3, process=1)]
        assert check_sessions(*build(ops, initial={A: {"k": Item(0, 77)}})).count == 1
    first = [read(1, 2, 77, op=3, process=1), mine]
    assert check_sessions(*build(first, initial={A: {"k": Item(0, 77)}})).violations == ()


def test_concurrent_writes_other_keys_eventual_reads_and_deleted_items_prove_nothing() -> None:
    concurrent = [write(0, 12, op=1, prev=ABSENT, process=9), write(10, 15, op=2, prev=ABSENT, process=1)]
    assert check_sessions(*build([*concurrent, read(20, 25, 1, op=3, process=1)])).violations == ()
    mine = write(10, 15, op=2, prev=1, process=1)
    assert check_sessions(*build([OLD, mine, read(20, 25, ABSENT, op=3, process=1, key="other")])).violations == ()
    eventual = Op("read_eventual", 20, 25, op=3, saw=1, process=1)
    assert check_sessions(*build([OLD, mine, eventual])).violations == ()
    gone = [OLD, mine, Op("delete", 16, 18, op=4, process=5), read(20, 25, ABSENT, op=3, process=1)]
    result = check_sessions(*build(gone))
    assert (result.violations, result.verdict) == ((), "unknown")
    assert "deletes" in (result.note or "")


def test_clocks_may_explain_what_only_they_prove() -> None:
    ops = [OLD, write(10, 15, op=2, process=1), read(20, 25, 1, op=3, process=1, region=B)]
    result = check_sessions(*build(ops, epsilon_ns=2))
    assert (result.verdict, result.violations[0].gamma_ns) == ("violated", 5)
    assert check_sessions(*build(ops, epsilon_ns=3)).verdict == "possible"


def test_a_process_that_does_two_things_at_once_is_not_judged() -> None:
    history, context = build([OLD, NEW, read(20, 40, 2, op=3, process=1), read(30, 35, 1, op=4, process=1)])
    result = check_sessions(history, context)
    assert result.violations == ()
    assert "overlap" in (result.note or "")


@pytest.mark.parametrize(
    "ops", [[], [read(0, 1, ABSENT, op=1)], [add(0, 5, 1, op=1, prev=ABSENT)], [read(0, 1, 99, op=1)]]
)
def test_a_record_of_next_to_nothing_proves_nothing(ops: list[Op]) -> None:
    assert check_sessions(*build(ops)).verdict == "unknown"


def proven(ops: list[Op], slack: int = 0) -> set[tuple[int, str]]:
    """Blamed operations and whether they read or wrote, looked up pair by pair."""
    by_op = {op.op: op for op in ops}
    before: dict[int | None, int | None] = {}
    for op in ops:
        if op.saw is not None and op.saw >= 0 and op.prev is not None:
            before[op.saw] = op.prev

    def older(one: int | None, other: int | None) -> bool:
        if one is None or other not in by_op or one == other:
            return False
        if one == ABSENT:
            return True
        at, seen = before.get(other), set()
        while at is not None and at >= 0 and at not in seen:
            if at == one:
                return True
            seen.add(at)
            at = before.get(at)
        a, b = by_op[one], by_op[other]
        return a.outcome == "ok" and a.end + slack < b.start

    blamed = set()
    sessions = defaultdict(list)
    for op in sorted(ops, key=lambda op: op.start):
        sessions[op.process, op.key].append(op)
    for session in sessions.values():
        left: list[int | None] = []
        for op in session:
            wrote = op.kind != "read" and op.outcome == "ok"
            if op.kind == "read" or wrote:
                met = op.prev if wrote else op.saw
                if any(older(met, one) for one in left):
                    blamed.add((op.op or 0, op.kind))
                left.append(op.op if wrote else op.saw)
    return blamed


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    mode=st.sampled_from(["MREC", "MRSC"]),
    bug=st.sampled_from([None, "applied to a stale copy", "late write beats newer"]),
    wander=st.booleans(),
    unknown=st.sampled_from([0.0, 0.2]),
)
def test_plain_python_agrees(seed: int, mode: str, bug: str | None, wander: bool, unknown: float) -> None:
    run = simulate(seed, mode, kinds=("add", "write"), intents=12, unknown=unknown, delay_ms=20, bug=bug)  # type: ignore[arg-type]
    ops = run.ops
    if wander:  # the same answers, given to other processes: sessions as broken as can be
        rng = random.Random(seed)
        lanes: dict[int, int] = {}
        moved = []
        for op in ops:
            free = [lane for lane in range(8) if lanes.get(lane, -1) <= op.start]
            lane = rng.choice(free or [len(lanes)])
            lanes[lane] = op.end if op.outcome != "unknown" else 10**15
            moved.append(Op(**{**op.__dict__, "process": lane}))
        ops = moved
    history, context = build(ops, mode=run.mode, final=run.final)
    result = check_sessions(history, context)
    found = {(int(history.op[v.rows[-1]]), history.kinds[history.kind[v.rows[-1]]]) for v in result.violations}
    expected = proven(numbered(ops))
    assert (result.count or 0) == len(expected)
    assert found <= expected
    if len(expected) <= 200:
        assert found == expected


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), mode=st.sampled_from(["MREC", "MRSC"]), killed=st.booleans(), cut=st.booleans())
def test_correct_stores_are_not_accused_of_sessions_in_one_region(
    seed: int, mode: str, killed: bool, cut: bool
) -> None:
    """Processes of the simulation stay in a Region, where MREC keeps these guarantees as well."""
    kinds = ("add", "write")
    run = simulate(seed, mode, kinds=kinds, unknown=0.1, refused=0.2, retries=True, killed=killed, cut=cut)  # type: ignore[arg-type]
    history, context = build(run.ops, **run.arguments())
    assert check_sessions(history, context).violations == ()


@pytest.mark.parametrize(("mode", "bug"), [("MRSC", "applied to a stale copy"), ("MREC", "late write beats newer")])
def test_planted_bugs_are_found(mode: str, bug: str) -> None:
    verdicts = set()
    for seed in range(6):
        run = simulate(seed, mode, kinds=("write",), intents=40, keys=1, processes=3, bug=bug, delay_ms=60)  # type: ignore[arg-type]
        verdicts.add(check_sessions(*build(run.ops, **run.arguments())).verdict)
    assert "violated" in verdicts


def test_a_deletion_that_a_killed_worker_may_have_made_explains_an_absent_item() -> None:
    lost = (LostRange(1, 1 << 48, (1 << 48) + 5, 0),)
    ops = [add(10, 15, 1, op=2, prev=ABSENT, process=1), read(20, 25, ABSENT, op=3, process=1)]
    assert check_sessions(*build(ops, lost=lost)).count == 1  # nothing in this run deletes
    ops.append(Op("delete", 0, 1, op=4, key="other", process=7))
    assert check_sessions(*build(ops, lost=lost)).violations == ()
