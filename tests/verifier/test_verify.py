"""From a run directory to its verdict: golden figures, files that agree, damage refused, killed workers not accused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.builders import REGIONS, Item, add, table_of, write_run, write_stream
from tests.verifier.stores import Run, simulate
from verifier.checks import registry
from verifier.errors import RecordError
from verifier.history.schema import ABSENT, op_id
from verifier.rundir import FaultRecord, PhaseWindow, RunDirectory
from verifier.summary import terminal_lines
from verifier.verdict import Verdict, exit_code
from verifier.verify import verify

A, B, C = REGIONS
MS = 1_000_000


def record(path: Path, run: Run, **more: Any) -> RunDirectory:
    """A simulated run on disk."""
    fields: dict[str, Any] = {"queues_empty": True, "settled": True, "start_ns": 0, "end_ns": 10**9, **more}
    return write_run(path, run.ops, mode=run.mode, initial=run.initial, final=run.final, faults=run.faults, **fields)


def talk(path: Path) -> RunDirectory:
    """talk-multi-writer in MREC: three Regions, five increments each, nothing replicated before the last."""
    ops = []
    for round_ in range(5):
        for number, region in enumerate(REGIONS):
            op = op_id(number % 2, 3 * round_ + number + 1)
            before = ABSENT if round_ == 0 else op - 3
            start = (10 * round_ + number) * MS
            ops.append(add(start, start + 5 * MS, round_ + 1, region=region, op=op, prev=before, process=number))
    last = ops[-1].op
    assert last is not None
    item = {"counter": Item(5, last, last - 3, 2000 * MS, 2001 * MS)}
    expect = [
        {"metric": "lost_updates", "op": "==", "value": "10", "mode": "MREC"},
        {"metric": "lost_updates", "op": "==", "value": "0", "mode": "MRSC"},
        {"metric": "contract_breaches", "op": "==", "value": "0"},
        {"metric": "error_rate", "op": "==", "value": "0%"},
    ]
    return write_run(
        path,
        [op.__class__(**{**op.__dict__, "key": "counter"}) for op in ops],
        mode="MREC",
        initial={region: {} for region in REGIONS},
        final=dict.fromkeys(REGIONS, item),
        phases=[PhaseWindow(name="demo", start_ns=0, end_ns=10**9)],
        profile={"name": "talk-multi-writer", "hypothesis": "Ten of fifteen are lost.", "expect": expect},
        queues_empty=True,
        settled=True,
        start_ns=0,
        end_ns=10**9,
    )


def test_the_published_demo_gives_the_published_answer(tmp_path: Path) -> None:
    directory = talk(tmp_path / "run")
    verdict = verify(directory.path)
    assert verdict.headline == (
        f"MREC kept its contract (3 of {len(verdict.contract)} promises exercised) "
        "and lost 10 of 15 acknowledged increments (66.7 %)"
    )
    assert (verdict.complete, verdict.contract_verdict, verdict.expectations_met) == (True, "holds", True)
    assert exit_code(verdict) == 0
    assert [(row.metric, row.measured, row.met) for row in verdict.expectations] == [
        ("lost_updates", "10", True),
        ("contract_breaches", "0", True),
        ("error_rate", "0%", True),
    ]
    intent, store = verdict.ledger.intent, verdict.ledger.store
    assert intent is not None
    assert intent.lost_by_winner == {A: {C: 5}, B: {C: 5}}
    assert store is not None
    assert (store.final, store.acknowledged, store.missing) == (5, 15, 10)
    assert {(row.window, row.region, row.kind, row.count) for row in verdict.latency} == {
        ("demo", region, "add", 5) for region in REGIONS
    }
    lost = [json.loads(line) for line in directory.lost.read_text().splitlines()]
    assert len(lost) == 10
    assert {(one["region"], one["winner_region"]) for one in lost} == {(A, C), (B, C)}
    assert lost[0] == {
        "op": op_id(0, 1),
        "intent": op_id(0, 1),
        "key": "counter",
        "logical_key": None,
        "workload": "test",
        "kind": "add",
        "value": 1,
        "result": 1,
        "region": A,
        "process": 0,
        "start_ns": 0,
        "end_ns": 5 * MS,
        "winner": op_id(0, 3),
        "winner_region": C,
    }


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    mode=st.sampled_from(["MREC", "MRSC"]),
    unknown=st.sampled_from([0.0, 0.2]),
    bug=st.sampled_from([None, "replica left behind", "applied twice", "refused although applied"]),
)
def test_all_files_of_a_verdict_agree(
    tmp_path_factory: pytest.TempPathFactory, seed: int, mode: Any, unknown: float, bug: Any
) -> None:
    run = simulate(seed, mode, kinds=("add", "write"), unknown=unknown, refused=0.1, retries=True, cut=True, bug=bug)
    directory = record(tmp_path_factory.mktemp("verdict") / "run", run)
    verdict = verify(directory.path)
    assert Verdict.model_validate_json(directory.verdict.read_bytes()) == verdict
    findings = pq.read_table(directory.findings).to_pylist()
    for check in verdict.checks:
        mine = [row for row in findings if row["check"] == check.name]
        assert len(mine) == check.violations
        known = {(row["sentence"], row["key"], row["at_ns"], tuple(dict.fromkeys(row["regions"]))) for row in mine}
        for finding in check.findings:
            assert (finding.sentence, finding.key, finding.at_ns, tuple(finding.regions)) in known
            assert finding.sentence.endswith(".")
        assert all(row["regions"] for row in mine), check.name
    intent = verdict.ledger.intent
    assert intent is not None
    assert len(directory.lost.read_text().splitlines()) == intent.lost
    suites = ET.parse(directory.junit).getroot()
    assert len(suites.findall(".//testcase")) == len(verdict.expectations) + 1
    broken = suites.findall(".//failure") + suites.findall(".//error")
    assert (not broken) == (exit_code(verdict) == 0)
    assert verdict.headline in directory.summary.read_text()
    assert terminal_lines(verdict)[0].startswith(verdict.headline)
    assert not list(directory.path.glob(".*"))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 40))
def test_a_killed_worker_on_a_correct_store_is_no_finding_and_no_pass(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int
) -> None:
    run = simulate(seed, "MRSC", kinds=("add", "write"), unknown=0.1, refused=0.1)
    expect = [{"metric": "lost_updates", "op": "==", "value": 0}]
    directory = record(tmp_path_factory.mktemp("killed") / "run", run, profile={"name": "test", "expect": expect})
    mine = table_of([op for op in run.ops if op.op is not None and op.op >= op_id(1, 0)]).sort_by("op")
    stream = directory.history / "worker-1.arrow"
    write_stream(stream, mine, 8, end=False)
    whole = stream.read_bytes()
    stream.write_bytes(whole[: len(whole) - 8 - rows * 20])  # killed in the middle of a batch
    verdict = verify(directory.path)
    assert not verdict.complete
    assert [row for row in verdict.contract if row.violations] == []
    assert verdict.ledger.intent is None or verdict.ledger.intent.lost == 0
    assert not verdict.ledger.exact
    assert verdict.expectations_met is None
    assert exit_code(verdict) == 3


@pytest.mark.parametrize("left", ["some", "none", "no file"])
@pytest.mark.parametrize("seed", range(3))
def test_a_record_that_was_cut_off_accuses_nobody(left: str, seed: int, tmp_path: Path) -> None:
    """By a crash of the host, or by copying a file that grows: others saw what came much later."""
    run = simulate(seed, "MRSC", kinds=("add", "write"), unknown=0.1)
    directory = record(tmp_path / "run", run, ended=None)
    mine = table_of([op for op in run.ops if op.op is not None and op.op >= op_id(1, 0)]).sort_by("op")
    stream = directory.history / "worker-1.arrow"
    if left == "some":
        write_stream(stream, mine.slice(0, len(mine) // 3), 8, end=False)
        stream.write_bytes(stream.read_bytes()[:-100])
    elif left == "none":
        stream.write_bytes(b"")
    else:
        stream.unlink()
    verdict = verify(directory.path)
    assert any(reason.startswith("worker 1") for reason in verdict.incomplete_reasons)
    assert [row for row in verdict.contract if row.violations] == []


def test_a_broken_store_breaks_the_verdict(tmp_path: Path) -> None:
    run = simulate(3, "MRSC", bug="applied to a stale copy", intents=40)
    directory = record(tmp_path / "run", run)
    verdict = verify(directory.path)
    assert verdict.contract_verdict == "violated"
    assert verdict.headline.startswith("MRSC BROKE its contract (")
    assert exit_code(verdict) == 1
    assert ET.parse(directory.junit).getroot().find(".//failure") is not None
    lines = "\n".join(terminal_lines(verdict))
    assert "violated: no two writes succeed from one predecessor" in lines


def test_a_run_that_was_interrupted_is_not_complete(tmp_path: Path) -> None:
    directory = record(tmp_path / "run", simulate(1, "MRSC"), ended="interrupted", reason="Ctrl-C")
    verdict = verify(directory.path)
    assert not verdict.complete
    assert verdict.incomplete_reasons == ["the run was interrupted: Ctrl-C"]


def test_findings_name_the_fault_that_they_fall_in(tmp_path: Path) -> None:
    run = simulate(5, "MREC", cut=True, bug="relay", delay_ms=3, intents=25)
    directory = record(tmp_path / "run", run)
    verdict = verify(directory.path)
    (relay,) = [check for check in verdict.checks if check.name == "relay"]
    assert relay.findings
    assert all(finding.fault == "f1" for finding in relay.findings)
    assert verdict.faults[0].what == f"link {A} – {B} cut"
    assert {row.window for row in verdict.latency} >= {"before", "during", "after"}


def test_a_check_that_crashes_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ValueError("out of its depth")

    monkeypatch.setattr("verifier.checks.ledger._balance", crash)
    verdict = verify(record(tmp_path / "run", simulate(1, "MRSC")).path)
    checks = {check.name: check for check in verdict.checks}
    assert checks["lost"].verdict == "unknown"
    assert checks["lost"].note is not None
    assert "out of its depth" in checks["lost"].note
    assert checks["register"].verdict == "holds"
    assert len(checks) == sum("MRSC" in row.role for row in registry.CHECKS)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: run.run_json.unlink(), "there is no run.json: this is not a run directory"),
        (lambda run: run.run_json.write_text("{"), "run.json: Invalid JSON"),
        (lambda run: run.faults.write_text('{"id": 3}\n'), "faults.jsonl:1: "),
        (lambda run: (run.history / "worker-0.arrow").write_bytes(b"nonsense"), "worker-0.arrow"),
        (lambda run: run.replica("final", A).write_bytes(b"nonsense"), "us-east-1.parquet"),
    ],
)
def test_a_damaged_record_is_one_line_and_leaves_nothing(tmp_path: Path, damage: Any, message: str) -> None:
    directory = record(tmp_path / "run", simulate(1, "MRSC"))
    damage(directory)
    before = sorted(directory.path.rglob("*"))
    with pytest.raises(RecordError) as caught:
        verify(directory.path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(directory.path.rglob("*")) == before


def test_a_fault_that_was_being_written_when_the_run_was_killed_is_left_out(tmp_path: Path) -> None:
    directory = record(tmp_path / "run", simulate(1, "MRSC"))
    fault = FaultRecord(id="f1", kind="region-down", regions=[A], asked_ns=5, onset_ns=6)
    directory.faults.write_text(fault.model_dump_json() + '\n{"id": "f2", "ki')
    assert [row.id for row in verify(directory.path).faults] == ["f1"]


@pytest.mark.parametrize("left", ["nothing", "no file"])
def test_faults_that_nobody_recorded_are_missed(left: str, tmp_path: Path) -> None:
    profile = {"name": "test", "phases": [{"name": "fault", "faults": [{"kind": "link-cut"}]}]}
    directory = record(tmp_path / "run", simulate(1, "MREC", cut=True), profile=profile, ended="finished")
    assert not verify(directory.path).warnings
    if left == "nothing":
        directory.faults.write_text("")
    else:
        directory.faults.unlink()
    assert any("faults.jsonl tells of no fault, and 1 were planned" in said for said in verify(directory.path).warnings)


def test_verifying_again_gives_the_same_bytes(tmp_path: Path) -> None:
    directory = record(tmp_path / "run", simulate(8, "MREC", kinds=("add", "write"), unknown=0.1))
    files = (directory.verdict, directory.lost, directory.junit, directory.summary)
    verify(directory.path)
    before = [path.read_bytes() for path in files]
    verify(directory.path)
    assert [path.read_bytes() for path in files] == before


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    run = talk(tmp_path / "run")
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/in"):
        with pytest.raises(RecordError, match=r"the verdict cannot be written .*; --output names another folder"):
            verify(run.path, output=tmp_path / folder)


def test_progress_is_told(tmp_path: Path) -> None:
    steps: list[float] = []
    verify(record(tmp_path / "run", simulate(1, "MRSC")).path, progress=lambda _, share: steps.append(share))
    assert steps[0] == 0.0
    assert steps[-1] == 1.0
    assert steps == sorted(steps)
