"""The published demos, with their exact numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.e2e.drills import Drill, drill

pytestmark = pytest.mark.e2e


def final_values(run: Drill) -> set[int]:
    """The counter, as each Region shows it at the end."""
    values = set()
    for region in run.info.regions:
        (row,) = pq.read_table(run.directory.replica("final", region)).to_pylist()
        assert json.loads(row["item"])["v"] == {"N": str(row["value"])}
        values.add(row["value"])
    return values


def median_ms(run: Drill, kind: str) -> float:
    table = pq.read_table(sorted(run.directory.history.glob("*.parquet")))
    rows = np.array(table["kind"].to_pylist()) == kind
    return float(np.median((table["end_ns"].to_numpy() - table["start_ns"].to_numpy())[rows])) / 1e6


def test_multi_writer_mrec_ends_at_five_without_an_error(tmp_path: Path) -> None:
    run = drill("talk-multi-writer", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    assert final_values(run) == {5}
    ledger = run.verdict.ledger.intent
    assert ledger is not None
    assert (ledger.acknowledged, ledger.kept, ledger.lost) == (15, 5, 10)
    assert run.verdict.intents.attempts == 15
    assert all(row.failed == row.unknown == 0 for row in run.verdict.latency)
    # each of the ten is named, with the Region that won
    (winner,) = {name for winners in ledger.lost_by_winner.values() for name in winners}
    assert set(ledger.lost_by_region.values()) == {5}
    assert winner not in ledger.lost_by_region
    assert len(run.lost) == 10
    assert winner in run.stdout
    assert run.verdict.contract_verdict == "holds"
    assert run.info.start_ns is not None
    assert run.info.end_ns is not None
    assert run.info.end_ns - run.info.start_ns < 15e9, "it ends when all are done, and not with its phase of 20 s"


def test_multi_writer_mrsc_ends_at_fifteen_with_conflicts_retried(tmp_path: Path) -> None:
    run = drill("talk-multi-writer", "--mode", "MRSC", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    assert final_values(run) == {15}
    ledger = run.verdict.ledger.intent
    assert ledger is not None
    assert (ledger.acknowledged, ledger.kept, ledger.lost, ledger.refused) == (15, 15, 0, 0)
    intents = run.verdict.intents
    assert intents.intents == intents.succeeded == 15
    assert intents.conflicts > 0
    assert intents.attempts == 15 + intents.conflicts
    assert "conflict" in run.stdout, "retries are shown"


def test_single_writer_mrec_reads_fast_and_misses_values(tmp_path: Path) -> None:
    run = drill("talk-single-writer", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    assert final_values(run) == {5}
    assert run.verdict.ledger.intent is not None
    assert run.verdict.ledger.intent.lost == 0
    assert run.check("counter").violations + run.check("register").violations > 0
    assert median_ms(run, "read") < 10


def test_single_writer_mrsc_reads_are_current_and_cost_about_a_write(tmp_path: Path) -> None:
    run = drill("talk-single-writer", "--mode", "MRSC", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    assert final_values(run) == {5}
    assert all(check.violations == 0 for check in run.verdict.checks)
    assert median_ms(run, "read") > 10
    assert 0.3 < median_ms(run, "read") / median_ms(run, "add") < 3
