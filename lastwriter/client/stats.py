"""A worker's statistics, worked out from whole batches of rows: for Locust's UI and CSV, and for the master.

Nothing here costs an operation more than its share of a few numpy calls: Locust's own ``request`` event is not
fired for every request unless somebody listens to it.
"""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from locust import stats as locust_stats

from lastwriter.client import histogram
from lastwriter.client.recorder import Recorder, Rows
from lastwriter.client.retry import CONDITION_FAILED
from verifier.history.schema import Outcome

CONFLICT: Final = "ReplicatedWriteConflictException"
SECOND_NS: Final = 1_000_000_000

_KINDS: Final = 128
"""Room for kinds in a composite of Region and kind."""

Int64 = npt.NDArray[np.int64]


class LocustStats(Protocol):
    """``environment.stats``."""

    total: Any
    entries: dict[tuple[str, str], Any]
    errors: dict[str, Any]


class WorkerStats:
    """Counts a worker's rows by second, Region and kind until the next message to the master takes them."""

    def __init__(self, t0_ns: int) -> None:
        self._t0_ns = t0_ns
        self._cells: dict[tuple[int, str, str], list[int]] = {}
        self._buckets: dict[tuple[int, str, str], dict[int, int]] = {}

    def take(self) -> list[dict[str, Any]]:
        """What happened since the last call: one entry a second, Region and kind (the second is the answer's)."""
        cells, self._cells = self._cells, {}
        buckets, self._buckets = self._buckets, {}
        return [
            {
                "second": second,
                "region": region,
                "kind": kind,
                "counts": counts,
                "buckets": np.fromiter(buckets[second, region, kind].items(), np.dtype("i8,i8")).tobytes(),
            }
            for (second, region, kind), counts in cells.items()
        ]

    def add(self, rows: Rows, recorder: Recorder) -> None:
        """Count a batch. Latency is from schedule to answer."""
        conflict = recorder.error.find(CONFLICT)
        second = (rows["end_ns"] - self._t0_ns) // SECOND_NS
        tag = rows["region"].astype(np.int64) * _KINDS + rows["kind"]
        bucket = histogram.bucket_of(rows["end_ns"] - rows["scheduled_ns"])
        group = second * (1 << 24) + tag
        for number in np.unique(group):
            mine = group == number
            region_code, kind_code = divmod(int(number) % (1 << 24), _KINDS)
            at = (int(number) >> 24, recorder.region.texts[region_code], recorder.kind.texts[kind_code])
            outcome = rows["outcome"][mine]
            fresh = [
                int((outcome == Outcome.OK).sum()),
                int((outcome == Outcome.FAIL).sum()),
                int((outcome == Outcome.UNKNOWN).sum()),
                0 if conflict is None else int((rows["error"][mine] == conflict).sum()),
            ]
            self._cells[at] = [a + b for a, b in zip(self._cells.get(at, (0, 0, 0, 0)), fresh, strict=True)]
            counted = self._buckets.setdefault(at, {})
            for index, count in zip(*np.unique(bucket[mine], return_counts=True), strict=True):
                counted[int(index)] = counted.get(int(index), 0) + int(count)


def add_to_locust(stats: LocustStats, rows: Rows, recorder: Recorder) -> None:
    """Add a batch to Locust's statistics: type is the Region, name the kind, time from schedule to answer.

    A failed condition is an answer, not a failure.
    """
    answered = recorder.error.find(CONDITION_FAILED)
    to_epoch_ns = time.time_ns() - time.monotonic_ns()
    at_s = (rows["end_ns"] + to_epoch_ns) // SECOND_NS
    latency_ms = (rows["end_ns"] - rows["scheduled_ns"]) / 1e6
    failed = rows["outcome"] != Outcome.OK
    if answered is not None:
        failed &= rows["error"] != answered
    _extend(stats.total, at_s, latency_ms, failed)
    tag = rows["region"].astype(np.int64) * _KINDS + rows["kind"]
    for number in np.unique(tag):
        mine = tag == number
        region_code, kind_code = divmod(int(number), _KINDS)
        region, kind = recorder.region.texts[region_code], recorder.kind.texts[kind_code]
        _extend(stats.entries[(kind, region)], at_s[mine], latency_ms[mine], failed[mine])
        for code, count in zip(*np.unique(rows["error"][mine & failed], return_counts=True), strict=True):
            error = recorder.error.texts[int(code)] if code >= 0 else "Unknown"
            _count_error(stats, region, kind, error, int(count))


def _extend(entry: Any, at_s: Int64, latency_ms: npt.NDArray[np.float64], failed: npt.NDArray[np.bool_]) -> None:
    """What Locust's StatsEntry.log and log_error do for one request, for many."""
    seconds, counts = np.unique(at_s, return_counts=True)
    last = int(seconds[-1])
    if entry.use_response_times_cache and entry.last_request_timestamp and last > int(entry.last_request_timestamp):
        entry._cache_response_times(last - 1)
    entry.num_requests += len(at_s)
    entry.last_request_timestamp = float(max(last, entry.last_request_timestamp or 0))
    for second, count in zip(seconds, counts, strict=True):
        entry.num_reqs_per_sec[int(second)] += int(count)
    entry.total_response_time += float(latency_ms.sum())
    least, most = float(latency_ms.min()), float(latency_ms.max())
    entry.min_response_time = least if entry.min_response_time is None else min(least, entry.min_response_time)
    entry.max_response_time = max(most, entry.max_response_time)
    # To a tenth of a millisecond first, so that there are few distinct values to give to Locust's own rounding.
    for value, count in zip(*np.unique(np.round(latency_ms, 1), return_counts=True), strict=True):
        entry.response_times[locust_stats.bucket_response_time(float(value))] += int(count)
    failures = int(failed.sum())
    if failures:
        entry.num_failures += failures
        for second, count in zip(*np.unique(at_s[failed], return_counts=True), strict=True):
            entry.num_fail_per_sec[int(second)] += int(count)


def _count_error(stats: LocustStats, region: str, kind: str, error: str, count: int) -> None:
    key = locust_stats.StatsError.create_key(region, kind, error)
    entry = stats.errors.get(key)
    if entry is None:
        entry = stats.errors[key] = locust_stats.StatsError(region, kind, error)
    entry.occurred()
    entry.occurrences += count - 1
