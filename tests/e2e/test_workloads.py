"""Every workload in both modes: what it loses where, and that it goes to the keys and the Regions asked for."""

from __future__ import annotations

import ast
import json
from collections import Counter
from pathlib import Path

import pytest

from lastwriter.resources import locustfiles_folder, workloads
from tests.e2e.drills import Drill, drill
from verifier.checks.registry import CHECK
from verifier.history.columns import History
from verifier.history.reader import read_history
from verifier.history.replicas import read_replicas

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]

PROFILE = """
name: workloads
hypothesis: Workloads that write each item in one Region lose nothing in either mode; the others do in MREC.
target: {mode: MREC}
load:
  - workload: hot_keys
    rate: 60/s
    keys: {count: 40, hot: {count: 2, share: 80%}}
    regions: {us-east-1: 70%, us-east-2: 30%}
    retry: jittered
  - {workload: documents, rate: 60/s, keys: {count: 2}, item_bytes: 2000, retry: jittered}
  - {workload: unique_creation, rate: 30/s, keys: {count: 3}, retry: jittered}
  - {workload: single_writer, rate: 15/s, keys: {count: 4}, retry: jittered}
  - {workload: standby, rate: 20/s, keys: {count: 4}, regions: {us-east-1: 80%, us-west-2: 20%}, retry: jittered}
  - {workload: canary, rate: 6/s}
  - {workload: registers, rate: 60/s, keys: {count: 20, zipf: 1.0}, pattern: home-region, retry: jittered}
phases:
  - {name: before, duration: 2s}
  - name: fault
    duration: 3s
    faults: [{kind: link-cut, links: [[us-east-1, us-east-2]]}]
  - {name: after, duration: 3s}
expect:
  - {metric: contract_breaches, op: "==", value: 0}
  - {metric: differing_items, op: "==", value: 0}
  - {metric: lost_updates, op: "==", value: 0, mode: MRSC}
"""
LOSING_IN_MREC = {"hot_keys", "documents", "unique_creation"}
WORKLOADS = LOSING_IN_MREC | {"single_writer", "standby", "canary", "registers"}


def run_all(folder: Path, *arguments: str) -> tuple[Drill, History]:
    (folder / "workloads.yaml").write_text(PROFILE)
    run = drill("workloads.yaml", "--seed", "1", *arguments, cwd=folder)
    assert run.exit_code == 0, run.stderr + run.stdout
    verdict = run.verdict
    assert verdict.complete
    assert verdict.contract_verdict == "holds"
    assert all(check.verdict in ("holds", "violated") for check in verdict.checks if check.exercised)
    ledger = verdict.ledger.intent
    assert ledger is not None
    assert ledger.acknowledged == ledger.kept + ledger.lost
    history = read_history(run.directory)
    assert set(history.workloads) == WORKLOADS
    return run, history


def rows(history: History, workload: str, *kinds: str) -> list[int]:
    """First attempts of a workload."""
    code = history.workloads.index(workload)
    return [
        row
        for row in range(len(history))
        if history.workload[row] == code and history.attempt[row] == 1 and history.kinds[history.kind[row]] in kinds
    ]


def regions(history: History, some: list[int]) -> Counter[str]:
    return Counter(history.regions[history.region[row]] for row in some)


def test_in_mrec_those_with_several_writers_an_item_lose(tmp_path: Path) -> None:
    run, history = run_all(tmp_path)
    assert {row["workload"] for row in run.lost} == LOSING_IN_MREC
    assert run.check("unique").verdict == run.check("lost_update").verdict == "violated"
    assert run.check("refused").exercised, "somebody wanted a name that was taken"
    created = [history.keys[history.key[row]] for row in rows(history, "unique_creation", "create")]
    given = [row["key"] for row in run.lost if row["workload"] == "unique_creation"]
    assert set(given) <= set(created)

    history, final = read_replicas(run.directory, "final", history)
    documents = [item for item in final["us-west-2"].items if json.loads(item)["pk"]["S"].startswith("documents-")]
    assert len(documents) == 2
    assert all(len(item) == pytest.approx(2000, abs=150) for item in documents)

    # shares of Regions, and of keys
    clicks = rows(history, "hot_keys", "add", "read", "read_eventual")
    assert len(clicks) == pytest.approx(60 * 8, rel=0.02)
    assert regions(history, clicks)["us-east-1"] / len(clicks) == pytest.approx(0.7, abs=0.03)
    assert set(regions(history, clicks)) == {"us-east-1", "us-east-2"}
    classes = Counter(history.key_classes[history.key_class[row]] for row in clicks)
    assert classes["hot"] / len(clicks) == pytest.approx(0.8, abs=0.07)
    reads = rows(history, "registers", "read", "read_eventual")
    ranks = Counter(int(history.keys[history.key[row]].rpartition("-")[2]) for row in reads)
    first = 1 / sum(1 / rank for rank in range(1, 21))
    assert ranks[0] / len(reads) == pytest.approx(first, abs=0.09)
    assert ranks[0] > ranks[4] > 0
    for row in rows(history, "registers", "write"):
        assert history.home_regions[history.home_region[row]] == history.regions[history.region[row]]

    # who writes where
    assert set(regions(history, rows(history, "single_writer", "write"))) == {"us-east-1"}
    assert set(regions(history, rows(history, "single_writer", "read"))) == {"us-east-2", "us-west-2"}
    at_standby = [row for row in rows(history, "standby", "add") if "pulse" in history.keys[history.key[row]]]
    assert set(regions(history, at_standby)) == {"us-west-2"}
    beats = rows(history, "canary", "cas")
    looks = regions(history, rows(history, "canary", "read"))
    assert set(looks) == set(run.info.regions)
    assert looks.total() == pytest.approx(4 * len(beats), abs=4), "one before, and one in each Region after"


def test_in_mrsc_nothing_is_lost(tmp_path: Path) -> None:
    run, history = run_all(tmp_path, "--mode", "MRSC")
    assert run.lost == []
    assert all(check.verdict == "holds" for check in run.verdict.checks if check.exercised)
    assert all(run.check(name).exercised for name in ("unique", "lost_update", "forks", "refused"))
    beats = rows(history, "canary", "cas")
    assert beats
    assert not any(history.errors[history.error[row]].startswith("Cond") for row in beats if history.error[row] >= 0)


def test_every_workload_says_its_invariant_its_checks_and_how_to_run_it() -> None:
    files = workloads()
    assert files.keys() >= WORKLOADS | {"counters"}
    table = (ROOT / "docs" / "workloads.md").read_text()
    for name, path in files.items():
        told = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert "Invariant: " in told
        named = {word for word in told.split("`") if word in CHECK}
        assert named, f"{name} names no check"
        assert f"locust -f {locustfiles_folder().name}/{name}.py --emulator" in told
        assert f"| [`{name}`](../locustfiles/{name}.py) |" in table, f"docs/workloads.md has no row for {name}"
        assert len(path.read_text().splitlines()) <= 60, f"{name} is too long to be copied as a start"
