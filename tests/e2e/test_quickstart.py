"""The first drill, as a newcomer runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.drills import drill, lastwriter

pytestmark = pytest.mark.e2e


def test_mrec_loses_updates_and_keeps_its_contract(tmp_path: Path) -> None:
    run = drill("quickstart", "--short", "--seed", "1", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    verdict = run.verdict
    assert verdict.complete
    assert verdict.contract_verdict == "holds"
    ledger = verdict.ledger.intent
    assert ledger is not None
    assert ledger.lost > 0
    assert ledger.acknowledged == ledger.kept + ledger.lost + ledger.unattributed
    assert len(run.lost) == ledger.lost
    assert sum(ledger.lost_by_region.values()) == ledger.lost
    store = verdict.ledger.store
    assert store is not None
    assert not any(row["key"].startswith("home-") for row in run.lost), "one writer Region a key: nothing to lose"
    # the words on the screen are the verdict's: what was lost comes first, then the rest
    assert verdict.headline in run.stdout
    said = re.findall(r"([\d,]+) of ([\d,]+) acknowledged", verdict.headline)
    assert [sum(int(text.replace(",", "")) for text in column) for column in zip(*said, strict=True)] == [
        ledger.lost,
        ledger.acknowledged,
    ]
    assert "report" in run.stdout
    assert run.directory.report.stat().st_size > 10_000
    (fault,) = verdict.faults
    assert fault.kind == "link-cut"
    assert fault.onset_ns is not None
    assert fault.healed_ns is not None
    assert {row.window for row in verdict.latency} >= {"before", "during", "after"}
    # progress: each phase and the fault were said
    for words in ("phase baseline", "phase fault", "phase recovery", "fault: link", "healed: link"):
        assert words in run.stderr
    # while it ran, what looked lost or stale was told, soon after it had happened
    entries = [json.loads(line) for line in run.directory.live.read_text().splitlines()]
    suspected = [entry for entry in entries if entry.get("event") == "suspected"]
    assert sum(sum(entry["lost"].values()) for entry in suspected) > 0
    assert sum(sum(entry["stale"].values()) for entry in suspected) > 0
    assert run.info.start_ns is not None
    delays = [entry["t_ns"] - run.info.start_ns - entry["second"] * 1_000_000_000 for entry in suspected]
    assert min(delays) < 5_000_000_000
    assert "suspected: " in run.stderr
    (again_command,) = verdict.reproduce
    assert again_command == "lastwriter run quickstart --mode MREC --workers 2 --client wire --short --seed 1"
    assert run.info.ended == "finished"
    assert run.info.settled
    assert [phase.name for phase in run.info.phases] == ["baseline", "fault", "recovery"]
    # everything after recording can be done again from the record alone
    before = run.directory.verdict.read_bytes()
    again = lastwriter("verify", "latest", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert run.directory.verdict.read_bytes() == before
    run.directory.report.unlink()
    assert lastwriter("report", run.directory.name, cwd=tmp_path).returncode == 0
    assert run.directory.report.exists()
    listed = lastwriter("runs", cwd=tmp_path)
    assert run.directory.name in listed.stdout
    assert verdict.headline in listed.stdout


def test_mrsc_loses_nothing(tmp_path: Path) -> None:
    run = drill("quickstart", "--short", "--seed", "1", "--mode", "MRSC", cwd=tmp_path)
    assert run.exit_code == 0, run.stderr + run.stdout
    verdict = run.verdict
    assert verdict.contract_verdict == "holds"
    ledger = verdict.ledger.intent
    assert ledger is not None
    assert ledger.lost == 0
    assert ledger.acknowledged == ledger.kept > 100
    assert run.lost == []
    store = verdict.ledger.store
    assert store is not None
    assert (store.missing, store.surplus) == (0, 0)
    assert verdict.headline in run.stdout
    assert all(check.verdict != "violated" for check in verdict.checks)


@pytest.mark.parametrize(("mode", "code"), [("MREC", 1), ("MRSC", 0)])
def test_a_strict_objective_is_missed_in_mrec_and_met_in_mrsc(mode: str, code: int, tmp_path: Path) -> None:
    run = drill("counters-strict", "--short", "--mode", mode, "--client", "boto3", cwd=tmp_path)
    assert run.exit_code == code, run.stderr + run.stdout
    assert run.verdict.contract_verdict == "holds"
    assert run.info.client == "boto3"
    assert lastwriter("verify", "latest", cwd=tmp_path).returncode == code
