"""Statistics: from a worker's rows to Locust's tables, ``live.jsonl`` and ``latency.hlog``."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import given
from hypothesis import strategies as st
from locust.stats import RequestStats

from lastwriter.client import histogram
from lastwriter.client.live import Live
from lastwriter.client.plan import PlannedPhase
from lastwriter.client.recorder import Recorder, Rows
from lastwriter.client.stats import SECOND_NS, Cell, add_to_locust, cells_of
from verifier.history.columns import NO_CODE, NULL
from verifier.history.schema import EXPIRY, Outcome
from verifier.rundir import RunDirectory

T0 = 5_000_000_000
OK, FAIL, UNKNOWN = Outcome


@given(st.lists(st.integers(0, histogram.HIGHEST_NS), min_size=1, max_size=200))
def test_buckets_are_hdrhistograms(values: list[int]) -> None:
    reference = HdrHistogram(histogram.LOWEST_NS, histogram.HIGHEST_NS, histogram.DIGITS)
    for value in values:
        reference.record_value(value)
    counts = np.bincount(histogram.bucket_of(np.array(values, np.int64)), minlength=histogram.LENGTH)
    ours = histogram.to_hdr(counts)
    assert ours.get_total_count() == len(values)
    for share in (0.5, 0.9, 0.99, 1.0):
        expected = reference.get_value_at_percentile(share * 100)
        assert histogram.percentile_ns(counts, share) == expected
        assert ours.get_value_at_percentile(share * 100) == expected
    assert HdrHistogram.decode(ours.encode()).get_total_count() == len(values)


def test_what_lies_outside_goes_to_the_ends() -> None:
    low, high = histogram.bucket_of(np.array([-5, 10**15], np.int64))
    assert low == 0
    assert high < histogram.LENGTH
    assert histogram.percentile_ns(np.zeros(histogram.LENGTH, np.int64), 0.5) is None


Row = tuple[str, str, int, Outcome, str | None, int]
"""Region, kind, answered at (ns from t0), outcome, error, latency (ns)."""


def record(folder: Path, rows: list[Row]) -> tuple[Rows, Recorder]:
    taken: list[Rows] = []
    recorder = Recorder(folder / "worker-0.arrow", 0, on_rows=lambda batch: taken.append(batch.copy()))
    for region, kind, at_ns, outcome, error, latency_ns in rows:
        op, end_ns = recorder.next_op(), T0 + at_ns
        recorder.add(
            op, op, 1, NULL, 1, recorder.region.of(region), NO_CODE, recorder.workload.of("w"), recorder.kind.of(kind),
            NO_CODE, recorder.key.of("k"), NO_CODE, 1, NULL, NULL, NULL, NULL, outcome, recorder.error.of(error),
            end_ns - latency_ns, end_ns - latency_ns, end_ns,
        )  # fmt: skip
    recorder.close()
    return np.concatenate(taken), recorder


ROWS: list[Row] = [
    ("us-east-1", "add", 100_000_000, OK, None, 2_000_000),
    ("us-east-1", "add", 200_000_000, OK, None, 4_000_000),
    ("us-east-1", "add", 300_000_000, FAIL, "ReplicatedWriteConflictException", 150_000_000),
    ("us-east-1", "cas", 300_000_000, FAIL, "ConditionalCheckFailedException", 3_000_000),
    ("us-west-2", "add", 900_000_000, UNKNOWN, "Timeout", 800_000_000),
    ("us-west-2", "read", 1_000_000_000, OK, None, 1_500_000),
    ("us-west-2", "read", 1_999_999_999, OK, None, 1_500_000),
    ("us-west-2", "read", 3_100_000_000, OK, None, 1_500_000),
]


def test_rows_are_counted_by_second_region_and_kind(tmp_path: Path) -> None:
    cells = list(cells_of(*record(tmp_path, ROWS), T0))
    assert [(cell.second, cell.region, cell.kind, cell.ok, cell.fail, cell.unknown) for cell in cells] == [
        (0, "us-east-1", "add", 2, 1, 0),
        (0, "us-east-1", "cas", 0, 1, 0),
        (0, "us-west-2", "add", 0, 0, 1),
        (1, "us-west-2", "read", 2, 0, 0),
        (3, "us-west-2", "read", 1, 0, 0),
    ]
    assert [Cell.of(cell.message()).message() for cell in cells] == [cell.message() for cell in cells]
    assert cells[0].errors == {"ReplicatedWriteConflictException": 1}
    assert (cells[0].least_ns, cells[0].most_ns, cells[0].sum_ns) == (2_000_000, 150_000_000, 156_000_000)


def test_what_a_time_to_live_may_do_is_nobodys_request(tmp_path: Path) -> None:
    expiry: Row = ("us-east-1", "delete", 150_000_000, UNKNOWN, EXPIRY, 0)
    cells = cells_of(*record(tmp_path, [*ROWS[:2], expiry]), T0)
    assert [(cell.kind, cell.ok, cell.unknown) for cell in cells] == [("add", 2, 0)]


def test_locust_shows_the_same_as_if_it_had_been_told_one_by_one(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows: list[Row] = [
        (
            rng.choice(["a", "b"]),
            rng.choice(["add", "read"]),
            rng.randrange(5 * SECOND_NS),
            *rng.choice([(OK, None), (OK, None), (FAIL, "X"), (UNKNOWN, "Y")]),
            int(rng.lognormvariate(15, 2)),
        )
        for _ in range(3000)
    ]
    ours, theirs = RequestStats(use_response_times_cache=False), RequestStats(use_response_times_cache=False)
    for cell in cells_of(*record(tmp_path, rows), T0):
        add_to_locust(ours, cell, T0)
    for region, kind, _, outcome, error, latency_ns in rows:
        theirs.log_request(region, kind, latency_ns / 1e6, 0)  # type: ignore[arg-type]
        if outcome is not OK:
            theirs.log_error(region, kind, error)
    assert ours.entries.keys() == theirs.entries.keys()
    latencies_ms: dict[tuple[str, str], list[float]] = defaultdict(list)
    for region, kind, *_, latency_ns in rows:
        latencies_ms[kind, region].append(latency_ns / 1e6)
        latencies_ms["Aggregated", ""].append(latency_ns / 1e6)
    for mine, reference in [(ours.total, theirs.total), *((ours.entries[k], theirs.entries[k]) for k in ours.entries)]:
        assert mine.num_requests == reference.num_requests == sum(mine.num_reqs_per_sec.values())
        assert mine.num_failures == reference.num_failures == sum(mine.num_fail_per_sec.values())
        assert mine.min_response_time == pytest.approx(reference.min_response_time)
        assert mine.max_response_time == pytest.approx(reference.max_response_time)
        assert mine.avg_response_time == pytest.approx(reference.avg_response_time)
        for share in (0.5, 0.9, 0.99):
            expected = reference.get_response_time_percentile(share)
            known = sorted(latencies_ms[mine.name, mine.method])
            exact = known[int(share * len(known))]
            assert mine.get_response_time_percentile(share) == pytest.approx(exact, rel=0.002), "three digits"
            assert mine.get_response_time_percentile(share) == pytest.approx(expected, rel=0.1, abs=1)
    occurrences = {error.to_name(): error.occurrences for error in ours.errors.values()}
    assert occurrences == {error.to_name(): error.occurrences for error in theirs.errors.values()}


def test_a_failed_condition_is_an_answer_to_locust(tmp_path: Path) -> None:
    stats = RequestStats(use_response_times_cache=False)
    for cell in cells_of(*record(tmp_path, ROWS), T0):
        add_to_locust(stats, cell, T0)
    assert stats.entries[("cas", "us-east-1")].num_failures == 0
    assert stats.total.num_failures == 2
    assert {(error.method, error.name, error.error) for error in stats.errors.values()} == {
        ("us-east-1", "add", "ReplicatedWriteConflictException"),
        ("us-west-2", "add", "Timeout"),
    }


def delta(worker: int, upto_s: float, cells: Any = (), intents: Any = ()) -> dict[str, Any]:
    return {
        "worker": worker,
        "upto_ns": T0 + int(upto_s * SECOND_NS),
        "users": 3,
        "intents": list(intents),
        "cells": [cell.message() for cell in cells],
    }


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "live.jsonl").read_text().splitlines()]


PHASES = [PlannedPhase(name=name, duration="2s") for name in ("baseline", "fault")]


@pytest.fixture
def live(tmp_path: Path) -> Live:
    view = Live(RunDirectory(tmp_path), PHASES, ["us-east-1", "us-west-2"], T0)
    view.start([{"worker": 0, "host": "h", "pid": 1}, {"worker": 1, "host": "h", "pid": 2}])
    return view


def test_a_second_is_written_when_every_worker_is_past_it(live: Live, tmp_path: Path) -> None:
    cells = list(cells_of(*record(tmp_path, ROWS), T0))
    live.add(delta(0, 1.2, cells[:3], [(0, 10, 9, 1)]))
    live.write(T0 + int(1.3 * SECOND_NS))
    assert [line.get("event") for line in lines(tmp_path)] == ["start"], "worker 1 has not said anything yet"
    live.add(delta(1, 1.1, cells[:1], [(0, 5, 5, 0)]))
    live.write(T0 + int(1.4 * SECOND_NS))
    (second,) = lines(tmp_path)[1:]
    assert (second["second"], second["phase"], second["t_ns"]) == (0, "baseline", T0 + SECOND_NS)
    assert (second["users"], second["offered"], second["sent"], second["late"]) == (6, 15, 14, 1)
    east, west = second["regions"]["us-east-1"], second["regions"]["us-west-2"]
    counted = {name: east[name] for name in ("rate", "intents", "ok", "fail", "unknown", "conflict", "condition")}
    assert counted == {"rate": 7, "intents": 7, "ok": 4, "fail": 3, "unknown": 0, "conflict": 2, "condition": 1}
    assert east["p50_ms"] == pytest.approx(4, rel=0.01)
    assert (west["unknown"], west["timeout"], west["p99_ms"]) == (1, 1, pytest.approx(800, rel=0.01))


def test_a_silent_worker_holds_a_second_up_for_two_more_at_most(live: Live, tmp_path: Path) -> None:
    live.add(delta(0, 3.1))
    live.write(T0 + int(3.1 * SECOND_NS))
    assert [line["second"] for line in lines(tmp_path)[1:]] == [0]
    live.lost(1)
    live.event("worker-lost", worker=1)
    live.write(T0 + int(3.2 * SECOND_NS))
    rest = lines(tmp_path)[2:]
    assert [line.get("second", line.get("event")) for line in rest] == ["worker-lost", 1, 2]
    assert [line["phase"] for line in rest[1:]] == ["baseline", "fault"]


def test_what_comes_too_late_is_counted_in_the_next_second(live: Live, tmp_path: Path) -> None:
    cells = list(cells_of(*record(tmp_path, ROWS), T0))
    live.write(T0 + 4 * SECOND_NS)
    live.add(delta(0, 4.1, cells, [(0, 1, 1, 1)]))
    live.write(T0 + 4 * SECOND_NS, everything=True)
    seconds = lines(tmp_path)[1:]
    assert sum(sum(region["rate"] for region in second["regions"].values()) for second in seconds) == len(ROWS)
    assert sum(second["late"] for second in seconds) == 1


def test_the_histogram_log_opens_with_the_usual_reader(live: Live, tmp_path: Path) -> None:
    rows, recorder = record(tmp_path, ROWS)
    rows["key_class"][-1] = recorder.key_class.of("hot")
    cells = list(cells_of(rows, recorder, T0, PHASES))
    live.add(delta(0, 4, cells))
    live.add(delta(1, 4, cells))
    live.write(T0 + 5 * SECOND_NS, everything=True)
    reader = HistogramLogReader(
        str(tmp_path / "latency.hlog"), HdrHistogram(histogram.LOWEST_NS, histogram.HIGHEST_NS, histogram.DIGITS)
    )
    intervals = list(iter(reader.get_next_interval_histogram, None))
    assert [(interval.get_tag(), interval.get_total_count()) for interval in intervals] == [
        ("baseline/us-east-1/add", 6),
        ("baseline/us-east-1/cas", 2),
        ("baseline/us-west-2/add", 2),
        ("baseline/us-west-2/read", 4),
        ("fault/us-west-2/read/hot", 2),
    ]
    begins = [interval.get_start_time_stamp() / 1000 - reader.get_start_time_sec() for interval in intervals]
    assert begins == pytest.approx([0, 0, 0, 1, 3], abs=0.01)
    assert intervals[0].get_max_value() == pytest.approx(150_000_000, rel=0.001)
