"""Patterns side by side: what each loses in either mode, judged by the same checks; retries after unknown outcomes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.drills import Drill, drill, drill_of
from verifier.history.columns import History
from verifier.history.reader import read_history
from verifier.history.schema import ALREADY_APPLIED, Outcome

pytestmark = pytest.mark.e2e

SAFE_IN_MREC = {"home-region", "fenced", "leader", "region-items", "region-sets", "compacted"}
PATTERNS = SAFE_IN_MREC | {
    "naive", "conditional", "read-all", "region-attributes", "sharded", "idempotent", "last-request-id",
    "client-timestamp",
}  # fmt: skip


def pattern_of(key: str) -> str:
    """``sharded-0#3`` → ``sharded``."""
    return key.split("@")[0].split("#")[0].rpartition("-")[0]


def assert_judged_rightly(run: Drill) -> None:
    """The store kept its contract, nothing is left open, and the books balance to the unit."""
    verdict = run.verdict
    assert verdict.complete
    assert verdict.contract_verdict == "holds", verdict.headline
    assert all(check.verdict in ("holds", "violated") for check in verdict.checks if check.exercised)
    ledger = verdict.ledger.intent
    assert ledger is not None
    assert ledger.acknowledged == ledger.kept + ledger.lost
    assert len(run.lost) == ledger.lost


def rows_of(history: History, pattern: str) -> list[int]:
    keys = {number for number, key in enumerate(history.keys) if pattern_of(key) == pattern}
    return [row for row, key in enumerate(history.key.tolist()) if key in keys]


def test_in_mrec_only_one_writer_an_item_helps(tmp_path: Path) -> None:
    run = drill("patterns", "--short", "--seed", "1", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    assert_judged_rightly(run)
    lost = Counter(pattern_of(row["key"]) for row in run.lost)
    assert set(lost) == PATTERNS - SAFE_IN_MREC
    history = read_history(run.directory)
    assert {pattern_of(key) for key in history.keys} == PATTERNS
    asked = {name: {history.regions[history.region[row]] for row in rows_of(history, name)} for name in PATTERNS}
    assert asked.pop("leader") == {"us-east-1"}
    assert all(regions == set(run.info.regions) for regions in asked.values())
    spread = ("region-items", "region-sets", "compacted", "sharded")
    assert set(history.logical_keys) == {f"{name}-{n}" for name in spread for n in (0, 1)}
    logical = {row["logical_key"] for row in run.lost if pattern_of(row["key"]) == "sharded"}
    assert logical <= {"sharded-0", "sharded-1"}, "what is lost is told by the counter that it is lost to"


def test_in_mrsc_all_of_them_keep_everything(tmp_path: Path) -> None:
    run = drill("patterns", "--short", "--seed", "1", "--mode", "MRSC", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    assert_judged_rightly(run)
    assert all(check.verdict == "holds" for check in run.verdict.checks if check.exercised)
    assert run.lost == []


PROFILE = """
name: replies-lost
hypothesis: Requests that take effect without an answer are applied once where the item remembers them.
target: {{mode: {mode}}}
load:
  - {{workload: counters, pattern: idempotent, rate: 60/s, keys: {{prefix: idempotent, count: 3}}, retry: jittered,
     mix: {{increment: 80%, read: 20%}}}}
phases:
  - {{name: before, duration: 1s}}
  - name: fault
    duration: 3s
    faults: [{{kind: reply-lost, regions: [us-east-1], share: 40%}}]
  - {{name: after, duration: 1s}}
expect:
  - {{metric: unknown_writes, op: ">", value: 5}}
  - {{metric: availability, op: ">", value: 90%}}
"""


@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_retries_after_unknown_outcomes_are_applied_once(mode: str, tmp_path: Path) -> None:
    run = drill_of(PROFILE.format(mode=mode), tmp_path)
    # Several unanswered writes in a row leave it open which of them stands below which; nobody is accused for that.
    assert not [row.promise for row in run.verdict.contract if row.verdict == "violated"]
    twice = run.check("twice")
    assert (twice.violations, twice.exercised > 5) == (0, True)
    store = run.verdict.ledger.store
    assert store is not None
    assert store.unknown > 5
    assert store.surplus == 0
    if mode == "MRSC":
        assert store.missing == 0
        applied, perhaps = applied_intents(read_history(run.directory))
        assert applied <= store.final <= applied + perhaps
        ledger = run.verdict.ledger.intent
        assert ledger is not None
        assert (ledger.acknowledged, ledger.unknown) == (applied, perhaps)


FORGETFUL = """
name: forgetful
hypothesis: An id that the next request overwrites does not keep a request from being applied twice.
target: {mode: MRSC}
load:
  - {workload: counters, pattern: last-request-id, rate: 60/s, keys: {count: 1}, retry: jittered,
     mix: {increment: 100%}}
  - {workload: counters, pattern: region-sets, rate: 60/s, keys: {prefix: sets, count: 2}, retry: jittered,
     mix: {increment: 100%}}
phases:
  - name: fault
    duration: 4s
    faults: [{kind: reply-lost, regions: [us-east-1], share: 50%}]
expect:
  - {metric: double_applications, op: ">", value: 0}
"""


@pytest.mark.long
def test_one_that_remembers_the_last_request_only_applies_twice(tmp_path: Path) -> None:
    run = drill_of(FORGETFUL, tmp_path)
    assert run.check("twice").verdict == "violated"
    twice = {finding.key for finding in run.check("twice").findings}
    assert {pattern_of(key) for key in twice} == {"counters-1"}


def applied_intents(history: History) -> tuple[int, int]:
    """Intents to add that were answered, by success or by the refusal of a later attempt; and those never answered."""
    stands, open_ = set(), set()
    for row, intent in enumerate(history.intent.tolist()):
        if history.kinds[history.kind[row]] != "add":
            continue
        outcome, error = history.outcome[row], history.error[row]
        refused = error >= 0 and history.errors[error] == ALREADY_APPLIED
        if outcome == Outcome.OK or refused:
            stands.add(intent)
        elif outcome == Outcome.UNKNOWN:
            open_.add(intent)
    return len(stands), len(open_ - stands)
