"""Workloads on several items, sets, ledgers, stock, streams and indexes: what they keep, and what they lose where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.drills import Drill, drill, lastwriter
from verifier.history.reader import read_history
from verifier.history.schema import Kind

pytestmark = pytest.mark.e2e

TRANSFERS = """
  - {workload: transfers, pattern: home-region, rate: 20/s, keys: {count: 3}, retry: jittered}
  - {workload: transfers, pattern: conditional, rate: 15/s, keys: {count: 1, prefix: shared-bank}, retry: jittered}
  - {workload: logins, rate: 15/s}
"""
PROFILE = """
name: items
hypothesis: What one Region writes, or a write itself asks for, holds; what two Regions write does not in MREC.
target: {mode: MREC}
load:
  - {workload: carts, pattern: home-region, rate: 20/s, keys: {count: 4, prefix: home-cart}, retry: jittered}
  - {workload: carts, pattern: naive, rate: 20/s, keys: {count: 2}, retry: jittered}
  - {workload: carts, pattern: conditional, rate: 15/s, keys: {count: 2, prefix: whole-cart}, retry: jittered}
  - {workload: ledger, pattern: conditional, rate: 15/s, keys: {count: 2}, retry: jittered}
  - {workload: inventory, pattern: conditional, rate: 30/s, keys: {count: 2}, retry: jittered}
  - {workload: charges, pattern: idempotent, rate: 10/s, keys: {count: 2}, retry: jittered}
  - {workload: charges, pattern: naive, rate: 20/s, keys: {count: 3, prefix: twice}, retry: jittered}
  - {workload: leaderboard, rate: 15/s, keys: {count: 8}, retry: jittered}
  - {workload: stream_consumer, rate: 20/s, processes: 6, keys: {count: 4}, retry: jittered}
%s
phases:
  - {name: before, duration: 2s}
  - name: fault
    duration: 2s
    faults: [{kind: reply-lost, regions: [us-east-1], share: 20%%}]
  - {name: after, duration: 1s}
expect:
  - {metric: contract_breaches, op: "==", value: 0}
  - {metric: stream_faults, op: "==", value: 0}
  - {metric: index_differences, op: "==", value: 0}
  - {metric: stock_faults, op: ">", value: 0, mode: MREC}
  - {metric: stock_faults, op: "==", value: 0, mode: MRSC}
"""
ITEMS = {"sets", "gapless", "stock", "index", "streams"}


def run(folder: Path, *arguments: str, transfers: bool = True) -> Drill:
    (folder / "items.yaml").write_text(PROFILE % (TRANSFERS if transfers else ""))
    result = drill("items.yaml", "--seed", "1", *arguments, cwd=folder)
    assert result.directory.verdict.is_file(), result.stderr + result.stdout
    return result


def test_in_mrec_what_two_regions_write_is_lost_and_the_contract_kept(tmp_path: Path) -> None:
    """One drill for all of them: kinds in the record, checks exercised, each promise kept, each loss named."""
    done = run(tmp_path)
    assert done.exit_code == 0, done.stdout
    for name in (*ITEMS, "torn", "long_fork", "bank", "twice", "expiry"):
        assert done.check(name).exercised, name
    for name in ("torn", "long_fork", "streams", "index", "expiry"):
        assert done.check(name).verdict == "holds", done.check(name)
    for name in ("sets", "gapless", "stock"):
        assert done.check(name).verdict == "violated"
        assert all(finding.sentence.endswith(".") for finding in done.check(name).findings)
    assert "us-east-1" in done.check("streams").note
    history = read_history(done.directory)
    assert {Kind.SET_ADD, Kind.SET_REMOVE, Kind.APPEND, Kind.TAKE, Kind.TXN_WRITE, Kind.TXN_READ, Kind.READ_INDEX} <= {
        Kind(kind) for kind in history.kinds
    }
    assert history.elements is not None
    accused = {finding.key.rpartition("-")[0] for finding in done.check("sets").findings}
    assert accused & {"carts-2", "whole-cart"}
    assert sorted(path.stem for path in done.directory.streams.glob("*.parquet"))[0] == "all"


@pytest.mark.long
def test_in_mrsc_everything_holds_but_blind_repetition(tmp_path: Path) -> None:
    done = run(tmp_path, "--mode", "MRSC", transfers=False)
    assert done.exit_code in (0, 3), done.stdout  # lost replies may leave it open what became of a write
    assert done.verdict.contract_verdict != "violated"
    for name in ITEMS:
        assert (done.check(name).verdict, done.check(name).exercised > 0) == ("holds", True), done.check(name)
    twice = {finding.key.rpartition("-")[0] for finding in done.check("twice").findings}
    assert twice <= {"twice"}, "only those that ask again blindly"


def test_transactions_are_refused_at_once_where_the_mode_has_none(tmp_path: Path) -> None:
    (tmp_path / "items.yaml").write_text(PROFILE % TRANSFERS)
    refused = lastwriter("run", "items.yaml", "--mode", "MRSC", cwd=tmp_path)
    assert refused.returncode == 2
    assert "transfers needs what MRSC tables refuse; it runs with MREC" in refused.stderr


@pytest.mark.long
@pytest.mark.parametrize("mode", ["MREC", "MRSC"])
def test_every_promise_of_a_mode_is_exercised_and_kept(mode: str, tmp_path: Path) -> None:
    done = drill("every-promise", "--short", "--seed", "1", "--mode", mode, cwd=tmp_path)
    assert done.exit_code == 0, done.stdout + done.stderr
    assert [row.promise for row in done.verdict.contract if not row.exercised or row.verdict != "holds"] == []
    assert done.verdict.expectations
