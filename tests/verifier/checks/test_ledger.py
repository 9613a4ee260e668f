"""The ledgers against stores that know the truth: nothing kept is called lost, nothing lost is called kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.builders import REGIONS, Item, Op, add, build, read, write
from tests.verifier.stores import Run, simulate
from verifier.checks.ledger import Balance, Fate, balance_of, check_lost, check_twice
from verifier.checks.store import check_store
from verifier.history.columns import LostRange
from verifier.history.schema import ABSENT, ALREADY_APPLIED
from verifier.rundir import Mode

A, B, C = REGIONS
seeds = st.integers(0, 2**32)
modes = st.sampled_from(["MREC", "MRSC"])


def same(item: Item) -> dict[str, dict[str, Item]]:
    """The same item in every replica."""
    return {region: {"k": item} for region in REGIONS}


def fates(run: Run) -> tuple[Balance, dict[int, Fate]]:
    """What the ledger says of each intent, by the operation that stands for it."""
    history, context = build(run.ops, **run.arguments())
    balance = balance_of(history, context)
    names = history.op[balance.fates.row].tolist()
    return balance, {op: Fate(fate) for op, fate in zip(names, balance.fates.fate.tolist(), strict=True)}


def balances(balance: Balance) -> bool:
    """To the unit, in total, by kind, by Region and by winner."""
    ledger = balance.intent
    assert ledger is not None
    assert ledger.acknowledged == ledger.kept + ledger.lost + ledger.unattributed
    for part in ledger.by_kind.values():
        assert part.acknowledged == part.kept + part.lost + part.unattributed
    assert ledger.acknowledged == sum(part.acknowledged for part in ledger.by_kind.values())
    assert ledger.lost == sum(ledger.lost_by_region.values()) == sum(ledger.lost_by_key.values())
    assert all(ledger.lost_by_region[of] == sum(by.values()) for of, by in ledger.lost_by_winner.items())
    assert len(balance.lost.row) == ledger.lost
    return True


@settings(max_examples=40, deadline=None)
@given(seed=seeds, mode=modes, kinds=st.sampled_from([("add",), ("write",), ("add", "write")]), cut=st.booleans())
def test_where_every_answer_came_each_write_is_told_exactly(
    seed: int, mode: Mode, kinds: tuple[str, ...], cut: bool
) -> None:
    run = simulate(seed, mode, kinds=kinds, refused=0.1, cut=cut)
    balance, told = fates(run)
    assert balances(balance)
    assert balance.exact
    assert balance.open_keys == 0
    for op in run.ops:
        if op.kind != "read" and op.op is not None:
            truth = Fate.REFUSED if op.outcome == "fail" else Fate.KEPT if op.op in run.kept[op.key] else Fate.LOST
            assert told[op.op] == truth


@settings(max_examples=80, deadline=None)
@given(
    seed=seeds,
    mode=modes,
    kinds=st.sampled_from([("add",), ("write",), ("add", "write")]),
    unknown=st.sampled_from([0.05, 0.3]),
    reads=st.sampled_from([0.0, 0.5]),
    killed=st.booleans(),
)
def test_unknown_outcomes_never_turn_kept_into_lost_or_lost_into_kept(
    seed: int, mode: Mode, kinds: tuple[str, ...], unknown: float, reads: float, killed: bool
) -> None:
    run = simulate(seed, mode, kinds=kinds, unknown=unknown, reads=reads, killed=killed)
    balance, told = fates(run)
    assert balances(balance)
    assert balance.exact is not killed
    unattributed = {op for op, fate in told.items() if fate == Fate.UNATTRIBUTED}
    truly_lost = 0
    for op in run.ops:
        if op.kind == "read" or op.outcome != "ok" or op.op is None:
            continue
        kept = op.op in run.kept[op.key]
        truly_lost += not kept and op.op in unattributed
        assert told[op.op] in (Fate.KEPT if kept else Fate.LOST, Fate.UNATTRIBUTED)
    least, most = balance.open_lost
    assert least <= truly_lost <= most
    if mode == "MRSC":
        assert balance.intent is not None
        assert balance.intent.lost == 0


@settings(max_examples=40, deadline=None)
@given(seed=seeds, mode=modes, unknown=st.sampled_from([0.0, 0.2]))
def test_retries_are_one_intent_and_count_twice_where_two_attempts_took_effect(
    seed: int, mode: Mode, unknown: float
) -> None:
    run = simulate(seed, mode, unknown=unknown, refused=0.1, retries=True)
    balance, _ = fates(run)
    assert balances(balance)
    attempts: dict[int | None, set[int]] = {}
    for op in run.ops:
        if op.kind != "read" and op.op in run.kept[op.key]:
            attempts.setdefault(op.intent, set()).add(op.op)
    truth = sum(len(some) > 1 for some in attempts.values())
    assert balance.intent is not None
    assert balance.intent.twice <= truth <= balance.intent.twice + int(balance.fates.maybe_twice.sum())


@settings(max_examples=40, deadline=None)
@given(seed=seeds, unknown=st.sampled_from([0.0, 0.2]), killed=st.booleans(), refused=st.sampled_from([0.0, 0.2]))
def test_a_correct_mrsc_counter_is_never_said_to_have_lost_or_invented_anything(
    seed: int, unknown: float, killed: bool, refused: float
) -> None:
    run = simulate(seed, "MRSC", unknown=unknown, killed=killed, refused=refused, retries=True)
    history, context = build(run.ops, **run.arguments())
    assert check_store(history, context).violations == ()
    assert check_lost(history, context).count == 0


@pytest.mark.parametrize("seed", range(5))
def test_an_increment_that_was_thrown_away_is_missing_and_named(seed: int) -> None:
    run = simulate(seed, "MRSC", bug="acknowledged without effect", intents=30)
    history, context = build(run.ops, **run.arguments())
    gone = {op.op for op in run.ops if op.kind == "add" and op.op not in run.kept[op.key]}
    assert gone
    balance = balance_of(history, context)
    assert {int(op) for op in history.op[balance.lost.row]} == gone
    assert balance.store is not None
    assert balance.store.missing == len(gone)


@pytest.mark.parametrize("seed", range(5))
def test_an_increment_applied_twice_is_a_surplus(seed: int) -> None:
    run = simulate(seed, "MRSC", bug="applied twice", intents=30)
    history, context = build(run.ops, **run.arguments())
    result = check_store(history, context)
    assert result.verdict == "violated"
    balance = balance_of(history, context)
    assert balance.store is not None
    total = sum(next(iter(run.final.values()))[key].value or 0 for key in run.kept)
    assert balance.store.surplus == total - sum(op.kind == "add" for op in run.ops)


def three_regions_five_times() -> tuple[list[Op], dict[str, dict[str, Item]]]:
    """The published demo: three Regions increment one counter five times each before anything is replicated."""
    ops = []
    for round_ in range(5):
        for number, region in enumerate(REGIONS):
            op = 3 * round_ + number + 1
            start = 10 * round_ + number
            before = ABSENT if round_ == 0 else op - 3
            ops.append(add(start, start + 5, result=round_ + 1, region=region, op=op, prev=before))
    return ops, same(Item(5, 15, 12))


def test_the_published_demo_loses_ten_each_with_its_winner() -> None:
    ops, final = three_regions_five_times()
    history, context = build(ops, mode="MREC", final=final)
    balance = balance_of(history, context)
    assert balance.intent is not None
    assert (balance.intent.acknowledged, balance.intent.kept, balance.intent.lost) == (15, 5, 10)
    assert balance.intent.lost_by_winner == {A: {C: 5}, B: {C: 5}}
    assert balance.intent.lost_by_key == {"k": 10}
    winners = history.op[balance.lost.winner].tolist()
    assert winners == [3, 3, 6, 6, 9, 9, 12, 12, 15, 15]  # each time the winner's increment of the same round
    assert balance.store is not None
    assert (balance.store.final, balance.store.missing, balance.store.surplus) == (5, 10, 0)


def test_the_winner_is_the_write_that_the_histories_parted_at_not_one_long_before() -> None:
    ops = [
        write(0, 1, op=1, region=A, prev=ABSENT),
        write(10, 11, op=2, region=B, prev=1),
        write(20, 21, op=3, region=A, prev=2),
        write(20, 22, op=4, region=C, prev=2),  # parted from 3 after 2
    ]
    history, context = build(ops, mode="MREC", final=same(Item(0, 3, 2)))
    balance = balance_of(history, context)
    assert history.op[balance.lost.row].tolist() == [4]
    assert history.op[balance.lost.winner].tolist() == [3]


def test_an_item_that_vanished_lost_everything_to_nobody() -> None:
    history, context = build([add(0, 1, 1, prev=ABSENT)], final={region: {} for region in REGIONS})
    balance = balance_of(history, context)
    assert balance.intent is not None
    assert balance.intent.lost_by_winner == {A: {"nobody": 1}}


def test_without_a_final_state_nothing_is_lost_or_kept() -> None:
    history, context = build([add(0, 1, 1, prev=ABSENT)])
    balance = balance_of(history, context)
    assert balance.intent is not None
    assert (balance.intent.kept, balance.intent.lost, balance.intent.unattributed) == (0, 0, 1)
    assert not balance.judged
    assert check_lost(history, context).verdict == "unknown"


def test_what_only_some_replicas_hold_is_unattributed() -> None:
    ops = [add(0, 1, 1, op=1, prev=ABSENT), add(2, 3, 2, op=2, region=A, prev=1), add(2, 3, 2, op=3, region=B, prev=1)]
    final = {A: {"k": Item(2, 2, 1)}, B: {"k": Item(2, 3, 1)}, C: {"k": Item(2, 3, 1)}}
    history, context = build(ops, mode="MREC", final=final)
    balance = balance_of(history, context)
    assert balance.intent is not None
    assert (balance.intent.kept, balance.intent.lost, balance.intent.unattributed) == (1, 0, 2)


def test_a_lineage_goes_on_through_what_a_read_saw_of_an_unanswered_write() -> None:
    ops = [
        add(0, 1, 1, op=1, prev=ABSENT),
        add(2, 3, op=2, outcome="unknown"),
        read(4, 5, saw=2, prev=1, result=2),
        add(6, 7, 3, op=4, prev=2),
    ]
    for mode in ("MREC", "MRSC"):
        history, context = build(ops, mode=mode, final=same(Item(3, 4, 2)))
        balance = balance_of(history, context)
        assert balance.intent is not None
        assert (balance.intent.kept, balance.intent.unattributed) == (2, 0)


def test_two_regions_at_the_same_value_leave_a_gap_open_with_its_bounds() -> None:
    ops = [
        add(0, 1, 1, op=1, region=A, prev=ABSENT),
        add(0, 1, 1, op=2, region=B, prev=ABSENT),
        add(2, 3, op=3, region=A, outcome="unknown"),
        add(6, 7, 3, op=4, region=A, prev=3),
    ]
    history, context = build(ops, mode="MREC", final=same(Item(3, 4, 3)))
    balance = balance_of(history, context)
    assert balance.intent is not None
    assert (balance.intent.kept, balance.intent.lost, balance.intent.unattributed) == (1, 0, 2)
    assert balance.open_lost == (1, 1)  # one of the two, whichever


def test_marks_of_a_killed_worker_leave_bounds_and_no_accusation() -> None:
    ops = [add(0, 1, 1, op=1, prev=ABSENT), add(6, 7, 3, op=2, prev=(1 << 48) + 5)]
    lost = (LostRange(1, 1 << 48, (1 << 48) + 100, 2),)
    history, context = build(ops, mode="MREC", final=same(Item(3, 2, (1 << 48) + 5)), lost=lost)
    balance = balance_of(history, context)
    assert not balance.exact
    assert balance.intent is not None
    assert balance.intent.lost == 0
    assert check_store(history, context).verdict == "holds"


def test_an_intent_applied_twice_shows_both_attempts() -> None:
    ops = [
        add(0, 5, op=1, outcome="unknown"),
        add(6, 7, 2, op=2, prev=1, intent=1, attempt=2),
    ]
    history, context = build(ops, final=same(Item(2, 2, 1)))
    result = check_twice(history, context)
    assert result.verdict == "violated"
    assert [history.op[row] for row in result.violations[0].rows] == [1, 2]


def test_an_attempt_that_a_later_one_proved_is_acknowledged_kept_or_lost() -> None:
    """Attempt 1 was never answered, attempt 2 refused because 1 stands: the user was told that it is done."""
    unanswered = add(0, 1, op=1, outcome="unknown")
    refused = add(2, 3, op=2, intent=1, attempt=2, outcome="fail", error=ALREADY_APPLIED, saw=1, prev=ABSENT)
    kept = build([unanswered, refused, add(4, 5, 2, op=3, prev=1)], final=same(Item(2, 3, 1)))
    lost = build([unanswered, refused, add(4, 5, 1, op=3, prev=ABSENT, region=B)], final=same(Item(1, 3, ABSENT)))
    refused_otherwise = replace(refused, error="ConditionalCheckFailedException", saw=None, prev=None)
    open_ = build(
        [unanswered, refused_otherwise, add(4, 5, 1, op=3, prev=ABSENT, region=B)], final=same(Item(1, 3, ABSENT))
    )
    for (history, context), fate in ((kept, Fate.KEPT), (lost, Fate.LOST), (open_, Fate.UNKNOWN)):
        balance = balance_of(history, context)
        by_op = dict(zip(history.op[balance.fates.row].tolist(), balance.fates.fate.tolist(), strict=True))
        assert by_op[1] == fate, "the attempt that may have taken effect stands for the intent"
        assert balances(balance)
