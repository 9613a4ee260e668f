"""Seconds in which a worker itself was slow are marked; too many of them, and latencies prove nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.verifier.builders import read, write_run
from verifier.context import context_of_run
from verifier.history.schema import op_id
from verifier.rundir import RunDirectory
from verifier.verdict import Verdict
from verifier.verify import verify

MS, S = 1_000_000, 1_000_000_000
T0 = 7 * S


def run_of(path: Path, seconds: int, *, late_ms: int = 0, workers: int = 2) -> RunDirectory:
    """Reads of 2 ms every 20 ms; those of second 3 begin ``late_ms`` after they were due."""
    ops = []
    for number in range(seconds * 50):
        due = T0 + number * 20 * MS
        start = due + (late_ms * MS if number // 50 == 3 else 0)
        ops.append(
            read(start, start + 2 * MS, -1, op=op_id(number % workers, number), scheduled=due, process=1 + number)
        )
    expect = [{"metric": "p99", "op": "<", "value": "1s"}, {"metric": "error_rate", "op": "==", "value": "0%"}]
    return write_run(path, ops, start_ns=T0, end_ns=T0 + seconds * S, profile={"name": "test", "expect": expect})


def measured(directory: RunDirectory, worker: int, lines: list[dict[str, Any] | str]) -> None:
    texts = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]
    (directory.history / f"worker-{worker}.lag.jsonl").write_text("".join(texts))


def second(number: int, lag: float = 0.5, late: float | None = 0.2) -> dict[str, Any]:
    return {"second": number, "t_ns": T0 + number * S, "lag_p99_ms": lag, "late_p99_ms": late, "woken": 50, "cpu": 0.3}


def p99(verdict: Verdict) -> tuple[bool | None, str | None]:
    return next((row.met, row.reason) for row in verdict.expectations if row.metric == "p99")


def test_a_starved_worker_marks_its_seconds_and_makes_latencies_inconclusive(tmp_path: Path) -> None:
    directory = run_of(tmp_path / "run", 20)
    measured(directory, 0, [second(n) for n in range(20)])
    measured(directory, 1, [second(n, lag=10.1 if n == 4 else 10.0, late=35.0 if n == 9 else None) for n in range(20)])
    verdict = verify(directory.path)
    assert verdict.marked_seconds == [4, 9]
    assert p99(verdict) == (None, "the load generator itself was slow in 2 of 20 seconds")
    assert [row.met for row in verdict.expectations if row.metric == "error_rate"] == [True]
    assert verdict.expectations_met is None


def test_one_second_in_twenty_is_marked_and_bearable(tmp_path: Path) -> None:
    directory = run_of(tmp_path / "run", 20)
    measured(directory, 0, [second(n, lag=300.0 if n == 4 else 1.0) for n in range(20)])
    measured(directory, 1, [second(n) for n in range(20)])
    verdict = verify(directory.path)
    assert verdict.marked_seconds == [4]
    assert p99(verdict) == (True, None)


def test_seconds_that_a_worker_slept_through_have_no_line_and_are_marked(tmp_path: Path) -> None:
    directory = run_of(tmp_path / "run", 20)
    measured(directory, 0, [second(n, lag=3200.0 if n == 5 else 1.0) for n in range(20) if n not in (6, 7)])
    assert verify(directory.path).marked_seconds == [5, 6, 7]


def test_what_is_before_or_after_the_load_is_nobodys_latency(tmp_path: Path) -> None:
    directory = run_of(tmp_path / "run", 5)
    measured(directory, 0, [second(n, lag=50.0 if n in (-1, 5, 6) else 1.0) for n in range(-1, 7)])
    assert verify(directory.path).marked_seconds == []


def test_the_torn_line_of_a_killed_worker_says_nothing(tmp_path: Path) -> None:
    directory = run_of(tmp_path / "run", 5)
    measured(directory, 0, [second(0), second(1, lag=20.0), '{"second": 2, "t_ns": 90'])
    measured(directory, 1, ["", "not JSON\n", '{"t_ns": null}\n', "[1]\n"])
    assert verify(directory.path).marked_seconds == [1]


def test_without_a_measurement_late_sends_tell(tmp_path: Path) -> None:
    assert verify(run_of(tmp_path / "late", 5, late_ms=15).path).marked_seconds == [3]
    assert verify(run_of(tmp_path / "good", 5, late_ms=9).path).marked_seconds == []


def test_a_worker_that_measured_itself_is_believed(tmp_path: Path) -> None:
    """Its processes may send late because the store kept them, which is the store's doing and no reason to mark."""
    directory = run_of(tmp_path / "run", 5, late_ms=400)
    for worker in (0, 1):
        measured(directory, worker, [second(n) for n in range(5)])
    assert verify(directory.path).marked_seconds == []


def test_a_second_of_another_host_is_that_of_the_runs_clock(tmp_path: Path) -> None:
    directory = run_of(tmp_path / "run", 6, workers=1)
    ahead = 2 * 3600 * S
    info = json.loads(directory.run_json.read_text())
    info |= {"host": "master", "workers": [{"worker": 0, "host": "there", "regions": []}]}
    info["clock"] = [
        {"host": "there", "at_ns": T0 + at * S, "offset_ns": ahead + at * 7, "epsilon_ns": 1000} for at in (0, 9)
    ]
    directory.run_json.write_text(json.dumps(info))
    line = second(4, lag=25.0)
    measured(directory, 0, [{**line, "t_ns": line["t_ns"] + ahead}, {**second(5), "t_ns": T0 + 5 * S + ahead}])
    context = context_of_run(directory)
    assert context.slow_seconds == {0: (4,)}
