"""What a failover costs: each acknowledged write of the lost Region, as the first read elsewhere shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.verifier.builders import REGIONS, Item, Op, add, build, read, run_info, write, write_run
from tests.verifier.stores import simulate
from verifier.checks.ledger import balance_of
from verifier.history.columns import LostRange
from verifier.report import write_report
from verifier.rpo import losses_of, rpo_rows
from verifier.rundir import FaultRecord, RouteEvent
from verifier.verdict import Rpo
from verifier.verify import verify

EAST, OHIO, WEST = REGIONS
MS = 1_000_000
FAULT = FaultRecord(id="f", kind="region-down", regions=[EAST], asked_ns=90, onset_ns=100, healed_ns=1000)
DECIDED = RouteEvent(event="decided", region=EAST, at_ns=120, to=OHIO, number=1)


def judged(
    ops: list[Op],
    final: Item | None = None,
    routes: tuple[RouteEvent, ...] = (DECIDED,),
    lost: tuple[LostRange, ...] = (),
) -> Rpo:
    run = run_info("MREC", end_ns=5000)
    finals = {region: {"k": final} for region in REGIONS} if final else None
    history, context = build(ops, mode="MREC", run=run, faults=(FAULT,), final=finals, lost=lost)
    context = replace(context, routes=routes)
    losses = losses_of(history, context, balance_of(history, context))
    (row,) = rpo_rows(losses.tally, [losses], context)["f"]
    assert row.acknowledged == row.present + row.superseded + row.missing + row.unread + row.unclear
    return row


def test_a_write_that_the_sweep_shows_is_present() -> None:
    row = judged([write(10, 20, op=1), read(130, 140, op=2, saw=1, region=OHIO)], Item(w=1, start=2000, end=2001))
    assert (row.acknowledged, row.present, row.missing, row.time_ms) == (1, 1, 0, 0.0)
    assert (row.failover_ns, row.decided) == (120, True)


def test_missing_writes_are_delayed_if_they_arrive_and_destroyed_if_they_never_do() -> None:
    ops = [
        write(10, 20, op=1, prev=-1),
        write(30, 40, op=2, prev=1),
        write(50, 60, op=3, prev=2),
        read(130, 140, op=4, saw=1, region=OHIO),
    ]
    row = judged(ops, Item(w=3, p=2, start=2000, end=2001))
    assert (row.present, row.missing, row.delayed, row.destroyed) == (1, 2, 2, 0)
    assert row.time_ms == pytest.approx(0.0, abs=0.001), "microseconds: 120 - 40 ns"
    ops.append(write(150, 160, op=5, prev=1, region=OHIO))
    row = judged(ops, Item(w=5, p=1, start=2000, end=2001))
    assert (row.missing, row.delayed, row.destroyed) == (2, 0, 2)
    assert "had been acknowledged 80 ns before the failover" in row.proofs[0].sentence
    assert (row.proofs[0].op, row.proofs[0].shown_by, row.proofs[0].fate) == (2, 4, "destroyed")


def test_what_nobody_read_elsewhere_is_unread_and_no_time_is_said_of_it() -> None:
    ops = [write(10, 20, op=1), read(1500, 1510, op=2, saw=1, region=OHIO), read(130, 140, op=3, saw=1)]
    row = judged(ops, Item(w=1, start=2000, end=2001))
    assert (row.unread, row.missing, row.time_ms) == (1, 0, None)


def test_only_the_first_read_counts_and_only_what_was_acknowledged_by_then() -> None:
    ops = [
        write(10, 20, op=1, prev=-1),
        read(130, 140, op=2, saw=-1, region=OHIO),
        read(150, 160, op=3, saw=1, region=OHIO),  # it has arrived
        write(115, 125, op=4, prev=1),  # answered after the decision
        write(30, 40, op=5, outcome="unknown"),
    ]
    row = judged(ops, Item(w=4, p=1, start=2000, end=2001))
    assert (row.acknowledged, row.missing, row.delayed) == (1, 1, 1)


def test_without_a_decision_the_onset_counts_and_an_update_says_what_it_was_applied_to() -> None:
    ops = [add(10, 20, op=1, result=1, prev=-1), add(130, 140, op=2, result=1, prev=-1, region=WEST)]
    row = judged(ops, Item(w=2, p=-1, start=2000, end=2001), routes=())
    assert (row.failover_ns, row.decided, row.destroyed) == (100, False, 1)


def test_a_later_or_concurrent_blind_write_supersedes() -> None:
    ops = [
        write(10, 20, op=1, prev=-1),
        write(15, 35, op=2, prev=-1, region=OHIO),  # at the same time, in the other Region, and it won there
        read(130, 140, op=3, saw=2, region=OHIO),
    ]
    assert judged(ops, Item(w=2, p=-1, start=2000, end=2001)).superseded == 1
    ops[1] = replace(ops[1], kind="add", value=1, result=1)
    assert judged(ops, Item(w=2, p=-1, start=2000, end=2001)).destroyed == 1, "an increment must keep what was there"
    earlier = write(1, 5, op=2, prev=-1, region=OHIO)
    assert judged([ops[0], earlier, ops[2]], Item(w=2, p=-1, start=2000, end=2001)).missing == 1


def test_a_state_whose_origin_the_record_does_not_show_is_unclear() -> None:
    ops = [write(10, 20, op=1, prev=-1), read(130, 140, op=3, saw=2, region=OHIO)]
    assert judged(ops, Item(w=1, p=-1, start=2000, end=2001), lost=(LostRange(0, 2, 2, 0),)).unclear == 1


def test_other_faults_take_no_region_away() -> None:
    cut = FAULT.model_copy(update={"kind": "link-cut"})
    history, context = build([write(10, 20, op=1)], faults=(cut,))
    assert rpo_rows({}, [losses_of(history, context, balance_of(history, context))], context) == {}


@pytest.mark.parametrize("kinds", [("add",), ("write",)])
@pytest.mark.parametrize("seed", range(12))
def test_it_says_of_every_write_what_the_store_knows(seed: int, kinds: tuple[str, ...]) -> None:
    """Every item is read elsewhere at the failover; each version knows all writes that it was made of."""
    run = simulate(seed, "MREC", kinds=kinds, processes=9, intents=14, reads=0.2, cut=seed % 2 == 0, delay_ms=30)
    at = sorted(op.end for op in run.ops)[len(run.ops) // 2]
    fault = FaultRecord(id="f", kind="region-isolated", regions=[EAST], asked_ns=at, onset_ns=at, healed_ns=10**12)
    info = run_info("MREC", end_ns=10**12)
    history, context = build(run.ops, **{**run.arguments(), "faults": (fault,)}, run=info)  # type: ignore[arg-type]
    losses = losses_of(history, context, balance_of(history, context))
    (row,) = rpo_rows(losses.tally, [losses], context)["f"]
    made_of = truth(run.ops)
    mine = [op for op in run.ops if op.kind != "read" and op.region == EAST and op.end <= at]
    later = sorted((op for op in run.ops if op.region != EAST and op.start >= at), key=lambda op: (op.start, op.op))
    shown: dict[str, int] = {}
    for op in later:
        state = op.saw if op.kind == "read" else op.prev
        if state is not None:
            shown.setdefault(op.key, state)
    present = [op for op in mine if op.key in shown and op.op in made_of.get(shown[op.key], ())]
    unread = [op for op in mine if op.key not in shown]
    missing = [op for op in mine if op not in present and op not in unread]
    assert (row.acknowledged, row.present, row.unread) == (len(mine), len(present), len(unread))
    assert not row.unclear, "every operation answered"
    assert row.missing + row.superseded == len(missing)
    if kinds == ("write",):
        return
    assert not row.superseded, "an increment overwrites nothing"
    assert row.delayed == sum(op.op in run.kept[op.key] for op in missing)
    assert row.destroyed == sum(op.op not in run.kept[op.key] for op in missing)
    if missing:
        assert row.time_ms == pytest.approx(max(at - op.end for op in missing) / MS, abs=0.001)


def truth(ops: list[Op]) -> dict[int, frozenset[int]]:
    """By mark all writes that the state was made of, from what the writes were applied to."""
    before = {op.op: op.prev for op in ops if op.kind != "read"}
    found: dict[int, frozenset[int]] = {-1: frozenset()}
    for mark in before:
        line, at = [], mark
        while at is not None and at != -1:
            line.append(at)
            at = before.get(at)
        assert mark is not None
        found[mark] = frozenset(one for one in line if one is not None)
    return found


def test_expectations_on_what_a_failover_costs(tmp_path: Path) -> None:
    fault = FaultRecord(
        id="f", kind="region-down", regions=[EAST], asked_ns=90 * MS, onset_ns=100 * MS, healed_ns=900 * MS
    )
    ops = [
        write(10 * MS, 20 * MS, op=1, prev=-1),
        write(30 * MS, 40 * MS, op=2, prev=1),
        read(130 * MS, 140 * MS, op=3, saw=1, region=OHIO),
    ]
    expect = [
        {"metric": "rpo", "op": "<=", "value": "60ms"},
        {"metric": "rpo", "op": "<=", "value": "59ms"},
        {"metric": "rpo_writes", "op": "==", "value": 1, "region": EAST},
        {"metric": "rpo", "op": "==", "value": 0, "region": OHIO},
    ]
    final = {region: {"k": Item(w=2, p=1, start=2000 * MS, end=2001 * MS)} for region in REGIONS}
    directory = write_run(
        tmp_path / "run",
        ops,
        mode="MREC",
        final=final,
        faults=[fault],
        end_ns=10**9,
        settled=True,
        profile={"name": "test", "expect": expect},
    )
    verdict = verify(directory.path)
    assert [row.met for row in verdict.expectations] == [True, False, True, None]
    assert verdict.faults[0].rpo[0].time_ms == 60.0
    assert "1 of 2 acknowledged writes missing elsewhere (1 came later); RPO 60ms" in directory.summary.read_text()
    page = write_report(directory).read_text()
    assert 'id="rpo"' in page
    assert 'data-name="rpo" data-value="60.0">60ms<' in page
    assert "had been acknowledged 60.0 ms before the failover" in page
    assert 'id="rto"' not in page, "the fault lasted for less than a window"
