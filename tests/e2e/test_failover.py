"""A Region goes down: its users are routed to another one and back, and every step can be read from the record."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lastwriter.client.routes import SWEEP
from tests.e2e.conftest import Begin
from tests.e2e.drills import Drill, drill, drill_of, end, family, of_kind, wait_until_loaded
from verifier.history.columns import History
from verifier.history.reader import read_history
from verifier.history.schema import Outcome
from verifier.rundir import FaultRecord, RouteEvent
from verifier.verdict import Rpo

pytestmark = pytest.mark.e2e

LOST, TAKES_OVER = "us-east-1", "us-east-2"


def events(run: Drill) -> list[RouteEvent]:
    return [RouteEvent.model_validate_json(line) for line in run.directory.routes.read_text().splitlines()]


def only(found: list[RouteEvent], name: str, number: int | None = None) -> list[RouteEvent]:
    return [one for one in found if (one.event, one.region) == (name, LOST) and number in (None, one.number)]


def answered(history: History, prefix: str, begin_ns: int, end_ns: int) -> float:
    """Share of the intents of the lost Region's users, on these keys and scheduled in this time, that succeeded."""
    on_keys = np.array([key.startswith(prefix) for key in history.keys])[history.key]
    assert history.user_region is not None
    asked = np.array(history.regions)[history.region]
    lives_in = np.where(history.user_region >= 0, np.array([*history.user_regions, ""])[history.user_region], asked)
    mine = on_keys & (lives_in == LOST) & (history.scheduled_ns >= begin_ns) & (history.scheduled_ns < end_ns)
    intents = np.unique(history.intent[mine])
    done = np.unique(history.intent[mine & (history.outcome == Outcome.OK)])
    assert len(intents) > 5
    return len(done) / len(intents)


def assert_followed(run: Drill) -> None:
    found = events(run)
    fault = FaultRecord.model_validate_json(run.directory.faults.read_text())
    assert fault.onset_ns is not None
    assert fault.healed_ns is not None
    (unhealthy,), (healthy,), (drained,) = (only(found, name) for name in ("unhealthy", "healthy", "drained"))
    there, back = only(found, "decided")
    assert (there.to, there.epoch, back.to, back.epoch) == (TAKES_OVER, 2, LOST, 3)
    assert unhealthy.since_ns is not None
    assert fault.onset_ns - 1e9 < unhealthy.since_ns < unhealthy.at_ns <= there.at_ns
    assert fault.healed_ns - 1e9 < healthy.at_ns <= drained.at_ns <= back.at_ns
    assert [event.to for event in only(found, "flipped")] == [TAKES_OVER, LOST]
    for decision in (there, back):
        switched = only(found, "switched", decision.number)
        assert {event.worker for event in switched} == {0, 1}
        assert all(event.to == decision.to for event in switched)
        assert all(decision.at_ns <= (event.since_ns or 0) <= event.at_ns for event in switched)
    arrived_ns = max(event.at_ns for event in only(found, "switched", there.number))

    # the sweep: every key of which the lost Region had acknowledged a write, read where its users go
    history = read_history(run.directory)
    swept = history.workload == history.workloads.index(SWEEP)
    assert {history.kinds[code] for code in history.kind[swept]} == {"read"}
    assert {history.regions[code] for code in history.region[swept]} == {TAKES_OVER}
    sweeps = only(found, "swept")
    assert sum(event.keys or 0 for event in sweeps) == int(swept.sum())
    assert sum(event.unread or 0 for event in sweeps) == int((history.outcome[swept] != Outcome.OK).sum())
    writes = np.isin(history.kind, [code for code, kind in enumerate(history.kinds) if kind == "add"])
    lost_region = history.region == history.regions.index(LOST)
    before = writes & lost_region & (history.outcome == Outcome.OK) & (history.end_ns < there.at_ns)
    assert set(history.key[swept].tolist()) == set(history.key[before].tolist())

    # its users, once they have followed, are served; those of the load without failover are not
    until_ns = fault.healed_ns - 1_500_000_000  # what is tried again for longer may be answered by a healthy Region
    assert answered(history, "items-", arrived_ns, until_ns) > 0.9
    assert answered(history, "home-", arrived_ns, until_ns) > 0.9
    assert answered(history, "staying-", arrived_ns, until_ns) < 0.1
    done = Counter(history.regions[code] for code in history.region[before | (writes & lost_region)])
    assert done[LOST], "and they come back"
    last = history.region[writes & (history.scheduled_ns > back.at_ns + 3e9)]
    assert LOST in {history.regions[code] for code in last}

    # keys that moved: written by the new home while the old one was lost, and with its epoch
    home = np.array([key.startswith(("home-", "fenced-")) for key in history.keys])[history.key]
    owned = history.home_region == history.home_regions.index(LOST)
    meanwhile = (history.scheduled_ns > arrived_ns) & (history.scheduled_ns < fault.healed_ns)
    moved = home & owned & writes & meanwhile & (history.outcome == Outcome.OK)
    assert {history.regions[code] for code in history.region[moved]} == {TAKES_OVER}


def assert_costs(run: Drill) -> Rpo:
    """What the failover cost is told: by the sweep, and by how long users waited."""
    (fault,) = run.verdict.faults
    (rpo,) = fault.rpo
    assert (rpo.region, rpo.decided, rpo.unread) == (LOST, True, 0)
    assert rpo.acknowledged > 0
    assert rpo.acknowledged == rpo.present + rpo.superseded + rpo.missing + rpo.unclear
    waited = {(row.population, row.failover): row for row in fault.rto if row.kind == "read"}
    routed = waited[LOST, "routed"]
    assert routed.time_ms is not None
    assert routed.time_ms > 0, "it takes some probes to notice"
    assert waited[LOST, "none"].recovered is not True
    assert waited[TAKES_OVER, "routed"].time_ms is not None
    assert {row.pattern for row in run.verdict.intents.by_pattern} == {"home-region", "fenced", "region-items"}
    assert "What the faults cost" in run.stdout
    return rpo


def test_users_follow_the_routes_there_and_back_and_the_lost_region_is_swept(tmp_path: Path) -> None:
    run = drill("region-down-failover", "--short", "--seed", "1", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    assert_followed(run)
    assert_costs(run)
    assert {row["key"].split("-")[0] for row in run.lost} <= {"home", "fenced"}, "region-items keep everything"


@pytest.mark.long
def test_in_mrsc_nothing_is_lost_on_the_way(tmp_path: Path) -> None:
    run = drill("region-down-failover", "--short", "--seed", "1", "--mode", "MRSC", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    assert_followed(run)
    assert run.lost == []
    rpo = assert_costs(run)
    assert (rpo.missing, rpo.time_ms) == (0, 0.0)


@pytest.mark.long
def test_with_a_handover_only_the_way_there_costs_anything(tmp_path: Path) -> None:
    waits = ("--set", "health.handover=2s", "--set", "phases.recovery.short=12s")
    run = drill("region-down-failover", "--short", "--seed", "1", *waits, cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    ledger = run.verdict.ledger.intent
    assert ledger is not None
    assert set(ledger.lost_by_region) == {LOST}, "nobody else wrote what somebody wrote over"
    (there, _) = only(events(run), "decided")
    history = read_history(run.directory)
    ends = dict(zip(history.op.tolist(), history.end_ns.tolist(), strict=True))
    assert all(ends[row["op"]] < there.at_ns for row in run.lost)


OWN_ITEMS = """
name: heir
hypothesis: The items of a worker that has died are read at a failover, too.
target: {mode: MREC}
load:
  - {workload: canary, rate: 30/s, failover: routed, deadline: 1s}
health: {interval: 300ms, timeout: 300ms, threshold: 3, ttl: 1s}
phases:
  - {name: before, duration: 4s}
  - {name: fault, duration: 6s, faults: [{kind: region-down, regions: [us-east-1]}]}
"""


@pytest.mark.long
def test_what_a_dead_worker_had_acknowledged_is_read_by_another_one(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "heir.yaml").write_text(OWN_ITEMS)
    process = begin("heir.yaml", "--seed", "1", cwd=tmp_path)
    wait_until_loaded(process, tmp_path, seconds=2)
    of_kind(family(process), "--worker")[0].kill()
    run = end(process, tmp_path)
    (there,) = only(events(run), "decided")
    history = read_history(run.directory)
    (dead,) = {lost.worker for lost in history.lost}
    writes = np.isin(history.kind, [code for code, kind in enumerate(history.kinds) if kind == "cas"])
    acknowledged = writes & (history.region == history.regions.index(LOST)) & (history.outcome == Outcome.OK)
    acknowledged &= history.end_ns < there.at_ns
    swept = history.workload == history.workloads.index(SWEEP)
    assert (acknowledged & (history.worker == dead)).any()
    assert set(history.key[swept].tolist()) == set(history.key[acknowledged].tolist())
    ((rpo,),) = (fault.rpo for fault in run.verdict.faults)
    assert (rpo.unread, rpo.decided) == (0, True)


RETRY = """
name: next-endpoint
hypothesis: A client that tries the next Region after an unanswered write applies writes twice.
target: {mode: MRSC}
load:
  - {workload: counters, rate: 60/s, keys: {prefix: stay, count: 3}, mix: {increment: 100%}, deadline: 2s}
  - {workload: counters, rate: 60/s, keys: {prefix: go, count: 3}, mix: {increment: 100%}, deadline: 2s,
     retry: jittered, failover: sdk-retry}
phases:
  - name: fault
    duration: 4s
    faults: [{kind: reply-lost, regions: [us-east-1], share: 50%}]
expect:
  - {metric: double_applications, op: ">", value: 0}
"""


@pytest.mark.long
def test_a_retry_in_the_next_region_is_answered_and_applied_twice(tmp_path: Path) -> None:
    run = drill_of(RETRY, tmp_path)
    twice = {finding.key for finding in run.check("twice").findings}
    assert twice
    assert all(key.startswith("go-") for key in twice)
    history = read_history(run.directory)
    further = (history.attempt == 2) & (history.outcome == Outcome.OK)
    assert {history.regions[code] for code in history.region[further]} >= {"us-east-2"}
    assert history.user_region is not None
    again = history.user_region[(history.attempt == 2) & (history.region == history.regions.index("us-east-2"))]
    assert {history.user_regions[code] for code in again if code >= 0} >= {"us-east-1"}
