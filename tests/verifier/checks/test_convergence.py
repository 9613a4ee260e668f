"""Replicas converge, on a last write; what cannot be known of it is not claimed."""

from __future__ import annotations

import pytest

from tests.verifier.builders import REGIONS, Item, Op, add, build, run_info, write
from tests.verifier.stores import simulate
from verifier.checks.convergence import check_convergence
from verifier.checks.final import differing
from verifier.checks.types import Result
from verifier.history.schema import EXPIRY
from verifier.rundir import FaultRecord, RunInfo

A, B, C = REGIONS
KEY = {"k": Item(0, 1, -1, 100, 101)}


def settled(queues_empty: bool | None = True) -> RunInfo:
    return run_info("MREC", queues_empty=queues_empty, settled=queues_empty)


def judge(ops: list[Op], final: dict[str, dict[str, Item]], queues_empty: bool | None = True) -> Result:
    history, context = build(ops, mode="MREC", final=final, run=settled(queues_empty))
    return check_convergence(history, context)


def test_equal_replicas_hold() -> None:
    result = judge([write(0, 1, prev=-1)], dict.fromkeys(REGIONS, KEY))
    assert (result.verdict, result.exercised) == ("holds", 1)


@pytest.mark.parametrize(("queues_empty", "verdict"), [(True, "violated"), (None, "unknown"), (False, "unknown")])
def test_replicas_that_differ_break_the_contract_only_if_nothing_can_change_them_any_more(
    queues_empty: bool | None, verdict: str
) -> None:
    ops = [write(0, 1, op=1, prev=-1), write(2, 3, op=2, region=B, prev=-1)]
    final = {A: KEY, B: {"k": Item(0, 2, -1, 100, 101)}, C: KEY}
    result = judge(ops, final, queues_empty)
    assert result.verdict == verdict
    assert result.count == (1 if queues_empty else 0)


def test_an_item_whose_time_is_over_may_be_gone_here_and_not_yet_there() -> None:
    ends = Op("delete", 2, 2, op=9, value=50, outcome="unknown", error=EXPIRY)
    ops = [write(0, 1, op=1, prev=-1), ends]
    result = check_convergence(*build(ops, mode="MREC", final={A: KEY, B: {}, C: KEY}, run=settled()))
    assert (result.verdict, result.count) == ("unknown", 0)
    assert "1 items still differed" in str(result.note)
    other = {A: {"k": Item(1, 1)}, B: {"k": Item(2, 1)}, C: {"k": Item(1, 1)}}
    assert check_convergence(*build(ops, mode="MREC", final=other, run=settled())).verdict == "violated"


def test_an_item_that_one_replica_lacks_differs() -> None:
    history, context = build([write(0, 1, prev=-1)], mode="MREC", final={A: KEY, B: {}, C: KEY}, run=settled())
    assert differing(history, context).tolist() == [True]
    assert check_convergence(history, context).verdict == "violated"


@pytest.mark.parametrize(("end", "verdict"), [(5, "violated"), (6, "holds"), (9, "holds")])
def test_the_survivor_is_no_write_wholly_before_another(end: int, verdict: str) -> None:
    ops = [write(0, end, op=1, prev=-1), write(6, 8, op=2, region=B, prev=-1)]
    result = judge(ops, dict.fromkeys(REGIONS, KEY))
    assert result.verdict == verdict


def test_a_survivor_that_clocks_could_explain_is_left_alone() -> None:
    ops = [write(0, 5, op=1, prev=-1), write(6, 8, op=2, region=B, prev=-1)]
    history, context = build(ops, mode="MREC", final=dict.fromkeys(REGIONS, KEY), run=settled(), epsilon_ns=1)
    assert check_convergence(history, context).verdict == "holds"


@pytest.mark.parametrize(("offset_ns", "verdict"), [(-1, "holds"), (1, "holds"), (0, "violated")])
def test_a_survivor_that_a_wrong_clock_of_a_region_could_explain_is_left_alone(offset_ns: int, verdict: str) -> None:
    ops = [write(0, 5, op=1, prev=-1), write(6, 8, op=2, region=B, prev=-1)]
    skew = FaultRecord(id="f", kind="clock-skew", regions=[A], parameters={"offset_ns": offset_ns}, asked_ns=0)
    history, context = build(
        ops, mode="MREC", final=dict.fromkeys(REGIONS, KEY), run=settled(), faults=(skew,) if offset_ns else ()
    )
    assert check_convergence(history, context).verdict == verdict


def test_an_item_that_nobody_deleted_is_not_gone() -> None:
    result = judge([write(0, 5, op=1, prev=-1)], {region: {} for region in REGIONS})
    assert result.verdict == "violated"
    assert result.violations[0].facts["rule"] == "gone"
    deleted = [write(0, 5, op=1, prev=-1), Op("delete", 6, 7, op=2, outcome="unknown")]
    assert judge(deleted, {region: {} for region in REGIONS}).verdict == "holds"


def test_a_deletion_that_met_nothing_is_no_last_word() -> None:
    late = [write(0, 5, op=1, prev=-1), Op("delete", 6, 7, op=2, region=B, prev=-1)]  # 1 had not come to B
    assert judge(late, dict.fromkeys(REGIONS, KEY)).verdict == "holds"
    effective = [write(0, 5, op=1, prev=-1), Op("delete", 6, 7, op=2, region=B, prev=1)]
    assert judge(effective, dict.fromkeys(REGIONS, KEY)).verdict == "violated"


def test_without_two_replicas_nothing_is_known() -> None:
    assert judge([add(0, 1, 1)], {A: KEY}).verdict == "unknown"
    assert judge([add(0, 1, 1)], {}).exercised == 0


def test_a_replica_left_behind_is_found() -> None:
    found = 0
    for seed in range(10):
        run = simulate(seed, "MREC", bug="replica left behind", reads=0.0, keys=6)
        history, context = build(run.ops, **run.arguments(), run=settled())
        behind = run.final[A]["k0"] != run.final[C].get("k0")
        assert check_convergence(history, context).verdict == ("violated" if behind else "holds")
        found += behind
    assert found


def test_the_wrong_winner_is_found_in_some_run() -> None:
    verdicts = set()
    for seed in range(20):
        run = simulate(seed, "MREC", bug="late write beats newer", intents=3, keys=6, delay_ms=60)
        history, context = build(run.ops, **run.arguments(), run=settled())
        verdicts.add(check_convergence(history, context).verdict)
    assert "violated" in verdicts
