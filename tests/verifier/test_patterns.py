"""Intents over all their attempts: what became of them, how long users waited, load by load and fault by fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.verifier.builders import REGIONS, Item, Op, add, read, write, write_run
from verifier.rundir import FaultRecord
from verifier.verdict import IntentRow, Verdict
from verifier.verify import verify

S = 1_000_000_000
MS = 1_000_000
PROFILE = {
    "name": "test",
    "load": [
        {"workload": "test", "pattern": "naive", "keys": {"prefix": "plain"}},
        {"workload": "test", "pattern": "conditional", "keys": {"prefix": "plain-cas"}},
    ],
}


def judged(path: Path, ops: list[Op], *, expect: list[dict[str, Any]] | None = None, **more: Any) -> Verdict:
    directory = write_run(path / "run", ops, profile={**PROFILE, "expect": expect or []}, end_ns=10**12, **more)
    return verify(directory.path)


def attempts(at_s: float, *outcomes: str, key: str = "plain-1", first: int = 1, kind: str = "write") -> list[Op]:
    """One intent: attempts of 10 ms each, 100 ms apart."""
    ops = []
    for number, outcome in enumerate(outcomes):
        start = int(at_s * S) + number * 100 * MS
        error = None if outcome == "ok" else "Timeout" if outcome == "unknown" else outcome
        ops.append(
            Op(
                kind,
                start,
                start + 10 * MS,
                key=key,
                op=first + number,
                intent=first,
                attempt=number + 1,
                outcome="ok" if error is None else "unknown" if outcome == "unknown" else "fail",
                error=error,
                scheduled=int(at_s * S),
            )
        )
    return ops


def test_latency_is_from_the_first_schedule_to_the_final_answer(tmp_path: Path) -> None:
    ops = [
        *attempts(1, "ThrottlingException", "ThrottlingException", "ok", first=1),
        *attempts(2, "ok", first=10),
        *attempts(3, "ConditionalCheckFailedException", "ConditionalCheckFailedException", first=20),
        *attempts(4, "unknown", "ConnectError", first=30),
    ]
    intents = judged(tmp_path, ops).intents
    assert (intents.intents, intents.attempts, intents.succeeded, intents.failed, intents.unknown) == (4, 8, 2, 1, 1)
    assert intents.success_rate == 0.5
    assert intents.amplification == 2.0
    assert (intents.p50_ms, intents.max_ms) == (110.0, 210.0), "10, 110 and 210 ms; the unanswered one is no latency"


def test_an_attempt_that_finds_its_intent_applied_already_makes_it_a_success(tmp_path: Path) -> None:
    intents = judged(tmp_path, attempts(1, "unknown", "AlreadyApplied")).intents
    assert (intents.intents, intents.succeeded, intents.failed, intents.unknown) == (1, 1, 0, 0)
    assert intents.max_ms == 110.0


def test_deletions_that_nobody_asked_for_are_no_intents(tmp_path: Path) -> None:
    ops = attempts(1, "ThrottlingException", "ok", first=1)
    ops.append(
        Op("delete", 2 * S, 2 * S, key="plain-1", op=9, intent=1, attempt=2, outcome="unknown", error="TimeToLive")
    )
    ops.append(Op("delete", 3 * S, 3 * S, key="plain-1", op=10, outcome="unknown", error="TimeToLive"))
    intents = judged(tmp_path, ops).intents
    assert (intents.intents, intents.attempts, intents.succeeded, intents.unknown) == (1, 2, 1, 0)


def test_cells_are_by_load_and_fault(tmp_path: Path) -> None:
    fault = FaultRecord(id="cut-1", kind="link-cut", links=[], asked_ns=5 * S, onset_ns=5 * S, healed_ns=9 * S)
    ops = [
        write(1 * S, 2 * S, op=1, key="plain-1", prev=-1),
        write(6 * S, 7 * S, op=2, key="plain-1", prev=1),
        write(6 * S, 7 * S, op=3, key="plain-1", prev=1, region=REGIONS[1]),
        write(6 * S, 7 * S, op=4, key="plain-cas-1", prev=-1),
        *attempts(20, "ThrottlingException", "ThrottlingException", key="plain-cas-1", first=5),
    ]
    final = {
        region: {
            "plain-1": Item(w=3, p=1, start=50 * S, end=51 * S),
            "plain-cas-1": Item(w=4, p=-1, start=50 * S, end=51 * S),
        }
        for region in REGIONS
    }
    verdict = judged(tmp_path, ops, mode="MREC", final=final, faults=[fault], settled=True)
    rows = {(row.pattern, row.window): row for row in verdict.intents.by_pattern}
    assert set(rows) == {("naive", "before"), ("naive", "cut-1"), ("conditional", "cut-1"), ("conditional", "after")}

    def figures(row: IntentRow) -> tuple[int, int, int, int]:
        return row.intents, row.acknowledged, row.lost, row.refused

    assert figures(rows["naive", "before"]) == (1, 1, 0, 0)
    assert figures(rows["naive", "cut-1"]) == (2, 2, 1, 0)
    assert figures(rows["conditional", "cut-1"]) == (1, 1, 0, 0)
    assert figures(rows["conditional", "after"]) == (1, 0, 0, 1)
    assert rows["conditional", "after"].amplification == 2.0
    summary = (tmp_path / "run" / "summary.md").read_text()
    assert "| naive | plain | cut-1" in summary or "| naive | plain |" in summary


def test_an_intent_applied_twice_is_counted_in_its_cell(tmp_path: Path) -> None:
    ops = [
        add(1 * S, 2 * S, op=1, key="plain-1", outcome="unknown", error="Timeout"),
        add(3 * S, 4 * S, op=2, key="plain-1", intent=1, attempt=2, result=2, prev=1),
    ]
    final = {region: {"plain-1": Item(value=2, w=2, p=1, start=50 * S, end=51 * S)} for region in REGIONS}
    (row,) = judged(tmp_path, ops, final=final).intents.by_pattern
    assert (row.window, row.twice, row.attempts) == ("run", 1, 2)


@pytest.mark.parametrize(
    ("metric", "value", "met"),
    [
        ("success_rate", "60%", False),
        ("success_rate", "50%", True),
        ("intent_max", "110ms", True),
        ("rto", "1s", None),
        ("rpo", "1s", None),
    ],
)
def test_metrics_of_intents(tmp_path: Path, metric: str, value: str, met: bool | None) -> None:
    ops = [*attempts(1, "ThrottlingException", "ok", first=1), *attempts(2, "ThrottlingException", first=10)]
    op = ">=" if metric == "success_rate" else "<="
    verdict = judged(tmp_path, ops, expect=[{"metric": metric, "op": op, "value": value}])
    assert verdict.expectations[0].met is met


def test_a_run_with_too_many_unknown_outcomes_says_nothing_but_what_is_wrong_stays_wrong(tmp_path: Path) -> None:
    ops = [write(at * S, at * S + 1, op=at, key="plain-1", outcome="unknown", error="Timeout") for at in range(1, 5)]
    ops += [read(10 * S, 11 * S, op=9, key="plain-1", saw=2), write(12 * S, 13 * S, op=10, key="plain-1", prev=2)]
    verdict = judged(tmp_path / "good", ops)
    register = next(check for check in verdict.checks if check.name == "register")
    assert register.verdict == "unknown"
    assert "4 of 5 updates (80 %) were never answered: too many to tell" in str(register.note)
    assert verdict.contract_verdict == "unknown"
    assert verdict.expectations_met is None
    ops.append(read(14 * S, 15 * S, op=11, key="plain-1", saw=2))
    verdict = judged(tmp_path / "bad", ops)
    assert verdict.contract_verdict == "violated"
